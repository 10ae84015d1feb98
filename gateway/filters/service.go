package filters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/filters/lines"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/wasm"
)

// Bundles is what the service needs of the revisions of policies.
type Bundles interface {
	// Current is the bundle that is enforced for a tenant.
	Current(tenant string) (*policies.Bundle, bool)
	// Standing is that too while it waits for its tools or its filters.
	Standing(tenant string) (*policies.Bundle, bool)
	// Signed tells whether the tenant's bundles have to be signed.
	Signed(tenant string) bool
	// Amend enforces the enforced bundle with the one file changed, as a revision of its own.
	Amend(ctx context.Context, tenant string, by Actor, edit func(*policies.Bundle) (file string, data []byte, err error)) (revision uint64, err error)
	// Retool tries a bundle again that waits for its filters.
	Retool(ctx context.Context, tenant string)
}

// Config bounds what a tenant may have. What it may use at once is in the Judge's configuration.
type Config struct {
	Filters  int   // names per tenant; default 32
	Versions int   // per name; default 20
	Bytes    int64 // of modules, configs and vectors kept per tenant; default 64 MiB
	Uploads  int   // per tenant and hour, refused ones included; default 60
	LogLines int   // kept per filter; default 200
	// Quota is what a tenant's enforced filters may take together, and those in shadow once more. Zeros are wasm's defaults.
	Quota wasm.Quota
	// InProcess lets uploads be compiled in this process, which nothing bounds: for tests. Without it, and without a compiler,
	// uploads are refused.
	InProcess bool
	Retry     time.Duration // after which a filter that could not be loaded is tried again; default 10s
}

// spareLogs is of how many names lines are kept beyond those that a tenant may have: of what was rejected.
const spareLogs = 16

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{Filters: 32, Versions: 20, Bytes: 64 << 20, Uploads: 60, LogLines: 200, Retry: 10 * time.Second}
}

// Validate refuses values that leave something without a bound.
func (c Config) Validate() error {
	for _, n := range []struct {
		name       string
		value, max int64
	}{
		{"Filters", int64(c.Filters), 1000}, {"Versions", int64(c.Versions), 1000}, {"Bytes", c.Bytes, 1 << 40},
		{"Uploads", int64(c.Uploads), 1 << 20}, {"LogLines", int64(c.LogLines), 10_000}, {"Retry", int64(c.Retry), int64(time.Hour)},
	} {
		if n.value < 1 || n.value > n.max {
			return fmt.Errorf("filters: %s is %d, want 1 to %d", n.name, n.value, n.max)
		}
	}
	return nil
}

// Deps are what the service works with. All but BuiltIn are required.
type Deps struct {
	Store store.Store
	// Record makes a ledger record durable; it fills in who wrote it and when.
	Record  func(ctx context.Context, r *ledger.Record) error
	Bundles Bundles
	Judge   *Judge // the caller closes it, after the service
	// BuiltIn are the filters of the configuration, in their order.
	BuiltIn []BuiltIn
	Now     func() time.Time
	Log     *slog.Logger
}

// BuiltIn is a filter of the gateway's configuration: it is before those of every tenant, in instances of each tenant's own.
type BuiltIn struct {
	Name   string
	Module []byte
}

// Service keeps the filters of all tenants. It is safe for concurrent use.
type Service struct {
	cfg  Config
	deps Deps
	logs *lines.Book

	// known is what each tenant has in force. Its map is never changed in place.
	known   atomic.Pointer[map[string]*live]
	closing sync.WaitGroup // sets that are being taken apart, and alarms that are being written

	mu      sync.Mutex // guards what follows and the books' fields; never held over a disk or a compilation
	books   map[string]*book
	uploads map[string][]time.Time // of the last hour, oldest first
	units   map[*unit]string       // all that are loaded, with their tenant
	totals  map[totalKey]Stats     // of what was loaded before
}

// totalKey is whose counts they are.
type totalKey struct {
	tenant, name string
	shadow       bool
}

