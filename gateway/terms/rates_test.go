package terms_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
)

func hourly(n int) *terms.Terms {
	return &terms.Terms{Rates: []terms.Rate{{Max: n, Per: time.Hour}}}
}

func TestARateThatAllowsNothingAllowsNothing(t *testing.T) {
	w := newWorld(t, nil)
	for _, r := range []terms.Rate{{}, {Max: 0, Per: time.Hour}, {Max: -1, Per: time.Hour}, {Max: 5}, {Max: 5, Per: -time.Hour}} {
		if wait, ok := w.Allow("k", &terms.Terms{Rates: []terms.Rate{{Max: 9, Per: time.Hour}, r}}, w.at); ok || wait <= 0 {
			t.Errorf("%+v: %v %v", r, wait, ok)
		}
	}
	for range 9 { // the rate beside it was not used
		if _, ok := w.Allow("k", hourly(9), w.at); !ok {
			t.Fatal("a refused call was counted")
		}
	}
}

func TestWithoutRatesEverythingPasses(t *testing.T) {
	w := newWorld(t, nil)
	for _, none := range []*terms.Terms{nil, {}} {
		if _, ok := w.Allow("k", none, w.at); !ok {
			t.Error("refused")
		}
	}
	if n := w.Stats().Counters; n != 0 {
		t.Errorf("%d counters", n)
	}
}

// TestNoSpanEverSeesMoreThanItsRate holds the counter against a list of all moments, with calls at random ones.
func TestNoSpanEverSeesMoreThanItsRate(t *testing.T) {
	w := newWorld(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	const most, per = 7, time.Hour
	var taken []time.Time
	refused := 0
	for range 20_000 {
		w.at = w.at.Add(time.Duration(rnd.Int64N(int64(10 * time.Minute))))
		wait, ok := w.Allow("k", hourly(most), w.at)
		if !ok {
			refused++
			if wait <= 0 || wait > per+per/64 {
				t.Fatalf("wait %v", wait)
			}
			if _, early := w.Allow("k", hourly(most), w.at.Add(wait-1)); early {
				t.Fatal("there was room before the time that was told")
			}
			w.at = w.at.Add(wait)
			if _, ok = w.Allow("k", hourly(most), w.at); !ok {
				t.Fatal("no room after the wait")
			}
		}
		if taken = append(taken, w.at); len(taken) > most && taken[len(taken)-1].Sub(taken[len(taken)-1-most]) < per {
			t.Fatalf("%d calls in %v", most+1, taken[len(taken)-1].Sub(taken[len(taken)-1-most]))
		}
	}
	if refused < 100 {
		t.Errorf("refused only %d", refused)
	}
}

func TestACallCountsForItsWholeSpanWhenNoneComesBetween(t *testing.T) {
	w := newWorld(t, nil)
	const per = 64 * time.Second
	one := &terms.Terms{Rates: []terms.Rate{{Max: 1, Per: per}}}
	for first := range 200 {
		key, at := fmt.Sprint(first), w.at.Add(time.Duration(first)*10*time.Millisecond)
		if _, ok := w.Allow(key, one, at); !ok {
			t.Fatal("the first call is refused")
		}
		if _, ok := w.Allow(key, one, at.Add(per-time.Millisecond)); ok {
			t.Fatalf("%d: a second call within the span", first)
		}
		if _, ok := w.Allow(key, one, at.Add(per+per/64)); !ok {
			t.Fatalf("%d: refused when the span was over", first)
		}
	}
}

func TestKeysAndSpansAreCountedApart(t *testing.T) {
	w := newWorld(t, nil)
	both := &terms.Terms{Rates: []terms.Rate{{Max: 3, Per: time.Hour}, {Max: 2, Per: time.Minute}, {Max: 4, Per: time.Hour}}}
	allow := func(key string, want bool) {
		t.Helper()
		if wait, ok := w.Allow(key, both, w.at); ok != want {
			t.Fatalf("%v %v", wait, ok)
		}
	}
	allow("a", true)
	allow("a", true)
	allow("a", false) // the minute
	allow("b", true)
	w.at = w.at.Add(2 * time.Minute)
	allow("a", true)
	allow("a", false) // the hour
	w.at = w.at.Add(-90 * time.Second)
	allow("a", false) // time that runs backwards frees nothing
	w.at = w.at.Add(2 * time.Hour)
	allow("a", true)
}

func TestCountersAreBoundedAndWhatIsIdleMakesRoom(t *testing.T) {
	w := newWorld(t, func(c *terms.Config) { c.Counters = 3 })
	for i := range 3 {
		if _, ok := w.Allow(fmt.Sprint(i), hourly(5), w.at); !ok {
			t.Fatal("no room")
		}
	}
	for range 2 {
		if wait, ok := w.Allow("new", hourly(5), w.at); ok || wait <= 0 {
			t.Fatal("a call passed uncounted")
		}
	}
	if _, ok := w.Allow("1", hourly(5), w.at); !ok {
		t.Fatal("a counter that is there was lost")
	}
	w.at = w.at.Add(2 * time.Hour)
	if _, ok := w.Allow("new", hourly(5), w.at); !ok || w.Stats().Counters != 1 {
		t.Fatalf("%v, %d counters", ok, w.Stats().Counters)
	}
}

func TestRatesThatChangeKeepTheirCounts(t *testing.T) {
	w := newWorld(t, nil)
	if _, ok := w.Allow("k", hourly(1), w.at); !ok {
		t.Fatal("refused")
	}
	for i := range 20 { // other spans come and go
		if _, ok := w.Allow("k", &terms.Terms{Rates: []terms.Rate{{Max: 99, Per: time.Hour}, {Max: 1, Per: time.Duration(i+1) * time.Second}}}, w.at); !ok {
			t.Fatal("refused")
		}
	}
	if _, ok := w.Allow("k", hourly(21), w.at); ok {
		t.Fatal("21 calls were counted and a 22nd passed")
	}
}

func TestAllowAllocatesNothingForAKeyItKnows(t *testing.T) {
	w := newWorld(t, nil)
	r := hourly(1 << 30)
	if n := testing.AllocsPerRun(100, func() { w.Allow("k", r, w.at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
