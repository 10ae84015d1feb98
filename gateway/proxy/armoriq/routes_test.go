package armoriq_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/proxy/armoriq"
)

// sample is a request that a route serves, and the members that it reads with their types: s string, n number, b boolean,
// o object, a array, t token (string or object).
type sample struct {
	id, query, body string
	members         string
	head            heads
	about           bool // it is about a plan, a token or a request of the fixture's agent
}

const ed25519Hex = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"

// samples has one for each route.
func samples(t testing.TB, a agent, tk ticket) map[string]sample {
	t.Helper()
	plan := `{"goal":"g","steps":[` + step("bank", "echo", `{"x":2}`) + `]}`
	call := fmt.Sprintf(`{"mcp":"bank","action":"echo","tool":"echo","params":{"x":1},"arguments":{"x":1},"token":%s,"intent_token":{"jwt_token":%q,"plan_id":%q}}`, tk.object, tk.jwt, tk.plan)
	const callMembers = "mcp:s action:s tool:s enforce_only:b params:o arguments:o token:t csrg_token:t jwt_token:t intent_token:t intent_token/plan_id:s"
	delegate := fmt.Sprintf(`{"token":%s,"delegate_public_key":%q,"validity_seconds":60}`, tk.object, ed25519Hex)
	const delegateMembers = "token:t parentToken:t delegate_public_key:s delegatePublicKey:s validity_seconds:n validitySeconds:n allowed_actions:a target_agent:s subtreePath:s"
	const planMembers = "plan:o plan/steps:a plan/goal:s plan/metadata:o plan/steps/0:o plan/steps/0/action:s plan/steps/0/tool:s plan/steps/0/mcp:s plan/steps/0/params:o plan/steps/0/metadata:o plan/steps/0/after:a "
	held := a.post(t, "/delegation/request", `{"tool":"pay","domain":"bank","arguments":{"amount":5000},"planId":"`+tk.plan+`"}`).ok(t).text("delegationId")
	generation := a.post(t, "/dashboard/token-usage/stream", `{}`).ok(t).text("generation")
	usage := `{"product":"p","sessionId":"s","usageDate":"2026-01-02","usageHour":3,"entries":[{"model":"m","inputTokens":1,"outputTokens":2}]}`
	a.put(t, "/policies/profiles/draft", `{"policy":{"policyName":"p","allowedTools":["pay"]}}`)
	return map[string]sample{
		"POST /invoke":                             {body: call, members: callMembers, about: true},
		"POST /tool":                               {body: call, members: callMembers, about: true, head: heads{"X-CSRG-Path": "/steps/[0]/tool", "X-CSRG-Proof": string(tk.proofs[0])}},
		"POST /iap/sdk/enforce":                    {body: call, members: callMembers, about: true},
		"POST /iap/sdk/token":                      {body: `{"plan":` + plan + `}`, members: planMembers + "context_id:s expires_in:n"},
		"POST /iap/process":                        {body: `{"plan":` + plan + `}`, members: planMembers + "context_id:s expires_in:n validity_seconds:n"},
		"POST /intent":                             {body: `{"plan":` + plan + `}`, members: planMembers + "validity_seconds:n identity:o identity/context_id:s"},
		"POST /verify/action":                      {body: `{"path":"/steps/[0]/action","value":"echo","proof":null,"token":` + tk.object + `}`, members: "path:s value:s token:t", about: true},
		"POST /iap/verify-step":                    {body: `{"step_index":0,"token":` + tk.object + `}`, members: "path:s step_index:n tool_name:s token:t context:o context/csrg_value_digest:s", about: true},
		"GET /iap/public-key":                      {},
		"POST /iap/trust/revoke":                   {body: `{"intentReference":"tok_nothing","reason":"r"}`, members: "token:t reason:s cascade:b intentReference:s", about: true},
		"POST /iap/trust/reanchor":                 {body: `{"planId":"` + tk.plan + `","newPlan":{"steps":[` + step("bank", "echo", `{"x":1}`) + "," + step("bank", "echo", `{"x":9}`) + `]}}`, members: "newPlan:o planId:s reason:s token:t newPlan/steps:a", about: true},
		"POST /iap/trust/delegate":                 {body: delegate, members: delegateMembers, about: true},
		"POST /delegation/create":                  {body: delegate, members: delegateMembers, about: true},
		"POST /iap/plans/{id}/status":              {id: tk.plan, body: `{"status":"active"}`, members: "status:s", about: true},
		"POST /delegation/request":                 {body: `{"tool":"pay","domain":"bank","arguments":{"amount":6000},"planId":"` + tk.plan + `"}`, members: "tool:s action:s domain:s planId:s reason:s arguments:o", about: true},
		"GET /delegation/check-approved":           {query: "tool=pay&planId=" + tk.plan, about: true},
		"POST /delegation/mark-executed":           {body: `{"delegationId":"` + held + `"}`, members: "delegationId:s", about: true},
		"GET /delegation/my-role":                  {},
		"GET /delegation/{id}/status":              {id: held, about: true},
		"POST /iap/sdk/bootstrap":                  {body: `{}`},
		"POST /iap/sdk/resolve-user":               {body: `{"userEmail":"` + a.w.env(t)["USER_ID"] + `"}`, members: "userEmail:s", about: true},
		"GET /iap/sdk/orgs":                        {},
		"POST /iap/sdk/switch-org":                 {body: `{"org":"demo"}`, members: "org:s", about: true},
		"GET /api-keys":                            {},
		"POST /api-keys/{id}/revoke":               {id: "key_nothing", body: `{}`, about: true},
		"GET /observability/policy/lease":          {},
		"GET /mcp/my-servers":                      {},
		"GET /mcp/servers":                         {},
		"GET /mcp/tools/{name}":                    {id: "bank"},
		"GET /mcp/tool-metadata/{name}":            {id: "bank"},
		"POST /mcp/auto-register":                  {body: `{"name":"x","url":"http://127.0.0.1:9"}`},
		"POST /iap/sdk/register":                   {body: `{"name":"x","url":"http://127.0.0.1:9"}`},
		"POST /iap/audit":                          {body: `{"action":"x","status":"success"}`, members: "status:s step_index:n action:s tool:s mcp:s plan_id:s error_message:s executed_at:s"},
		"POST /iap/audit/batch":                    {body: `{"rows":[{"status":"success"}]}`, members: "rows:a"},
		"POST /dashboard/token-usage":              {body: usage, members: "product:s sessionId:s usageDate:s usageHour:n deviceId:s entries:a entries/0:o entries/0/model:s entries/0/inputTokens:n entries/0/cacheReadTokens:n"},
		"POST /dashboard/token-usage/stream":       {body: `{}`},
		"POST /dashboard/token-usage/stream/reset": {body: `{"generation":"` + generation + `","resetId":"0b7cbf4e-58a5-4f0c-9a51-3b0a37a2b6a1"}`, members: "generation:s resetId:s"},
		"POST /dashboard/token-usage/batch":        {body: `{"generation":"` + generation + `","snapshots":[` + strings.Replace(usage, "{", `{"revision":1,`, 1) + `]}`, members: "generation:s snapshots:a snapshots/0:o snapshots/0/revision:n snapshots/0/entries:a", about: true},
		"PUT /dashboard/token-usage/runs/{id}":     {id: "0b7cbf4e-58a5-4f0c-9a51-3b0a37a2b6a1", body: `{"state":"running"}`},
		"PUT /policies/profiles/draft":             {body: `{"policy":{"policyName":"p","allowedTools":["pay"]}}`, members: "orgId:s"},
		"POST /policies/profiles/propose":          {body: `{"reason":"r"}`, members: "reason:s orgId:s"},
		"POST /policies/profiles/cancel":           {body: `{}`, members: "orgId:s"},
		"GET /policies/profiles/active":            {},
		"POST /policies/profiles/template":         {body: `{"template":"x"}`},
		"POST /policies/sync":                      {body: `{"policy":{}}`},
		"POST /iap/sdk/preflight":                  {body: `{"tool_calls":[{"name":"bank__pay","args":{"amount":1}}]}`, members: "tool_calls:a tool_calls/0:o tool_calls/0/name:s tool_calls/0/tool:s tool_calls/0/args:o tool_calls/0/arguments:o tool_calls/0/params:o"},
		"POST /v1/data/armoriq/authz/decision":     {body: `{"input":{"resource":{"toolName":"bank__echo","params":{"x":1}}}}`, members: "input:o input/resource:o input/resource/toolName:s input/resource/resourceType:s input/resource/params:o"},
		"GET /policy/bundles/current":              {query: "agent=" + a.id},
		"POST /auth/device/code":                   {body: `{"deviceId":"d"}`},
		"POST /auth/device/token":                  {body: `{"deviceCode":"x"}`, members: "deviceCode:s device_code:s"},
		"GET /auth/device":                         {query: "code=ABCD-EFGH"},
	}
}

