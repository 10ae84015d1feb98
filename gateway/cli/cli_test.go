package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

const (
	runtimeKey = "ak_test_runtime_c2VjcmV0"
	adminKey   = "ak_test_admin_c2VjcmV0"
	token      = "eyJhbGciOiJFZERTQSJ9.e30.c2ln"
)

// house is a fake gateway with both ports, and the environment that points at it.
type house struct {
	data, control *http.ServeMux
	env           map[string]string
	stdin         string
	existing      string // servers that the control port lists, for import
	runner        cli.Runner
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{data: http.NewServeMux(), control: http.NewServeMux(), env: map[string]string{}}
	serve := func(mux *http.ServeMux, key string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+key {
				answer(w, 401, `{"code":"unauthenticated","message":"no valid credential","hint":"send a key of this port"}`)
				return
			}
			mux.ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	h.env["GATEWRIGHT_URL"], h.env["GATEWRIGHT_API_KEY"] = serve(h.data, runtimeKey), runtimeKey
	h.env["GATEWRIGHT_CONTROL_URL"], h.env["GATEWRIGHT_ADMIN_KEY"] = serve(h.control, adminKey), adminKey
	return h
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

type outcome struct {
	code        int
	out, errOut string
}

func (h *house) run(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errOut bytes.Buffer
	r := h.runner
	r.Getenv = func(k string) string { return h.env[k] }
	code := cli.Run(t.Context(), args, strings.NewReader(h.stdin), &out, &errOut, r)
	return outcome{code, out.String(), errOut.String()}
}

// fails runs a command that must fail with this code, an error that contains want, a hint, and nothing on
// standard output.
func (h *house) fails(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	o := h.run(t, args...)
	lines := strings.Split(strings.TrimSuffix(o.errOut, "\n"), "\n")
	if o.code != code || !strings.HasPrefix(o.errOut, "gatewright: ") || !strings.Contains(lines[0], want) || o.out != "" {
		t.Errorf("%q: exit %d, want %d with %q\nstdout %q\nstderr %s", args, o.code, code, want, o.out, o.errOut)
	}
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("%q: want one line and its hint:\n%s", args, o.errOut)
	}
	for _, secret := range []string{runtimeKey, adminKey, token} {
		if strings.Contains(o.errOut, secret) {
			t.Errorf("%q: the error shows a secret: %s", args, o.errOut)
		}
	}
}

func TestWrongUsageIsRefusedBeforeAnythingIsSent(t *testing.T) {
	h := newHouse(t)
	h.data.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s %s", r.Method, r.URL) })
	h.control.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s %s", r.Method, r.URL) })
	h.stdin = `{"steps":[}`
	for _, c := range []struct {
		want string
		args []string
	}{
		{"unexpected argument srve", []string{"srve"}},
		{"unknown flag --bogus", []string{"--bogus"}},
		{"unknown flag --confg", []string{"serve", "--confg", "x"}},
		{"expected one of", []string{"agent"}},
		{"expected \"<plan>\"", []string{"token"}},
		{"expected \"<tool>\"", []string{"call"}},
		{"no draft of a plan", []string{"plan"}},
		{"both given", []string{"plan", "x.json", "--tool", "a/b"}},
		{"belong to --tool", []string{"plan", "--arg", "a=1"}},
		{"belong to --tool", []string{"plan", "x.json", "--goal", "g"}},
		{"no such file", []string{"plan", "/nonexistent/x.json"}},
		{"standard input is not strict JSON", []string{"plan", "-"}},
		{"names no tool", []string{"plan", "--tool", "calculate"}},
		{"names no tool", []string{"call", "/b"}},
		{"names no tool", []string{"call", "a/"}},
		{"is not NAME=VALUE", []string{"call", "a/b", "--arg", "x"}},
		{"is not NAME=VALUE", []string{"call", "a/b", "--arg", "=x"}},
		{"given twice", []string{"call", "a/b", "--arg", "x=1", "--arg", "x=2"}},
		{"both given", []string{"call", "a/b", "--arg", "x=1", "--args", "{}"}},
		{"not one strict JSON object", []string{"call", "a/b", "--args", `[1]`}},
		{"not one strict JSON object", []string{"call", "a/b", "--args", `{"a":1,"a":2}`}},
		{"go together", []string{"call", "a/b", "--prove", "0"}},
		{"go together", []string{"call", "a/b", "--plan", "pln_1"}},
		{"whole seconds", []string{"token", "pln_1", "--ttl", "1500ms"}},
		{"whole seconds", []string{"token", "pln_1", "--ttl=-1s"}},
		{"expected duration", []string{"token", "pln_1", "--ttl", "10"}},
		{"below zero", []string{"agent", "key", "agt_1", "--ttl=-1h"}},
		{"scheme://host:port", []string{"token", "pln_1", "--url", "127.0.0.1:8080"}},
		{"plaintext beyond this machine", []string{"token", "pln_1", "--url", "http://gateway.example"}},
		{"plaintext beyond this machine", []string{"agent", "list", "--url", "http://gateway.example"}},
		{"neither a file nor a receipt", []string{"verify", "nosuch"}},
		{"go together", []string{"verify", "-", "--args", "{}"}},
		{"no key to verify with", []string{"verify", "-", "--key", "/nonexistent"}},
		{"no key to verify with", []string{"ledger", "verify", "--data", "/nonexistent"}},
	} {
		h.fails(t, 2, c.want, c.args...)
	}
	for _, name := range []string{"GATEWRIGHT_URL", "GATEWRIGHT_API_KEY"} {
		bare := *h
		bare.env = map[string]string{"GATEWRIGHT_URL": h.env["GATEWRIGHT_URL"], "GATEWRIGHT_API_KEY": runtimeKey}
		delete(bare.env, name)
		bare.fails(t, 2, "no ", "call", "a/b")
	}
	h.env["GATEWRIGHT_CONTROL_URL"] = ""
	h.fails(t, 2, "no address of a control port", "agent", "list")
}

func TestNobodyThereIsItsOwnExitCode(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	h := newHouse(t)
	h.fails(t, 3, "cannot be reached", "plan", "--tool", "a/b", "--url", nobody)
	h.fails(t, 3, "cannot be reached", "token", "pln_1", "--url", nobody)
	h.fails(t, 3, "cannot be reached", "call", "a/b", "--url", nobody)
	h.fails(t, 3, "cannot be reached", "agent", "list", "--url", nobody)
	h.data.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "<html>a router's login page</html>") })
	h.fails(t, 3, "not a gateway's", "token", "pln_1")
	h.fails(t, 3, "not a gateway's", "call", "a/b")
}

