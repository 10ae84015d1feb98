package control

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/identity"
)

// Who may walk a route. Each row below names one of these sets.
var (
	anyRole  = []identity.Role{identity.RoleAdmin, identity.RoleManager, identity.RoleMember, identity.RoleViewer}
	members  = []identity.Role{identity.RoleAdmin, identity.RoleManager, identity.RoleMember}
	managers = []identity.Role{identity.RoleAdmin, identity.RoleManager}
	admins   = []identity.Role{identity.RoleAdmin}
)

// managementKeys are the kinds of key that open this port at all. Runtime keys belong to the data port.
var managementKeys = []identity.Kind{identity.Admin}

// Route is one row of the table that decides who may do what here. Handlers can only narrow it: a Member is held to the
// agents it owns, and a management key of somebody else is revoked by an Admin only (see owned and revokeKey).
type Route struct {
	Op     string          // operation id in the OpenAPI document and in the ledger
	Method string          // exactly this method; HEAD is not GET here
	Path   string          // template
	Roles  []identity.Role // who may; empty for open routes
	Kinds  []identity.Kind // which kinds of key may
	About  string          // one line for the OpenAPI document

	Open      bool   // needs no credential
	Loopback  bool   // needs no credential from a direct loopback peer
	Instance  bool   // only for callers of the gateway's own tenant
	Organised bool   // for all but those: that tenant has no agents and no servers
	Writes    bool   // changes something: an intent record comes first
	Body      bool   // takes a JSON body, and must have one
	Bare      bool   // may come without its body
	Sensitive bool   // what is sent or answered holds a secret: no digests, nothing kept for a replay
	Private   bool   // what is sent is about a person: no digest of it stays in the ledger
	Status    int    // of success; 0 means 200
	Media     string // content type of an answer that flows instead of being held back, see flow
	Bundle    bool   // its body may hold a bundle: maxBundleBody bounds it where the configured bound is lower
}

// Routes returns the table, for tests and documentation.
func Routes() []Route { return slices.Clone(routes) }

