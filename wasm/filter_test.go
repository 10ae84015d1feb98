package wasm_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

func TestConfigMustBoundEverything(t *testing.T) {
	if err := wasm.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for i, change := range []func(*wasm.Config){
		func(c *wasm.Config) { c.Fuel = 0 }, func(c *wasm.Config) { c.Fuel = 1 << 62 }, func(c *wasm.Config) { c.ByteFuel = -1 },
		func(c *wasm.Config) { c.ByteFuel = 1 << 40 }, func(c *wasm.Config) { c.InitFuel = 0 }, func(c *wasm.Config) { c.MemoryPages = 0 },
		func(c *wasm.Config) { c.MemoryPages = 65537 }, func(c *wasm.Config) { c.Depth = 0 }, func(c *wasm.Config) { c.MaxModule = 0 },
		func(c *wasm.Config) { c.MaxContext = -1 }, func(c *wasm.Config) { c.MaxVerdict = 0 }, func(c *wasm.Config) { c.Instances = 0 },
		func(c *wasm.Config) { c.Wait = 0 }, func(c *wasm.Config) { c.Traps = 0 }, func(c *wasm.Config) { c.TrapWindow = 0 }, func(c *wasm.Config) { c.BreakFor = -1 },
	} {
		c := wasm.DefaultConfig()
		change(&c)
		if _, err := wasm.New(t.Context(), c); err == nil {
			t.Errorf("%d: %+v is taken", i, c)
		}
	}
}

func TestFilterTellsWhatItIs(t *testing.T) {
	guest := says(pass)
	f := load(t, guest, nil)
	if f.Name() != "test" || f.Digest() != merkle.Hash(sha256.Sum256(guest.bytes())) {
		t.Errorf("%s %s", f.Name(), f.Digest())
	}
	decide(t, f, "{}")
	decide(t, f, strings.Repeat("x", 32<<10+1)) // no room
	s := f.Stats()
	if s.Name != "test" || s.Digest != f.Digest() || s.Size != len(guest.bytes()) || s.Memory != 65536 || s.Passed != 1 || s.Instances != 0 || s.InUse != 0 ||
		s.Traps[wasm.TrapPointer] != 1 || s.LastTrap != "filter test: pointer: pointer outside memory" || s.LastTrapAt.IsZero() || s.Thrown != 1 || s.MostFuel == 0 {
		t.Errorf("%+v", s)
	}
}

func TestTooLargeACallIsRefused(t *testing.T) {
	f := load(t, says(pass), func(c *wasm.Config) { c.MaxContext, c.Traps = 1000, 1 })
	most := 1000 - len((&abi.Context{}).JSON()) + len("{}")
	for range 3 { // never the filter's fault
		if _, kind := decide(t, f, strings.Repeat("x", most+1)); kind != wasm.TrapInput {
			t.Errorf("trap %q", kind)
		}
	}
	if _, kind := decide(t, f, strings.Repeat("x", most)); kind != "" {
		t.Errorf("trap %q", kind)
	}
}

// TestAFilterThatTrapsTooOftenIsBroken walks through the breaker's states.
func TestAFilterThatTrapsTooOftenIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := load(t, echo(), func(c *wasm.Config) { c.Traps, c.TrapWindow, c.BreakFor = 3, time.Minute, 10*time.Second })
		want := func(input, kind string) {
			t.Helper()
			if _, got := decide(t, f, input); got != kind {
				t.Fatalf("trap %q, want %q", got, kind)
			}
		}
		want("x", wasm.TrapVerdict)
		want("x", wasm.TrapVerdict)
		time.Sleep(61 * time.Second) // these are forgotten
		want("x", wasm.TrapVerdict)
		want("x", wasm.TrapVerdict)
		want(pass, "") // and this one takes nothing back
		want("x", wasm.TrapVerdict)
		want(pass, wasm.TrapBroken)
		if s := f.Stats(); !s.Broken || s.Breaks != 1 || s.Traps[wasm.TrapBroken] != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(10*time.Second - 1)
		want(pass, wasm.TrapBroken)
		time.Sleep(time.Nanosecond)
		want("x", wasm.TrapVerdict) // the first after the pause breaks it again
		want(pass, wasm.TrapBroken)
		time.Sleep(10 * time.Second)
		want(pass, "") // one that goes well mends it
		want("x", wasm.TrapVerdict)
		want("x", wasm.TrapVerdict)
		want(pass, "")
		if s := f.Stats(); s.Broken || s.Breaks != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// spinning returns a filter whose only instance is at work until stop is called.
