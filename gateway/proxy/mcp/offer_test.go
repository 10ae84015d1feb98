package mcp_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// stocked gives files resources, a template and prompts, and mail a resource of the same URI.
func stocked(t *testing.T) *world {
	w := newWorld(t)
	w.offers["acme/files resources/list"] = []string{
		`{"uri":"note://b","name":"b","mimeType":"text/plain","secret":"not shown"}`, `{"uri":"note://a","name":"a"}`,
		`{"uri":"note://a","name":"again"}`, `{"uri":"no colon","name":"x"}`, `{"name":"no uri"}`, "{\"uri\":\"note://\u202ehidden\",\"name\":\"x\"}",
	}
	w.offers["acme/files resources/templates/list"] = []string{`{"uriTemplate":"note://{id}/text","name":"t"}`}
	w.offers["acme/files prompts/list"] = []string{
		`{"name":"greet","title":"Greet","arguments":[{"name":"who","required":true},{"name":"how"}]}`, `{"name":"plain"}`,
		`{"name":"twice"}`, `{"name":"twice"}`, `{"name":"bad","arguments":7}`,
	}
	w.refresh("acme", "files")
	return w
}

func (w *world) addMail() {
	w.offers["acme/mail"] = []string{sendTool}
	w.offers["acme/mail resources/list"] = []string{`{"uri":"note://a","name":"mail's"}`, `{"uri":"mail://1","name":"one"}`}
	w.addServer("acme", "mail")
}

// keys lists what a list shows on a path, by the member that names it.
func (w *world) keys(path, method, member, key string) string {
	w.t.Helper()
	a := w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`, nil)
	list, _ := canon.Get(a.result, member)
	var items []map[string]any
	if err := json.Unmarshal(list, &items); err != nil {
		w.t.Fatalf("%s: %v: %s", method, err, a.raw)
	}
	var out []string
	for _, m := range items {
		out = append(out, fmt.Sprint(m[key]))
		if m["secret"] != nil {
			w.t.Errorf("%v is shown on", m)
		}
	}
	return strings.Join(out, " ")
}

func TestPromptsAndResourcesAreListedAsTheirServersHaveThem(t *testing.T) {
	w := stocked(t)
	for _, c := range []struct{ path, method, member, key, want string }{
		{"/mcp", "resources/list", "resources", "uri", "note://a note://b"},
		{"/mcp", "resources/templates/list", "resourceTemplates", "uriTemplate", "note://{id}/text"},
		{"/mcp", "prompts/list", "prompts", "name", "greet plain"},
	} {
		if got := w.keys(c.path, c.method, c.member, c.key); got != c.want {
			t.Errorf("%s: %q, want %q", c.method, got, c.want)
		}
	}
	w.addMail()
	for _, c := range []struct{ path, method, member, key, want string }{
		{"/mcp", "resources/list", "resources", "uri", "gatewright+files:note://a gatewright+files:note://b gatewright+mail:mail://1 gatewright+mail:note://a"},
		{"/mcp", "resources/templates/list", "resourceTemplates", "uriTemplate", "gatewright+files:note://{id}/text"},
		{"/mcp", "prompts/list", "prompts", "name", "files__greet files__plain"},
		{"/mcp/mail", "resources/list", "resources", "uri", "mail://1 note://a"},
		{"/mcp/mail", "prompts/list", "prompts", "name", ""},
	} {
		if got := w.keys(c.path, c.method, c.member, c.key); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.path, c.method, got, c.want)
		}
	}
	a := w.new("resources/list", "", "", nil)
	if scope, _ := canon.Get(a.result, "cacheScope"); string(scope) != `"private"` {
		t.Errorf("a list of one caller may be kept for others: %s", a.raw)
	}
	caps, _ := canon.Get(w.new("server/discover", "", "", nil).result, "capabilities")
	for _, want := range []string{`"prompts"`, `"resources"`, `"completions"`} {
		if !strings.Contains(string(caps), want) {
			t.Errorf("capabilities %s", caps)
		}
	}
	if got := w.send("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"resources/list"}`, map[string]string{"Authorization": "Bearer " + w.evesKey}); strings.Contains(string(got.raw), "note://") {
		t.Errorf("another tenant sees %s", got.raw)
	}
}

