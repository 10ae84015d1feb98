package control

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config tunes the control port. Every limit is here with the reason for its default.
type Config struct {
	// Hosts are further names under which the port may be addressed, without scheme, with or without a port. Loopback
	// names are always allowed. A browser that was rebound to this port sends a foreign name and is refused. Default: none.
	Hosts []string `koanf:"hosts"`
	// Origins are web origins (scheme://host[:port]) whose pages may call this port beside its own. Danger: each one may
	// act with every key its visitors paste into it. Default: none.
	Origins []string `koanf:"origins"`
	// TrustedProxies are address ranges (CIDR) whose X-Forwarded-For is believed. Danger: too wide a range lets callers
	// choose the address that stands in the ledger. Default: none.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// MaxBody bounds a request body, in bytes. The largest honest body is an upstream secret or a public key, so
	// 256 KiB leaves much room. Default: 262144.
	MaxBody int `koanf:"max_body"`
	// PageLimit bounds how many rows one answer may carry, whatever the caller asks for. Default: 200.
	PageLimit int `koanf:"page_limit"`
	// ReplayEntries bounds how many answers are kept for Idempotency-Key; the oldest goes first. An answer is at most a
	// few KiB, so 1024 are a few MiB. Default: 1024.
	ReplayEntries int `koanf:"replay_entries"`
	// ReplayFor is how long such an answer is kept. Default: 10m. It does not outlive the process.
	ReplayFor time.Duration `koanf:"replay_for"`
	// Metrics serves /metrics to admin keys and to direct loopback peers. Default: true.
	Metrics bool `koanf:"metrics"`
	// Profiles serves /debug/pprof to admins of the gateway's own tenant and to direct loopback peers. Default: false.
	// Danger: a profile shows the command line and what the process is busy with, for all tenants.
	Profiles bool `koanf:"profiles"`
}

// DefaultConfig is what gateway.hcl states.
func DefaultConfig() Config {
	return Config{
		MaxBody: 256 << 10, PageLimit: 200,
		ReplayEntries: 1024, ReplayFor: 10 * time.Minute,
		Metrics: true,
	}
}

// Validate says what is wrong, naming the setting.
func (c Config) Validate() error {
	var errs []error
	for name, bound := range map[string]struct{ got, min, max int }{
		"max_body":       {c.MaxBody, 1 << 10, 64 << 20},
		"page_limit":     {c.PageLimit, 1, 1000},
		"replay_entries": {c.ReplayEntries, 1, 100_000},
	} {
		if bound.got < bound.min || bound.got > bound.max {
			errs = append(errs, fmt.Errorf("%s: %d is not between %d and %d", name, bound.got, bound.min, bound.max))
		}
	}
	if c.ReplayFor < time.Second || c.ReplayFor > 24*time.Hour {
		errs = append(errs, fmt.Errorf("replay_for: %s is not between 1s and 24h", c.ReplayFor))
	}
	if _, err := parseGuard(c); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// parseGuard compiles the lists of the config once.
func parseGuard(c Config) (guard, error) {
	g := guard{hosts: map[string]bool{}, origins: map[string]bool{}}
	for _, h := range c.Hosts {
		name := strings.ToLower(h)
		if name == "" || strings.ContainsAny(name, "/@*?# ") {
			return guard{}, fmt.Errorf("hosts: %q is not a host name", h)
		}
		g.hosts[name] = true
	}
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.Scheme+"://"+u.Host != o {
			return guard{}, fmt.Errorf("origins: %q is not scheme://host[:port]", o)
		}
		g.origins[strings.ToLower(o)] = true
	}
	for _, p := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return guard{}, fmt.Errorf("trusted_proxies: %w", err)
		}
		if prefix.Bits() == 0 {
			return guard{}, fmt.Errorf("trusted_proxies: %q trusts everybody", p)
		}
		g.proxies = append(g.proxies, prefix.Masked())
	}
	return g, nil
}
