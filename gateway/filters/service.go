package filters

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// Bundles is what the service needs of the revisions of policies.
type Bundles interface {
	// Current is the bundle that is enforced for a tenant.
	Current(tenant string) (*policies.Bundle, bool)
	// Signed tells whether the tenant's bundles have to be signed.
	Signed(tenant string) bool
	// Amend enforces the enforced bundle with the one file changed, as a revision of its own.
	Amend(ctx context.Context, tenant string, by Actor, edit func(*policies.Bundle) (file string, data []byte, err error)) (revision uint64, err error)
}

// Config bounds what a tenant may have. What it may use at once is in the Judge's configuration.
type Config struct {
	Filters  int           // names per tenant; default 32
	Versions int           // per name; default 20
	Bytes    int64         // of modules kept per tenant; default 64 MiB
	Uploads  int           // per tenant and hour, refused ones included; default 60
	LogLines int           // kept per filter; default 200
	Retry    time.Duration // after which a filter that could not be loaded is tried again; default 10s
}

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

// Deps are what the service works with. All are required.
type Deps struct {
	Store store.Store
	// Record makes a ledger record durable; it fills in who wrote it and when.
	Record  func(ctx context.Context, r *ledger.Record) error
	Bundles Bundles
	Judge   *Judge
	Now     func() time.Time
	Log     *slog.Logger
}
