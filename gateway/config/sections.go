package config

import "time"

// Config is every setting of a gateway. Field tags: koanf is the name in gateway.hcl, min and max the
// range allowed (in the setting's own unit), oneof the words allowed, auto that "auto" may stand for a
// value chosen by the mode. gateway.hcl states each setting again for its reader; a test holds both equal.
type Config struct {
	// Mode is "development" (demo tenant, demo.env, small segments) or "production" (none of these; no
	// plaintext beyond loopback). Default development. Danger: development writes working keys to disk.
	Mode string `koanf:"mode" oneof:"development,production"`
	// ShutdownGrace is how long calls in flight may finish after SIGTERM. Default 15s. Danger: a grace
	// shorter than upstream.timeout cuts calls off; their records then say "unknown".
	ShutdownGrace time.Duration `koanf:"shutdown_grace" min:"0s" max:"10m"`

	Data       Data              `koanf:"data"`
	Proxy      Proxy             `koanf:"proxy"`
	Control    Control           `koanf:"control"`
	Ledger     Ledger            `koanf:"ledger"`
	Witness    Witness           `koanf:"witness"`
	Intent     Intent            `koanf:"intent"`
	Issuers    map[string]Issuer `koanf:"issuer"`
	Identity   Identity          `koanf:"identity"`
	Quota      Quota             `koanf:"quota"`
	Catalogue  Catalogue         `koanf:"catalogue"`
	Upstream   Upstream          `koanf:"upstream"`
	Servers    map[string]Server `koanf:"server"`
	OAuth      OAuth             `koanf:"oauth"`
	OpenAPI    OpenAPI           `koanf:"openapi"`
	Connectors Connectors        `koanf:"connectors"`
	Filters    Filters           `koanf:"filters"`
	Policies   Policies          `koanf:"policies"`
	Approvals  Approvals         `koanf:"approvals"`
	Logins     map[string]Login  `koanf:"login"`

	AuthorizationServers map[string]AuthorizationServer `koanf:"authorization_server"`
	ClientCertificates   map[string]ClientCertificate   `koanf:"client_certificate"`

	Sinks   map[string]Sink `koanf:"sink"`
	ArmorIQ ArmorIQ         `koanf:"armoriq"`
	Log     Log             `koanf:"log"`
	Demo    Demo            `koanf:"demo"`

	// File is the configuration file that was read, empty when there was none.
	File string `koanf:"-"`
}

// Data is where the gateway keeps what it must not lose.
type Data struct {
	// Dir is the data folder, created with mode 0700. Default "data". Danger: a second gateway on the
	// same folder is refused; a copy of it holds every key.
	Dir string `koanf:"dir"`
	// KeyFile is a file of 32 bytes (raw, hex or base64) that wraps the keys in Dir/keys. Default none:
	// keys lie there unwrapped. Danger: without this file a wrapped data folder cannot be opened again.
	KeyFile string `koanf:"key_file"`
	// KeyEnv is the name of an environment variable holding such a key instead. Default none.
	KeyEnv string `koanf:"key_env"`
}

