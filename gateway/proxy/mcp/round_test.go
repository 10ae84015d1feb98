package mcp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// asking is a world whose server asks something before it answers, under its own state "server-N".
func asking(t *testing.T) (w *world, rounds *pipeline.Rounds) {
	w = newWorld(t)
	rounds = &pipeline.Rounds{Seals: w.seals}
	w.dialect.Rounds = rounds
	w.reply = func(c *pipeline.Call) (pipeline.Reply, error) {
		if c.Round != nil && strings.Contains(string(c.Input), "yes") {
			return pipeline.Reply{Result: []byte(`{"content":[]}`)}, nil
		}
		state := rounds.Ask(c, []byte(`"server"`))
		return pipeline.Reply{Result: []byte(`{"resultType":"input_required","requestState":"` + state + `","inputRequests":{"a":{"method":"roots/list"}}}`)}, nil
	}
	return w, rounds
}

func (w *world) round(token, more, key string) *answer {
	return w.new("tools/call", "read", `"name":"read","arguments":{"path":"/a"}`+more, map[string]string{"Gatewright-Intent": token, "Authorization": "Bearer " + key})
}

func stateOf(a *answer) string {
	raw, _ := canon.Get(a.result, "requestState")
	state, _ := canon.Unquote(raw)
	return state
}

const once = `{"steps":[{"server":"files","tool":"read","args":{"path":"/a"}}]}`

func TestACallOfSeveralRoundsIsOneUseOfItsStep(t *testing.T) {
	w, _ := asking(t)
	token := w.token(once)
	a := w.round(token, "", w.key)
	if kind, _ := canon.Get(a.result, "resultType"); string(kind) != `"input_required"` || stateOf(a) == "" {
		t.Fatalf("%s", a.raw)
	}
	if again := w.round(token, "", w.key); again.data["reason"] != "step_used" {
		t.Errorf("a new call of a step that is used: %s", again.raw)
	}
	second := w.round(token, `,"inputResponses":{"a":{"action":"no"}},"requestState":"`+stateOf(a)+`"`, w.key)
	if second.code != 0 || stateOf(second) == stateOf(a) {
		t.Fatalf("the second round: %s", second.raw)
	}
	third := w.round(token, `,"inputResponses":{"a":{"action":"yes"}},"requestState":"`+stateOf(second)+`"`, w.key)
	if kind, _ := canon.Get(third.result, "resultType"); third.code != 0 || string(kind) != `"complete"` {
		t.Fatalf("the third round: %s", third.raw)
	}
	if w.forwarded() != 3 || w.book.used[0] != 1 {
		t.Errorf("%d calls went out, the step was used %d times", w.forwarded(), w.book.used[0])
	}
	var details []string
	for _, r := range w.book.records {
		details = append(details, r.Detail)
	}
	if all := strings.Join(details, "\n"); !strings.Contains(all, "continues rec_") || !strings.Contains(all, "with input ") {
		t.Errorf("the records say %q", all)
	}
}

