package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/plugins/builtin"
)

// TestOneCommandServesTheDemoAndStopsCleanly is the contract for scripts: demo.env before the ready line, which is the
// last line; working keys; a planned call of the demo server's; a nil error after the end. It runs alone: a child that is
// being forked holds every open file for a moment, the data folders' locks of other tests too.
func TestOneCommandServesTheDemoAndStopsCleanly(t *testing.T) {
	o, out, log := options(t, func(c *config.Config) { c.Demo.Server = true })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, o) }()
	ready := regexp.MustCompile(`(?m)^gatewright ready listen=(http://127\.0\.0\.1:\d+) control=(http://127\.0\.0\.1:\d+)\n\z`)
	var m []string
	for m == nil {
		select {
		case err := <-done:
			t.Fatalf("it ended: %v\n%s", err, log)
		case <-time.After(5 * time.Millisecond):
			m = ready.FindStringSubmatch(out.String())
		}
	}
	file := filepath.Join(o.Config.Data.Dir, "demo.env")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("demo.env: %v, %v", info, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`\Aexport GATEWRIGHT_URL=(\S+)
export GATEWRIGHT_CONTROL_URL=(\S+)
export GATEWRIGHT_API_KEY=(ak_test_\S+)
export GATEWRIGHT_ADMIN_KEY=(ak_test_\S+)
export BACKEND_ENDPOINT=(\S+)
export PROXY_ENDPOINT=(\S+)
export IAP_ENDPOINT=(\S+)
export ARMORIQ_API_KEY=(ak_test_\S+)
export USER_ID=usr_\S+
export AGENT_ID=agt_\S+
export ARMORIQ_DASHBOARD_URL=(\S+)
\z`)
	e := want.FindStringSubmatch(string(b))
	if e == nil || e[1] != m[1] || e[2] != m[2] || e[5] != m[1] || e[6] != m[1] || e[7] != m[1] || e[3] != e[8] || e[3] == e[4] || e[9] != m[1] {
		t.Fatalf("demo.env:\n%s", b)
	}
	if strings.Contains(out.String(), e[3]) || strings.Contains(out.String(), e[4]) || strings.Contains(log.String(), "ak_test_") {
		t.Error("a key was printed or logged")
	}
	demoCall(t, m[1], e[3])
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(m[1], "http://"), time.Second); err == nil {
		t.Error("the port is still open")
	}
}

