package config

import (
	"reflect"
	"time"
)

// Segment sizes that "auto" stands for: in production few large files, in development small ones, so
// that rotation is met while trying things out and an idle checkout stays small.
const (
	segmentProduction  Size = 64 << 20
	segmentDevelopment Size = 4 << 20
)

// Default returns the settings of an installation that sets none. gateway.hcl says the same.
func Default() Config {
	c := unsettled()
	c.settle()
	return c
}

// unsettled is Default before "auto" is replaced: what the layers are laid over.
func unsettled() Config {
	return Config{
		Mode:          "development",
		ShutdownGrace: 15 * time.Second,
		Data:          Data{Dir: "data"},
		Proxy: Proxy{
			Listen: "127.0.0.1:8080", TLSMin: "1.3",
			TrustedProxies: []string{}, Hosts: []string{}, Origins: []string{},
			MaxBody: 1 << 20, MaxHeader: 16 << 10,
			ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 75 * time.Second,
			MaxConnections: 4096, MaxConnectionsPerIP: 512,
			JSONDepth: 32, JSONValues: 100_000,
		},
		Control: Control{
			Listen: "127.0.0.1:8081", TLSMin: "1.3",
			TrustedProxies: []string{}, Hosts: []string{}, Origins: []string{},
			MaxBody: 4 << 20, MaxHeader: 16 << 10,
			ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 75 * time.Second,
			MaxConnections: 256, Metrics: true,
		},
		Ledger: Ledger{
			Origin: "gatewright.local", Instance: "main", Sync: "sync",
			Deadline: 2 * time.Second, CheckpointEvery: time.Second,
			Arguments: "sealed", Receipts: true,
		},
		Intent: Intent{
			Issuer: "gatewright", Audience: "gatewright",
			TokenTTL: 15 * time.Minute, MaxTokenTTL: 24 * time.Hour, PlanTTL: 24 * time.Hour,
			MaxSteps: 256, MaxPlan: 256 << 10, MaxPlans: 1000,
			Leeway: 5 * time.Second, CacheTokens: 10_000,
		},
		Identity:  Identity{MaxOrganisations: 1000, MaxUsers: 10_000, MaxAgents: 10_000, MaxKeys: 20_000},
		Quota:     Quota{SourceRate: 1000, SourceBurst: 2000, TenantRate: 5000, TenantBurst: 10_000, AgentRate: 1000, AgentBurst: 2000, MaxTracked: 100_000},
		Catalogue: Catalogue{RefreshEvery: time.Minute, MaxServers: 256, MaxTools: 1000, MaxSchema: 64 << 10},
		Upstream: Upstream{
			ConnectTimeout: 3 * time.Second, Timeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
			MaxReply: 4 << 20, MaxHeader: 16 << 10, MaxConnections: 256, MaxSessions: 10_000,
		},
		Log:  Log{Level: "info", Format: "text"},
		Demo: Demo{Server: true, StartTimeout: 10 * time.Second},
	}
}

// DefaultServer is what a server block leaves out.
func DefaultServer() Server { return Server{Era: "auto", Header: "Authorization"} }

func defaultElement(t reflect.Type) reflect.Value {
	if t == reflect.TypeFor[Server]() {
		return reflect.ValueOf(DefaultServer())
	}
	return reflect.Zero(t)
}

// settle fills in what "auto" stands for.
func (c *Config) settle() {
	if c.Ledger.Segment != 0 {
		return
	}
	c.Ledger.Segment = segmentProduction
	if c.Mode == "development" {
		c.Ledger.Segment = segmentDevelopment
	}
}
