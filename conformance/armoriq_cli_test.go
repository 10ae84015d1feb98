package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ArmorIQ's command line, as a person uses it who has no key: sign in with a code that somebody approves, look around, and
// propose a policy that somebody puts in force.

// person runs the command line with a home folder of its own and no key in the environment.
type person struct {
	g    *Gateway
	home string
	page string // where the gateway says that codes are approved
}

func (p *person) command(t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), installed(t, "python", "bin", "armoriq"), args...)
	cmd.Dir = p.home
	cmd.Env = []string{
		"HOME=" + p.home, "PATH=/nonexistent", "BACKEND_ENDPOINT=" + p.g.URL, "PROXY_ENDPOINT=" + p.g.URL, "IAP_ENDPOINT=" + p.g.URL, "ARMORIQ_DASHBOARD_URL=" + p.page,
	}
	return cmd
}

// does runs a command and returns its exit code and all that it wrote.
func (p *person) does(t testing.TB, args ...string) (int, string) {
	t.Helper()
	cmd := p.command(t, args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// succeeds runs a command that must exit 0 and say all of these.
func (p *person) succeeds(t testing.TB, says []string, args ...string) string {
	t.Helper()
	code, out := p.does(t, args...)
	for _, s := range says {
		if code != 0 || !strings.Contains(out, s) {
			t.Fatalf("armoriq %s: exit %d, want %q in\n%s", strings.Join(args, " "), code, s, out)
		}
	}
	return out
}

var userCode = regexp.MustCompile(`[B-Z]{4}-[B-Z]{4}`)

// signIn runs armoriq login and decides about its code as soon as it shows one.
func (p *person) signIn(t testing.TB, decide ...string) (int, string) {
	t.Helper()
	cmd := p.command(t, "login", "--force")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	decided := false
	for buf := make([]byte, 4096); ; {
		n, err := pipe.Read(buf)
		out.Write(buf[:n])
		if code := userCode.FindString(out.String()); code != "" && !decided {
			decided = true
			if r := p.g.run(t, "", nil, append([]string{"agent", decide[0], code}, decide[1:]...)...); r.code != 0 {
				t.Fatalf("agent %s %s: %+v", decide[0], code, r)
			}
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String() + log.String()
}

// narrow lets agents compute and nothing else, in ArmorIQ's words.
const narrow = `{"schemaVersion":"armor.policy.v1","kind":"PolicyProfile","metadata":{"name":"only-sums","description":"Sums alone."},
"defaults":{"decision":"deny","conflictResolution":"deny_overrides"},
"statements":[{"id":"sums","effect":"permit","principal":{"type":"agent","id":"*"},"action":{"type":"mcp_tool","eq":"calculate"},"resource":{"type":"workspace","scope":"current"},"conditions":[]}]}`

func TestArmorIQCommandLineSignsInAndProposes(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	p := &person{g: g, home: t.TempDir()}
	begun := send(t, "POST", g.URL+"/auth/device/code", head{"Content-Type": "application/json"}, "{}")
	var code struct {
		At string `json:"verification_uri_complete"`
	}
	if err := json.Unmarshal([]byte(begun.Body), &code); err != nil || begun.Status != http.StatusOK {
		t.Fatalf("device code: %s", begun)
	}
	at, err := url.Parse(code.At)
	if err != nil || at.Host == "" {
		t.Fatalf("codes are approved at %q (%v)", code.At, err)
	}
	p.page = at.Scheme + "://" + at.Host

	if code, out := p.signIn(t, "deny"); code == 0 {
		t.Errorf("signed in although it was denied:\n%s", out)
	}
	if code, out := p.signIn(t, "approve", "--name", "laptop"); code != 0 || !strings.Contains(out, "Logged in as") {
		t.Fatalf("login: exit %d\n%s", code, out)
	}
	p.succeeds(t, []string{"demo"}, "orgs")
	p.succeeds(t, []string{p.g.URL}, "whoami")
	p.proposes(t)
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// proposes: what a person proposes changes nothing until an admin approves it, and then holds for everybody.
func (p *person) proposes(t *testing.T) {
	t.Helper()
	file := filepath.Join(p.home, "policy.json")
	writeFile(t, file, narrow)
	a := p.g.newAgent(t)
	_, tok := a.planned(t, calculate, `{"server":"demo","tool":"notes_list","args":{"limit":3},"uses":0}`)
	notes := func() answer { return a.call(t, "demo", "notes_list", `{"limit":3}`, tok.Token) }

	if code, out := p.does(t, "policy", "propose", "--file", file, "--activate", "--yes"); code == 0 {
		t.Errorf("an agent's key put a policy in force:\n%s", out)
	}
	notes().ok(t)
	p.succeeds(t, []string{"Proposed"}, "policy", "propose", "--file", file)
	notes().ok(t)
	r := p.g.run(t, "", nil, "proposal", "list", "--json")
	var list []struct{ ID, State string }
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || r.code != 0 {
		t.Fatalf("proposal list: %v %+v", err, r)
	}
	i := slices.IndexFunc(list, func(one struct{ ID, State string }) bool { return one.State == "pending" })
	if i < 0 {
		t.Fatalf("nothing is proposed: %s", r.out)
	}
	if r := p.g.run(t, "", nil, "proposal", "approve", list[i].ID); r.code != 0 {
		t.Fatalf("proposal approve: %+v", r)
	}
	notes().refused(t, "policy_denied")
	a.call(t, "demo", "calculate", `{"expression":"6*7"}`, tok.Token).ok(t)
	p.succeeds(t, []string{"only-sums"}, "policy", "show")
	p.g.manage(t, p.g.Admin(), "DELETE", "/api/v1/profile", nil, nil)
	waitFor(t, "the profile's end", func() bool { return notes().Result != nil })
}
