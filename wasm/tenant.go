package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/wasm/linear"
)

// Quota bounds what all filters of a tenant take together. A call over it is a Trap of kind TrapQuota, which refuses it and
// does not count against the filter. A zero field stands for its default.
type Quota struct {
	// Memory bounds what all filters hold, in bytes (default 256 MiB): the linear memory of their instances, and for each
	// filter its image, its native code and what the engine keeps of the module, for each instance its tables and globals. A
	// filter counts from the beginning of Load until it is closed and its last call over, each in full, also where two of one
	// module share their code. What the engine keeps is a bound by what is in the module. Native stacks count as they are once
	// a call is over; while it runs it may grow them by some MiB.
	Memory int64
	// FuelPerSecond bounds the fuel of all calls, on average and with a burst of a second's worth (default 50,000,000 for each
	// processor). A call of more than one slice that took longer than a nanosecond for a unit counts by its nanoseconds, so
	// that the default is a twentieth of the machine whatever the filters do: others notice little of that, see bench/neighbour.
	// Instances are paid for as well, with a unit for each nanosecond that it takes to make one, those made beside calls too.
	// So is the first, which Load makes, with its image: by the fuel of gw_init, and by its nanoseconds only as far as there is
	// fuel. Nobody's lack of fuel refuses a load.
	FuelPerSecond int64
	// Concurrency bounds the calls that are judged at once (default half of the processors, at least one), so that filters
	// that never end leave some to others. More calls wait for up to Config.Wait.
	Concurrency int
}

