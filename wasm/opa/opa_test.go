package opa

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

func TestEntrypoints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a/verdict":0}`:                "verdict=0 /",
		`{"a/allow":3,"a/deny":1}`:       "deny=1 allow=3 /",
		`{"a/b/allow":0,"x/response":2}`: "allow=0 / response=2",
		`{"verdict":7}`:                  "verdict=7 /",
		`{}`:                             "!no entrypoint that judges requests",
		`{"a/response":0}`:               "!no entrypoint that judges requests",
		`{"a/main":0}`:                   `!"a/main" says neither`,
		`{"a/allowed":0}`:                `!"a/allowed" says neither`,
		`{"a/allow":0,"b/allow":1}`:      `!two entrypoints that end in "allow"`,
		`{"a/verdict":0,"a/deny":1}`:     "!beside allow or deny",
		`{"a/verdict":"0"}`:              "!numbers for them",
		`{"a/verdict":4294967296}`:       "!numbers for them",
		`[]`:                             "!opa build -t wasm",
		`{"a/verdict":0,"a/verdict":1}`:  "!opa build -t wasm",
		``:                               "!opa build -t wasm",
		`{"a/verdict":0` + strings.Repeat(" ", 10): "!opa build -t wasm",
	} {
		p, err := Entrypoints([]byte(text))
		got := ""
		for _, e := range p.Request {
			got += fmt.Sprintf("%s=%d ", e.Kind, e.ID)
		}
		got += "/"
		for _, e := range p.Response {
			got += fmt.Sprintf(" %s=%d", e.Kind, e.ID)
		}
		if bad, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), ": ") {
				t.Errorf("%s: %v, want %q", text, err, bad)
			}
		} else if err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
}

