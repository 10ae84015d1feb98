package mcp_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestAPlannedCallPassesAndAnotherDoesNot(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.token(`{"steps":[{"server":"files","tool":"read","args":{"path":"/a"}}]}`)}
	other := strings.Replace(callRead, `"/a"`, `"/b"`, 1)
	for _, c := range []struct{ body, reason string }{
		{other, "args_mismatch"}, {strings.Replace(callRead, `"read"`, `"send"`, 1), "tool_mismatch"}, {strings.Replace(callRead, `"read"`, `"none"`, 1), "tool_mismatch"},
		{callRead, ""}, {callRead, "step_used"}, {other, "args_mismatch"},
	} {
		a := w.old(c.body, h)
		if got, _ := a.data["reason"].(string); got != c.reason || a.status != 200 {
			t.Errorf("%s: %d %q, want %q: %s", c.body, a.status, got, c.reason, a.raw)
		}
		record := a.header.Get("Gatewright-Record")
		if record == "" || a.header.Get("Gatewright-Receipt") != "receipt-"+record || a.header.Get("Gatewright-Salt") == "" {
			t.Errorf("record %q, receipt %q", record, a.header.Get("Gatewright-Receipt"))
		}
		if c.reason != "" && (a.code != refusedCode || a.data["record"] != record || a.data["hint"] == "" || a.data["gatewright/receipt"] == nil || !strings.Contains(a.message, "["+c.reason+" "+record+"]")) {
			t.Errorf("told %q, %v", a.message, a.data)
		}
	}
	if w.forwarded() != 1 || w.sent[0].Name != "read" || string(w.sent[0].Args) != `{"path":"/a"}` {
		t.Errorf("forwarded %+v", w.sent)
	}
}

func TestWithoutAPlanDeniedUnknownAndHiddenToolsLookAlike(t *testing.T) {
	w := newWorld(t)
	confined, err := w.people.CreateAgent(t.Context(), "acme", identity.NewAgent{Name: "confined", Owner: w.alice.User(), TalksTo: []string{"elsewhere"}})
	w.must(err)
	_, key, err := w.people.CreateKey(t.Context(), "acme", identity.NewKey{Kind: identity.Runtime, Agent: confined.ID, Name: "k"})
	w.must(err)
	told := func(name, key string, h map[string]string) string {
		headers := map[string]string{"Authorization": "Bearer " + key}
		maps.Copy(headers, h)
		a := w.new("tools/call", name, `"name":"`+name+`","arguments":{"to":"x","n":1}`, headers)
		a.data["record"], a.data["gatewright/receipt"] = nil, nil
		message, _, _ := strings.Cut(a.message, " rec_")
		return fmt.Sprint(a.status, a.code, message, a.data)
	}
	for name, h := range map[string]map[string]string{
		"bare": nil, "a header that mirrors": {"Mcp-Param-To": "y"}, "a header for nothing": {"Mcp-Param-Zzz": "y"},
	} {
		unknown := told("none", key, h)
		for _, tool := range []string{"read", "send"} { // both are there, and hidden from this agent
			if got := told(tool, key, h); got != unknown {
				t.Errorf("%s: %s is told apart from an unknown tool:\n%s\n%s", name, tool, got, unknown)
			}
		}
	}
}

func TestAnExplicitProofNeedsNothingHeld(t *testing.T) {
	w := newWorld(t)
	token := w.token(`{"steps":[{"server":"files","tool":"read","args":{"path":"/a"},"uses":0},{"server":"files","tool":"send"},{"server":"files","tool":"read","args":{"path":"/b"}}]}`)
	clear(w.plans)
	tree := w.plan.Tree()
	proof := tree.AppendInclusion(nil, 0)
	show := func(h ...merkle.Hash) map[string]string {
		return map[string]string{"Gatewright-Intent": token, "Gatewright-Step": intent.EncodeLeaf(w.plan.LeafData(0)), "Gatewright-Proof": intent.EncodeProof(h)}
	}
	for name, c := range map[string]struct {
		headers map[string]string
		body    string
		reason  string
	}{
		"right": {show(proof...), callRead, ""}, "other arguments": {show(proof...), strings.Replace(callRead, "/a", "/b", 1), "args_mismatch"},
		"turned round": {show(proof[1], proof[0]), callRead, "proof_mismatch"}, "too short": {show(proof[0]), callRead, "proof_length"},
		"token alone": {map[string]string{"Gatewright-Intent": token}, callRead, "intent_invalid"},
	} {
		a := w.old(c.body, c.headers)
		if got, _ := a.data["reason"].(string); got != c.reason {
			t.Errorf("%s: %q, want %q: %s", name, got, c.reason, a.raw)
		}
	}
	if w.forwarded() != 1 {
		t.Errorf("%d forwarded, want 1", w.forwarded())
	}
}