// openRoute says whether a route is one that needs no credential.
func openRoute(name string) bool { return strings.Contains(name, " /auth/") }

// book holds every request against the ledger.
type book struct {
	w     *world
	sent  map[string][]answer // with a record of their own, by the admin key of the organisation
	again map[string]int      // kept answers that were given again: recorded, under the first's name
}

// target is a route with an id in the place of its variable.
func target(w *world, name string, s sample) (method, url string) {
	method, path, _ := strings.Cut(name, " ")
	if i := strings.IndexByte(path, '{'); i >= 0 {
		path = path[:i] + s.id + path[strings.IndexByte(path, '}')+1:]
	}
	if s.query != "" {
		path += "?" + s.query
	}
	return method, w.g.URL() + path
}

// ask sends a request of an agent of the admin's organisation. Whatever it is, it is answered and on record.
func (b *book) ask(t *testing.T, admin, name string, s sample, h heads, body string) answer {
	t.Helper()
	method, url := target(b.w, name, s)
	for k, v := range s.head {
		h = h.and(k, v)
	}
	ans := b.w.exchange(t, method, url, h, body)
	if ans.status >= 500 {
		t.Errorf("%s %.200s: %s", name, body, ans)
	}
	if openRoute(name) && ans.record == "" {
		return ans
	}
	if ans.record == "" {
		t.Errorf("%s %.200s: no record: %s", name, body, ans)
	}
	if ans.status >= 400 && (ans.says("allowed") == true || ans.says("success") == true) {
		t.Errorf("%s %.200s: a refusal that says it is none: %s", name, body, ans)
	}
	b.sent[admin] = append(b.sent[admin], ans)
	return ans
}