// Proxy is the data port, which agents call.
type Proxy struct {
	// Listen is the TCP address; port 0 takes a free one. Default "127.0.0.1:8080".
	Listen string `koanf:"listen"`
	// TLSCert and TLSKey are PEM files, read again on SIGHUP. Default none: plaintext, which production
	// mode refuses beyond loopback.
	TLSCert string `koanf:"tls_cert"`
	TLSKey  string `koanf:"tls_key"`
	// PublicURL is the address by which clients reach this port, as "https://gate.example": access tokens must be for it or what
	// is under it. Default "": the listening address. Danger: two gateways with one address take each other's tokens.
	PublicURL string `koanf:"public_url"`
	// TLSMin is the oldest TLS version spoken. Default "1.3". Danger: 1.2 allows weaker handshakes.
	TLSMin string `koanf:"tls_min" oneof:"1.2,1.3"`
	// ClientCA is a PEM file of authorities whose client certificates are taken (mutual TLS), read at start. Default none. Danger:
	// behind a proxy that ends TLS no client's certificate is seen.
	ClientCA string `koanf:"client_ca"`
	// ClientCertRequired are organisations whose agents must show the certificate of a client_certificate block, whatever other
	// credential they have. Default none.
	ClientCertRequired []string `koanf:"client_cert_required"`
	// TrustedProxies are addresses or CIDR ranges whose X-Forwarded-For is believed. Default none.
	// Danger: whoever can send from such a range chooses the source address that quotas and records see.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// Hosts are further names the Host header may carry besides the listening address and localhost
	// (no port). Default none. Danger: a name an attacker controls reopens DNS rebinding.
	Hosts []string `koanf:"hosts"`
	// Origins are web origins ("https://app.example") whose scripts may call. Default none.
	Origins []string `koanf:"origins"`
	// MaxBody bounds a request body. Default 1MiB: tool calls are small, and the whole body is held in
	// memory once per call.
	MaxBody Size `koanf:"max_body" min:"1KiB" max:"64MiB"`
	// MaxHeader bounds request line and headers together. Default 16KiB: an intent token and a step
	// proof fit four times over.
	MaxHeader Size `koanf:"max_header" min:"4KiB" max:"256KiB"`
	// ReadTimeout bounds reading one whole request. Default 10s: slower senders only hold a connection.
	ReadTimeout time.Duration `koanf:"read_timeout" min:"100ms" max:"10m"`
	// WriteTimeout bounds writing one answer to a slow reader. Default 30s.
	WriteTimeout time.Duration `koanf:"write_timeout" min:"100ms" max:"10m"`
	// IdleTimeout is how long a kept-alive connection may stay silent. Default 75s, above the 60s of
	// common load balancers, so that they and not the gateway close first.
	IdleTimeout time.Duration `koanf:"idle_timeout" min:"1s" max:"1h"`
	// MaxConnections bounds open connections. Default 4096, each costing up to MaxHeader and MaxBody.
	MaxConnections int `koanf:"max_connections" min:"1" max:"1000000"`
	// MaxConnectionsPerIP bounds those of one address. Default 512. Danger: behind a load balancer all
	// share its address; set it to max_connections there.
	MaxConnectionsPerIP int `koanf:"max_connections_per_ip" min:"1" max:"1000000"`
	// MaxStreams bounds answers that are streams of events. Default 2048, beside MaxConnections; an idle one
	// costs some 10 KiB. With 0 every call is answered in one piece.
	MaxStreams int `koanf:"max_streams" min:"0" max:"1000000"`
	// MaxStreamsPerAgent bounds those of one agent. Default 128: an agent needs one and one for each call
	// under way.
	MaxStreamsPerAgent int `koanf:"max_streams_per_agent" min:"1" max:"1000000"`
	// MaxStreamsPerIP bounds those of one address. Default 512, as many as it may have connections. Danger:
	// behind a load balancer that is not in TrustedProxies all share its address.
	MaxStreamsPerIP int `koanf:"max_streams_per_ip" min:"1" max:"1000000"`
	// StreamQueue bounds the memory of events that wait for a slow reader. Default 256KiB, a thousand
	// progress messages; then its stream is cut. One event more may wait, whatever its size. Danger:
	// MaxStreams times this is what slow readers may hold.
	StreamQueue Size `koanf:"stream_queue" min:"4KiB" max:"1GiB"`
	// StreamKeepAlive is how long a stream may be silent before a comment is sent on it. Default 15s, below
	// the 60s after which common proxies close.
	StreamKeepAlive time.Duration `koanf:"stream_keepalive" min:"1s" max:"10m"`
	// TaskTTL bounds how long a task may be followed, whatever caller or server ask for. Default 24h, as long as
	// a plan. TaskPoll bounds the pause between two looks that callers are told to make. Default 1m.
	TaskTTL  time.Duration `koanf:"task_ttl" min:"1s" max:"720h"`
	TaskPoll time.Duration `koanf:"task_poll" min:"100ms" max:"1h"`
	// TaskWait is how long tasks/result waits for a task's end. Default 50s, below the 60s after which common
	// clients give up.
	TaskWait time.Duration `koanf:"task_wait" min:"100ms" max:"10m"`
	// MaxTasksPerAgent bounds the tasks of one agent's key that have not ended, MaxTasks those of all. Default 100
	// and 10000, up to 15 KiB each while listed. Danger: a restart begins to count anew.
	MaxTasksPerAgent int `koanf:"max_tasks_per_agent" min:"1" max:"10000"`
	MaxTasks         int `koanf:"max_tasks" min:"1" max:"1000000"`
	// SessionIdle is how long an older client's session may be unused. Default 30m.
	SessionIdle time.Duration `koanf:"session_idle" min:"1m" max:"24h"`
	// SessionLife is how long one lasts at most, and how long after a rotation of the key that seals them ids, cursors and states
	// of before are taken. Default 24h.
	SessionLife time.Duration `koanf:"session_life" min:"1m" max:"168h"`
	// JSONDepth bounds nesting of a request's JSON. Default 32: deeper arguments are attacks on parsers.
	JSONDepth int `koanf:"json_depth" min:"4" max:"256"`
	// JSONValues bounds the number of values in it. Default 100000, about a body of max_body in numbers.
	JSONValues int `koanf:"json_values" min:"16" max:"10000000"`
	// RetryEntries, RetryBytes and RetryFor bound the answers kept for calls with an Idempotency-Key, in
	// number, memory and time since the answer. Default 10000, 64MiB and 10m; the time is not below
	// upstream.timeout. What was dropped is a new call, which a used step refuses. Danger: they lie in
	// memory; a restart drops them.
	RetryEntries int           `koanf:"retry_entries" min:"1" max:"1000000"`
	RetryBytes   Size          `koanf:"retry_bytes" min:"1MiB" max:"4GiB"`
	RetryFor     time.Duration `koanf:"retry_for" min:"1s" max:"24h"`
}