func TestPrefixesLeadToTheirServerAlone(t *testing.T) {
	w := newWorld(t)
	w.offers["acme/mail"] = []string{sendTool, readTool}
	w.addServer("acme", "mail")
	token := w.token(`{"steps":[{"server":"mail","tool":"read","where":{"path":{"open":true}},"uses":0}]}`)
	for name, reason := range map[string]string{
		"mail__read": "", "files__read": "tool_mismatch", "read": "tool_mismatch", "mail_read": "tool_mismatch", "mail__mail__read": "tool_mismatch", "__read": "tool_mismatch",
		"MAIL__read": "tool_mismatch", "mail__": "tool_mismatch", "files__mail__read": "tool_mismatch", "mail__read\u200b": "tool_mismatch", "rival__read": "tool_mismatch",
	} {
		before := w.forwarded()
		a := w.old(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"path":"/a"}}}`, name), map[string]string{"Gatewright-Intent": token})
		if got, _ := a.data["reason"].(string); got != reason {
			t.Errorf("%q: %q, want %q", name, got, reason)
		}
		if reason != "" && w.forwarded() != before {
			t.Errorf("%q was forwarded to %s/%s", name, w.sent[before].Server, w.sent[before].Name)
		}
	}
	// On the server's own path names have no prefix, and none is taken off.
	for name, ok := range map[string]bool{"read": true, "mail__read": false} {
		a := w.send("POST", "/mcp/mail", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`","arguments":{"path":"/a"}}}`, map[string]string{"Gatewright-Intent": token})
		if (a.code == 0) != ok {
			t.Errorf("/mcp/mail %q: %s", name, a.raw)
		}
	}
	for _, c := range w.sent {
		if c.Server != "mail" || c.Name != "read" {
			t.Errorf("forwarded to %s/%s", c.Server, c.Name)
		}
	}
}

// TestAToolWhoseNameHasTheSeparatorIsNotShadowed: as long as no server has the name that a tool's begins with, the tool is
// called by its own; then nobody may take that name, and where it is taken the tool stays in quarantine, by every name.
func TestAToolWhoseNameHasTheSeparatorIsNotShadowed(t *testing.T) {
	w := newWorld(t)
	approve := func() error {
		for _, tool := range w.tools.Tools("acme", "files") {
			if tool.Name == "mail__send" {
				return w.tools.DecidePin(t.Context(), "acme", "files", tool.Name, catalogue.PinDecision{Action: pins.Approve, Digest: tool.Pin, Despite: true})
			}
		}
		return nil
	}
	token := ""
	call := func(name string) *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`"}}`, map[string]string{"Gatewright-Intent": token})
	}
	before := w.offers["acme/files"]
	w.offers["acme/files"] = append(slices.Clone(before), `{"name":"mail__send","inputSchema":{"type":"object"}}`)
	w.refresh("acme", "files")
	w.must(approve())
	token = w.token(`{"steps":[{"server":"files","tool":"mail__send","uses":0}]}`)
	if a := call("mail__send"); a.code != 0 {
		t.Errorf("alone: %s", a.raw)
	}
	s := catalogue.Server{Tenant: "acme", Name: "mail", URL: "http://127.0.0.1:1/mcp", Era: "auto", AllowPrivate: true, Enabled: true}
	if err := w.tools.AddServer(t.Context(), "acme", s); !errors.Is(err, catalogue.ErrInvalid) || !strings.Contains(err.Error(), "mail__send of server files") {
		t.Errorf("a server that would shadow the tool: %v", err)
	}
	if a := call("files__mail__send"); a.code != 0 {
		t.Errorf("with its prefix: %s", a.raw)
	}

	w = newWorld(t)
	w.addServer("acme", "mail")
	w.offers["acme/files"] = append(slices.Clone(before), `{"name":"mail__send","inputSchema":{"type":"object"}}`)
	w.refresh("acme", "files")
	if err := approve(); !errors.Is(err, catalogue.ErrCollision) || !strings.Contains(err.Error(), "server mail") {
		t.Errorf("approving a tool that shadows: %v", err)
	}
	token = w.anything("files")
	for _, name := range []string{"mail__send", "files__mail__send"} {
		if a := call(name); a.code == 0 {
			t.Errorf("%s is called", name)
		}
	}
	if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil); strings.Contains(string(a.raw), "mail__send") {
		t.Errorf("the list shows it: %s", a.raw)
	}
	for _, c := range w.sent {
		if c.Server != "files" {
			t.Errorf("forwarded to %s", c.Server)
		}
	}
}

