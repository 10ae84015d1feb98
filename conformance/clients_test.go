package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// Clients and servers that nobody here wrote meet through the gateway. A client gets the address and the key of
// demo.env and a token, and nothing else.

// job is what a client is asked to do.
type job struct {
	URL   string            `json:"url"`
	Key   string            `json:"key"`
	Token string            `json:"token"`
	Era   string            `json:"era"`
	Tool  string            `json:"tool"`
	Calls []json.RawMessage `json:"calls"`

	upstream *upstreamServer
}

// happened is what the client says came of it.
type happened struct {
	Protocol string
	Tools    []string
	Calls    []struct {
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
			Data    json.RawMessage
		}
	}
	Failed string
}

// upstreamServer is a server behind the gateway with a call to plan.
type upstreamServer struct {
	name, tool         string
	right, wrong, want string
}

var (
	demoServer   = &upstreamServer{"demo", "calculate", `{"expression":"6*7"}`, `{"expression":"6*8"}`, "42"}
	npmServer    = &upstreamServer{"npm", "get-sum", `{"a":2,"b":40}`, `{"a":2,"b":41}`, "42"}
	goServer     = &upstreamServer{"gosdk", "json_schema_2020_12_tool", `{"name":"Ada","contactMethod":"email","email":"a@b.example"}`, `{"name":"Ada","contactMethod":"email","email":"m@b.example"}`, ""}
	outsideNames = []*upstreamServer{demoServer, npmServer, goServer}
)

// outside starts a gateway in front of both outside servers.
func outside(t testing.TB) *Gateway {
	t.Helper()
	return start(t, Setup{HCL: fmt.Sprintf(`
server "npm" {
  tenant        = "demo"
  url           = %q
  allow_private = true
}
server "gosdk" {
  tenant        = "demo"
  url           = %q
  allow_private = true
}
`, legacyServer(t), modernServer(t))})
}

// plannedWithTheBinary captures a plan of the right call, twice, and takes a token, by the commands of the binary.
func plannedWithTheBinary(t testing.TB, g *Gateway, s *upstreamServer) string {
	t.Helper()
	p := g.run(t, "", nil, "plan", "--tool", s.name+"/"+s.tool, "--args", s.right, "--uses", "2", "--json")
	var captured struct{ ID string }
	if err := json.Unmarshal([]byte(p.out), &captured); err != nil || p.code != 0 {
		t.Fatalf("plan: %+v", p)
	}
	tok := g.run(t, "", nil, "token", captured.ID)
	if tok.code != 0 {
		t.Fatalf("token: %+v", tok)
	}
	return strings.TrimSpace(tok.out)
}

func jobFor(t testing.TB, g *Gateway, s *upstreamServer, era string) job {
	t.Helper()
	return job{
		URL: g.URL + "/mcp/" + s.name, Key: g.Key(), Token: plannedWithTheBinary(t, g, s), Era: era, Tool: s.tool,
		Calls: []json.RawMessage{json.RawMessage(s.right), json.RawMessage(s.wrong)}, upstream: s,
	}
}

// do has a client do its jobs and checks what came of each.
func do(t *testing.T, g *Gateway, cmd *exec.Cmd, jobs []job) {
	t.Helper()
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%.4000s", err, errOut.String())
	}
	var results []happened
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != len(jobs) {
		t.Fatalf("%v in %.4000s\n%.4000s", err, out.String(), errOut.String())
	}
	for i := range jobs {
		t.Run(jobs[i].upstream.name+" "+jobs[i].Era, func(t *testing.T) { judge(t, g, &jobs[i], &results[i]) })
	}
}

func judge(t *testing.T, g *Gateway, j *job, h *happened) {
	t.Helper()
	if h.Failed != "" {
		t.Fatalf("the client failed: %s", h.Failed)
	}
	if isModern := h.Protocol == "2026-07-28"; isModern != (j.Era == "modern") {
		t.Errorf("spoke %s, want the %s era", h.Protocol, j.Era)
	}
	if !slices.Contains(h.Tools, j.Tool) {
		t.Errorf("tools/list shows %v, not %s", h.Tools, j.Tool)
	}
	if len(h.Calls) != 2 || h.Calls[0].Error != nil || h.Calls[1].Error == nil {
		t.Fatalf("want an answer and a refusal, got %+v", h.Calls)
	}
	var result struct {
		Content []struct{ Text string }
		IsError bool
		Meta    map[string]json.RawMessage `json:"_meta"`
	}
	if err := json.Unmarshal(h.Calls[0].Result, &result); err != nil {
		t.Fatal(err)
	}
	if result.IsError || len(result.Content) == 0 || !strings.Contains(result.Content[0].Text, j.upstream.want) {
		t.Errorf("answered %s, want %q in it", h.Calls[0].Result, j.upstream.want)
	}
	var receipt string
	_ = json.Unmarshal(result.Meta["gatewright/receipt"], &receipt)
	standsInTheLedger(t, g, receipt, "settled", "")
	refusedCall(t, g, h.Calls[1].Error.Message, h.Calls[1].Error.Data)
}

// refusedCall checks a refusal as the client saw it: reason code, record id and receipt.
func refusedCall(t *testing.T, g *Gateway, text string, data json.RawMessage) {
	t.Helper()
	var d struct {
		Reason, Record string
		Receipt        string `json:"gatewright/receipt"`
	}
	if err := json.Unmarshal(data, &d); err != nil || d.Reason != "args_mismatch" {
		t.Fatalf("refused with data %s, want reason args_mismatch", data)
	}
	if !strings.Contains(text, d.Reason) || !strings.Contains(text, d.Record) {
		t.Errorf("the message %q does not name reason and record", text)
	}
	if id := standsInTheLedger(t, g, d.Receipt, "refused", d.Reason); id != d.Record {
		t.Errorf("the receipt is of %s, the answer names %s", id, d.Record)
	}
}

