package control_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
)

// documented reads "METHOD path" of every operation in the OpenAPI document as served, with its roles.
func documented(t *testing.T, w *world) map[string][]string {
	t.Helper()
	a := w.call("GET", "/openapi.json", "", "")
	var doc struct {
		Paths map[string]map[string]struct {
			Roles []string `json:"x-gatewright-roles"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	ops := map[string][]string{}
	for path, methods := range doc.Paths {
		for m, op := range methods {
			ops[strings.ToUpper(m)+" "+path] = op.Roles
		}
	}
	return ops
}

func TestTheTableAndTheOpenAPIDocumentNameTheSameRoutes(t *testing.T) {
	w := newWorld(t)
	ops := documented(t, w)
	if len(ops) < 30 {
		t.Fatalf("only %d operations are documented", len(ops))
	}
	listed := map[string]bool{}
	for _, r := range control.Routes() {
		name := r.Method + " " + r.Path
		if listed[name] {
			t.Errorf("%s is listed twice", name)
		}
		listed[name] = true
		roles, ok := ops[name]
		if strings.HasPrefix(r.Path, "/api/v1/") != ok {
			t.Errorf("%s: documented is %v", name, ok)
		}
		if ok && len(roles) != len(r.Roles) {
			t.Errorf("%s: the document says %v, the table %v", name, roles, r.Roles)
		}
		if len(r.Roles) == 0 && !r.Open {
			t.Errorf("%s: nobody may", name)
		}
		if r.Method != "GET" && !r.Writes {
			t.Errorf("%s changes nothing?", name)
		}
	}
	for name := range ops {
		if !listed[name] {
			t.Errorf("%s is served and documented but stands in no row of the table", name)
		}
	}
}

// sample fills a template with ids of the world, so that every route comes as far as it can.
func (w *world) sample(path, tenant string) string {
	ids := w.ids[tenant]
	return strings.NewReplacer(
		"/ledger/{tenant}/{instance}/{path...}", "/ledger/"+tenant+"/gw-1/tile/entries/000.p/2",
		"/organisations/{id}", "/organisations/"+tenant, "/users/{id}", "/users/"+ids.user, "/agents/{id}", "/agents/"+ids.agent,
		"/keys/{id}", "/keys/"+ids.key, "/plans/{id}", "/plans/"+ids.plan, "/tokens/{id}", "/tokens/"+ids.token,
		"/filters/{name}", "/filters/"+ids.filter, "/servers/{name}", "/servers/"+ids.server, "/connectors/{name}", "/connectors/"+ids.connector, "/approvals/{id}", "/approvals/"+ids.approval, "/device-codes/{code}", "/device-codes/"+ids.code, "/proposals/{id}", "/proposals/"+ids.proposal, "/secrets/{name}", "/secrets/"+ids.secret, "{tool}", "pinned", "{record}", "0", "{number}", map[bool]string{true: "1", false: "3"}[tenant == demo], "{profile}", "heap",
	).Replace(path)
}

var bodies = map[string]string{
	"create-organisation": `{"id":"third","name":"Third","admin":{"name":"Zoe"}}`, "set-organisation-status": `{"status":"active"}`,
	"create-user": goodUser, "set-user-role": `{"role":"Viewer"}`, "set-user-status": `{"status":"suspended"}`, "set-agent-owner": `{"owner":"USER"}`, "create-management-key": `{"name":"k"}`,
	"rotate-seals": `{}`,
	"create-agent": `{"name":"new"}`, "set-agent-status": `{"status":"active"}`, "rotate-agent-key": `{"public_key":"PUBLIC"}`,
	"approve-device-code": `{"agent":"AGENT"}`, "create-key": `{"agent":"AGENT","name":"k"}`, "add-server": `{"name":"new","url":"https://mcp.example/mcp"}`, "update-server": `{"url":"https://mcp.example/other"}`, "put-secret": `{"value":"x"}`,
	"approve-pin": `{"digest":"DIGEST"}`, "reject-pin": `{"digest":"DIGEST"}`, "roll-back-pin": `{"digest":"KEPT"}`,
	"finish-server-login": `{"word":"BCDF-GHJK"}`, "set-plan-state": `{"state":"revoked","reason":"test"}`, "approve-call": `{"reason":"test"}`, "reject-call": `{"reason":"test"}`, "reject-proposal": `{"reason":"test"}`, "export-records": `{"format":"csv"}`, "diff-policies": `{"limit":10}`, "push-filter": `{"module":"AGFzbQEAAAA="}`, "push-filter-steps": `{"module":"AGFzbQEAAAA="}`, "shadow-filter": `{}`, "activate-filter": `{}`, "push-revision": `{"files":{"p.cedar":"permit (principal, action, resource);"}}`, "activate-revision": `{"mode":"enforce"}`, "rollback-policies": `{}`, "explain-record": `{"record":"RECORD"}`, "prove-absence": `{"agent":"AGENT"}`, "hold-ledger": `{"reason":"case 12"}`, "release-ledger": `{"reason":"over"}`, "prune-ledger": `{"dry_run":true}`, "erase-subject": `{"subject":"AGENT","reason":"asked","confirm":"AGENT"}`, "revoke": `{"kind":"agent","id":"AGENT","reason":"test"}`,
}

func freshPublicKey() string {
	public, _, _ := ed25519.GenerateKey(nil)
	return base64.RawURLEncoding.EncodeToString(public)
}

// attempt calls a route with a key, on things of tenant.
func (w *world) attempt(r control.Route, key, tenant string) *reply {
	body := ""
	if r.Body {
		body = strings.NewReplacer("AGENT", w.ids[tenant].agent, "USER", w.ids[demo].user, "PUBLIC", freshPublicKey()).Replace(bodies[r.Op])
	}
	if strings.HasSuffix(r.Op, "-pin") && r.Body {
		p := w.pinOf(tenant)
		body = strings.NewReplacer("DIGEST", p.Digest.String(), "KEPT", p.Kept[len(p.Kept)-1].String()).Replace(body)
	}
	if r.Op == "explain-record" {
		body = strings.Replace(body, "RECORD", w.asked(tenant, w.ids[tenant].user, "orders", nil), 1)
	}
	req := w.request(r.Method, w.sample(r.Path, tenant), key, body)
	req.RemoteAddr = "192.0.2.10:4000" // not this machine, which may read metrics without a key
	return w.do(req)
}

func TestEveryRouteForEveryRole(t *testing.T) {
	shared := newWorld(t)
	for _, r := range control.Routes() {
		if r.Open {
			continue
		}
		if _, ok := bodies[r.Op]; r.Body && !ok {
			t.Fatalf("no body for %s", r.Op)
		}
		w, changed := shared, false
		if r.Writes {
			w = newWorld(t)
		}
		for _, wrong := range []string{"", "nonsense", "ak_live_00000000000000000000000000_" + strings.Repeat("a", 43), w.admin + "a", strings.ToUpper(w.admin), w.expired, w.revoked, w.suspended} {
			if a := w.attempt(r, wrong, demo); a.status != http.StatusUnauthorized || a.code() != "unauthenticated" || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with key %.12q: %d %s", r.Method, r.Path, wrong, a.status, a.body)
			}
		}
		w.attempt(r, w.runtime, demo).refused(t, http.StatusForbidden, "wrong_key_kind")
		for _, role := range []identity.Role{identity.RoleViewer, identity.RoleMember, identity.RoleManager, identity.RoleAdmin} {
			if changed {
				w = newWorld(t) // no call sees what another changed
			}
			a := w.attempt(r, w.byRole[role], demo)
			narrowed := role == identity.RoleMember && (r.Op == "create-key" || r.Op == "revoke-key" || r.Op == "rotate-agent-key" || r.Op == "approve-device-code" || r.Op == "approve-call" || r.Op == "reject-call")
			switch {
			case !slices.Contains(r.Roles, role), narrowed: // the sample's agent is somebody else's, and a held call takes a Manager
				a.refused(t, http.StatusForbidden, "role_denied")
			case r.Instance:
				a.refused(t, http.StatusForbidden, "instance_only")
			case a.status >= 400:
				t.Errorf("%s %s as %s: %d %s", r.Method, r.Path, role, a.status, a.body)
			}
			changed = r.Writes && a.status < 400
		}
		if r.Instance {
			if a := w.attempt(r, w.operator, demo); a.status >= 400 {
				t.Errorf("%s %s as operator: %d %s", r.Method, r.Path, a.status, a.body)
			}
		}
	}
}

func TestWhatIsAnotherTenantsAnswersLikeWhatIsUnknown(t *testing.T) {
	w := newWorld(t)
	for _, r := range control.Routes() {
		if r.Op == "put-secret" || strings.HasPrefix(r.Op, "push-filter") { // a name one may choose: the other tenant's is simply not one's own
			continue
		}
		if r.Open || r.Loopback || r.Instance || !strings.Contains(r.Path, "{") && r.Op != "revoke" && r.Op != "create-key" || r.Op == "get-record" || r.Op == "get-proof" || r.Op == "get-audit-log" {
			continue
		}
		a := w.attempt(r, w.admin, other)
		unknown := w.attempt(r, w.admin, nowhere)
		if a.status != http.StatusNotFound || a.code() != "not_found" {
			t.Errorf("%s %s on the other tenant's: %d %s", r.Method, r.Path, a.status, a.body)
		}
		ours, theirs := a.problem(), unknown.problem()
		delete(ours, "record")
		delete(theirs, "record")
		if x, y := toJSON(t, ours), toJSON(t, theirs); x != y || a.status != unknown.status {
			t.Errorf("%s %s tells the other tenant's from unknown:\n%s\n%s", r.Method, r.Path, x, y)
		}
		if n := len(w.log.of(other)); n != 0 {
			t.Errorf("%s %s wrote %d records into the other tenant", r.Method, r.Path, n)
		}
	}
}

func TestListsShowOneTenantOnly(t *testing.T) {
	w := newWorld(t)
	ids := w.ids[other]
	for _, path := range []string{"users", "agents", "keys", "servers", "connectors", "filters", "secrets", "plans", "tokens", "approvals", "proposals", "usage", "revocations", "organisations", "ledger/records", "whoami"} {
		a := w.call("GET", "/api/v1/"+path, w.admin, "")
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		for _, id := range []string{ids.user, ids.agent, ids.key, ids.plan, ids.token, ids.approval, ids.server, ids.connector, ids.filter, ids.secret, `"` + other + `"`} {
			if strings.Contains(a.body, id) {
				t.Errorf("%s shows %s of the other tenant: %s", path, id, a.body)
			}
		}
	}
}

func TestATenantNamedInAHeaderMustBeTheKeysOwn(t *testing.T) {
	w := newWorld(t)
	for _, values := range [][]string{{other}, {demo, other}, {""}, {"DEMO"}, {demo + " "}, {"_instance"}, {demo + "," + other}} {
		r := w.request("GET", "/api/v1/users", w.admin, "")
		r.Header["X-Organization-Id"] = values
		w.do(r).refused(t, http.StatusForbidden, "organization_mismatch")
	}
	r := w.request("GET", "/api/v1/users", w.admin, "")
	r.Header.Set("X-Organization-Id", demo)
	for _, hint := range []string{"X-Tenant", "X-User-Id", "X-Role", "X-Agent-Id"} {
		r.Header.Set(hint, other)
	}
	if a := w.do(r); a.status != http.StatusOK || strings.Contains(a.body, w.ids[other].user) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestACredentialIsOneBearerHeader(t *testing.T) {
	w := newWorld(t)
	for name, set := range map[string]func(http.Header){
		"twice":        func(h http.Header) { h["Authorization"] = []string{"Bearer " + w.admin, "Bearer " + w.admin} },
		"basic":        func(h http.Header) { h.Set("Authorization", "Basic "+w.admin) },
		"bare":         func(h http.Header) { h.Set("Authorization", w.admin) },
		"two in one":   func(h http.Header) { h.Set("Authorization", "Bearer "+w.admin+", Bearer "+w.admin) },
		"padded":       func(h http.Header) { h.Set("Authorization", "Bearer  "+w.admin) },
		"api key":      func(h http.Header) { h.Del("Authorization"); h.Set("X-Api-Key", w.admin) },
		"cookie":       func(h http.Header) { h.Del("Authorization"); h.Set("Cookie", "key="+w.admin) },
		"long":         func(h http.Header) { h.Set("Authorization", "Bearer "+strings.Repeat("a", 100_000)) },
		"query spaces": func(h http.Header) { h.Set("Authorization", "Bearer") },
	} {
		r := w.request("GET", "/api/v1/whoami", w.admin, "")
		set(r.Header)
		if a := w.do(r); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	w.call("GET", "/api/v1/whoami?key="+w.admin, "", "").refused(t, http.StatusUnauthorized, "unauthenticated")
	w.call("GET", "/nowhere", "", "").refused(t, http.StatusUnauthorized, "unauthenticated")
	w.call("GET", "/", "", "").refused(t, http.StatusUnauthorized, "unauthenticated")
}

func TestAManagerDoesNotReachTheAdminsKeys(t *testing.T) {
	w := newWorld(t)
	manager := w.byRole[identity.RoleManager]
	w.call("DELETE", "/api/v1/keys/"+w.adminKey, manager, "").refused(t, http.StatusForbidden, "role_denied")
	w.call("POST", "/api/v1/revocations", manager, `{"kind":"key","id":"`+w.adminKey+`","reason":"x"}`).refused(t, http.StatusForbidden, "role_denied")
	w.call("POST", "/api/v1/users/"+w.adminUser+"/keys", manager, `{"name":"mine"}`).refused(t, http.StatusForbidden, "role_denied")
	w.call("PUT", "/api/v1/users/"+w.managerUser+"/role", manager, `{"role":"Admin"}`).refused(t, http.StatusForbidden, "role_denied")
	if a := w.call("GET", "/api/v1/whoami", w.admin, ""); a.status != http.StatusOK {
		t.Errorf("the admin is locked out: %d %s", a.status, a.body)
	}
}
