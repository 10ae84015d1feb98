package aiidentity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/aiidentity"
)

// original is what AI Identity says, by its documentation: conditions, denied, allowed, methods. It reads what the
// translation reads, in its own way.
type original struct {
	When    map[string]json.RawMessage
	Allowed []string `json:"allowed_endpoints"`
	Denied  []string `json:"denied_endpoints"`
	Methods []string `json:"allowed_methods"`
}

func (o *original) allows(metadata map[string]string, endpoint, method string) bool {
	for name, raw := range o.When {
		actual, there := metadata[name]
		if !there || !holds(raw, actual) {
			return false
		}
	}
	hit := func(pattern string) bool { return covers(pattern, endpoint) }
	if slices.ContainsFunc(o.Denied, hit) || !slices.ContainsFunc(o.Allowed, hit) {
		return false
	}
	return len(o.Methods) == 0 || slices.ContainsFunc(o.Methods, func(m string) bool { return strings.EqualFold(m, method) })
}

func holds(raw json.RawMessage, actual string) bool {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one == actual
	}
	var list struct {
		In    []string
		NotIn []string `json:"not_in"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	if list.In != nil {
		return slices.Contains(list.In, actual)
	}
	return !slices.Contains(list.NotIn, actual)
}

func covers(pattern, endpoint string) bool {
	switch {
	case pattern == "*":
		return true
	case strings.HasSuffix(pattern, "/*"):
		return strings.HasPrefix(endpoint, pattern[:len(pattern)-1]) || endpoint == pattern[:len(pattern)-2]
	}
	return endpoint == pattern
}

var apiTool = []policies.ToolDef{{Server: "api", Name: "request", InputSchema: []byte(
	`{"type":"object","properties":{"endpoint":{"type":"string"},"method":{"type":"string"}},"required":["endpoint","method"]}`)}}

// engine compiles a translation beside a permit of everything, so that only the translation decides.
func engine(t testing.TB, cedar []byte) *policies.Engine {
	t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"all.cedar": {Data: []byte("permit (principal, action, resource);")}, "translated.cedar": {Data: cedar}})
	if err != nil {
		t.Fatalf("%v\n%s", err, cedar)
	}
	e, err := policies.Compile(b, apiTool)
	if err != nil {
		t.Fatalf("%v\n%s", err, cedar)
	}
	return e
}

// ask is a request of an agent with this metadata: its labels are KEY=VALUE, and KEY.
func ask(agent string, metadata map[string]string, endpoint, method string) *policies.Ask {
	p := &policies.Principal{Kind: "Agent", ID: agent, Tenant: "acme", Status: "active"}
	for k, v := range metadata {
		p.Labels = append(p.Labels, k, k+"="+v)
	}
	args, _ := json.Marshal(map[string]string{"endpoint": endpoint, "method": method}) //nolint:errchkjson // texts
	return &policies.Ask{
		Principal: p, Action: "call_tool", Server: "api", Tool: "request", Args: args, ArgsKnown: true,
		IP: netip.MustParseAddr("192.0.2.1"), Now: time.Unix(1_900_000_000, 0),
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		`{"allowed_endpoints":["*"],"denied":["/x"]}`:             "policy at /denied: not a member that is known (one of when, allowed_endpoints,",
		`{"allowed_endpoints":["*"],"Denied_endpoints":["/x"]}`:   "at /Denied_endpoints: not a member",
		`{"allowed_endpoints":["*"],"allowed_endpoints":["/x"]}`:  "allowed_endpoints",
		`{"allowed_endpoints":"*"}`:                               "at /allowed_endpoints: not a list",
		`{"allowed_endpoints":["v1"]}`:                            `at /allowed_endpoints/0: "v1" is no endpoint`,
		`{"allowed_endpoints":["/v1\n"]}`:                         "is no endpoint",
		`{"allowed_endpoints":[""]}`:                              "is no endpoint",
		`{"denied_endpoints":[7]}`:                                "at /denied_endpoints/0: not a text",
		`{"denied_endpoints":null}`:                               "not a list",
		`{"allowed_methods":["FETCH"]}`:                           `"FETCH" is no method`,
		`{"when":{"tier":3}}`:                                     "at /when/tier: labels are texts",
		`{"when":{"tier":null}}`:                                  "labels are texts",
		`{"when":{"tier":{"in":[3]}}}`:                            "at /when/tier/in/0: labels are texts",
		`{"when":{"team":{"in":[]}}}`:                             "an empty list",
		`{"when":{"team":{"in":["a"],"not_in":["b"]}}}`:           "2 operators",
		`{"when":{"team":{}}}`:                                    "0 operators",
		`{"when":{"team":{"like":"a"}}}`:                          "at /when/team/like: not a member",
		`{"when":{"a=b":"c"}}`:                                    "equals sign",
		`{"when":[]}`:                                             "at /when: not an object",
		`{"max_cost_usd":"5"}`:                                    "not a number",
		`{"rules":{"allowed_endpoints":["*"]},"is_active":false}`: "not active",
		`{"rules":{"allowed_endpoints":["*"]},"priority":1}`:      "at /priority: not a member",
		`[]`: "not an object",
		`{`:  "policy:",
		`{"allowed_endpoints":["/` + strings.Repeat("a", 256) + `"]}`:                             "is no endpoint",
		`{"allowed_methods":[` + strings.Repeat(`"GET",`, 10) + `"POST"]}`:                        "more than 10",
		`{"denied_endpoints":[` + strings.Repeat(`"/a",`, 50) + `"/b"]}`:                          "more than 50",
		`{"when":{"t":{"not_in":[` + strings.Repeat(`"a",`, 20) + `"b"]}}}`:                       "more than 20",
		`{"allowed_endpoints":["` + strings.Repeat("x", 30_000) + `"]}`:                           "bytes",
		`{"when":{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":"","k":""}}`: "11 conditions",
	} {
		terms, err := aiidentity.Translate([]byte(text), aiidentity.Options{})
		var p aiidentity.Problem
		if err == nil || !strings.Contains(err.Error(), want) || terms.Cedar != nil || !errors.As(err, &p) || p.Hint == "" {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func TestATranslationIsReadable(t *testing.T) {
	terms, err := aiidentity.Translate([]byte(`{"rules":{"when":{"team":{"in":["payments","finance"]},"framework":{"not_in":["pytest"]}},"allowed_endpoints":["/v1/*","/v2/chat"],
		"denied_endpoints":["/v1/admin/*"],"allowed_methods":["get","POST"],"max_cost_usd":5},"version":3,"is_active":true}`), aiidentity.Options{Agent: "agt_1"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `// Translated from a policy of AI Identity. It takes requests away that are made with api/request, and adds none:
// what an agent may do is for permits to say.
// LEFT OUT: policy at /rules/max_cost_usd: a bound on what requests cost is not translated (set a budget in the settings of quota)

// when.team
@id("aiidentity:agt_1:when:team")
@reason("team must be one of payments, finance")
forbid (principal == Agent::"agt_1", action == Action::"api___request", resource)
unless { principal.labels.containsAny(["team=payments", "team=finance"]) };

// when.framework
@id("aiidentity:agt_1:when:framework")
@reason("framework must be set, and not to pytest")
forbid (principal == Agent::"agt_1", action == Action::"api___request", resource)
unless { principal.labels.contains("framework") && !(principal.labels.containsAny(["framework=pytest"])) };

// denied_endpoints
@id("aiidentity:agt_1:denied_endpoints:/v1/admin/*")
@reason("This endpoint is denied: /v1/admin/*")
forbid (principal == Agent::"agt_1", action == Action::"api___request", resource)
when { (context.input["endpoint"] == "/v1/admin" || context.input["endpoint"] like "/v1/admin/*") };

// allowed_endpoints
@id("aiidentity:agt_1:allowed_endpoints")
@reason("Only these endpoints are allowed: /v1/*, /v2/chat")
forbid (principal == Agent::"agt_1", action == Action::"api___request", resource)
unless { (context.input["endpoint"] == "/v1" || context.input["endpoint"] like "/v1/*") || context.input["endpoint"] == "/v2/chat" };

// allowed_methods
@id("aiidentity:agt_1:allowed_methods")
@reason("Only these methods are allowed: GET, POST")
forbid (principal == Agent::"agt_1", action == Action::"api___request", resource)
unless { ["GET", "POST"].contains(context.input["method"]) };
`
	if string(terms.Cedar) != want || len(terms.Left) != 1 {
		t.Errorf("%s", terms.Cedar)
	}
	e := engine(t, terms.Cedar)
	mine := map[string]string{"team": "payments", "framework": "x"}
	if !e.Decide(ask("agt_1", mine, "/v1/chat", "GET")).Allowed() || e.Decide(ask("agt_1", mine, "/v1/admin/x", "GET")).Allowed() {
		t.Error("the agent's own requests")
	}
	if !e.Decide(ask("agt_2", nil, "/v9", "DELETE")).Allowed() {
		t.Error("another agent is bound")
	}
}

// What only tells that a member was set at all must not be taken for its value, nor one value for another.
func TestMissingMetadataRefuses(t *testing.T) {
	terms, err := aiidentity.Translate([]byte(`{"when":{"framework":{"not_in":["pytest"]}},"allowed_endpoints":["*"]}`), aiidentity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, terms.Cedar)
	for labels, want := range map[string]bool{"": false, "framework=x": false, "framework framework=x": true, "framework framework=pytest": false} {
		a := ask("agt_1", nil, "/v1", "GET")
		a.Principal.Labels = strings.Fields(labels)
		if e.Decide(a).Allowed() != want {
			t.Errorf("%q: allowed is not %v", labels, want)
		}
	}
}

type generator struct{ *rand.Rand }

func (g generator) some(n int, from ...string) []string {
	out := []string{}
	for range g.IntN(n + 1) {
		out = append(out, from[g.IntN(len(from))])
	}
	return out
}

var (
	paths    = []string{"*", "/v1/*", "/v1", "/v1/chat", "/v1/chat/*", "/v1/admin/*", "/*", "/v1/ch*t", "/v1*", "/v1//*", "/", "/*/*", "/v2/chat"}
	requests = []string{"/v1/chat", "/v1/chat/completions", "/v1", "/v1/", "/v1/admin", "/v1/admin/users", "/v10", "/v1/chit", "/v1/ch*t", "/v2/chat", "", "/", "v1/chat", "/v1*", "//", "/v1//x", "/é", "/*/x", "/*"}
	methods  = []string{"GET", "post", "DELETE", "Patch"}
)

func (g generator) policy() []byte {
	p := map[string]any{}
	if g.IntN(8) > 0 {
		p["allowed_endpoints"] = g.some(4, paths...)
	}
	if g.IntN(2) == 0 {
		p["denied_endpoints"] = g.some(2, paths[1:]...)
	}
	if g.IntN(2) == 0 {
		p["allowed_methods"] = g.some(3, methods...)
	}
	when := map[string]any{}
	for _, key := range g.some(2, "team", "environment", "odd key", "é") {
		values := append(g.some(2, "payments", "finance", "", `qu"ote`, "a=b"), "prod")
		when[key] = []any{values[0], map[string]any{"in": values}, map[string]any{"not_in": values}}[g.IntN(3)]
	}
	if g.IntN(2) == 0 {
		p["when"] = when
	}
	raw, _ := json.Marshal(p) //nolint:errchkjson // texts
	return raw
}

func (g generator) metadata() map[string]string {
	m := map[string]string{}
	for _, key := range []string{"team", "environment", "odd key", "é"} {
		if g.IntN(4) > 0 {
			m[key] = []string{"payments", "finance", "prod", "", `qu"ote`, "a=b"}[g.IntN(6)]
		}
	}
	return m
}

// Every request is answered as AI Identity answers it.
func TestTranslationsAnswerAsTheOriginal(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(5, 6))}
	asked, allowed := 0, 0
	for range 400 {
		raw := g.policy()
		terms, err := aiidentity.Translate(raw, aiidentity.Options{})
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		e := engine(t, terms.Cedar)
		var o original
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			metadata, endpoint, method := g.metadata(), requests[g.IntN(len(requests))], strings.ToUpper(methods[g.IntN(len(methods))])
			want, d := o.allows(metadata, endpoint, method), e.Decide(ask("agt_1", metadata, endpoint, method))
			if d.Allowed() != want || len(d.Errors()) > 0 {
				t.Fatalf("%s\n%s %s %v: %v, want %v %q\n%s", raw, method, endpoint, metadata, d.Allowed(), want, d.Errors(), terms.Cedar)
			}
			if asked++; want {
				allowed++
			}
			if low := strings.ToLower(method); e.Decide(ask("agt_1", metadata, endpoint, low)).Allowed() && !o.allows(metadata, endpoint, low) {
				t.Fatalf("%s: %s is allowed", raw, low)
			}
		}
	}
	t.Logf("%d asked, %d allowed", asked, allowed)
	if allowed < asked/20 || allowed > asked/2 {
		t.Error("lopsided")
	}
}

// Names of servers, tools, arguments and agents cannot break out of the Cedar they stand in.
func TestHostileNamesStayNames(t *testing.T) {
	bad := "x\"); permit (principal, action, resource); // \n*\\"
	terms, err := aiidentity.Translate([]byte(`{"allowed_endpoints":["/v1/*"],"max_cost_usd":1,"when":{"`+`a\"\n) ; permit(principal,action,resource);`+`":"b"}}`),
		aiidentity.Options{Server: bad, Tool: bad, Endpoint: bad, Method: bad, Agent: bad, Name: bad})
	if err != nil {
		t.Fatal(err)
	}
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: terms.Cedar}})
	if err != nil {
		t.Fatalf("%v\n%s", err, terms.Cedar)
	}
	tool := policies.ToolDef{Server: bad, Name: bad, InputSchema: fmt.Appendf(nil, `{"type":"object","properties":{%q:{"type":"string"}},"required":[%q]}`, bad, bad)}
	e, err := policies.Compile(b, []policies.ToolDef{tool})
	if err != nil || e.Permits() || e.Len() != 2 {
		t.Fatalf("%v\n%s", err, terms.Cedar)
	}
}

// FuzzTranslate feeds anything. What is translated compiles, has no permit, and allows nothing that the original does not.
func FuzzTranslate(f *testing.F) {
	g := generator{rand.New(rand.NewPCG(7, 8))}
	for range 20 {
		f.Add(g.policy(), "/v1/chat", "team", "payments")
	}
	f.Add([]byte(`{"rules":{"allowed_endpoints":["*"],"max_cost_usd":5},"is_active":true}`), "/v1", "", "")
	f.Fuzz(func(t *testing.T, raw []byte, endpoint, key, val string) {
		terms, err := aiidentity.Translate(raw, aiidentity.Options{})
		if err != nil {
			return
		}
		endpoint, key, val = strings.ToValidUTF8(endpoint, ""), strings.ToValidUTF8(key, ""), strings.ToValidUTF8(val, "")
		if strings.Contains(key, "=") {
			return
		}
		var row struct{ Rules json.RawMessage }
		if json.Unmarshal(raw, &row); row.Rules != nil {
			raw = row.Rules
		}
		var o original
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		metadata := map[string]string{key: val}
		d, want := engine(t, terms.Cedar).Decide(ask("agt_1", metadata, endpoint, "GET")), o.allows(metadata, endpoint, "GET")
		if d.Allowed() && !want {
			t.Fatalf("%s: %q with %q is allowed\n%s", raw, endpoint, metadata, terms.Cedar)
		}
	})
}
