package gatewright

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// protocolVersion is the stateless MCP revision this client speaks; each request stands alone.
const protocolVersion = "2026-07-28"

// Call is one tool call.
type Call struct {
	Server string          // the gateway's name for the server; empty: /mcp, where Tool carries the server's prefix
	Tool   string          // the tool's name
	Args   json.RawMessage // JSON object; nil is {}
	Token  string          // intent token; empty: the call is made without a plan
	Proof  *Proof          // optional: proves the step instead of letting the gateway find it
	Retry  string          // optional Idempotency-Key: the same call again gets the first answer, never a second effect
}

// Result is what a tool answered. A tool's own failure is a Result with IsError, not an error.
type Result struct {
	Raw     json.RawMessage // the whole MCP result
	IsError bool            // the tool says it failed
	Record  string          // id of the ledger record
	Receipt string          // receipt of that record; empty when the gateway gives none
	Salt    string          // opens the digest of the arguments in the record, see Verified.CoversArguments
}

// Text joins the text parts of the result's content.
func (r *Result) Text() string {
	var body struct {
		Content []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"content"`
	}
	if json.Unmarshal(r.Raw, &body) != nil {
		return ""
	}
	var parts []string
	for _, c := range body.Content {
		if c.Type == "text" {
			parts = append(parts, c.Text)
		}
	}
	return strings.Join(parts, "\n")
}

// Tool is a tool as the gateway shows it to this caller.
type Tool struct {
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"inputSchema"`
}

// Call makes a tool call. A refusal is an *Error; so is an error of the server behind the gateway.
func (c *Client) Call(ctx context.Context, call Call) (*Result, error) {
	if call.Tool == "" {
		return nil, errors.New("call: a tool is needed")
	}
	args := call.Args
	if args == nil {
		args = json.RawMessage("{}")
	}
	if err := canon.Check(args, canon.DefaultLimits()); err != nil || canon.KindOf(bytes.TrimSpace(args)) != '{' {
		return nil, fmt.Errorf("call %s: the arguments are not one strict JSON object", call.Tool)
	}
	if err := call.headersSafe(); err != nil {
		return nil, err
	}
	params := canon.AppendString([]byte(`{"name":`), call.Tool)
	params = append(append(params, `,"arguments":`...), bytes.TrimSpace(args)...) // byte for byte: the record holds their digest
	params = append(append(params, `,"_meta":`...), requestMeta+"}"...)
	r, result, err := c.mcp(ctx, call.Server, "tools/call", params, func(h http.Header) {
		h.Set("Mcp-Name", headerValue(call.Tool))
		call.show(h)
	})
	if err != nil {
		return nil, call.hideToken(err)
	}
	out := &Result{Raw: result, Record: clean(r.header.Get("Gatewright-Record")), Receipt: r.header.Get("Gatewright-Receipt"), Salt: r.header.Get("Gatewright-Salt")}
	var body struct {
		IsError bool `json:"isError"`
		Meta    struct {
			Receipt string `json:"gatewright/receipt"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(result, &body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	out.IsError = body.IsError
	if out.Receipt == "" {
		out.Receipt = body.Meta.Receipt
	}
	return out, nil
}

func (c *Call) headersSafe() error {
	if !headerSafe(c.Token) || !headerSafe(c.Retry) {
		return errors.New("call: token and retry key must be visible ASCII")
	}
	if c.Proof != nil && c.Token == "" {
		return errors.New("call: a proof is shown together with its token")
	}
	return nil
}

// show puts the plan into the headers.
func (c *Call) show(h http.Header) {
	if c.Token != "" {
		h.Set("Gatewright-Intent", c.Token)
	}
	if c.Proof != nil {
		h.Set("Gatewright-Step", c.Proof.Step)
		h.Set("Gatewright-Proof", c.Proof.Path)
	}
	if c.Retry != "" {
		h.Set("Idempotency-Key", c.Retry)
	}
}

// hideToken takes the token out of an error that repeats it.
func (c *Call) hideToken(err error) error {
	var e *Error
	if errors.As(err, &e) && c.Token != "" {
		e.Message, e.Hint = strings.ReplaceAll(e.Message, c.Token, "[token]"), strings.ReplaceAll(e.Hint, c.Token, "[token]")
	}
	return err
}

// ListTools returns the tools this caller may use on a server; an empty server means all of them.
func (c *Client) ListTools(ctx context.Context, server string) ([]Tool, error) {
	var tools []Tool
	cursor := ""
	for range 100 { // pages: no list is longer, and one that never ends is none
		params := []byte(`{"_meta":` + requestMeta)
		if cursor != "" {
			params = canon.AppendString(append(params, `,"cursor":`...), cursor)
		}
		_, result, err := c.mcp(ctx, server, "tools/list", append(params, '}'), nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Tools []Tool `json:"tools"`
			Next  string `json:"nextCursor"`
		}
		if err := json.Unmarshal(result, &page); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		tools = append(tools, page.Tools...)
		if cursor = page.Next; cursor == "" {
			return tools, nil
		}
	}
	return nil, fmt.Errorf("%w: the list does not end", ErrAnswer)
}

// requestMeta is what every modern request says about its sender (MCP 2026-07-28, basic).
const requestMeta = `{"io.modelcontextprotocol/protocolVersion":"` + protocolVersion + `","io.modelcontextprotocol/clientCapabilities":{},` +
	`"io.modelcontextprotocol/clientInfo":{"name":"gatewright-sdk-go","version":"` + Version + `"}}`

// mcp sends one JSON-RPC request and returns its result.
func (c *Client) mcp(ctx context.Context, server, method string, params []byte, head func(http.Header)) (*reply, json.RawMessage, error) {
	path := "/mcp"
	if server != "" {
		path += "/" + url.PathEscape(server)
	}
	body := append([]byte(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`), params...)
	body = append(body, '}')
	r, err := c.end.send(ctx, http.MethodPost, path, body, func(h http.Header) {
		h.Set("Accept", "application/json, text/event-stream")
		h.Set("Mcp-Protocol-Version", protocolVersion)
		h.Set("Mcp-Method", method)
		if head != nil {
			head(h)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	result, err := c.end.rpcResult(r)
	return r, result, err
}

// rpcResult takes the result out of a JSON-RPC answer to our one request.
func (e *endpoint) rpcResult(r *reply) (json.RawMessage, error) {
	if kind, _, _ := mime.ParseMediaType(r.header.Get("Content-Type")); kind == "text/event-stream" {
		data, err := lastEvent(r.body)
		if err != nil {
			return nil, err
		}
		r.body = data
	}
	var msg struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  json.RawMessage `json:"result"`
		Error   *rpcError       `json:"error"`
	}
	if err := r.decode(&msg); err != nil {
		if r.status != http.StatusOK {
			return nil, fmt.Errorf("%w: HTTP %d that is not JSON", ErrAnswer, r.status)
		}
		return nil, err
	}
	switch {
	case msg.Error != nil && msg.Version == "2.0":
		return nil, e.rpcRefusal(r, msg.Error)
	case r.status != http.StatusOK:
		return nil, e.refusal(r)
	case msg.Version != "2.0" || string(msg.ID) != "1" || canon.KindOf(msg.Result) != '{':
		return nil, fmt.Errorf("%w: no JSON-RPC result for our request", ErrAnswer)
	}
	return msg.Result, nil
}

// lastEvent returns the data of the last event of a server-sent event stream: the answer, which comes
// after any notifications.
func lastEvent(stream []byte) ([]byte, error) {
	var last, data []byte
	has := false
	for line := range bytes.Lines(stream) {
		line = bytes.TrimRight(line, "\r\n")
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, bytes.TrimPrefix(value, []byte(" "))...), true
		}
		if len(line) == 0 && has {
			last, data, has = data, nil, false
		}
	}
	if last == nil {
		return nil, fmt.Errorf("%w: the event stream ended without an answer", ErrAnswer)
	}
	return last, nil
}

// headerValue encodes what is not visible ASCII as MCP 2026-07-28 says: =?base64?...?=.
func headerValue(s string) string {
	if s != "" && headerSafe(s) && !strings.HasPrefix(s, "=?base64?") {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// headerSafe accepts what may stand in a header as it is: visible ASCII, no blanks at all.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
