# Every setting of Gatewright with its default. Loading this file equals loading nothing.
#
# Layers, each winning over the one before: defaults, this file, the environment, flags. A variable is
# named GATEWRIGHT_CFG_ and the setting's path in capitals, levels apart by two underscores:
# GATEWRIGHT_CFG_LEDGER__SYNC=write, GATEWRIGHT_CFG_SERVER__FILES__URL=https://...; a list is one line
# with commas. Unknown settings, wrong types and units, and doubles are errors that name their place.
#
# Durations carry a unit (ns, us, ms, s, m, h), sizes too (B, KiB, MiB, GiB). Only literal values: nothing
# in this file is evaluated. Changes need a restart; bundles and certificates are read again on SIGHUP.

# "development": a demo tenant, its keys in DIR/demo.env, a demo MCP server, small segments.
# "production": none of these, and no plaintext beyond loopback. Danger: development writes working keys
# to disk.
mode = "development"

# How long calls in flight may finish after SIGINT or SIGTERM, 0s to 10m. Danger: shorter than
# upstream.timeout it cuts calls off, and their records then say "unknown".
shutdown_grace = "15s"

# What the gateway must not lose.
data {
  # The data folder, made with mode 0700. Danger: a copy of it holds every key; one gateway at a time.
  dir = "data"

  # A file of 32 bytes (raw, hex or base64) that wraps the keys in DIR/keys; empty: they lie there
  # unwrapped, readable by their owner alone. Danger: without it a wrapped folder never opens again.
  key_file = ""

  # The name of a variable that holds such a key instead of a file.
  key_env = ""
}

# The data port: agents call it.
proxy {
  # TCP address; port 0 takes a free one.
  listen = "127.0.0.1:8080"

  # A PEM file of authorities whose client certificates are taken (mutual TLS), read at start; empty: none is asked for. A client
  # that shows one of another authority has no connection. Danger: behind a proxy that ends TLS none is seen.
  client_ca = ""
  # Organisations whose agents must show the certificate of a client_certificate block, whatever else they show.
  client_cert_required = []

  # The address by which clients reach this port, as "https://gate.example": access tokens have to be for it, or for what is under
  # it. Empty: the listening address. Danger: two gateways with one address take each other's tokens.
  public_url = ""

  # PEM certificate chain and its key, read again on SIGHUP. Empty: plaintext, which production mode
  # refuses beyond loopback.
  tls_cert = ""
  # The key belonging to tls_cert.
  tls_key = ""
  # Oldest TLS version spoken, "1.2" or "1.3". Danger: 1.2 allows weaker handshakes.
  tls_min = "1.3"

  # Addresses or CIDR ranges whose X-Forwarded-For is believed. Danger: whoever can send from one
  # chooses the source address that quotas and records see.
  trusted_proxies = []

  # Further names the Host header may carry, without port, besides the listening address and localhost.
  # Danger: a name somebody else controls reopens DNS rebinding.
  hosts = []

  # Web origins (https://app.example) whose scripts may call, and read the answers (CORS); a request with any other Origin is refused.
  origins = []

  # Largest request body, 1KiB to 64MiB. It is held in memory whole; tool calls are small.
  max_body = "1MiB"

  # Largest request line and headers, 4KiB to 256KiB. A token and a step proof fit four times over.
  max_header = "16KiB"

  # Longest time to read one request, 100ms to 10m: slower senders only hold a connection.
  read_timeout = "10s"

  # Longest time to write one answer to a slow reader, 100ms to 10m.
  write_timeout = "30s"

  # How long a kept-alive connection may be silent, 1s to 1h. Above the 60s of common load balancers, so
  # that they close first.
  idle_timeout = "75s"

  # Open connections in all. Each may cost max_header and max_body of memory.
  max_connections = 4096

  # Open connections of one address. Danger: behind a load balancer all share its address; set it to
  # max_connections there.
  max_connections_per_ip = 512

  # Answers that are streams of events, open at once, beside max_connections; an idle one costs some 10 KiB.
  # 0: every call is answered in one piece.
  max_streams = 2048

  # Those of one agent: it needs one, and one for each call under way.
  max_streams_per_agent = 128

  # Those of one address. Danger: behind a load balancer that is not in trusted_proxies all share its address.
  max_streams_per_ip = 512

  # Memory of events that wait for a slow reader, 4KiB to 1GiB; beyond, its stream is cut. One event more may
  # wait, whatever its size. Danger: max_streams times this is what slow readers may hold.
  stream_queue = "256KiB"

  # How long a stream may be silent before a comment is sent on it, 1s to 10m. Below the 60s after which
  # common proxies close.
  stream_keepalive = "15s"

  # How long a task may be followed, 1s to 720h, whatever caller or server ask for: as long as a plan.
  task_ttl = "24h"

  # Longest pause between two looks at a task that callers are told to make, 100ms to 1h: a server cannot have
  # them sleep for good.
  task_poll = "1m"

  # How long tasks/result waits for a task's end, 100ms to 10m. Below the 60s after which common clients give up.
  task_wait = "50s"

  # Tasks of one agent's key that have not ended. Danger: a restart begins to count anew.
  max_tasks_per_agent = 100

  # Those of all, ended ones included while they are listed; up to 15 KiB each.
  max_tasks = 10000

  # How long an older client's session may be unused, 1m to 24h.
  session_idle = "30m"
  # How long one lasts at most, 1m to 168h; and how long after a rotation of the key that seals them ids of sessions, cursors and
  # states of before are taken.
  session_life = "24h"

  # Deepest nesting of a request's JSON, 4 to 256: deeper is an attack on parsers.
  json_depth = 32

  # Most values in a request's JSON, 16 to 10000000: what a body of numbers could hold in memory.
  json_values = 100000

  # Answers kept for calls with an Idempotency-Key, which a retry gets again instead of a second effect.
  # What was dropped is a new call, which a used step refuses. Danger: a restart drops them.
  retry_entries = 10000
  # Memory of those answers, 1MiB to 4GiB.
  retry_bytes = "64MiB"
  # How long they are kept, 1s to 24h, and not below upstream.timeout.
  retry_for = "10m"
}