// check holds what was asked against the ledger: for each request one refused record, or an admitted and a settled one.
func (b *book) check(t *testing.T) {
	t.Helper()
	for admin, sent := range b.sent {
		byID, settled, n := map[string]entry{}, map[string]int{}, map[string]int{}
		for _, e := range b.w.ledger(t, admin) {
			byID[e.ID] = e
			n[e.Kind]++
			if e.Kind == "settled" {
				settled[e.Of]++
			}
		}
		named := map[string]int{}
		for _, ans := range sent {
			e := byID[ans.record]
			named[ans.record]++
			switch {
			case e.Kind == "refused" && ans.status >= 400 || e.Kind == "refused" && ans.says("allowed") == false:
			case e.Kind == "settled" && byID[e.Of].Kind == "admitted" && settled[e.Of] == 1:
			default:
				t.Errorf("%s is on record as %s", ans, e.Raw)
			}
		}
		for id, times := range named {
			if times != 1 {
				t.Errorf("record %s is named by %d answers", id, times)
			}
		}
		if n["admitted"] != n["settled"] || n["refused"]+n["settled"] != len(sent)+b.again[admin] {
			t.Errorf("%d requests and %d kept answers left %d refused, %d admitted and %d settled records", len(sent), b.again[admin], n["refused"], n["admitted"], n["settled"])
		}
	}
}

