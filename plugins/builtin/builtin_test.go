package builtin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/connector/connectortest"
	"github.com/gatewright/gatewright/plugins/stdio"
)

// TestMain is also the gateway's binary as it runs a connector, and an MCP server that such a connector runs.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == builtin.Verb:
		os.Exit(builtin.Serve(os.Args[2], makers, os.Getenv, os.Stderr))
	case os.Getenv("BUILTIN_PART") == "server":
		serveTools()
	default:
		goleak.VerifyTestMain(m)
	}
}

var makers = map[string]builtin.Maker{builtin.HTTP: httpServer}

// httpServer stands for the maker that the gateway passes.
func httpServer(config []byte, _ io.Writer) (connector.Server, error) {
	if string(config) != `{"url":"https://x.example"}` {
		return nil, fmt.Errorf("configured with %q", config)
	}
	return connector.Tools(connector.Tool{Name: "t", Handle: func(context.Context, []byte) (connector.Reply, error) { return connector.Text("over http"), nil }})
}

// serveTools is an MCP server written with the official library.
func serveTools() {
	type in struct {
		Text string `json:"text"`
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "die"}, func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		os.Exit(7)
		return nil, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "fork"}, func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		cmd := exec.Command("sh", "-c", "setsid sleep 60 & exit 0") // its parent is gone at once
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return &mcp.CallToolResult{}, nil, cmd.Run()
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		os.Exit(1)
	}
}

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestNothingIsServedByHand(t *testing.T) {
	for _, kind := range []string{builtin.Demo, builtin.Stdio, builtin.HTTP, "other", ""} {
		var out bytes.Buffer
		code := builtin.Serve(kind, makers, environment(nil), &out)
		if code != 2 || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "by hand") {
			t.Errorf("%s: exit %d, %q", kind, code, out.String())
		}
	}
}

func TestWhatCannotBeStartedSaysWhyInOneLine(t *testing.T) {
	for _, c := range []struct {
		kind, config, want string
		makers             map[string]builtin.Maker
		code               int
	}{
		{"other", "", "no such kind", makers, 2},
		{"", "", "no such kind", makers, 2},
		{"Demo", "", "no such kind", makers, 2},
		{builtin.HTTP, "{}", "no such kind", nil, 2},
		{builtin.HTTP, "{}", `configured with "{}"`, makers, 1},
		{builtin.Stdio, "", "read the configuration", makers, 1},
		{builtin.Stdio, `{"path":"/x","shell":true}`, "shell", makers, 1},
		{builtin.Stdio, `{"path":"/nonexistent/server"}`, "no such file", makers, 1},
	} {
		var out bytes.Buffer
		code := builtin.Serve(c.kind, c.makers, environment(map[string]string{
			connector.Handshake.MagicCookieKey: connector.Handshake.MagicCookieValue, builtin.ConfigVariable: c.config,
		}), &out)
		if code != c.code || !strings.Contains(out.String(), c.want) || !strings.HasSuffix(out.String(), "\n") {
			t.Errorf("%s %s: exit %d, %q", c.kind, c.config, code, out.String())
		}
	}
}

