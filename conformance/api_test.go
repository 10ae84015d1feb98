package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A client of the two ports that sends exactly the bytes it is told.

var web = &http.Client{
	Timeout:       patience,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 32},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is what came back, with the parts of a JSON-RPC answer or of a refusal.
type answer struct {
	Status  int
	Header  http.Header
	Body    string
	Result  json.RawMessage
	RPC     int    // JSON-RPC error code, 0 when none
	Code    string // reason code of a refusal
	Message string
	Record  string
	Receipt string
	ID      string // JSON-RPC id as it stands
	Data    json.RawMessage
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.Status, a.Body) }

// head is a list of header names and values; an empty value leaves a header out that is sent otherwise.
type head map[string]string

// send makes one HTTP request. Without an Authorization in h no credential is sent.
func send(t testing.TB, method, url string, h head, body string) answer {
	t.Helper()
	a, err := trySend(method, url, h, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func trySend(method, url string, h head, body string) (answer, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body == "" {
		req.Body = nil
	}
	for name, value := range h {
		if value != "" {
			req.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
	}
	resp, err := web.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return read(resp.StatusCode, resp.Header, b), nil
}

func read(status int, h http.Header, b []byte) answer {
	a := answer{Status: status, Header: h, Body: string(b), Record: h.Get("Gatewright-Record"), Receipt: h.Get("Gatewright-Receipt")}
	var m struct {
		ID     json.RawMessage
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
			Data    json.RawMessage
		}
		Code, Message, Detail, Record string
	}
	if json.Unmarshal(b, &m) != nil {
		return a
	}
	a.ID, a.Result, a.Code, a.Message = string(m.ID), m.Result, m.Code, m.Message+m.Detail
	if m.Record != "" {
		a.Record = m.Record
	}
	if m.Error != nil {
		var d struct {
			Reason, Record string
			Receipt        string `json:"gatewright/receipt"`
		}
		_ = json.Unmarshal(m.Error.Data, &d)
		a.RPC, a.Code, a.Message, a.Data = m.Error.Code, d.Reason, m.Error.Message, m.Error.Data
		if d.Record != "" {
			a.Record = d.Record
		}
	}
	return a
}

// bearer are the headers of an agent that shows a token.
func bearer(key, token string) head {
	h := head{"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
	if token != "" {
		h["Gatewright-Intent"] = token
	}
	return h
}

// with adds to headers without changing the original.
func (h head) with(more head) head {
	out := head{}
	maps.Copy(out, h)
	maps.Copy(out, more)
	return out
}

// agent is an agent of some tenant with a runtime key.
type agent struct {
	g       *Gateway
	id, key string
	keyID   string
	admin   string
}

// serial tells agents of one test apart.
var serial atomic.Int64

// newAgent makes an agent with a key in the demo tenant.
func (g *Gateway) newAgent(t testing.TB) agent { return g.agentOf(t, g.Admin()) }

// agentOf makes an agent with a key in the tenant of an admin key.
func (g *Gateway) agentOf(t testing.TB, admin string) agent {
	t.Helper()
	var made struct{ ID string }
	g.manage(t, admin, "POST", "/api/v1/agents", map[string]any{"name": fmt.Sprintf("%.100s %d", t.Name(), serial.Add(1))}, &made)
	g.manage(t, admin, "PUT", "/api/v1/agents/"+made.ID+"/status", map[string]any{"status": "active"}, nil)
	a := agent{g: g, id: made.ID, admin: admin}
	return a.another(t)
}

// another is the same agent with a further key.
func (a agent) another(t testing.TB) agent {
	t.Helper()
	var key struct {
		Secret string
		Key    struct{ ID string }
	}
	a.g.manage(t, a.admin, "POST", "/api/v1/keys", map[string]any{"agent": a.id, "name": "test", "mode": "test"}, &key)
	a.key, a.keyID = key.Secret, key.Key.ID
	return a
}

// control makes a call on the control port.
func (g *Gateway) control(t testing.TB, key, method, path string, in any) answer {
	t.Helper()
	h, body := head{}, ""
	if key != "" {
		h["Authorization"] = "Bearer " + key
	}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		h["Content-Type"], body = "application/json", string(b)
	}
	return send(t, method, g.Control+path, h, body)
}

// manage is a control call that must succeed.
func (g *Gateway) manage(t testing.TB, key, method, path string, in, out any) {
	t.Helper()
	a := g.control(t, key, method, path, in)
	if a.Status < 200 || a.Status > 299 {
		t.Fatalf("%s %s: %s", method, path, a)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.Body), out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, a)
		}
	}
}

// plan is a captured plan.
type plan struct {
	ID, Root string
	Steps    []struct {
		Index int
		Used  uint32
		Done  bool
	}
}

// capture captures a draft that must be taken.
func (a agent) capture(t testing.TB, draft string) plan {
	t.Helper()
	ans := send(t, "POST", a.g.URL+"/api/v1/plans", bearer(a.key, ""), draft)
	var p plan
	if err := json.Unmarshal([]byte(ans.Body), &p); err != nil || ans.Status != http.StatusCreated {
		t.Fatalf("capture %s: %s", draft, ans)
	}
	return p
}

