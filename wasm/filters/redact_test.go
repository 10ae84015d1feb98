package filters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/filters"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(tb testing.TB, config string) *wasm.Filter {
	tb.Helper()
	f, err := tryLoad(tb, config)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func tryLoad(tb testing.TB, config string) (*wasm.Filter, error) {
	tb.Helper()
	r, err := wasm.New(tb.Context(), wasm.DefaultConfig())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	module, ok := filters.Module("redact-secrets")
	if !ok {
		tb.Fatal("the module is not embedded")
	}
	return r.Load(tb.Context(), "redact-secrets", module, []byte(config))
}

// showing is a call with that body.
func showing(body string) *abi.Context {
	return &abi.Context{
		Tenant: "org_1", Agent: "agt_1", User: "usr_1", Op: "tools/call", Server: "files", Tool: "read", Now: 1700000000000,
		Plan: abi.Plan{ID: "pln_1", Step: 3, In: true}, Body: []byte(body),
	}
}

// redact shows arguments to the filter and returns what becomes of them.
func redact(tb testing.TB, f *wasm.Filter, arguments string) (string, wasm.Verdict) {
	tb.Helper()
	var v wasm.Verdict
	if err := f.Decide(tb.Context(), showing(arguments), &v); err != nil {
		tb.Fatalf("%v: %.300q", err, arguments)
	}
	if v.Kind == wasm.Rewrite {
		return string(v.Body), v
	}
	return arguments, v
}

// text shows one string and returns what becomes of it.
func text(tb testing.TB, f *wasm.Filter, s string) (string, wasm.Verdict) {
	tb.Helper()
	in, err := json.Marshal(map[string]string{"text": s})
	if err != nil {
		tb.Fatal(err)
	}
	out, v := redact(tb, f, string(in))
	var back map[string]string
	if err := json.Unmarshal([]byte(out), &back); err != nil {
		tb.Fatalf("%v: %q", err, out)
	}
	return back["text"], v
}

// fill returns n characters of an alphabet, the same every time and no two neighbours alike. Secrets are put together
// while the tests run, so that nobody who scans this source finds one.
func fill(n int, alphabet string) string {
	var b strings.Builder
	for i, x := 0, 7; i < n; i++ {
		x = (x*31 + 17) % 1009
		b.WriteByte(alphabet[x%len(alphabet)])
	}
	return b.String()
}

const (
	digits = "0123456789"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	alnum  = digits + upper + lower
	base64 = alnum + "+/"
	token  = alnum + "-_"
)

type secret struct{ kind, text string }

