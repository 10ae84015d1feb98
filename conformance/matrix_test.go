package conformance_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Every client that is said to work, every operation, both eras: clients as they come, servers of go-sdk, a built gateway with
// enforcement on between them.

// operation is what a client is asked to do, and came what it says came of it.
type operation struct {
	Op    string         `json:"op"`
	Name  string         `json:"name,omitempty"`
	URI   string         `json:"uri,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
	Times int            `json:"times,omitempty"`
}

type came struct {
	Job      int
	Op       string
	Protocol string
	Names    []string
	Text     string
	Progress []float64
	At       []int64 // when it gave up a call, Unix milliseconds
	Error    string
}

// errand is a connection and what is done over it.
type errand struct {
	URL        string      `json:"url"`
	Key        string      `json:"key"`
	Token      string      `json:"token"`
	Era        string      `json:"era"`
	Operations []operation `json:"operations"`
}

// outsider is a client. It meets a server of each era, unless it is said to meet its own era alone.
type outsider struct {
	name, era string
	cannot    []string // operations it has no way to do
	ownEra    bool
	run       func(testing.TB, []errand) []came
}

func outsiders() []outsider {
	ts1, ts2 := byScript(func(t testing.TB) *exec.Cmd { return node(t, "operations1.mjs") }), byScript(func(t testing.TB) *exec.Cmd { return node(t, "operations2.mjs") })
	py, fast := byScript(func(t testing.TB) *exec.Cmd { return python(t, "operations.py") }), byScript(func(t testing.TB) *exec.Cmd {
		cmd := python(t, "operations.py")
		cmd.Args = append(cmd.Args, "fastmcp")
		return cmd
	})
	// The Inspector's command line makes one request and goes: nobody can answer a question, and it shows no progress.
	once := []string{"elicit", "progress", "cancel"}
	return []outsider{
		{name: "TypeScript SDK 1.32", era: "legacy", run: ts1},
		{name: "TypeScript SDK 2.4", era: "legacy", run: ts2},
		{name: "TypeScript SDK 2.4", era: "modern", run: ts2},
		{name: "Inspector CLI 2.12", era: "legacy", run: byInspector, cannot: once, ownEra: true},
		{name: "Inspector CLI 2.12", era: "modern", run: byInspector, cannot: once, ownEra: true},
		{name: "mcp-remote 0.15 (stdio)", era: "legacy", run: byGo(bridged)},
		{name: "Python mcp 2.3", era: "legacy", run: py},
		{name: "Python mcp 2.3", era: "modern", run: py},
		{name: "fastmcp 4.1", era: "legacy", run: fast},
		{name: "fastmcp 4.1", era: "modern", run: fast},
		{name: "go-sdk 1.8", era: "legacy", run: byGo(direct)},
		{name: "go-sdk 1.8", era: "modern", run: byGo(direct)},
	}
}

// columns are the operations of the table: those of one server, and those of all servers on one address.
var columns = []string{"connect", "tools", "resources", "prompts", "call", "read", "prompt", "elicit", "progress", "cancel", "refuse", "/mcp tools", "/mcp call"}

const cancels = 3

func TestEveryClientDoesEveryOperation(t *testing.T) {
	t.Parallel()
	old, young := newPatient(t, olderEra), newPatient(t, newerEra)
	var hcl strings.Builder
	for _, s := range [][2]string{{"legacy", legacyFixture(t)}, {"modern", modernServer(t)}, {"legacy-slow", old.url}, {"modern-slow", young.url}} {
		fmt.Fprintf(&hcl, "server %q {\n  tenant        = \"demo\"\n  url           = %q\n  allow_private = true\n}\n", s[0], s[1])
	}
	g := start(t, Setup{HCL: hcl.String()})
	for _, s := range []string{"legacy", "modern"} {
		g.offers(t, s, "test_simple_text")
		g.offers(t, s+"-slow", "wait")
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-24s %-7s %-7s", "client", "era", "server")
	for _, c := range columns {
		fmt.Fprintf(&table, " %s", c)
	}
	for _, c := range outsiders() {
		for _, server := range []string{"legacy", "modern"} {
			if c.ownEra && server != c.era {
				continue
			}
			t.Run(c.name+" "+c.era+" to a "+server+" server", func(t *testing.T) {
				cells := meet(t, g, c, server, map[string]*patient{"legacy": old, "modern": young}[server])
				fmt.Fprintf(&table, "\n%-24s %-7s %-7s", c.name, c.era, server)
				for _, column := range columns {
					fmt.Fprintf(&table, " %-*s", len(column), cmp.Or(cells[column], "-"))
				}
			})
		}
	}
	t.Log(table.String())
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// meet has a client do all it can with a server, and judges it.
func meet(t *testing.T, g *Gateway, c outsider, server string, slow *patient) map[string]string {
	t.Helper()
	a := g.newAgent(t)
	token := a.openPlan(t, server)
	does := func(path string, ops ...operation) errand {
		ops = slices.DeleteFunc(ops, func(o operation) bool {
			return slices.Contains(c.cannot, o.Op)
		})
		return errand{URL: g.URL + path, Key: a.key, Token: token, Era: c.era, Operations: ops}
	}
	elicit := operation{Op: "elicit", Name: "test_elicitation", Args: map[string]any{"message": "who?"}}
	if server == "modern" {
		elicit = operation{Op: "elicit", Name: "test_input_required_result_elicitation"}
	}
	errands := []errand{
		does("/mcp/"+server,
			operation{Op: "tools"}, operation{Op: "resources"}, operation{Op: "prompts"},
			operation{Op: "call", Name: "test_simple_text"}, operation{Op: "read", URI: "test://static-text"}, operation{Op: "prompt", Name: "test_simple_prompt"},
			elicit, operation{Op: "progress", Name: "test_tool_with_progress"}, operation{Op: "refuse", Name: "test_image_content"}),
		does("/mcp", operation{Op: "tools"}, operation{Op: "call", Name: server + "__test_simple_text"}),
		does("/mcp/"+server+"-slow", operation{Op: "cancel", Name: "wait", Args: map[string]any{"who": a.id}, Times: cancels}),
	}
	if slices.Contains(c.cannot, "cancel") {
		errands = errands[:2]
	}
	got, cells := c.run(t, errands), map[string]string{}
	for job, e := range errands {
		for _, o := range append([]operation{{Op: "connect"}}, e.Operations...) {
			column := o.Op
			if job == 1 {
				column = "/mcp " + o.Op
			}
			i := slices.IndexFunc(got, func(r came) bool { return r.Job == job && r.Op == o.Op })
			err := errors.New("nothing came of it")
			if i >= 0 {
				err = wrongWith(&got[i], c.era, server, o.Name, a.id, slow)
			}
			cells[column] = "ok"
			if err != nil {
				cells[column] = "FAIL"
				t.Errorf("%s: %v", column, err)
			}
		}
	}
	return cells
}

// hinted is a refusal as it must be shown: the reason, the record and what to do.
var hinted = regexp.MustCompile(`no step of the plan calls this tool \[tool_mismatch rec_\w+\]\. capture a plan that does`)

// wrongWith says what is wrong with what came of an operation.
func wrongWith(r *came, era, server, name, who string, slow *patient) error {
	if r.Op == "refuse" {
		if !hinted.MatchString(r.Error) {
			return fmt.Errorf("the client shows %q, want the refusal with its hint", cmp.Or(r.Error, r.Text))
		}
		return nil
	}
	ok := r.Error == ""
	switch r.Op {
	case "connect":
		ok = ok && (r.Protocol == newerEra) == (era == "modern")
	case "tools":
		ok = slices.Contains(r.Names, "test_simple_text") || slices.Contains(r.Names, server+"__test_simple_text")
	case "resources":
		ok = slices.Contains(r.Names, "test://static-text")
	case "prompts":
		ok = slices.Contains(r.Names, "test_simple_prompt")
	case "call":
		ok = strings.Contains(r.Text, "This is a simple text response for testing.")
	case "read":
		ok = strings.Contains(r.Text, "This is the content of the static text resource.")
	case "prompt":
		ok = strings.Contains(r.Text, "This is a simple prompt for testing.")
	case "elicit":
		ok = strings.Contains(r.Text, "Hello, Ada!") || strings.Contains(r.Text, "action=accept") && strings.Contains(r.Text, "Ada")
	case "progress":
		ok = ok && slices.Equal(r.Progress, []float64{0, 50, 100})
	case "cancel":
		if ok {
			return slow.toldInTime(who, r.At)
		}
	}
	if !ok {
		return fmt.Errorf("%s %+v", name, *r)
	}
	return nil
}

// openPlan is a token for all that is asked of a server, but the one call that is to be refused.
func (a agent) openPlan(t testing.TB, server string) string {
	t.Helper()
	var steps []string
	for _, tool := range []string{"test_simple_text", "test_elicitation", "test_input_required_result_elicitation", "test_tool_with_progress"} {
		steps = append(steps, fmt.Sprintf(`{"server":%q,"tool":%q,"additional":true,"uses":0}`, server, tool))
	}
	steps = append(steps, fmt.Sprintf(`{"server":%q,"tool":"wait","additional":true,"uses":0}`, server+"-slow"),
		fmt.Sprintf(`{"op":"resources/read","server":%q,"tool":"test://static-text","uses":0}`, server),
		fmt.Sprintf(`{"op":"prompts/get","server":%q,"tool":"test_simple_prompt","uses":0}`, server))
	_, pass := a.planned(t, steps...)
	return pass.Token
}

// patient is a server with a tool that says that it has begun and waits until it is told to stop.
type patient struct {
	url  string
	mu   sync.Mutex
	told map[string][]time.Time
}

func newPatient(t testing.TB, era string) *patient {
	t.Helper()
	p := &patient{told: map[string][]time.Time{}}
	s := mcp.NewServer(&mcp.Implementation{Name: "patient", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, r *mcp.CallToolRequest, in struct {
		Who string `json:"who"`
	}) (*mcp.CallToolResult, any, error) {
		if err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1}); err != nil {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			p.told[in.Who] = append(p.told[in.Who], time.Now())
			return nil, nil, ctx.Err()
		case <-time.After(15 * time.Second):
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "nobody said anything"}}}, nil, nil
		}
	})
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{
		Stateless: era == newerEra, PropagateRequestCancellation: true, // a modern client gives up by leaving
	}))
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	p.url = web.URL
	return p
}

// toldInTime sees to it that the server was told of each call that was given up, in less than 250 ms on a machine that has the time:
// the swiftest of the calls counts, and none may take a second.
func (p *patient) toldInTime(who string, at []int64) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		p.mu.Lock()
		told := slices.Clone(p.told[who])
		p.mu.Unlock()
		if len(told) < cancels || len(at) != cancels {
			if time.Now().After(end) || len(at) != cancels {
				return fmt.Errorf("%d calls were given up, of %d the server was told", len(at), len(told))
			}
			continue
		}
		var took []time.Duration
		for i, when := range told {
			took = append(took, when.Sub(time.UnixMilli(at[i])))
		}
		if slices.Min(took) >= 250*time.Millisecond || slices.Max(took) >= time.Second {
			return fmt.Errorf("the server was told after %v", took)
		}
		return nil
	}
}

// byScript has a program do errands: JSON in, JSON lines out.
func byScript(program func(testing.TB) *exec.Cmd) func(testing.TB, []errand) []came {
	return func(t testing.TB, errands []errand) (all []came) {
		t.Helper()
		in, err := json.Marshal(errands)
		if err != nil {
			t.Fatal(err)
		}
		cmd := program(t)
		var out, errOut bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errOut
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%.4000s", err, errOut.String())
		}
		for line := range strings.Lines(out.String()) {
			var r came
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			all = append(all, r)
		}
		if t.Failed() || len(all) == 0 {
			t.Logf("%.4000s", errOut.String())
		}
		return all
	}
}
