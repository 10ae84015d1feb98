package conformance_test

import (
	"bufio"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// A gateway for the tests of ArmorIQ's request flow, and requests to it in raw HTTP: no client stands between.

// armored is the gateway of these tests: the organisations demo and other, two servers with the same tools, and logins.
type armored struct {
	*Gateway
	base  string
	other string // admin key of the organisation "other", which has a server e2e of its own
	their *httptest.Server
	books books
	eddsa ed25519.PrivateKey
	rsa   *rsa.PrivateKey
	mac   []byte
}

// armory has the one gateway while any test wants it.
var armory struct {
	sync.Mutex
	wanted int
	is     *armored
}

// requestFlow makes the test parallel and gives it the gateway. All tests that want it have said so before the first of
// them goes on, so that one gateway serves them all.
func requestFlow(t *testing.T) *armored {
	t.Helper()
	armory.Lock()
	armory.wanted++
	armory.Unlock()
	t.Cleanup(func() {
		armory.Lock()
		defer armory.Unlock()
		if armory.wanted--; armory.wanted == 0 && armory.is != nil {
			armory.is.end()
			armory.is = nil
		}
	})
	t.Parallel()
	armory.Lock()
	defer armory.Unlock()
	if armory.is == nil {
		armory.is = newArmored(t)
	}
	return armory.is
}

func (a *armored) end() {
	_ = a.Kill()
	a.their.Close()
	_ = os.RemoveAll(a.base)
}

const (
	audience = "gatewright-tests"
	idp      = "https://idp.example"
)

func newArmored(t *testing.T) *armored {
	t.Helper()
	e2e := builtE2EServer(t)
	base, err := os.MkdirTemp("", "gatewright-armored") //nolint:usetesting // outlives the test that needs it first
	must(t, err)
	a := &armored{base: base, Gateway: &Gateway{Dir: filepath.Join(base, "data"), Work: filepath.Join(base, "empty")}, mac: []byte(strings.Repeat("a secret of the issuer ", 2)), their: httptest.NewServer(http.HandlerFunc(namesake))}
	made := false
	t.Cleanup(func() { // what did not come up leaves nothing either
		if !made {
			a.end()
		}
	})
	_, a.eddsa, err = ed25519.GenerateKey(rand.Reader)
	must(t, err)
	a.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	a.Setup.Env = []string{"GATEWRIGHT_CFG_MODE=production"} // as an operator makes the second organisation
	must(t, a.begin())
	operator := regexp.MustCompile(`ak_live_\S{40,}`).FindString(a.Out())
	var other struct{ Key struct{ Secret string } }
	a.manage(t, operator, "POST", "/api/v1/organisations", map[string]any{"id": "other", "name": "Other", "admin": map[string]any{"name": "Other admin"}}, &other)
	a.other = other.Key.Secret
	a.Stop(t)
	a.Setup = Setup{HCL: a.settings(t, e2e)}
	must(t, a.begin())
	a.offers(t, "e2e", "pay")
	a.offers(t, "twin", "pay")
	a.manage(t, a.other, "POST", "/api/v1/servers", map[string]any{"name": "e2e", "url": a.their.URL + "/mcp", "allow_private": true, "era": "modern"}, nil)
	a.manage(t, a.other, "POST", "/api/v1/servers/e2e/refresh", nil, nil)
	made = true
	return a
}

// namesake is a server with the tools of e2e that says whose it is.
func namesake(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.NewDecoder(r.Body).Decode(&m)
	result := `{"resultType":"complete","content":[{"type":"text","text":"theirs"}]}`
	switch m.Method {
	case "server/discover":
		result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"1"}}}`
	case "tools/list":
		result = `{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"noop","inputSchema":{"type":"object"}},{"name":"denied","inputSchema":{"type":"object"}},
			{"name":"pay","inputSchema":{"type":"object","properties":{"amount":{"type":"number"},"recipient":{"type":"string"}},"required":["amount","recipient"]}}]}`
	}
	answerRPC(w, string(m.ID), result)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settings are the suite's policies and server, that server a second time, and one login for each algorithm.
func (a *armored) settings(t *testing.T, e2e string) string {
	t.Helper()
	in := func(name string) string { return filepath.Join(a.base, name) }
	must(t, os.CopyFS(in("bundle"), os.DirFS(filepath.Join("..", "policies", "default"))))
	own, err := fs.ReadFile(os.DirFS("armoriq"), "e2e.cedar")
	must(t, err)
	writeFile(t, filepath.Join(in("bundle"), "own.cedar"), string(own))
	writeFile(t, in("eddsa.json"), fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":%q}]}`, b64(a.eddsa.Public().(ed25519.PublicKey))))
	writeFile(t, in("rsa.json"), fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"k1","n":%q,"e":%q}]}`, b64(a.rsa.N.Bytes()), b64(big.NewInt(int64(a.rsa.E)).Bytes())))
	writeFile(t, in("mac"), string(a.mac))
	hcl := fmt.Sprintf("policies {\n  bundle = %q\n}\n", in("bundle"))
	for _, name := range []string{"e2e", "twin"} {
		hcl += fmt.Sprintf("server %q {\n  tenant = \"demo\"\n  command = [%q]\n}\n", name, e2e)
	}
	for alg, file := range map[string]string{"EdDSA": `jwks_file = "eddsa.json"`, "RS256": `jwks_file = "rsa.json"`, "HS256": `secret_file = "mac"`} {
		hcl += fmt.Sprintf("login %q {\n  tenant = \"demo\"\n  iss = %q\n  audience = %q\n  algorithm = %q\n  agent_claim = \"azp\"\n  %s\n}\n",
			strings.ToLower(alg), idp+"/"+alg, audience, alg, strings.Replace(file, `= "`, `= "`+a.base+"/", 1))
	}
	return hcl
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	must(t, err)
	return b
}

// jws writes a signed object.
func jws(t testing.TB, header, claims map[string]any, sign func(text []byte) []byte) string {
	t.Helper()
	text := b64([]byte(marshal(t, header))) + "." + b64([]byte(marshal(t, claims)))
	return text + "." + b64(sign([]byte(text)))
}

func byEdDSA(key ed25519.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte { return ed25519.Sign(key, text) }
}

func byHMAC(key []byte) func([]byte) []byte {
	return func(text []byte) []byte {
		m := hmac.New(sha256.New, key)
		m.Write(text)
		return m.Sum(nil)
	}
}

func byRSA(key *rsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		out, _ := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		return out
	}
}

// visitor is a person who works through an agent, with what a login of theirs claims.
type visitor struct {
	a           *armored
	user, email string
	agent       agent
}

func (a *armored) visitor(t testing.TB) visitor {
	t.Helper()
	v := visitor{a: a, email: fmt.Sprintf("person%d@acme.example", serial.Add(1)), agent: a.newAgent(t)}
	var made struct{ ID string }
	a.manage(t, a.Admin(), "POST", "/api/v1/users", map[string]any{"name": v.email, "email": v.email, "role": "Member"}, &made)
	v.user = made.ID
	return v
}

// claims are those of a login that is good; more changes them, nil takes one out.
func (v visitor) claims(alg string, more map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": idp + "/" + alg, "aud": audience, "sub": "auth0|1", "email": v.email, "azp": v.agent.id, "iat": now, "exp": now + 900}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, value any) bool { return value == nil })
	return c
}

// login is a JWT of the person.
func (v visitor) login(t testing.TB, alg string, more map[string]any) string {
	t.Helper()
	sign := map[string]func([]byte) []byte{"EdDSA": byEdDSA(v.a.eddsa), "RS256": byRSA(v.a.rsa), "HS256": byHMAC(v.a.mac)}[alg]
	return jws(t, map[string]any{"alg": alg, "typ": "JWT", "kid": "k1"}, v.claims(alg, more), sign)
}

// says sends a request exactly as it is spelled here.
func (a *armored) says(t testing.TB, method, path string, headers []string, body any) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL, "http://"))
	must(t, err)
	defer conn.Close()
	text, ok := body.(string)
	if !ok && body != nil {
		text = marshal(t, body)
	}
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + conn.RemoteAddr().String(), "Connection: close"}, headers...)
	if body != nil {
		lines = append(lines, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(text)))
	}
	_, err = conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + text))
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	must(t, err)
	defer resp.Body.Close()
	return read(resp.StatusCode, resp.Header, []byte(readAll(resp)))
}

// into reads a 200 answer.
func (a answer) into(t testing.TB, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), out); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%v in %s", err, a)
	}
}

// members are those of an answer, whatever its status.
func (a answer) members(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.Body), &out); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	return out
}

// granted is an answer of any of the three addresses that issue tokens.
type granted struct {
	Success    bool
	Token      json.RawMessage
	ProxyToken string            `json:"proxy_token"`
	JWT        string            `json:"jwt_token"`
	PlanID     string            `json:"plan_id"`
	PlanHash   string            `json:"plan_hash"`
	Root       string            `json:"merkle_root"`
	Reference  string            `json:"intent_reference"`
	Proofs     []json.RawMessage `json:"step_proofs"`
	Graph      struct {
		Nodes []struct {
			ID, Path, MCP, Action string
			Index                 int
			Leaf                  string `json:"leaf_hash"`
		}
		Edges []struct{ From, To string }
	} `json:"reasoning_graph"`
	Validation struct {
		Denied []string `json:"denied_tools"`
	} `json:"policy_validation"`
}

// compact is the token inside of the token object.
func (g granted) compact(t testing.TB) string {
	t.Helper()
	var o struct{ JWT string }
	must(t, json.Unmarshal(g.Token, &o))
	return o.JWT
}

// steps of a plan as clients write them.
type steps []map[string]any

func (s steps) plan() map[string]any { return map[string]any{"goal": "test", "steps": s} }

func of(mcp, action string, params map[string]any, after ...int) map[string]any {
	s := map[string]any{"mcp": mcp, "action": action, "tool": action, "params": params}
	if after != nil {
		s["after"] = after
	}
	return s
}

func payment(amount any, to string) map[string]any {
	return map[string]any{"amount": amount, "recipient": to}
}

// usual are three steps, so that proofs have siblings on both sides.
func usual() steps {
	return steps{of("e2e", "noop", map[string]any{}), of("e2e", "pay", payment(10, "a@b.example"), 0), of("twin", "pay", payment(20, "a@b.example"), 0, 1)}
}

// asked takes a token at an address with these headers.
func (a *armored) asked(t testing.TB, path string, headers []string, plan steps) granted {
	t.Helper()
	var out granted
	a.says(t, "POST", path, headers, map[string]any{"plan": plan.plan()}).into(t, &out)
	if !out.Success || out.PlanID == "" || len(out.Proofs) != len(plan) || out.Reference == "" {
		t.Fatalf("%s: %+v", path, out)
	}
	return out
}

// proving are the two headers of a step's proof.
func (g granted) proving(i int, leaf string) []string {
	return []string{fmt.Sprintf("X-CSRG-Path: /steps/[%d]/%s", i, leaf), "X-CSRG-Proof: " + string(g.Proofs[i])}
}

func called(mcp, action string, params map[string]any, more ...map[string]any) map[string]any {
	out := map[string]any{"mcp": mcp, "action": action, "tool": action, "params": params, "arguments": params}
	for _, m := range more {
		maps.Copy(out, m)
	}
	return out
}

// folded is the root that a proof leads to from a leaf, as RFC 6962 has it.
func folded(t *testing.T, leaf string, proof json.RawMessage) string {
	t.Helper()
	at := unhex(t, leaf)
	var siblings []struct {
		Position string
		Hash     string `json:"sibling_hash"`
	}
	must(t, json.Unmarshal(proof, &siblings))
	for _, s := range siblings {
		pair := slices.Concat([]byte{1}, at, unhex(t, s.Hash))
		if s.Position == "left" {
			pair = slices.Concat([]byte{1}, unhex(t, s.Hash), at)
		}
		sum := sha256.Sum256(pair)
		at = sum[:]
	}
	return hex.EncodeToString(at)
}

// content is the sealed plan as the control port has it, of which the hash is recomputed from its text.
func (a *armored) content(t testing.TB, g granted) map[string]any {
	t.Helper()
	var out struct{ Content json.RawMessage }
	a.manage(t, a.Admin(), "GET", "/api/v1/plans/"+g.PlanID+"/content", nil, &out)
	text, err := canon.AppendCanonical(nil, out.Content, canon.DefaultLimits())
	must(t, err)
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != g.PlanHash {
		t.Errorf("plan_hash %s is not that of %s", g.PlanHash, text)
	}
	var p map[string]any
	must(t, json.Unmarshal(out.Content, &p))
	return p
}

// book is an organisation's ledger by record id, as far as it was read.
type book struct {
	sync.Mutex
	next    uint64
	records map[string]record
}

// books are those of this gateway, by the admin key that reads them.
type books struct {
	sync.Mutex
	by map[string]*book
}

// record is a record of an organisation by its id, zero when the ledger has none.
func (a *armored) record(t testing.TB, admin, id string) record {
	t.Helper()
	a.books.Lock()
	if a.books.by == nil {
		a.books.by = map[string]*book{}
	}
	if a.books.by[admin] == nil {
		a.books.by[admin] = &book{records: map[string]record{}}
	}
	b := a.books.by[admin]
	a.books.Unlock()
	b.Lock()
	defer b.Unlock()
	for more := true; more; {
		if r, ok := b.records[id]; ok {
			return r
		}
		var page struct {
			Items []struct{ Record json.RawMessage }
			Next  *uint64
		}
		a.manage(t, admin, "GET", fmt.Sprintf("/api/v1/ledger/records?limit=1000&from=%d", b.next), nil, &page)
		for _, i := range page.Items {
			r := record{Index: b.next, Raw: string(i.Record)}
			must(t, json.Unmarshal(i.Record, &r))
			b.records[r.ID] = r
			b.next++
		}
		more = page.Next != nil
	}
	return b.records[id]
}

// recorded is the record that an answer names, and the one before it that let the call out.
func (a *armored) recorded(t testing.TB, ans answer) (outcome, let record) {
	t.Helper()
	outcome = a.record(t, a.Admin(), ans.Record)
	return outcome, a.record(t, a.Admin(), outcome.Of)
}

// onLedger fails the test unless the ledger has the answer as a refusal under this code.
func (a *armored) onLedger(t testing.TB, ans answer, code string) {
	t.Helper()
	if r, _ := a.recorded(t, ans); r.Kind != "refused" || r.Code != code {
		t.Errorf("the ledger has %q as %s, want %s; answered %s", ans.Record, r.Raw, code, ans)
	}
}

// changedToken is the token object with one member changed; nil takes it out.
func changedToken(t testing.TB, token json.RawMessage, member string, value any) json.RawMessage {
	t.Helper()
	var o map[string]any
	d := json.NewDecoder(strings.NewReader(string(token)))
	d.UseNumber()
	must(t, d.Decode(&o))
	if o[member] = value; value == nil {
		delete(o, member)
	}
	return json.RawMessage(marshal(t, o))
}

// selfSigned is the object signed again by a key of whoever changed it, which it then names.
func selfSigned(t testing.TB, token json.RawMessage, key ed25519.PrivateKey) json.RawMessage {
	t.Helper()
	token = changedToken(t, token, "public_key", hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	return changedToken(t, token, "signature", hex.EncodeToString(ed25519.Sign(key, signedText(t, token))))
}

// signedText is what the object's signature covers: seven members in Python's form.
func signedText(t testing.TB, token json.RawMessage) []byte {
	t.Helper()
	var o map[string]json.RawMessage
	must(t, json.Unmarshal(token, &o))
	of := map[string]json.RawMessage{}
	for _, name := range []string{"plan_hash", "issued_at", "expires_at", "policy", "identity", "public_key", "version"} {
		if of[name] = o[name]; o[name] == nil {
			of[name] = json.RawMessage("null")
		}
	}
	text, err := canon.AppendPython(nil, []byte(marshal(t, of)), canon.DefaultLimits())
	must(t, err)
	return text
}

// siblings are the hashes of a step's proof.
func (g granted) siblings(t testing.TB, i int) []string {
	t.Helper()
	found := regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(string(g.Proofs[i]), -1)
	if found == nil {
		t.Fatalf("no hash in %s", g.Proofs[i])
	}
	return found
}
