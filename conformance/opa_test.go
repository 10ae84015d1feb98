package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/scan"
)

// regoPolicy is a policy of our own that OPA's evaluator and our host both judge by.
type regoPolicy struct {
	name        string
	entrypoints []string
	data        string
	source      string
}

var regoPolicies = []regoPolicy{
	{"verdict", []string{"gatewright/verdict"}, `{"secret":"^sk-[a-z0-9]{4,}$"}`, `package gatewright

found contains k if {
	some k, v in input.arguments
	is_string(v)
	regex.match(data.secret, v)
}

verdict := {"verdict": "pass"} if count(found) == 0

verdict := {"verdict": "deny", "reason": "too_many", "message": sprintf("%d secrets in %v", [count(found), found])} if count(found) > 1

verdict := {"verdict": "rewrite", "reason": "secret", "labels": [sprintf("secret:n%d", [count(k)]) | some k in found], "scores": {"secrets": 100 * count(found)}, "arguments": clean} if count(found) == 1

clean := {k: v | some k, x in input.arguments; v := masked(k, x)}

masked(k, _) := "***" if k in found

masked(k, x) := x if not k in found
`},
	{"allow", []string{"filters/tools/allow"}, `{"tools":{"files":["read","list"],"db":["query"]},"agents":{"agt_1":3,"agt_2":1}}`, `package filters.tools

default allow := false

allow if {
	input.tool in data.tools[input.server]
	data.agents[input.agent] >= object.get(input.arguments, "level", 0)
}

allow if {
	glob.match("adm_*", [], input.user)
	not startswith(input.tool, "drop")
}
`},
	{"undefined", []string{"filters/allow"}, ``, `package filters

allow := x if {
	x := to_number(object.get(input.arguments, "n", "nothing")) > 10
}
`},
	{"deny", []string{"filters/deny", "filters/allow"}, `{"words":["drop","truncate"]}`, `package filters

deny contains msg if {
	some k, v in input.arguments
	msg := sprintf("%s is %v", [k, v])
	is_number(v)
	v > 100
}

deny contains {"msg": msg} if {
	some word in data.words
	some k, v in input.arguments
	contains(lower(v), word)
	msg := sprintf("%q in %s (%d)", [word, k, count(v)])
}

deny contains sprintf("%s: %v %v", [input.agent, s, [null, true, 1.5, "a\"b"]]) if {
	s := {type_name(v) | some _, v in input.arguments}
	count(s) > 3
}

allow if {
	time.now_ns() / 1000000 == input.now
	input.op == "tools/call"
}
`},
	{"response", []string{"filters/verdict", "filters/response"}, ``, `package filters

verdict := {"verdict": "pass"} if input.phase == "request"

response := {"verdict": "pass", "labels": [sprintf("keys:%d", [count(input.result)])]} if {
	not input.result.secret
}

response := {"verdict": "rewrite", "result": object.remove(input.result, ["secret"])} if input.result.secret
`},
}

const regoInputs = 60 // of each policy

// TestOPA holds our host of compiled policies against OPA's own evaluator of the same Rego.
func TestOPA(t *testing.T) {
	t.Parallel()
	peer := opaPeer(t)
	agreed := 0
	for _, p := range regoPolicies {
		calls := regoCalls(p)
		q := opaQuestion{Module: p.source, Entrypoints: p.entrypoints, Data: json.RawMessage(p.data), Now: calls[0].Now}
		for _, c := range calls {
			q.Inputs = append(q.Inputs, bytes.Clone(c.JSON()))
		}
		a := peer(q)
		if a.Error != "" || len(a.Results) != len(calls) {
			t.Fatalf("%s: OPA: %s, %d results", p.name, a.Error, len(a.Results))
		}
		agreed += opaAgrees(t, p, a, calls)
		before, after, ok := bytes.Cut(a.Wasm, []byte("\x08opa_eval\x00"))
		if !ok {
			t.Fatalf("%s: no export opa_eval", p.name)
		}
		a.Wasm = slices.Concat(before, []byte("\x08opa_left\x00"), after) // as ABI 1.1 has it
		opaAgrees(t, p, a, calls)
	}
	if agreed < 200 {
		t.Errorf("%d inputs, want at least 200", agreed)
	}
	t.Logf("%d inputs of %d policies, and no difference", agreed, len(regoPolicies))
}