// run has the gateway's runtime start a built-in connector.
func run(t *testing.T, kind string, config []byte) *plugins.Connector {
	t.Helper()
	conf := plugins.DefaultConfig()
	conf.BackoffMin, conf.BackoffMax, conf.StopTimeout = 10*time.Millisecond, 20*time.Millisecond, 5*time.Second
	c, err := plugins.New(plugins.Options{
		Config: conf, Tenant: "demo", Logger: slog.New(slog.DiscardHandler), Now: time.Now,
		Command: plugins.Command{Name: "server", Path: os.Args[0], Args: []string{builtin.Verb, kind}, Env: []string{builtin.ConfigVariable + "=" + string(config), "GORACE=atexit_sleep_ms=0", thisRun}, PassEnv: []string{"PATH"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, l := range c.Logs(100) {
				t.Log(l)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// stdioConfig is what the gateway writes for the test's MCP server.
func stdioConfig(t *testing.T) []byte {
	t.Helper()
	config, err := json.Marshal(stdio.Config{Path: os.Args[0], Env: []string{"BUILTIN_PART=server", "GORACE=atexit_sleep_ms=0", thisRun}, PassEnv: []string{"PATH"}})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func call(t *testing.T, c *plugins.Connector, tool, args string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var reply connector.Reply
	err := c.Call(ctx, &connector.Request{Method: "tools/call", Name: tool, Principal: "p", Arguments: []byte(args)}, &reply)
	return string(reply.Result) + string(reply.Error), err
}

func TestTheBuiltInConnectorsServe(t *testing.T) {
	for kind, c := range map[string]struct{ config, tool, args, want string }{
		builtin.Demo:  {"", "calculate", `{"expression":"6*7"}`, `"structuredContent":{"value":42}`},
		builtin.HTTP:  {`{"url":"https://x.example"}`, "t", `{}`, "over http"},
		builtin.Stdio: {string(stdioConfig(t)), "echo", `{"text":"hello"}`, "hello"},
	} {
		t.Run(kind, func(t *testing.T) {
			connected := run(t, kind, []byte(c.config))
			if got, err := call(t, connected, c.tool, c.args); err != nil || !strings.Contains(got, c.want) {
				t.Errorf("%s, %v", got, err)
			}
			var list connector.Reply
			if err := connected.Call(t.Context(), &connector.Request{Method: "tools/list", Principal: "p"}, &list); err != nil || !bytes.Contains(list.Result, []byte(`"name":"`+c.tool+`"`)) {
				t.Errorf("%s, %v", list.Result, err)
			}
			if s := connected.Stats(); s.Info != (connector.Info{Name: kind, Version: builtin.Version}) {
				t.Errorf("it calls itself %+v", s.Info)
			}
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", connected.Stats().PID))
			if c.config != "" && bytes.Contains(line, []byte(c.config)) {
				t.Errorf("its configuration stands on its command line: %q", line)
			}
		})
	}
}

func TestAServerThatDiesIsReplaced(t *testing.T) {
	c := run(t, builtin.Stdio, stdioConfig(t))
	_, err := call(t, c, "die", `{"text":""}`)
	fail, ok := errors.AsType[*connector.Failure](err)
	if !ok || fail.Kind != connector.Unreachable || !fail.Sent || !strings.Contains(fail.Detail, "exit status 7") {
		t.Errorf("%v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := call(t, c, "echo", `{"text":"again"}`)
		if err == nil && strings.Contains(got, "again") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, %v", got, err)
		}
	}
	s := c.Stats()
	if s.Starts != 2 || s.Crashes != 1 || s.Err == nil || !strings.Contains(s.Err.Error(), "exit status 1") {
		t.Errorf("%+v", s)
	}
	var said strings.Builder
	for _, l := range c.Logs(100) {
		fmt.Fprintln(&said, l)
	}
	if !strings.Contains(said.String(), "the server's process ended: exit status 7") {
		t.Errorf("the log says %s", said.String())
	}
}

// TestNothingOutlivesAConnector: neither its server nor what that left behind, however the connector ends.
func TestNothingOutlivesAConnector(t *testing.T) {
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			c := run(t, builtin.Stdio, stdioConfig(t))
			if got, err := call(t, c, "fork", `{"text":""}`); err != nil || strings.Contains(got, "isError") {
				t.Fatalf("%s, %v", got, err)
			}
			for deadline := time.Now().Add(10 * time.Second); len(offspring(t)) < 3; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("too few processes run: %v", offspring(t))
				}
			}
			pid := c.Stats().PID
			if how == "killed" {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				for deadline := time.Now().Add(10 * time.Second); c.Stats().PID == pid && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := c.Stop(ctx); err != nil {
				t.Error(err)
			}
			if left := offspring(t); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// thisRun is in the environment of all processes that this run of the tests has started, and of no other.
var thisRun = "BUILTIN_RUN=" + rand.Text()

// offspring are the processes of connectors that run.
func offspring(t *testing.T) (out []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		env, err2 := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || err2 != nil || pid == os.Getpid() {
			continue
		}
		if bytes.Contains(env, []byte(thisRun)) {
			line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			out = append(out, fmt.Sprintf("%d %q", pid, line))
		}
	}
	return out
}

// TestTheBuiltInConnectorsDoWhatIsAskedOfAny: the checks that authors of connectors have.
func TestTheBuiltInConnectorsDoWhatIsAskedOfAny(t *testing.T) {
	for kind, c := range map[string]struct {
		config  string
		example connectortest.Example
	}{
		builtin.Demo:  {"", connectortest.Example{Tool: "calculate", Arguments: `{"expression":"6*7"}`, Want: "42"}},
		builtin.Stdio: {string(stdioConfig(t)), connectortest.Example{Tool: "echo", Arguments: `{"text":"hello"}`, Want: "hello"}},
	} {
		t.Run(kind, func(t *testing.T) {
			connectortest.Run(t, connectortest.Candidate{
				Path: os.Args[0], Args: []string{builtin.Verb, kind}, Env: []string{builtin.ConfigVariable + "=" + c.config, "GORACE=atexit_sleep_ms=0"}, PassEnv: []string{"PATH"}, Example: c.example,
			})
		})
	}
}
