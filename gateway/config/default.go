package config

import (
	"net/netip"
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
			TrustedProxies: []string{}, Hosts: []string{}, Origins: []string{}, ClientCertRequired: []string{},
			MaxBody: 1 << 20, MaxHeader: 16 << 10,
			ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 75 * time.Second,
			MaxConnections: 4096, MaxConnectionsPerIP: 512,
			MaxStreams: 2048, MaxStreamsPerAgent: 128, MaxStreamsPerIP: 512, StreamQueue: 256 << 10, SessionIdle: 30 * time.Minute, SessionLife: 24 * time.Hour, StreamKeepAlive: 15 * time.Second,
			TaskTTL: 24 * time.Hour, TaskPoll: time.Minute, TaskWait: 50 * time.Second, MaxTasksPerAgent: 100, MaxTasks: 10_000,
			JSONDepth: 32, JSONValues: 100_000,
			RetryEntries: 10_000, RetryBytes: 64 << 20, RetryFor: 10 * time.Minute,
		},
		Control: Control{
			Listen: "127.0.0.1:8081", TLSMin: "1.3",
			TrustedProxies: []string{}, Hosts: []string{}, Origins: []string{},
			MaxBody: 256 << 10, MaxHeader: 16 << 10,
			ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 75 * time.Second,
			MaxConnections: 256, PageLimit: 200, RetryEntries: 1024, RetryFor: 10 * time.Minute, Metrics: true,
		},
		Ledger: Ledger{
			Origin: "gatewright.local", Instance: "main", Sync: "sync",
			Deadline: 2 * time.Second, Queue: 16 << 10, CheckpointEvery: time.Second,
			Arguments: "sealed", Receipts: true, Heartbeat: time.Minute, WitnessEvery: time.Second, WitnessTimeout: 2 * time.Second,
		},
		Witness: Witness{Rate: 10, Burst: 20},
		Intent: Intent{
			Issuer: "gatewright", Audience: "gatewright",
			TokenTTL: 15 * time.Minute, MaxTokenTTL: 24 * time.Hour, PlanTTL: 24 * time.Hour,
			MaxSteps: 256, MaxPlan: 64 << 10, MaxPlans: 200,
			MaxAllPlans: 20_000, MaxTokens: 100, History: 100, KeepPlans: 7 * 24 * time.Hour,
			Leeway: 5 * time.Second, CacheTokens: 10_000,
		},
		Identity:  Identity{MaxOrganisations: 1000, MaxUsers: 10_000, MaxAgents: 10_000, MaxKeys: 20_000},
		Quota:     Quota{SourceRate: 1000, SourceBurst: 2000, TenantRate: 5000, TenantBurst: 10_000, AgentRate: 1000, AgentBurst: 2000, SessionWindow: time.Hour, Counters: 100_000},
		Catalogue: Catalogue{RefreshEvery: 5 * time.Minute, RefreshTimeout: 30 * time.Second, MaxServers: 200, MaxTools: 1000, MaxTool: 128 << 10, Pin: "auto", MaxSchema: 64 << 10, SchemaDepth: 32},
		Upstream: Upstream{
			ConnectTimeout: 5 * time.Second, Timeout: time.Minute, QueueTimeout: 2 * time.Second, IdleTimeout: 30 * time.Second,
			MaxReply: 4 << 20, JSONDepth: 64, JSONValues: 400_000, MaxEvents: 10_000, MaxPages: 100,
			MaxInterim: 1000, MaxInterimBytes: 1 << 20, MaxAsks: 8, AnswerTimeout: 5 * time.Minute, HeldCalls: 512, HeldCallsPerTenant: 128, HeldCallsPerAgent: 16, MaxStreams: 1024,
			MaxConnections: 128, MaxUpstreams: 4096, MaxSessions: 4096, SessionIdle: 10 * time.Minute, Failures: 5, OpenFor: 5 * time.Second,
		},
		OpenAPI: OpenAPI{MaxDocument: 8 << 20, MaxValues: 500_000, MaxDepth: 64, MaxOperations: 1000, MaxRefs: 200, MaxAnswer: 1 << 20},
		Connectors: Connectors{
			StartTimeout: 30 * time.Second, DrainTimeout: time.Minute, StopTimeout: 5 * time.Second, PingEvery: 5 * time.Second, PingTimeout: 5 * time.Second,
			BackoffMin: 200 * time.Millisecond, BackoffMax: 30 * time.Second,
			MaxCrashes: 10, CrashWindow: 5 * time.Minute, BreakFor: 5 * time.Minute,
			InFlight: 256, Memory: 1 << 30, Processes: 256, Files: 1024, LinesPerSecond: 20, LogLines: 200,
		},
		Filters: Filters{
			Enabled: []string{"redact-secrets"}, Fuel: 4_000_000, ByteFuel: 512, InitFuel: 50_000_000, Memory: 16 << 20, Wait: 100 * time.Millisecond,
			MaxContext: 1 << 20, MaxVerdict: 16 << 10, Traps: 5, TrapWindow: time.Minute, BreakFor: 10 * time.Second,
			MaxFilters: 32, MaxVersions: 20, MaxBytes: 64 << 20, UploadsPerHour: 60, Large: true, TenantMemory: 256 << 20, LogLines: 200,
		},
		Policies:  Policies{Ref: "main", Watch: 2 * time.Second, Poll: time.Minute, Keys: []string{}, History: 100},
		Approvals: Approvals{Required: 1, TTL: 30 * time.Minute, Approver: "manager", MemberLimit: "0", MaxOpen: 100, MaxAll: 10_000, Keep: 7 * 24 * time.Hour},
		ArmorIQ:   ArmorIQ{Enabled: true, Arguments: "exact", Answers: "auto"},
		Log:       Log{Level: "info", Format: "text"},
		Demo:      Demo{Server: true},
	}
}