// withDefaults fills in what is zero.
func (q Quota) withDefaults() Quota {
	if q.Memory == 0 {
		q.Memory = 256 << 20
	}
	if q.FuelPerSecond == 0 {
		q.FuelPerSecond = 50_000_000 * int64(runtime.GOMAXPROCS(0))
	}
	if q.Concurrency == 0 {
		q.Concurrency = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return q
}

// Tenant loads filters that share a Quota. A nil Tenant bounds nothing.
type Tenant struct {
	runtime *Runtime
	name    string
	wait    time.Duration
	memory  *linear.Budget
	fuel    bucket
	most    int64
	inside  atomic.Int64 // calls
	queue   queue
	refused atomic.Uint64
}

// TenantStats is what a tenant's filters take now.
type TenantStats struct {
	Name    string
	Quota   Quota
	Memory  int64  // bytes that all filters hold, by the bounds of Quota.Memory
	Fuel    int64  // units that can be spent at once; below zero when the last calls took more than there was
	Running int    // calls
	Waits   uint64 // calls that had to wait for others of the tenant
	Refused uint64 // calls over the quota
}

// Tenant returns the tenant of that name, which is the same each time: what its filters take is counted over all that are
// loaded, the ones that are being replaced too. The first call says what it may take.
func (r *Runtime) Tenant(name string, q Quota) *Tenant {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tenants[name]; t != nil {
		return t
	}
	q = q.withDefaults()
	t := &Tenant{runtime: r, name: name, wait: r.config.Wait, memory: linear.NewBudget(q.Memory), most: int64(q.Concurrency)}
	t.fuel.rate, t.fuel.have, t.fuel.at = q.FuelPerSecond, q.FuelPerSecond, time.Now()
	t.queue.wake = make(chan struct{}, q.Concurrency)
	r.tenants[name] = t
	return t
}

// Load is Runtime.Load for a filter of the tenant's.
func (t *Tenant) Load(ctx context.Context, name string, module, initConfig []byte, options ...Option) (*Filter, error) {
	options = append(slices.Clip(options), func(f *Filter) { f.tenant = t })
	f, err := t.runtime.load(ctx, name, module, initConfig, t.runtime.origin(t.name, len(module)), options...)
	if err != nil {
		return nil, fmt.Errorf("load filter %q: %w", name, err)
	}
	return f, nil
}

// Stats returns what the tenant's filters take.
func (t *Tenant) Stats() TenantStats {
	return TenantStats{
		Name: t.name, Memory: t.memory.Used(), Fuel: t.fuel.left(), Running: int(t.inside.Load()),
		Waits: t.queue.waits.Load(), Refused: t.refused.Load(),
		Quota: Quota{Memory: t.memory.Most(), FuelPerSecond: t.fuel.rate, Concurrency: int(t.most)},
	}
}

// budget is the memory of the tenant's filters.
func (t *Tenant) budget() *linear.Budget {
	if t == nil {
		return nil
	}
	return t.memory
}

// advise says what to do about a load that the tenant's memory does not suffice for.
func (t *Tenant) advise(err error) error {
	if t == nil || !errors.Is(err, linear.ErrBudget) {
		return err
	}
	const kib = 1 << 10
	return fmt.Errorf("%w: with it they would hold more than %d KiB, for code, images and instances; make it smaller "+
		"(less memory and code, fewer data segments, table entries and locals), close another filter or have the quota raised", err, t.memory.Most()/kib)
}

// take takes n bytes of the tenant's memory for the filter, which gives back what is left of them when it ends.
func (f *Filter) take(n int64) error {
	if !f.tenant.budget().Take(n) {
		return linear.ErrBudget
	}
	f.held.Add(n)
	return nil
}

// give gives back n bytes that take took.
func (f *Filter) give(n int64) {
	f.tenant.budget().Give(n)
	f.held.Add(-n)
}

// enter begins a call. leave must follow when there was no error.
func (t *Tenant) enter(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if !t.fuel.open() {
		t.refused.Add(1)
		return &overQuota{fmt.Errorf("its tenant has spent its %d units of fuel a second", t.fuel.rate)}
	}
	if t.seat() {
		return nil
	}
	err := t.queue.enter(ctx, t.wait, t.seat)
	if errors.Is(err, errBusy) {
		t.refused.Add(1)
		return &overQuota{fmt.Errorf("its tenant has %d calls at work", t.most)}
	}
	return err
}

// seat takes one of the calls that may be at work, if there is one.
func (t *Tenant) seat() bool {
	for n := t.inside.Load(); n < t.most; n = t.inside.Load() {
		if t.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// spend counts fuel that was spent outside of calls.
func (t *Tenant) spend(fuel int64) {
	if t != nil {
		t.fuel.ready.Add(-fuel)
	}
}

// pay counts fuel that was spent outside of calls, as far as there is some: what brings a gateway's filters up again must not
// have their calls refused.
func (t *Tenant) pay(fuel int64) {
	if t != nil {
		t.fuel.pay(fuel, time.Now())
	}
}

// leave ends a call that spent that much fuel.
func (t *Tenant) leave(fuel int64) {
	if t == nil {
		return
	}
	t.fuel.ready.Add(-fuel)
	t.inside.Add(-1)
	t.queue.leave()
}

// overQuota is a call that its tenant's quota refuses.
type overQuota struct{ cause error }

func (e *overQuota) Error() string { return e.cause.Error() }

// bucket holds fuel that comes back over time. Calls spend from what was taken out of it in parts, so that most of them need
// neither a clock nor a lock.
type bucket struct {
	rate  int64 // units a second, and how many it holds
	ready atomic.Int64

	mu   sync.Mutex // guards what follows
	have int64
	at   time.Time // when have was right
}

// parts of a second's fuel are taken out at once.
const parts = 16

// open reports whether there is fuel to begin a call with.
func (b *bucket) open() bool { return b.ready.Load() > 0 || b.draw(time.Now()) }

// draw takes a part out, and what the last calls overdrew.
func (b *bucket) draw(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	if n := min(b.have, max(b.rate/parts, 1)-b.ready.Load()); n > 0 {
		b.have -= n
		b.ready.Add(n)
	}
	return b.ready.Load() > 0
}

// pay takes n out for good, or what there is.
func (b *bucket) pay(n int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.have -= max(min(n, b.have+min(b.ready.Load(), 0)), 0)
}

func (b *bucket) refill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.have = min(b.rate-max(b.ready.Load(), 0), b.have+int64(min(passed.Seconds(), 1)*float64(b.rate)))
		b.at = now
	}
}

// left is what can be spent now.
func (b *bucket) left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(time.Now())
	return b.have + b.ready.Load()
}
