package config

import "time"

// Quota bounds call rates by token buckets: rate is calls a second, burst how many may come at once.
// Beyond them a call is answered 429 with Retry-After.
type Quota struct {
	// SourceRate and SourceBurst bound one source address (IPv6: one /64), before any key is looked at.
	// Default 1000 and 2000. Danger: agents behind one NAT share them.
	SourceRate  float64 `koanf:"source_rate" min:"0.01" max:"1000000"`
	SourceBurst int     `koanf:"source_burst" min:"1" max:"1000000"`
	// TenantRate and TenantBurst bound one organisation. Default 5000 and 10000.
	TenantRate  float64 `koanf:"tenant_rate" min:"0.01" max:"1000000"`
	TenantBurst int     `koanf:"tenant_burst" min:"1" max:"1000000"`
	// AgentRate and AgentBurst bound one agent, whatever its keys. Default 1000 and 2000.
	AgentRate  float64 `koanf:"agent_rate" min:"0.01" max:"1000000"`
	AgentBurst int     `koanf:"agent_burst" min:"1" max:"1000000"`
	// SessionWindow is how long calls without a plan count in what policies read as context.session.
	// Default 1h. Danger: a label that a policy looks for is forgotten when its call has left the window.
	SessionWindow time.Duration `koanf:"session_window" min:"1s" max:"744h"`
	// Counters bounds the counters of sessions and of policies' rates in memory, of all organisations; the
	// others wait in the store. Default 100000, about 1 KiB each.
	Counters int `koanf:"counters" min:"100" max:"4000000"`
}
