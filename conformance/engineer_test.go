package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// README's page for a security team is walked here as it stands: its files are written, its commands run one after another
// against a real gateway and a real server, and what it shows is compared with what comes. Between its commands agents of
// other kinds call, and the ledger is asked what it makes of it.

// database is an MCP server with the tool "query".
type database struct {
	url   string
	asked atomic.Int64
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{}
	type in struct {
		Query string `json:"query"`
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "sql", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "query"}, func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		d.asked.Add(1)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "3 rows"}}}, nil, nil
	})
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	t.Cleanup(web.Close)
	d.url = web.URL
	return d
}

// terminal is a person's terminal: what one block exports the next one has.
type terminal struct {
	g   *Gateway
	dir string
}

func (g *Gateway) terminal(t testing.TB) *terminal {
	t.Helper()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(g.Dir)
	if err := os.Symlink(filepath.Join(top, "policies"), filepath.Join(dir, "policies")); err != nil {
		t.Fatal(err)
	}
	x := &terminal{g, dir}
	x.types(t, ". data/demo.env", 0)
	return x
}

// types runs a script, and returns all that it wrote.
func (x *terminal) types(t testing.TB, script string, code int) string {
	t.Helper()
	all := "exec 2>&1\n[ ! -e .typed ] || . ./.typed\ntrap 'export -p > .typed' EXIT\n" + script + "\n"
	r := x.g.shell(t, all)
	if r.code != code {
		t.Fatalf("exit %d, want %d:\n%s\n%s%s", r.code, code, script, r.out, r.err)
	}
	return r.out
}

// followed runs the shell block of README that begins with a line, and compares what comes with the block behind it.
func (x *terminal) followed(t testing.TB, first string, code int) string {
	t.Helper()
	script := block(t, "sh", first)
	got := x.types(t, script, code)
	text := document(t, "README.md")
	behind := text[strings.Index(text, script)+len(script)+len("```"):]
	if m := regexp.MustCompile("(?s)^\n\n```\n(.*?)```\n").FindStringSubmatch(behind); m != nil {
		shows(t, got, m[1])
	}
	return got
}

// plainBlock finds the one block of README without a language that holds a text.
func plainBlock(t testing.TB, holds string) string {
	t.Helper()
	for i, part := range strings.Split("\n"+document(t, "README.md"), "\n```") {
		if text, ok := strings.CutPrefix(part, "\n"); ok && i%2 == 1 && strings.Contains(text, holds) {
			return text + "\n"
		}
	}
	t.Fatalf("README has no block with %q", holds)
	return ""
}

// shows holds what came against what a document says: its lines, in their order. Blanks and "..." stand for what differs
// from one time to the next.
func shows(t testing.TB, got, want string) {
	t.Helper()
	lines := strings.Split(got, "\n")
	for w := range strings.Lines(want) {
		pattern := regexp.QuoteMeta(strings.TrimSuffix(w, "\n"))
		pattern = regexp.MustCompile(` +`).ReplaceAllString(strings.ReplaceAll(pattern, `\.\.\.`, `\S+`), ` +`)
		i := slices.IndexFunc(lines, regexp.MustCompile("^"+pattern+" *$").MatchString)
		if i < 0 {
			t.Errorf("README shows\n%sand what comes is\n%s", w, got)
			return
		}
		lines = lines[i+1:]
	}
}

// queries are the calls of an agent, and what each came to.
func (a agent) queries(t testing.TB, token string, queries ...string) (records []string) {
	t.Helper()
	for _, q := range queries {
		records = append(records, a.query(t, token, q).ok(t).Record)
	}
	return records
}

func (a agent) query(t testing.TB, token, query string) answer {
	t.Helper()
	return a.call(t, "sql", "query", fmt.Sprintf(`{"query":%q}`, query), token)
}

// analyst is a new agent with a plan to ask the database whatever it likes.
func (g *Gateway) analyst(t testing.TB) (agent, string) {
	t.Helper()
	a := g.newAgent(t)
	_, tok := a.planned(t, `{"server":"sql","tool":"query","uses":0,"where":{"query":{"open":true}}}`)
	return a, tok.Token
}

// tried is what `policy shadow` says.
type tried struct {
	Mode    string
	Current []struct{ Count int }
	Latest  []struct{ Record, Agent, From, To string }
}

func (g *Gateway) tried(t testing.TB) (s tried) {
	t.Helper()
	r := g.run(t, "", nil, "policy", "shadow", "--json")
	if err := json.Unmarshal([]byte(r.out), &s); err != nil || r.code != 0 {
		t.Fatalf("%v %+v", err, r)
	}
	return s
}

const (
	salaries = "select * from payroll"
	orders   = "select * from orders"
	byName   = "payroll.cedar:1 no-payroll"
)

