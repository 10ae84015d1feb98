package wasm_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// ask is decide for goroutines, which may not end the test.
func ask(f *wasm.Filter, v *wasm.Verdict) error {
	return f.Decide(context.Background(), &abi.Context{Body: []byte("{}")}, v)
}

// TestASwapUnderLoadFailsNoCall: each generation says which it is, and none is asked once another is in force.
func TestASwapUnderLoadFailsNoCall(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Wait = time.Minute })
	tenant := r.Tenant("org_1", wasm.Quota{Concurrency: 64, FuelPerSecond: 1 << 40})
	next := func(n int) *wasm.Filter {
		f, err := tenant.Load(t.Context(), "swapped", says(fmt.Sprintf(`{"verdict":"deny","reason":"generation_%d"}`, n)).bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var current atomic.Pointer[wasm.Filter]
	current.Store(next(0))
	var over atomic.Bool
	var calls atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var v wasm.Verdict
			for !over.Load() {
				f := current.Load()
				if !f.Hold() {
					continue // it was replaced meanwhile
				}
				for range 2 { // a request and its result pass the same generation
					if err := ask(f, &v); err != nil || v.Kind != wasm.Deny {
						t.Errorf("call %d: %v", calls.Load(), err)
						over.Store(true)
					}
					calls.Add(1)
				}
				f.Drop()
			}
		})
	}
	for n := 1; n <= 40 && !over.Load(); n++ {
		f := next(n)
		for before := calls.Load(); calls.Load() < before+20 && !over.Load(); {
			time.Sleep(100 * time.Microsecond)
		}
		old := current.Swap(f)
		if err := old.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var v wasm.Verdict
		if err := ask(old, &v); kindOf(t, err, v) != wasm.TrapClosed {
			t.Fatalf("a closed generation: %v", err)
		}
	}
	over.Store(true)
	all.Wait()
	if s := tenant.Stats(); calls.Load() < 800 || s.Refused > 0 || s.Running != 0 {
		t.Errorf("%d calls, %+v", calls.Load(), s)
	}
	if err := current.Load().Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := tenant.Stats(); s.Memory != 0 {
		t.Errorf("all filters are closed: %+v", s)
	}
}

func TestCloseWaitsForWhoHoldsAFilter(t *testing.T) {
	f := load(t, says(`{"verdict":"pass"}`), nil)
	for range 2 {
		if !f.Hold() {
			t.Fatal("an open filter cannot be held")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := f.Close(ctx); err == nil {
		t.Error("closed while it is held")
	}
	if f.Hold() {
		t.Error("held after Close")
	}
	if _, kind := decide(t, f, "{}"); kind != "" {
		t.Errorf("who holds it is refused: %s", kind)
	}
	f.Drop()
	if _, kind := decide(t, f, "{}"); kind != "" {
		t.Errorf("one still holds it: %s", kind)
	}
	f.Drop()
	if _, kind := decide(t, f, "{}"); kind != wasm.TrapClosed {
		t.Errorf("nobody holds it any more: trap %q", kind)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAnInstanceThatGrewIsAsItWas: what it wrote is gone, and it is not thrown away.
func TestAnInstanceThatGrewIsAsItWas(t *testing.T) {
	for _, pages := range []int{1, 2, 40} {
		end := int32(pages) << 16
		// Denies when the memory is larger than it was, or the new page or one of the old ones is not zero.
		body := cat([]byte{0x3f, 0}, constant(int32(pages)), []byte{0x47, 0x04, 0x40}, answer(2048, 18), []byte{0x0f, 0x0b},
			grow(1), dropped, load32(end+8), load32(end-8), []byte{0x72}, []byte{0x04, 0x40}, answer(2048, 18), []byte{0x0f, 0x0b},
			store32(end+8, 7), store32(end-8, 7), answer(1024, 18))
		a := filterWith(pages, body...)
		a.data = []data{{1024, `{"verdict":"pass"}`}, {2048, `{"verdict":"deny"}`}}
		f := load(t, a, func(c *wasm.Config) { c.Instances = 2 })
		for n := range 50 {
			if v, kind := decide(t, f, "{}"); v.Kind != wasm.Pass {
				t.Fatalf("%d pages, call %d: verdict %d, trap %q", pages, n, v.Kind, kind)
			}
			if n%3 == 0 {
				f.Settle()
			}
		}
		if s := f.Stats(); s.Thrown != 0 || s.Instances > 2 || s.Resets == 0 {
			t.Errorf("%d pages: %+v", pages, s)
		}
	}
}

func TestSettlePutsBackWhatCallsLeft(t *testing.T) {
	f := load(t, says(`{"verdict":"pass"}`), nil)
	if n := f.Settle(); n != 0 {
		t.Errorf("nothing was called, and %d instances are put back", n)
	}
	if _, kind := decide(t, f, "{}"); kind != "" {
		t.Fatal(kind)
	}
	n := f.Settle() // or the goroutine beside the calls came first
	for end := time.Now().Add(10 * time.Second); f.Stats().Resets == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n > 1 || f.Stats().Resets != 1 {
		t.Errorf("%d put back, %+v", n, f.Stats())
	}
}

func TestCallsAreTimed(t *testing.T) {
	f := load(t, says(`{"verdict":"pass"}`), nil)
	for range 130 {
		if _, kind := decide(t, f, "{}"); kind != "" {
			t.Fatal(kind)
		}
	}
	s := f.Stats()
	if s.Timed < 2 || s.Time <= 0 || s.Slowest <= 0 || s.Slowest > s.Time || s.Calls() != 130 || s.Reset == "" {
		t.Errorf("%+v", s)
	}
}

// TestManyCallersShareFewInstances: nobody waits for ever, and no call sees what another left.
func TestManyCallersShareFewInstances(t *testing.T) {
	// Denies when the word at 4096 is not zero, and leaves it so.
	a := filterWith(2, cat(load32(4096), []byte{0x04, 0x40}, answer(2048, 18), []byte{0x0f, 0x0b}, store32(4096, 1), answer(1024, 18))...)
	a.data = []data{{1024, `{"verdict":"pass"}`}, {2048, `{"verdict":"deny"}`}}
	f := load(t, a, func(c *wasm.Config) { c.Instances, c.Wait = 3, time.Minute })
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			var v wasm.Verdict
			for range 300 {
				if err := ask(f, &v); err != nil || v.Kind != wasm.Pass {
					t.Errorf("verdict %d: %v", v.Kind, err)
					return
				}
			}
		})
	}
	all.Wait()
	if s := f.Stats(); s.Passed != 3600 || s.Instances > 3 || s.Thrown != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTheTextOfATrapNamesNoByteOfTheCall holds for those of quotas too.
func TestTheTextOfATrapNamesNoByteOfTheCall(t *testing.T) {
	r := newRuntime(t, nil)
	f, err := r.Tenant("org_1", wasm.Quota{FuelPerSecond: 1}).Load(t.Context(), "f", says(`{"verdict":"pass"}`).bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var v wasm.Verdict
	for range 3 {
		err = f.Decide(t.Context(), &abi.Context{Body: []byte(`{"k":"hush"}`)}, &v)
	}
	if kindOf(t, err, v) != wasm.TrapQuota || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
