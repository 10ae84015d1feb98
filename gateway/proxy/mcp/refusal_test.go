package mcp_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

// TestArgumentsThatBreakTheSchemaAreAFailedResultToWhoeverKnowsThat: SEP-1303; earlier revisions have an error.
func TestArgumentsThatBreakTheSchemaAreAFailedResultToWhoeverKnowsThat(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.token(`{"steps":[{"server":"files","tool":"read","additional":true,"where":{"path":{"open":true}}}]}`)}
	const params = `"name":"read","arguments":{"path":7}`
	old := func(version string) *answer {
		h := maps.Clone(h)
		h["MCP-Protocol-Version"] = version
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`+params+`}}`, h)
	}
	for _, version := range []string{"", "2025-03-26", "2025-06-18"} {
		if a := old(version); a.code != badParams || a.data["reason"] != "invalid_arguments" {
			t.Errorf("%q: %s", version, a.raw)
		}
	}
	for version, a := range map[string]*answer{"2025-11-25": old("2025-11-25"), modern: w.new("tools/call", "read", params, h)} {
		var r struct {
			IsError    bool
			ResultType string
			Content    []struct{ Type, Text string }
			Meta       map[string]struct{ Reason, Hint, Record string } `json:"_meta"`
		}
		if err := json.Unmarshal(a.result, &r); err != nil || a.status != 200 || !r.IsError || len(r.Content) != 1 || r.Content[0].Type != "text" {
			t.Fatalf("%s: %v: %s", version, err, a.raw)
		}
		said := r.Meta["gatewright/refusal"]
		if !strings.Contains(r.Content[0].Text, "[invalid_arguments "+said.Record+"]") || said.Reason != "invalid_arguments" || said.Hint == "" || said.Record == "" {
			t.Errorf("%s: %s", version, a.raw)
		}
		if (r.ResultType == "complete") != (version == modern) {
			t.Errorf("%s: of type %q", version, r.ResultType)
		}
	}
	if n := w.forwarded(); n != 0 {
		t.Errorf("%d calls were forwarded", n)
	}
}
