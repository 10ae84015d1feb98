package filters_test

import (
	"crypto/ed25519"
	"crypto/x509"
	stdbase64 "encoding/base64"
	"encoding/pem"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
)

// TestNoBudgetHidesASecret puts before a secret what could use up a bound of the search.
func TestNoBudgetHidesASecret(t *testing.T) {
	f := load(t, "")
	before := []string{"/", ".", "=", "+", "-", "_"}
	for _, n := range []int{20, 4090, 5000, 100_000} {
		for _, of := range []string{"a", "A", "/", "=", ".", "_", "-", "+", "a/", "0", "sk-aaaaaaaaaaaaaaaaa-"} {
			for _, by := range before {
				filler := strings.Repeat(of, n/len(of)) + by
				for _, s := range []string{"gh" + "p_" + fill(36, alnum), "AK" + "IA" + fill(16, upper), "s" + "k-" + fill(48, alnum), "xo" + "xb-" + fill(40, token)} {
					if out, v := text(t, f, filler+s+" end"); v.Kind != wasm.Rewrite || strings.Contains(out, s) {
						t.Errorf("%d of %q, %q, %.10q: %v", n, of, by, s, v.Kind)
					}
				}
			}
		}
	}
	key := "s" + "k-" + fill(48, alnum)
	for _, decoy := range []string{"sk-aaaaaaaaaaaaaaaaa ", "sk-aaaaaaaaaaaaaaaaa-", "sk-AAAAAAAAAAAAAAAAAAAAAAAAAAA.", "-----BEGIN -----", "-----BEGIN CERTIFICATE-----", "pwd=$X ", "pwd='", "://a:", "Bearer "} {
		for _, n := range []int{64, 65, 5000} {
			if out, v := text(t, f, strings.Repeat(decoy, n)+key); v.Kind != wasm.Deny && strings.Contains(out, key) {
				t.Errorf("%d times %q: %v", n, decoy, v.Kind)
			}
		}
	}
	for in, want := range map[string]string{
		"password='" + fill(3000, alnum) + "' x":                                             "password='[redacted:password]' x",
		"https://" + fill(2000, alnum) + ":hunter2@host/a":                                   "https://" + fill(2000, alnum) + ":[redacted:password]@host/a",
		strings.Repeat("a", 5000) + ":password=hunter2":                                      strings.Repeat("a", 5000) + ":password=[redacted:password]",
		strings.Repeat("a", 5000) + "=4111" + "1111" + "1111" + "1111":                       strings.Repeat("a", 5000) + "=[redacted:card-number]",
		"-----BEGIN X-----BEGIN " + strings.Repeat("A", 100) + " PRIVATE " + "KEY-----\nabc": "-----BEGIN X[redacted:private-key]",
	} {
		if out, _ := text(t, f, in); out != want {
			t.Errorf("%.200q became %.200q", in, out)
		}
	}
}

// TestPrivateKeysOfAnyLineLength: tools read them, however their lines are broken.
func TestPrivateKeysOfAnyLineLength(t *testing.T) {
	_, private, _ := ed25519.GenerateKey(rand.New(rand.NewSource(1)))
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	f := load(t, "")
	encoded := stdbase64.StdEncoding.EncodeToString(der)
	for n := 1; n <= len(encoded); n++ {
		for _, eol := range []string{"\n", "\r\n"} {
			var b strings.Builder
			for rest := encoded; rest != ""; rest = rest[min(n, len(rest)):] {
				b.WriteString(rest[:min(n, len(rest))] + eol)
			}
			in := "-----BEGIN " + "PRIVATE " + "KEY-----" + eol + b.String() + "-----END " + "PRIVATE " + "KEY-----" + eol
			if block, _ := pem.Decode([]byte(in)); block == nil {
				t.Fatalf("%d a line: it is no PEM", n)
			}
			for at := range 9 {
				lead := strings.Repeat("x", at)
				if out, _ := text(t, f, lead+in); out != lead+"[redacted:private-key]"+eol {
					t.Fatalf("%d a line, behind %d: %q", n, at, out)
				}
			}
		}
	}
}

