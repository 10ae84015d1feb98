package immunity_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
)

var serial atomic.Int64

// agent is an agent of the demo organisation, or of the one whose admin key it was made with.
type agent struct {
	g       *gateway
	id, key string
}

func (g *gateway) agent(t testing.TB) agent { return g.agentOf(t, g.admin) }

func (g *gateway) agentOf(t testing.TB, admin string) agent {
	t.Helper()
	a := agent{g: g}
	var id struct{ ID string }
	g.manageAs(t, admin, "POST", "/api/v1/agents", map[string]any{"name": fmt.Sprintf("%.100s %d", t.Name(), serial.Add(1))}, &id)
	g.manageAs(t, admin, "PUT", "/api/v1/agents/"+id.ID+"/status", map[string]any{"status": "active"}, nil)
	var key struct{ Secret string }
	g.manageAs(t, admin, "POST", "/api/v1/keys", map[string]any{"agent": id.ID, "name": "test", "mode": "test"}, &key)
	a.id, a.key = id.ID, key.Secret
	return a
}

// planned captures a plan of these steps and takes a token for it.
func (a agent) planned(t testing.TB, steps ...string) (token string) {
	t.Helper()
	h := map[string]string{"Authorization": "Bearer " + a.key, "Content-Type": "application/json"}
	var p struct{ ID, Token string }
	ans := send(t, "POST", a.g.url+"/api/v1/plans", h, `{"goal":"test","steps":[`+strings.Join(steps, ",")+`]}`)
	if err := json.Unmarshal([]byte(ans.body), &p); err != nil || ans.status != 201 {
		t.Fatalf("capture %s: %s", steps, ans)
	}
	ans = send(t, "POST", a.g.url+"/api/v1/plans/"+p.ID+"/tokens", h, "{}")
	if err := json.Unmarshal([]byte(ans.body), &p); err != nil || ans.status != 201 {
		t.Fatalf("token: %s", ans)
	}
	return p.Token
}

// anything is a step that leaves all arguments of a tool open, any number of times.
func anything(server, tool string) string {
	return fmt.Sprintf(`{"server":%q,"tool":%q,"uses":0,"additional":true,"where":{}}`, server, tool)
}

// headers are those of a client of the older protocol that shows a token; "" shows none.
func (a agent) headers(token string, more ...map[string]string) map[string]string {
	h := map[string]string{"Authorization": "Bearer " + a.key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
	if token != "" {
		h["Gatewright-Intent"] = token
	}
	for _, m := range more {
		maps.Copy(h, m)
	}
	return h
}

// call calls a tool as a client of the older protocol.
func (a agent) call(t testing.TB, server, tool, args, token string, more ...map[string]string) answer {
	t.Helper()
	return send(t, "POST", a.g.url+"/mcp/"+server, a.headers(token, more...), message("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args)))
}

func message(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
}

// record is what a ledger's record says of a call.
type record struct {
	ID, Kind, Agent, Code, Verdict, Op, Server, Tool string
	Raw                                              string `json:"-"`
}

// ledger reads the organisation's whole ledger with its admin's key, by the ids of the records.
func (g *gateway) ledger(t testing.TB, admin string) map[string]record {
	t.Helper()
	out := map[string]record{}
	for from := uint64(0); ; {
		var page struct {
			Items []struct{ Record json.RawMessage }
			Next  *uint64
		}
		g.manageAs(t, admin, "GET", fmt.Sprintf("/api/v1/ledger/records?limit=1000&from=%d", from), nil, &page)
		for _, i := range page.Items {
			r := record{Raw: string(i.Record)}
			if err := json.Unmarshal(i.Record, &r); err != nil {
				t.Fatal(err)
			}
			out[r.ID] = r
		}
		if page.Next == nil {
			return out
		}
		from = *page.Next
	}
}
