package meter_test

import (
	"errors"
	"testing"

	"github.com/gatewright/gatewright/wasm/meter"
)

func TestALoopWithoutEndStopsAtItsBudget(t *testing.T) {
	r := newRuntime(t)
	b := fuel(t, 1_000_000, 10_000)
	m := instance(t, r, b, mod{funcs: []fn{{export: "spin", body: loop(br(0))}}}.bytes(), meter.Options{})
	_, err := m.ExportedFunction("spin").Call(b)
	if !errors.Is(err, errFuel) {
		t.Fatalf("got %v", err)
	}
	if b.refuels < 100 {
		t.Fatalf("%d refuels for 100 slices", b.refuels)
	}
}

func TestRecursionStopsAtItsDepth(t *testing.T) {
	r := newRuntime(t)
	b := fuel(t, 1_000_000_000, 1_000_000)
	m := instance(t, r, b, mod{funcs: []fn{{export: "deep", body: call(0)}}}.bytes(), meter.Options{})
	_, err := m.ExportedFunction("deep").Call(b)
	if err == nil || errors.Is(err, errFuel) {
		t.Fatalf("got %v", err)
	}
	if d := int32(m.ExportedGlobal(meter.DepthGlobal).Get()); d >= 0 {
		t.Fatalf("depth is %d after a trap at its end", d)
	}
}