# The control port: people and automation, with admin keys.
control {
  # TCP address; port 0 takes a free one. Danger: an admin key changes everything here; keep it off
  # public networks.
  listen = "127.0.0.1:8081"

  # PEM certificate chain and its key, read again on SIGHUP; empty: plaintext, as for the data port.
  tls_cert = ""
  # The key belonging to tls_cert.
  tls_key = ""
  # Oldest TLS version spoken, "1.2" or "1.3". Danger: 1.2 allows weaker handshakes.
  tls_min = "1.3"

  # Addresses or CIDR ranges whose X-Forwarded-For is believed. Danger: as for the data port.
  trusted_proxies = []

  # Further names the Host header may carry, without port. Danger: as for the data port.
  hosts = []

  # Further web origins whose scripts may call. Danger: such a page acts with its visitor's rights.
  origins = []

  # Largest request body, 1KiB to 64MiB. The largest honest one is an upstream's secret.
  max_body = "256KiB"

  # Largest request line and headers, 4KiB to 256KiB.
  max_header = "16KiB"

  # Longest time to read one request, 100ms to 10m.
  read_timeout = "10s"

  # Longest time to handle a request and write its answer, 1s to 10m: a ledger listing reads disk.
  write_timeout = "1m"

  # How long a kept-alive connection may be silent, 1s to 1h.
  idle_timeout = "75s"

  # Open connections in all: people and scrapers, not agents.
  max_connections = 256

  # Most rows of one answer, 1 to 1000, whatever is asked for.
  page_limit = 200

  # Answers kept in memory for requests with an Idempotency-Key.
  retry_entries = 1024
  # How long they are kept, 1s to 24h.
  retry_for = "10m"

  # Serve /metrics to admin keys and to loopback.
  metrics = true

  # Serve /debug/pprof to admin keys and to loopback. Danger: a profile shows the process's memory.
  profiles = false
}

# The record of what happened: no record, no effect; no record, no reply.
ledger {
  # Host part of the log's name in checkpoints and receipts, HOST/ledger/TENANT/INSTANCE. Danger:
  # changing it starts new logs in every verifier's eyes.
  origin = "gatewright.local"

  # This gateway's part of that name. Danger: two gateways with one name look like one that forks.
  instance = "main"

  # "sync": an acknowledged record survives a power cut. "write": it survives the process being killed,
  # not the machine. Danger: write can lose the last records, and uses counted in them, in a power cut.
  sync = "sync"

  # Size of one file of the log, 1MiB to 1GiB; "auto" is 64MiB, in development mode 4MiB. Beside the one in
  # use, two spares and a reserve are allocated ahead: four times this size from the start. With no room for
  # another the gateway is no longer ready; with the spares used up it refuses calls, and the reserve takes the
  # ends of calls under way and what an operator does to make room.
  segment = "auto"

  # Longest wait for a record to be durable, 10ms to 1m; a later call is refused. Virtual and spinning
  # disks stall a second while they flush: a shorter wait turns each stall into refused calls. Danger: a
  # long one lets callers pile up in front of a sick disk.
  deadline = "2s"

  # Records that may wait for the disk, 1 to 1048576; a call beyond is refused.
  queue = 16384

  # Time between signed checkpoints of a log that grew, 100ms to 1h.
  checkpoint_every = "1s"

  # What a record keeps of a call's arguments. "sealed": encrypted under the subject's key, which can be
  # erased; replayable. "commit": a salted hash only; replay then answers "not replayable".
  arguments = "sealed"

  # Put a signed receipt on every answer, refusals too. Without, an answer still names its record.
  receipts = true

  # Time between records in the instance's own chain that say that it is alive, and how long each
  # organisation's ledger is, 0s to 24h; 0s writes none. Where they stop, the log was cut or the gateway stood.
  heartbeat = "1m"

  # How long records are kept before they are pruned, daily, 0s to 876000h; 0s keeps them for ever. Danger:
  # what was pruned is gone. An organisation under legal hold is left out.
  retention = "0s"

  # Sign every checkpoint with an ML-DSA-44 key (FIPS 204) besides, for those who must still believe it when
  # Ed25519 is broken. Its public key is in keys/ledger.mldsa44.pub. It adds 3.3 KB to each checkpoint.
  mldsa = false

  # Least time between two checkpoints that witnesses are asked to cosign, 0s to 1h; 0s asks for each.
  # Danger: a long one leaves that much of the ledger open to be cut back unseen.
  witness_every = "1s"

  # Longest a checkpoint, or a start, waits for witnesses, 100ms to 1m. It never holds up a call.
  witness_timeout = "2s"

  # Others who cosign this ledger's checkpoints; none by default, and then nobody but this gateway vouches
  # that its ledger was not cut back. A start behind what one of them saw is refused.
  #
  # witness "corp" {
  #   # Its prefix, below which add-checkpoint lies (C2SP tlog-witness); required.
  #   url = "https://witness.example/corp"
  #   # Its verifier key, of type 0x04 or 0x06; required. Nothing it says counts but what this key signed.
  #   key = "witness.example/corp+69a7b9ee+BId5sBCTstETJSalU7AbUnVAWb4LjgrMrS2YfpQadnLF"
  #   # Refuse to start while it does not say what it saw. Danger: its outage is then this gateway's.
  #   required = false
  # }
}

