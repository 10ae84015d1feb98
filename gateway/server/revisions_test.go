package server_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
)

// pushed hands a bundle in and returns its number.
func (r *running) pushed(cedar string) int {
	r.t.Helper()
	var v struct{ Number int }
	r.control("POST", "/api/v1/policies/revisions", r.env["GATEWRIGHT_ADMIN_KEY"], fmt.Sprintf(`{"files":{"own.cedar":%q}}`, cedar), 201, &v)
	return v.Number
}

func (r *running) activated(number int, mode string) {
	r.t.Helper()
	r.control("POST", fmt.Sprintf("/api/v1/policies/revisions/%d/activate", number), r.env["GATEWRIGHT_ADMIN_KEY"], `{"mode":`+mode+`}`, 200, nil)
}

const everything = "permit (principal, action, resource);\n"

// TestPoliciesAreSwappedUnderLoadWithoutAFailedRequest: agents work while revisions are enforced, tried and rolled back,
// and broken ones are refused in between.
func TestPoliciesAreSwappedUnderLoadWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	key := r.env["GATEWRIGHT_API_KEY"]
	first := r.pushed(everything)
	r.activated(first, `"enforce"`)
	second := r.pushed(everything + "@id(\"never\") forbid (principal, action, resource) when { false };\n")
	ctx, stop := context.WithCancel(t.Context())
	var asked, failed atomic.Int64
	var agents sync.WaitGroup
	for range 4 {
		c := r.agent(key)
		agents.Go(func() {
			for ctx.Err() == nil {
				list, err := c.ListTools(t.Context(), "")
				if asked.Add(1); err != nil || len(list) != 2 {
					failed.Add(1)
					t.Errorf("%d tools: %v", len(list), err)
				}
			}
		})
	}
	for i := range 20 {
		r.activated(second, []string{`"enforce"`, `"shadow"`, `"canary","percent":50`}[i%3])
		r.control("POST", "/api/v1/policies/revisions", r.env["GATEWRIGHT_ADMIN_KEY"], `{"files":{"own.cedar":"permit (principal);"}}`, 422, nil)
		r.control("POST", "/api/v1/policies/rollback", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	}
	stop()
	agents.Wait()
	if failed.Load() != 0 || asked.Load() < 20 {
		t.Errorf("%d of %d requests failed over 40 changes", failed.Load(), asked.Load())
	}
	t.Logf("%d requests over 40 changes, %d failed", asked.Load(), failed.Load())
}

func TestARollbackTakesEffectAtOnceAndOutlastsARestart(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	key := func() string { return r.env["GATEWRIGHT_API_KEY"] }
	r.activated(r.pushed(everything), `"enforce"`)
	r.activated(r.pushed(everything+"forbid (principal, action == Action::\"files___slow\", resource);\n"), `"enforce"`)
	if got := r.tools(key()); got != "echo" {
		t.Errorf("sees %q", got)
	}
	r.control("POST", "/api/v1/policies/rollback", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	if got := r.tools(key()); got != "echo slow" {
		t.Errorf("after the rollback sees %q", got)
	}
	r.stop()
	r = run(t, o, out, log)
	if got := r.tools(key()); got != "echo slow" {
		t.Errorf("after a restart sees %q", got)
	}
	records := r.control("GET", "/api/v1/ledger/records", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	for _, op := range []string{"load", "push", "activate", "rollback"} {
		if !strings.Contains(records, `"op":"`+op+`"`) {
			t.Errorf("no record of %s", op)
		}
	}
}

// until waits for what a watch brings.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20s", what)
		}
	}
}

func TestAWatchedFolderIsTakenAndABrokenOneRaisesAnAlarm(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "own.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(everything)
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Policies.Bundle, c.Policies.Watch = folder, 50*time.Millisecond
	})
	r := run(t, o, out, log)
	key, admin := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"]
	alarm := func() bool {
		return strings.Contains(r.control("GET", "/api/v1/bundles/current", admin, "", 200, nil), "own.cedar:1:")
	}
	write("permit (nobody);")
	until(t, "the alarm", alarm)
	if got := r.tools(key); got != "echo slow" || !strings.Contains(log.String(), "what was in force stays") {
		t.Errorf("sees %q", got)
	}
	if m := r.control("GET", "/metrics", admin, "", 200, nil); !strings.Contains(m, "gatewright_policy_alarms 1") {
		t.Error("/metrics does not count the alarm")
	}
	write(everything + "forbid (principal, action == Action::\"files___slow\", resource);\n")
	until(t, "the new rules", func() bool { return r.tools(key) == "echo" })
	if alarm() {
		t.Error("the alarm stays")
	}
	r.stop()
	write("permit (nobody);")
	r = run(t, o, out, log)
	if got := r.tools(r.env["GATEWRIGHT_API_KEY"]); got != "echo" {
		t.Errorf("started over a broken folder: sees %q", got)
	}
}

func TestARepositoryIsPolledAndItsFailureKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git makes the repository of this test")
	}
	repo := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %s", args, out)
		}
	}
	commit := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(repo, "own.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		git("add", "-A")
		git("commit", "-q", "-m", "c")
	}
	git("init", "-q", "-b", "main")
	commit(everything)
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Policies.Tenants = map[string]config.TenantPolicies{"demo": {Git: repo, Ref: "main"}}
		c.Policies.Poll = 50 * time.Millisecond
	})
	r := run(t, o, out, log)
	key := r.env["GATEWRIGHT_API_KEY"]
	if got := r.tools(key); got != "echo slow" {
		t.Errorf("sees %q", got)
	}
	commit(everything + "forbid (principal, action == Action::\"files___slow\", resource);\n")
	until(t, "the new commit", func() bool { return r.tools(key) == "echo" })
	if err := os.Rename(filepath.Join(repo, ".git"), filepath.Join(repo, "gone")); err != nil {
		t.Fatal(err)
	}
	until(t, "the alarm", func() bool { return strings.Contains(log.String(), "git repository cannot be read") })
	if got := r.tools(key); got != "echo" {
		t.Errorf("without its repository sees %q", got)
	}
	r.stop()
	r = run(t, o, out, log)
	if got := r.tools(r.env["GATEWRIGHT_API_KEY"]); got != "echo" {
		t.Errorf("started without its repository: sees %q", got)
	}
}