// TestEveryRouteRefusesWhatItMust walks the table. Nothing is ever answered 5xx, nothing without a credential is told
// anything, every request with one is on record exactly once, and the ledger verifies after all of it.
func TestEveryRouteRefusesWhatItMust(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, theirs := w.agent(t, w.admin, ""), w.agent(t, w.otherAdmin, "")
	expired := a.withKey(t, w.admin, fmt.Sprintf(`,"expires":%q`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	revoked := a.withKey(t, w.admin, "")
	w.manage(t, w.admin, "DELETE", "/api/v1/keys/"+revoked.keyID, "", nil)
	w.later.Store(int64(2 * time.Hour))
	tk := a.token(t, step("bank", "echo", `{"x":1}`)+","+step("bank", "pay", `{"amount":5000}`), "")
	all := samples(t, a, tk)
	b := &book{w: w, sent: map[string][]answer{}, again: map[string]int{}}
	before := map[string]int{}
	for _, e := range w.ledger(t, w.admin) {
		before[e.Kind]++
	}
	b.again[w.admin] = before["settled"] + before["refused"] // what the fixtures asked
	routes := armoriq.Routes()
	for _, name := range routes {
		s, ok := all[name]
		if !ok {
			t.Errorf("%s has no sample", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			strangers(t, w, name, s, []string{a.key + "x", expired.key, revoked.key, "ak_test_x", strings.Replace(a.key, "ak_", "ak-", 1)}, a.key)
			b.keys(t, name, s, a, theirs, tk)
			b.methods(t, name, s, a)
			b.bodies(t, name, s, a)
			b.types(t, name, s, a)
			b.replays(t, name, s, a)
		})
	}
	if len(routes) != len(all) {
		t.Errorf("%d routes and %d samples", len(routes), len(all))
	}
	b.check(t)
	if n := strings.Count(w.log.String(), "panic"); n > 0 {
		t.Errorf("%d panics: %.3000s", n, w.log.String())
	}
	w.verified(t)
}

// strangers: without a good credential every address answers the same.
func strangers(t *testing.T, w *world, name string, s sample, bad []string, good string) {
	t.Helper()
	method, url := target(w, name, s)
	list := []heads{{}, {"Authorization": "Basic " + good}, {"Authorization": good}, {"Authorization": "Bearer"}, {"Cookie": "key=" + good}, {"Authorization": "Bearer " + good, "X-API-Key": good + "x"}}
	for _, key := range bad {
		list = append(list, heads{"Authorization": "Bearer " + key}, heads{"X-API-Key": key})
	}
	for _, h := range list {
		for _, body := range []string{s.body, "", "[", `{"a":1,"a":2}`} {
			if method == "GET" {
				body = ""
			}
			ans := w.exchange(t, method, url, h.and("Content-Type", "application/json"), body)
			if openRoute(name) {
				if ans.status >= 500 || ans.record != "" {
					t.Errorf("%s: %s", name, ans)
				}
				continue
			}
			if ans.status != http.StatusUnauthorized || ans.text("code") != "unauthenticated" || ans.record != "" || !strings.HasPrefix(ans.head.Get("WWW-Authenticate"), "Bearer") || ans.says("allowed") != false {
				t.Errorf("%s %v %.100s: %s", name, h, body, ans)
			}
		}
	}
}

// keys: an admin's key opens no route, another organisation's says nothing about this one, and X-Organization-Id only
// repeats what the credential says.
func (b *book) keys(t *testing.T, name string, s sample, a, theirs agent, tk ticket) {
	t.Helper()
	if openRoute(name) {
		return
	}
	method, url := target(b.w, name, s)
	if ans := b.w.exchange(t, method, url, bearer(b.w.admin), s.body); ans.status != http.StatusForbidden || ans.text("code") != "wrong_key_kind" || ans.record != "" {
		t.Errorf("%s with an admin's key: %s", name, ans)
	}
	b.ask(t, b.w.admin, name, s, bearer(a.key).and("X-Organization-Id", "other"), s.body).refused(t, http.StatusNotFound, "not_found")
	b.ask(t, b.w.otherAdmin, name, s, bearer(theirs.key).and("X-Organization-Id", "demo"), s.body).refused(t, http.StatusNotFound, "not_found")
	ans := b.ask(t, b.w.otherAdmin, name, s, bearer(theirs.key).and("X-Organization-Id", "other"), s.body)
	for _, secret := range []string{a.id, a.name, tk.plan, tk.id, `"demo"`, "Demo"} {
		if strings.Contains(ans.body, secret) {
			t.Errorf("%s tells another organisation %q: %s", name, secret, ans)
		}
	}
	if s.about && ans.status < 400 && ans.says("allowed") != false && ans.says("approved") != false {
		t.Errorf("%s serves another organisation: %s", name, ans)
	}
}

func (b *book) methods(t *testing.T, name string, s sample, a agent) {
	t.Helper()
	_, path, _ := strings.Cut(name, " ")
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"} {
		if slices.Contains(armoriq.Routes(), method+" "+path) || method == "HEAD" && strings.HasPrefix(name, "GET ") {
			continue
		}
		ans := b.w.exchange(t, method, first(target(b.w, name, s)), bearer(a.key), s.body)
		if ans.status != http.StatusMethodNotAllowed || !strings.Contains(ans.head.Get("Allow"), strings.Fields(name)[0]) || ans.record == "" {
			t.Errorf("%s %s: %s, Allow %q", method, path, ans, ans.head.Get("Allow"))
		}
		b.sent[b.w.admin] = append(b.sent[b.w.admin], ans)
	}
}

func first(_, url string) string { return url }

// bodies: what is not one strict JSON object is refused before anything in it is believed.
func (b *book) bodies(t *testing.T, name string, s sample, a agent) {
	t.Helper()
	if strings.HasPrefix(name, "GET ") {
		return
	}
	admin, h := b.w.admin, bearer(a.key)
	huge := `{"x":"` + strings.Repeat("x", 2<<20) + `"}`
	method, url := target(b.w, name, s)
	if ans, err := b.w.try(method, url, h, huge); err == nil && ans.status != http.StatusRequestEntityTooLarge {
		t.Errorf("%s: 2 MiB: %s", name, ans)
	}
	cut := s.body[:len(s.body)-1]
	for _, body := range []string{
		"", " ", `[]`, `null`, `true`, `"x"`, `{`, cut, s.body + s.body, s.body + "x", `{"a":1,"a":2}`, strings.Replace(s.body, "{", `{"z":{"a":1,"\u0061":2},`, 1),
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), "{\"a\":\"\xff\xfe\"}",
		"{\"a\":\"\xed\xa0\x80\"}", `{"a":"\ud800"}`, "{'a':1}", `{"a":01}`, `{"a":NaN}`, "\xef\xbb\xbf{}", "{\"a\":\"\x00\"}", `{"a":1,}`,
	} {
		if s.body == "{}" && body == strings.Replace(s.body, "{", `{"z":{"a":1,"\u0061":2},`, 1) {
			continue // ends in a comma: the case above
		}
		ans := b.ask(t, admin, name, s, h, body)
		if ans.status != http.StatusBadRequest || ans.text("code") != "malformed" && !openRoute(name) {
			t.Errorf("%s with %.80q: %s", name, body, ans)
		}
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"} {
		if ans := b.ask(t, admin, name, s, h.and("Content-Type", kind), s.body); ans.status != http.StatusBadRequest || ans.text("code") != "unsupported" {
			t.Errorf("%s as %s: %s", name, kind, ans)
		}
	}
	var z bytes.Buffer
	zip := gzip.NewWriter(&z)
	_, _ = zip.Write([]byte(s.body))
	_ = zip.Close()
	if ans := b.ask(t, admin, name, s, h.and("Content-Encoding", "gzip"), z.String()); ans.status != http.StatusBadRequest && ans.status != http.StatusUnauthorized {
		t.Errorf("%s with gzip: %s", name, ans)
	}
	b.ask(t, admin, name, s, h, `{}`)
}

