package stages_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
)

// relist has acme's tools listed anew and all that is new about them approved.
func (w *world) relist() {
	w.t.Helper()
	w.must(w.tools.Refresh(w.t.Context(), "acme", "files"))
	all, _ := w.tools.Pins("acme", "files")
	for _, p := range all {
		if p.Waits() {
			w.must(w.tools.DecidePin(w.t.Context(), "acme", "files", p.Tool, catalogue.PinDecision{Action: pins.Approve, Digest: p.Digest}))
		}
	}
}

// TestAToolInQuarantineLooksLikeNoTool: with a plan and without a tool of that name, the caller is told the same; the ledger
// is told why.
func TestAToolInQuarantineLooksLikeNoTool(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	ask := func(tool string) *pipeline.Denial {
		t.Helper()
		err := w.intent().Check(context.Background(), w.call(w.alice, tool, `{"path":"/a"}`, w.token(p, w.alice, nil)))
		d, ok := errors.AsType[*pipeline.Denial](err)
		if !ok {
			t.Fatalf("%s passed: %v", tool, err)
		}
		return d
	}
	w.offers["files"] = []string{sendTool}
	w.must(w.tools.Refresh(t.Context(), "acme", "files"))
	gone := ask("read")
	w.offers["files"] = []string{strings.Replace(readTool, "64", "65", 1), sendTool}
	w.must(w.tools.Refresh(t.Context(), "acme", "files"))
	held := ask("read")
	if held.Code != gone.Code || held.Message != gone.Message || held.Hint != gone.Hint {
		t.Errorf("in quarantine: %+v, unknown: %+v", held, gone)
	}
	if !strings.HasPrefix(held.Reason, "tool_quarantined") || strings.HasPrefix(gone.Reason, "tool_quarantined") {
		t.Errorf("the ledger is told %q and %q", held.Reason, gone.Reason)
	}
}

func TestAResultThatBreaksTheToolsOutputSchemaIsRefused(t *testing.T) {
	w := newWorld(t)
	w.offers["files"] = append(w.offers["files"], `{"name":"sum","inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"sum":{"type":"integer"}},"required":["sum"],"additionalProperties":false}}`)
	w.relist()
	for result, ok := range map[string]bool{
		`{"content":[],"structuredContent":{"sum":3}}`:                  true,
		`{"content":[],"isError":true}`:                                 true,
		`{"content":[]}`:                                                false,
		`{"content":[],"isError":false}`:                                false,
		`{"content":[],"isError":"true"}`:                               false,
		`{"content":[],"structuredContent":null}`:                       false,
		`{"content":[],"structuredContent":{"sum":"secret"}}`:           false,
		`{"content":[],"structuredContent":{"sum":1,"more":"secret"}}`:  false,
		`{"content":[],"isError":true,"structuredContent":{"sum":"x"}}`: false,
	} {
		c := w.call(w.alice, "sum", `{}`, nil)
		c.Tool, _ = w.tools.Lookup("acme", "files", "sum")
		if c.Tool == nil {
			t.Fatal("the tool is not known")
		}
		c.Reply = pipeline.Reply{Status: 200, Result: []byte(result)}
		err := stages.Intent{}.CheckReply(context.Background(), c)
		if (err == nil) != ok {
			t.Errorf("%s: %v", result, err)
		}
		if d, known := errors.AsType[*pipeline.Denial](err); err != nil && (!known || d.Code != pipeline.ResultInvalid || d.Reason == "" || strings.Contains(d.Message, "secret")) {
			t.Errorf("%s: refused with %v", result, err)
		}
	}
	failed := w.call(w.alice, "sum", `{}`, nil)
	failed.Tool, _ = w.tools.Lookup("acme", "files", "sum")
	failed.Reply = pipeline.Reply{Status: 200, Error: []byte(`{"code":1,"message":"no"}`)}
	if err := (stages.Intent{}).CheckReply(context.Background(), failed); err != nil {
		t.Errorf("an error of the protocol: %v", err)
	}
}