// secrets are of the shapes that are really given out.
func secrets() []secret {
	pem := func(kind string) string {
		body := ""
		for range 5 {
			body += fill(64, base64) + "\n"
		}
		return "-----BEGIN " + kind + "-----\n" + body + fill(22, base64) + "==\n-----END " + kind + "-----"
	}
	return []secret{
		{"private-key", pem("RSA PRIVATE " + "KEY")},
		{"private-key", pem("PRIVATE " + "KEY")},
		{"private-key", pem("OPENSSH PRIVATE " + "KEY")},
		{"private-key", pem("EC PRIVATE " + "KEY")},
		{"private-key", pem("PGP PRIVATE " + "KEY BLOCK")},
		{"aws-key", "AK" + "IA" + fill(16, upper+"234567")},
		{"aws-key", "AS" + "IA" + fill(16, upper+"234567")},
		{"github-token", "gh" + "p_" + fill(36, alnum)},
		{"github-token", "gh" + "o_" + fill(36, alnum)},
		{"github-token", "gh" + "s_" + fill(36, alnum)},
		{"github-token", "github" + "_pat_" + fill(22, alnum) + "_" + fill(59, alnum)},
		{"gitlab-token", "gl" + "pat-" + fill(20, token)},
		{"gitlab-token", "gl" + "rt-" + fill(20, token)},
		{"slack-token", "xo" + "xb-" + fill(12, digits) + "-" + fill(13, digits) + "-" + fill(24, alnum)},
		{"slack-token", "xo" + "xp-" + fill(12, digits) + "-" + fill(12, digits) + "-" + fill(32, digits+"abcdef")},
		{"slack-token", "xa" + "pp-1-" + fill(11, digits+upper) + "-" + fill(13, digits) + "-" + fill(64, digits+"abcdef")},
		{"stripe-key", "sk" + "_live_" + fill(24, alnum)},
		{"stripe-key", "sk" + "_test_" + fill(99, alnum)},
		{"stripe-key", "rk" + "_live_" + fill(24, alnum)},
		{"stripe-key", "wh" + "sec_" + fill(32, alnum)},
		{"openai-key", "s" + "k-" + fill(48, alnum)},
		{"openai-key", "s" + "k-proj-" + fill(124, token)},
		{"openai-key", "s" + "k-svcacct-" + fill(60, alnum)},
		{"anthropic-key", "s" + "k-ant-api03-" + fill(93, token) + "AA"},
		{"google-key", "AI" + "za" + fill(35, token)},
		{"google-key", "GOC" + "SPX-" + fill(28, token)},
		{"google-key", "ya" + "29." + fill(120, token)},
		{"gatewright-key", "ak" + "_live_" + fill(43, token)},
		{"gatewright-key", "ak" + "_test_" + fill(26, alnum)},
		{"jwt", "ey" + "J" + fill(33, token) + "." + "ey" + "J" + fill(80, token) + "." + fill(43, token)},
		{"jwt", "ey" + "J" + fill(17, token) + "." + "ey" + "J" + fill(10, token) + "."},
		{"card-number", "4111" + "1111" + "1111" + "1111"},
		{"card-number", "4111" + " 1111" + " 1111" + " 1111"},
		{"card-number", "5555" + "-5555" + "-5555" + "-4444"},
		{"card-number", "2223" + "0031" + "2200" + "3222"},
		{"card-number", "3782" + "822463" + "10005"},
		{"card-number", "3782" + " 822463" + " 10005"},
		{"card-number", "3056" + " 930902" + " 5904"},
		{"card-number", "6011" + "0009" + "9013" + "9424"},
		{"card-number", "3530" + "1113" + "3330" + "0000"},
	}
}

func TestEverySecretIsReplaced(t *testing.T) {
	f := load(t, "")
	for _, s := range secrets() {
		want := "[redacted:" + s.kind + "]"
		for _, around := range []string{"%s", "use %s now", "(%s)", `"%s"`, "<%s>", "key: %s, then", "first line\n%s\nlast", "a\t%s\tb", "é%sü", "…%s…", "x=%s&y=1", "%s.", "%s\\", "at 10:30 %s"} {
			in := fmt.Sprintf(around, s.text)
			out, v := text(t, f, in)
			if out != fmt.Sprintf(around, want) {
				t.Errorf("%s: %q became %q", s.kind, in, out)
			}
			if len(v.Labels) != 1 || v.Labels[0] != "secret:"+s.kind {
				t.Errorf("%s: labels %q", s.kind, v.Labels)
			}
		}
	}
}

// TestEscapesHideNothing writes every character of a secret as an escape sequence, and some of them.
func TestEscapesHideNothing(t *testing.T) {
	f := load(t, "")
	for _, s := range secrets() {
		for _, every := range []int{1, 2, 3, 7} {
			var b strings.Builder
			for i, c := range []byte(s.text) {
				if i%every == 0 || c < ' ' {
					fmt.Fprintf(&b, `\u%04X`, c)
				} else {
					b.WriteByte(c)
				}
			}
			out, _ := redact(t, f, `{"\"a\"":["\\\n","\u00e9 `+b.String()+` \ud83d\ude00\/"]}`)
			if want := `{"\"a\"":["\\\n","\u00e9 [redacted:` + s.kind + `] \ud83d\ude00\/"]}`; out != want {
				t.Errorf("%s, every %d: %q", s.kind, every, out)
			}
		}
	}
}