func TestARefusalShowsItsCodeRecordAndHint(t *testing.T) {
	h := newHouse(t)
	h.data.HandleFunc("POST /api/v1/plans", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 422, `{"code":"invalid_plan","message":"/steps/0/tool: no such tool","hint":"see tools/list","record":"rec_1"}`)
	})
	h.data.HandleFunc("POST /mcp/a", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"used up","data":{"reason":"step_used","hint":"new plan","record":"rec_2","gatewright/receipt":"RECEIPT"}}}`)
	})
	o := h.run(t, "plan", "--tool", "a/b")
	if o.code != 1 || o.errOut != "gatewright: invalid_plan: /steps/0/tool: no such tool (rec_1)\nhint: see tools/list\n" {
		t.Errorf("plan: %+v", o)
	}
	file := filepath.Join(t.TempDir(), "r")
	o = h.run(t, "call", "a/b", "--token", token, "--receipt", file)
	kept, err := os.ReadFile(file)
	if o.code != 1 || o.errOut != "gatewright: step_used: used up (rec_2)\nhint: new plan\n" || err != nil || string(kept) != "RECEIPT\n" {
		t.Errorf("call: %+v, receipt %q %v", o, kept, err)
	}
	h.env["GATEWRIGHT_API_KEY"] = adminKey
	h.fails(t, 1, "unauthenticated", "call", "a/b")
}

func TestAPlanIsMadeOfFlagsWithTypedArguments(t *testing.T) {
	h := newHouse(t)
	var sent string
	h.data.HandleFunc("POST /api/v1/plans", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		sent = string(b)
		answer(w, 201, `{"id":"pln_1","root":"`+strings.Repeat("ab", 32)+`","size":1,"expires":"2030-01-01T00:00:00Z","steps":[{"index":0,"server":"a","tool":"b","uses":3,"after":[]}]}`)
	})
	o := h.run(t, "plan", "--tool", "a/b/c", "--goal", `say "hi"`, "--uses", "3", "--arg", "n=3", "--arg", "s=three", "--arg", "q=\"3\"", "--arg", "l=[1,2]", "--arg", "e=", "--arg", "z=007", "--arg", "eq=a=b", "--arg", "c=x,y")
	want := `{"goal":"say \"hi\"","steps":[{"server":"a","tool":"b/c","uses":3,"args":{"n":3,"s":"three","q":"3","l":[1,2],"e":"","z":"007","eq":"a=b","c":"x,y"}}]}`
	if sent != want {
		t.Errorf("sent\n%s\nwant\n%s", sent, want)
	}
	table := "plan    pln_1\nroot    " + strings.Repeat("ab", 32) + "\nexpires 2030-01-01T00:00:00Z\nSTEP  TOOL  USES  AFTER\n0     a/b   3     -\n"
	if o.code != 0 || o.out != table || o.errOut != "hint: gatewright token pln_1\n" {
		t.Errorf("got %+v", o)
	}
	h.stdin = ` {"goal":"as it is", "steps":[]} `
	o = h.run(t, "plan", "-", "--json")
	var p struct{ ID string }
	if sent != h.stdin || o.code != 0 || json.Unmarshal([]byte(o.out), &p) != nil || p.ID != "pln_1" || o.errOut != "" {
		t.Errorf("sent %q, got %+v", sent, o)
	}
}

func TestATokenIsTheOnlyThingOnStandardOutput(t *testing.T) {
	h := newHouse(t)
	h.data.HandleFunc("POST /api/v1/plans/pln_1/tokens", func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) != `{"ttl_seconds":120}` {
			t.Errorf("sent %s", b)
		}
		answer(w, 201, `{"token":"`+token+`","id":"tok_1","expires":"2030-01-01T00:00:00Z"}`)
	})
	o := h.run(t, "token", "pln_1", "--ttl", "2m")
	if o.code != 0 || o.out != token+"\n" || !strings.HasPrefix(o.errOut, "token tok_1, expires 2030-01-01T00:00:00Z\nhint: ") || strings.Contains(o.errOut, token) {
		t.Errorf("got %+v", o)
	}
}

func TestACallShowsTheTokenOfTheEnvironmentAndKeepsTheReceipt(t *testing.T) {
	h := newHouse(t)
	shown := ""
	result := `{"content":[{"type":"text","text":"5\u001b[2J"}],"isError":false}`
	h.data.HandleFunc("POST /mcp/demo", func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Gatewright-Intent") + " " + r.Header.Get("Idempotency-Key")
		w.Header().Set("Gatewright-Record", "rec_1")
		w.Header().Set("Gatewright-Receipt", "RECEIPT")
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":`+result+`}`)
	})
	h.env["GATEWRIGHT_INTENT"] = token
	file := filepath.Join(t.TempDir(), "receipt")
	o := h.run(t, "call", "demo/calculate", "--arg", "x=2+3", "--receipt", file, "--retry", "once")
	kept, err := os.ReadFile(file)
	if o.code != 0 || o.out != "5[2J\n" || o.errOut != "record rec_1\n" || shown != token+" once" || err != nil || string(kept) != "RECEIPT\n" {
		t.Errorf("got %+v, shown %q, kept %q", o, shown, kept)
	}
	o = h.run(t, "call", "demo/calculate", "--token", "other", "--json")
	var body struct {
		Result          json.RawMessage
		Record, Receipt string
	}
	if o.code != 0 || shown != "other " || json.Unmarshal([]byte(o.out), &body) != nil || body.Record != "rec_1" || body.Receipt != "RECEIPT" || o.errOut != "" {
		t.Errorf("got %+v", o)
	}
	result = `{"content":[{"type":"text","text":"division by zero"}],"isError":true}`
	o = h.run(t, "call", "demo/calculate")
	if o.code != 1 || o.out != "division by zero\n" || !strings.Contains(o.errOut, "the tool reports an error") {
		t.Errorf("got %+v", o)
	}
}

