package catalogue

import (
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
)

// Config bounds the catalogue and names the servers that are always there.
type Config struct {
	// MaxServers per tenant (default 200).
	MaxServers int `koanf:"max_servers"`
	// MaxTools per server (default 1,000). A server that offers more keeps its
	// last good list.
	MaxTools int `koanf:"max_tools"`
	// MaxToolBytes is the largest tool definition (default 256 KiB).
	MaxToolBytes int `koanf:"max_tool_bytes"`
	// MaxSchemaBytes and MaxSchemaDepth bound an input schema (default 64 KiB and
	// 32 levels); a tool over them is listed as unusable.
	MaxSchemaBytes int `koanf:"max_schema_bytes"`
	MaxSchemaDepth int `koanf:"max_schema_depth"`
	// RefreshTimeout bounds one listing of a server's tools (default 30s).
	RefreshTimeout time.Duration `koanf:"refresh_timeout"`
	// RefreshEvery is how often Run lists every server's tools (default 5m).
	RefreshEvery time.Duration `koanf:"refresh_every"`
	// AllowPrivate lets servers added through the control API be marked as
	// standing on loopback or private addresses (default false). Danger: whoever
	// may add servers can then reach the gateway's own network.
	AllowPrivate bool `koanf:"allow_private"`
	// Pin says how tools come to be approved where a server's own Pin does not:
	// PinFirstUse (default) or PinApprove.
	Pin string `koanf:"pin"`
	// MaxResultDepth is how deep a structured result may nest (default 64).
	MaxResultDepth int `koanf:"max_result_depth"`
	// Servers are fixed; the control API cannot change them (default none).
	Servers []Fixed `koanf:"servers"`
}

// Fixed is a server from the configuration file. It may be private whatever
// AllowPrivate says: the file is the operator's own word.
type Fixed struct {
	// Tenant whose server it is.
	Tenant string `koanf:"tenant"`
	// Name is the server's name: a-z, 0-9 and -, at most 63.
	Name string `koanf:"name"`
	// URL of its MCP endpoint, http or https; empty for one whose Process has none.
	URL string `koanf:"url"`
	// Process says that only a connector's process reaches it, never the gateway itself.
	Process bool `koanf:"process"`
	// Era of MCP: auto (default), modern, legacy or sse.
	Era string `koanf:"era"`
	// Credential names the secret in the tenant's vault to send (default none).
	Credential string `koanf:"credential"`
	// Header carries the secret (default Authorization); Prefix stands before it
	// (default "Bearer " for Authorization, else nothing).
	Header string `koanf:"header"`
	Prefix string `koanf:"prefix"`
	// Auth says how the gateway comes to tokens for it (default: it needs none).
	Auth Auth `koanf:"auth"`
	// TakesCallers lets a caller show a credential of its own instead (default false).
	TakesCallers bool `koanf:"takes_callers"`
	// AllowPrivate permits loopback and private addresses (default false).
	// Danger: see the guard of package upstream.
	AllowPrivate bool `koanf:"allow_private"`
	// PublicKeys are public keys, sha256/BASE64, one of which its TLS chain must hold
	// (default none).
	PublicKeys []string `koanf:"public_keys"`
	// Labels and Sensitivity are shown to policies (default none and 0).
	Labels      []string `koanf:"labels"`
	Sensitivity int64    `koanf:"sensitivity"`
	// Pin says how its tools come to be approved: PinFirstUse, PinApprove, or
	// PinOwn for the server of this very program (default Config.Pin).
	Pin string `koanf:"pin"`
}

// DefaultConfig returns the documented defaults.
func DefaultConfig() Config {
	return Config{
		MaxServers: 200, MaxTools: 1000, MaxToolBytes: 256 << 10, MaxSchemaBytes: 64 << 10, MaxSchemaDepth: 32,
		RefreshTimeout: 30 * time.Second, RefreshEvery: 5 * time.Minute, Pin: PinFirstUse, MaxResultDepth: 64,
	}
}

// Validate refuses missing bounds and bad or doubled fixed servers.
func (c Config) Validate() error {
	for _, n := range []int{c.MaxServers, c.MaxTools, c.MaxToolBytes, c.MaxSchemaBytes, c.MaxSchemaDepth, c.MaxResultDepth} {
		if n < 1 {
			return errors.New("catalogue: every bound must be at least 1")
		}
	}
	if c.RefreshTimeout <= 0 || c.RefreshEvery <= 0 {
		return errors.New("catalogue: refresh_timeout and refresh_every must be positive")
	}
	if c.Pin != PinFirstUse && c.Pin != PinApprove {
		return fmt.Errorf("catalogue: pin must be %s or %s", PinFirstUse, PinApprove)
	}
	seen := map[[2]string]bool{}
	for i, f := range c.Servers {
		key := [2]string{f.Tenant, f.Name}
		if err := f.server(c.Pin).validate(true); err != nil {
			return fmt.Errorf("catalogue: server %q of tenant %q: %w", f.Name, f.Tenant, err)
		}
		if seen[key] {
			return fmt.Errorf("catalogue: server %q of tenant %q is given twice", f.Name, f.Tenant)
		}
		for _, before := range c.Servers[:i] {
			if before.Tenant == f.Tenant && pins.Alike(before.Name, f.Name) {
				return fmt.Errorf("catalogue: the names of servers %q and %q of tenant %q look alike", before.Name, f.Name, f.Tenant)
			}
		}
		seen[key] = true
	}
	return nil
}

// server is the server with the pinning it has where its block says none.
func (f Fixed) server(pin string) Server {
	if f.Pin != "" {
		pin = f.Pin
	}
	return Server{
		Pin:    pin,
		Tenant: f.Tenant, Name: f.Name, URL: f.URL, Era: f.Era, Credential: f.Credential, Header: f.Header, Prefix: f.Prefix, Auth: f.Auth,
		Enabled: true, AllowPrivate: f.AllowPrivate, PublicKeys: f.PublicKeys, Labels: f.Labels, Sensitivity: f.Sensitivity, Fixed: true, Process: f.Process, TakesCallers: f.TakesCallers,
	}.withDefaults()
}