// Control is the control port, for people and automation.
type Control struct {
	// Listen is the TCP address; port 0 takes a free one. Default "127.0.0.1:8081". Danger: whoever
	// reaches it with an admin key changes everything; keep it off public networks.
	Listen string `koanf:"listen"`
	// TLSCert and TLSKey are PEM files, read again on SIGHUP. Default none.
	TLSCert string `koanf:"tls_cert"`
	TLSKey  string `koanf:"tls_key"`
	// TLSMin is the oldest TLS version spoken. Default "1.3".
	TLSMin string `koanf:"tls_min" oneof:"1.2,1.3"`
	// TrustedProxies are as in Proxy. Default none.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// Hosts are further names the Host header may carry. Default none.
	Hosts []string `koanf:"hosts"`
	// Origins are further web origins whose scripts may call. Default none.
	Origins []string `koanf:"origins"`
	// MaxBody bounds a request body. Default 256KiB: the largest honest one is an upstream's secret.
	MaxBody Size `koanf:"max_body" min:"1KiB" max:"64MiB"`
	// MaxHeader bounds request line and headers together. Default 16KiB.
	MaxHeader Size `koanf:"max_header" min:"4KiB" max:"256KiB"`
	// ReadTimeout bounds reading one whole request. Default 10s.
	ReadTimeout time.Duration `koanf:"read_timeout" min:"100ms" max:"10m"`
	// WriteTimeout bounds handling and writing one answer. Default 1m: a ledger listing reads disk.
	WriteTimeout time.Duration `koanf:"write_timeout" min:"1s" max:"10m"`
	// IdleTimeout is how long a kept-alive connection may stay silent. Default 75s.
	IdleTimeout time.Duration `koanf:"idle_timeout" min:"1s" max:"1h"`
	// MaxConnections bounds open connections. Default 256.
	MaxConnections int `koanf:"max_connections" min:"1" max:"100000"`
	// PageLimit bounds the rows of one answer, whatever is asked for. Default 200.
	PageLimit int `koanf:"page_limit" min:"1" max:"1000"`
	// RetryEntries and RetryFor bound the answers kept for requests with an Idempotency-Key. Default 1024
	// and 10m. They lie in memory.
	RetryEntries int           `koanf:"retry_entries" min:"1" max:"100000"`
	RetryFor     time.Duration `koanf:"retry_for" min:"1s" max:"24h"`
	// Metrics serves /metrics to admin keys and to loopback. Default true.
	Metrics bool `koanf:"metrics"`
	// Profiles serves /debug/pprof to admin keys and to loopback. Default false. Danger: a profile shows
	// command line and memory of the process.
	Profiles bool `koanf:"profiles"`
}