// TestNamesTellSecrets: what a member with the name of a secret is set to is one, whatever it looks like.
func TestNamesTellSecrets(t *testing.T) {
	f := load(t, "")
	for _, name := range []string{
		"password", "Password", "PASSWORD", "db_password", "userPassword", "passwd", "pwd", "passphrase", "secret", "client_secret", "clientSecret", "token", "access_token",
		"accessToken", "api_key", "apiKey", "API-KEY", "x-api-key", "secretAccessKey", "private_key", "authorization", "Authorization", "Proxy-Authorization", `pass\u0077ord`,
	} {
		for _, v := range []string{"hunter", "hunter2hunter2", "correct horse", "$ecret", "(abcde", "[abcdef]", "[redacted:hunter2]", "[redacted:a] b]", `a\"b\\cdef`, `\u0068unter2`, "grüße-aus"} {
			for _, c := range []struct{ in, want string }{
				{`{"%s":"%s"}`, `{"%s":"[redacted:password]"}`},
				{"{ \"%s\" :\n \"%s\" ,\"a\":\"b\"}", "{ \"%s\" :\n \"[redacted:password]\" ,\"a\":\"b\"}"},
				{`{"p":[{"%s":"%s","n":"plain value"}]}`, `{"p":[{"%s":"[redacted:password]","n":"plain value"}]}`},
				{`{"%s":["%s","x"],"n":"plain value"}`, `{"%s":["[redacted:password]","x"],"n":"plain value"}`},
			} {
				if out, r := redact(t, f, fmt.Sprintf(c.in, name, v)); out != fmt.Sprintf(c.want, name) || len(r.Labels) != 1 {
					t.Errorf("%s: %s: became %s, %q", name, v, out, r.Labels)
				}
			}
		}
	}
	hub := "gh" + "p_" + fill(36, alnum)
	for in, want := range map[string]string{
		`{"password":"` + hub + `"}`:                        `{"password":"[redacted:github-token]"}`,
		`{"authorization":"Basic dXNlcjpwYXNzd29yZA=="}`:    `{"authorization":"[redacted:password]"}`,
		`{"token":["hunter21","","hunter22"],"a":"hunter"}`: `{"token":["[redacted:password]","","[redacted:password]"],"a":"hunter"}`,
		`{"note":"Bearer    ` + fill(40, token) + `"}`:      `{"note":"Bearer    [redacted:bearer-token]"}`,
		`{"note":"bearer \t ` + fill(40, token) + `"}`:      `{"note":"bearer \t [redacted:bearer-token]"}`,
		`{"note":"Basic  dXNlcjpwYXNzd29yZDEyMw=="}`:        `{"note":"Basic  [redacted:password]"}`,
		`{"note":"basic dXNlcjpwYXNzd29yZDEyMw==."}`:        `{"note":"basic [redacted:password]"}`,
		`{"note":"Bearer ////////////////` + hub + ` x"}`:   `{"note":"Bearer [redacted:github-token] x"}`,
	} {
		if out, _ := redact(t, f, in); out != want {
			t.Errorf("%s became %s", in, out)
		}
	}
}

