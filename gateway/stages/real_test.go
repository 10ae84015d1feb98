package stages_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/wasm"
	builtin "github.com/gatewright/gatewright/wasm/filters"
)

// redacting is the filter that comes along, as a tenant has it.
func (w *world) redacting(config string) stages.FilterUnit {
	w.t.Helper()
	r, err := wasm.New(w.t.Context(), wasm.DefaultConfig())
	w.must(err)
	w.t.Cleanup(func() { w.must(r.Close(context.Background())) })
	module, ok := builtin.Module("redact-secrets")
	if !ok {
		w.t.Fatal("redact-secrets is not there")
	}
	f, err := r.Load(w.t.Context(), "redact-secrets", module, []byte(config))
	w.must(err)
	return f
}

// TestTheFilterThatComesAlongWalksTheRow: a key in the arguments does not go out, one in the result does not come back, in a
// step that fixes it neither does the call, and policy and ledger see what was found.
func TestTheFilterThatComesAlongWalksTheRow(t *testing.T) {
	key := "ghp_" + strings.Repeat("aB3", 12)
	w := newWorld(t)
	r := w.row(open + `,"uses":0`)
	r.line.Stages[len(r.line.Stages)-2].(*stages.Filter).Filters = perTenant{"acme": {w.redacting("")}}
	r.result = `{"content":[{"type":"text","text":"use ` + key + ` now"}]}`
	c := r.run(`{"path":"/a?t=`+key+`"}`, "k")
	if c.Denial != nil {
		t.Fatal(c.Denial)
	}
	if strings.Contains(r.sent[0]+string(c.Reply.Result), key) || !strings.Contains(r.sent[0], "[redacted:") || !strings.Contains(string(c.Reply.Result), "[redacted:") {
		t.Errorf("sent %s, answered %s", r.sent[0], c.Reply.Result)
	}
	for _, rec := range r.book.records {
		if !strings.HasPrefix(strings.Join(rec.Labels, " "), "secret:") || !strings.Contains(rec.Detail, "rewritten by redact-secrets@") {
			t.Errorf("on record %q, %q", rec.Labels, rec.Detail)
		}
	}
	// What was redacted once is not redacted again, so the first answer stands.
	if again := r.run(`{"path":"/a?t=`+key+`"}`, "k"); again.Denial != nil || again.Record != c.Record || len(r.sent) != 1 {
		t.Errorf("again %v under %s, %d sent", again.Denial, again.Record, len(r.sent))
	}
	fixed := w.row(`"args":{"path":"` + key + `"}`)
	fixed.line.Stages[len(r.line.Stages)-2].(*stages.Filter).Filters = perTenant{"acme": {w.redacting("")}}
	fixed.refused(fixed.run(`{"path":"`+key+`"}`, ""), pipeline.FilterDenied)
	strict := w.row(open)
	strict.line.Stages[len(r.line.Stages)-2].(*stages.Filter).Filters = perTenant{"acme": {w.redacting(`{"deny":true}`)}}
	strict.refused(strict.run(`{"path":"/a?t=`+key+`"}`, ""), pipeline.FilterDenied)
	if len(fixed.sent)+len(strict.sent) > 0 {
		t.Errorf("sent %q, %q", fixed.sent, strict.sent)
	}
}