func TestArgumentsTravelAsTheyWereSpelled(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	for sent, want := range map[string]string{
		` { "path" : "\u002fa" } `: `{ "path" : "\u002fa" }`, `{"path":"é","z":1.0}`: `{"path":"é","z":1.0}`,
	} {
		if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":`+sent+`}}`, h); a.code != 0 && !strings.Contains(sent, "z") {
			t.Fatalf("%s", a.raw)
		}
		if !strings.Contains(sent, "z") && string(w.sent[len(w.sent)-1].Args) != want {
			t.Errorf("forwarded %s, want %s", w.sent[len(w.sent)-1].Args, want)
		}
	}
	if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send"}}`, h); a.code != 0 || string(w.sent[len(w.sent)-1].Args) != "{}" {
		t.Errorf("without arguments: %s", a.raw)
	}
}

func TestAResultIsGivenOnWholeWithOurOneKey(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	serverInfo := `"io.modelcontextprotocol/serverInfo":{"name":"gatewright","title":"Gatewright","version":"1.2.3"}`
	for _, c := range []struct{ from, legacy, modern string }{ // R stands for the receipt
		{`{}`, `{"_meta":{R}}`, `{"_meta":{R,S},"resultType":"complete"}`},
		{"{\n }", `{"_meta":{R}}`, `{"_meta":{R,S},"resultType":"complete"}`},
		{`{"content":[]}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{"{ \"content\" : [ 1 , {} ]\n, \"isError\" : true\t}", "{\"_meta\":{R},\"content\" : [ 1 , {} ]\n, \"isError\" : true}", "{\"_meta\":{R,S},\"resultType\":\"complete\",\"content\" : [ 1 , {} ]\n, \"isError\" : true}"},
		{`{"_meta":{"a":1},"content":[]}`, `{"_meta":{"a":1,R},"content":[]}`, `{"_meta":{"a":1,R,S},"resultType":"complete","content":[]}`},
		{`{"content":[],"_meta":{}}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{`{"_meta":{"gatewright/receipt":"forged"},"content":[]}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{`{"_meta":{"gatewright\/receipt":"forged","b":2}}`, `{"_meta":{"b":2,R}}`, `{"_meta":{"b":2,R,S},"resultType":"complete"}`},
		{`{"\u005fmeta":{"gatewright/receipt":"forged"},"content":[]}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{`{"_meta":null,"content":[]}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{`{"_meta":["gatewright/receipt"],"content":[]}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{`{"resultType":"complete","content":[]}`, `{"_meta":{R},"content":[]}`, `{"_meta":{R,S},"resultType":"complete","content":[]}`},
		{`{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"evil"}},"resultType":"complete"}`, `{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"evil"},R}}`, `{"_meta":{R,S},"resultType":"complete"}`},
	} {
		w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
			return pipeline.Reply{Status: 200, Result: []byte(c.from)}, nil
		}
		fill := func(s string, a *answer) string {
			r := `"gatewright/receipt":"` + a.header.Get("Gatewright-Receipt") + `"`
			return strings.NewReplacer("R,S", r+","+serverInfo, "R}", r+"}").Replace(s)
		}
		a := w.old(callRead, h)
		if want := fill(c.legacy, a); string(a.result) != want {
			t.Errorf("%s:\n%s, want\n%s", c.from, a.result, want)
		}
		a = w.new("tools/call", "read", `"name":"read","arguments":{"path":"/a"}`, h)
		if want := fill(c.modern, a); string(a.result) != want {
			t.Errorf("modern %s:\n%s, want\n%s", c.from, a.result, want)
		}
	}
}

func TestWithoutReceiptsNothingIsAddedAndNothingForgedPasses(t *testing.T) {
	w := newWorld(t)
	w.line.Receipts = false
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	for from, want := range map[string]string{
		`{"content":[]}`: `{"content":[]}`, `{}`: `{}`, `{"_meta":{"gatewright/receipt":"forged","a":1},"content":[]}`: `{"_meta":{"a":1},"content":[]}`,
	} {
		w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
			return pipeline.Reply{Status: 200, Result: []byte(from)}, nil
		}
		if a := w.old(callRead, h); string(a.result) != want || a.header.Get("Gatewright-Receipt") != "" {
			t.Errorf("%s: %s", from, a.result)
		}
	}
}

func TestAnUpstreamsJSONRPCErrorIsGivenOnAsItIs(t *testing.T) {
	w := newWorld(t)
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Status: 200, Error: []byte(`{"code": -32602, "message":"bad", "data":{"a":1}}`)}, nil
	}
	a := w.old(callRead, map[string]string{"Gatewright-Intent": w.anything("files")})
	if a.status != 200 || a.code != badParams || a.message != "bad" || a.header.Get("Gatewright-Receipt") == "" || w.book.last().Outcome != "tool_error" {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

func TestEachRefusalHasItsStatusAndCode(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	for code, want := range map[pipeline.Code][2]int{
		pipeline.UpstreamDown: {200, -32010}, pipeline.UpstreamTimeout: {200, -32010}, pipeline.UpstreamMalformed: {200, -32010}, pipeline.UpstreamTooLarge: {200, -32010},
		pipeline.UpstreamRefused: {200, -32010}, pipeline.UpstreamBusy: {200, -32010}, pipeline.ReplyWithheld: {200, refusedCode}, pipeline.AuditUnavailable: {503, refusedCode},
		pipeline.RateLimited: {429, refusedCode}, pipeline.InvalidArguments: {200, badParams}, pipeline.PolicyDenied: {200, refusedCode}, pipeline.Internal: {200, -32603},
		pipeline.TooLarge: {413, refusedCode}, pipeline.Timeout: {503, refusedCode},
	} {
		w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
			d := pipeline.Deny(code, "")
			d.RetryAfter = 1500 * time.Millisecond
			return pipeline.Reply{}, d.Because(errors.New("secret cause at 10.0.0.7"))
		}
		a := w.old(callRead, h)
		if a.status != want[0] || a.code != want[1] || a.data["reason"] != string(code) || string(a.id) != "1" {
			t.Errorf("%s: %d, %d, want %v: %s", code, a.status, a.code, want, a.raw)
		}
		if strings.Contains(string(a.raw), "10.0.0.7") {
			t.Errorf("%s tells the cause: %s", code, a.raw)
		}
		if a.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q, want whole seconds rounded up", a.header.Get("Retry-After"))
		}
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) { panic("boom at /secret") }
	if a := w.old(callRead, h); a.code != -32603 || strings.Contains(string(a.raw), "boom") {
		t.Errorf("a panic: %s", a.raw)
	}
	a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":7}}}`, h)
	if a.code != badParams || a.data["reason"] != "invalid_arguments" {
		t.Errorf("arguments that break the schema: %s", a.raw)
	}
	w.book.fail = true
	if a := w.old(callRead, h); a.status != 503 || a.data["reason"] != "audit_unavailable" || a.header.Get("Gatewright-Record") != "" {
		t.Errorf("without a ledger: %d %s", a.status, a.raw)
	}
}

