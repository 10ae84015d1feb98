package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestHeldCallsAreShownAndDecidedOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	one := `{"id":"apr_1","state":"pending","user":"usr_1","agent":"agt_1","key":"key_1","plan":"pln_1","op":"tools/call","server":"bank","tool":"pay\u202eyap","local":true,
		"amount":"5000","digest":"ab12","reason":"above\n 1000","policies":["hold.cedar:3 pay"],"approvals":2,"given":1,"approver":"manager",
		"decisions":[{"user":"usr_2","role":"manager","approve":true,"reason":"fine\u001b[2J","time":"2026-01-01T00:00:01Z"}],
		"created":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:30:00Z","args_size":15,
		"args":{"amount":5000,"to":"bob ` + "\u202eevil \U0001F600 \U000E0041\uFE0F\u3164" + ` ü\u0000"}}`
	large := strings.NewReplacer(`"pending"`, `"executed"`, `"args":{`, `"x":{`, `"args_size":15`, `"args_size":70000,"record":"rec_7","ended":"2026-01-01T00:00:02Z"`,
		`"plan":"pln_1",`, "", `"amount":"5000",`, "", `"local":true`, `"local":false`, `"approve":true`, `"approve":false`).Replace(one)
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch {
		case r.URL.Path == "/api/v1/approvals":
			answer(w, 200, `{"items":[`+one+`]}`)
		case strings.HasSuffix(r.URL.Path, "/apr_9"):
			answer(w, 200, large)
		case strings.HasSuffix(r.URL.Path, "/apr_2/approve"):
			answer(w, 403, `{"code":"role_denied","detail":"this takes the role admin","hint":"ask somebody with a higher role or limit","record":"rec_1"}`)
		case strings.HasSuffix(r.URL.Path, "/reject"):
			answer(w, 200, strings.Replace(one, "pending", "rejected", 1))
		default:
			answer(w, 200, one)
		}
	})
	table := "ID     STATE    GIVEN   UNTIL                 AGENT  TOOL               AMOUNT  WHY\n" +
		"apr_1  pending  1 of 2  2026-01-01T00:30:00Z  agt_1  bank/pay\\u202eyap  5000    above 1000\n"
	shown := `approval  apr_1
state     pending, 1 of 2 approvals, by role manager or above, until 2026-01-01T00:30:00Z
asked     2026-01-01T00:00:00Z by agt_1 for usr_1, with key key_1
tool      bank/pay\u202eyap (tools/call), which the agent calls itself
plan      pln_1
amount    5000
why       above 1000
policies  hold.cedar:3 pay
approved  2026-01-01T00:00:01Z by usr_2, manager: fine\u001b[2J
digest    ab12
arguments
{
  "amount": 5000,
  "to": "bob \u202eevil 😀 \udb40\udc41\ufe0f\u3164 ü\u0000"
}
`
	used := `approval   apr_1
state      executed, 1 of 2 approvals, by role manager or above, until 2026-01-01T00:30:00Z
asked      2026-01-01T00:00:00Z by agt_1 for usr_1, with key key_1
tool       bank/pay\u202eyap (tools/call)
plan       -
amount     -
why        above 1000
policies   hold.cedar:3 pay
rejected   2026-01-01T00:00:01Z by usr_2, manager: fine\u001b[2J
used       2026-01-01T00:00:02Z by the call rec_7
digest     ab12
arguments  not shown: 70000 bytes, too large to be kept, or not for your role
`
	for _, c := range []struct {
		out, errOut string
		args        []string
	}{
		{table, "", []string{"approval", "list"}},
		{table, "", []string{"approval", "list", "--state", "all", "--agent", "agt_1", "--plan", "pln_1"}},
		{shown, "", []string{"approval", "show", "apr_1"}},
		{used, "", []string{"approval", "show", "apr_9"}},
		{"apr_1 pending\n", "1 of 2 approvals; somebody else has to approve too\n", []string{"approval", "approve", "apr_1"}},
		{"apr_1 pending\n", "1 of 2 approvals; somebody else has to approve too\n", []string{"approval", "approve", "apr_1", "--reason", "seen it"}},
		{"apr_1 rejected\n", "", []string{"approval", "reject", "apr_1", "--reason", "not now"}},
	} {
		o := h.run(t, c.args...)
		if o.code != 0 || o.out != c.out || o.errOut != c.errOut {
			t.Errorf("%q:\n got %s (exit %d, %s)\nwant %s", c.args, o.out, o.code, o.errOut, c.out)
		}
	}
	var list []map[string]any
	if o := h.run(t, "approval", "list", "--json"); o.code != 0 || json.Unmarshal([]byte(o.out), &list) != nil || len(list) != 1 {
		t.Errorf("%+v", o)
	}
	var v map[string]any
	if o := h.run(t, "approval", "show", "apr_1", "--json"); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil || v["args"] == nil {
		t.Errorf("%+v", o)
	}
	h.fails(t, 1, "role_denied: this takes the role admin (rec_1)", "approval", "approve", "apr_2")
	h.fails(t, 2, "--state", "approval", "list", "--state", "open")
	h.fails(t, 2, "expected", "approval", "approve")
	want := strings.Join([]string{
		"GET /api/v1/approvals?state=pending", "GET /api/v1/approvals?agent=agt_1&plan=pln_1", "GET /api/v1/approvals/apr_1", "GET /api/v1/approvals/apr_9",
		"POST /api/v1/approvals/apr_1/approve", `POST /api/v1/approvals/apr_1/approve {"reason":"seen it"}`, `POST /api/v1/approvals/apr_1/reject {"reason":"not now"}`,
		"GET /api/v1/approvals?state=pending", "GET /api/v1/approvals/apr_1", "POST /api/v1/approvals/apr_2/approve",
	}, "\n")
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}