var routes = []Route{
	{Op: "healthz", Method: "GET", Path: "/healthz", Open: true, About: "the process lives"},
	{Op: "readyz", Method: "GET", Path: "/readyz", Open: true, About: "the gateway serves calls"},
	{Op: "openapi", Method: "GET", Path: "/openapi.json", Open: true, About: "this document"},
	{Op: "metrics", Method: "GET", Path: "/metrics", Roles: admins, Kinds: managementKeys, Loopback: true, About: "prometheus metrics of the whole gateway"},
	{Op: "profile", Method: "GET", Path: "/debug/pprof/{profile}", Roles: admins, Kinds: managementKeys, Loopback: true, Instance: true, About: "runtime profiles"},

	{Op: "whoami", Method: "GET", Path: "/api/v1/whoami", Roles: anyRole, Kinds: managementKeys, About: "who the presented key is"},

	{Op: "list-organisations", Method: "GET", Path: "/api/v1/organisations", Roles: anyRole, Kinds: managementKeys, About: "the caller's organisation; all of them for the gateway's own tenant"},
	{Op: "create-organisation", Method: "POST", Path: "/api/v1/organisations", Roles: admins, Kinds: managementKeys, Instance: true, Writes: true, Body: true, Sensitive: true, Status: 201, About: "make an organisation with its first admin and the admin's key, shown once"},
	{Op: "get-organisation", Method: "GET", Path: "/api/v1/organisations/{id}", Roles: anyRole, Kinds: managementKeys, About: "one organisation"},
	{Op: "set-organisation-status", Method: "PUT", Path: "/api/v1/organisations/{id}/status", Roles: admins, Kinds: managementKeys, Instance: true, Writes: true, Body: true, About: "suspend an organisation, or let it work again"},

	{Op: "list-users", Method: "GET", Path: "/api/v1/users", Roles: anyRole, Kinds: managementKeys, About: "the organisation's people"},
	{Op: "create-user", Method: "POST", Path: "/api/v1/users", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Private: true, Status: 201, About: "add a user with a role"},
	{Op: "get-user", Method: "GET", Path: "/api/v1/users/{id}", Roles: anyRole, Kinds: managementKeys, About: "one user"},
	{Op: "set-user-role", Method: "PUT", Path: "/api/v1/users/{id}/role", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "give a user another role"},
	{Op: "set-user-status", Method: "PUT", Path: "/api/v1/users/{id}/status", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "suspend a user, or let it act again"},
	{Op: "remove-user", Method: "DELETE", Path: "/api/v1/users/{id}", Roles: admins, Kinds: managementKeys, Writes: true, Status: 204, About: "remove a user; the last admin stays"},
	{Op: "create-management-key", Method: "POST", Path: "/api/v1/users/{id}/keys", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Sensitive: true, Status: 201, About: "make a management key for a user, shown once"},

	{Op: "list-agents", Method: "GET", Path: "/api/v1/agents", Roles: anyRole, Kinds: managementKeys, About: "the organisation's agents"},
	{Op: "create-agent", Method: "POST", Path: "/api/v1/agents", Roles: managers, Kinds: managementKeys, Organised: true, Writes: true, Body: true, Status: 201, About: "register an agent"},
	{Op: "get-agent", Method: "GET", Path: "/api/v1/agents/{id}", Roles: anyRole, Kinds: managementKeys, About: "one agent"},
	{Op: "set-agent-status", Method: "PUT", Path: "/api/v1/agents/{id}/status", Roles: managers, Kinds: managementKeys, Writes: true, Body: true, About: "activate, suspend or revoke an agent"},
	{Op: "set-agent-owner", Method: "PUT", Path: "/api/v1/agents/{id}/owner", Roles: managers, Kinds: managementKeys, Writes: true, Body: true, About: "let another user answer for an agent"},
	{Op: "rotate-agent-key", Method: "PUT", Path: "/api/v1/agents/{id}/public-key", Roles: members, Kinds: managementKeys, Writes: true, Body: true, About: "replace an agent's Ed25519 public key; as Member one's own agent's"},

	{Op: "list-agent-sessions", Method: "GET", Path: "/api/v1/agents/{id}/sessions", Roles: anyRole, Kinds: managementKeys, About: "sessions that older clients of an agent have open, without their ids"},
	{Op: "revoke-agent-sessions", Method: "DELETE", Path: "/api/v1/agents/{id}/sessions", Roles: managers, Kinds: managementKeys, Writes: true, About: "end an agent's sessions at once, or one of them"},
	{Op: "list-seals", Method: "GET", Path: "/api/v1/seals", Roles: admins, Kinds: managementKeys, About: "the keys that seal the organisation's session ids, cursors and states, without their secrets"},
	{Op: "rotate-seals", Method: "POST", Path: "/api/v1/seals/rotate", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bare: true, About: "seal with a new key from now on; the one before opens until its life ends"},

	{Op: "list-keys", Method: "GET", Path: "/api/v1/keys", Roles: members, Kinds: managementKeys, About: "API keys, without their secrets; as Member one's own and those of one's own agents"},
	{Op: "create-key", Method: "POST", Path: "/api/v1/keys", Roles: members, Kinds: managementKeys, Writes: true, Body: true, Sensitive: true, Status: 201, About: "make a runtime key for an agent, shown once; as Member for one's own agent"},
	{Op: "revoke-key", Method: "DELETE", Path: "/api/v1/keys/{id}", Roles: members, Kinds: managementKeys, Writes: true, Status: 204, About: "revoke a key: as Admin any, as Manager runtime keys, as Member those of one's own agents, and always one's own"},

	{Op: "get-device-code", Method: "GET", Path: "/api/v1/device-codes/{code}", Roles: members, Kinds: managementKeys, About: "a program that asks to be signed in, by the code it shows"},
	{Op: "approve-device-code", Method: "POST", Path: "/api/v1/device-codes/{code}/approve", Roles: members, Kinds: managementKeys, Writes: true, Body: true, About: "sign the program in with a new key of an agent, or of a new agent; as Member of one's own agent"},
	{Op: "deny-device-code", Method: "POST", Path: "/api/v1/device-codes/{code}/deny", Roles: members, Kinds: managementKeys, Writes: true, About: "refuse to sign the program in"},

	{Op: "list-servers", Method: "GET", Path: "/api/v1/servers", Roles: anyRole, Kinds: managementKeys, About: "the organisation's MCP servers"},
	{Op: "add-server", Method: "POST", Path: "/api/v1/servers", Roles: admins, Kinds: managementKeys, Organised: true, Writes: true, Body: true, Status: 201, About: "add an MCP server"},
	{Op: "get-server", Method: "GET", Path: "/api/v1/servers/{name}", Roles: anyRole, Kinds: managementKeys, About: "one server"},
	{Op: "update-server", Method: "PUT", Path: "/api/v1/servers/{name}", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "replace a server's settings"},
	{Op: "remove-server", Method: "DELETE", Path: "/api/v1/servers/{name}", Roles: admins, Kinds: managementKeys, Writes: true, Status: 204, About: "remove a server and its tools"},
	{Op: "refresh-server", Method: "POST", Path: "/api/v1/servers/{name}/refresh", Roles: managers, Kinds: managementKeys, Writes: true, About: "fetch a server's tool list now"},
	{Op: "begin-server-login", Method: "POST", Path: "/api/v1/servers/{name}/login", Roles: members, Kinds: managementKeys, Writes: true, Sensitive: true, About: "begin one's own consent that the gateway uses a server for one; answers the address to open"},
	{Op: "finish-server-login", Method: "POST", Path: "/api/v1/servers/{name}/login/finish", Roles: members, Kinds: managementKeys, Writes: true, Body: true, Sensitive: true, About: "finish it with the word that the browser shows"},
	{Op: "end-server-login", Method: "DELETE", Path: "/api/v1/servers/{name}/login", Roles: members, Kinds: managementKeys, Writes: true, Status: 204, About: "forget one's own consent, and have it revoked"},
	{Op: "list-tools", Method: "GET", Path: "/api/v1/servers/{name}/tools", Roles: anyRole, Kinds: managementKeys, About: "a server's tools with their quarantine state"},

	{Op: "list-pins", Method: "GET", Path: "/api/v1/servers/{name}/pins", Roles: anyRole, Kinds: managementKeys, About: "what is decided about a server's tool definitions, and which wait for a decision"},
	{Op: "get-pin", Method: "GET", Path: "/api/v1/servers/{name}/pins/{tool}", Roles: anyRole, Kinds: managementKeys, About: "one tool's pin with its history and the difference to the approved definition"},
	{Op: "approve-pin", Method: "POST", Path: "/api/v1/servers/{name}/pins/{tool}/approve", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "approve the definition that the server lists now: its digest is named"},
	{Op: "reject-pin", Method: "POST", Path: "/api/v1/servers/{name}/pins/{tool}/reject", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "reject a definition that waits, or take an approval back"},
	{Op: "roll-back-pin", Method: "POST", Path: "/api/v1/servers/{name}/pins/{tool}/rollback", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "approve an earlier definition again; what the server lists now waits until it is that one"},

	{Op: "list-connectors", Method: "GET", Path: "/api/v1/connectors", Roles: anyRole, Kinds: managementKeys, About: "the processes that reach the organisation's MCP servers, and how they do"},
	{Op: "get-connector", Method: "GET", Path: "/api/v1/connectors/{name}", Roles: anyRole, Kinds: managementKeys, About: "one connector"},
	{Op: "restart-connector", Method: "POST", Path: "/api/v1/connectors/{name}/restart", Roles: admins, Kinds: managementKeys, Writes: true, About: "start a connector anew; the process before works on until the new one serves"},
	{Op: "list-connector-logs", Method: "GET", Path: "/api/v1/connectors/{name}/logs", Roles: managers, Kinds: managementKeys, About: "the last lines a connector wrote to its standard error"},

	{Op: "list-secrets", Method: "GET", Path: "/api/v1/secrets", Roles: managers, Kinds: managementKeys, About: "names of upstream secrets; values are never shown"},
	{Op: "put-secret", Method: "PUT", Path: "/api/v1/secrets/{name}", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Sensitive: true, Status: 204, About: "store or replace an upstream secret"},
	{Op: "delete-secret", Method: "DELETE", Path: "/api/v1/secrets/{name}", Roles: admins, Kinds: managementKeys, Writes: true, Status: 204, About: "delete an upstream secret"},

	{Op: "list-plans", Method: "GET", Path: "/api/v1/plans", Roles: anyRole, Kinds: managementKeys, About: "captured plans"},
	{Op: "get-plan", Method: "GET", Path: "/api/v1/plans/{id}", Roles: anyRole, Kinds: managementKeys, About: "one plan with its history, each event with its ledger index"},
	{Op: "get-plan-content", Method: "GET", Path: "/api/v1/plans/{id}/content", Roles: managers, Kinds: managementKeys, About: "the sealed plan: goal, metadata and the arguments of every step"},
	{Op: "set-plan-state", Method: "PUT", Path: "/api/v1/plans/{id}/state", Roles: managers, Kinds: managementKeys, Writes: true, Body: true, About: "end a plan: completed, failed or revoked"},

	{Op: "list-approvals", Method: "GET", Path: "/api/v1/approvals", Roles: members, Kinds: managementKeys, About: "calls that policy holds until people approve them"},
	{Op: "get-approval", Method: "GET", Path: "/api/v1/approvals/{id}", Roles: members, Kinds: managementKeys, About: "one held call, with its arguments for those who may decide"},
	{Op: "approve-call", Method: "POST", Path: "/api/v1/approvals/{id}/approve", Roles: members, Kinds: managementKeys, Writes: true, Body: true, Bare: true, About: "approve a held call, once; who may is looked up: role, amount, and whose agent it is"},
	{Op: "reject-call", Method: "POST", Path: "/api/v1/approvals/{id}/reject", Roles: members, Kinds: managementKeys, Writes: true, Body: true, About: "reject a held call for good, also one that is approved and not used yet"},

	{Op: "list-proposals", Method: "GET", Path: "/api/v1/proposals", Roles: anyRole, Kinds: managementKeys, About: "what agents ask an admin for: profiles and servers"},
	{Op: "get-proposal", Method: "GET", Path: "/api/v1/proposals/{id}", Roles: managers, Kinds: managementKeys, About: "one proposal with its content, and the policies that a profile becomes"},
	{Op: "approve-proposal", Method: "POST", Path: "/api/v1/proposals/{id}/approve", Roles: admins, Kinds: managementKeys, Writes: true, About: "put a proposed profile in force for the organisation; a proposed server is only marked, and added by hand"},
	{Op: "reject-proposal", Method: "POST", Path: "/api/v1/proposals/{id}/reject", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "refuse a proposal"},
	{Op: "get-profile", Method: "GET", Path: "/api/v1/profile", Roles: anyRole, Kinds: managementKeys, About: "the profile that narrows the organisation's calls"},
	{Op: "remove-profile", Method: "DELETE", Path: "/api/v1/profile", Roles: admins, Kinds: managementKeys, Writes: true, Status: 204, About: "take the profile out of force"},

	{Op: "list-usage", Method: "GET", Path: "/api/v1/usage", Roles: anyRole, Kinds: managementKeys, About: "tokens that models took, as agents report them, by day, product and model"},

	{Op: "list-tokens", Method: "GET", Path: "/api/v1/tokens", Roles: anyRole, Kinds: managementKeys, About: "intent tokens with their uses and refusals"},
	{Op: "revoke-token", Method: "DELETE", Path: "/api/v1/tokens/{id}", Roles: managers, Kinds: managementKeys, Writes: true, Status: 204, About: "revoke an intent token"},

	{Op: "list-revocations", Method: "GET", Path: "/api/v1/revocations", Roles: anyRole, Kinds: managementKeys, About: "what is revoked: agents, keys, tokens, plans"},
	{Op: "revoke", Method: "POST", Path: "/api/v1/revocations", Roles: managers, Kinds: managementKeys, Writes: true, Body: true, Status: 201, About: "revoke an agent, a key, a token or a plan"},

	{Op: "current-bundle", Method: "GET", Path: "/api/v1/bundles/current", Roles: anyRole, Kinds: managementKeys, About: "the bundle in force"},
	{Op: "reload-bundle", Method: "POST", Path: "/api/v1/bundles/reload", Roles: admins, Kinds: managementKeys, Writes: true, About: "load the bundle again from where it lies; the last good one stays on error"},

	{Op: "list-revisions", Method: "GET", Path: "/api/v1/policies/revisions", Roles: managers, Kinds: managementKeys, About: "the revisions of the organisation's policies, newest first, and which of them is enforced or tried"},
	{Op: "get-revision", Method: "GET", Path: "/api/v1/policies/revisions/{number}", Roles: managers, Kinds: managementKeys, About: "one revision with its files"},
	{Op: "push-revision", Method: "POST", Path: "/api/v1/policies/revisions", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bundle: true, Status: 201, About: "hand in a bundle of policies; it is judged and kept, and nothing else changes"},
	{Op: "activate-revision", Method: "POST", Path: "/api/v1/policies/revisions/{number}/activate", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "enforce a revision, or try it beside the enforced one: in shadow, or for a share of the principals"},
	{Op: "rollback-policies", Method: "POST", Path: "/api/v1/policies/rollback", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bare: true, About: "undo the last activation at once: end what is tried, or enforce the revision before, or one that was enforced earlier"},

	{Op: "diff-policies", Method: "POST", Path: "/api/v1/policies/diff", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bundle: true, Sensitive: true, Media: "application/jsonl", About: "which recorded decisions two bundles answer differently; for Admins, since policies can read what is sealed beside records"},
	{Op: "explain-record", Method: "POST", Path: "/api/v1/policies/explain", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "why a recorded call is allowed or denied, condition by condition"},
	{Op: "policy-shadow", Method: "GET", Path: "/api/v1/policies/shadow", Roles: anyRole, Kinds: managementKeys, About: "what is tried beside the policies in force, and which calls it would have answered differently"},

	{Op: "list-filters", Method: "GET", Path: "/api/v1/filters", Roles: anyRole, Kinds: managementKeys, About: "the organisation's own WASM filters, what is in force or tried of each, and what it did"},
	{Op: "get-filter", Method: "GET", Path: "/api/v1/filters/{name}", Roles: anyRole, Kinds: managementKeys, About: "one filter with its versions"},
	{Op: "push-filter", Method: "POST", Path: "/api/v1/filters/{name}/versions", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bundle: true, Status: 201, About: "upload a module; it is judged and kept as a version, and nothing comes into force"},
	{Op: "push-filter-steps", Method: "POST", Path: "/api/v1/filters/{name}/push", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bundle: true, Media: "application/jsonl", About: "the same, told stage by stage: a line for each, and at last the version or why there is none"},
	{Op: "shadow-filter", Method: "POST", Path: "/api/v1/filters/{name}/versions/{number}/shadow", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bare: true, About: "try a version beside the calls: it is asked and counted, and never obeyed; makes a revision of the policies"},
	{Op: "activate-filter", Method: "POST", Path: "/api/v1/filters/{name}/versions/{number}/activate", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bare: true, About: "put a version in force, for servers, tools and a direction; makes a revision of the policies"},
	{Op: "rollback-filter", Method: "POST", Path: "/api/v1/filters/{name}/rollback", Roles: admins, Kinds: managementKeys, Writes: true, About: "end what is tried, or put the version before in force again"},
	{Op: "remove-filter", Method: "POST", Path: "/api/v1/filters/{name}/remove", Roles: admins, Kinds: managementKeys, Writes: true, About: "take a filter out of force; its versions stay"},
	{Op: "delete-filter-version", Method: "DELETE", Path: "/api/v1/filters/{name}/versions/{number}", Roles: admins, Kinds: managementKeys, Writes: true, About: "delete a version that is neither in force nor tried, and say which revisions of the policies cannot be put in force without it"},
	{Op: "list-filter-rejections", Method: "GET", Path: "/api/v1/filter-rejections", Roles: managers, Kinds: managementKeys, About: "uploads that did not pass, with the stage, the reason, the byte and what to change"},
	{Op: "list-filter-logs", Method: "GET", Path: "/api/v1/filters/{name}/logs", Roles: managers, Kinds: managementKeys, About: "the newest lines that a filter logged, and what was noted about it"},

	{Op: "list-audit-logs", Method: "GET", Path: "/api/v1/audit-logs", Roles: anyRole, Kinds: managementKeys, About: "the organisation's ledger by time, agent, user, server, tool, verdict, kind, code and outcome; newest first unless asked otherwise"},
	{Op: "audit-log-stats", Method: "GET", Path: "/api/v1/audit-logs/stats", Roles: anyRole, Kinds: managementKeys, About: "the same records added up: by kind, verdict, code, outcome and hour, and the most frequent agents, users, servers and tools"},
	{Op: "get-audit-log", Method: "GET", Path: "/api/v1/audit-logs/{record}", Roles: anyRole, Kinds: managementKeys, About: "one record, by its index or by its id, and where it leads"},

	{Op: "list-records", Method: "GET", Path: "/api/v1/ledger/records", Roles: anyRole, Kinds: managementKeys, About: "the organisation's ledger, by index"},
	{Op: "get-record", Method: "GET", Path: "/api/v1/ledger/records/{record}", Roles: anyRole, Kinds: managementKeys, About: "one record, by its index or by the id that an answer named, and where it leads"},
	{Op: "get-proof", Method: "GET", Path: "/api/v1/ledger/records/{record}/proof", Roles: anyRole, Kinds: managementKeys, Media: "text/plain", About: "the C2SP tlog-proof that a record stands in the organisation's ledger, cosigned when witnesses have seen it; a text, to be verified offline"},
	{Op: "get-consistency", Method: "GET", Path: "/api/v1/ledger/consistency", Roles: anyRole, Kinds: managementKeys, About: "the proof that the organisation's ledger of one size is the beginning of that of another"},
	{Op: "export-records", Method: "POST", Path: "/api/v1/audit-logs/export", Roles: managers, Kinds: managementKeys, Writes: true, Body: true, Sensitive: true, Media: "application/zip", About: "records as an archive that proves itself; its manifest's digest goes into the ledger"},
	{Op: "prove-absence", Method: "POST", Path: "/api/v1/audit-logs/absence", Roles: managers, Kinds: managementKeys, Writes: true, Body: true, Sensitive: true, Media: "application/jsonl", About: "a proof that an agent did not call a tool between two sizes of the ledger; its digest goes into the ledger"},
	{Op: "get-hold", Method: "GET", Path: "/api/v1/ledger/hold", Roles: managers, Kinds: managementKeys, About: "whether the organisation is under legal hold"},
	{Op: "hold-ledger", Method: "POST", Path: "/api/v1/ledger/hold", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "put the organisation under legal hold: nothing of it is pruned or erased"},
	{Op: "release-ledger", Method: "DELETE", Path: "/api/v1/ledger/hold", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, About: "end the legal hold"},
	{Op: "prune-ledger", Method: "POST", Path: "/api/v1/ledger/prune", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Bare: true, About: "give up records that are older than the configured retention keeps; every organisation's for the gateway's own tenant"},
	{Op: "erase-subject", Method: "POST", Path: "/api/v1/audit-logs/erase", Roles: admins, Kinds: managementKeys, Writes: true, Body: true, Private: true, About: "destroy the key that everything sealed about a user or an agent lies under, for good"},
	{Op: "list-sinks", Method: "GET", Path: "/api/v1/sinks", Roles: admins, Kinds: managementKeys, About: "the receivers of the organisation's ledger events, and how far each is behind; all of them for the gateway's own tenant"},
	{Op: "get-checkpoint", Method: "GET", Path: "/api/v1/ledger/checkpoint", Roles: anyRole, Kinds: managementKeys, About: "the signed checkpoint of the organisation's ledger"},
	{Op: "get-log-file", Method: "GET", Path: "/ledger/{tenant}/{instance}/{path...}", Roles: anyRole, Kinds: managementKeys, About: "the organisation's log as C2SP tlog-tiles has it: checkpoint, tiles and entries"},
	{Op: "list-witnesses", Method: "GET", Path: "/api/v1/ledger/witnesses", Roles: anyRole, Kinds: managementKeys, About: "who cosigns the gateway's checkpoints, and whose it cosigns"},
	{Op: "cosign-ledger", Method: "POST", Path: "/api/v1/ledger/witnesses/cosign", Roles: admins, Kinds: managementKeys, Writes: true, About: "ask every witness to cosign the next checkpoint, also those that just failed"},
}

// routeOf finds a row by its operation id.
func routeOf(op string) (*Route, bool) {
	for i := range routes {
		if routes[i].Op == op {
			return &routes[i], true
		}
	}
	return nil, false
}

// pattern is the row's name in the ServeMux.
func (r *Route) pattern() string { return r.Method + " " + r.Path }

// success is the status of an answer that is not an error.
func (r *Route) success() int {
	if r.Status == 0 {
		return http.StatusOK
	}
	return r.Status
}

// wants says what a request without its body lacks.
func (r *Route) wants() string {
	if strings.HasSuffix(r.Op, "-ledger") {
		return `send {"reason": TEXT}: it stands in the ledger for good`
	}
	return "compare the request with /openapi.json"
}

// target reads what the template's variables stand for in a path that matched it.
func (r *Route) target(path string) string {
	names, values := strings.Split(r.Path, "/"), strings.Split(path, "/")
	for i, name := range names {
		if strings.HasPrefix(name, "{") && i < len(values) {
			return values[i]
		}
	}
	return ""
}
