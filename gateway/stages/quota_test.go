package stages_test

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
)

var epoch = time.Unix(1_800_000_000, 0)

// many counts how many of n calls at one moment are allowed.
func many(l *stages.Limiter, key string, n int, at time.Time) (ok int) {
	for range n {
		if _, allowed := l.Allow(key, at); allowed {
			ok++
		}
	}
	return ok
}

func TestARateWithItsBurstIsHeldPerKey(t *testing.T) {
	l := stages.NewLimiter(10, 5)
	if n := many(l, "a", 100, epoch); n != 5 {
		t.Errorf("%d at once, want the burst of 5", n)
	}
	if n := many(l, "b", 100, epoch); n != 5 {
		t.Errorf("another key: %d at once, want 5", n)
	}
	wait, ok := l.Allow("a", epoch)
	if ok || wait != 100*time.Millisecond {
		t.Errorf("told to wait %v, want 100ms", wait)
	}
	if n := many(l, "a", 100, epoch.Add(wait)); n != 1 {
		t.Errorf("%d after the wait, want 1", n)
	}
	if n := many(l, "a", 100, epoch.Add(time.Hour)); n != 5 {
		t.Errorf("%d after an hour, want no more than the burst of 5", n)
	}
}

func TestARefusedCallCostsNothing(t *testing.T) {
	l := stages.NewLimiter(1, 1)
	many(l, "a", 1000, epoch)
	if _, ok := l.Allow("a", epoch.Add(time.Second)); !ok {
		t.Error("calls that were refused count against the key")
	}
}

func TestOddRatesNeverLimitNothingByMistakeNorOverflow(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		l := stages.NewLimiter(rate, 1)
		if l != nil || many(l, "a", 100, epoch) != 100 {
			t.Errorf("rate %v limits", rate)
		}
	}
	for _, c := range []struct {
		rate  float64
		burst int
		want  int
	}{{1, 0, 1}, {1, -5, 1}, {1e-12, 1, 1}, {1e-12, 1 << 40, 11}, {1e-9, 3, 3}, {0.001, math.MaxInt, 100}} {
		l := stages.NewLimiter(c.rate, c.burst)
		if n := many(l, "a", 100, epoch); n > max(c.want, 1) || n == 0 {
			t.Errorf("rate %v, burst %d: %d at once, want 1 to %d", c.rate, c.burst, n, c.want)
		}
	}
	if n := many(stages.NewLimiter(math.Inf(1), 1), "a", 10, epoch); n == 0 {
		t.Error("an endless rate allows nothing")
	}
}

func TestAClockSetBackDoesNotLockAKeyOut(t *testing.T) {
	l := stages.NewLimiter(10, 5)
	many(l, "a", 5, epoch)
	back := epoch.Add(-24 * time.Hour)
	if wait, ok := l.Allow("a", back); !ok && wait > time.Second {
		t.Fatalf("told to wait %v after the clock was set back", wait)
	}
	if n := many(l, "a", 100, back.Add(time.Second)); n == 0 || n > 6 {
		t.Errorf("%d a second later, want up to the burst", n)
	}
	// And forward again: no more than a burst.
	if n := many(l, "a", 100, epoch); n > 5 {
		t.Errorf("%d when the clock came back, want at most 5", n)
	}
}

func TestKeysAreBoundedAndIdleOnesGoFirst(t *testing.T) {
	l := stages.NewLimiter(0.001, 1)
	for i := range 400_000 {
		l.Allow(fmt.Sprint(i), epoch)
	}
	if n := l.Keys(); n > 64*4096 {
		t.Errorf("%d keys are kept", n)
	}
	l = stages.NewLimiter(1000, 1)
	for i := range 300_000 {
		l.Allow(fmt.Sprint(i), epoch.Add(time.Duration(i)*time.Microsecond))
	}
	if _, ok := l.Allow("299999", epoch.Add(299_999*time.Microsecond)); ok {
		t.Error("a busy key was dropped while idle ones were there")
	}
}

func TestConcurrentCallsOfAKeyShareOneBurst(t *testing.T) {
	l := stages.NewLimiter(1, 50)
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { ok.Add(int64(many(l, "a", 100, epoch))) })
	}
	wg.Wait()
	if ok.Load() != 50 {
		t.Errorf("%d allowed, want 50", ok.Load())
	}
}

func TestAnAgentIsBoundWhateverItsKeysAndCannotUseUpItsTenant(t *testing.T) {
	w := newWorld(t)
	q := stages.Quota{Agents: stages.NewLimiter(1, 3), Tenants: stages.NewLimiter(1, 5)}
	check := func(c *pipeline.Call) error { c.Started = epoch; return q.Check(context.Background(), c) }
	alice, second, bob, eve := &pipeline.Call{Caller: w.alice}, &pipeline.Call{Caller: w.second}, &pipeline.Call{Caller: w.bob}, &pipeline.Call{Caller: w.eve}
	for _, c := range []*pipeline.Call{alice, second, alice} {
		w.must(check(c))
	}
	for range 10 { // over its own limit: the tenant's is not touched
		d := wantDenial(t, check(second), pipeline.RateLimited, "rate_limited agent")
		if d.RetryAfter < time.Second {
			t.Errorf("retry after %v", d.RetryAfter)
		}
	}
	w.must(check(bob))
	w.must(check(bob))
	wantDenial(t, check(bob), pipeline.RateLimited, "rate_limited tenant")
	w.must(check(eve))
	w.must(stages.Quota{}.Check(context.Background(), alice))
}

func TestAnIPv6ClientIsCountedByItsNetwork(t *testing.T) {
	w := newWorld(t)
	from := func(s stages.Identify, addr string) error {
		var a netip.Addr
		if addr != "" {
			a = netip.MustParseAddr(addr)
		}
		return s.Check(context.Background(), &pipeline.Call{Started: epoch, Remote: a, Credential: []byte(w.aliceKey)})
	}
	for _, c := range []struct {
		first, second string
		same          bool
	}{
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true}, {"2001:db8::1", "2001:db8:0:1::1", false}, {"fe80::1%eth0", "fe80::2%eth1", true},
		{"10.0.0.1", "::ffff:10.0.0.1", true}, {"10.0.0.1", "10.0.0.2", false}, {"10.0.0.1", "::a00:1", false}, {"", "", true}, {"::1", "127.0.0.1", false},
	} {
		s := stages.Identify{Directory: w.people, Sources: stages.NewLimiter(1, 1)}
		w.must(from(s, c.first))
		if err := from(s, c.second); (err != nil) != c.same {
			t.Errorf("%q and %q: %v, want them counted as one: %v", c.first, c.second, err, c.same)
		}
	}
}