// types: each member that the route reads, with values of each other type.
func (b *book) types(t *testing.T, name string, s sample, a agent) {
	t.Helper()
	values := map[string]string{"s": `"x"`, "n": `5`, "b": `true`, "o": `{"x":1}`, "a": `[[]]`}
	for m := range strings.FieldsSeq(s.members) {
		path, kind, _ := strings.Cut(m, ":")
		for k, v := range values {
			if k == kind || kind == "t" && (k == "s" || k == "o") {
				continue
			}
			body := with(t, s.body, strings.Split(path, "/"), v)
			if ans := b.ask(t, b.w.admin, name, s, bearer(a.key), body); ans.status != http.StatusBadRequest || ans.text("code") != "malformed" {
				t.Errorf("%s with %s at %s: %s", name, v, path, ans)
			}
		}
	}
}

// with is a JSON text with one member replaced or added.
func with(t *testing.T, text string, path []string, value string) string {
	t.Helper()
	if len(path) == 0 {
		return value
	}
	if i, err := strconv.Atoi(path[0]); err == nil {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(text), &list); err != nil || i >= len(list) {
			t.Fatalf("%s of %s", path, text)
		}
		list[i] = json.RawMessage(with(t, string(list[i]), path[1:], value))
		return marshal(t, list)
	}
	all := map[string]json.RawMessage{}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
	}
	all[path[0]] = json.RawMessage(with(t, string(all[path[0]]), path[1:], value))
	return marshal(t, all)
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replays: the same request under one Idempotency-Key has one effect and one answer; another under it is refused.
func (b *book) replays(t *testing.T, name string, s sample, a agent) {
	t.Helper()
	if openRoute(name) {
		return
	}
	h := bearer(a.key).and("Idempotency-Key", "key of "+name)
	one := b.ask(t, b.w.admin, name, s, h, s.body)
	method, url := target(b.w, name, s)
	for k, v := range s.head {
		h = h.and(k, v)
	}
	two := b.w.exchange(t, method, url, h, s.body)
	if two.record == one.record {
		b.again[b.w.admin]++
	} else {
		b.sent[b.w.admin] = append(b.sent[b.w.admin], two) // what only reads is read again
	}
	advice := method == "GET" || strings.HasSuffix(name, "/iap/sdk/enforce") // a decision is asked for as things stand: none is kept
	if two.status != one.status || one.status == http.StatusOK && !advice && (two.body != one.body || two.record != one.record) {
		t.Errorf("%s: %s, and again %s", name, one, two)
	}
	if one.status != http.StatusOK || advice {
		return
	}
	other := strings.ReplaceAll(with(t, s.body, []string{"zzz"}, "1"), `"echo"`, `"wire"`)
	if ans := b.ask(t, b.w.admin, name, s, h, other); ans.text("code") != "retry_mismatch" {
		t.Errorf("%s: another body under the key: %s", name, ans)
	}
	b.ask(t, b.w.admin, name, s, bearer(a.key).and("Idempotency-Key", strings.Repeat("k", 256)), s.body).refused(t, http.StatusBadRequest, "malformed")
}
