package connector_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
)

func handle(context.Context, []byte) (connector.Reply, error) { return connector.Text("done"), nil }

func ask(t *testing.T, s connector.Server, r connector.Request) (result, failure map[string]any) {
	t.Helper()
	reply, err := s.Call(t.Context(), &r)
	if err != nil {
		t.Fatalf("%s: %v", r.Method, err)
	}
	if (reply.Result == nil) == (reply.Error == nil) {
		t.Fatalf("%s: not exactly one of result %q and error %q", r.Method, reply.Result, reply.Error)
	}
	if reply.Error != nil {
		if err := json.Unmarshal(reply.Error, &failure); err != nil {
			t.Fatalf("%s: %v", r.Method, err)
		}
		return nil, failure
	}
	if err := json.Unmarshal(reply.Result, &result); err != nil {
		t.Fatalf("%s: %v in %s", r.Method, err, reply.Result)
	}
	return result, nil
}

func TestToolsThatTheGatewayWouldRefuseAreRefused(t *testing.T) {
	good := connector.Tool{Name: "a", Handle: handle}
	for name, change := range map[string]func(*connector.Tool){
		"no name":            func(t *connector.Tool) { t.Name = "" },
		"a blank in a name":  func(t *connector.Tool) { t.Name = "a b" },
		"not ASCII":          func(t *connector.Tool) { t.Name = "ä" },
		"a long name":        func(t *connector.Tool) { t.Name = strings.Repeat("a", 129) },
		"no handler":         func(t *connector.Tool) { t.Handle = nil },
		"schema not JSON":    func(t *connector.Tool) { t.InputSchema = json.RawMessage(`{`) },
		"schema no object":   func(t *connector.Tool) { t.InputSchema = json.RawMessage(`true`) },
		"schema of a text":   func(t *connector.Tool) { t.InputSchema = json.RawMessage(`{"type":"string"}`) },
		"duplicate keys":     func(t *connector.Tool) { t.InputSchema = json.RawMessage(`{"type":"object","type":"object"}`) },
		"output of no type":  func(t *connector.Tool) { t.OutputSchema = json.RawMessage(`{}`) },
		"annotations a list": func(t *connector.Tool) { t.Annotations = json.RawMessage(`[]`) },
	} {
		bad := good
		change(&bad)
		if _, err := connector.Tools(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := connector.Tools(good, good); err == nil {
		t.Error("two tools of one name: taken")
	}
	if _, err := connector.Tools(good); err != nil {
		t.Error(err)
	}
}

func TestToolsAreListed(t *testing.T) {
	s, err := connector.Tools(connector.Tool{
		Name: "add", Title: "Sum", Description: `adds "all"`, Handle: handle,
		InputSchema: json.RawMessage(`{"type":"object","properties":{}}`), Annotations: json.RawMessage(`{"readOnlyHint":true}`),
	}, connector.Tool{Name: "bare", Handle: handle})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := s.Call(t.Context(), &connector.Request{Method: "tools/list"})
	want := `{"tools":[{"name":"add","title":"Sum","description":"adds \"all\"","inputSchema":{"type":"object","properties":{}},` +
		`"annotations":{"readOnlyHint":true}},{"name":"bare","inputSchema":{"type":"object"}}]}`
	if err != nil || string(reply.Result) != want {
		t.Errorf("listed %s, %v", reply.Result, err)
	}
	none, err := connector.Tools()
	if err != nil {
		t.Fatal(err)
	}
	if reply, err = none.Call(t.Context(), &connector.Request{Method: "tools/list"}); err != nil || string(reply.Result) != `{"tools":[]}` {
		t.Errorf("no tools are listed as %s, %v", reply.Result, err)
	}
}

func TestALargeListComesInPages(t *testing.T) {
	var list []connector.Tool
	for i := range 300 {
		list = append(list, connector.Tool{Name: fmt.Sprintf("t%d", i), Description: strings.Repeat("d", 1000), Handle: handle})
	}
	s, err := connector.Tools(list...)
	if err != nil {
		t.Fatal(err)
	}
	seen, pages, params := map[string]bool{}, 0, ""
	for {
		r := connector.Request{Method: "tools/list"}
		if params != "" {
			r.Params = []byte(params)
		}
		result, _ := ask(t, s, r)
		for _, tool := range result["tools"].([]any) {
			seen[tool.(map[string]any)["name"].(string)] = true
		}
		pages++
		next, more := result["nextCursor"]
		if !more {
			break
		}
		params = fmt.Sprintf(`{"cursor":%q}`, next)
	}
	if len(seen) != 300 || pages < 4 {
		t.Errorf("%d tools on %d pages", len(seen), pages)
	}
	for _, cursor := range []string{`"0"`, `"01"`, `"99"`, `"-1"`, `"x"`, `1`, `null`, `""`} {
		if _, failure := ask(t, s, connector.Request{Method: "tools/list", Params: []byte(`{"cursor":` + cursor + `}`)}); failure["code"] != -32602.0 {
			t.Errorf("cursor %s is answered %v", cursor, failure)
		}
	}
}

func TestToolCallsReachTheirHandler(t *testing.T) {
	boom := errors.New("boom")
	s, err := connector.Tools(
		connector.Tool{Name: "args", Handle: func(_ context.Context, args []byte) (connector.Reply, error) {
			return connector.Text(string(args)), nil
		}},
		connector.Tool{Name: "boom", Handle: func(context.Context, []byte) (connector.Reply, error) { return connector.Reply{}, boom }},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r    connector.Request
		text string // of the result
		code float64
	}{
		{r: connector.Request{Name: "args", Arguments: []byte(`{"a":"<b>"}`)}, text: `{"a":"<b>"}`},
		{r: connector.Request{Name: "args"}, text: `{}`},
		{r: connector.Request{Name: "args", Params: []byte(`{"name":"args","arguments":{"a":1}}`)}, text: `{"a":1}`},
		{r: connector.Request{Params: []byte(`{"name":"args","Arguments":{"a":1}}`)}, text: `{}`},
		{r: connector.Request{Name: "args", Arguments: []byte(`[1]`)}, code: -32602},
		{r: connector.Request{Params: []byte(`{"name":7}`)}, code: -32602},
		{r: connector.Request{Name: "nope"}, code: -32602},
	} {
		c.r.Method = "tools/call"
		result, failure := ask(t, s, c.r)
		if c.code != 0 {
			if failure["code"] != c.code {
				t.Errorf("%+v is answered %v %v", c.r, result, failure)
			}
			continue
		}
		content := result["content"].([]any)[0].(map[string]any)
		if content["type"] != "text" || content["text"] != c.text {
			t.Errorf("%+v is answered %v", c.r, result)
		}
	}
	if _, err := s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "boom"}); !errors.Is(err, boom) {
		t.Errorf("a handler's error came as %v", err)
	}
	if result, _ := ask(t, s, connector.Request{Method: "ping"}); len(result) != 0 {
		t.Errorf("ping is answered %v", result)
	}
	if _, failure := ask(t, s, connector.Request{Method: "resources/list"}); failure["code"] != -32601.0 {
		t.Errorf("an unknown method is answered %v", failure)
	}
}

func TestResultsAreWhatMCPWants(t *testing.T) {
	object, err := connector.JSON(map[string]any{"a": "<\x00>"})
	if err != nil || string(object.Result) != `{"content":[{"type":"text","text":"{\"a\":\"<\\u0000>\"}"}],"structuredContent":{"a":"<\u0000>"}}` {
		t.Errorf("an object is %s, %v", object.Result, err)
	}
	list, err := connector.JSON([]int{1, 2})
	if err != nil || string(list.Result) != `{"content":[{"type":"text","text":"[1,2]"}]}` {
		t.Errorf("a list is %s, %v", list.Result, err)
	}
	if _, err := connector.JSON(make(chan int)); err == nil {
		t.Error("a channel is JSON")
	}
	if f := connector.Failed("no \"x\"\xff"); string(f.Result) != `{"content":[{"type":"text","text":"no \"x\"�"}],"isError":true}` {
		t.Errorf("a failure is %s", f.Result)
	}
}