# What this gateway does for others' logs: it remembers how long it saw each, and cosigns only what
# continues it. Served on the control port below /witness/, without a key: a checkpoint's signature is what
# lets it in.
witness {
  # Name of its cosignatures' keys; empty: HOST/witness/INSTANCE, of the ledger's origin and instance.
  # Danger: under a new name it is another witness, which nobody knows and which forgets what it saw.
  name = ""

  # Submissions of one address a second, 0.1 to 10000; 429 beyond. A log submits once a second.
  rate = 10

  # Submissions of one address at once, 1 to 100000.
  burst = 20

  # The logs that it watches; none by default, and then all of /witness/ is answered 404.
  #
  # log "peer" {
  #   # The first line of its checkpoints; required.
  #   origin = "peer.example/ledger/_checkpoints/main"
  #   # Its verifier keys, of type 0x01, 0x04 or 0x06; required. One of them must have signed.
  #   keys = ["peer.example/ledger/_instance/main+621fdab8+AcjBWVnndzm84zFh3yn9DBMhlrwHJvfE7IHz2LtCyEfk"]
  # }
}

# Plans and the tokens that stand for them.
intent {
  # The iss claim of tokens made here. Danger: changing it voids every token given out.
  issuer = "gatewright"

  # The aud claim demanded. Danger: gateways that share it and an issuer accept each other's tokens, and
  # each counts uses for itself.
  audience = "gatewright"

  # A token's lifetime when none is asked for, 1s to 24h.
  token_ttl = "15m"

  # Longest lifetime given or accepted, 1s to 720h. Danger: a stolen token works that long unless revoked.
  max_token_ttl = "24h"

  # How long a plan may be worked on, 1s to 720h. Its use counts are kept in memory that long.
  plan_ttl = "24h"

  # Most steps of a plan, 1 to 4096. 256 make a proof of 8 hashes.
  max_steps = 256

  # Largest plan as JSON, 1KiB to 2MiB, at most proxy.max_body. Danger: a plan is held in memory at some
  # 40 times its size.
  max_plan = "64KiB"

  # Most active plans of one agent, 1 to 100000: each is held in memory. A plan that ends (completed, failed,
  # revoked or expired) frees its place at once.
  max_plans = 200

  # Most plans of all organisations together, ended ones included while they are listed; about 1 KiB of
  # memory a step. When it is reached the oldest ended plans make room, but none that is active, whose tokens
  # have not expired, or that was revoked before its expiry. Of such ended plans one agent may have a quarter
  # of this, or max_plans where that is more.
  max_all_plans = 20000

  # Most tokens of one plan that have not expired, 1 to 65536.
  max_tokens = 100

  # Events of one plan that are remembered, 8 to 65536; the ledger has them all.
  history = 100

  # How long an expired plan stays listed at the most, 0s to 87600h: it goes earlier when max_all_plans is
  # reached. The ledger keeps its records.
  keep_plans = "168h"

  # How far an issuer's clock may run ahead of ours, 0s to 1m; expiry has no leeway. Danger: a token opens
  # that much too early.
  leeway = "5s"

  # Verified tokens remembered, 0 to 1000000 (about 2 KiB each). One that is not costs a signature check
  # of 50 us on each call.
  cache_tokens = 10000
}

# Others whose intent tokens are accepted; none by default. Name: 1 to 63 of a-z, 0-9 and -.
#
# issuer "planner" {
#   # The iss claim of its tokens; required. Danger: it may grant whatever policy then permits.
#   iss = "https://planner.example"
#
#   # A file with its public keys (RFC 7517, Ed25519), read at start; nothing is fetched.
#   jwks_file = ""
#
#   # Or one key: its kid, and
#   kid = "2026-01"
#   # the Ed25519 public key, 32 bytes in base64url without padding.
#   key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
# }

# What an organisation may hold; all of it is kept in memory.
identity {
  # Organisations in all.
  max_organisations = 1000

  # Users of one organisation.
  max_users = 10000

  # Agents of one organisation.
  max_agents = 10000

  # API keys of one organisation that are not revoked.
  max_keys = 20000

  # An API key's lifetime when none is asked for, up to 87600h; 0s is no end. Danger: keys without an end
  # are found in old backups.
  key_ttl = "0s"
}

