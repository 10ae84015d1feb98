package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestTheControlPortReadsBodiesStrictly(t *testing.T) {
	t.Parallel()
	g := shared(t)
	post := func(path, body string) answer {
		return send(t, "POST", g.Control+path, head{"Authorization": "Bearer " + g.Admin(), "Content-Type": "application/json"}, body)
	}
	for name, body := range map[string]string{
		"cut off": `{"name":"x"`, "name twice": `{"name":"x","name":"y"}`, "name twice, once escaped": `{"name":"x","n\u0061me":"y"}`, "unknown member": `{"name":"x","admin":true}`,
		"another case": `{"Name":"x"}`, "a list": `[{"name":"x"}]`, "null": `null`, "a string": `"x"`, "nothing": ``, "name a number": `{"name":7}`, "name null": `{"name":null}`,
		"name empty": `{"name":""}`, "name too long": `{"name":"` + strings.Repeat("x", 1000) + `"}`, "not UTF-8": "{\"name\":\"\xff\"}", "lone surrogate": `{"name":"\ud800"}`,
		"too deep": `{"name":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, "trailing text": `{"name":"x"} {}`, "huge number": `{"name":"x","teams":[1e999]}`,
		"too many": `{"name":"x","teams":[` + strings.Repeat(`"a",`, 100) + `"a"]}`, "too big": `{"name":"` + strings.Repeat("x", 9<<20) + `"}`,
	} {
		a, err := trySend("POST", g.Control+"/api/v1/agents", head{"Authorization": "Bearer " + g.Admin(), "Content-Type": "application/json"}, body)
		if err == nil && (a.Status < 400 || a.Status > 499 || a.Code == "" || a.Record == "" || len(a.Body) > 4096) {
			t.Errorf("%s: %.600s", name, a)
		}
	}
	if a := send(t, "POST", g.Control+"/api/v1/agents", head{"Authorization": "Bearer " + g.Admin(), "Content-Type": "text/plain"}, `{"name":"x"}`); a.Status != http.StatusUnsupportedMediaType {
		t.Errorf("another content type: %s", a)
	}
	refused := post("/api/v1/agents", `{"name":"`+strings.Repeat("x", 1000)+`"}`)
	if r := g.find(t, refused.Record); r.Key == "" || strings.Contains(r.Raw, "xxxx") {
		t.Errorf("the record of a refused control call: %.600s", r.Raw)
	}
	for _, path := range []string{"/api/v1/agents/../keys", "/api/v1//agents", "/api/v1/agents/agt_%2e%2e", "/api/v1/nothing", "/API/v1/agents"} {
		if a := g.control(t, g.Admin(), "GET", path, nil); a.Status < 300 {
			t.Errorf("%s: %.300s", path, a)
		}
	}
}

func TestRatesAreHeldAndSaidSo(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: "quota {\n  agent_rate = 0.01\n  agent_burst = 3\n}\n"})
	a, b := g.newAgent(t), g.newAgent(t)
	list := func(who agent) answer {
		return send(t, "POST", g.URL+"/mcp/demo", bearer(who.key, ""), rpc("tools/list", "{}"))
	}
	for range 3 {
		if ans := list(a); ans.Result == nil {
			t.Fatalf("within the burst: %s", ans)
		}
	}
	over := list(a.another(t)).refused(t, "rate_limited") // a further key of the same agent is the same agent
	if over.Status != http.StatusTooManyRequests || over.Header.Get("Retry-After") == "" || over.Header.Get("Retry-After") == "0" {
		t.Errorf("answered %s %v", over, over.Header)
	}
	if r := g.find(t, over.Record); r.Kind != "refused" || r.Code != "rate_limited" {
		t.Errorf("the ledger says %s", r.Raw)
	}
	if ans := list(b); ans.Result == nil {
		t.Errorf("another agent: %s", ans)
	}
}

func TestForwardedForIsBelievedFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	for hcl, want := range map[string]string{"": "127.0.0.1", "proxy {\n  trusted_proxies = [\"127.0.0.0/8\"]\n}\n": "203.0.113.7"} {
		g := start(t, Setup{HCL: hcl})
		ans := send(t, "POST", g.URL+"/mcp/demo", bearer(g.Key(), "").with(head{"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}), message("calculate", "{}"))
		if r := g.find(t, ans.Record); !strings.Contains(r.Raw, `"addr":"`+want+`"`) {
			t.Errorf("with %q the record says %s", hcl, r.Raw)
		}
	}
}

func TestAShownProofMustBeOfThisStepAndThisPlan(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	client, err := gatewright.New(gatewright.Config{URL: g.URL, Key: a.key})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for i := range 5 {
		steps = append(steps, step("demo", "calculate", expression(i), `"uses":0`))
	}
	draft := `{"steps":[` + strings.Join(steps, ",") + `]}`
	p, err := client.Plan(t.Context(), []byte(draft))
	if err != nil {
		t.Fatal(err)
	}
	q, err := client.Plan(t.Context(), []byte(draft))
	if err != nil {
		t.Fatal(err)
	}
	tok := a.token(t, p.ID, 0)
	proof := func(p *gatewright.Plan, i int) *gatewright.Proof {
		out, err := p.Proof(i)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	call := func(i int, step, path string) answer {
		return send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, tok.Token).with(head{"Gatewright-Step": step, "Gatewright-Proof": path}), message("calculate", expression(i)))
	}
	right := proof(p, 2)
	call(2, right.Step, right.Path).ok(t)
	last := proof(p, 4) // its path is shorter than the others': the tree is not full
	call(4, last.Step, last.Path).ok(t)
	leaf, err := base64.RawURLEncoding.DecodeString(right.Step)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, next string) string {
		s := strings.Replace(string(leaf), old, next, 1)
		if s == string(leaf) {
			t.Fatalf("the leaf %s has no %s", leaf, old)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	const hash = 43 // characters, about: one hash more or less
	for name, c := range map[string]struct {
		i          int
		step, path string
		codes      []string
	}{
		"another step's proof":       {2, right.Step, proof(p, 3).Path, []string{"proof_mismatch"}},
		"another plan's step":        {2, proof(q, 2).Step, proof(q, 2).Path, []string{"plan_mismatch", "proof_mismatch"}},
		"another step":               {2, proof(p, 3).Step, proof(p, 3).Path, []string{"args_mismatch"}},
		"other arguments":            {3, right.Step, right.Path, []string{"args_mismatch"}},
		"a changed leaf":             {3, changed(`"2+1"`, `"3+1"`), right.Path, []string{"proof_mismatch"}},
		"more uses":                  {2, changed(`"uses":0`, `"uses":9`), right.Path, []string{"proof_mismatch"}},
		"another index":              {2, changed(`"index":2`, `"index":3`), right.Path, []string{"proof_mismatch"}},
		"another count":              {2, changed(`"count":5`, `"count":4`), right.Path, []string{"proof_mismatch", "proof_length", "plan_mismatch"}},
		"index beyond the plan":      {2, changed(`"index":2`, `"index":7`), right.Path, []string{"proof_mismatch", "proof_length", "leaf_malformed"}},
		"a proof too short":          {2, right.Step, last.Path, []string{"proof_length"}},
		"a proof too long":           {4, last.Step, right.Path, []string{"proof_length"}},
		"no proof":                   {2, right.Step, "", []string{"proof_length", "malformed"}},
		"a proof without its step":   {2, "", right.Path, []string{"malformed"}},
		"half a hash":                {2, right.Step, right.Path[:hash/2], []string{"malformed"}},
		"a proof of a thousand":      {2, right.Step, strings.Repeat("A", 8000), []string{"malformed", "proof_length"}},
		"a step that is not base64":  {2, "{}", right.Path, []string{"leaf_malformed"}},
		"a step that is no leaf":     {2, base64.RawURLEncoding.EncodeToString([]byte(`{}`)), right.Path, []string{"leaf_malformed"}},
		"a leaf spelled differently": {2, base64.RawURLEncoding.EncodeToString(append([]byte(" "), leaf...)), right.Path, []string{"proof_mismatch", "leaf_malformed"}},
	} {
		ans := call(c.i, c.step, c.path)
		if ans.Result != nil || ans.Record == "" {
			t.Errorf("%s: %s", name, ans)
			continue
		}
		ok := false
		for _, code := range c.codes {
			ok = ok || ans.Code == code
		}
		if !ok {
			t.Errorf("%s: refused as %s, want one of %v", name, ans.Code, c.codes)
		}
	}
}

func TestTheSaltOpensTheReceiptToItsOwner(t *testing.T) {
	t.Parallel()
	g := shared(t)
	const args = `{"query":"coffee"}`
	p := g.run(t, "", nil, "plan", "--quiet", "--tool", "demo/notes_search", "--args", args)
	tok := g.run(t, "", nil, "token", strings.TrimSpace(p.out))
	c := g.run(t, "", []string{"GATEWRIGHT_INTENT=" + strings.TrimSpace(tok.out)}, "call", "demo/notes_search", "--args", args, "--json")
	var said struct{ Record, Receipt, Salt string }
	if err := json.Unmarshal([]byte(c.out), &said); err != nil || c.code != 0 || said.Salt == "" {
		t.Fatalf("call: %+v", c)
	}
	for _, v := range []struct {
		code       int
		args, salt string
	}{{0, args, said.Salt}, {1, `{"query":"tea"}`, said.Salt}, {1, args, strings.Repeat("A", 22)}} {
		if r := g.run(t, said.Receipt, nil, "verify", "-", "--data", g.Dir, "--args", v.args, "--salt="+v.salt); r.code != v.code {
			t.Errorf("verify with %s and salt %s: %+v", v.args, v.salt, r)
		}
	}
}

// certificate writes a new self-signed certificate with its key and returns its serial number.
func certificate(t *testing.T, dir string) *big.Int {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "gatewright"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return number
}

func TestBothPortsSpeakTLSAndReadNewCertificatesOnSIGHUP(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := certificate(t, dir)
	section := fmt.Sprintf(" {\n  tls_cert = %q\n  tls_key = %q\n}\n", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	g := start(t, Setup{HCL: "proxy" + section + "control" + section})
	if !strings.HasPrefix(g.URL, "https://") || !strings.HasPrefix(g.Control, "https://") || g.Env["GATEWRIGHT_URL"] != g.URL {
		t.Fatalf("serves at %s and %s, demo.env says %s", g.URL, g.Control, g.Env["GATEWRIGHT_URL"])
	}
	shown := func(url string, c *tls.Config) (*big.Int, error) {
		c.InsecureSkipVerify = true // the test makes the certificate and looks at its number
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), c)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber, nil
	}
	for _, url := range []string{g.URL, g.Control} {
		if n, err := shown(url, &tls.Config{}); err != nil || n.Cmp(first) != 0 {
			t.Errorf("%s shows %v (%v)", url, n, err)
		}
		if _, err := shown(url, &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
			t.Errorf("%s speaks TLS 1.2", url)
		}
		if a, err := trySend("GET", strings.Replace(url, "https://", "http://", 1)+"/health", nil, ""); err == nil && a.Status < 400 {
			t.Errorf("%s answers plaintext: %s", url, a)
		}
	}
	second := certificate(t, dir)
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{g.URL, g.Control} {
		waitFor(t, "the new certificate at "+url, func() bool {
			n, err := shown(url, &tls.Config{})
			return err == nil && n.Cmp(second) == 0
		})
	}
	writeFile(t, filepath.Join(dir, "cert.pem"), "broken")
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a word about the broken certificate", func() bool { return strings.Contains(g.Log(), "certificate") })
	if n, err := shown(g.URL, &tls.Config{}); err != nil || n.Cmp(second) != 0 {
		t.Errorf("after a broken certificate %v (%v)", n, err)
	}
}
