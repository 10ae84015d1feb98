package armoriq_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
)

func TestAnAccountIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, other := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	user := w.env(t)["USER_ID"]

	boot := a.post(t, "/iap/sdk/bootstrap", `{"agent_id":"`+other.id+`","user_email":"x@y"}`).ok(t)
	if boot.text("org", "orgId") != "demo" || boot.text("agent", "agentId") != a.id || boot.text("userId") != user || boot.text("toolMap", "echo") != "bank" {
		t.Errorf("bootstrap: %s", boot)
	}
	for _, hidden := range []string{other.id, `"denied"`} {
		if strings.Contains(boot.body, hidden) {
			t.Errorf("bootstrap shows %s: %s", hidden, boot)
		}
	}
	if who := a.post(t, "/iap/sdk/resolve-user", `{"userEmail":"`+strings.ToUpper(user)+`"}`).ok(t); who.text("userId") != user || who.text("role") != "admin" {
		t.Errorf("resolve-user: %s", who)
	}
	a.post(t, "/iap/sdk/resolve-user", `{"userEmail":"somebody@else.example"}`).refused(t, http.StatusNotFound, "not_found")
	a.post(t, "/iap/sdk/resolve-user", `{"useremail":"`+user+`"}`).refused(t, http.StatusBadRequest, "malformed")
	if orgs := a.get(t, "/iap/sdk/orgs").ok(t); strings.Count(orgs.body, "orgId") != 1 || !strings.Contains(orgs.body, `"orgId":"demo"`) {
		t.Errorf("orgs: %s", orgs)
	}
	a.post(t, "/iap/sdk/switch-org", `{"org":"demo"}`).refused(t, http.StatusBadRequest, "malformed")
	a.post(t, "/iap/sdk/switch-org", `{"org":"other"}`).refused(t, http.StatusForbidden, "wrong_key_kind")
	if role := a.get(t, "/delegation/my-role").ok(t); role.text("role") != "admin" || role.says("limit").(float64) <= 0 {
		t.Errorf("my-role: %s", role)
	}
	lease := a.get(t, "/observability/policy/lease").ok(t)
	if until, err := time.Parse(time.RFC3339, lease.text("expiresAt")); err != nil || time.Until(until) <= 0 || lease.text("captureMode") != "off" || lease.says("contentCaptureAllowed") != false {
		t.Errorf("lease: %s (%v)", lease, err)
	}
}

func TestAKeySeesAndEndsOnlyItself(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a := w.agent(t, w.admin, "")
	second, stranger := a.withKey(t, w.admin, ""), w.agent(t, w.admin, "")
	keys := a.get(t, "/api-keys").ok(t)
	if !strings.Contains(keys.body, a.keyID) || strings.Contains(keys.body, second.keyID) || strings.Contains(keys.body, stranger.keyID) || strings.Contains(keys.body, a.key[8:]) {
		t.Errorf("keys: %s", keys)
	}
	for _, id := range []string{second.keyID, stranger.keyID, "key_nothing", a.keyID + "x", "x"} {
		a.post(t, "/api-keys/"+id+"/revoke", `{}`).refused(t, http.StatusForbidden, "wrong_key_kind")
	}
	second.get(t, "/api-keys").ok(t)
	a.post(t, "/api-keys/"+a.keyID+"/revoke", `{}`).ok(t)
	if ans := a.get(t, "/api-keys"); ans.status != http.StatusUnauthorized || ans.record != "" {
		t.Errorf("a key that ended itself: %s", ans)
	}
	second.get(t, "/api-keys").ok(t)
}