# Token buckets: rate is calls a second, burst how many may come at once. Beyond: 429 with Retry-After.
quota {
  # Calls a second of one source address (IPv6: one /64), judged before any key. Danger: agents behind
  # one NAT share it.
  source_rate = 1000
  # Calls of one source address that may come at once.
  source_burst = 2000

  # Calls a second of one organisation.
  tenant_rate = 5000
  # Calls of one organisation that may come at once.
  tenant_burst = 10000

  # Calls a second of one agent, whatever its keys.
  agent_rate = 1000
  # Calls of one agent that may come at once.
  agent_burst = 2000

  # How long calls without a plan count in what policies read as context.session, up to 744h. Danger: a
  # label that a policy looks for is forgotten when its call has left the window.
  session_window = "1h"

  # Counters of sessions and of policies' rates in memory; the others wait in the store.
  counters = 100000
}

# The servers' tools as the gateway last saw them.
catalogue {
  # Time between looks at a server's tool list, 1s to 24h.
  refresh_every = "5m"

  # Longest such look, 100ms to 10m; a server that does not answer keeps its last good list.
  refresh_timeout = "30s"

  # Servers of one organisation.
  max_servers = 200

  # Tools of one server.
  max_tools = 1000

  # Largest definition of one tool, 1KiB to 4MiB.
  max_tool = "128KiB"

  # How tools come to be approved. "first_use": what a server lists when it is first met is taken, and whatever it
  # adds or changes later waits for a person. "approve": everything waits. "auto": first_use in development,
  # approve in production. Danger: with first_use nobody has read what agents read.
  pin = "auto"

  # Largest input schema, 1KiB to 1MiB: beyond, it is an attack on validators, and the tool is listed as
  # unusable.
  max_schema = "64KiB"

  # Deepest nesting of an input schema, 4 to 128, for the same reason.
  schema_depth = 32
}

# Calls to HTTP MCP servers.
upstream {
  # Longest time to connect, name lookup and TLS included, 10ms to 1m.
  connect_timeout = "5s"

  # Longest call, first byte sent to last received, 100ms to 10m. Danger: a call cut off may have had its
  # effect; its record says "unknown".
  timeout = "1m"

  # Longest wait for a free connection, 1ms to 1m; then the call fails as busy.
  queue_timeout = "2s"

  # How long an unused connection is kept, 1s to 1h. Below the 60s of common servers, so that none is
  # used that the server is just closing.
  idle_timeout = "30s"

  # Largest answer, 1KiB to 256MiB; a larger one is withheld, never cut.
  max_reply = "4MiB"

  # Deepest nesting of an answer's JSON, 4 to 256.
  json_depth = 64

  # Most values in an answer's JSON, 16 to 10000000.
  json_values = 400000

  # Most server-sent events read while waiting for one answer.
  max_events = 10000

  # Most messages a server may send before one answer while its caller hears them: progress, log lines,
  # questions. Ten a second for a minute and a half; beyond, the call fails.
  max_interim = 1000

  # Most bytes of them in one call, 1KiB to 256MiB.
  max_interim_bytes = "1MiB"

  # Most questions of a server open at once within one call; a person sees one at a time.
  max_asks = 8

  # How long the timeout stands still within one call while people answer a server's questions, 1s to
  # 24h. Danger: so much longer may a call hold its connection.
  answer_timeout = "5m"

  # Calls that stand open at servers of the older protocol while their callers, of the newer one, are asked
  # something: each holds a connection, and its memory, until it is answered or answer_timeout has passed.
  # One more is refused.
  held_calls = 512

  # Those of one tenant, so that none takes them all.
  held_calls_per_tenant = 128

  # Those of one agent, whatever its keys. Danger: an agent that never answers holds so many of a server's max_connections.
  held_calls_per_agent = 16

  # Streams on which one server is listened to.
  max_streams = 1024

  # Most pages of one list of tools.
  max_pages = 100

  # Connections to one server.
  max_connections = 128

  # Servers known at once, over all organisations.
  max_upstreams = 4096

  # Sessions kept with one server of the older protocol, one for each caller; the one unused longest goes
  # first.
  max_sessions = 4096

  # How long an unused session is kept, 1s to 24h.
  session_idle = "10m"

  # Failures in a row that stop calls to a server, 1 to 1000.
  failures = 5
  # How long they are stopped before one call tries again, 100ms to 10m.
  open_for = "5s"

  # A PEM file of authorities trusted beside the system's. Danger: they are trusted for every server.
  root_ca_file = ""

  # Permit loopback, private and link-local addresses for all servers; better in one server's block.
  # Danger: a server's name may then point into your network or at a cloud's metadata service.
  allow_private = false
}