// Intent is plans and the tokens that stand for them.
type Intent struct {
	// Issuer is the iss claim of tokens made here. Default "gatewright". Danger: changing it voids every
	// token given out.
	Issuer string `koanf:"issuer"`
	// Audience is the aud claim demanded. Default "gatewright". Danger: two gateways that share it and
	// an issuer accept each other's tokens, each counting uses for itself.
	Audience string `koanf:"audience"`
	// TokenTTL is a token's lifetime when none is asked for. Default 15m.
	TokenTTL time.Duration `koanf:"token_ttl" min:"1s" max:"24h"`
	// MaxTokenTTL is the longest lifetime given or accepted. Default 24h. Danger: a stolen token works
	// that long unless revoked.
	MaxTokenTTL time.Duration `koanf:"max_token_ttl" min:"1s" max:"720h"`
	// PlanTTL is how long a plan may be worked on. Default 24h; use counts are kept that long.
	PlanTTL time.Duration `koanf:"plan_ttl" min:"1s" max:"720h"`
	// MaxSteps bounds a plan's steps. Default 256: a proof of 8 hashes.
	MaxSteps int `koanf:"max_steps" min:"1" max:"4096"`
	// MaxPlan bounds a plan's JSON. Default 64KiB. Danger: a plan is held in memory at some 40 times its size.
	MaxPlan Size `koanf:"max_plan" min:"1KiB" max:"2MiB"`
	// MaxPlans bounds one agent's active plans; one that ends frees its place at once. Default 200: each is in memory.
	MaxPlans int `koanf:"max_plans" min:"1" max:"100000"`
	// MaxAllPlans bounds all organisations' plans, ended ones included while listed; these make room, oldest first, once no
	// token or revocation of theirs matters (of others an agent has a quarter at most). Default 20000, about 1 KiB a step.
	MaxAllPlans int `koanf:"max_all_plans" min:"1" max:"1048576"`
	// MaxTokens bounds the tokens of one plan that have not expired. Default 100.
	MaxTokens int `koanf:"max_tokens" min:"1" max:"65536"`
	// History bounds the events of one plan that are remembered; the ledger has them all. Default 100.
	History int `koanf:"history" min:"8" max:"65536"`
	// KeepPlans is how long an expired plan stays listed at most: less when MaxAllPlans is reached. Default 168h.
	KeepPlans time.Duration `koanf:"keep_plans" min:"0s" max:"87600h"`
	// Leeway is how far an issuer's clock may run ahead of ours: a token made so much in the future is
	// taken. Expiry has no leeway. Default 5s. Danger: it opens a token's time that much too early.
	Leeway time.Duration `koanf:"leeway" min:"0s" max:"1m"`
	// CacheTokens is how many verified tokens are remembered. Default 10000, about 20 MiB; one that is
	// not costs a signature check (50 us) on every call.
	CacheTokens int `koanf:"cache_tokens" min:"0" max:"1000000"`
}

// Issuer is somebody else whose intent tokens are accepted: issuer "name" { ... }.
type Issuer struct {
	// Issuer is the iss claim of its tokens; required.
	Issuer string `koanf:"iss"`
	// JWKSFile is a file with its public keys (RFC 7517, Ed25519 only), read at start. Keys are never
	// fetched: who answers for an address is not who signs plans.
	JWKSFile string `koanf:"jwks_file"`
	// KeyID and Key pin one key instead: the kid, and the Ed25519 public key in base64url.
	KeyID string `koanf:"kid"`
	Key   string `koanf:"key"`
}