// TestBuiltins: a policy that needs what the host does not give is refused by the built-in's name, with what to do.
func TestBuiltins(t *testing.T) {
	t.Parallel()
	got, err := Builtins([]byte(`{"sprintf":4,"time.now_ns":0}`))
	if err != nil || len(got) != 2 || got[4].Name != "sprintf" || got[0].Args != 0 {
		t.Errorf("%v %v", got, err)
	}
	for name, hint := range map[string]string{
		"http.send": "no network", "rand.intn": "no randomness", "uuid.rfc4122": "no randomness", "opa.runtime": "no environment",
		"time.parse_rfc3339_ns": "input.now", "regex.replace": "regex.match", "trace": "leave out", "internal.print": "leave out print",
		"crypto.x509.parse_certificates": "compiles in", "net.lookup_ip_addr": "no network", "\x00": "compiles in",
	} {
		text := append(canon.AppendString([]byte(`{"sprintf":0,`), name), ":1}"...)
		if _, err := Builtins(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const empty = `[]`
	of := func(value string) string { return `[{"result":` + value + `}]` }
	for _, c := range []struct {
		kind         Kind
		result, want string
	}{
		{Verdict, of(`{"verdict":"pass"}`), `{"verdict":"pass"}`},
		{Verdict, of(`{"verdict":"never"}`), `{"verdict":"never"}`}, // its reader refuses it
		{Verdict, empty, undefined},
		{Verdict, of(`true`), "!no object"},
		{Verdict, of(`["pass"]`), "!no object"},
		{Response, empty, undefined},
		{Response, of(`null`), "!no object"},
		{Allow, of(`true`), pass},
		{Allow, of(`false`), notAllow},
		{Allow, empty, undefined},
		{Allow, of(`1`), "!no boolean"},
		{Allow, of(`"true"`), "!no boolean"},
		{Allow, of(`null`), "!no boolean"},
		{Allow, of(`[true]`), "!no boolean"},
		{Deny, of(`[]`), pass},
		{Deny, empty, undefined},
		{Deny, of(`false`), "!no set"},
		{Deny, of(`{}`), "!no set"},
		{Deny, of(`["b","a"]`), `{"verdict":"deny","reason":"policy","message":"a; b"}`},
		{Deny, of(`[""]`), `{"verdict":"deny","reason":"policy","message":""}`},
		{Deny, of(`[{"msg":"x","code":7}]`), `{"verdict":"deny","reason":"policy","message":"x"}`},
		{Deny, of(`[{"code":7}]`), "!neither a string"},
		{Deny, of(`[7]`), "!neither a string"},
		{Deny, of(`["a\u0000\nb\u202e"]`), `{"verdict":"deny","reason":"policy","message":"a  b"}`},
		{Deny, of(`["` + strings.Repeat("é", 200) + `"]`), `{"verdict":"deny","reason":"policy","message":"` + strings.Repeat("é", 128) + `"}`},
		{Allow, `[{"result":true},{"result":true}]`, "!at most one binding"},
		{Allow, `[{"other":true}]`, "!at most one binding"},
		{Allow, `[true]`, "!at most one binding"},
		{Allow, `{"result":true}`, "!at most one binding"},
		{Allow, `true`, "!at most one binding"},
		{Allow, `[{"result":true}`, "!not strict JSON"},
		{Allow, `[{"result":false,"result":true}]`, "!not strict JSON"},
		{Allow, "", "!not strict JSON"},
	} {
		got, err := Judge(c.kind, []byte(c.result), canon.DefaultLimits())
		if bad, ok := strings.CutPrefix(c.want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s %s: %s %v, want %q", c.kind, c.result, got, err, bad)
			}
		} else if err != nil || string(got) != c.want {
			t.Errorf("%s %s: %s %v, want %s", c.kind, c.result, got, err, c.want)
		}
	}
}

func TestSprintf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ format, args, want string }{
		{`"%d"`, `[7]`, `"7"`},
		{`"%d %d"`, `[7,1.0]`, `"7 %!d(float64=1)"`},
		{`"%v %s"`, `[1.5,"x"]`, `"1.5 x"`},
		{`"%v"`, `[{"b":[1,"x"],"a":null}]`, `"{\"a\": null, \"b\": [1, \"x\"]}"`},
		{`"%v"`, `[{3,1,"b",{2},{"k":1},true,null,[],set()}]`, `"{null, true, 1, 3, \"b\", [], {\"k\": 1}, set(), {2}}"`},
		{`"%v"`, `[{}]`, `"{}"`},
		{`"%v"`, `[123456789012345678901234567890]`, `"123456789012345678901234567890"`},
		{`"%05.1f|%-4d|%x"`, `[2.25,7,"hi"]`, `"002.2|7   |6869"`},
		{`"%s"`, `[]`, `"%!s(MISSING)"`},
		{`"100%%"`, `[]`, `"100%"`},
		{`7`, `[]`, ""},
		{`"x"`, `{}`, ""},
		{`"x"`, `{1}`, ""},
		{`"%*d"`, `[1,2]`, "!"},
		{`"%1001d"`, `[1]`, "!"},
		{`"%99999999999999999999d"`, `[1]`, "!"},
		{`"%.1001f"`, `[1]`, "!"},
		{`"` + strings.Repeat("%1000d", 1000) + `"`, `[1]`, "!"},
		{`"` + strings.Repeat("%[1]s", 100) + `"`, `["` + strings.Repeat("x", 10000) + `"]`, "!"},
		{`"` + strings.Repeat("x", maxFormat+1) + `"`, `[]`, "!"},
		{`"%v"`, `[` + strings.Repeat("9", 301) + `]`, "!"},
		{`"%v"`, `[1`, "!"},
		{`"%v"`, `[` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `]`, "!"},
		{`"%v`, `[1]`, "!"},
		{`"%v"`, `[x]`, "!"},
		{`"%v"`, `[{"a":1,2}]`, "!"},
		{``, ``, "!"},
	} {
		got, err := sprintf(0, [][]byte{[]byte(c.format), []byte(c.args)})
		if c.want == "!" {
			if !errors.Is(err, ErrLimit) && !errors.Is(err, errValue) {
				t.Errorf("%.40s %.40s: %.80s %v, want an error", c.format, c.args, got, err)
			}
		} else if err != nil || string(got) != c.want {
			t.Errorf("%.40s %.40s: %s %v, want %s", c.format, c.args, got, err, c.want)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for _, b := range given {
		if b.Name == "time.now_ns" {
			if got, err := b.Run(1_700_000_000_123, nil); err != nil || string(got) != "1700000000123000000" {
				t.Errorf("%s %v", got, err)
			}
		}
	}
}

// FuzzOPA: whatever a policy hands to its host, it comes to a verdict that verdicts' reader takes, or to an error.
func FuzzOPA(f *testing.F) {
	for _, s := range []string{`[{"result":["a",{"msg":"b"}]}]`, `[]`, `["%v %d",{1,{"a":set()}}]`, `[{"result":{"verdict":"deny"}}]`, `{"a/verdict":0,"sprintf":1}`, `["%5.2f|%[2]q",1.5e3]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		limits := canon.DefaultLimits()
		for _, kind := range []Kind{Verdict, Allow, Deny, Response} {
			verdict, err := Judge(kind, text, limits)
			if err != nil || kind == Verdict || kind == Response {
				continue
			}
			var v abi.Verdict
			if err := v.ReadJSON(verdict, abi.Request, abi.Limits{Verdict: 16 << 10, Body: 1 << 20}); err != nil {
				t.Errorf("%s of %q: %s: %v", kind, text, verdict, err)
			}
		}
		if p, err := Entrypoints(text); err == nil && len(p.Request) == 0 {
			t.Errorf("nothing judges requests: %+v", p)
		}
		if b, err := Builtins(text); err == nil && len(b) > len(given) {
			t.Logf("%v", b)
		}
		format, args := text, text
		if v, err := parseValue(text); err == nil {
			again, err := parseValue(v.append(nil))
			if v.kind != isString && err == nil && string(again.append(nil)) != string(v.append(nil)) {
				t.Errorf("%q reads back as %q", v.append(nil), again.append(nil))
			}
			if v.kind == isArray && len(v.list) > 1 && v.list[0].kind == isString {
				format = canon.AppendString(nil, v.list[0].text)
			}
		}
		if out, err := sprintf(0, [][]byte{format, args}); err == nil && len(out) > 8*maxOutput {
			t.Errorf("%d bytes", len(out))
		}
	})
}
