package mcp_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

func TestInitializeSettlesOnAVersionBothSpeak(t *testing.T) {
	w := newWorld(t)
	for asked, want := range map[string]string{
		`"2024-11-05"`: "2024-11-05", `"2025-03-26"`: "2025-03-26", `"2025-06-18"`: "2025-06-18", `"2025-11-25"`: "2025-11-25",
		`"2026-07-28"`: "2025-11-25", `"1999-01-01"`: "2025-11-25", `"nonsense"`: "2025-11-25", `7`: "2025-11-25", `null`: "2025-11-25",
	} {
		a := w.old(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":`+asked+`,"capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, nil)
		got, _ := canon.Get(a.result, "protocolVersion")
		if a.status != 200 || string(got) != `"`+want+`"` {
			t.Errorf("%s: %d, %s, want %s", asked, a.status, got, want)
		}
		info, _ := canon.Get(a.result, "serverInfo")
		if v, _ := canon.Get(info, "version"); string(v) != `"1.2.3"` {
			t.Errorf("server info %s", info)
		}
		if a.header.Get("Mcp-Session-Id") != "" {
			t.Error("a session was opened that nobody keeps")
		}
	}
	if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"initialize"}`, nil); a.code != 0 {
		t.Errorf("without params: %s", a.raw)
	}
}

func TestDiscoverNamesBothErasAndIsPrivate(t *testing.T) {
	w := newWorld(t)
	a := w.new("server/discover", "", "", nil)
	var r struct {
		SupportedVersions []string
		Capabilities      map[string]any
		CacheScope        string
		ResultType        string
		Meta              map[string]any `json:"_meta"`
	}
	if err := json.Unmarshal(a.result, &r); err != nil || a.status != 200 {
		t.Fatal(a.status, err)
	}
	if len(r.SupportedVersions) != 5 || r.SupportedVersions[0] != modern || r.CacheScope != "private" || r.ResultType != "complete" || r.Capabilities["tools"] == nil {
		t.Errorf("%+v", r)
	}
	if r.Meta["io.modelcontextprotocol/serverInfo"] == nil || r.Meta["gatewright/receipt"] != a.header.Get("Gatewright-Receipt") {
		t.Errorf("_meta %v", r.Meta)
	}
}

// names lists the tools that are shown on a path.
func (w *world) names(path, key string) []string {
	w.t.Helper()
	a := w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null}}`, map[string]string{"Authorization": "Bearer " + key})
	var r struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal(a.result, &r); err != nil {
		w.t.Fatalf("%v: %s", err, a.raw)
	}
	out := []string{}
	for _, tool := range r.Tools {
		out = append(out, tool.Name)
	}
	return out
}

func TestAListShowsWhatPolicyCouldPermitAndNothingElse(t *testing.T) {
	w := newWorld(t)
	show := func(path, key string) string { return strings.Join(w.names(path, key), " ") }
	if got := show("/mcp", w.key); got != "read send" {
		t.Errorf("one server: %q", got)
	}
	if got := show("/mcp", w.evesKey); got != "read" {
		t.Errorf("another tenant: %q", got)
	}
	confined, err := w.people.CreateAgent(t.Context(), "acme", identity.NewAgent{Name: "confined", Owner: w.alice.User(), TalksTo: []string{"mail"}})
	w.must(err)
	_, confinedKey, err := w.people.CreateKey(t.Context(), "acme", identity.NewKey{Kind: identity.Runtime, Agent: confined.ID, Name: "k"})
	w.must(err)
	if got := show("/mcp", confinedKey); got != "" {
		t.Errorf("an agent confined to another server sees %q", got)
	}
	w.offers["acme/mail"] = []string{sendTool, `{"name":"__odd","inputSchema":{"type":"object"}}`, `{"name":"broken","inputSchema":{"type":"object","$ref":"https://evil.example/schema"}}`}
	w.addServer("acme", "mail")
	if got := show("/mcp", w.key); got != "files__read files__send mail____odd mail__send" {
		t.Errorf("two servers: %q", got)
	}
	if got := show("/mcp", confinedKey); got != "mail____odd mail__send" {
		t.Errorf("the confined agent sees %q", got)
	}
	if got := show("/mcp/mail", w.key); got != "__odd send" {
		t.Errorf("one of two servers: %q", got)
	}
	b, err := policies.LoadBundle(fstest.MapFS{"a.cedar": &fstest.MapFile{Data: []byte(`permit (principal, action, resource);
forbid (principal, action == Action::"mail___send", resource);
forbid (principal, action == Action::"files___read", resource) when { context.input.path like "/etc/*" };`)}})
	w.must(err)
	w.rule("acme", b)
	if got := show("/mcp", w.key); got != "files__read files__send mail____odd" {
		t.Errorf("with rules: %q", got)
	}
	w.engines.Swap("acme", nil)
	if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil); a.code != refusedCode || a.data["reason"] != "policy_denied" {
		t.Errorf("without policies: %s", a.raw)
	}
}

func TestADisabledServerShowsNothing(t *testing.T) {
	w := newWorld(t)
	w.must(w.tools.UpdateServer(t.Context(), "acme", catalogue.Server{Tenant: "acme", Name: "files", URL: "http://127.0.0.1:1/mcp", Era: "auto", AllowPrivate: true}))
	w.rule("acme", policies.Default())
	if got := w.names("/mcp", w.key); len(got) != 0 {
		t.Errorf("shown %q", got)
	}
	if a := w.old(callRead, map[string]string{"Gatewright-Intent": w.anything("files")}); a.code == 0 || w.forwarded() != 0 {
		t.Errorf("called: %s", a.raw)
	}
}

func TestAToolIsShownWithItsOwnWordsAndWithoutForeignOnes(t *testing.T) {
	w := newWorld(t)
	for _, a := range []*answer{w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil), w.new("tools/list", "", "", nil)} {
		tools, _ := canon.Get(a.result, "tools")
		var first []byte
		w.must(canon.EachElement(tools, func(i int, v []byte) error {
			if i == 0 {
				first = v
			}
			return nil
		}))
		want := `{"name":"read","title":"Read","description":"reads","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]},"annotations":{"readOnlyHint":true}}`
		if string(first) != want {
			t.Errorf("shown %s", first)
		}
	}
	a := w.new("tools/list", "", "", nil)
	for key, want := range map[string]string{"ttlMs": "0", "cacheScope": `"private"`, "resultType": `"complete"`} {
		if v, _ := canon.Get(a.result, key); string(v) != want {
			t.Errorf("%s is %s, want %s", key, v, want)
		}
	}
}

// TestAListWithAStaticTokenPasses: a stock client sends its token with everything, lists included.
func TestAListWithAStaticTokenPasses(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"initialize"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","method":"notifications/initialized"}`} {
		if a := w.old(body, h); a.code != 0 || a.status > 202 {
			t.Errorf("%s: %d %s", body, a.status, a.raw)
		}
	}
	if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, map[string]string{"Gatewright-Intent": "garbage"}); a.code != refusedCode || a.data["reason"] != "token_malformed" {
		t.Errorf("with a bad token: %s", a.raw)
	}
}

func TestListsAreOrderedTheSameEachTime(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		w.offers["acme/files"] = append(w.offers["acme/files"], fmt.Sprintf(`{"name":"t%d","inputSchema":{"type":"object"}}`, 30-i))
	}
	w.refresh("acme", "files")
	first := fmt.Sprint(w.names("/mcp", w.key))
	for range 5 {
		if got := fmt.Sprint(w.names("/mcp", w.key)); got != first {
			t.Fatalf("%s, then %s", first, got)
		}
	}
}