func spinning(t *testing.T, wait time.Duration) (f *wasm.Filter, stop func() error) {
	t.Helper()
	f = load(t, filterOf(cat(spin, never)...), func(c *wasm.Config) { c.Fuel, c.Instances, c.Wait = 1<<45, 1, wait })
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		var v wasm.Verdict
		done <- f.Decide(ctx, &abi.Context{Body: []byte("{}")}, &v)
	}()
	for f.Stats().InUse == 0 {
		time.Sleep(time.Millisecond)
	}
	var once sync.Once
	stop = func() (err error) {
		once.Do(func() {
			cancel(errStopped)
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return f, stop
}

var errStopped = errors.New("stopped by the test")

func TestBusyFiltersRefuse(t *testing.T) {
	f, stop := spinning(t, 5*time.Millisecond)
	if _, kind := decide(t, f, "{}"); kind != wasm.TrapBusy {
		t.Errorf("trap %q", kind)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var v wasm.Verdict
	if err := f.Decide(ctx, &abi.Context{Body: []byte("{}")}, &v); kindOf(t, err, v) != wasm.TrapCanceled && kindOf(t, err, v) != wasm.TrapBusy {
		t.Error(err)
	}
	if err := stop(); !errors.Is(err, errStopped) || kindOf(t, err, v) != wasm.TrapCanceled {
		t.Errorf("%v", err)
	}
	if s := f.Stats(); s.Waits != 2 || s.InUse != 0 || s.Broken {
		t.Errorf("%+v", s)
	}
}

// TestAWaitingCallGetsTheNextInstance.
func TestAWaitingCallGetsTheNextInstance(t *testing.T) {
	f := load(t, says(pass), func(c *wasm.Config) { c.Instances, c.Wait = 1, time.Minute })
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				var v wasm.Verdict
				if err := f.Decide(t.Context(), &abi.Context{Body: []byte("{}")}, &v); err != nil || v.Kind != wasm.Pass {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if s := f.Stats(); s.Passed != 3200 || s.Instances != 1 || s.Thrown != 0 {
		t.Errorf("%+v", s)
	}
}

// TestCloseWaitsForCalls and lets none in any more.
func TestCloseWaitsForCalls(t *testing.T) {
	f, stop := spinning(t, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed while a call runs: %v", err)
	}
	closed := make(chan error)
	go func() { closed <- f.Close(context.Background()) }()
	select {
	case err := <-closed:
		t.Errorf("closed while a call runs: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	if err := stop(); !errors.Is(err, errStopped) {
		t.Errorf("%v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, kind := decide(t, f, "{}"); kind != wasm.TrapClosed {
		t.Errorf("trap %q", kind)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestARuntimeClosesItsFilters(t *testing.T) {
	r, err := wasm.New(t.Context(), wasm.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var all []*wasm.Filter
	for i := range 5 {
		f, err := r.Load(t.Context(), fmt.Sprint("f", i), says(pass).bytes(), nil) // the same code for all
		if err != nil {
			t.Fatal(err)
		}
		decide(t, f, "{}")
		all = append(all, f)
	}
	if err := all[0].Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, kind := decide(t, all[1], "{}"); kind != "" {
		t.Errorf("closing one filter ends another: %s", kind)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, f := range all {
		if _, kind := decide(t, f, "{}"); kind != wasm.TrapClosed {
			t.Errorf("trap %q", kind)
		}
	}
	if f, err := r.Load(t.Context(), "late", says(pass).bytes(), nil); err == nil || f != nil {
		t.Error("a closed runtime loads")
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestManyGoroutines uses one filter from everywhere while it is closed: for the race detector.
func TestManyGoroutines(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Instances, c.Traps, c.Wait = 3, 1<<20, time.Minute })
	f, err := r.Load(t.Context(), "test", echo().bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	inputs := []string{pass, "nonsense", `{"verdict":"rewrite","arguments":{"a":1}}`, strings.Repeat("x", 100_000)}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			var v wasm.Verdict
			for j := range 300 {
				if err := f.Decide(t.Context(), &abi.Context{Body: []byte(inputs[(i+j)%len(inputs)])}, &v); err == nil && v.Kind == 0 {
					t.Error("neither a verdict nor an error")
				}
				_ = f.Stats()
			}
		})
	}
	for i := range 3 {
		all.Go(func() {
			for range 10 {
				other, err := r.Load(t.Context(), fmt.Sprint("other", i), echo().bytes(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				decide(t, other, pass)
				if err := other.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkDecide(b *testing.B) {
	grows := filterOf(cat(grow(1), dropped, answer(2048, len(pass)))...)
	grows.data = []data{{2048, pass}}
	for _, c := range []struct {
		name  string
		guest asm
		input string
	}{
		{"noop", says(pass), strings.Repeat("x", 1500)},
		{"label", says(`{"verdict":"pass","labels":["secret:aws-key"]}`), strings.Repeat("x", 1500)},
		{"rewrite", echo(), `{"verdict":"rewrite","arguments":{"text":"` + strings.Repeat("x", 1450) + `"}}`},
		{"grows", grows, strings.Repeat("x", 1500)},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := load(b, c.guest, nil)
			input := &abi.Context{Body: []byte(c.input)}
			var v wasm.Verdict
			defer cpu(b)()
			for b.Loop() {
				if err := f.Decide(b.Context(), input, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecideParallel(b *testing.B) {
	f := load(b, says(pass), nil)
	body := []byte(strings.Repeat("x", 1500))
	defer cpu(b)()
	b.RunParallel(func(p *testing.PB) {
		var v wasm.Verdict
		input := abi.Context{Body: body}
		for p.Next() {
			if err := f.Decide(b.Context(), &input, &v); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			r := newRuntime(b, nil)
			module := says(pass).bytes()
			if shared {
				if _, err := r.Load(b.Context(), "first", module, nil); err != nil {
					b.Fatal(err)
				}
			}
			defer cpu(b)()
			for b.Loop() {
				f, err := r.Load(b.Context(), "test", module, nil)
				if err != nil {
					b.Fatal(err)
				}
				if err := f.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAFilterThatTheRuntimeFailsOnIsBroken, and takes no other down: what repeats on one module, whoever's fault it is, is not
// gone through for each call.
func TestAFilterThatTheRuntimeFailsOnIsBroken(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Traps, c.Instances = 3, 2 })
	logging := says(pass)
	logging.imports = []host{{"gw", "log", []byte{i32, i32, i32}, nil}}
	logging.fns[2].body = cat(constant(1), constant(1024), constant(1), []byte{0x10, 0}, logging.fns[2].body)
	var none map[string]int
	tenant := r.Tenant("org_1", wasm.Quota{Concurrency: 2})
	f, err := tenant.Load(t.Context(), "test", logging.bytes(), nil, wasm.WithLog(func(int, string) { none["a"]++ }))
	if err != nil {
		t.Fatal(err)
	}
	other, err := tenant.Load(t.Context(), "other", says(pass).bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		want := wasm.TrapInternal
		if i >= 3 {
			want = wasm.TrapBroken
		}
		if _, kind := decide(t, f, "{}"); kind != want {
			t.Errorf("call %d: trap %q, want %q", i, kind, want)
		}
		if _, kind := decide(t, other, "{}"); kind != "" {
			t.Errorf("another filter: trap %q", kind)
		}
	}
	if s := f.Stats(); !s.Broken || s.Traps[wasm.TrapInternal] != 3 || s.InUse != 0 || !strings.Contains(s.LastTrap, "broken") {
		t.Errorf("%+v", s)
	}
}