// TestTheCatalogueShowsWhatTheCallerCouldCall: what policy never lets it call, and what belongs to others, is not there.
func TestTheCatalogueShowsWhatTheCallerCouldCall(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, elsewhere := w.agent(t, w.admin, ""), w.agent(t, w.admin, `,"talks_to":["another"]`)
	for _, path := range []string{"/mcp/my-servers", "/mcp/servers"} {
		if list := a.get(t, path).ok(t); !strings.Contains(list.body, `"name":"bank"`) || strings.Contains(list.body, "denied") {
			t.Errorf("%s: %s", path, list)
		}
		if list := elsewhere.get(t, path).ok(t); strings.Contains(list.body, "bank") {
			t.Errorf("%s tells of a server that the agent may not talk to: %s", path, list)
		}
	}
	tools := a.get(t, "/mcp/tools/bank").ok(t)
	for _, want := range []string{`"type":"function"`, `"inputSchema":{`, `"parameters":{`, `"name":"pay"`} {
		if !strings.Contains(tools.body, want) {
			t.Errorf("tools do not have %s: %s", want, tools)
		}
	}
	about := a.get(t, "/mcp/tool-metadata/bank").ok(t)
	if about.says("data", "toolMetadata", "pay", "isFinancial") != true || about.says("data", "toolMetadata", "echo", "isFinancial") != false || about.text("data", "mcpId") != "bank" {
		t.Errorf("metadata: %s", about)
	}
	for _, list := range []answer{tools, about} {
		if strings.Contains(list.body, "denied") {
			t.Errorf("a tool that nobody may call is shown: %s", list)
		}
	}
	for _, path := range []string{"/mcp/tools/", "/mcp/tool-metadata/"} {
		a.get(t, path+"nothing").refused(t, http.StatusNotFound, "not_found")
		elsewhere.get(t, path+"bank").refused(t, http.StatusNotFound, "not_found")
	}
	for _, path := range []string{"/mcp/auto-register", "/iap/sdk/register"} {
		made := a.post(t, path, `{"name":"evil","url":"http://127.0.0.1:9/","command":["sh"]}`).ok(t)
		if made.text("status") != "proposed" || made.text("proxy_endpoint") != "" || made.text("proposalId") == "" {
			t.Errorf("%s: %s", path, made)
		}
	}
	var servers struct{ Items []struct{ Name string } }
	if w.manage(t, w.admin, "GET", "/api/v1/servers", "", &servers); len(servers.Items) != 1 {
		t.Errorf("an agent's word made a server: %+v", servers)
	}
}

// TestAReportIsARecordAndNothingElse: it changes no plan, whatever it says.
func TestAReportIsARecordAndNothingElse(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a := w.agent(t, w.admin, "")
	tk := a.token(t, step("bank", "echo", `{"x":1}`), "")
	said := a.post(t, "/iap/audit", `{"plan_id":"`+tk.plan+`","step_index":0,"action":"echo","mcp":"bank","status":"failed","output":{"secret":"s3cr3t"},"duration_ms":1.5}`).ok(t)
	if e := w.find(t, w.admin, said.text("audit_id")); e.Kind != "settled" || e.Op != "audit/report" || strings.Contains(e.Raw, "s3cr3t") || said.text("audit_id") != said.record {
		t.Errorf("%s is on record as %s", said, e.Raw)
	}
	a.post(t, "/invoke", invocation("bank", "echo", `{"x":1}`, tk.jwt)).ok(t)
	for _, bad := range []string{`{"status":"done"}`, `{"step_index":1.5}`, `{"step_index":-2}`, `{"action":"` + strings.Repeat("x", 1025) + `"}`} {
		a.post(t, "/iap/audit", bad).refused(t, http.StatusBadRequest, "malformed")
	}
	batch := a.post(t, "/iap/audit/batch", `{"rows":[{"status":"success"},{"status":"done"},5,{"status":"held","step_index":-1}]}`).ok(t)
	if batch.says("written") != 2.0 || strings.Count(batch.body, `"reason"`) != 2 || !strings.Contains(batch.body, `"index":1`) || !strings.Contains(batch.body, `"index":2`) {
		t.Errorf("batch: %s", batch)
	}
	a.post(t, "/iap/audit/batch", `{"rows":[`+strings.Repeat(`{},`, 200)+`{}]}`).refused(t, http.StatusBadRequest, "malformed")
	a.post(t, "/iap/audit/batch", `{}`).refused(t, http.StatusBadRequest, "malformed")
}