// DefaultServer is what a server block leaves out.
func DefaultServer() Server {
	return Server{
		Era: "auto", Via: "native", Pin: "auto", Header: "Authorization", Auth: "static", AuthScopes: []string{},
		Command: []string{}, Args: []string{}, Env: []string{}, PassEnv: []string{}, Labels: []string{},
	}
}

// DefaultLogin is what a login block leaves out.
func DefaultLogin() Login {
	return Login{Algorithm: "EdDSA", UserClaim: "email", MaxAge: time.Hour}
}

func defaultElement(t reflect.Type) reflect.Value {
	if t == reflect.TypeFor[WitnessedLog]() {
		return reflect.ValueOf(WitnessedLog{Keys: []string{}})
	}
	if t == reflect.TypeFor[TenantPolicies]() {
		return reflect.ValueOf(TenantPolicies{Ref: "main", Keys: []string{}})
	}
	if t == reflect.TypeFor[Sink]() {
		return reflect.ValueOf(DefaultSink())
	}
	if t == reflect.TypeFor[AuthorizationServer]() {
		return reflect.ValueOf(DefaultAuthorizationServer())
	}
	if t == reflect.TypeFor[Login]() {
		return reflect.ValueOf(DefaultLogin())
	}
	if t == reflect.TypeFor[Server]() {
		return reflect.ValueOf(DefaultServer())
	}
	return reflect.Zero(t)
}

// settle fills in what "auto" stands for, and writes addresses of trusted proxies as the ranges of one
// address that they are, so that readers meet one form.
func (c *Config) settle() {
	for _, list := range [][]string{c.Proxy.TrustedProxies, c.Control.TrustedProxies} {
		for i, s := range list {
			if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
				list[i] = netip.PrefixFrom(a, a.BitLen()).String()
			}
		}
	}
	if c.Catalogue.Pin == "auto" {
		c.Catalogue.Pin = "approve"
		if c.Mode == "development" {
			c.Catalogue.Pin = "first_use"
		}
	}
	if c.Ledger.Segment != 0 {
		return
	}
	c.Ledger.Segment = segmentProduction
	if c.Mode == "development" {
		c.Ledger.Segment = segmentDevelopment
	}
}