# MCP servers that calls are forwarded to; none by default. Name: 1 to 63 of a-z, 0-9 and -. Exactly one of
# url, command and connector says how a server is reached; the last two run as supervised processes.
#
# server "files" {
#   # The organisation it belongs to; required.
#   tenant = "demo"
#
#   # Its MCP endpoint, http or https.
#   url = "https://files.example/mcp"
#
#   # How the url is reached: "native" by the gateway itself, "connector" by a process of its own.
#   via = "native"
#
#   # The protocol it speaks: "modern" (2026-07-28), "legacy" (sessions), "sse" (sessions over HTTP+SSE, the
#   # transport of 2024-11-05), or "auto": ask it.
#   era = "auto"
#
#   # Permit a loopback, private or link-local address. Danger: as for upstream.allow_private.
#   allow_private = false
#
#   # Public keys of which the server's certificate chain, beside being valid, must hold one: sha256/ and the
#   # base64 of the SHA-256 of the SubjectPublicKeyInfo, which this prints of a certificate: openssl x509 -in
#   # cert.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
#   # Danger: a server with a new key is refused; pin that key before.
#   public_keys = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
#
#   # The name of the secret in the organisation's vault sent with each call; empty: none.
#   credential = "files-token"
#
#   # The header that carries it.
#   header = "Authorization"
#   # What stands before the secret there; empty in Authorization: "Bearer ".
#   prefix = ""
#
#   # Let a caller show this server a credential of its own instead (X-Armoriq-MCP-Auth). Danger: the server
#   # then acts for whoever that credential names, and no policy here sees whom.
#   caller_credentials = false
#
#   # How its tools come to be approved: "first_use" or "approve", or "auto" for what catalogue.pin says.
#   pin = "auto"
#
#   # Labels shown to policies.
#   labels = ["internal"]
#   # How sensitive its tools are, 0 to 1000, shown to policies.
#   sensitivity = 0
# }

# server "crm" {
#   # The organisation it belongs to; required.
#   tenant = "demo"
#
#   # Its MCP endpoint, http or https.
#   url = "https://crm.example/mcp"
#
#   # How the gateway proves itself: "static" by the credential, if one is named; else by tokens (OAuth 2.1):
#   # "client_credentials" as itself; "authorization_code" as the user for whom an agent calls, who consents once
#   # (gatewright connector login crm); "token_exchange" as the agent, by a token of the gateway's own about it.
#   auth = "token_exchange"
#
#   # The only authorization server that is asked; empty: the one that the server's metadata names.
#   auth_issuer = "https://login.example"
#
#   # The gateway as it is registered there; empty, with authorization_code alone: by oauth.client_document, or by a
#   # registration that it makes itself.
#   client_id = "gatewright"
#   # The name of the secret in the organisation's vault that is the client's password; empty: it has none.
#   client_secret = "crm-client"
#   # The name of one that is its private key instead, in PEM: Ed25519, P-256 or RSA; empty: it has none.
#   client_key = ""
#
#   # The most that is asked for; empty: what the server asks for. Danger: the server then decides how much it may do
#   # with the tokens that it gets.
#   auth_scopes = ["contacts.read"]
#
#   # Goes with a token_exchange; empty: the server's address says it.
#   auth_audience = ""
# }

# The gateway as a client of authorization servers.
oauth {
  # Where people's browsers reach the control port; they come back from their consent to ADDRESS/oauth/callback. Empty:
  # the control port's own address. A name in it has to stand in control.hosts.
  address = ""

  # The https address of the gateway's client metadata, by which authorization servers know it. The control port serves
  # the document at /oauth/client.json; it may as well lie elsewhere. Empty: none.
  client_document = ""
}

# server "docs" {
#   # The organisation it belongs to; it runs for this one alone.
#   tenant = "demo"
#
#   # A local MCP server: the program, found in PATH, and its arguments. No shell reads it.
#   command = ["npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"]
#
#   # What the program sees, as NAME=value. Danger: it reads every secret named here.
#   env = ["LANG=C.UTF-8"]
#   # Variables of the gateway passed on to it. Nothing else is, but PATH and HOME to a command.
#   pass_env = ["NODE_EXTRA_CA_CERTS"]
#
#   # The program's working directory; empty: the gateway's.
#   dir = ""
# }

# server "units" {
#   # The organisation it belongs to; it runs for this one alone.
#   tenant = "demo"
#
#   # A connector program (plugins/connector).
#   connector = "/usr/local/lib/gatewright/units"
#   # The arguments it is started with.
#   args = []
#
#   # Pin that program (hex): it is not started when its file is another one; empty: not pinned. Danger: an
#   # interpreter's file says nothing about the script it runs.
#   sha256 = ""
# }

# server "petstore" {
#   # The organisation it belongs to; it runs for this one alone.
#   tenant = "demo"
#
#   # An OpenAPI 3.0 or 3.1 document, JSON or YAML: each operation in it is a tool.
#   openapi = "/etc/gatewright/petstore.yaml"
#   # Where the API is; required. What the document says of servers is not read.
#   url = "https://petstore.example/v1"
#   # Pin the document (hex); empty: not pinned. Danger: whoever can write the file changes what tools send.
#   sha256 = ""
#
#   # The name of the secret in the organisation's vault; empty: none. It goes where the document's security scheme says, with
#   # the operations that ask for it. Where the document has no schemes, header and prefix say where.
#   credential = "petstore-key"
#   # The document's security scheme that it is for; empty: the only one there is.
#   scheme = "api_key"
# }

