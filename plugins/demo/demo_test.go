package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/demo"
	"github.com/gatewright/gatewright/plugins/demo/demotest"
)

// connect opens a client session of one protocol version against a fresh demo.
func connect(t *testing.T, version string) *mcp.ClientSession {
	t.Helper()
	server := httptest.NewServer(demotest.Handler())
	t.Cleanup(server.Close)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(),
		&mcp.StreamableClientTransport{Endpoint: server.URL + demotest.Path, DisableStandaloneSSE: true},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	if got := session.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("negotiated %s, want %s", got, version)
	}
	return session
}

// caller makes a call and returns the structured content as compact JSON with sorted keys, or "error: text".
type caller func(tool, args string) string

// overHTTP calls in a session.
func overHTTP(t *testing.T, s *mcp.ClientSession) caller {
	return func(tool, args string) string {
		res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)})
		if err != nil {
			return "error: " + err.Error()
		}
		if res.IsError {
			return "error: " + res.Content[0].(*mcp.TextContent).Text
		}
		b, err := json.Marshal(res.StructuredContent)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// direct calls a connector's server without anything between.
func direct(t *testing.T, s connector.Server) caller {
	return func(tool, args string) string {
		reply, err := s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: tool, Arguments: []byte(args), Principal: "p"})
		if err != nil {
			t.Fatalf("%s %s: %v", tool, args, err)
		}
		if err := canon.Check(append(reply.Result, reply.Error...), canon.DefaultLimits()); err != nil {
			t.Errorf("%s %s: %v", tool, args, err)
		}
		var res struct {
			Content           []struct{ Type, Text string }
			StructuredContent any
			IsError           bool
		}
		switch {
		case reply.Error != nil:
			return "error: " + string(reply.Error)
		case json.Unmarshal(reply.Result, &res) != nil || len(res.Content) != 1 || res.Content[0].Type != "text":
			t.Fatalf("%s %s: %s", tool, args, reply.Result)
		case res.IsError:
			return "error: " + res.Content[0].Text
		}
		b, err := json.Marshal(res.StructuredContent)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// forms runs a test against the server as a connector and over HTTP in each era.
func forms(t *testing.T, test func(t *testing.T, call caller)) {
	t.Run("connector", func(t *testing.T) { test(t, direct(t, server(t))) })
	for _, version := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) { test(t, overHTTP(t, connect(t, version))) })
	}
}

func server(t testing.TB) connector.Server {
	t.Helper()
	s, err := demo.New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestArgumentsThatBreakTheSchemaAreRefused(t *testing.T) {
	forms(t, func(t *testing.T, call caller) {
		for _, c := range []struct{ tool, args string }{
			{"notes_add", `{"title":"a"}`},
			{"notes_add", `{"title":"","text":"x"}`},
			{"notes_add", `{"title":"a","text":"x","extra":1}`},
			{"notes_add", `{"title":"a","text":"x","tags":["Not Lower"]}`},
			{"notes_list", `{"limit":0}`},
			{"notes_search", `{"query":7}`},
			{"table_query", `{"table":"users"}`},
			{"table_query", `{"table":"orders","where":[{"column":"password","op":"eq","value":1}]}`},
			{"table_query", `{"table":"orders","limit":51}`},
			{"mail_send", `{"to":"nobody","subject":"s","body":"b"}`},
			{"page_fetch", `{"url":"http://169.254.169.254/latest"}`},
			{"wait", `{"seconds":31}`},
			{"wait", `{"seconds":-1}`},
			{"no_such_tool", `{}`},
		} {
			if got := call(c.tool, c.args); !strings.HasPrefix(got, "error: ") {
				t.Errorf("%s %s was accepted: %s", c.tool, c.args, got)
			}
		}
	})
}

func TestExpressionsThatAreNotArithmeticAreRefused(t *testing.T) {
	forms(t, func(t *testing.T, call caller) {
		for _, text := range []string{
			"1+", "(1", "1)", "1 2", "exec(1)", "sqrt 4", "1..2", "1/0", "sqrt(-1)", "2^9999", "a", "--", "1e5x",
			strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200), strings.Repeat("-", 400) + "1", strings.Repeat("2^", 200) + "2",
		} {
			if got := call("calculate", fmt.Sprintf(`{"expression":%q}`, text)); !strings.HasPrefix(got, "error: ") {
				t.Errorf("%q was accepted: %s", text, got)
			}
		}
	})
}

