package wasm_test

import (
	"bytes"
	"testing"

	"github.com/gatewright/gatewright/wasm"
)

// deep returns a filter that calls itself 1,000 times before it lets a call pass, with 60 values in each frame.
func deep() asm {
	const values = 60
	m := says(`{"verdict":"pass"}`)
	itself := len(m.fns)
	var first, next, sum []byte
	for i := range byte(values) {
		first = cat(first, long(1_000))
		next = cat(next, get(i), long(1), []byte{0x7d})
		sum = cat(sum, get(i), []byte{0x7c})
	}
	m.fns[2].body = cat(first, call(itself), dropped, answer(1024, 18))
	ends := cat(get(0), []byte{0x50, 0x04, 0x40}, long(0), ret, end)
	m.fns = append(m.fns, fn{params: bytes.Repeat([]byte{i64}, values), results: []byte{i64}, body: cat(ends, next, call(itself), sum)})
	return m
}

// TestStacksThatGrewAreTaken: the engine keeps them, megabytes for an instance whose linear memory is a page.
func TestStacksThatGrewAreTaken(t *testing.T) {
	tenant := newRuntime(t, func(c *wasm.Config) { c.Instances = 1 }).Tenant("org_1", wasm.Quota{FuelPerSecond: 1 << 40})
	f := loadFor(t, tenant, deep())
	held, taken := heap(), tenant.Stats().Memory
	if v, kind := decide(t, f, "{}"); v.Kind != wasm.Pass {
		t.Fatalf("trap %q", kind)
	}
	held, taken = heap()-held, tenant.Stats().Memory-taken
	if held < 1<<20 || taken < held-64<<10 {
		t.Errorf("%d bytes are held, %d taken", held, taken)
	}
	closeAll(t, tenant, f)
}

// TestAStackOverTheQuotaIsNotKept: the call has its verdict, the instance goes.
func TestAStackOverTheQuotaIsNotKept(t *testing.T) {
	tenant := newRuntime(t, func(c *wasm.Config) { c.Instances = 1 }).Tenant("org_1", wasm.Quota{Memory: 512 << 10, FuelPerSecond: 1 << 40})
	f := loadFor(t, tenant, deep())
	for range 3 {
		if v, kind := decide(t, f, "{}"); v.Kind != wasm.Pass {
			t.Fatalf("trap %q", kind)
		}
		if s := f.Stats(); s.Instances != 0 || tenant.Stats().Memory > 512<<10 {
			t.Errorf("%d instances, %d bytes taken", s.Instances, tenant.Stats().Memory)
		}
	}
	closeAll(t, tenant, f)
}