# The documents of servers that are APIs, and their answers.
openapi {
  # Largest document, 1KiB to 64MiB. Those of large public APIs have 5MiB.
  max_document = "8MiB"

  # Most values in it, 16 to 10000000, YAML's aliases written out: a few lines of aliases can stand for more than
  # fits into memory.
  max_values = 500000

  # Deepest nesting of it, 8 to 256, for the same reason.
  max_depth = 64

  # Most operations of it, 1 to 10000: each is a tool, of which catalogue.max_tools bounds a server's.
  max_operations = 1000

  # Most schemas that one operation's input refers to, 1 to 10000; an operation beyond is left out.
  max_refs = 200

  # Largest body of an answer, 1KiB to 64MiB and at most upstream.max_reply. A larger one is withheld, never cut.
  max_answer = "1MiB"

  # Largest body that is neither JSON nor text, 0B to 64MiB, handed on in base64; 0B withholds them all. Danger:
  # filters see base64, and not what is in it.
  max_binary = "0B"
}

# The processes that reach servers by command or connector.
connectors {
  # How long one may take to be ready, 100ms to 10m; a first start may fetch packages.
  start_timeout = "30s"

  # How long a process that is being replaced may work on its last calls, 10ms to 1h.
  drain_timeout = "1m"

  # How long one may take to end when its calls are done, 10ms to 5m; then it and all it started are killed.
  stop_timeout = "5s"

  # The time between signs of life asked for, 100ms to 10m.
  ping_every = "5s"
  # How long one may take, 100ms to 10m; later the process is killed and started again.
  ping_timeout = "5s"

  # The pause before a restart, 10ms to 10m; it doubles with each crash in a row.
  backoff_min = "200ms"
  # The longest such pause, 10ms to 1h.
  backoff_max = "30s"

  # So many crashes, 1 to 1000, within crash_window break it.
  max_crashes = 10
  # The time over which they are counted, 1s to 24h.
  crash_window = "5m"
  # How long a broken one is not tried again, 1s to 24h, unless it is restarted by hand.
  break_for = "5m"

  # Calls at once in one process, 1 to 65536; more wait.
  in_flight = 256

  # The resident memory of a process and all it started, 16MiB to 1024GiB; beyond it is killed.
  memory = "1GiB"

  # How many these may be, 1 to 65536; beyond they are killed.
  processes = 256

  # The open files of each such process, 16 to 1048576.
  files = 1024

  # Lines of a process's standard error logged in a second, 1 to 10000, with bursts of five times as many; the
  # rest is counted.
  lines_per_second = 20
  # How many of them are kept for the control port, 1 to 100000.
  log_lines = 200
}

# The WASM filters that every call's arguments and results pass.
filters {
  # Built-in filters in force for all organisations, in their order. redact-secrets replaces what looks like a
  # key, a token or a card number, on both ways. Danger: a tool whose job is to hand out such values is of no use
  # behind it; a plan that fixes one as an argument is refused.
  enabled = ["redact-secrets"]

  # What one decision may spend, 1000 to 1000000000 units of about 1 ns and at most 15.
  fuel = 4000000
  # What each byte it is shown adds to that, 0 to 65536.
  byte_fuel = 512
  # What loading a filter may spend, 1000 to 10000000000.
  init_fuel = 50000000

  # Memory of one instance, 64KiB to 4GiB.
  memory = "16MiB"

  # Instances of one filter, at most 4096; 0: twice the processors.
  instances = 0
  # How long a call waits for one, 1ms to 10s.
  wait = "100ms"

  # What a filter is shown, arguments or result included, 4KiB to 64MiB. More is refused: a filter that cannot
  # see cannot judge.
  max_context = "1MiB"

  # What it answers beside a rewritten body, 1KiB to 1MiB.
  max_verdict = "16KiB"

  # So many traps, 1 to 1000000, within trap_window break a filter.
  traps = 5
  # The time over which they are counted, 1s to 1h.
  trap_window = "1m"
  # How long calls are then refused at once, 100ms to 1h.
  break_for = "10s"

  # Filters that an organisation may upload, 1 to 1000.
  max_filters = 32
  # Versions of one of them, 1 to 1000.
  max_versions = 20
  # All of an organisation's modules, configs and vectors together, 64KiB to 1024GiB.
  max_bytes = "64MiB"
  # How often it may try to upload one, 1 to 1000000.
  uploads_per_hour = 60
  # Whether modules of up to 8MiB are let in, as Go makes them; else up to 1MiB. They are slow to compile, in a
  # process of their own.
  large = true

  # Memory that an organisation's own filters hold, 1MiB to 1024GiB: their instances, and of each filter its code,
  # its image and what the engine keeps of its module. A filter that takes the place of another counts beside it
  # until that one's calls are over. Those in shadow have the same once more, as for the next two.
  tenant_memory = "256MiB"
  # What they may spend in a second, up to 1000000000000 units; 0: 50000000 for each processor.
  tenant_fuel = 0
  # How many calls they judge at once, up to 4096; 0: half of the processors.
  tenant_calls = 0

  # Lines of each filter's log that are kept in memory, 1 to 10000.
  log_lines = 200
}