// New makes a service that has nothing in force: bundles put it there.
func New(c Config, d Deps) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if d.Store == nil || d.Record == nil || d.Bundles == nil || d.Judge == nil || d.Now == nil || d.Log == nil {
		return nil, errors.New("filters: a dependency is missing")
	}
	s := &Service{
		cfg: c, deps: d, logs: lines.New(c.LogLines, c.Filters+spareLogs), books: map[string]*book{}, uploads: map[string][]time.Time{},
		units: map[*unit]string{}, totals: map[totalKey]Stats{},
	}
	s.known.Store(&map[string]*live{})
	return s, nil
}

// Close takes everything out of force and frees it, once the calls that run are over. Nil closes nothing.
func (s *Service) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	for tenant, l := range *s.known.Load() {
		l.load.Lock()
		if set := l.set.Swap(nil); set != nil {
			set.Release()
		}
		own := l.builtin
		l.builtin, l.failed, l.until = nil, errClosed, time.Unix(1<<40, 0)
		l.load.Unlock()
		for _, u := range own {
			s.drop(tenant, u)
		}
	}
	over := make(chan struct{})
	go func() { s.closing.Wait(); close(over) }()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close filters: %w", ctx.Err())
	}
}

var errClosed = errors.New("the filters are closed")

// drop gives one reference to a unit back.
func (s *Service) drop(tenant string, u *unit) {
	s.mu.Lock()
	u.users--
	last := u.users == 0
	s.mu.Unlock()
	if last {
		s.closeUnit(tenant, u)
	}
}

// What a transition is, as its record says.
const (
	opUpload   = "upload"   // it passed, and is a version
	opReject   = "reject"   // it did not
	opShadow   = "shadow"   // a bundle that tries it is about to be put in force
	opActivate = "activate" // likewise one that enforces it
	opRollback = "rollback" // likewise one that enforces the version before
	opWithdraw = "withdraw" // likewise one that tries it no more
	opRemove   = "remove"   // likewise one without it
	opDelete   = "delete"   // the version is given up
	opAlarm    = "alarm"    // its breaker opened: calls are refused
	opFailed   = "failed"   // what the record before announced was not done
)

// changeTime is what record and store may take: a disk that is slower is broken.
const changeTime = 30 * time.Second

// event is a record's body.
type event struct {
	Op        string   `json:"op"`
	Of        string   `json:"of,omitempty"` // the failed one
	Name      string   `json:"name"`
	Version   uint64   `json:"version,omitempty"`
	Digest    string   `json:"digest,omitempty"`
	Size      int      `json:"size,omitempty"`
	Dialect   string   `json:"dialect,omitempty"`
	Class     string   `json:"class,omitempty"`
	Vectors   int      `json:"vectors,omitempty"`
	Stage     Stage    `json:"stage,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Offset    int64    `json:"offset,omitempty"`
	Mode      string   `json:"mode,omitempty"`
	Servers   []string `json:"servers,omitempty"`
	Tools     []string `json:"tools,omitempty"`
	Direction string   `json:"direction,omitempty"`
}

// record makes a transition known before it happens.
func (s *Service) record(ctx context.Context, tenant string, by Actor, e event, verdict string) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("describe the filter: %w", err)
	}
	err = s.deps.Record(ctx, &ledger.Record{
		Tenant: tenant, Kind: ledger.Filter, Step: -1, Verdict: verdict, User: by.User, Key: by.Key, Body: text,
	})
	if err != nil {
		return fmt.Errorf("record the change: %w", err)
	}
	return nil
}

// failed puts on record that what was announced was not done, and returns why.
func (s *Service) failed(ctx context.Context, tenant string, by Actor, e event, why error) error {
	e.Of, e.Op = e.Op, opFailed
	if err := s.record(context.WithoutCancel(ctx), tenant, by, e, "deny"); err != nil {
		s.deps.Log.Error("a change of a filter was announced and not made, and that is not on record", "tenant", tenant, "filter", e.Name, "op", e.Of, "error", err)
	}
	return why
}
