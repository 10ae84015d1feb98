package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// answer is what the gateway said, with the parts of a JSON-RPC answer or of a refusal.
type answer struct {
	status          int
	body            []byte
	result          json.RawMessage
	code            string // reason of a refusal
	record, receipt string
}

func (a *answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// send makes one request. An error means that nobody knows what came of it.
func (s *session) send(ctx context.Context, method, url string, head map[string]string, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range head {
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return read(resp.StatusCode, resp.Header, b), nil
}

func read(status int, h http.Header, b []byte) *answer {
	a := &answer{status: status, body: b, record: h.Get("Gatewright-Record"), receipt: h.Get("Gatewright-Receipt")}
	var m struct {
		Result json.RawMessage
		Error  *struct {
			Data struct {
				Reason, Record string
				Receipt        string `json:"gatewright/receipt"`
			}
		}
		Code, Record string
	}
	if json.Unmarshal(b, &m) != nil {
		return a
	}
	a.result, a.code = m.Result, m.Code
	if m.Error != nil {
		a.code = m.Error.Data.Reason
	}
	return a
}

// tool calls a tool of a server with an intent token.
func (s *session) tool(ctx context.Context, key, token, server, tool, args string) (*answer, error) {
	head := map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
	if token != "" {
		head["Gatewright-Intent"] = token
	}
	body := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, args)
	return s.send(ctx, "POST", s.url+"/mcp/"+server, head, body)
}

// agentAPI makes a call of an agent's own on the data port; the answer must be 2xx.
func (s *session) agentAPI(ctx context.Context, key, path string, in, out any) (*answer, error) {
	return s.api(ctx, s.url, key, "POST", path, in, out)
}

// manage makes a call on the control port; the answer must be 2xx.
func (s *session) manage(ctx context.Context, key, method, path string, in, out any) (*answer, error) {
	return s.api(ctx, s.control, key, method, path, in, out)
}

func (s *session) api(ctx context.Context, base, key, method, path string, in, out any) (*answer, error) {
	head := map[string]string{"Authorization": "Bearer " + key}
	var body []byte
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		head["Content-Type"], body = "application/json", b
	}
	a, err := s.send(ctx, method, base+path, head, body)
	if err != nil {
		return nil, err
	}
	if a.status < 200 || a.status > 299 {
		return a, fmt.Errorf("%s %s: %w: %s", method, path, errRefused, a)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			return a, fmt.Errorf("%s %s: %w in %s", method, path, err, a)
		}
	}
	return a, nil
}