func TestAStateIsGoodOnceForItsOwnCall(t *testing.T) {
	w, _ := asking(t)
	token := w.token(`{"steps":[{"server":"files","tool":"read","where":{"path":{"open":true}},"uses":0}]}`)
	with := func(state string) string {
		return `,"inputResponses":{"a":{"action":"yes"}},"requestState":"` + state + `"`
	}
	fresh := func() string { return stateOf(w.round(token, "", w.key)) }
	used := fresh()
	if a := w.round(token, with(used), w.key); a.code != 0 {
		t.Fatalf("%s", a.raw)
	}
	good := fresh()
	for name, ask := range map[string]func() *answer{
		"used":                       func() *answer { return w.round(token, with(used), w.key) },
		"invented":                   func() *answer { return w.round(token, with("server"), w.key) },
		"tampered":                   func() *answer { return w.round(token, with(good[:len(good)-1]+"!"), w.key) },
		"empty":                      func() *answer { return w.round(token, with(""), w.key) },
		"a number":                   func() *answer { return w.round(token, `,"requestState":7`, w.key) },
		"answers that are no object": func() *answer { return w.round(token, `,"inputResponses":[],"requestState":"`+good+`"`, w.key) },
		"another caller":             func() *answer { return w.round(token, with(good), w.evesKey) },
		"other arguments": func() *answer {
			return w.new("tools/call", "read", `"name":"read","arguments":{"path":"/b"}`+with(good), map[string]string{"Gatewright-Intent": token})
		},
		"no plan": func() *answer { return w.round("", with(good), w.key) },
	} {
		n := w.forwarded()
		if a := ask(); a.code == 0 || w.forwarded() != n {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
	if a := w.round(token, with(good), w.key); a.code != 0 {
		t.Errorf("the right one, after all that: %s", a.raw)
	}
}

func TestRoundsAreBoundedAndExpire(t *testing.T) {
	w, rounds := asking(t)
	rounds.MostOf = 2
	token := w.token(`{"steps":[{"server":"files","tool":"read","where":{"path":{"open":true}},"uses":0}]}`)
	first := stateOf(w.round(token, "", w.key))
	w.round(token, "", w.key)
	third := stateOf(w.round(token, "", w.key))
	if a := w.round(token, `,"requestState":"`+first+`"`, w.key); a.code != -32602 {
		t.Errorf("of more than a caller may keep the oldest stays: %s", a.raw)
	}
	if a := w.round(token, `,"requestState":"`+third+`"`, w.key); a.code != 0 {
		t.Errorf("the newest: %s", a.raw)
	}
	rounds.Keep = time.Nanosecond
	late := stateOf(w.round(token, "", w.key))
	if a := w.round(token, `,"requestState":"`+late+`"`, w.key); a.code != -32602 {
		t.Errorf("an expired one: %s", a.raw)
	}
}

func TestServersAreToldWhatTheClientCanBeAskedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	token := w.anything("files")
	var can string
	w.reply = func(c *pipeline.Call) (pipeline.Reply, error) {
		can = string(c.Can)
		return pipeline.Reply{Result: []byte(`{"content":[]}`)}, nil
	}
	for caps, want := range map[string]string{
		`{}`: `{}`, `{"elicitation":{}}`: `{"elicitation":{}}`,
		`{"roots":{"listChanged":true},"sampling":{"tools":{"x":1},"context":7},"experimental":{"secret":"x"},"elicitation":{"form":{},"url":{},"evil":{}}}`: `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}`,
		`{"elicitation":true}`: `{}`,
	} {
		body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":` + caps + `},"name":"read","arguments":{"path":"/a"}}}`
		a := w.send("POST", "/mcp", body, map[string]string{"MCP-Protocol-Version": modern, "Mcp-Method": "tools/call", "Mcp-Name": "read", "Gatewright-Intent": token})
		if a.code != 0 || can != want {
			t.Errorf("%s: %s, want %s (%s)", caps, can, want, a.raw)
		}
	}
	if w.old(callRead, map[string]string{"Gatewright-Intent": token}); can != "" {
		t.Errorf("of an older client: %q", can)
	}
}

func TestAStateEndsWithTheKeyThatItIsSealedUnder(t *testing.T) {
	w, _ := asking(t)
	token := w.token(once)
	state := stateOf(w.round(token, "", w.key))
	if _, err := w.seals.Rotate(t.Context(), "acme", false); err != nil {
		t.Fatal(err)
	}
	second := w.round(token, `,"inputResponses":{"a":{"action":"no"}},"requestState":"`+state+`"`, w.key)
	if second.code != 0 {
		t.Fatalf("under the key before: %s", second.raw)
	}
	if _, err := w.seals.Rotate(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	if a := w.round(token, `,"inputResponses":{"a":{"action":"yes"}},"requestState":"`+stateOf(second)+`"`, w.key); a.code == 0 || a.data["reason"] == "" {
		t.Errorf("after a rotation at once: %s", a.raw)
	}
}