func TestBearerTokensAndPasswords(t *testing.T) {
	f := load(t, "")
	opaque := fill(16, alnum) + "." + fill(30, base64) + "=="
	for _, c := range []struct{ in, want string }{
		{"Authorization: Bearer " + opaque, "Authorization: Bearer [redacted:bearer-token]"},
		{"curl -H 'authorization: bearer " + opaque + "' x", "curl -H 'authorization: bearer [redacted:bearer-token]' x"},
		{"Bearer " + opaque, "Bearer [redacted:bearer-token]"},
		{"forbearer " + opaque, "forbearer " + opaque},
		{"Bearer of good news, which everybody likes", "Bearer of good news, which everybody likes"},

		{"password=hunter2", "password=[redacted:password]"},
		{"PASSWORD=hunter2 next", "PASSWORD=[redacted:password] next"},
		{"db_password = 'correct horse'; x", "db_password = '[redacted:password]'; x"},
		{"user=bob&passwd=s3cr3t&x=1", "user=bob&passwd=[redacted:password]&x=1"},
		{"Pwd=abcd", "Pwd=[redacted:password]"},
		{"Server=db;User Id=sa;Pwd=S3cret!;", "Server=db;User Id=sa;Pwd=[redacted:password];"},
		{"password: hunter2", "password: [redacted:password]"},
		{`{"user":"bob","password":"hunter two"}`, `{"user":"bob","password":"[redacted:password]"}`},
		{`{"password" : "hunter2"}`, `{"password" : "[redacted:password]"}`},
		{"passphrase=" + "grüße-aus-köln", "passphrase=[redacted:password]"},
		{"password := \"hunter2\"", "password := \"[redacted:password]\""},
		{"'password' => 'hunter2',", "'password' => '[redacted:password]',"},
		{"password=hunter2\npassword=hunter3", "password=[redacted:password]\npassword=[redacted:password]"},
		{"aws_secret_access_key=" + fill(40, base64), "aws_secret_access_key=[redacted:password]"},
		{"api_key: \"" + fill(32, alnum) + "\"", "api_key: \"[redacted:password]\""},
		{"X-Api-Key: " + fill(32, alnum), "X-Api-Key: [redacted:password]"},
		{"client_secret=" + fill(32, alnum) + "&a=b", "client_secret=[redacted:password]&a=b"},
		{"access_token=" + fill(32, alnum), "access_token=[redacted:password]"},
		{"postgres://bob:hunter2@db:5432/app", "postgres://bob:[redacted:password]@db:5432/app"},
		{"https://bob:p@ss:w0rd@example.com/?a=b:c@d", "https://bob:[redacted:password]@example.com/?a=b:c@d"},
		{"password=" + "gh" + "p_" + fill(36, alnum), "password=[redacted:github-token]"},
	} {
		if out, _ := text(t, f, c.in); out != c.want {
			t.Errorf("%q became %q, want %q", c.in, out, c.want)
		}
	}
}