// Identity bounds what an organisation may hold; all of it is kept in memory.
type Identity struct {
	// MaxOrganisations bounds tenants. Default 1000.
	MaxOrganisations int `koanf:"max_organisations" min:"1" max:"1000000"`
	// MaxUsers bounds users of one organisation. Default 10000.
	MaxUsers int `koanf:"max_users" min:"1" max:"1000000"`
	// MaxAgents bounds agents of one organisation. Default 10000.
	MaxAgents int `koanf:"max_agents" min:"1" max:"1000000"`
	// MaxKeys bounds API keys of one organisation that are not revoked. Default 20000.
	MaxKeys int `koanf:"max_keys" min:"1" max:"1000000"`
	// KeyTTL is an API key's lifetime when none is asked for; 0s means no end. Default 0s. Danger: keys
	// without an end are found in old backups.
	KeyTTL time.Duration `koanf:"key_ttl" min:"0s" max:"87600h"`
}

// Catalogue is the servers' tools as the gateway last saw them.
type Catalogue struct {
	// RefreshEvery is the time between looks at a server's tool list. Default 5m.
	RefreshEvery time.Duration `koanf:"refresh_every" min:"1s" max:"24h"`
	// RefreshTimeout bounds one such look. Default 30s.
	RefreshTimeout time.Duration `koanf:"refresh_timeout" min:"100ms" max:"10m"`
	// MaxServers bounds servers of one organisation. Default 200.
	MaxServers int `koanf:"max_servers" min:"1" max:"10000"`
	// MaxTools bounds tools of one server. Default 1000.
	MaxTools int `koanf:"max_tools" min:"1" max:"100000"`
	// MaxTool bounds one tool's definition. Default 128KiB.
	MaxTool Size `koanf:"max_tool" min:"1KiB" max:"4MiB"`
	// Pin says how tools come to be approved, for servers that do not say it themselves: "first_use" takes what a
	// server lists when it is first met and lets everything later wait for a person, "approve" lets all wait. Default
	// auto: first_use in development, approve in production. Danger: with first_use nobody has read what agents read.
	Pin string `koanf:"pin" oneof:"auto,first_use,approve"`
	// MaxSchema and SchemaDepth bound its input schema. Default 64KiB and 32 levels: beyond, a schema is an
	// attack on validators; the tool is listed as unusable.
	MaxSchema   Size `koanf:"max_schema" min:"1KiB" max:"1MiB"`
	SchemaDepth int  `koanf:"schema_depth" min:"4" max:"128"`
}