func TestAReceiptThatIsAskedForAndMissingIsAnError(t *testing.T) {
	h := newHouse(t)
	h.data.HandleFunc("POST /mcp/demo", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
	})
	h.fails(t, 1, "no receipt", "call", "demo/calculate", "--receipt", filepath.Join(t.TempDir(), "r"))
}

func TestAgentsAreManagedOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(b)))
		switch {
		case r.Method == "DELETE":
			w.WriteHeader(204)
		case r.Method == "GET" && r.URL.Path == "/api/v1/agents":
			answer(w, 200, `{"items":[{"id":"agt_1","name":"a\u001b[31m","status":"active","owner":"usr_1","talks_to":["files","mail"]},{"id":"agt_2","name":"b","status":"revoked"}]}`)
		case r.Method == "GET" && r.URL.Path == "/api/v1/keys":
			answer(w, 200, `{"items":[{"id":"key_1","kind":"runtime","mode":"live","agent":"agt_1","name":"n","created":"2026-01-01T00:00:00Z"},{"id":"key_2","kind":"admin","mode":"live","user":"usr_1","name":"m","ended":"2026-01-01T00:00:00Z"}]}`)
		case r.URL.Path == "/api/v1/keys":
			answer(w, 201, `{"key":{"id":"key_3"},"secret":"ak_live_new"}`)
		default:
			answer(w, 200, `{"id":"agt_3","name":"c","status":"suspended"}`)
		}
	})
	for _, c := range []struct {
		out  string
		args []string
	}{
		{"ID     NAME   STATUS   OWNER  TALKS TO\nagt_1  a[31m  active   usr_1  files,mail\nagt_2  b      revoked         any\n", []string{"agent", "list"}},
		{"agt_3\n", []string{"agent", "create", "c", "--talks-to", "files", "--talks-to", "mail", "--label", "x,y"}},
		{"agt_3 suspended\n", []string{"agent", "suspend", "agt_3"}},
		{"agt_3 suspended\n", []string{"agent", "activate", "agt_3"}},
		{"agt_3 suspended\n", []string{"agent", "revoke", "agt_3"}},
		{"ak_live_new\n", []string{"agent", "key", "agt_3", "--name", "ci"}},
		{"ID     KIND          HOLDER  NAME  STATE\nkey_1  live runtime  agt_1   n     no end\n", []string{"agent", "keys", "agt_1"}},
		{"key_1 revoked\n", []string{"agent", "revoke-key", "key_1"}},
	} {
		if o := h.run(t, c.args...); o.code != 0 || o.out != c.out || strings.Contains(o.errOut, "ak_live_new") {
			t.Errorf("%q:\n got %q (exit %d, %s)\nwant %q", c.args, o.out, o.code, o.errOut, c.out)
		}
	}
	want := []string{
		"GET /api/v1/agents", `POST /api/v1/agents {"name":"c","talks_to":["files","mail"],"labels":["x,y"]}`,
		`PUT /api/v1/agents/agt_3/status {"status":"suspended"}`, `PUT /api/v1/agents/agt_3/status {"status":"active"}`, `PUT /api/v1/agents/agt_3/status {"status":"revoked"}`,
		`POST /api/v1/keys {"agent":"agt_3","name":"ci","mode":"live"}`, "GET /api/v1/keys", "DELETE /api/v1/keys/key_1",
	}
	for _, args := range [][]string{{"show", "c"}, {"suspend", "c"}, {"key", "c"}, {"keys", "c"}, {"sessions", "c"}, {"end", "c"}} { // names, sent nowhere
		if o := h.run(t, append([]string{"agent"}, args...)...); o.code != 2 || !strings.Contains(o.errOut, "is no id of an agent") || !strings.Contains(o.errOut, "hint: gatewright agent list") {
			t.Errorf("%q: exit %d, %s", args, o.code, o.errOut)
		}
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}