func TestUsageIsCountedOnceForEachAgent(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, b := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	day := time.Now().UTC().Format(time.DateOnly)
	row := func(more string, n int) string {
		return fmt.Sprintf(`{%s"product":"p","sessionId":"s","usageDate":%q,"usageHour":3,"entries":[{"model":"m","inputTokens":%d,"outputTokens":2}]}`, more, day, n)
	}
	sums := func() string {
		t.Helper()
		return w.exchange(t, "GET", w.g.ControlURL()+"/api/v1/usage", bearer(w.admin), "").body
	}
	for range 2 {
		if ans := a.post(t, "/dashboard/token-usage", row("", 7)).ok(t); ans.says("recorded") != 1.0 {
			t.Errorf("%s", ans)
		}
	}
	if got := sums(); !strings.Contains(got, ":7") || strings.Contains(got, ":14") {
		t.Errorf("a row told twice is counted as %s", got)
	}
	generation := a.post(t, "/dashboard/token-usage/stream", `{}`).ok(t).text("generation")
	batch := func(who agent, generation string, revision int) answer {
		t.Helper()
		return who.post(t, "/dashboard/token-usage/batch", fmt.Sprintf(`{"generation":%q,"snapshots":[%s]}`, generation, row(fmt.Sprintf(`"revision":%d,`, revision), 9)))
	}
	for revision, want := range map[int]string{} {
		_, _ = revision, want
	}
	for _, c := range []struct {
		revision int
		want     string
	}{{2, "applied"}, {2, "present"}, {1, "superseded"}} {
		if ans := batch(a, generation, c.revision).ok(t); !strings.Contains(ans.body, `"status":"`+c.want+`"`) {
			t.Errorf("revision %d: %s", c.revision, ans)
		}
	}
	if ans := batch(b, generation, 3); ans.status < 400 || ans.status > 499 {
		t.Errorf("another agent's stream: %s", ans)
	}
	next := a.post(t, "/dashboard/token-usage/stream/reset", fmt.Sprintf(`{"generation":%q,"resetId":"0b7cbf4e-58a5-4f0c-9a51-3b0a37a2b6a1"}`, generation)).ok(t).text("generation")
	if next == generation || next == "" {
		t.Errorf("after a reset the generation is %q", next)
	}
	batch(a, generation, 4).refused(t, http.StatusUnprocessableEntity, "retry_mismatch")
	batch(a, next, 1).ok(t)
	run := w.exchange(t, "PUT", w.g.URL()+"/dashboard/token-usage/runs/0b7cbf4e-58a5-4f0c-9a51-3b0a37a2b6a1", bearer(a.key), `{"state":"running"}`).ok(t)
	if run.says("applied") != true || run.text("run", "runId") != "0b7cbf4e-58a5-4f0c-9a51-3b0a37a2b6a1" {
		t.Errorf("run: %s", run)
	}
	for _, bad := range []string{
		strings.Replace(row("", 1), day, "2026-13-40", 1), strings.Replace(row("", 1), `:3,`, `:24,`, 1), row("", -1), strings.Replace(row("", 1), `:1,`, `:1e3,`, 1),
	} {
		a.post(t, "/dashboard/token-usage", bad).refused(t, http.StatusBadRequest, "malformed")
	}
}