// opaAgrees holds every call against what OPA says of it, and returns how many there were.
func opaAgrees(t *testing.T, p regoPolicy, a opaAnswer, calls []*abi.Context) int {
	t.Helper()
	report, err := scan.Scan(bytes.NewReader(a.Wasm), scan.Small())
	if err != nil || report.Dialect != scan.OPA || report.Class != scan.SmallClass {
		t.Errorf("%s: %v, dialect %s, class %s", p.name, err, report.Dialect, report.Class)
	}
	r, err := wasm.New(t.Context(), wasm.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	f, err := r.Load(t.Context(), p.name, a.Wasm, []byte(p.data))
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	seen := map[wasm.Kind]int{}
	for i, c := range calls {
		var v wasm.Verdict
		ask := f.Decide
		if c.Phase == abi.Response {
			ask = f.OnResponse
		}
		if err := ask(t.Context(), c, &v); err != nil {
			t.Errorf("%s: %s: %v", p.name, c.JSON(), err)
			continue
		}
		seen[v.Kind]++
		if want := opaVerdict(t, c, a.Results[i]); opaText(&v) != want {
			t.Errorf("%s: %s\nOPA says  %s (%s)\nthe host %s", p.name, c.JSON(), want, a.Results[i], opaText(&v))
		}
	}
	if len(seen) < 2 && p.name != "response" {
		t.Errorf("%s: every verdict is the same: %v", p.name, seen)
	}
	if s := f.Stats(); s.Thrown > 0 {
		t.Errorf("%s: %d instances thrown away: %v", p.name, s.Thrown, s.Traps)
	}
	return len(calls)
}

// opaText is a verdict in one line, whatever its members' order.
func opaText(v *wasm.Verdict) string {
	body := "-"
	if len(v.Body) > 0 {
		body = sortedJSON(v.Body)
	}
	slices.Sort(v.Labels)
	return fmt.Sprintf("%s %q %q %q %v %s", v.Kind, v.Reason, v.Message, v.Labels, v.Scores, body)
}

func sortedJSON(b []byte) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// opaVerdict is what OPA's values come to by the rules that authors are told.
func opaVerdict(t *testing.T, c *abi.Context, values map[string]json.RawMessage) string {
	t.Helper()
	of := map[string]json.RawMessage{}
	for name, v := range values {
		of[name[strings.LastIndexByte(name, '/')+1:]] = v
	}
	deny := func(reason, message string) string {
		return opaText(&wasm.Verdict{Kind: wasm.Deny, Reason: reason, Message: message})
	}
	if d, ok := of["deny"]; ok {
		if messages := opaMessages(t, d); len(messages) > 0 {
			return deny("policy", strings.Join(messages, "; "))
		}
	}
	if a, ok := of["allow"]; ok {
		switch string(a) {
		case "true":
			return opaText(&wasm.Verdict{Kind: wasm.Pass})
		case "false":
			return deny("not_allowed", "")
		}
		return deny("undefined", "")
	}
	text := of["verdict"]
	if c.Phase == abi.Response {
		text = of["response"]
	}
	if string(text) == "null" {
		return deny("undefined", "")
	}
	return opaText(opaObject(t, text))
}

func opaMessages(t *testing.T, set json.RawMessage) (messages []string) {
	t.Helper()
	var all []any
	if err := json.Unmarshal(set, &all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if o, ok := m.(map[string]any); ok {
			m = o["msg"]
		}
		messages = append(messages, fmt.Sprint(m))
	}
	slices.Sort(messages)
	return messages
}

// opaObject reads a verdict with another parser than the host's.
func opaObject(t *testing.T, text json.RawMessage) *wasm.Verdict {
	t.Helper()
	var o struct {
		Verdict, Reason, Message string
		Labels                   []string
		Scores                   map[string]int64
		Arguments, Result        json.RawMessage
	}
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	v := &wasm.Verdict{Kind: map[string]wasm.Kind{"pass": wasm.Pass, "deny": wasm.Deny, "rewrite": wasm.Rewrite}[o.Verdict], Reason: o.Reason, Message: o.Message, Labels: o.Labels}
	for name, n := range o.Scores {
		v.Scores = append(v.Scores, wasm.Score{Name: name, Value: n})
	}
	v.Body = append(v.Body, o.Arguments...)
	v.Body = append(v.Body, o.Result...)
	return v
}

// regoCalls generates the calls that a policy is asked about, the same on every run.
func regoCalls(p regoPolicy) []*abi.Context {
	r := rand.New(rand.NewPCG(7, uint64(len(p.name))))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	var calls []*abi.Context
	for i := range regoInputs {
		c := &abi.Context{
			Tenant: "org_1", Agent: pick("agt_1", "agt_2", "agt_3"), User: pick("usr_1", "adm_7", "é"), Op: pick("tools/call", "tools/call", "prompts/get"),
			Server: pick("files", "db", "other"), Tool: pick("read", "list", "query", "drop_all"), Now: 1_700_000_000_123, Labels: []string{"a:b"},
		}
		members := map[string]any{}
		for range r.IntN(5) {
			members[pick("a", "n", "level", "query", "é\"", "secret")] = regoValue(r, pick, 2)
		}
		c.Body, _ = json.Marshal(members) // what it is made of can be written
		if slices.Contains(p.entrypoints, "filters/response") && i%2 == 1 {
			c.Phase = abi.Response
		}
		calls = append(calls, c)
	}
	return calls
}

func regoValue(r *rand.Rand, pick func(...string) string, depth int) any {
	switch n := r.IntN(9); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(2) == 0
	case n == 2:
		return r.IntN(300) - 50
	case n == 3:
		return float64(r.IntN(4000)) / 16
	case n <= 5 || depth == 0:
		return pick("sk-12345", "sk-abcd9", "DROP table x", "truncate it", "", "12", "7", "a b\tc", "日本", "<&>")
	case n == 6:
		return []any{regoValue(r, pick, depth-1), regoValue(r, pick, depth-1)}
	case n == 7:
		return map[string]any{"k": regoValue(r, pick, depth-1), "j": 1}
	}
	return json.Number(pick("9007199254740991", "-0.5", "150", "1000"))
}

// opaQuestion and opaAnswer are those of conformance/opa.
type opaQuestion struct {
	Module      string            `json:"module"`
	Entrypoints []string          `json:"entrypoints"`
	Data        json.RawMessage   `json:"data,omitempty"`
	Now         int64             `json:"now"`
	Inputs      []json.RawMessage `json:"inputs"`
}

type opaAnswer struct {
	Wasm    []byte
	Results []map[string]json.RawMessage
	Error   string
}

// opaPeer builds conformance/opa and asks it.
func opaPeer(t *testing.T) func(opaQuestion) opaAnswer {
	t.Helper()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	bin := filepath.Join(t.TempDir(), "opa")
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-o", bin, ".")
	cmd.Dir, cmd.Env = filepath.Join(top, "conformance", "opa"), append(os.Environ(), "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("conformance/opa does not build, perhaps for want of its modules: %v\n%s", err, b)
		}
		t.Fatalf("build conformance/opa: %v\n%s", err, b)
	}
	return func(q opaQuestion) (a opaAnswer) {
		in, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, bin)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &a)
		}
		if err != nil {
			t.Fatalf("conformance/opa: %v", err)
		}
		return a
	}
}