# The organisations' first rules.
policies {
  # A folder with a bundle (*.cedar, schema.cedarschema); empty: the built-in one. Danger: it replaces
  # the built-in rules, it does not add to them.
  bundle = ""

  # How often the folder is looked at, up to 1h; what changed there, and was still for that long, is put in
  # force. 0s: only on SIGHUP. Danger: whoever can write the folder changes the rules, and nobody is asked.
  watch = "2s"

  # A git repository with the bundle, instead of a folder: an absolute path, file:// or https://. Danger: whoever
  # can push to it changes the rules; see keys.
  git = ""
  # Its branch or tag. Danger: a branch moves.
  ref = "main"
  # A commit, 40 hex digits, that is read and no other.
  commit = ""
  # The bundle's folder in the repository; empty: its root.
  path = ""
  # The name of a variable with the password for https. Danger: it is sent to whoever answers there.
  token_env = ""
  # How often the repository is asked, up to 24h; 0s: only on SIGHUP.
  poll = "1m"

  # Keys, one of which has to sign every bundle but the built-in one (`gatewright policy sign` does, and prints
  # the key). Signed bundles need a version in manifest.json, and only a higher one is taken. Danger: empty, no
  # signature is asked for, and write access to folder, repository or an admin key is enough.
  keys = []

  # Revisions of a tenant's policies that are kept, 2 to 10000, besides those in use. Danger: to what was given up
  # there is no way back.
  history = 100

  # One tenant's rules come from elsewhere; nothing above but watch, poll and history holds for it.
  #
  # tenant "acme" {
  #   # A folder; empty, as git is: the built-in bundle. Danger: as above.
  #   bundle = ""
  #   # Or a repository. Danger: as above.
  #   git = "https://git.example/acme/policies"
  #   # Its branch or tag.
  #   ref = "main"
  #   # The one commit that is read.
  #   commit = ""
  #   # The bundle's folder in it.
  #   path = ""
  #   # The variable with its password.
  #   token_env = ""
  #   # Keys, one of which has to sign. Danger: those above do not hold here.
  #   keys = ["acme-policies+c373486d+AdYvAWoe/R5P33k+tCzYRHHhup8M8E0Sh7XMcfYWKHy4"]
  # }
}

# Calls that policy holds until people have approved them.
approvals {
  # How many people have to approve a call, 1 to 16; a policy's @approvals may ask for more.
  required = 1

  # How long a request waits, and how long an approval is good for, 1s to 168h. Danger: what was approved may
  # happen that much later.
  ttl = "30m"

  # Keep the person who answers for an agent from deciding about its calls.
  separate = false

  # The lowest role that may decide: "member", "manager" or "admin"; a policy's @approver may ask for a higher one.
  approver = "manager"

  # The largest amount that an admin may approve; empty: none. A call's amount is the largest of its arguments amount,
  # value, total, price and cost.
  admin_limit = ""
  # That of a manager.
  manager_limit = ""
  # That of a member; with "0" one may approve only what has no amount.
  member_limit = "0"

  # Requests of one agent that wait, or are approved and unused, 1 to 10000.
  max_open = 100
  # Those of all agents, 1 to 1000000.
  max_all = 10000

  # How long an ended request stays listed, 0s to 8760h; the ledger has it for good.
  keep = "168h"
}

# Others whose JWTs say which person calls, through which agent; none by default. Name: 1 to 63 of a-z, 0-9 and -.
#
# login "corp" {
#   # The organisation whose people it signs in; required.
#   tenant = "demo"
#
#   # The iss claim of its tokens; required.
#   iss = "https://login.example"
#   # The aud claim demanded; required.
#   audience = "gatewright"
#
#   # The one algorithm taken: "EdDSA", "ES256", "RS256" or "HS256".
#   algorithm = "EdDSA"
#   # A file with its public keys (RFC 7517), read at start; nothing is fetched.
#   jwks_file = "corp.jwks.json"
#   # For HS256 instead: a file of at least 32 bytes. Danger: who can read it can sign in as anybody.
#   secret_file = ""
#
#   # The claim that names the person, by id or email. Danger: the issuer must have verified it.
#   user_claim = "email"
#   # The claim that names the agent, by id or name.
#   agent_claim = "azp"
#   # The agent of tokens without that claim; empty: they are refused.
#   agent = ""
#
#   # The longest life of a token taken, 1s to 24h.
#   max_age = "1h"
# }