// receipt makes a receipt over a batch of one, and the line that pins its key.
func receipt(t *testing.T) (text, pin string) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	vk, err := ledger.NewVerifierKey("gatewright.local/ledger/_instance/main", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return receiptOf(t, key, vk, ledger.Record{Kind: ledger.Refused, Code: "args_mismatch"}), vk.String()
}

// receiptOf makes a receipt over a batch of one.
func receiptOf(t *testing.T, key ed25519.PrivateKey, vk ledger.VerifierKey, rec ledger.Record) string {
	t.Helper()
	rec.ID, rec.Time, rec.Tenant, rec.Step, rec.Server, rec.Tool = "rec_06f4k3m1v8q2c7x9z5n0b2w4ht", 1, "demo", -1, "demo", "wait"
	r := ledger.Receipt{Origin: vk.Name, KeyHash: vk.Hash, Size: 1, Leaf: rec.AppendJSON(nil)}
	copy(r.Signature[:], ed25519.Sign(key, ledger.AppendReceiptMessage(nil, vk.Name, 1, merkle.LeafHash(r.Leaf))))
	return string(r.AppendText(nil))
}

// TestWhatFiltersDidIsTold: the caller has not seen the arguments that a filter rewrote, and the record is about those.
func TestWhatFiltersDidIsTold(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	vk, err := ledger.NewVerifierKey("gatewright.local/ledger/_instance/main", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	pin := filepath.Join(t.TempDir(), "ledger.pub")
	if err := os.WriteFile(pin, []byte(vk.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := ""
	h := newHouse(t)
	h.data.HandleFunc("POST /mcp/demo", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Gatewright-Record", "rec_1")
		w.Header().Set("Gatewright-Receipt", text)
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"5"}]}}`)
	})
	const rewritten = "arguments rewritten by redact@0123456789ab"
	for _, c := range []struct {
		detail           string
		labels           []string
		rows, told, hint string
	}{
		{rows: "", told: "", hint: "hint: give the arguments byte for byte"},
		{rewritten, nil, "  detail   " + rewritten + "\n", "", "hint: a filter rewrote the arguments before they were recorded"},
		{"", []string{"secret:aws-key", "x\x1b[2J"}, "  labels   secret:aws-key x[2J\n", "filtered: secret:aws-key x[2J\n", "hint: filters found secret:aws-key x[2J: if one rewrote the arguments"},
		{rewritten, []string{"pii"}, "  detail   " + rewritten + "\n  labels   pii\n", "filtered: pii\n", "hint: a filter rewrote"},
	} {
		text = receiptOf(t, key, vk, ledger.Record{Kind: ledger.Settled, Outcome: "ok", Detail: c.detail, Labels: c.labels})
		if o := h.run(t, "verify", text, "--key", pin); o.code != 0 || !strings.HasSuffix(o.out, "  outcome  ok\n"+c.rows) {
			t.Errorf("%q: %+v", c.rows, o)
		}
		o := h.run(t, "verify", text, "--key", pin, "--args", "{}", "--salt", "AAAAAAAAAAAAAAAAAAAAAA")
		if o.code != 1 || o.out != "" || !strings.Contains(o.errOut, c.hint) {
			t.Errorf("%q: %+v", c.hint, o)
		}
		if o := h.run(t, "call", "demo/wait"); o != (outcome{0, "5\n", c.told + "record rec_1\n"}) {
			t.Errorf("%q: %+v", c.told, o)
		}
	}
}

func TestAReceiptIsVerifiedOfflineFromArgumentFileAndStandardInput(t *testing.T) {
	text, pin := receipt(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("keys/ledger.pub", "# this gateway\n"+pin+"\n")
	file := write("receipt", text+"\n")
	h := &house{env: map[string]string{}, stdin: text}
	for _, arg := range []string{text, file, "-"} {
		o := h.run(t, "verify", arg, "--data", dir)
		if o.code != 0 || !strings.HasPrefix(o.out, "verified: signed by gatewright.local/ledger/_instance/main\n") || !strings.Contains(o.out, "code     args_mismatch\n") || o.errOut != "" {
			t.Errorf("%.20s: %+v", arg, o)
		}
	}
	o := h.run(t, "verify", file, "--key", filepath.Join(dir, "keys/ledger.pub"), "--json")
	if o.code != 0 || !json.Valid([]byte(o.out)) || !strings.Contains(o.out, `"verified": true`) {
		t.Errorf("json: %+v", o)
	}
	for i := 0; i < len(text); i += 5 {
		c := byte('A')
		if text[i] == c {
			c = 'B'
		}
		h.stdin = text[:i] + string(c) + text[i+1:]
		if o := h.run(t, "verify", "-", "--data", dir); o.code != 1 || o.out != "" {
			t.Fatalf("character %d changed: %+v", i, o)
		}
	}
	h.fails(t, 1, "not verified", "verify", write("empty", ""), "--data", dir)
	h.fails(t, 1, "not verified", "verify", file, "--key", write("other.pub", strings.Replace(otherPin(t), "\n", "", 1)))
	h.fails(t, 1, "not verified", "verify", file, "--data", dir, "--args", "{}", "--salt", "AAAAAAAAAAAAAAAAAAAAAA")
	h.fails(t, 2, "line 1", "verify", file, "--key", write("bad.pub", "not a key\n"))
	h.fails(t, 2, "no key in file", "verify", file, "--key", write("none.pub", "# nothing\n"))
	h.fails(t, 2, "larger than", "verify", write("big", strings.Repeat("A", 9<<20)), "--data", dir)
	h.fails(t, 2, "no ledger", "ledger", "verify", "--data", dir)
	h.fails(t, 2, "chain key", "ledger", "verify", "--data", dir, "--k0", file)
}

func otherPin(t *testing.T) string {
	t.Helper()
	seed := bytes.Repeat([]byte{1}, ed25519.SeedSize)
	vk, err := ledger.NewVerifierKey("gatewright.local/ledger/_instance/main", ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return vk.String()
}

type coded struct{ error }

func (coded) ExitCode() int { return 7 }

func TestServeIsWhatHappensWithoutACommand(t *testing.T) {
	var got []string
	h := &house{env: map[string]string{}}
	h.runner.Serve = func(_ context.Context, o cli.ServeOptions) error {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s", o.Config, o.Data, o.Listen, o.Control))
		fmt.Fprintln(o.Stdout, "gatewright ready")
		return nil
	}
	for _, args := range [][]string{{}, {"serve"}, {"--listen", "127.0.0.1:0"}, {"serve", "--config", "c", "--data", "d", "--listen", "l", "--control", "k"}} {
		if o := h.run(t, args...); o.code != 0 || o.out != "gatewright ready\n" {
			t.Errorf("%q: %+v", args, o)
		}
	}
	want := []string{"|||", "|||", "||127.0.0.1:0|", "c|d|l|k"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	if o := h.run(t, "--help"); o.code != 0 || !strings.Contains(o.out, "ledger verify") {
		t.Errorf("help: %+v", o)
	}
	if o, long := h.run(t, "help", "call"), h.run(t, "call", "--help"); o != long || !strings.Contains(o.out, "--receipt") {
		t.Errorf("help call: %+v", o)
	}
	if o := h.run(t, "version"); o.code != 0 || !strings.HasPrefix(o.out, "gatewright ") {
		t.Errorf("version: %+v", o)
	}
	h.runner.Serve = func(context.Context, cli.ServeOptions) error { return coded{errors.New("gateway.hcl:1:1: no")} }
	if o := h.run(t); o.code != 7 || o.errOut != "gatewright: gateway.hcl:1:1: no\n" {
		t.Errorf("an error with its own code: %+v", o)
	}
	h.runner.Serve = func(context.Context, cli.ServeOptions) error { return errors.New("listen: taken\nby another") }
	if o := h.run(t); o.code != 1 || o.errOut != "gatewright: listen: taken by another\n" {
		t.Errorf("a plain error: %+v", o)
	}
	h.runner.Serve = nil
	if o := h.run(t); o.code != 1 {
		t.Errorf("without a gateway: %+v", o)
	}
}

func TestACommandThatIsInterruptedEnds(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.data.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
		cancel()
		<-r.Context().Done()
	})
	var out, errOut bytes.Buffer
	code := cli.Run(ctx, []string{"token", "pln_1"}, strings.NewReader(""), &out, &errOut, cli.Runner{Getenv: func(k string) string { return h.env[k] }})
	if code != 1 || !strings.Contains(errOut.String(), "interrupted") {
		t.Errorf("exit %d: %s", code, &errOut)
	}
}
