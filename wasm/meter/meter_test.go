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

// TestATableThatOnlyInPartLeavesGoesRound: its first label is the loop, which is split, and its last one a block within.
func TestATableThatOnlyInPartLeavesGoesRound(t *testing.T) {
	turns := cat(get(1), i32c(1), 0x6a, tee(1), get(0), 0x4e)
	m := one(locals(1, i32), cat(loop(block(turns, 0x0e, 1, 1, 0)), get(1)))
	m.funcs[0].results = []byte{i32}
	b := fuel(t, 1_000_000, 1000)
	got, err := instance(t, newRuntime(t), b, m.bytes(), meter.Options{}).ExportedFunction("run").Call(b, 7)
	if err != nil || got[0] != 7 {
		t.Fatalf("%v, %v; want 7 turns", got, err)
	}
}

// TestACallOfTheHostIsPaidFor: leaving the module costs a hundred instructions.
func TestACallOfTheHostIsPaidFor(t *testing.T) {
	host := mod{
		imports: [][]byte{importFn("test", "nothing", 1)}, types: [][]byte{functype(nil, nil)},
		funcs: []fn{{params: []byte{i32}, export: "run", body: repeat(50, call(0))}},
	}
	b := fuel(t, 1_000_000, 1000)
	m := instance(t, shapeRuntime(t), b, host.bytes(), meter.Options{})
	if _, err := m.ExportedFunction("run").Call(b, 0); err != nil {
		t.Fatal(err)
	}
	if n := used(b, m, 1_000_000); n < 50*100 || n > 50*150 {
		t.Fatalf("50 calls cost %d units", n)
	}
}