// TestOrdinaryMembersAreLeftAlone holds names and values that look a little like those of secrets.
func TestOrdinaryMembersAreLeftAlone(t *testing.T) {
	f := load(t, "")
	for _, in := range []string{
		`{"password":{"type":"string","title":"the password"}}`, `{"password":"string"}`, `{"password":"required"}`, `{"password":null,"a":"hunter2hunter2"}`, `{"password":true,"a":"hunter2hunter2"}`,
		`{"password":{"a":"plain value"}}`, `{"password":[],"a":"plain value"}`, `{"password":[{"a":"plain value"}]}`, `{"password":["x"],"b":["plain value"]}`, `{"password":"short"}`, `{"password":""}`,
		`{"required":["password","secret"]}`, `{"a":"password","b":"hunter2hunter2"}`, `{"nextPageToken":"CAUQAA1234"}`, `{"page_token":"CAUQAA1234"}`, `{"next_token":"CAUQAA1234"}`, `{"nextSyncToken":"CAUQAA1234"}`,
		`{"continuationToken":"CAUQAA1234"}`, `{"token_type":"bearer"}`, `{"tokens":"1234567"}`, `{"max_tokens":4096}`, `{"token_count":"1234567"}`, `{"secretary":"someone else"}`, `{"monkey":"bananas"}`,
		`{"key":"PROJ-12345"}`, `{"primary_key":"identifier"}`, `{"keyboard":"qwertyuiop"}`, `{"password":"${DB_PASSWORD}"}`, `{"password":"$DB_PASSWORD"}`, `{"password":"<your password>"}`, `{"password":"********"}`,
		`{"password":"{{ password }}"}`, `{"password":"[redacted:password]"}`, `{"token":"[redacted:github-token]"}`, `{"password":"%PASSWORD%"}`, `{"password":"$(pass show db)"}`, `{"authorized":"everybody"}`,
		`{"a":"Basic internationalization of programs"}`, `{"a":"Basic understandingofthings"}`, `{"a":"basic object-oriented-programming"}`, `{"a":"Bearer  of good news"}`,
		`{"n":4111111111111112}`, `{"n":1700000000000000}`, `{"n":[1234567890123456,9007199254740991,-1]}`, `{"n":0.4111111111111111}`, `{"n":411.1111111111111}`, `{"n":41111111111111111}`, `{"n":4.111111111111111e14}`,
		`{"https://example.com/some/long/path":1,"2026-11-22T03:20:00Z":2,"7f3a2b90-1c2d-4e5f-8a9b-0c1d2e3f4a5b":3}`,
		"{\n                    \"a\"   :     12345678 ,                 \"b\" : [ true , false , null , 1.5e3 ]            }",
	} {
		if out, v := redact(t, f, in); v.Kind != wasm.Pass || len(v.Labels) != 0 {
			t.Errorf("%s became %s: %v %q %q", in, out, v.Kind, v.Reason, v.Labels)
		}
	}
}

// TestWhatCannotBeReplacedIsRefused: keys name members and numbers are numbers, and both are judged all the same.
func TestWhatCannotBeReplacedIsRefused(t *testing.T) {
	hub, card := "gh"+"p_"+fill(36, alnum), "4111"+"1111"+"1111"+"1111"
	f := load(t, "")
	for _, c := range []struct{ in, reason, label string }{
		{`{"` + hub + `":1}`, "secret_in_key", "secret:github-token"},
		{`{"` + hub + `" : "x"}`, "secret_in_key", "secret:github-token"},
		{`{"a":[{"b":1,"x ` + hub + `":{}}]}`, "secret_in_key", "secret:github-token"},
		{`{"\u0067` + hub[1:] + `":1}`, "secret_in_key", "secret:github-token"},
		{`{"` + card + `":1}`, "secret_in_key", "secret:card-number"},
		{`{"n":` + card + `}`, "card_number", "secret:card-number"},
		{`{"n" : ` + card + ` }`, "card_number", "secret:card-number"},
		{`{"n":[1,2,` + card + `,3]}`, "card_number", "secret:card-number"},
		{`{"n":` + card + `.0,"a":"b"}`, "card_number", "secret:card-number"},
		{`{"n":` + card[:1] + "." + card[1:] + `e15,"a":"b"}`, "card_number", "secret:card-number"},
		{`{"n":` + card[:3] + "." + card[3:] + `00E+13}`, "card_number", "secret:card-number"},
		{`{"n":-` + card + `}`, "card_number", "secret:card-number"},
		{`{"n":37828` + `2246310005,"a":"b"}`, "card_number", "secret:card-number"},
		{`{"n":3056` + `9309025904}`, "card_number", "secret:card-number"},
		{`{"n":3056` + `9309025904,"a":1}`, "card_number", "secret:card-number"},
	} {
		if _, v := redact(t, f, c.in); v.Kind != wasm.Deny || v.Reason != c.reason || strings.Join(v.Labels, " ") != c.label {
			t.Errorf("%s: %v %q %q", c.in, v.Kind, v.Reason, v.Labels)
		}
		var v wasm.Verdict
		if err := f.OnResponse(t.Context(), showing(c.in), &v); err != nil || v.Kind != wasm.Deny || v.Reason != c.reason {
			t.Errorf("as a result %s: %v %v %q", c.in, err, v.Kind, v.Reason)
		}
	}
	jwts := load(t, `{"kinds":["jwt"]}`)
	for _, in := range []string{`{"` + hub + `":1}`, `{"n":` + card + `}`, `{"password":"hunter2hunter2"}`} {
		if _, v := redact(t, jwts, in); v.Kind != wasm.Pass {
			t.Errorf("%s: not wanted, yet %v %q", in, v.Kind, v.Reason)
		}
	}
}