func TestARetryIsAnsweredUnderItsOwnIDWithTheFirstReceipt(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.token(`{"steps":[{"server":"files","tool":"read","args":{"path":"/a"}}]}`), "Idempotency-Key": "k1"}
	first := w.old(callRead, h)
	again := w.old(strings.Replace(callRead, `"id":1`, `"id":"again"`, 1), h)
	if w.forwarded() != 1 || string(again.id) != `"again"` || string(again.result) != string(first.result) || again.header.Get("Gatewright-Receipt") != first.header.Get("Gatewright-Receipt") {
		t.Errorf("%d forwarded, again %s", w.forwarded(), again.raw)
	}
	if a := w.old(strings.Replace(callRead, `"/a"`, `"/b"`, 1), h); a.data["reason"] != "retry_mismatch" {
		t.Errorf("another request: %s", a.raw)
	}
	other := map[string]string{"Idempotency-Key": "k1", "Authorization": "Bearer " + w.evesKey}
	if a := w.old(callRead, other); a.data["reason"] != "intent_required" {
		t.Errorf("another tenant with the same key: %s", a.raw)
	}
}

func TestTheReplysDigestIsOfWhatTheUpstreamSaid(t *testing.T) {
	w := newWorld(t)
	w.old(callRead, map[string]string{"Gatewright-Intent": w.anything("files")})
	r := w.book.last()
	if r.Kind.String() != "settled" || r.Reply.IsZero() || r.Tool != "read" || r.Server != "files" || r.Op != "tools/call" || w.book.admitted(r).Route != "/mcp" {
		t.Errorf("%+v", r)
	}
	w.send("POST", "/mcp/files", callRead, map[string]string{"Gatewright-Intent": w.anything("files")})
	if r := w.book.admitted(w.book.last()); r.Route != "/mcp/{server}" {
		t.Errorf("route %q", r.Route)
	}
	if err := canon.Check(w.sent[0].Args, canon.DefaultLimits()); err != nil {
		t.Error(err)
	}
}