func TestAResourceIsReadAsAStepOfAPlan(t *testing.T) {
	w := stocked(t)
	read := func(uri, token string) *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"`+uri+`"}}`, map[string]string{"Gatewright-Intent": token})
	}
	if a := read("note://a", ""); a.code != refusedCode || a.data["reason"] != "intent_required" {
		t.Errorf("without a plan: %s", a.raw)
	}
	tok := w.token(`{"steps":[{"op":"resources/read","server":"files","tool":"note://a"},{"op":"resources/read","server":"files","tool":"note://9/text","uses":0}]}`)
	if a := read("note://b", tok); a.code != refusedCode || w.forwarded() != 0 {
		t.Errorf("not a step: %s", a.raw)
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Result: []byte(`{"contents":[{"uri":"note://a","text":"A"}]}`)}, nil
	}
	if a := read("note://a", tok); a.code != 0 || !strings.Contains(string(a.raw), `"note://a"`) {
		t.Errorf("a step: %s", a.raw)
	}
	if a := read("note://a", tok); a.data["reason"] != "step_used" {
		t.Errorf("a second time: %s", a.raw)
	}
	if a := read("note://9/text", tok); a.code != 0 {
		t.Errorf("of a template, listed nowhere: %s", a.raw)
	}
	c := w.sent[0]
	if c.Op != "resources/read" || c.Action != "read_resource" || c.Server != "files" || c.Name != "note://a" {
		t.Errorf("forwarded %+v", c)
	}
	for _, uri := range []string{"", "nocolon", strings.Repeat("x", 1100), `note://a\u0000`, `note://a b`} {
		if a := read(uri, tok); a.code == 0 {
			t.Errorf("%q: %s", uri, a.raw)
		}
	}
	if a := w.new("resources/read", "note://b", `"uri":"note://a"`, map[string]string{"Gatewright-Intent": tok}); a.code != -32020 {
		t.Errorf("the header names another: %s", a.raw)
	}
	a := w.new("resources/read", "note://9/text", `"uri":"note://9/text"`, map[string]string{"Gatewright-Intent": tok})
	if scope, _ := canon.Get(a.result, "cacheScope"); string(scope) != `"private"` {
		t.Errorf("what one caller may read is kept for others: %s", a.raw)
	}
}

func TestWithSeveralServersAURICarriesItsServer(t *testing.T) {
	w := stocked(t)
	w.addMail()
	tok := w.token(`{"steps":[{"op":"resources/read","server":"mail","tool":"note://a","uses":0},{"op":"resources/read","server":"mail","tool":"mail://1","uses":0},
		{"server":"files","tool":"read","where":{"path":{"open":true}},"uses":0}]}`)
	read := func(uri string) *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"`+uri+`"}}`, map[string]string{"Gatewright-Intent": tok})
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Result: []byte(`{"contents":[{"uri":"note://a","text":"note://a"}]}`)}, nil
	}
	if a := read("gatewright+mail:note://a"); !strings.Contains(string(a.raw), `[{"uri":"gatewright+mail:note://a","text":"note://a"}]`) {
		t.Errorf("%s", a.raw)
	}
	if w.sent[0].Server != "mail" || w.sent[0].Name != "note://a" {
		t.Errorf("forwarded %+v", w.sent[0])
	}
	if a := read("mail://1"); a.code != 0 {
		t.Errorf("one server lists it: %s", a.raw)
	}
	for _, uri := range []string{"note://a", "gatewright+files:note://a", "gatewright+none:note://a", "gatewright+mail", "gatewright+:note://a"} {
		if a := read(uri); a.code == 0 {
			t.Errorf("%s: %s", uri, a.raw)
		}
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Result: []byte(`{"content":[{"type":"text","text":"note://t","uri":"u:1"},{"type":"resource_link","uri":"note://l","name":"l"},{"type":"resource","resource":{"uri":"note://r","text":"x"}}],"structuredContent":{"uri":"note://s"}}`)}, nil
	}
	a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"files__read","arguments":{"path":"/a"}}}`, map[string]string{"Gatewright-Intent": tok})
	for _, want := range []string{`"text":"note://t","uri":"u:1"`, `"uri":"gatewright+files:note://l"`, `{"uri":"gatewright+files:note://r"`, `{"uri":"note://s"}`} {
		if !strings.Contains(string(a.raw), want) {
			t.Errorf("no %s in %s", want, a.raw)
		}
	}
}

