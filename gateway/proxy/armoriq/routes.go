package armoriq

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// route is one row of the table.
type route struct {
	method, path string
	read         func(r *request) error // reads the request once the caller is known and says what it is to the line
	open         func(r *request)       // answers a request that needs no credential; only signing in does
}

// Routes lists what the dialect answers, as "METHOD /path", for tests and documentation.
func Routes() []string {
	var out []string
	for i := range table {
		out = append(out, table[i].method+" "+table[i].path)
	}
	return out
}

// Words lists the first segments of the paths that this dialect answers, but for "mcp", which it shares.
func Words() []string {
	var out []string
	for i := range table {
		first, _, _ := strings.Cut(table[i].path[1:], "/")
		if first != "mcp" && !slices.Contains(out, first) {
			out = append(out, first)
		}
	}
	return out
}

// match finds the row of a request. The error is the refusal of a path or method that has none.
func match(method, path string) (*route, string, error) {
	known := false
	for i := range table {
		id, ok := fits(table[i].path, path)
		if ok && table[i].method == method {
			return &table[i], id, nil
		}
		known = known || ok
	}
	if known {
		return nil, "", pipeline.Deny(pipeline.MethodNotAllowed, "")
	}
	return nil, "", pipeline.Deny(pipeline.NotFound, "no such address")
}

func served(path string) bool {
	return len(methods(path)) > 0
}

func methods(path string) []string {
	var out []string
	for i := range table {
		if _, ok := fits(table[i].path, path); ok && !slices.Contains(out, table[i].method) {
			out = append(out, table[i].method)
		}
	}
	return out
}

// fits holds a path against a template with at most one {variable} and gives what stands for it.
func fits(template, path string) (id string, ok bool) {
	before, after, variable := strings.Cut(template, "{")
	if !variable {
		return "", template == path
	}
	_, after, _ = strings.Cut(after, "}")
	if len(path) <= len(before)+len(after) || !strings.HasPrefix(path, before) || !strings.HasSuffix(path, after) {
		return "", false
	}
	id = path[len(before) : len(path)-len(after)]
	return id, !strings.Contains(id, "/")
}

const get, post, put = http.MethodGet, http.MethodPost, http.MethodPut

// table is everything this dialect answers.
var table = slices.Concat(calls, trust, delegations, account, servers, reports, tokenUsage, profiles, advice, signIn)

var calls = []route{
	{method: post, path: "/invoke", read: readInvoke},
	{method: post, path: "/tool", read: readTool},
	{method: post, path: "/iap/sdk/enforce", read: readEnforce},
	{method: post, path: "/iap/sdk/token", read: readToken},
	{method: post, path: "/iap/process", read: readProcess},
	{method: post, path: "/intent", read: readIntent},
	{method: post, path: "/verify/action", read: readVerifyAction},
	{method: post, path: "/iap/verify-step", read: readVerifyStep},
	{method: get, path: "/iap/public-key", read: readPublicKey},
}

var trust = []route{
	{method: post, path: "/iap/trust/revoke", read: readRevoke},
	{method: post, path: "/iap/trust/reanchor", read: readReanchor},
	{method: post, path: "/iap/trust/delegate", read: readDelegate},
	{method: post, path: "/delegation/create", read: readDelegate},
	{method: post, path: "/iap/plans/{id}/status", read: readPlanStatus},
}

// delegations is what their clients call requests for a person's approval.
var delegations = []route{
	{method: post, path: "/delegation/request", read: readApprovalRequest},
	{method: get, path: "/delegation/check-approved", read: readCheckApproved},
	{method: post, path: "/delegation/mark-executed", read: readMarkExecuted},
	{method: get, path: "/delegation/my-role", read: readMyRole},
	{method: get, path: "/delegation/{id}/status", read: readApprovalStatus},
}

var account = []route{
	{method: post, path: "/iap/sdk/bootstrap", read: readBootstrap},
	{method: post, path: "/iap/sdk/resolve-user", read: readResolveUser},
	{method: get, path: "/iap/sdk/orgs", read: readOrgs},
	{method: post, path: "/iap/sdk/switch-org", read: readSwitchOrg},
	{method: get, path: "/api-keys", read: readKeys},
	{method: post, path: "/api-keys/{id}/revoke", read: readRevokeKey},
	{method: get, path: "/observability/policy/lease", read: readLease},
}

var servers = []route{
	{method: get, path: "/mcp/my-servers", read: readServers},
	{method: get, path: "/mcp/servers", read: readServers},
	{method: get, path: "/mcp/tools/{name}", read: readTools},
	{method: get, path: "/mcp/tool-metadata/{name}", read: readToolMetadata},
	{method: post, path: "/mcp/auto-register", read: readProposeServer},
	{method: post, path: "/iap/sdk/register", read: readProposeServer},
}

// reports are an agent's word about what it did.
var reports = []route{
	{method: post, path: "/iap/audit", read: readAudit},
	{method: post, path: "/iap/audit/batch", read: readAuditBatch},
}

// tokenUsage is what an agent says its models took.
var tokenUsage = []route{
	{method: post, path: "/dashboard/token-usage", read: readUsage},
	{method: post, path: "/dashboard/token-usage/stream", read: readStream},
	{method: post, path: "/dashboard/token-usage/stream/reset", read: readStreamReset},
	{method: post, path: "/dashboard/token-usage/batch", read: readUsageBatch},
	{method: put, path: "/dashboard/token-usage/runs/{id}", read: readUsageRun},
}

var profiles = []route{
	{method: put, path: "/policies/profiles/draft", read: readDraft},
	{method: post, path: "/policies/profiles/propose", read: readPropose},
	{method: post, path: "/policies/profiles/cancel", read: readWithdraw},
	{method: get, path: "/policies/profiles/active", read: readActiveProfile},
	{method: post, path: "/policies/profiles/template", read: readActivate},
	{method: post, path: "/policies/sync", read: readActivate},
}

// advice is what policy would say.
var advice = []route{
	{method: post, path: "/iap/sdk/preflight", read: readPreflight},
	{method: post, path: "/v1/data/armoriq/authz/decision", read: readDecision},
	{method: get, path: "/policy/bundles/current", read: readPolicyBundle},
}

// signIn needs no credential: it is how a program gets one.
var signIn = []route{
	{method: post, path: "/auth/device/code", open: openDeviceCode},
	{method: post, path: "/auth/device/token", open: openDeviceToken},
	{method: get, path: "/auth/device", open: openDevicePage},
}