// TestAProfileIsProposedAndNotPutInForce: what an agent sends narrows nothing until an admin says so.
func TestAProfileIsProposedAndNotPutInForce(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, b := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	tk := a.token(t, step("bank", "echo", `{"x":1}`), "")
	echo := func() answer { return a.post(t, "/invoke", invocation("bank", "echo", `{"x":1}`, tk.jwt)) }
	a.post(t, "/policies/profiles/propose", `{}`).refused(t, http.StatusNotFound, "not_found")
	a.put(t, "/policies/profiles/draft", `{"policy":{"memberRule":{"allowedTools":["pay"]},"policyName":"only pay"},"orgId":"demo"}`).ok(t)
	a.put(t, "/policies/profiles/draft", `{"policy":{},"orgId":"other"}`).refused(t, http.StatusNotFound, "not_found")
	a.put(t, "/policies/profiles/draft", `{}`).refused(t, http.StatusBadRequest, "malformed")
	b.post(t, "/policies/profiles/propose", `{"reason":"somebody else's draft"}`).refused(t, http.StatusNotFound, "not_found")
	for _, path := range []string{"/policies/profiles/template", "/policies/sync"} {
		a.post(t, path, `{"policy":{"permit":"everything"}}`).refused(t, http.StatusForbidden, "wrong_key_kind")
	}
	made := a.post(t, "/policies/profiles/propose", `{"reason":"less is enough"}`).ok(t)
	if made.says("proposed", "policyName") != "only pay" || made.text("diff") == "" || len(made.text("proposalHash")) != 64 {
		t.Errorf("proposed: %s", made)
	}
	if none := a.get(t, "/policies/profiles/active").ok(t); none.says("policy") != nil {
		t.Errorf("a proposal is in force: %s", none)
	}
	echo().ok(t)
	w.manage(t, w.admin, "POST", "/api/v1/proposals/"+made.text("proposalId")+"/approve", "", nil)
	if active := b.get(t, "/policies/profiles/active").ok(t); active.says("policy", "policyName") != "only pay" || active.says("version").(float64) < 1 {
		t.Errorf("active: %s", active)
	}
	if ans := echo(); ans.status != http.StatusForbidden || ans.text("enforcementAction") != "block" {
		t.Errorf("with the profile in force: %s", ans)
	}
	a.put(t, "/policies/profiles/draft", `{"policy":{"policyName":"more","allowedTools":["pay","echo"]}}`).ok(t)
	again := a.post(t, "/policies/profiles/propose", `{}`).ok(t).text("proposalId")
	if others := b.post(t, "/policies/profiles/cancel", `{}`).ok(t); others.says("cancelled") != 0.0 {
		t.Errorf("another agent cancels: %s", others)
	}
	if gone := a.post(t, "/policies/profiles/cancel", `{}`).ok(t); gone.says("cancelled") != 1.0 {
		t.Errorf("cancel: %s", gone)
	}
	if ans := w.exchange(t, "POST", w.g.ControlURL()+"/api/v1/proposals/"+again+"/approve", bearer(w.admin), ""); ans.status < 400 {
		t.Errorf("a proposal that was taken back is approved: %s", ans)
	}
	a.put(t, "/policies/profiles/draft", `{"policy":{"permit":"everything"}}`)
	if ans := a.post(t, "/policies/profiles/propose", `{}`); ans.status < 400 || ans.status > 499 {
		t.Errorf("a policy that is not understood is proposed: %s", ans)
	}
}

// TestAProgramSignsInOnlyWithSomebodysApproval follows RFC 8628 in their words.
func TestAProgramSignsInOnlyWithSomebodysApproval(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	json := heads{"Content-Type": "application/json"}
	ask := func(path, body string) answer { return w.exchange(t, "POST", w.g.URL()+path, json, body) }
	begin := func() (device, user string) {
		t.Helper()
		c := ask("/auth/device/code", `{"deviceId":"d","callback_url":"http://evil.example/"}`)
		if c.status != http.StatusOK || c.says("interval").(float64) < 1 || c.text("verification_uri_complete") != w.g.URL()+"/auth/device?code="+c.text("user_code") || strings.Contains(c.body, "evil") {
			t.Fatalf("code: %s", c)
		}
		return c.text("device_code"), c.text("user_code")
	}
	poll := func(device string) answer { return ask("/auth/device/token", `{"deviceCode":"`+device+`"}`) }
	device, user := begin()
	pending := poll(device)
	if pending.status != http.StatusBadRequest || pending.text("error") != "authorization_pending" {
		t.Errorf("before anybody approved: %s", pending)
	}
	if hasty := poll(device); hasty.text("error") != "slow_down" {
		t.Errorf("at once again: %s", hasty)
	}
	w.manage(t, w.admin, "POST", "/api/v1/device-codes/"+user+"/approve", `{"name":"signed in"}`, nil)
	w.later.Add(int64(30 * time.Second))
	grant := poll(device)
	if grant.status != http.StatusOK || grant.text("org_id") != "demo" || grant.text("user_id") == "" {
		t.Fatalf("after it: %s", grant)
	}
	agent{w: w, key: grant.text("api_key")}.post(t, "/iap/sdk/bootstrap", `{}`).ok(t)
	w.later.Add(int64(30 * time.Second))
	if twice := poll(device); twice.status != http.StatusBadRequest || strings.Contains(twice.body, "ak_") {
		t.Errorf("a grant is given twice: %s", twice)
	}
	denied, code := begin()
	w.manage(t, w.admin, "POST", "/api/v1/device-codes/"+code+"/deny", "", nil)
	if ans := poll(denied); ans.text("error") != "access_denied" {
		t.Errorf("denied: %s", ans)
	}
	late, _ := begin()
	w.later.Add(int64(time.Hour))
	if ans := poll(late); ans.text("error") != "expired_token" && ans.text("error") != "invalid_grant" {
		t.Errorf("an hour later: %s", ans)
	}
	for _, guess := range []string{"", "x", user, strings.Repeat("x", 128)} {
		if ans := poll(guess); ans.status != http.StatusBadRequest || ans.text("error") != "invalid_grant" {
			t.Errorf("%q: %s", guess, ans)
		}
	}
	for typed, want := range map[string]string{user: user, "<script>": "CODE", "ABCD": "CODE", "": "CODE"} {
		page := w.exchange(t, "GET", w.g.URL()+"/auth/device?code="+typed, nil, "")
		if page.status != http.StatusOK || !strings.Contains(page.body, "approve "+want+"<") || strings.Contains(page.body, "<script") || !strings.Contains(page.head.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("the page for %q: %s", typed, page.body)
		}
	}
	if ans := w.exchange(t, "GET", w.g.URL()+"/auth/device?code=a&code=b", nil, ""); ans.status != http.StatusBadRequest {
		t.Errorf("two codes: %s", ans)
	}
}

