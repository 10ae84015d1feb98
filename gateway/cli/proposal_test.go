package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestProposalsAreShownAndDecidedOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	profile := `{"id":"prp_1","kind":"profile","state":"pending","user":"usr_1","agent":"agt_1","key":"key_1","digest":"ab12","reason":"safer\n so","created":"2026-01-01T00:00:00Z"`
	shownProfile := profile + `,"content":{"name":"p\u202e"},"cedar":"forbid(principal, action, resource);\n","lines":["Nothing\u001b[2J is allowed."]}`
	server := `{"id":"prp_2","kind":"server","form":"mcp","state":"rejected","user":"usr_1","agent":"agt_1","key":"key_1","digest":"cd34","created":"2026-01-01T00:00:00Z",
		"decided":"2026-01-01T00:00:05Z","by":"usr_2","note":"no","content":{"mcpName":"Bank & Co","source":"https://x.example/mcp"},"lines":[],"problem":"cannot\nbe"}`
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch r.URL.Path {
		case "/api/v1/proposals":
			answer(w, 200, `{"items":[`+profile+`}]}`)
		case "/api/v1/whoami":
			answer(w, 200, `{"organisation":"acme"}`)
		case "/api/v1/proposals/prp_9":
			answer(w, 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
		case "/api/v1/proposals/prp_1":
			answer(w, 200, shownProfile)
		case "/api/v1/proposals/prp_3/approve":
			answer(w, 422, `{"code":"bundle_refused","detail":"policy cannot be put in force","hint":"the profile before stays in force","record":"rec_1"}`)
		case "/api/v1/proposals/prp_1/approve":
			answer(w, 200, strings.Replace(profile, "pending", "approved", 1)+"}")
		default:
			answer(w, 200, server)
		}
	})
	table := "ID     KIND     STATE    ASKED                 AGENT  WHY\n" +
		"prp_1  profile  pending  2026-01-01T00:00:00Z  agt_1  safer so\n"
	shown := `proposal  prp_1
kind      profile
state     pending
asked     2026-01-01T00:00:00Z by agt_1 for usr_1, with key key_1
why       safer so
digest    ab12
content
{
  "name": "p\u202e"
}
policies
forbid(principal, action, resource);

- Nothing\u001b[2J is allowed.
`
	byHand := `no server was added; check the address, put this into the configuration file, and start the gateway again:

server "bank---co" {
  tenant = "acme"
  url    = "https://x.example/mcp"
}
`
	refused := `proposal  prp_2
kind      server (mcp)
state     rejected
asked     2026-01-01T00:00:00Z by agt_1 for usr_1, with key key_1
why       -
decided   2026-01-01T00:00:05Z by usr_2: no
problem   cannot be
digest    cd34
content
{
  "mcpName": "Bank & Co",
  "source": "https://x.example/mcp"
}
`
	for _, c := range []struct {
		out, errOut string
		args        []string
	}{
		{table, "", []string{"proposal", "list"}},
		{table, "", []string{"proposal", "list", "--state", "all", "--kind", "profile", "--agent", "agt_1"}},
		{shown, "", []string{"proposal", "show", "prp_1"}},
		{refused, "", []string{"proposal", "show", "prp_2"}},
		{"prp_1 approved\n", "", []string{"proposal", "approve", "prp_1"}},
		{"prp_2 rejected\n", byHand, []string{"proposal", "approve", "prp_2"}},
		{"prp_2 rejected\n", "", []string{"proposal", "reject", "prp_2", "--reason", "no"}},
	} {
		o := h.run(t, c.args...)
		if o.code != 0 || o.out != c.out || o.errOut != c.errOut {
			t.Errorf("%q:\n got %s (exit %d, %s)\nwant %s", c.args, o.out, o.code, o.errOut, c.out)
		}
	}
	for _, args := range [][]string{{"proposal", "list", "--json"}, {"proposal", "show", "prp_1", "--json"}} {
		var v any
		if o := h.run(t, args...); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil {
			t.Errorf("%q: %+v", args, o)
		}
	}
	h.fails(t, 1, "bundle_refused: policy cannot be put in force (rec_1)", "proposal", "approve", "prp_3")
	h.fails(t, 1, "not_found", "proposal", "show", "prp_9")
	if o := h.run(t, "proposal", "show", "prp_9"); !strings.Contains(o.errOut, "\nhint: `gatewright proposal list --state all` shows") || strings.Contains(o.errOut, "ledger") {
		t.Errorf("%s", o.errOut)
	}
	seen = slices.DeleteFunc(seen, func(s string) bool { return strings.HasSuffix(s, "prp_9") })
	h.fails(t, 2, "--state", "proposal", "list", "--state", "open")
	h.fails(t, 2, "--kind", "proposal", "list", "--kind", "plan")
	h.fails(t, 2, "expected", "proposal", "reject")
	want := strings.Join([]string{
		"GET /api/v1/proposals?state=pending", "GET /api/v1/proposals?agent=agt_1&kind=profile", "GET /api/v1/proposals/prp_1", "GET /api/v1/proposals/prp_2",
		"POST /api/v1/proposals/prp_1/approve", "POST /api/v1/proposals/prp_2/approve", "GET /api/v1/whoami", "GET /api/v1/proposals/prp_2", `POST /api/v1/proposals/prp_2/reject {"reason":"no"}`,
		"GET /api/v1/proposals?state=pending", "GET /api/v1/proposals/prp_1", "POST /api/v1/proposals/prp_3/approve",
	}, "\n")
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}
