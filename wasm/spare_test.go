package wasm_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// TestATenantPaysForItsInstances: a call that ends with no instance left costs the next one, and the tenant pays for that
// whoever is to blame. The calls themselves spend next to nothing.
func TestATenantPaysForItsInstances(t *testing.T) {
	t.Parallel()
	const segments, rate = 40_000, 5_000_000
	room := says(`{"verdict":"pass"}`)
	room.fns[1].body = constant(0) // gw_alloc has no room
	ever := says(`{"verdict":"pass"}`)
	ever.fns[2].body = cat([]byte{0x03, 0x40, 0x0c, 0, 0x0b}, ever.fns[2].body)
	hungUp, cancel := context.WithCancel(t.Context())
	cancel()
	for kind, c := range map[string]struct {
		m   asm
		ctx context.Context
	}{wasm.TrapInput: {room, t.Context()}, wasm.TrapCanceled: {ever, hungUp}} {
		for range segments {
			c.m.data = append(c.m.data, data{0, "x"})
		}
		r := newRuntime(t, func(o *wasm.Config) { o.MaxModule = 8 << 20 })
		tenant := r.Tenant("org_1", wasm.Quota{FuelPerSecond: rate})
		f, err := tenant.Load(t.Context(), "test", c.m.bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		full(t, tenant)
		refused := false
		for end := time.Now().Add(10 * time.Second); !refused && time.Now().Before(end); {
			var v wasm.Verdict
			switch got := kindOf(t, f.Decide(c.ctx, &abi.Context{Body: []byte("{}")}, &v), v); got {
			case kind:
			case wasm.TrapQuota:
				refused = true
			default:
				t.Fatalf("%s: %s", kind, got)
			}
		}
		// A few milliseconds for each instance: the fuel of the calls alone would last for hundreds of them.
		if n := f.Stats().Traps[kind]; !refused || n > 100 {
			t.Errorf("%s: refused %v after %d calls", kind, refused, n)
		}
	}
}