// TestSigningInIsLimitedForEachAddress: it needs no credential, so that the source alone bounds it.
func TestSigningInIsLimitedForEachAddress(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *config.Config) { c.Quota.SourceRate, c.Quota.SourceBurst = 0.01, 5 })
	for i := range 12 {
		ans := w.exchange(t, "POST", w.g.URL()+"/auth/device/token", heads{"Content-Type": "application/json"}, `{"deviceCode":"guess"}`)
		if want := i >= 5; (ans.status == http.StatusTooManyRequests) != want || want && ans.head.Get("Retry-After") == "" {
			t.Errorf("request %d: %s", i, ans)
		}
	}
}

// TestAssertedIdentitiesSayNothing: whatever a client writes about itself, the record is about the credential.
func TestAssertedIdentitiesSayNothing(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, other := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	tk := a.token(t, step("bank", "mail", `{"text":"hi"}`)+","+step("bank", "mail", `{"text":"hi","user_email":"to@x.example"}`)+","+step("bank", "echo", `{"x":1}`),
		fmt.Sprintf(`,"user_id":"root","agent_id":%q,"user_email":"boss@x.example"`, other.id))
	auth := base64.StdEncoding.EncodeToString([]byte(`{"authType":"bearer","token":"t"}`))
	for params, want := range map[string]string{
		`{"x":1,"_iam_context":{"allowed_tools":["*"]},"user_email":"boss@x.example","_approvals":999,"_delegation_id":"d","_policy_context":{}}`: `{"x":1}`,
		`{"_iam_context":null,"x":1}`: `{"x":1}`,
	} {
		ans := a.post(t, "/invoke", `{"mcp":"bank","action":"echo","params":`+params+`,"agent_id":"`+other.id+`","user_id":"root","token":`+tk.object+`}`).ok(t)
		if !strings.Contains(ans.body, strings.ReplaceAll("got "+want, `"`, `\"`)) {
			t.Errorf("%s reached the tool as %s", params, ans)
		}
		if e := w.find(t, w.admin, ans.record); e.Agent != a.id {
			t.Errorf("on record as %s", e.Raw)
		}
	}
	ans := a.post(t, "/invoke", invocation("bank", "mail", `{"text":"hi","user_email":"to@x.example","_iam_context":{}}`, tk.jwt)).ok(t)
	if !strings.Contains(ans.body, "to@x.example") {
		t.Errorf("an argument that the tool declares is lost: %s", ans)
	}
	if ans := other.post(t, "/invoke", invocation("bank", "echo", `{"x":1}`, tk.jwt)); ans.status < 400 {
		t.Errorf("another agent bears the token: %s", ans)
	}
	lent := w.exchange(t, "POST", w.g.URL()+"/invoke", bearer(a.key).and("X-Armoriq-MCP-Auth", auth), invocation("bank", "echo", `{"x":1}`, tk.jwt))
	lent.refused(t, http.StatusForbidden, "credential_refused")
}