// standsInTheLedger verifies a receipt offline, looks its record up through the control port, and sees to it that the
// receipt changed in one byte does not verify.
func standsInTheLedger(t *testing.T, g *Gateway, receipt, kind, code string) (id string) {
	t.Helper()
	v := g.run(t, receipt, nil, "verify", "-", "--data", g.Dir, "--json")
	var said struct {
		Verified bool
		Record   struct{ ID, Kind, Code, Of string }
	}
	if err := json.Unmarshal([]byte(v.out), &said); err != nil || v.code != 0 || !said.Verified {
		t.Fatalf("verify %q: %+v", receipt, v)
	}
	r := g.find(t, said.Record.ID)
	if r.Kind != kind || r.Code != code || said.Record.Kind != kind || said.Record.Code != code {
		t.Errorf("ledger says %s, receipt %+v, want %s %s", r.Raw, said.Record, kind, code)
	}
	if kind == "settled" {
		if a := g.find(t, r.Of); a.Kind != "admitted" || a.Index >= r.Index {
			t.Errorf("settled record %s is of %s", r.Raw, a.Raw)
		}
	}
	pins, err := os.ReadFile(filepath.Join(g.Dir, "keys", "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ledger.ParseVerifierKeys(pins)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(i int) string {
		c := byte('A')
		if receipt[i] == c {
			c = 'B'
		}
		return receipt[:i] + string(c) + receipt[i+1:]
	}
	for i := range receipt {
		if p, err := ledger.ParseReceipt([]byte(changed(i))); err == nil && p.Verify(keys) == nil {
			t.Fatalf("still verifies with character %d changed", i)
		}
	}
	if v := g.run(t, changed(len(receipt)/2), nil, "verify", "-", "--data", g.Dir); v.code != 1 {
		t.Errorf("verify of a changed receipt: %+v", v)
	}
	return said.Record.ID
}

func TestStockClientsMakePlannedCalls(t *testing.T) {
	t.Parallel()
	g := outside(t)
	all := func(eras ...string) (jobs []job) {
		for _, s := range outsideNames {
			for _, era := range eras {
				jobs = append(jobs, jobFor(t, g, s, era))
			}
		}
		return jobs
	}
	t.Run("TypeScript SDK 1", func(t *testing.T) {
		t.Parallel()
		do(t, g, node(t, "sdk1.mjs"), all("legacy"))
	})
	t.Run("TypeScript SDK 2", func(t *testing.T) {
		t.Parallel()
		do(t, g, node(t, "sdk2.mjs"), all("legacy", "modern"))
	})
	t.Run("Python SDK", func(t *testing.T) {
		t.Parallel()
		do(t, g, python(t, "client.py"), all("legacy", "modern"))
	})
	t.Run("Inspector", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			era string
			s   *upstreamServer
		}{{"legacy", goServer}, {"modern", npmServer}, {"modern", demoServer}} {
			t.Run(c.s.name+" "+c.era, func(t *testing.T) { inspect(t, g, c.s, c.era) })
		}
	})
	t.Run("all servers on one address", func(t *testing.T) {
		t.Parallel()
		j := jobFor(t, g, npmServer, "modern")
		j.URL, j.Tool = g.URL+"/mcp", "npm__get-sum"
		do(t, g, node(t, "sdk2.mjs"), []job{j})
	})
}

// inspect does with the Inspector's command line what the other clients do with a library.
func inspect(t *testing.T, g *Gateway, s *upstreamServer, era string) {
	j := jobFor(t, g, s, era)
	args := func(more ...string) []string {
		return append([]string{
			j.URL, "--transport", "http", "--protocol-era", era, "--header", "Authorization: Bearer " + j.Key,
			"Gatewright-Intent: " + j.Token, "--method",
		}, more...)
	}
	say := func(more ...string) (string, string, error) {
		cmd := inspector(t, args(more...)...)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err := cmd.Run()
		return out.String(), errOut.String(), err
	}
	call := func(text string) []string {
		var members map[string]any
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			t.Fatal(err)
		}
		more := []string{"tools/call", "--tool-name", s.tool}
		for name, value := range members {
			more = append(more, "--tool-arg", fmt.Sprintf("%s=%v", name, value))
		}
		return more
	}
	out, errOut, err := say("tools/list")
	if err != nil || !strings.Contains(out, `"`+s.tool+`"`) {
		t.Fatalf("tools/list: %v\n%.2000s%.2000s", err, out, errOut)
	}
	out, errOut, err = say(call(s.right)...)
	var result struct {
		Content []struct{ Text string }
		Meta    map[string]json.RawMessage `json:"_meta"`
	}
	if err != nil || json.Unmarshal([]byte(out), &result) != nil || len(result.Content) == 0 || !strings.Contains(result.Content[0].Text, s.want) {
		t.Fatalf("tools/call: %v\n%.2000s%.2000s", err, out, errOut)
	}
	var receipt string
	_ = json.Unmarshal(result.Meta["gatewright/receipt"], &receipt)
	standsInTheLedger(t, g, receipt, "settled", "")
	out, errOut, err = say(call(s.wrong)...)
	if err == nil || !strings.Contains(out+errOut, "args_mismatch") || !strings.Contains(out+errOut, "rec_") {
		t.Fatalf("a call with another argument: %v\n%.2000s%.2000s", err, out, errOut)
	}
	id := out + errOut
	id = id[strings.Index(id, "rec_"):][:30]
	if r := g.find(t, id); r.Kind != "refused" || r.Code != "args_mismatch" {
		t.Errorf("the ledger says %s", r.Raw)
	}
}
