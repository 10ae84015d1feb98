package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Tool is one tool of a connector.
type Tool struct {
	// Name is 1 to 128 letters, digits, '_', '-', '.' or '/'.
	Name string
	// Title and Description are for people and models; they may be empty.
	Title, Description string
	// InputSchema and OutputSchema are JSON Schemas of type object. Without an InputSchema any object is taken;
	// without an OutputSchema nothing is promised of results. Annotations is MCP's object of hints, or nil.
	InputSchema, OutputSchema, Annotations json.RawMessage
	// Handle does the work. args is a JSON object that the gateway has checked against InputSchema; it must not be
	// kept after Handle returns. What the agent should read as the tool's failure is a reply (see Failed); an error
	// becomes a failure of the connector, whose text agents do not see.
	Handle func(ctx context.Context, args []byte) (Reply, error)
}

const (
	maxToolName = 128      // MCP's bound
	pageBytes   = 64 << 10 // of one page of tools/list, unless a single tool is larger
)

// Codes of JSON-RPC errors.
const (
	codeNoMethod  = -32601
	codeBadParams = -32602
)

// Tools makes a server of tools. It answers tools/list, in pages if the list is large, tools/call and ping; any
// other method has a JSON-RPC error.
func Tools(list ...Tool) (Server, error) {
	s := &toolServer{tools: make(map[string]Tool, len(list))}
	var page []byte
	for _, t := range list {
		described, err := t.describe()
		if err != nil {
			return nil, fmt.Errorf("tool %q: %w", t.Name, err)
		}
		if _, twice := s.tools[t.Name]; twice {
			return nil, fmt.Errorf("tool %q: the name is taken", t.Name)
		}
		s.tools[t.Name] = t
		if len(page) > 0 && len(page)+len(described) > pageBytes {
			s.pages, page = append(s.pages, page), nil
		}
		if len(page) > 0 {
			page = append(page, ',')
		}
		page = append(page, described...)
	}
	s.pages = append(s.pages, page)
	for i := range s.pages {
		s.pages[i] = s.wrap(i)
	}
	return s, nil
}

// toolServer is the Server that Tools makes.
type toolServer struct {
	tools map[string]Tool
	pages [][]byte // results of tools/list
}

// wrap makes page i a result; the cursor to the next one is its number.
func (s *toolServer) wrap(i int) []byte {
	result := append([]byte(`{"tools":[`), s.pages[i]...)
	result = append(result, ']')
	if i+1 < len(s.pages) {
		result = fmt.Appendf(result, `,"nextCursor":"%d"`, i+1)
	}
	return append(result, '}')
}

// describe returns the tool as tools/list shows it.
func (t Tool) describe() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	if len(t.InputSchema) == 0 {
		t.InputSchema = json.RawMessage(`{"type":"object"}`)
	}
	described := canon.AppendString([]byte(`{"name":`), t.Name)
	for _, text := range []struct{ key, value string }{{"title", t.Title}, {"description", t.Description}} {
		if text.value != "" {
			described = canon.AppendString(fmt.Appendf(described, `,%q:`, text.key), text.value)
		}
	}
	for _, part := range []struct {
		key    string
		object json.RawMessage
		schema bool
	}{{"inputSchema", t.InputSchema, true}, {"outputSchema", t.OutputSchema, true}, {"annotations", t.Annotations, false}} {
		if len(part.object) == 0 {
			continue
		}
		if err := checkObject(part.object, part.schema); err != nil {
			return nil, fmt.Errorf("%s: %w", part.key, err)
		}
		described = append(fmt.Appendf(described, `,%q:`, part.key), part.object...)
	}
	return append(described, '}'), nil
}

func (t Tool) check() error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.' || r == '/')
	}
	switch {
	case len(t.Name) < 1 || len(t.Name) > maxToolName || slices.ContainsFunc([]rune(t.Name), odd):
		return fmt.Errorf("a name is 1 to %d letters, digits, '_', '-', '.' or '/'", maxToolName)
	case t.Handle == nil:
		return errors.New("it has no Handle")
	}
	return nil
}

// checkObject refuses what the gateway would refuse: anything but strict JSON of an object and, for a schema, of
// type object.
func checkObject(raw json.RawMessage, schema bool) error {
	if err := canon.Check(raw, canon.DefaultLimits()); err != nil {
		return err
	}
	if canon.KindOf(raw) != '{' {
		return errors.New("not a JSON object")
	}
	if kind, ok := canon.Get(raw, "type"); schema && (!ok || string(kind) != `"object"`) {
		return errors.New(`its "type" is not "object"`)
	}
	return nil
}

// Call answers one request.
func (s *toolServer) Call(ctx context.Context, r *Request) (Reply, error) {
	switch r.Method {
	case "tools/call":
		return s.call(ctx, r)
	case "tools/list":
		return s.list(r)
	case "ping":
		return Reply{Result: []byte(`{}`)}, nil
	}
	return rpcError(codeNoMethod, "this server has no method "+strconv.Quote(r.Method)), nil
}

func (s *toolServer) list(r *Request) (Reply, error) {
	cursor, ok := param(r.Params, "cursor")
	if !ok {
		return Reply{Result: s.pages[0]}, nil
	}
	text, err := canon.Unquote(cursor)
	if n, bad := strconv.Atoi(text); err == nil && bad == nil && n > 0 && n < len(s.pages) && strconv.Itoa(n) == text {
		return Reply{Result: s.pages[n]}, nil
	}
	return rpcError(codeBadParams, "the cursor is not one of this server's"), nil
}

func (s *toolServer) call(ctx context.Context, r *Request) (Reply, error) {
	name, args := r.Name, r.Arguments
	if raw, ok := param(r.Params, "name"); ok && name == "" {
		name, _ = canon.Unquote(raw) // what is not a text is not a tool's name either
	}
	if raw, ok := param(r.Params, "arguments"); ok && args == nil {
		args = raw
	}
	if args == nil {
		args = []byte(`{}`)
	}
	tool, ok := s.tools[name]
	if !ok {
		return rpcError(codeBadParams, "this server has no tool "+strconv.Quote(name)), nil
	}
	if canon.KindOf(args) != '{' {
		return rpcError(codeBadParams, "the arguments are not an object"), nil
	}
	return tool.Handle(ctx, args)
}

// param returns one member of raw params.
func param(params []byte, name string) ([]byte, bool) {
	if len(params) == 0 {
		return nil, false
	}
	return canon.Get(params, name)
}

// rpcError is an answer that refuses the request itself.
func rpcError(code int, message string) Reply {
	b := fmt.Appendf(nil, `{"code":%d,"message":`, code)
	return Reply{Error: append(canon.AppendString(b, message), '}')}
}

// Text is a tool's result of one text.
func Text(s string) Reply { return Reply{Result: append(appendText(nil, s), '}')} }

// Failed is a tool's result that tells the agent, in s, why the tool could not do it (MCP's isError).
func Failed(s string) Reply {
	return Reply{Result: append(appendText(nil, s), `,"isError":true}`...)}
}

// JSON is a tool's result of v: as text, and as structuredContent when v is an object.
func JSON(v any) (Reply, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return Reply{}, fmt.Errorf("encode result: %w", err)
	}
	raw := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	result := appendText(make([]byte, 0, 2*len(raw)+128), string(raw))
	if raw[0] == '{' {
		result = append(append(result, `,"structuredContent":`...), raw...)
	}
	return Reply{Result: append(result, '}')}, nil
}

// appendText appends a result of one text, its last brace left out.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, `{"content":[{"type":"text","text":`...)
	return append(canon.AppendString(dst, s), `}]`...)
}