// Upstream is the calls to HTTP MCP servers.
type Upstream struct {
	// ConnectTimeout bounds name lookup, dialing and the TLS handshake. Default 5s.
	ConnectTimeout time.Duration `koanf:"connect_timeout" min:"10ms" max:"1m"`
	// Timeout bounds a call, from the first byte sent to the last received. Default 60s. Danger: a call
	// cut off may have had its effect; its record says "unknown".
	Timeout time.Duration `koanf:"timeout" min:"100ms" max:"10m"`
	// QueueTimeout is how long a call waits for a free connection. Default 2s.
	QueueTimeout time.Duration `koanf:"queue_timeout" min:"1ms" max:"1m"`
	// IdleTimeout is how long an unused connection is kept. Default 30s, below the 60s of common servers.
	IdleTimeout time.Duration `koanf:"idle_timeout" min:"1s" max:"1h"`
	// MaxReply bounds an answer's body; a longer one is withheld, never cut. Default 4MiB.
	MaxReply Size `koanf:"max_reply" min:"1KiB" max:"256MiB"`
	// JSONDepth and JSONValues bound an answer's JSON. Default 64 levels and 400000 values.
	JSONDepth  int `koanf:"json_depth" min:"4" max:"256"`
	JSONValues int `koanf:"json_values" min:"16" max:"10000000"`
	// MaxEvents bounds the server-sent events read while waiting for one answer. Default 10000.
	MaxEvents int `koanf:"max_events" min:"1" max:"1000000"`
	// MaxInterim and MaxInterimBytes bound what a server may say before one answer when the caller hears it:
	// progress, log lines, questions. Default 1000 messages and 1MiB; beyond, the call fails.
	MaxInterim      int  `koanf:"max_interim" min:"1" max:"1000000"`
	MaxInterimBytes Size `koanf:"max_interim_bytes" min:"1KiB" max:"256MiB"`
	// MaxAsks bounds the questions of a server open at once within one call. Default 8.
	MaxAsks int `koanf:"max_asks" min:"1" max:"1000"`
	// AnswerTimeout is how long Timeout stands still within one call while people answer a server's questions.
	// Default 5m. Danger: so much longer may a call hold its connection.
	AnswerTimeout time.Duration `koanf:"answer_timeout" min:"1s" max:"24h"`
	// HeldCalls and HeldCallsPerAgent bound the calls that stand open at servers of the older protocol while their callers, of
	// the newer, are asked something; each is held for AnswerTimeout at most. Default 512, 128 of one tenant, and 16 of one agent.
	HeldCalls          int `koanf:"held_calls" min:"1" max:"65535"`
	HeldCallsPerTenant int `koanf:"held_calls_per_tenant" min:"1" max:"65535"`
	HeldCallsPerAgent  int `koanf:"held_calls_per_agent" min:"1" max:"65535"`
	// MaxStreams bounds the streams on which one server is listened to. Default 1024.
	MaxStreams int `koanf:"max_streams" min:"1" max:"65535"`
	// MaxPages bounds the pages of one list of tools. Default 100.
	MaxPages int `koanf:"max_pages" min:"1" max:"10000"`
	// MaxConnections bounds connections to one server. Default 128.
	MaxConnections int `koanf:"max_connections" min:"1" max:"65535"`
	// MaxUpstreams bounds the servers known at once, over all organisations. Default 4096.
	MaxUpstreams int `koanf:"max_upstreams" min:"1" max:"1000000"`
	// MaxSessions bounds the sessions kept with one server of the older protocol, one for each caller;
	// the one unused longest goes first. Default 4096.
	MaxSessions int `koanf:"max_sessions" min:"1" max:"1000000"`
	// SessionIdle is how long an unused one is kept. Default 10m.
	SessionIdle time.Duration `koanf:"session_idle" min:"1s" max:"24h"`
	// Failures in a row stop calls to a server for OpenFor; then one call tries it. Default 5 and 5s.
	Failures int           `koanf:"failures" min:"1" max:"1000"`
	OpenFor  time.Duration `koanf:"open_for" min:"100ms" max:"10m"`
	// RootCAFile is a PEM file of authorities trusted beside the system's. Default none. Danger: they are
	// trusted for every server.
	RootCAFile string `koanf:"root_ca_file"`
	// AllowPrivate permits loopback, private and link-local addresses for every server; a server block
	// may do so for itself. Default false. Danger: a server's name may then resolve to the inside of
	// your network or to a cloud's metadata service.
	AllowPrivate bool `koanf:"allow_private"`
}

// Process says whether a process of its own reaches the server.
func (s Server) Process() bool { return s.URL == "" || s.Via == "connector" || s.OpenAPI != "" }