// TestOrdinaryTextIsLeftAlone holds what looks a little like a secret.
func TestOrdinaryTextIsLeftAlone(t *testing.T) {
	f := load(t, "")
	for _, s := range []string{
		"", "a", "hello, world", "The quick brown fox jumps over the lazy dog.", strings.Repeat("lorem ipsum dolor sit amet ", 100),
		"7f3a2b90-1c2d-4e5f-8a9b-0c1d2e3f4a5b", "12345678-1234-1234-1234-123456789012", "2026-11-22T03:20:00.123456789Z",
		"https://example.com/some/very/long/path/with-many-words/and_more?query=words&page=2#fragment",
		"https://example.com:8080/a", "git@github.com:owner/repository.git", "mailto:someone@example.com", "10.0.0.1:8080",
		"sha256:" + fill(64, digits+"abcdef"), fill(40, digits+"abcdef"), "data:image/png;base64," + fill(5000, base64),
		"func main() { fmt.Println(\"hello\") }", "SELECT password FROM users WHERE id = 1", "if token == nil { return }",
		"password", "password:", "password=", "password: string", "password: required", "Password: must be at least 8 characters",
		"password=$PASSWORD", "password=${DB_PASSWORD}", "password=<password>", "password=****", "password: null", `"password": {"type": "string"}`,
		"password=[redacted:password]", "password=true", "token: the unit that models read", "max_tokens=4096", "token=abc",
		"nextPageToken=" + fill(40, alnum), `"next_token": "` + fill(40, alnum) + `"`, "secret: nobody knows", "the secretary=someone else entirely",
		"sk-learn-is-not-a-key-but-a-library-name", "task-with-a-very-long-hyphenated-name-12", "risk-AssessMent", "AKIA", "AKIA1234", "AKIAabcdefghijklmnop",
		"AK" + "IA" + fill(17, upper), "xAK" + "IA" + fill(16, upper), "ghp_short", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.notjson.x",
		"-----BEGIN CERTIFICATE-----\n" + fill(64, base64) + "\n-----END CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----\n" + fill(64, base64) + "\n-----END PUBLIC KEY-----",
		strings.Repeat("-", 500), strings.Repeat("-----BEGIN ", 100) + fill(64, base64),
		"4111 1111 1111 1112", "4111111111111112", "41111111111111111", "0.4111111111111111", "a4111111111111111", "4111111111111111a", "4111-1111 1111 1111",
		"/orders/4111111111111111", "1234 5678 9012 3456", "1700000000000", "1700000000000000000", "+49 30 1234 5678 9012", "tel: 4111 1111",
		"日本語のテキストと絵文字😀😀😀😀", strings.Repeat("ü", 200), "line\r\n\ttab \\ backslash \" quote / slash \u0000 nul",
	} {
		out, v := text(t, f, s)
		if v.Kind != wasm.Pass || out != s || len(v.Labels) != 0 {
			t.Errorf("%.120q became %.120q: %v %q", s, out, v.Kind, v.Labels)
		}
	}
}

// TestOnlyStringValuesAreTouched: how the rest is written stays.
func TestOnlyStringValuesAreTouched(t *testing.T) {
	f := load(t, "")
	s := "gh" + "p_" + fill(36, alnum)
	for _, c := range []struct{ in, want string }{
		{`{}`, `{}`},
		{"{ \"a\" :\t[ 1.50e3 , \"" + s + "\" ,\n null ] }", "{ \"a\" :\t[ 1.50e3 , \"[redacted:github-token]\" ,\n null ] }"},
		{`{"a":{"b":{"c":[[["` + s + `"]]]}},"d":"` + s + `"}`, `{"a":{"b":{"c":[[["[redacted:github-token]"]]]}},"d":"[redacted:github-token]"}`},
		{`{"":"` + s + `"}`, `{"":"[redacted:github-token]"}`},
		{`{"arguments":{"result":"` + s + `"}}`, `{"arguments":{"result":"[redacted:github-token]"}}`},
		{`{"a":"\"arguments\":{ ` + s + `"}`, `{"a":"\"arguments\":{ [redacted:github-token]"}`},
	} {
		if out, _ := redact(t, f, c.in); out != c.want {
			t.Errorf("%q became %q, want %q", c.in, out, c.want)
		}
	}
}

// TestAContextCannotPoseAsAnother: strings that the caller chose stand before the arguments.
func TestAContextCannotPoseAsAnother(t *testing.T) {
	f := load(t, "")
	s := "gh" + "p_" + fill(36, alnum)
	var v wasm.Verdict
	for _, name := range []string{`"arguments":{`, `"result":{"a":"b"}`, `{{{`, `\`, `\"`, `arguments`} {
		in := &abi.Context{Tenant: name, Tool: name, Labels: []string{name}, Body: []byte(`{"a":"` + s + `"}`)}
		if err := f.Decide(t.Context(), in, &v); err != nil || string(v.Body) != `{"a":"[redacted:github-token]"}` {
			t.Errorf("%q: %v %q", name, err, v.Body)
		}
	}
}