func demoCall(t *testing.T, url, key string) {
	t.Helper()
	c, err := gatewright.New(gatewright.Config{URL: url, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Plan(t.Context(), []byte(`{"goal":"g","steps":[{"server":"demo","tool":"calculate","args":{"expression":"6*7"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Token(t.Context(), p.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Call(t.Context(), gatewright.Call{Server: "demo", Tool: "calculate", Args: []byte(`{"expression":"6*7"}`), Token: token.Token})
	if err != nil || !strings.Contains(string(r.Raw), "42") || r.Receipt == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	about, err := c.About(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := gatewright.ParseKeys([]byte(strings.Join(about.LedgerKeys, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gatewright.VerifyReceipt(r.Receipt, keys); err != nil {
		t.Error(err)
	}
}

func TestARestartGivesNewDemoKeysAndKeepsWhatWasDone(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	first := run(t, o, out, log)
	key := first.env["GATEWRIGHT_API_KEY"]
	if _, err := first.planned(t.Context(), key, "files", "echo", `{}`); err != nil {
		t.Fatal(err)
	}
	first.stop()
	second := run(t, o, out, log)
	if got := second.tools(key); !strings.Contains(got, "unauthenticated") {
		t.Errorf("the first start's key is answered %q", got)
	}
	if got := second.tools(second.env["GATEWRIGHT_API_KEY"]); got != "echo slow" {
		t.Errorf("the new key sees %q", got)
	}
	if first.env["AGENT_ID"] != second.env["AGENT_ID"] || first.env["USER_ID"] != second.env["USER_ID"] {
		t.Error("the demo agent is another one")
	}
	records := second.control("GET", "/api/v1/ledger/records", second.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	if !strings.Contains(records, `"tool":"echo"`) {
		t.Errorf("the call before the restart is not in the ledger: %s", records)
	}
}

func TestABundleThatBreaksLeavesTheLastGoodOneInForce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "own.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const everything = "permit (principal, action, resource);\n"
	write(everything)
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) { b.serving(c); c.Policies.Bundle = folder })
	r := run(t, o, out, log)
	key, admin := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"]
	current := func() (digest string) {
		var v struct{ Digest string }
		r.control("GET", "/api/v1/bundles/current", admin, "", 200, &v)
		return v.Digest
	}
	first := current()
	write(everything + "permit (principal, action == Action::\"nothing\", resource);\n")
	if told := r.control("POST", "/api/v1/bundles/reload", admin, "", 422, nil); !strings.Contains(told, "own.cedar:2:") {
		t.Errorf("told %s", told)
	}
	if got := r.tools(key); got != "echo slow" || current() != first {
		t.Errorf("after a broken bundle: %q under %s", got, current())
	}
	if err := os.Remove(filepath.Join(folder, "own.cedar")); err != nil {
		t.Fatal(err)
	}
	r.control("POST", "/api/v1/bundles/reload", admin, "", 422, nil)
	write(everything + "forbid (principal, action == Action::\"files___slow\", resource);\n")
	r.control("POST", "/api/v1/bundles/reload", admin, "", 200, nil)
	if got := r.tools(key); got != "echo" || current() == first {
		t.Errorf("after the reload: %q under %s", got, current())
	}
	records := r.control("GET", "/api/v1/ledger/records", admin, "", 200, nil)
	if strings.Count(records, `"kind":"bundle"`) != 2 || !strings.Contains(records, first) {
		t.Errorf("the change is not on record: %s", records)
	}
	var said struct {
		Items []struct{ Record struct{ Kind, User string } }
	}
	r.control("GET", "/api/v1/audit-logs?kind=bundle&limit=1", admin, "", 200, &said)
	if len(said.Items) != 1 || said.Items[0].Record.User == "" {
		t.Errorf("nobody is on record for what was asked for: %+v", said)
	}
}

func TestAToolThatComesOrGoesIsKnownToPolicyAfterARefresh(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	key, admin := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"]
	b.offer("late", func() {})
	if got := r.tools(key); got != "echo slow" {
		t.Errorf("before: %q", got)
	}
	r.control("POST", "/api/v1/servers/files/refresh", admin, "", 200, nil)
	if got := r.tools(key); got != "echo slow" {
		t.Errorf("before somebody approved it: %q", got)
	}
	var late struct{ Digest string }
	r.control("GET", "/api/v1/servers/files/pins/late", admin, "", 200, &late)
	r.control("POST", "/api/v1/servers/files/pins/late/approve", admin, `{"digest":"`+late.Digest+`"}`, 200, nil)
	if got := r.tools(key); got != "echo late slow" {
		t.Errorf("after: %q", got)
	}
	records := r.control("GET", "/api/v1/audit-logs?kind=admin", admin, "", 200, nil)
	if !strings.Contains(records, `"tool-quarantine"`) || !strings.Contains(records, late.Digest) || !strings.Contains(records, `"tool-first-use"`) {
		t.Errorf("the ledger does not tell of it: %s", records)
	}
	for name, want := range map[string]string{"gatewright_tools_quarantined": "0", "gatewright_tool_quarantines_total": "1"} {
		if m := r.control("GET", "/metrics", admin, "", 200, nil); !strings.Contains(m, "\n"+name+" "+want+"\n") {
			t.Errorf("metrics: %s is not %s", name, want)
		}
	}
	if _, err := r.planned(t.Context(), key, "files", "late", `{}`); err != nil {
		t.Error(err)
	}
	b.RemoveTools("late")
	r.control("POST", "/api/v1/servers/files/refresh", admin, "", 200, nil)
	if got := r.tools(key); got != "echo slow" {
		t.Errorf("gone: %q", got)
	}
	if _, err := r.planned(t.Context(), key, "files", "late", `{}`); err == nil {
		t.Error("a plan for a tool that is gone was taken")
	}
}

func TestAServerThatIsDownAtTheStartDoesNotKeepTheRestFromServing(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Servers["down"] = config.Server{Tenant: "demo", URL: "http://127.0.0.1:1/mcp", Era: "auto", AllowPrivate: true}
	})
	r := run(t, o, out, log)
	if got := r.tools(r.env["GATEWRIGHT_API_KEY"]); got != "files__echo files__slow" {
		t.Errorf("sees %q", got)
	}
	if !strings.Contains(log.String(), "a server did not list its tools") || !strings.Contains(log.String(), "server=down") {
		t.Errorf("nobody was told: %s", log)
	}
}

// TestNobodyIsWarnedOfAServerThatHasListedMeanwhile: a process that was not ready when the first look began is looked at again when
// it is, while that look still waits for another server.
func TestNobodyIsWarnedOfAServerThatHasListedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(4 * time.Second):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(late.Close)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Servers["slow"] = config.Server{Tenant: "demo", Connector: "/bin/sh", Args: []string{"-c", `sleep 1; exec "$0" "$@"`, os.Args[0], builtin.Verb, builtin.Demo}}
		c.Servers["late"] = config.Server{Tenant: "demo", URL: late.URL, Era: "legacy", AllowPrivate: true}
	})
	r := run(t, o, out, log)
	if got := r.tools(r.env["GATEWRIGHT_API_KEY"]); !strings.Contains(got, "slow__calculate") {
		t.Errorf("sees %q", got)
	}
	if s := log.String(); strings.Contains(s, "server=slow") || !strings.Contains(s, "server=late") {
		t.Errorf("log: %s", s)
	}
}

func TestProductionMakesNoTenantAndShowsTheFirstKeyOnce(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) { c.Mode, c.Upstream.AllowPrivate = "production", true })
	r := run(t, o, out, log)
	if _, err := os.Stat(filepath.Join(o.Config.Data.Dir, "demo.env")); err == nil {
		t.Error("demo.env was written")
	}
	m := regexp.MustCompile(`first management key, shown this once: (ak_live_\S+)\n`).FindStringSubmatch(out.String())
	if m == nil || strings.Contains(log.String(), m[1]) {
		t.Fatalf("printed %q", out)
	}
	var org struct {
		Key struct{ Secret string }
	}
	r.control("POST", "/api/v1/organisations", m[1], `{"id":"acme","name":"Acme","admin":{"name":"Ada"}}`, 201, &org)
	var agent struct{ ID string }
	r.control("POST", "/api/v1/agents", org.Key.Secret, `{"name":"worker"}`, 201, &agent)
	var key struct{ Secret string }
	r.control("POST", "/api/v1/keys", org.Key.Secret, `{"agent":"`+agent.ID+`","name":"k"}`, 201, &key)
	if got := r.tools(key.Secret); got != "" {
		t.Errorf("a new organisation without servers sees %q: its policies are not in force", got)
	}
	r.control("POST", "/api/v1/servers", org.Key.Secret, `{"name":"files","url":"`+b.url+`","era":"auto","allow_private":true}`, 201, nil)
	r.control("POST", "/api/v1/servers/files/refresh", org.Key.Secret, "", 200, nil)
	if _, err := r.planned(t.Context(), key.Secret, "files", "echo", `{}`); err != nil {
		t.Error(err)
	}
	if got := r.tools(m[1]); !strings.Contains(got, "wrong_key_kind") {
		t.Errorf("the admin key opens the data port: %q", got)
	}
	r.stop()
	o.Out, out = &text{}, nil
	again := run(t, o, o.Out.(*text), log)
	if strings.Contains(again.out.String(), "ak_") {
		t.Errorf("the second start printed %q", again.out)
	}
	again.control("GET", "/api/v1/whoami", m[1], "", 200, nil)
	if got := again.tools(key.Secret); got != "echo slow" {
		t.Errorf("after a restart the organisation sees %q", got)
	}
}

func TestACallThatRunsIsAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	type outcome struct {
		r   *gatewright.Result
		err error
	}
	got := make(chan outcome, 1)
	go func() {
		res, err := r.planned(context.Background(), r.env["GATEWRIGHT_API_KEY"], "files", "slow", `{}`)
		got <- outcome{res, err}
	}()
	select {
	case <-b.started:
	case early := <-got:
		t.Fatalf("the call did not get there: %v", early.err)
	}
	health := func() int {
		resp, err := client.Get(r.g.URL() + "/health")
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if health() != 200 {
		t.Error("not healthy before the end")
	}
	addr := r.g.URL()
	go r.end()
	for health() == 200 { // until it takes no more
		time.Sleep(time.Millisecond)
	}
	close(b.release)
	o2 := <-got
	if o2.err != nil || o2.r.Receipt == "" {
		t.Errorf("the call that ran was answered %v, %v", o2.r, o2.err)
	}
	r.end = func() {}
	r.stop()
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(addr, "http://"), time.Second); err == nil {
		t.Error("the port is still open")
	}
}

func TestStrangersAreOnTheInstancesOwnChainAtTheEnd(t *testing.T) {
	t.Parallel()
	o, out, log := options(t, nil)
	r := run(t, o, out, log)
	for range 3 {
		r.tools("ak_test_wrong")
	}
	dir := o.Config.Data.Dir
	r.stop()
	found := false
	err := filepath.WalkDir(filepath.Join(dir, "ledger"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		found = found || strings.Contains(string(text), `"count":3`) && strings.Contains(string(text), "_instance")
		return err
	})
	if err != nil || !found {
		t.Errorf("three attempts are not on record: %v", err)
	}
}

func TestTheLedgersKeyLiesWhereVerifiersFindIt(t *testing.T) {
	t.Parallel()
	o, out, log := options(t, nil)
	r := run(t, o, out, log)
	b, err := os.ReadFile(filepath.Join(o.Config.Data.Dir, "keys", "ledger.pub"))
	if err != nil || !strings.Contains(string(b), r.g.VerifierKey().String()) {
		t.Errorf("%s, %v", b, err)
	}
	about, err := r.agent("ak_test_none").About(t.Context())
	if err != nil || fmt.Sprint(about.LedgerKeys) != "["+r.g.VerifierKey().String()+"]" {
		t.Errorf("%+v, %v", about, err)
	}
	if r.g.Line() == nil {
		t.Error("no line")
	}
}