// Connectors bounds the processes that reach servers.
type Connectors struct {
	// StartTimeout is how long one may take to be ready. Default 30s: a first start may fetch packages.
	StartTimeout time.Duration `koanf:"start_timeout" min:"100ms" max:"10m"`
	// DrainTimeout is how long a process that is being replaced may work on its last calls. Default 1m.
	DrainTimeout time.Duration `koanf:"drain_timeout" min:"10ms" max:"1h"`
	// StopTimeout is how long one may take to end after its calls are done; then it and all it started are killed.
	// Default 5s.
	StopTimeout time.Duration `koanf:"stop_timeout" min:"10ms" max:"5m"`
	// PingEvery is the time between signs of life asked for, PingTimeout how long one may take. Default 5s and 5s; later
	// the process is killed and started again.
	PingEvery   time.Duration `koanf:"ping_every" min:"100ms" max:"10m"`
	PingTimeout time.Duration `koanf:"ping_timeout" min:"100ms" max:"10m"`
	// BackoffMin is the pause before a restart; it doubles with each crash in a row up to BackoffMax. Default 200ms, 30s.
	BackoffMin time.Duration `koanf:"backoff_min" min:"10ms" max:"10m"`
	BackoffMax time.Duration `koanf:"backoff_max" min:"10ms" max:"1h"`
	// MaxCrashes within CrashWindow break it: it is not tried again for BreakFor, or until it is restarted by hand.
	// Default 10, 5m and 5m.
	MaxCrashes  int           `koanf:"max_crashes" min:"1" max:"1000"`
	CrashWindow time.Duration `koanf:"crash_window" min:"1s" max:"24h"`
	BreakFor    time.Duration `koanf:"break_for" min:"1s" max:"24h"`
	// InFlight bounds calls at once in one process; more wait. Default 256.
	InFlight int `koanf:"in_flight" min:"1" max:"65536"`
	// Memory bounds the resident memory of a process and all it started, looked at every second; beyond it is killed.
	// Default 1GiB: interpreters are large.
	Memory Size `koanf:"memory" min:"16MiB" max:"1024GiB"`
	// Processes bounds how many these may be; beyond they are killed. Default 256.
	Processes int `koanf:"processes" min:"1" max:"65536"`
	// Files bounds the open files of each such process. Default 1024.
	Files int `koanf:"files" min:"16" max:"1048576"`
	// LinesPerSecond bounds what is logged of a process's standard error, with bursts of five times as many; the rest is
	// counted. Default 20. LogLines of them are kept for the control port. Default 200.
	LinesPerSecond int `koanf:"lines_per_second" min:"1" max:"10000"`
	LogLines       int `koanf:"log_lines" min:"1" max:"100000"`
}

// Policies is where the tenants' rules come from, besides those that people push.
type Policies struct {
	// Bundle is a folder with a bundle (*.cedar, schema.cedarschema). Default none: the built-in bundle.
	// Danger: it replaces the built-in rules, it does not add to them.
	Bundle string `koanf:"bundle"`
	// Watch is how often the folder is looked at; what changed and was still for one such time is put in force; 0: on
	// SIGHUP alone. Default 2s. Danger: whoever can write the folder changes the rules, with nobody asked.
	Watch time.Duration `koanf:"watch" min:"0s" max:"1h"`
	// Git is a repository that holds the bundle, instead of a folder: an absolute path, file:// or https://. Default none.
	// Danger: whoever can push to it changes the rules; see Keys.
	Git string `koanf:"git"`
	// Ref is its branch or tag, and Commit pins a commit. Default main, and none. Danger: a branch moves.
	Ref    string `koanf:"ref"`
	Commit string `koanf:"commit"`
	// Path is the bundle's folder in the repository. Default its root.
	Path string `koanf:"path"`
	// TokenEnv names the variable with the password for https. Default none.
	TokenEnv string `koanf:"token_env"`
	// Poll is how often the repository is asked; 0: on SIGHUP alone. Default 1m.
	Poll time.Duration `koanf:"poll" min:"0s" max:"24h"`
	// Keys are those of which one has to sign every bundle but the built-in one, in signed-note form. Default none: no
	// signature is asked for.
	Keys []string `koanf:"keys"`
	// History is how many revisions of a tenant are kept. Default 100.
	History int `koanf:"history" min:"2" max:"10000"`
	// Tenants are those whose bundles come from elsewhere, by name.
	Tenants map[string]TenantPolicies `koanf:"tenant"`
}

// TenantPolicies says where one tenant's bundle comes from: nothing above but Watch, Poll and History holds for it.
type TenantPolicies struct {
	Bundle   string   `koanf:"bundle"`
	Git      string   `koanf:"git"`
	Ref      string   `koanf:"ref"`
	Commit   string   `koanf:"commit"`
	Path     string   `koanf:"path"`
	TokenEnv string   `koanf:"token_env"`
	Keys     []string `koanf:"keys"`
}

// For says where a tenant's bundle comes from.
func (p Policies) For(tenant string) TenantPolicies {
	if t, ok := p.Tenants[tenant]; ok {
		return t
	}
	return TenantPolicies{p.Bundle, p.Git, p.Ref, p.Commit, p.Path, p.TokenEnv, p.Keys}
}