func TestAPromptIsGottenAsAStepOfAPlan(t *testing.T) {
	w := stocked(t)
	tok := w.token(`{"steps":[{"op":"prompts/get","server":"files","tool":"greet","args":{"who":"Ann"},"uses":0},{"op":"prompts/get","server":"files","tool":"twice","additional":true,"uses":0}]}`)
	get := func(params string) *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{`+params+`}}`, map[string]string{"Gatewright-Intent": tok})
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Result: []byte(`{"messages":[]}`)}, nil
	}
	if a := get(`"name":"greet","arguments":{"who":"Ann"}`); a.code != 0 || string(w.sent[0].Args) != `{"who":"Ann"}` || w.sent[0].Action != "get_prompt" {
		t.Errorf("%s", a.raw)
	}
	for _, params := range []string{
		`"name":"greet","arguments":{"who":"Bob"}`, `"name":"greet","arguments":{"who":"Ann","how":"x"}`, `"name":"greet"`, `"name":"greet","arguments":{"who":7}`,
		`"name":"twice"`, `"name":"none"`, `"name":"read","arguments":{"path":"/a"}`, `"name":""`, `"arguments":{}`, `"name":"greet","arguments":[]`,
	} {
		if a := get(params); a.code == 0 {
			t.Errorf("%s: %s", params, a.raw)
		}
	}
	if w.forwarded() != 1 {
		t.Errorf("%d calls went out", w.forwarded())
	}
}

func TestACompletionIsAboutWhatTheCallerMayUse(t *testing.T) {
	w := stocked(t)
	w.addMail()
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Result: []byte(`{"completion":{"values":["Ann"]}}`)}, nil
	}
	ask := func(params string) *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{`+params+`}}`, nil)
	}
	if a := ask(`"ref":{"type":"ref/prompt","name":"files__greet","title":"x"},"argument":{"name":"who","value":"A"},"other":1`); a.code != 0 {
		t.Errorf("%s", a.raw)
	}
	if c := w.sent[0]; c.Server != "files" || string(c.Args) != `{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":"A"}}` {
		t.Errorf("forwarded %s %s", c.Server, c.Args)
	}
	if a := ask(`"ref":{"type":"ref/resource","uri":"gatewright+files:note://{id}/text"},"argument":{"name":"id","value":""}`); a.code != 0 {
		t.Errorf("%s", a.raw)
	}
	for _, params := range []string{
		`"ref":{"type":"ref/prompt","name":"files__none"},"argument":{"name":"who","value":"A"}`, `"ref":{"type":"ref/tool","name":"files__read"},"argument":{"name":"who","value":"A"}`,
		`"ref":{"type":"ref/prompt","name":"files__greet"}`, `"ref":{"type":"ref/prompt","name":"files__greet"},"argument":{"name":"who","value":7}`, `"argument":{"name":"who","value":"A"}`, ``,
	} {
		if a := ask(params); a.code == 0 {
			t.Errorf("%s: %s", params, a.raw)
		}
	}
	b, err := policies.LoadBundle(fstest.MapFS{"a.cedar": &fstest.MapFile{Data: []byte(`permit (principal, action, resource);
forbid (principal, action in Action::"get_prompt", resource == Prompt::"files/greet");
forbid (principal, action == Action::"read_resource", resource) when { resource.uri like "note://b*" };`)}})
	w.must(err)
	w.rule("acme", b)
	n := w.forwarded()
	if a := ask(`"ref":{"type":"ref/prompt","name":"files__greet"},"argument":{"name":"who","value":"A"}`); a.code == 0 || w.forwarded() != n {
		t.Errorf("of a prompt that policy denies: %s", a.raw)
	}
	if got := w.keys("/mcp/files", "prompts/list", "prompts", "name"); got != "plain" {
		t.Errorf("prompts shown: %q", got)
	}
	if got := w.keys("/mcp/files", "resources/list", "resources", "uri"); got != "note://a" {
		t.Errorf("resources shown: %q", got)
	}
}

