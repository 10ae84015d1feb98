package cli_test

import (
	"net/http"
	"testing"
)

func TestWhatIsTriedIsShownWithTheCallsThatFlip(t *testing.T) {
	h := newHouse(t)
	var state string
	h.control.HandleFunc("GET /api/v1/policies/shadow", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, state) })
	for _, c := range []struct{ state, want string }{
		{`{"policies":[],"compared":0,"current":[],"total":[],"latest":[]}`, "nothing is tried\n"},
		{`{"staged":"0123456789abcdef0123","mode":"canary","canary":9,"policies":[],"compared":0,"current":[],"total":[],"latest":[]}`, "in canary for 9 % of the principals: 0123456789abcdef\n"},
		{
			`{"staged":"0123456789abcdef0123","mode":"shadow","policies":["a.cedar:3 b\u001b"],"compared":7,"passed":1,"failed":2,
"current":[{"by":"engine","from":"allow","to":"deny","count":2},{"by":"policy","from":"allow","to":"hold","count":9}],"total":[{"by":"policy","from":"allow","to":"hold","count":9}],
"latest":[{"by":"engine","from":"allow","to":"deny","record":"rec_1","agent":"agt_1","op":"tools/call","server":"sql","tool":"qu\u202eery","at":"2026-01-01T00:00:00Z","policies":["p.cedar:1 x"],"errors":1},
{"by":"engine","from":"allow","to":"deny","record":"rec_2","user":"usr_1","op":"tools/list","at":"2026-01-01T00:00:00Z","policies":[],"errors":0}]}`,
			`in shadow: 0123456789abcdef
in shadow: policy a.cedar:3 b\u001b
7 calls compared: 2 allow -> deny
by single policies: 9 allow -> hold
not compared: 1 that took too long, 2 that broke off
TIME                  WHO    WHAT             INSTEAD        BY                                       RECORD
2026-01-01T00:00:00Z  agt_1  sql/qu\u202eery  allow -> deny  p.cedar:1 x, 1 that cannot be evaluated  rec_1
2026-01-01T00:00:00Z  usr_1  tools/list       allow -> deny  no policy                                rec_2
`,
		},
	} {
		state = c.state
		if o := h.run(t, "policy", "shadow"); o.code != 0 || o.out != c.want {
			t.Errorf("%+v\n%s", o, o.out)
		}
		if o := h.run(t, "policy", "shadow", "--json"); o.code != 0 || o.out == "" {
			t.Errorf("%+v", o)
		}
	}
	delete(h.env, "GATEWRIGHT_ADMIN_KEY")
	h.fails(t, 2, "no management key", "policy", "shadow")
}