func TestASecurityEngineerShipsAPolicy(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		missing(t, "git")
	}
	db := newDatabase(t)
	g := start(t, Setup{HCL: fmt.Sprintf("server \"sql\" {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n}\n", db.url)})
	x := g.terminal(t)

	// Written, checked and tested, with nothing of the gateway.
	x.followed(t, "cp -r policies/default", 0)
	bundle := filepath.Join(x.dir, "my-policies")
	writeFile(t, filepath.Join(bundle, "payroll.cedar"), block(t, "cedar", "no-payroll"))
	writeFile(t, filepath.Join(bundle, "tests", "payroll.txtar"), plainBlock(t, "-- case nobody reads the payroll --"))
	x.followed(t, "gatewright policy check", 0)

	// Agents have called: two of them, three times for the payroll.
	one, token := g.analyst(t)
	two, other := g.analyst(t)
	theirs := append(one.queries(t, token, salaries, orders, salaries), two.queries(t, other, orders, salaries)...)
	x.followed(t, "gatewright policy replay", 0)
	var flips []string
	for _, i := range []int{0, 2, 4} {
		flips = append(flips, g.admittedOf(t, theirs[i]))
	}
	slices.Sort(flips)
	r, _ := g.replayed(t, bundle)
	if !slices.Equal(flipped(&r), flips) || len(r.Groups) != 1 || r.Groups[0].Policy != byName || r.Unexplained.Total() != 0 {
		t.Errorf("%+v, want %q", r, flips)
	}
	if got := x.types(t, "gatewright policy explain "+theirs[0]+" --under my-policies", 0); !strings.Contains(got, "the record says allow") {
		t.Error(got)
	}

	// In shadow nothing is refused, and what would have been is counted.
	x.followed(t, "gatewright policy push", 0)
	flip := ""
	waitFor(t, "a call's comparison", func() bool { // on a busy machine some calls are not compared
		flip = one.queries(t, token, orders, salaries)[1]
		return g.tried(t).Latest[0].Record == flip
	})
	if s := g.tried(t); s.Mode != "shadow" || s.Latest[0].Agent != one.id || s.Latest[0].From+s.Latest[0].To != "allowdeny" || s.Current[0].Count < 2 {
		t.Errorf("%+v, want %s of %s", s, flip, one.id)
	}

	g.canary(t, x, db)

	// In force: refused before the database hears of it, by name, on the record.
	asked := db.asked.Load()
	got := x.followed(t, "gatewright policy activate 2\n", 1)
	refused := regexp.MustCompile(`rec_\w{26}`).FindString(got)
	ans := two.query(t, other, salaries).refused(t, "policy_denied")
	if !strings.Contains(ans.Message, "Salaries are read") || db.asked.Load() != asked {
		t.Errorf("%s, and the database was asked %d times", ans, db.asked.Load()-asked)
	}
	two.queries(t, other, orders)
	if rec := g.find(t, refused); !strings.Contains(rec.Raw, `"`+byName+`"`) {
		t.Errorf("the record does not name the policy: %s", rec.Raw)
	}
	shows(t, x.types(t, "gatewright policy explain "+refused, 0), plainBlock(t, "sql/query: deny, by"))

	// And gone at once.
	x.followed(t, "gatewright policy rollback", 0)
	two.queries(t, other, salaries)
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// canary follows README to a share of the agents: each is answered in one way, and not all in the same.
func (g *Gateway) canary(t testing.TB, x *terminal, db *database) {
	t.Helper()
	x.followed(t, "gatewright policy activate 2 --canary", 0)
	passed, stopped := 0, 0
	for n := 0; n < 64 && (passed == 0 || stopped == 0); n++ {
		a, token := g.analyst(t)
		a.queries(t, token, orders)
		asked := db.asked.Load()
		first, second := a.query(t, token, salaries), a.query(t, token, salaries)
		switch {
		case first.Result != nil && second.Result != nil:
			passed++
		case first.Code == "policy_denied" && second.Code == "policy_denied" && db.asked.Load() == asked:
			stopped++
		default:
			t.Fatalf("an agent is answered in two ways: %s, %s", first, second)
		}
	}
	if passed == 0 || stopped == 0 {
		t.Errorf("in canary %d agents pass and %d are stopped", passed, stopped)
	}
}

// TestASignedRepositoryIsInForce is README's other way: commits come into force if a key signed them.
func TestASignedRepositoryIsInForce(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"git", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program)
		}
	}
	dir := bundleFolder(t, smallSums)
	commit := func(version, limit int, sign bool) string {
		writeFile(t, filepath.Join(dir, "manifest.json"), fmt.Sprintf(`{"format":1,"name":"acme","version":%d}`, version))
		writeFile(t, filepath.Join(dir, "own.cedar"), strings.Replace(smallSums, "> 10", fmt.Sprintf("> %d", limit), 1))
		script := "git init -q -b main\n[ -e ../policy.key ] || openssl genpkey -algorithm ed25519 -out ../policy.key 2> /dev/null\n"
		if sign {
			script += made.gateway + " policy sign . --key ../policy.key --name acme-policies 2> /dev/null\n"
		}
		cmd := exec.Command("sh", "-eu", "-c", script+"git add .\ngit -c user.name=a -c user.email=a@example.com commit -q -m edition")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	build(t)
	key := commit(1, 10, true)
	hcl := regexp.MustCompile(`keys = \[".*"\]`).ReplaceAllLiteralString(block(t, "hcl", "git.example"), fmt.Sprintf("keys = [%q]\n  poll = \"0s\"", key))
	g := start(t, Setup{HCL: strings.Replace(hcl, "https://git.example/acme/policies", "file://"+dir, 1)})
	a := g.newAgent(t)
	_, tok := a.planned(t, `{"server":"demo","tool":"notes_list","uses":0,"where":{"limit":{"open":true}}}`)
	list := func(limit int) answer {
		return a.call(t, "demo", "notes_list", fmt.Sprintf(`{"limit":%d}`, limit), tok.Token)
	}
	list(11).refused(t, "policy_denied")
	shows(t, g.run(t, "", nil, "policy", "history").out, "1 enforced ... git ... - acme-policies acme ...\n")

	commit(2, 15, false)
	if ans := g.control(t, g.Admin(), "POST", "/api/v1/bundles/reload", nil); ans.Status < 400 || !strings.Contains(ans.Body, "sign") {
		t.Errorf("an unsigned edition was answered %s", ans)
	}
	list(11).refused(t, "policy_denied")
	commit(3, 15, true)
	g.manage(t, g.Admin(), "POST", "/api/v1/bundles/reload", nil, nil)
	list(11).ok(t)
	list(16).refused(t, "policy_denied")
}