func TestAListOfManyComesInPagesThatAreTheCallersOwn(t *testing.T) {
	w := newWorld(t)
	var many []string
	for i := range 2300 {
		many = append(many, fmt.Sprintf(`{"uri":"n:%04d","name":"%d"}`, i, i))
	}
	config := w.offers
	config["acme/files resources/list"] = many[:950]
	w.refresh("acme", "files")
	for i := range 2 {
		name := fmt.Sprintf("more%d", i)
		config["acme/"+name+" resources/list"] = many[:700]
		w.addServer("acme", name)
	}
	page := func(path, cursor string, headers map[string]string) (uris []string, next string, a *answer) {
		a = w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"resources/list","params":{"cursor":`+cursor+`}}`, headers)
		var r struct {
			Resources  []struct{ URI string }
			NextCursor string
		}
		if a.code == 0 {
			w.must(json.Unmarshal(a.result, &r))
		}
		for _, x := range r.Resources {
			uris = append(uris, x.URI)
		}
		return uris, r.NextCursor, a
	}
	var all []string
	cursor, pages, first := "null", 0, ""
	for {
		uris, next, a := page("/mcp", cursor, nil)
		if a.code != 0 {
			t.Fatal(string(a.raw))
		}
		all = append(all, uris...)
		if pages++; next == "" {
			break
		}
		if first == "" {
			first = next
		}
		cursor = `"` + next + `"`
	}
	seen := map[string]bool{}
	for _, u := range all {
		seen[u] = true
	}
	if len(all) != 950+700+700 || len(seen) != len(all) || pages != 3 {
		t.Errorf("%d of %d different on %d pages", len(seen), len(all), pages)
	}
	if strings.Contains(first, "n:") {
		t.Error("the cursor shows its place")
	}
	for what, ask := range map[string]func() *answer{
		"another caller": func() *answer {
			_, _, a := page("/mcp", `"`+first+`"`, map[string]string{"Authorization": "Bearer " + w.evesKey})
			return a
		},
		"another path": func() *answer { _, _, a := page("/mcp/files", `"`+first+`"`, nil); return a },
		"another list": func() *answer {
			return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"`+first+`"}}`, nil)
		},
		"forged":   func() *answer { _, _, a := page("/mcp", `"`+first[:len(first)-2]+`AA"`, nil); return a },
		"invented": func() *answer { _, _, a := page("/mcp", `"1000"`, nil); return a },
		"a number": func() *answer { _, _, a := page("/mcp", `1000`, nil); return a },
		"empty":    func() *answer { _, _, a := page("/mcp", `""`, nil); return a },
		"huge":     func() *answer { _, _, a := page("/mcp", `"`+strings.Repeat("A", 8192)+`"`, nil); return a },
	} {
		if a := ask(); a.code != -32602 {
			t.Errorf("%s: %s", what, a.raw)
		}
	}
}