// Approvals are the decisions of people about calls that policy holds.
type Approvals struct {
	// Required is how many people have to approve a call, each with a say of their own; a policy's @approvals may ask for
	// more. Default 1.
	Required int `koanf:"required" min:"1" max:"16"`
	// TTL is how long a request waits, and how long an approval is good for. Default 30m. Danger: what was approved may
	// happen that much later.
	TTL time.Duration `koanf:"ttl" min:"1s" max:"168h"`
	// Separate keeps the person who answers for an agent from deciding about its calls. Default false.
	Separate bool `koanf:"separate"`
	// Approver is the lowest role that may decide: member, manager or admin; a policy's @approver may ask for a higher one.
	// Default manager.
	Approver string `koanf:"approver" oneof:"member,manager,admin"`
	// AdminLimit, ManagerLimit and MemberLimit are the largest amount that one with this role may approve, as a decimal
	// number; a call's amount is the largest of its arguments amount, value, total, price and cost. Default "": none for admins and
	// managers; "0" for members, who may then approve only what has no amount.
	AdminLimit   string `koanf:"admin_limit"`
	ManagerLimit string `koanf:"manager_limit"`
	MemberLimit  string `koanf:"member_limit"`
	// MaxOpen bounds one agent's requests that wait or are approved and unused, MaxAll those of all. Default 100 and 10000.
	MaxOpen int `koanf:"max_open" min:"1" max:"10000"`
	MaxAll  int `koanf:"max_all" min:"1" max:"1000000"`
	// Keep is how long an ended request stays listed; the ledger has it for good. Default 168h.
	Keep time.Duration `koanf:"keep" min:"0s" max:"8760h"`
}

// Login is somebody else whose JWTs say which person calls, through which agent: login "name" { ... }.
type Login struct {
	// Tenant is the organisation whose people it signs in; required.
	Tenant string `koanf:"tenant"`
	// Issuer and Audience are the iss and aud claims demanded; required.
	Issuer   string `koanf:"iss"`
	Audience string `koanf:"audience"`
	// Algorithm is the one signature algorithm taken; what a token's header says is only held against it. Default EdDSA.
	Algorithm string `koanf:"algorithm" oneof:"EdDSA,ES256,RS256,HS256"`
	// JWKSFile is a file with the public keys (RFC 7517), read at start; nothing is fetched.
	JWKSFile string `koanf:"jwks_file"`
	// SecretFile is, for HS256, a file of at least 32 bytes. Danger: who can read it can sign in as anybody.
	SecretFile string `koanf:"secret_file"`
	// UserClaim is the claim that names the person, by id or email. Default "email". Danger: the issuer must have verified it.
	UserClaim string `koanf:"user_claim"`
	// AgentClaim is the claim that names the agent, by id or name; Agent is the agent when there is no such claim.
	AgentClaim string `koanf:"agent_claim"`
	Agent      string `koanf:"agent"`
	// MaxAge is the longest life of a token taken. Default 1h.
	MaxAge time.Duration `koanf:"max_age" min:"1s" max:"24h"`
}

// ArmorIQ is the dialect of the ArmorIQ clients on the data port.
type ArmorIQ struct {
	// Enabled serves it. Default true.
	Enabled bool `koanf:"enabled"`
	// Arguments says how a call's arguments are held to its plan: "exact" are those of the step; "subset" may add others;
	// "open" takes any. A step that names none takes any. Default exact. Danger: with open a plan proves only which tool.
	Arguments string `koanf:"arguments" oneof:"exact,subset,open"`
	// Uses is how often a step may be taken; 0: until the token expires, as its clients expect. Default 0.
	Uses int `koanf:"uses" min:"0" max:"1000000"`
	// Answers is how calls are answered: "json", "sse", or "auto": as the Accept header prefers. Default auto.
	Answers string `koanf:"answers" oneof:"auto,json,sse"`
}

// Log is the program's own messages, on standard error. Calls are in the ledger, not here.
type Log struct {
	// Level is the least level written. Default info.
	Level string `koanf:"level" oneof:"debug,info,warn,error"`
	// Format is "text" or "json". Default text.
	Format string `koanf:"format" oneof:"text,json"`
}

// Demo is what development mode adds.
type Demo struct {
	// Server starts the built-in demo MCP server as a connector. Default true; production mode never does.
	Server bool `koanf:"server"`
}
