package wasm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// loadFor loads a module for a tenant.
func loadFor(t *testing.T, tenant *wasm.Tenant, m asm) *wasm.Filter {
	t.Helper()
	f, err := tenant.Load(t.Context(), "test", m.bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// full waits until the fuel has come back that loading took, but for that of gw_alloc, which the next call sees to.
func full(t *testing.T, tenant *wasm.Tenant) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if s := tenant.Stats(); s.Fuel >= s.Quota.FuelPerSecond-1_000 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("the fuel does not come back: %+v", s)
		}
	}
}

func TestATenantIsOne(t *testing.T) {
	r := newRuntime(t, nil)
	one := r.Tenant("org_1", wasm.Quota{Memory: 1 << 20})
	if r.Tenant("org_1", wasm.Quota{Memory: 2 << 20}) != one || r.Tenant("org_2", wasm.Quota{}) == one {
		t.Error("a tenant is not the same each time, or the same as another")
	}
	f := loadFor(t, one, says(`{"verdict":"pass"}`))
	if s := f.Stats(); s.Tenant != "org_1" {
		t.Errorf("%+v", s)
	}
	s := one.Stats()
	if s.Quota.Memory != 1<<20 || s.Quota.Concurrency < 1 || s.Quota.FuelPerSecond < 1 || s.Memory < 1<<16+wasm.PerInstance || s.Fuel > s.Quota.FuelPerSecond {
		t.Errorf("%+v", s)
	}
}

func TestMemoryOfATenantIsBounded(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Traps, c.Instances = 2, 1 })
	tenant := r.Tenant("org_1", wasm.Quota{Memory: 60 << 16})
	grows := filterOf(cat(grow(30), dropped, answer(1024, 18))...)
	grows.data = []data{{1024, `{"verdict":"pass"}`}}
	f := loadFor(t, tenant, grows)
	if v, kind := decide(t, f, "{}"); v.Kind != wasm.Pass {
		t.Fatalf("within the quota: trap %q", kind)
	}
	f.Settle()
	other := loadFor(t, tenant, filterWith(30, answer(1024, 18)...))
	for range 10 {
		if _, kind := decide(t, f, "{}"); kind != wasm.TrapQuota {
			t.Fatalf("over the quota: trap %q", kind)
		}
	}
	if s := f.Stats(); s.Broken || s.Traps[wasm.TrapQuota] != 10 {
		t.Errorf("a quota broke the filter: %+v", s)
	}
	_, err := tenant.Load(t.Context(), "third", filterWith(30, answer(1024, 18)...).bytes(), nil)
	if err == nil || !strings.Contains(err.Error(), "memory is used up") {
		t.Errorf("a filter over the quota: %v", err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, kind := decide(t, f, "{}"); v.Kind != wasm.Pass {
		t.Errorf("within the quota again: trap %q", kind)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := tenant.Stats(); s.Memory != 0 {
		t.Errorf("nothing is left, and %d bytes are counted", s.Memory)
	}
}

func TestFuelOfATenantIsBounded(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Instances = 1 }) // making more would be paid from the same fuel
	tenant := r.Tenant("org_1", wasm.Quota{FuelPerSecond: 200_000})
	m := says(`{"verdict":"pass"}`)
	f, other := loadFor(t, tenant, m), loadFor(t, tenant, m)
	neighbour := loadFor(t, r.Tenant("org_2", wasm.Quota{}), m)
	full(t, tenant)
	began, fuel := time.Now(), int64(0)
	var refused bool
	for n := 0; n < 10_000 && !refused; n++ {
		each := []*wasm.Filter{f, other}[n%2]
		v, kind := decide(t, each, "{}")
		fuel += v.Fuel
		if refused = kind == wasm.TrapQuota; !refused && kind != "" {
			t.Fatalf("trap %q", kind)
		}
	}
	if most := int64((time.Since(began).Seconds() + 1.2) * 200_000); !refused || fuel > most || fuel < 150_000 {
		t.Errorf("refused %v after %d units, at most %d", refused, fuel, most)
	}
	if _, kind := decide(t, neighbour, "{}"); kind != "" {
		t.Errorf("the neighbour pays for it: trap %q", kind)
	}
	if s := tenant.Stats(); s.Refused != 1 || f.Stats().Broken || other.Stats().Broken {
		t.Errorf("%+v", s)
	}
	for kind := wasm.TrapQuota; kind != ""; _, kind = decide(t, f, "{}") {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the fuel does not come back")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestTimeOfATenantIsBounded: code that takes longer for a unit of fuel than others takes no more of the machine for it.
func TestTimeOfATenantIsBounded(t *testing.T) {
	const rate = 8_000_000
	r := newRuntime(t, nil)
	tenant := r.Tenant("org_1", wasm.Quota{FuelPerSecond: rate})
	next := cat(get(2), constant(1664525), []byte{0x6c}, constant(1013904223), []byte{0x6a}, set(2))
	misses := cat([]byte{0x03, 0x40}, next, get(2), get(3), []byte{0x6a}, constant(0xfffff8), []byte{0x71, 0x28, 2, 0}, set(3), []byte{0x0c, 0, 0x0b}, never)
	f := loadFor(t, tenant, filterWith(256, misses...))
	full(t, tenant)
	began, before := time.Now(), tenant.Stats().Fuel
	v, kind := decide(t, f, "{}")
	took := time.Since(began)
	back := int64(took.Seconds() * rate)
	spent := before - tenant.Stats().Fuel
	if kind != wasm.TrapFuel || spent < v.Fuel-back || spent < took.Nanoseconds()/3-back {
		t.Errorf("trap %q: a call of %d units and %v counts as %d", kind, v.Fuel, took, spent)
	}
}

func TestCallsOfATenantAtOnceAreBounded(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Fuel, c.Wait = 1<<45, 5*time.Millisecond })
	tenant := r.Tenant("org_1", wasm.Quota{Concurrency: 1, FuelPerSecond: 1 << 40})
	runaway, f := loadFor(t, tenant, filterOf(cat(spin, never)...)), loadFor(t, tenant, says(`{"verdict":"pass"}`))
	neighbour := loadFor(t, r.Tenant("org_2", wasm.Quota{Concurrency: 1}), says(`{"verdict":"pass"}`))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		var v wasm.Verdict
		done <- runaway.Decide(ctx, &abi.Context{Body: []byte("{}")}, &v)
	}()
	for tenant.Stats().Running == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, kind := decide(t, f, "{}"); kind != wasm.TrapQuota {
		t.Errorf("trap %q", kind)
	}
	if _, kind := decide(t, neighbour, "{}"); kind != "" {
		t.Errorf("the neighbour pays for it: trap %q", kind)
	}
	cancel(errStopped)
	if err := <-done; !errors.Is(err, errStopped) {
		t.Errorf("%v", err)
	}
	if _, kind := decide(t, f, "{}"); kind != "" {
		t.Errorf("after it: trap %q", kind)
	}
	if s := tenant.Stats(); s.Running != 0 || s.Refused != 1 || s.Waits != 1 {
		t.Errorf("%+v", s)
	}
}