func TestResultsAreRedactedToo(t *testing.T) {
	f := load(t, "")
	in := showing(`{"content":[{"type":"text","text":"{\"password\":\"hunter2\"}"}],"isError":false}`)
	var v wasm.Verdict
	if err := f.OnResponse(t.Context(), in, &v); err != nil {
		t.Fatal(err)
	}
	if want := `{"content":[{"type":"text","text":"{\"password\":\"[redacted:password]\"}"}],"isError":false}`; string(v.Body) != want {
		t.Errorf("%q", v.Body)
	}
}

func TestConfiguration(t *testing.T) {
	github, aws := "gh"+"p_"+fill(36, alnum), "AK"+"IA"+fill(16, upper)
	in := `{"a":"` + github + `","b":"` + aws + `"}`
	for _, c := range []struct{ config, want string }{
		{"", `{"a":"[redacted:github-token]","b":"[redacted:aws-key]"}`},
		{"{}", `{"a":"[redacted:github-token]","b":"[redacted:aws-key]"}`},
		{` { "kinds" : [ "aws-key" , "jwt" ] , "deny" : false } `, `{"a":"` + github + `","b":"[redacted:aws-key]"}`},
	} {
		if out, _ := redact(t, load(t, c.config), in); out != c.want {
			t.Errorf("%s: %s", c.config, out)
		}
	}
	_, v := redact(t, load(t, `{"deny":true}`), in)
	if v.Kind != wasm.Deny || v.Reason != "secret_found" || strings.Join(v.Labels, " ") != "secret:aws-key secret:github-token" {
		t.Errorf("%+v", v)
	}
	if _, v := redact(t, load(t, `{"deny":true}`), `{"a":"nothing here"}`); v.Kind != wasm.Pass {
		t.Errorf("%+v", v)
	}
	for _, config := range []string{"x", "[]", "{", `{"deny":1}`, `{"deny":true,}`, `{"kinds":["nothing"]}`, `{"kinds":[]}`, `{"kinds":"jwt"}`, `{"Deny":true}`, `{} {}`, `{"kinds":["jwt"`, `{"kinds":["jwt`} {
		if _, err := tryLoad(t, config); err == nil {
			t.Errorf("%q is taken", config)
		}
	}
}

func TestLargeInputs(t *testing.T) {
	f := load(t, "")
	s := "gh" + "p_" + fill(36, alnum)
	for _, n := range []int{50 << 10, 300 << 10, 900 << 10} {
		for name, filler := range map[string]string{"prose": prose(n), "escapes": strings.Repeat(`a \"b\" c\n`, n/10), "base64": fill(n, base64)} {
			out, v := redact(t, f, `{"a":"`+filler+" "+s+`"}`)
			if want := `{"a":"` + filler + ` [redacted:github-token]"}`; out != want {
				t.Errorf("%s of %d: %d bytes came back, want %d", name, n, len(out), len(want))
			}
			t.Logf("%s of %d: %d units a byte", name, n, v.Fuel/int64(n))
		}
	}
}

// TestMoreSecretsThanFitAreRefused: a rewrite longer than the host takes would be a trap, and traps break the filter for
// everybody.
func TestMoreSecretsThanFitAreRefused(t *testing.T) {
	f := load(t, "")
	_, v := redact(t, f, `{"a":"`+strings.Repeat("pwd=abcd ", 700)+`"}`)
	if v.Kind != wasm.Rewrite {
		t.Errorf("700 short passwords: %+v", v)
	}
	for _, n := range []int{1100, 100_000} {
		_, v := redact(t, f, `{"a":"`+strings.Repeat("pwd=abcd ", n)+`"}`)
		if v.Kind != wasm.Deny || v.Reason != "too_many_secrets" || len(v.Labels) != 1 {
			t.Errorf("%d: %v %q %q", n, v.Kind, v.Reason, v.Labels)
		}
	}
}