// issued is an intent token.
type issued struct{ Token, ID string }

// token takes a token for a plan. A ttl of zero asks for the default.
func (a agent) token(t testing.TB, planID string, ttl time.Duration) issued {
	t.Helper()
	body := "{}"
	if ttl > 0 {
		body = fmt.Sprintf(`{"ttl_seconds":%d}`, int(ttl.Seconds()))
	}
	ans := send(t, "POST", a.g.URL+"/api/v1/plans/"+planID+"/tokens", bearer(a.key, ""), body)
	var tok issued
	if err := json.Unmarshal([]byte(ans.Body), &tok); err != nil || ans.Status != http.StatusCreated {
		t.Fatalf("token for %s: %s", planID, ans)
	}
	return tok
}

// step is one step of a draft as JSON.
func step(server, tool, args string, more ...string) string {
	s := fmt.Sprintf(`{"server":%q,"tool":%q,"args":%s`, server, tool, args)
	for _, m := range more {
		s += "," + m
	}
	return s + "}"
}

// planned captures a plan of these steps and takes a token for it.
func (a agent) planned(t testing.TB, steps ...string) (plan, issued) {
	t.Helper()
	p := a.capture(t, `{"goal":"test","steps":[`+strings.Join(steps, ",")+`]}`)
	return p, a.token(t, p.ID, 0)
}

// message is a tools/call.
func message(tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, args)
}

// call calls a tool of a server with a token, as a client of the older protocol.
func (a agent) call(t testing.TB, server, tool, args, token string) answer {
	t.Helper()
	return send(t, "POST", a.g.URL+"/mcp/"+server, bearer(a.key, token), message(tool, args))
}

// modernMeta is what a modern client says in _meta, and modern the headers that mirror a call of a tool.
const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

func modern(tool string) head {
	return head{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
}

func modernMessage(tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s,%s}}`, tool, args, modernMeta)
}

// ok fails the test unless the call was let through and answered.
func (a answer) ok(t testing.TB) answer {
	t.Helper()
	if a.Status != http.StatusOK || a.Result == nil || a.Record == "" || a.Receipt == "" || bytes.Contains(a.Result, []byte(`"isError":true`)) {
		t.Fatalf("not answered: %s", a)
	}
	return a
}

// refused fails the test unless the call was refused under one of these codes.
func (a answer) refused(t testing.TB, codes ...string) answer {
	t.Helper()
	if !slices.Contains(codes, a.Code) {
		t.Fatalf("want a refusal %v, got %s", codes, a)
	}
	return a
}

// text is the text of a tool's answer.
func (a answer) text() string {
	var r struct{ Content []struct{ Text string } }
	_ = json.Unmarshal(a.Result, &r)
	var parts []string
	for _, c := range r.Content {
		parts = append(parts, c.Text)
	}
	return strings.Join(parts, "\n")
}

// record is a ledger record as the control port shows it.
type record struct {
	Index uint64
	ID, Kind, Agent, User, Key, Op, Server, Tool, Verdict, Code, Detail, Of, Outcome,
	Token string
	Status int
	Raw    string
}

// ledger reads a tenant's whole ledger with its admin's key.
func (g *Gateway) ledger(t testing.TB, admin string) []record {
	t.Helper()
	var out []record
	for from := uint64(0); ; {
		var page struct {
			Items []struct {
				Index  uint64
				Record json.RawMessage
			}
			Next *uint64
		}
		g.manage(t, admin, "GET", fmt.Sprintf("/api/v1/ledger/records?limit=1000&from=%d", from), nil, &page)
		for _, i := range page.Items {
			r := record{Index: i.Index, Raw: string(i.Record)}
			if err := json.Unmarshal(i.Record, &r); err != nil {
				t.Fatalf("record %d: %v", i.Index, err)
			}
			out = append(out, r)
		}
		if page.Next == nil {
			return out
		}
		from = *page.Next
	}
}

// find looks a record up in the demo tenant's ledger.
func (g *Gateway) find(t testing.TB, id string) record {
	t.Helper()
	if id == "" {
		t.Fatal("no record id to look for")
	}
	for _, r := range g.ledger(t, g.Admin()) {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("record %s is not in the ledger", id)
	return record{}
}

// lifetime reads how long a token lives from the answer that brought it.
func lifetime(t testing.TB, body string) time.Duration {
	t.Helper()
	var m struct{ Expires json.RawMessage }
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if sec, err := strconv.ParseInt(string(m.Expires), 10, 64); err == nil {
		return time.Until(time.Unix(sec, 0))
	}
	var at time.Time
	if err := json.Unmarshal(m.Expires, &at); err != nil {
		t.Fatalf("expires %s", m.Expires)
	}
	return time.Until(at)
}

// planOf is the plan that a record is about.
func (g *Gateway) planOf(t testing.TB, id string) string {
	t.Helper()
	var r struct {
		Plan string `json:"plan_id"`
	}
	if err := json.Unmarshal([]byte(g.find(t, id).Raw), &r); err != nil || r.Plan == "" {
		t.Fatalf("record %s names no plan (%v)", id, err)
	}
	return r.Plan
}

func readAll(resp *http.Response) string {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
