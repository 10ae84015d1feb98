package mcp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
)

// TestAToolInQuarantineIsNotListed: though policies may know it already.
func TestAToolInQuarantineIsNotListed(t *testing.T) {
	w := newWorld(t)
	list := func() string {
		return string(w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil).raw) + string(w.new("tools/list", "", "", nil).raw)
	}
	before := w.offers["acme/files"]
	w.offers["acme/files"] = []string{strings.Replace(before[0], `"reads"`, `"reads, and sends"`, 1), before[1], `{"name":"late","inputSchema":{"type":"object"}}`}
	w.refresh("acme", "files")
	if got := list(); strings.Contains(got, "late") || strings.Contains(got, "reads") || strings.Count(got, `"send"`) != 2 {
		t.Errorf("shown %s", got)
	}
	if a := w.old(callRead, map[string]string{"Gatewright-Intent": w.token(`{"steps":[{"server":"files","tool":"send"}]}`)}); a.code == 0 || strings.Contains(string(a.raw), "quarantine") {
		t.Errorf("called: %s", a.raw)
	}
}

// TestABareNameStaysWithTheServerThatHadItApproved: neither does it lead elsewhere while that tool waits, nor does a new tool
// of that name take it away.
func TestABareNameStaysWithTheServerThatHadItApproved(t *testing.T) {
	w := newWorld(t)
	const only = `{"name":"only","inputSchema":{"type":"object"}}`
	before := w.offers["acme/files"]
	w.offers["acme/mail"] = []string{only}
	w.addServer("acme", "mail")
	w.offers["acme/files"] = append(slices.Clip(before), only)
	w.refresh("acme", "files") // new there
	token := w.token(`{"steps":[{"server":"mail","tool":"only","uses":0}]}`)
	call := func() *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"only"}}`, map[string]string{"Gatewright-Intent": token})
	}
	if a := call(); a.code != 0 {
		t.Errorf("a tool that nobody approved took the name away: %s", a.raw)
	}
	for _, tool := range w.tools.Tools("acme", "files") {
		if tool.Name == "only" {
			w.must(w.tools.DecidePin(t.Context(), "acme", "files", "only", catalogue.PinDecision{Action: pins.Approve, Digest: tool.Pin}))
		}
	}
	if a := call(); a.code == 0 {
		t.Error("the name of two tools leads to one")
	}
	w.offers["acme/files"] = append(slices.Clip(before), strings.Replace(only, `"name"`, `"title":"x","name"`, 1))
	w.refresh("acme", "files") // and it waits again
	if a := call(); a.code == 0 {
		t.Error("while its tool waits the name leads to another server")
	}
	for _, c := range w.sent {
		if c.Server != "mail" {
			t.Errorf("forwarded to %s", c.Server)
		}
	}
}