func TestEveryToolAnswersInEachForm(t *testing.T) {
	forms(t, func(t *testing.T, call caller) {
		for _, c := range []struct{ tool, args, want string }{
			{"notes_add", `{"title":"Lamp","text":"buy two"}`, `{"id":1,"tags":[],"text":"buy two","title":"Lamp"}`},
			{"notes_add", `{"title":"Desk","text":"x","tags":["home"]}`, `{"id":2,"tags":["home"],"text":"x","title":"Desk"}`},
			{"notes_list", `{"tag":"home"}`, `{"notes":[{"id":2,"tags":["home"],"text":"x","title":"Desk"}],"total":1}`},
			{"notes_search", `{"query":"LAMP"}`, `{"notes":[{"id":1,"tags":[],"text":"buy two","title":"Lamp"}],"total":1}`},
			{"table_query", `{"table":"orders","columns":["id"],"where":[{"column":"customer","op":"eq","value":"Ada"},{"column":"cents","op":"gt","value":8000}],"order_by":"id","descending":true}`,
				`{"rows":[{"id":1010},{"id":1006}],"total":2}`},
			{"calculate", `{"expression":"(2+3)*4^2 - -1 + sqrt(9) % 2"}`, `{"value":82}`},
			{"mail_send", `{"to":"a@b.example","subject":"s","body":"b"}`, `{"body":"b","id":1,"subject":"s","to":"a@b.example"}`},
			{"mail_outbox", `{"to":"a@b.example"}`, `{"mails":[{"body":"b","id":1,"subject":"s","to":"a@b.example"}],"total":1}`},
			{"page_fetch", `{"url":"https://demo.example/status"}`, `{"text":"All systems are working. Last incident: none this month.","title":"Status","url":"https://demo.example/status"}`},
			{"wait", `{"seconds":0.01}`, `{"seconds":0.01}`},
		} {
			if got := call(c.tool, c.args); got != c.want {
				t.Errorf("%s %s\n got %s\nwant %s", c.tool, c.args, got, c.want)
			}
		}
	})
}

func TestEveryToolIsDescribedAndClosed(t *testing.T) {
	s := connect(t, "2025-11-25")
	res, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Tools) != 9 {
		t.Errorf("%d tools, want 9", len(res.Tools))
	}
	for _, tool := range res.Tools {
		schema, _ := tool.InputSchema.(map[string]any)
		if schema["additionalProperties"] != false || tool.OutputSchema == nil || len(tool.Description) < 20 ||
			tool.Annotations.DestructiveHint == nil || tool.Annotations.OpenWorldHint == nil {
			t.Errorf("%s is not fully described", tool.Name)
		}
	}
}

// described is a tool as tools/list shows it, each part as it came.
type described struct {
	Name, Title, Description               string
	InputSchema, OutputSchema, Annotations json.RawMessage
}

// TestTheToolsAreTheSameAsEver: schemas are pinned and hashed by gateways in the field, so what both forms list must stay
// as it was first published, byte by byte.
func TestTheToolsAreTheSameAsEver(t *testing.T) {
	published, err := os.ReadFile("testdata/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(demotest.Handler())
	defer s.Close()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"a","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	req, _ := http.NewRequest(http.MethodPost, s.URL+demotest.Path, strings.NewReader(body))
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list",
	} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Result struct{ Tools json.RawMessage }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if want := bytes.ReplaceAll(published, []byte("\n"), nil); !bytes.Equal(answer.Result.Tools, want) {
		t.Errorf("over HTTP:\n%s\nwant\n%s", answer.Result.Tools, want)
	}
	reply, err := server(t).Call(t.Context(), &connector.Request{Method: "tools/list", Principal: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Tools []described }
	var want []described
	if err := errors.Join(json.Unmarshal(reply.Result, &list), json.Unmarshal(published, &want)); err != nil || len(want) != 9 {
		t.Fatalf("%d tools published, %v", len(want), err)
	}
	for i := range want {
		if i >= len(list.Tools) || !reflect.DeepEqual(list.Tools[i], want[i]) {
			t.Errorf("as a connector:\n%s\nwant %s", reply.Result, want[i].Name)
		}
	}
	if len(list.Tools) != len(want) {
		t.Errorf("%d tools, want %d", len(list.Tools), len(want))
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	reply, err := server(t).Call(ctx, &connector.Request{Method: "tools/call", Name: "wait", Arguments: []byte(`{"seconds":30}`)})
	if !errors.Is(err, context.DeadlineExceeded) || reply.Result != nil {
		t.Errorf("%s, %v", reply.Result, err)
	}
}

func TestWaitEndsWhenTheRequestIsCancelled(t *testing.T) {
	s := connect(t, "2026-07-28")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "wait", Arguments: json.RawMessage(`{"seconds":30}`)}); err == nil {
		t.Error("a cancelled wait returned a result")
	}
}