# OAuth 2.1 authorization servers whose access tokens open the data port; none by default. Name: 1 to 63 of a-z, 0-9 and -. The port
# tells clients of them (RFC 9728), so that those which speak OAuth find their way from its address alone.
#
# authorization_server "corp" {
#   # The organisation whose agents its tokens are for; required.
#   tenant = "demo"
#   # The iss claim of its tokens, exactly; required.
#   iss = "https://auth.example"
#
#   # Where its keys are; empty: its metadata say it (RFC 8414, OpenID Connect discovery). Keys are fetched when a token first needs
#   # them, by one at a time and at most every 10s; redirects are not followed.
#   jwks_url = ""
#   # Permit it a loopback or private address, and plain HTTP on loopback.
#   allow_private = false
#   # The signature algorithms taken. No other is: "none" and shared secrets never.
#   algorithms = ["EdDSA", "ES256", "RS256", "PS256"]
#   # The values of a token's typ that are taken. Danger: with JWT, what the issuer made for something else is held off by its
#   # audience alone.
#   types = ["at+jwt", "JWT"]
#   # Values of aud taken besides proxy.public_url and the addresses under it. Danger: whoever else takes one of them can use here
#   # the tokens it is shown.
#   audiences = []
#   # What a token must say besides, as "org_id=acme": it tells organisations apart that share an issuer.
#   claims = []
#
#   # The claim that names the client; "client_id" reads azp too.
#   agent_claim = "client_id"
#   # Which agent each client is, by id or name, as "CLIENT=AGENT"; other clients are refused. Danger: while it is empty the claim
#   # itself names the agent, and whoever registers clients there chooses among all of the organisation.
#   agents = ["client-7f3a=reports"]
#   # The agent of tokens without that claim; empty: they are refused.
#   agent = ""
#   # The claim that names the person, by id or email; empty: the agent's owner acts.
#   user_claim = ""
#
#   # Scopes that every call needs.
#   scopes = ["mcp"]
#   # And some calls besides: "OPERATION=SCOPES" or "OPERATION SERVER[/NAME]=SCOPES". Who lacks one is told which (403).
#   operations = ["tools/call=mcp:call", "tools/call bank/transfer=bank:pay"]
#   # Name it to strangers, in the port's metadata. Where it is false, clients have to know it.
#   advertise = true
#
#   # The longest life of a token taken, 1s to 24h. Danger: what the issuer revokes opens until then; revoke the agent.
#   max_age = "1h"
#   # How often its keys are fetched again, 10s to 24h.
#   refresh = "15m"
#   # How much longer they are used while that fails, 0s to 168h. Danger: a key that it withdrew opens until then.
#   stale = "1h"
# }

# Which agent a client's TLS certificate is; none by default, and proxy.client_ca must be set. Name: 1 to 63 of a-z, 0-9 and -.
#
# client_certificate "worker" {
#   # The organisation; required.
#   tenant = "demo"
#   # Its agent, by id or name; required.
#   agent = "reports"
#   # The SHA-256 of its public key (SubjectPublicKeyInfo) in hex, or
#   spki = ""
#   # a name in it: "dns:NAME", "uri:URI" or "email:ADDRESS". Danger: whoever the authority gives that name is the agent.
#   san = "uri:spiffe://example/reports"
# }

# Receivers of the ledger's events, each of which gets every event at least once; none by default. Name: 1 to 63
# of a-z, 0-9 and -; it also names what was delivered (DIR/sinks/NAME.cursor).
#
# sink "siem" {
#   # "syslog" (RFC 5424), "otlp" (OpenTelemetry logs over HTTP) or "webhook" (signed JSON).
#   type = "syslog"
#   # Where it is; required. syslog: udp://, tcp:// or tls://HOST:PORT; otlp and webhook: http:// or https://.
#   # Private addresses are allowed, redirects are not followed.
#   url = "tls://siem.example:6514"
#   # The organisation whose events it gets, or "_all"; required. Danger: with "_all" it learns of every one.
#   tenant = "_all"
#   # The kinds of record it gets; empty: all.
#   kinds = []
#   # Where a new sink begins: at the "beginning" of the ledger, or at its "end".
#   from = "beginning"
#
#   # Most events sent at once, 1 to 4096.
#   batch = 256
#   # How long an event may wait for others to be sent with, 0s to 1m.
#   wait = "1s"
#   # Longest attempt, 10ms to 10m.
#   timeout = "10s"
#   # First pause after a failure, 1ms to 10m; it doubles with each in a row. Nothing is ever dropped.
#   retry_min = "500ms"
#   # Longest such pause, 1ms to 1h.
#   retry_max = "1m"
#
#   # A file with the secret: the key of a webhook's signature, at least 16 bytes, or what an otlp receiver's header carries.
#   secret_file = ""
#   # Or the name of a variable that holds it.
#   secret_env = ""
#   # The header that carries it to an otlp receiver.
#   header = ""
#   # A PEM file of authorities for its certificate, instead of the system's.
#   ca_file = ""
#
#   # Count syslog over tcp and tls as delivered only when the receiver ends the connection after reading it all.
#   # Danger: without, what it had not read when it died is lost.
#   confirm = true
#   # The private enterprise number in syslog's structured data; 32473 is for examples.
#   enterprise = 32473
#   # Permit what is not encrypted beyond loopback in production mode. Danger: it can be read and changed.
#   plaintext = false
# }

# The dialect of the ArmorIQ clients on the data port.
armoriq {
  # Serve it; with false its addresses answer like unknown ones.
  enabled = true

  # How a call's arguments are held to its plan: "exact" are those of the step, "subset" may add others, "open"
  # takes any. A step that names none takes any. Danger: with open a plan proves only which tool.
  arguments = "exact"

  # How often a step may be taken, 0 to 1000000; 0: until the token expires, as its clients expect.
  uses = 0

  # How calls are answered: "json", "sse", or "auto": as the Accept header prefers.
  answers = "auto"
}

# The program's own messages on standard error. Calls are in the ledger, not here.
log {
  # Least level written: debug, info, warn, error.
  level = "info"

  # How a message is written, "text" or "json".
  format = "text"
}

# What development mode adds.
demo {
  # Start the built-in demo MCP server as a connector; production mode never does.
  server = true
}
