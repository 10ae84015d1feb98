package wasm

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/wasm/linear"
)

// TestWhatCountsAgainstAFilter: every kind of trap is decided here.
func TestWhatCountsAgainstAFilter(t *testing.T) {
	counts := map[string]bool{
		TrapFuel: true, TrapDepth: true, TrapMemory: true, TrapUnreachable: true, TrapFault: true, TrapPointer: true, TrapVerdict: true,
		TrapInput: false, TrapBusy: false, TrapQuota: false, TrapBroken: false, TrapCanceled: false, TrapClosed: false, TrapInit: false,
		TrapInternal: true,
	}
	for _, kind := range kinds {
		if want, ok := counts[kind]; !ok || guilty(&Trap{"f", kind, nil}) != want {
			t.Errorf("%s: counts %v, decided %v", kind, !want, ok)
		}
	}
	var none map[string]int
	for _, c := range []struct {
		what any
		kind string
		want bool
		text string
	}{
		{fault(func() { none["a"] = 1 }), TrapInternal, true, `unforeseen: "assignment to entry in nil map"`},
		{fault(func() { panic("secret of the call") }), TrapInternal, true, "unforeseen: string"},
		{fault(func() { panic(errors.New("secret of the call")) }), TrapInternal, true, "unforeseen: *errors.errorString"},
		{linear.ErrSystem, TrapInternal, false, linear.ErrSystem.Error()},
		{fmt.Errorf("instantiate: %w", linear.ErrSystem), TrapInternal, false, linear.ErrSystem.Error()},
		{fault(func() { panic(linear.ErrBudget) }), TrapQuota, false, linear.ErrBudget.Error()},
		{errImage, TrapInternal, false, errImage.Error()},
	} {
		err, ok := c.what.(error)
		if !ok || !errors.Is(err, errImage) {
			err = unforeseen(c.what) // as spare does, which classify sees
		}
		kind, cause := classify(err, false)
		if got := guilty(&Trap{"f", kind, cause}); kind != c.kind || got != c.want || cause.Error() != c.text {
			t.Errorf("%v: %s, counts %v: %v", c.what, kind, got, cause)
		}
	}
	if guilty(&Trap{"f", TrapInternal, unforeseen(linear.ErrBudget)}) {
		t.Error("a quota that ended outside the guest counts")
	}
}

// fault is what comes of f.
func fault(f func()) (what any) {
	defer func() { what = recover() }()
	f()
	return nil
}