// TestNoInputIsDear tries what makes the filter look twice. What costs more than the budget would be a trap.
func TestNoInputIsDear(t *testing.T) {
	f := load(t, "")
	for _, piece := range []string{
		"sk-", "sk-a", "eyJ-", "eyJ.eyJ.", "eyJaaaaaaaaaaaaaaaa.", "ghp_", "github_pat_", "AKIA", "AKIA-", "AIza", "xoxb-", "whsec_", "ak_live_", "sk_live_", "glpat-",
		"-", "-----BEGIN ", "-----BEGIN PRIVATE KEY", "-----BEGIN a\\n", "=", ":", "pwd=", "pwd='", "pwd=$", "token=", "token=a1", "password: a ", "a=", "://", "http://a:b@",
		"1", "1234 ", "4111 ", "4111-", "4111 1111 1111 1111 ", "4111111111111111 ", "12:", "Bearer ", "Bearer aaaaaaaaaaaaaaaa ", "\\n", "\\u0041", "\\ud83d\\ude00", "é", "a-b_c.d/e+f=",
		"sk-sk-", "sk-A1", "eyJ-eyJ", "token= ", "-----BEGIN X-", "Bearer  ", "Basic ", "Basic dXNlcjpwYXNzd29yZDEyMw== ", "whsec_.", "://a:b", "api-key=", "nextnextnextnextnextnextnextnexttoken=", "pwd=\\\"pwd='pwd=`",
	} {
		for _, part := range []string{" ", "", "eyJ" + fill(20, alnum) + ".eyJ"} {
			line := strings.Repeat(piece, 2000/len(piece)) + part
			in := showing(`{"a":"` + strings.Repeat(line, 1<<20/len(line)-1) + strings.Repeat("a", 40) + `"}`)
			var v wasm.Verdict
			if err := f.Decide(t.Context(), in, &v); err != nil {
				t.Errorf("%q: %v", piece, err)
			}
			t.Logf("%q: %v, %d units a byte", piece, v.Kind, v.Fuel/int64(len(in.Body)))
		}
	}
}

func prose(n int) string {
	const text = `The quarterly report covers revenue by region, headcount and the risks we named in spring. Sales in the north grew by ` +
		`12 percent, costs by 7. Please send the draft to the finance team before Friday and note which figures are estimates. `
	return strings.Repeat(text, n/len(text)+1)[:n]
}

func BenchmarkScan(b *testing.B) {
	f := load(b, "")
	for _, c := range []struct{ name, args string }{
		{"empty", `{}`},
		{"prose", `{"path":"/reports/2026/q3.md","body":"` + prose(1400) + `"}`},
		{"data", `{"rows":[` + strings.Repeat(`{"id":"7f3a2b90-1c2d-4e5f-8a9b-0c1d2e3f4a5b","at":"2026-11-22T03:20:00Z","n":1234},`, 17) + `{}]}`},
		{"escapes", `{"body":"` + strings.Repeat(`line of text, \"quoted\" and ended\n`, 40) + `"}`},
		{"base64", `{"body":"` + fill(1400, base64) + `"}`},
		{"secret", `{"body":"` + prose(700) + "gh" + "p_" + fill(36, alnum) + prose(650) + `"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := showing(c.args)
			var v wasm.Verdict
			defer cpu(b)()
			for b.Loop() {
				if err := f.Decide(b.Context(), in, &v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(v.Fuel)/float64(len(in.JSON())), "fuel/byte")
		})
	}
}

// TestModules: there is one, it is small, and names are not paths.
func TestModules(t *testing.T) {
	if names := filters.Names(); len(names) != 1 || names[0] != "redact-secrets" {
		t.Errorf("names are %q", names)
	}
	for _, name := range []string{"", "nothing", "../filters/redact-secrets", "redact-secrets.wasm", "./redact-secrets"} {
		if _, ok := filters.Module(name); ok {
			t.Errorf("there is a module %q", name)
		}
	}
	m, ok := filters.Module("redact-secrets")
	if !ok || len(m) > 25<<10 {
		t.Errorf("the module has %d bytes, want at most 25 KiB", len(m))
	}
}
