package connectortest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/connector/connectortest"
	"go.uber.org/goleak"
)

// flawName says what is wrong with this test binary when it is a connector.
const flawName = "FLAW"

func TestMain(m *testing.M) {
	if flaw := os.Getenv(flawName); flaw != "" {
		os.Exit(serve(flaw))
	}
	goleak.VerifyTestMain(m)
}

// candidate is this binary with a flaw.
func candidate(flaw string) connectortest.Candidate {
	return connectortest.Candidate{
		Path: os.Args[0], Env: []string{flawName + "=" + flaw},
		Example: connectortest.Example{Tool: "add", Arguments: `{"a":1,"b":2}`, Want: "3"},
	}
}

func add(_ context.Context, args []byte) (connector.Reply, error) {
	var in struct{ A, B int }
	if err := json.Unmarshal(args, &in); err != nil {
		return connector.Failed(err.Error()), nil
	}
	return connector.JSON(map[string]int{"sum": in.A + in.B})
}

// serve is a connector's main.
func serve(flaw string) int {
	good, err := connector.Tools(connector.Tool{
		Name: "add", Description: "Adds two numbers.", Handle: add,
		InputSchema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}}`),
	})
	if err != nil {
		return 1
	}
	info := connector.Info{Name: "sums", Version: "1"}
	switch flaw {
	case "talks first":
		fmt.Println("welcome")
		time.Sleep(time.Minute)
	case "dies at start":
		fmt.Fprintln(os.Stderr, "no licence")
		return 3
	case "no name":
		info.Name = ""
	case "ignores SIGTERM":
		go connector.Serve(info, flawed{flaw, good})
		time.Sleep(time.Minute)
	case "sleeper": // no connector, but what one has started
		time.Sleep(time.Minute)
		return 0
	}
	return connector.Serve(info, flawed{flaw, good})
}

// flawed is a server with a flaw.
type flawed struct {
	flaw string
	good connector.Server
}

var calls atomic.Int64

func (f flawed) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	n := calls.Add(1)
	if f.flaw == "ignores SIGTERM" { // Serve listens for it by now
		signal.Ignore(syscall.SIGTERM)
	}
	result := func(s string) (connector.Reply, error) { return connector.Reply{Result: []byte(s)}, nil }
	tools := func(s string) (connector.Reply, error) { return result(`{"tools":[` + s + `]}`) }
	example := string(r.Arguments) == `{"a":1,"b":2}`
	type call struct{ flaw, method string }
	switch (call{f.flaw, r.Method}) {
	case call{"list no JSON", "tools/list"}:
		return tools(`{`)
	case call{"list refused", "tools/list"}:
		return connector.Reply{Error: []byte(`{"code":-32603,"message":"no"}`)}, nil
	case call{"list without tools", "tools/list"}:
		return result(`{}`)
	case call{"two of a name", "tools/list"}:
		return tools(`{"name":"add","inputSchema":{"type":"object"}},{"name":"add","inputSchema":{"type":"object"}}`)
	case call{"no schema", "tools/list"}:
		return tools(`{"name":"add"}`)
	case call{"schema of text", "tools/list"}:
		return tools(`{"name":"add","inputSchema":{"type":"string"}}`)
	case call{"odd output", "tools/list"}:
		return tools(`{"name":"add","inputSchema":{"type":"object"},"outputSchema":[]}`)
	case call{"odd title", "tools/list"}:
		return tools(`{"name":"add","title":1,"inputSchema":{"type":"object"}}`)
	case call{"unnamed", "tools/list"}:
		return tools(`{"name":"","inputSchema":{"type":"object"}}`)
	case call{"endless list", "tools/list"}:
		return result(`{"tools":[],"nextCursor":"again"}`)
	case call{"fickle", "tools/list"}:
		return tools(fmt.Sprintf(`{"name":"add","description":"%d","inputSchema":{"type":"object"}}`, n))
	case call{"shuffles", "tools/list"}:
		a, b := `{"name":"add","inputSchema":{"type":"object"}}`, `{"name":"sub","inputSchema":{"type":"object"}}`
		if n%2 == 0 {
			a, b = b, a
		}
		return tools(a + "," + b)
	case call{"wrong sum", "tools/call"}:
		return connector.Text("4"), nil
	case call{"no content", "tools/call"}:
		return result(`{"sum":3}`)
	case call{"error as result", "tools/call"}:
		return connector.Failed("3"), nil
	case call{"takes any tool", "tools/call"}:
		if r.Name != "add" {
			return connector.Text("done"), nil
		}
	case call{"takes any method", "no/such_method"}:
		return result(`{}`)
	case call{"odd error", "no/such_method"}:
		return connector.Reply{Error: []byte(`{"code":1,"message":""}`)}, nil
	case call{"acts on demand", "tools/call"}:
		if reply, acted, err := act(r); acted {
			return reply, err
		}
	case call{"panics on bad arguments", "tools/call"}:
		if r.Name == "add" && !example {
			panic("no a")
		}
	case call{"exits on bad arguments", "tools/call"}:
		if r.Name == "add" && !example {
			os.Exit(7)
		}
	case call{"chokes on large", "tools/call"}:
		if len(r.Arguments) > 1<<16 {
			return connector.Reply{}, errors.New("too long")
		}
	case call{"one at a time", "tools/call"}:
		if example && n > 20 {
			return f.oneAtATime(ctx, r)
		}
	case call{"second start fails", "tools/call"}, call{"second start differs", "tools/list"}:
		return f.second(ctx, r)
	case call{"leaves a process", "tools/call"}:
		return f.leave(ctx, r)
	}
	return f.good.Call(ctx, r)
}

// act does what the arguments say, if they do.
func act(r *connector.Request) (reply connector.Reply, acted bool, err error) {
	var in struct{ Do string }
	_ = json.Unmarshal(r.Arguments, &in) // it is no demand then
	switch in.Do {
	case "panic":
		panic("on demand")
	case "exit":
		os.Exit(7)
	case "exit later":
		go func() {
			time.Sleep(20 * time.Millisecond)
			panic("in the background")
		}()
		return connector.Text("done"), true, nil
	case "fail":
		return connector.Reply{}, true, errors.New("cannot")
	}
	return reply, false, nil
}

var busy atomic.Bool

func (f flawed) oneAtATime(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	if busy.Swap(true) {
		return connector.Reply{}, &connector.Failure{Kind: connector.Busy, Detail: "one at a time"}
	}
	defer busy.Store(false)
	time.Sleep(time.Millisecond)
	return f.good.Call(ctx, r)
}

// second fails in every process but the first.
func (f flawed) second(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	mark, err := os.OpenFile(os.Getenv("MARK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return connector.Reply{}, err
	}
	defer mark.Close()
	first := make([]byte, 20)
	n, _ := mark.Read(first)
	pid := fmt.Sprint(os.Getpid())
	switch {
	case n == 0:
		_, err = mark.WriteString(pid)
	case string(first[:n]) != pid && r.Method == "tools/list":
		return connector.Reply{Result: []byte(`{"tools":[]}`)}, nil
	case string(first[:n]) != pid:
		err = errors.New("I am the second")
	}
	if err != nil {
		return connector.Reply{}, err
	}
	return f.good.Call(ctx, r)
}

var leftOne atomic.Bool

func (f flawed) leave(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	if leftOne.Swap(true) {
		return f.good.Call(ctx, r)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), flawName+"=sleeper")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return connector.Reply{}, err
	}
	return f.good.Call(ctx, r)
}

func TestAGoodConnectorPasses(t *testing.T) {
	connectortest.Run(t, candidate("none"))
}

func TestAGoodConnectorWithoutAnExamplePasses(t *testing.T) {
	c := candidate("none")
	c.Example = connectortest.Example{}
	var names []string
	err := connectortest.Check(t.Context(), c, func(name string, err error, d time.Duration) {
		if names = append(names, name); err != nil || d <= 0 {
			t.Errorf("%s: %v after %v", name, err, d)
		}
	})
	if err != nil || len(names) != 13 || slices.Contains(names, "makes the example call") {
		t.Errorf("%q, %v", names, err)
	}
}

// TestFlawsAreFound: each flaw fails the check that is there for it.
func TestFlawsAreFound(t *testing.T) {
	for flaw, want := range map[string][2]string{ // the first check that fails, and what it says
		"dies at start":           {"starts", "no licence"},
		"talks first":             {"starts", "first line on its stdout"},
		"no name":                 {"starts", "no name"},
		"list no JSON":            {"lists its tools", "strict JSON"},
		"list refused":            {"lists its tools", "-32603"},
		"list without tools":      {"lists its tools", "no array"},
		"two of a name":           {"lists its tools", `called "add"`},
		"no schema":               {"lists its tools", "inputSchema is not an object"},
		"schema of text":          {"lists its tools", `is not "object"`},
		"odd output":              {"lists its tools", "outputSchema is not an object"},
		"odd title":               {"lists its tools", "title is not a string"},
		"unnamed":                 {"lists its tools", "1 to 128"},
		"endless list":            {"lists its tools", "repeats a cursor"},
		"fickle":                  {"lists the same again", "tool 0 was"},
		"shuffles":                {"lists the same again", "tool 0 was"},
		"wrong sum":               {"makes the example call", `lacks "3"`},
		"no content":              {"makes the example call", "no array"},
		"error as result":         {"makes the example call", "answered with the error"},
		"takes any tool":          {"refuses an unknown tool", "not listed"},
		"takes any method":        {"refuses an unknown method", "-32601"},
		"odd error":               {"refuses an unknown method", "-32601"},
		"panics on bad arguments": {"answers bad arguments", "panicked"},
		"exits on bad arguments":  {"answers bad arguments", "unreachable"},
		"chokes on large":         {"takes a large argument", "too long"},
		"one at a time":           {"takes many calls at once", "one at a time"},
		"second start fails":      {"starts anew without a gap", "I am the second"},
		"second start differs":    {"starts anew without a gap", "and then 0"},
		"ignores SIGTERM":         {"ends on SIGTERM within the grace", "was killed"},
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			c := candidate(flaw)
			c.Env = append(c.Env, "MARK="+filepath.Join(t.TempDir(), "mark"))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var first [2]string
			err := connectortest.Check(ctx, c, func(name string, err error, _ time.Duration) {
				if err != nil && first[0] == "" && name != "leaves nothing behind" { // others run beside this one
					first = [2]string{name, err.Error()}
					if name != "ends on SIGTERM within the grace" {
						cancel() // the rest is of no interest
					}
				}
			})
			if err == nil || first[0] != want[0] || !strings.Contains(first[1], want[1]) {
				t.Errorf("%q failed: %s; %v", first[0], first[1], err)
			}
		})
	}
}

// TestWhatAConnectorStartedEndsWithIt: the runtime sees to it, and the checks see
// that it did.
func TestWhatAConnectorStartedEndsWithIt(t *testing.T) {
	if err := connectortest.Check(t.Context(), candidate("leaves a process"), func(name string, err error, _ time.Duration) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}); err != nil {
		t.Error(err)
	}
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, e := range entries {
		if env, _ := os.ReadFile(e); bytes.Contains(env, []byte(flawName+"=sleeper")) {
			t.Errorf("%s is left", e)
		}
	}
}

// TestEachCallMustBeAnsweredByAProcessThatLivesOn: nothing else shows what a tool does.
func TestEachCallMustBeAnsweredByAProcessThatLivesOn(t *testing.T) {
	for args, want := range map[string]string{
		`{"a":1}`: "", `{"a":"x"}`: "answered with the error", `{"do":"panic"}`: "panicked", `{"do":"exit"}`: "did not live on",
		`{"do":"exit later"}`: "did not live on", `{"do":"fail"}`: "cannot",
	} {
		c := candidate("acts on demand")
		c.Example, c.Calls = connectortest.Example{}, []connectortest.Example{{Tool: "add", Arguments: args}, {Tool: "sub"}}
		var tools, uncalled, begun int
		got := map[string]string{}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		err := connectortest.Watch(ctx, c, connectortest.Observer{
			Begins: func(_ string, limit time.Duration) { begun += int(limit / time.Second) },
			Listed: func(n, left int) { tools, uncalled = n, left },
			Ends: func(name string, err error, _ time.Duration) {
				if got[name] = "ok"; err != nil {
					got[name] = err.Error()
				}
				if name == "refuses an unknown tool" {
					cancel() // the rest is of no interest
				}
			},
		})
		cancel()
		if said := got["calls add"]; err == nil || said == "" || (said == "ok") != (want == "") || !strings.Contains(said, want) {
			t.Errorf("%s: %q", args, said)
		}
		if !strings.Contains(got["calls sub"], `no tool "sub"`) || got["refuses an unknown tool"] != "ok" || tools != 1 || uncalled != 0 || begun != 30 {
			t.Errorf("%s: %q, %d of %d not called, %d s", args, got, uncalled, tools, begun)
		}
	}
}

// TestAReasonIsGivenOnce: a program that dies at each start says the same each time.
func TestAReasonIsGivenOnce(t *testing.T) {
	for _, flaw := range []string{"dies at start", "talks first"} {
		began := time.Now()
		var got []error
		err := connectortest.Check(t.Context(), candidate(flaw), func(_ string, err error, _ time.Duration) { got = append(got, err) })
		if err == nil || len(got) != 1 || time.Since(began) > 5*time.Second {
			t.Fatalf("%s: %v, %v after %s", flaw, got, err, time.Since(began))
		}
		var silent interface{ NoHandshake() bool }
		if !errors.As(got[0], &silent) || !silent.NoHandshake() || strings.Count(got[0].Error(), "no licence")+strings.Count(got[0].Error(), "welcome") != 1 {
			t.Errorf("%s: %v", flaw, got[0])
		}
	}
}

func TestAProgramThatCannotBeStartedIsAnError(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, path := range []string{"/nonexistent/program", t.TempDir()} {
		err := connectortest.Check(t.Context(), connectortest.Candidate{Path: path}, func(name string, err error, _ time.Duration) {
			if err == nil {
				t.Errorf("%s passed", name)
			}
		})
		if err == nil {
			t.Errorf("%s passed", path)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}
