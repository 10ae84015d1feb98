package conformance_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The contract of the one command with scripts: flags, the ready line, demo.env, exit codes, the data folder.

func TestTheOneCommandWritesDemoEnvBeforeItIsReady(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	info, err := os.Stat(filepath.Join(g.Dir, "demo.env"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("demo.env has mode %v", info.Mode())
	}
	runtime, admin := regexp.MustCompile(`^ak_test_\S{40,}$`), regexp.MustCompile(`^ak_\S{40,}$`)
	for name, want := range map[string]string{
		"GATEWRIGHT_URL": g.URL, "GATEWRIGHT_CONTROL_URL": g.Control, "BACKEND_ENDPOINT": g.URL, "PROXY_ENDPOINT": g.URL, "IAP_ENDPOINT": g.URL,
		"ARMORIQ_API_KEY": g.Key(),
	} {
		if g.Env[name] != want || want == "" {
			t.Errorf("demo.env has %s=%q, want %q", name, g.Env[name], want)
		}
	}
	for name, form := range map[string]*regexp.Regexp{
		"GATEWRIGHT_API_KEY": runtime, "GATEWRIGHT_ADMIN_KEY": admin, "USER_ID": regexp.MustCompile(`^usr_[0-9a-z]+$`), "AGENT_ID": regexp.MustCompile(`^agt_[0-9a-z]+$`),
	} {
		if !form.MatchString(g.Env[name]) {
			t.Errorf("demo.env has %s=%q", name, g.Env[name])
		}
	}
	if len(g.Env) != 11 {
		t.Errorf("demo.env has %d names: %v", len(g.Env), g.Env)
	}
	if !regexp.MustCompile(`^http://127\.0\.0\.1:[1-9][0-9]*$`).MatchString(g.URL) || g.URL == g.Control {
		t.Errorf("serves at %s and %s", g.URL, g.Control)
	}
	keysArePrivate(t, g.Dir)
	if a := send(t, "GET", g.URL+"/health", nil, ""); a.Status != 200 {
		t.Errorf("/health: %s", a)
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if a := send(t, "GET", g.Control+path, nil, ""); a.Status != 200 {
			t.Errorf("%s: %s", path, a)
		}
	}
	if entries, err := os.ReadDir(g.Work); err != nil || len(entries) != 0 {
		t.Errorf("the working directory holds %v (%v)", entries, err)
	}
}

// keysArePrivate holds the data folder to its owner: nothing in it is for others, but public keys.
func keysArePrivate(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"", "keys", "ledger"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("folder %q: %v %v", name, info.Mode(), err)
		}
	}
	keys, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil || len(keys) < 5 {
		t.Fatalf("keys: %v %v", keys, err)
	}
	for _, e := range keys {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 && e.Name() != "ledger.pub" {
			t.Errorf("key %s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestASecondGatewayOnTheSameDataFolderIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	code, text := refusedStart(t, Setup{Dir: g.Dir})
	oneClearLine(t, code, text, "in use by another gateway", "--data")
	if a := send(t, "GET", g.URL+"/health", nil, ""); a.Status != 200 {
		t.Errorf("the first gateway after the second tried: %s", a)
	}
	if key := g.Key(); key == "" || send(t, "POST", g.URL+"/mcp", bearer(key, ""), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`).Status != 200 {
		t.Error("the first gateway's key does not work any more")
	}
}

func oneClearLine(t *testing.T, code int, text string, words ...string) {
	t.Helper()
	if code == 0 || code == -1 {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if !strings.HasPrefix(lines[0], "gatewright: ") || len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("not one clear line (and a hint):\n%s", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

func TestADataFolderOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	g.Stop(t)
	version := filepath.Join(g.Dir, "VERSION")
	for content, word := range map[string]string{"2\n": "newer version", "999999\n": "newer version", "one\n": "VERSION", "": "VERSION", "0\n": "VERSION", "99999999999999999999\n": "VERSION"} {
		if err := os.WriteFile(version, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		before := fingerprint(t, g.Dir)
		code, text := refusedStart(t, Setup{Dir: g.Dir})
		oneClearLine(t, code, text, word)
		if after := fingerprint(t, g.Dir); after != before {
			t.Errorf("VERSION %q: a refused start changed the folder:\n%s\nthen\n%s", content, before, after)
		}
	}
	if err := os.Remove(version); err != nil {
		t.Fatal(err)
	}
	code, text := refusedStart(t, Setup{Dir: g.Dir})
	oneClearLine(t, code, text, "data folder")
	if err := os.WriteFile(version, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Restart(t)
}

// fingerprint is names, sizes and times of what lies in a folder, but for the lock.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Name() != "LOCK" {
			fmt.Fprintln(&b, p, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAMissingKeyIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	g.Stop(t)
	for _, name := range []string{"ledger", "pepper", "vault", "store", "intent-1"} {
		path := filepath.Join(g.Dir, "keys", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		code, text := refusedStart(t, Setup{Dir: g.Dir})
		oneClearLine(t, code, text, name)
		if _, err := os.Stat(path); err == nil {
			t.Errorf("key %s was made anew", name)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.Restart(t)
}

func TestATakenPortIsOneClearLine(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for flag, word := range map[string]string{"--listen": "data port", "--control": "control port"} {
		code, text := refusedStart(t, Setup{Args: []string{flag, ln.Addr().String()}})
		oneClearLine(t, code, text, word, ln.Addr().String(), flag)
	}
}

func TestAConfigurationTypoIsNamedWithFileLineAndColumn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"mode = \"development\"\nledger {\n  snyc = \"write\"\n}\n":                                   {"gateway.hcl:3:3", "snyc", "sync"},
		"ledger {\n  sync = \"wirte\"\n}\n":                                                           {"gateway.hcl:2:", "wirte"},
		"ledgre {\n}\n":                                                                               {"gateway.hcl:1:1", "ledgre"},
		"proxy {\n  max_body = 5\n}\n":                                                                {"gateway.hcl:2:", "max_body"},
		"proxy {\n  max_body = \"1MiB\"\n  max_body = \"2MiB\"\n}\n":                                  {"gateway.hcl:3:", "max_body"},
		"mode = \"development\n":                                                                      {"gateway.hcl:1:"},
		"server \"a\" {\n  tenant = \"demo\"\n}\n":                                                    {"gateway.hcl:1:", "url"},
		"server \"a\" {\n  tenant = \"demo\"\n  url = \"file:///etc/passwd\"\n}\n":                    {"gateway.hcl:3:", "url"},
		"quota {\n  agent_rate = -1\n}\n":                                                             {"gateway.hcl:2:", "agent_rate"},
		"proxy {\n  read_timeout = \"10\"\n}\n":                                                       {"gateway.hcl:2:", "read_timeout"},
		"data {\n  dir = \"${HOME}/x\"\n}\n":                                                          {"gateway.hcl:2:"},
		"server \"tools\" {\n  tenant = \"demo\"\n  url = \"https://a.example/mcp\"\n}\n":             {"tools"},
		"data {\n  key_env = \"NOT_SET_ANYWHERE\"\n}\n":                                               {"NOT_SET_ANYWHERE"},
		"policies {\n  bundle = \"/nowhere/at/all\"\n}\n":                                             {"/nowhere/at/all"},
		"issuer \"x\" {\n  iss = \"y\"\n  kid = \"z\"\n  key = \"short\"\n}\n":                        {"key"},
		"log {\n  level = \"loud\"\n}\n":                                                              {"gateway.hcl:2:", "loud"},
		"control {\n  tls_cert = \"/nowhere/cert.pem\"\n  tls_key = \"/nowhere/key.pem\"\n}\n":        {"/nowhere/"},
		"intent {\n  token_ttl = \"2h\"\n  max_token_ttl = \"1h\"\n}\n":                               {"token_ttl"},
		"proxy {\n  listen = \"127.0.0.1:0\"\n}\nproxy {\n  listen = \"127.0.0.1:0\"\n}\n":            {"gateway.hcl:4:"},
		"mode = \"development\"\nserver \"a\" {}\nserver \"a\" {}\n":                                  {"gateway.hcl:"},
		"mode = \"development\" extra\n":                                                              {"gateway.hcl:1:"},
		"proxy {\n  trusted_proxies = [\"10.0.0.0/40\"]\n}\n":                                         {"trusted_proxies"},
		"proxy {\n  max_body = \"1PiB\"\n}\n":                                                         {"gateway.hcl:2:"},
		"server \"A_b\" {\n  tenant = \"demo\"\n  url = \"https://a.example/mcp\"\n}\n":               {"A_b"},
		"server \"a\" {\n  tenant = \"demo\"\n  url = \"https://u:p@a.example/mcp\"\n}\n":             {"gateway.hcl:3:"},
		"demo {\n  server = \"yes\"\n}\n":                                                             {"gateway.hcl:2:"},
		"shutdown_grace = \"-1s\"\n":                                                                  {"gateway.hcl:1:"},
		"mode = \"development\"\n\xff = 1\n":                                                          {"gateway.hcl:2:"},
		"quota {\n  tenant_burst = 1.5\n}\n":                                                          {"gateway.hcl:2:"},
		strings.Repeat("x {\n", 2000):                                                                 {"gateway.hcl:"},
		"server \"a\" {\n  tenant = \"demo\"\n  url = \"http://127.0.0.1:1/mcp\"\n  erra = \"\"\n}\n": {"gateway.hcl:4:3", "erra"},
	} {
		code, out := refusedStart(t, Setup{HCL: text})
		if code == 0 || len(out) > 4000 || strings.Contains(out, "goroutine") {
			t.Errorf("%q: exit %d\n%.1000s", text, code, out)
		}
		oneClearLine(t, code, out, want...)
	}
	code, out := refusedStart(t, Setup{Env: []string{"GATEWRIGHT_CFG_LEDGER__SNYC=write"}})
	oneClearLine(t, code, out, "GATEWRIGHT_CFG_LEDGER__SNYC")
	code, out = refusedStart(t, Setup{Args: []string{"--config", "nowhere.hcl"}})
	oneClearLine(t, code, out, "nowhere.hcl")
}

func TestAServerOfATenantThatDoesNotExistIsSaidSo(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: "server \"a\" {\n  tenant = \"nobody\"\n  url = \"https://a.example/mcp\"\n}\n"})
	if log := g.Log(); !strings.Contains(log, "tenant=nobody") {
		t.Errorf("the log says\n%s", log)
	}
}

func TestAFirstStartThatFailedCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]Setup{
		"a policy with a typo":  {HCL: fmt.Sprintf("policies {\n  bundle = %q\n}\n", bundleFolder(t, "permit (principal;"))},
		"a certificate missing": {HCL: "proxy {\n  tls_cert = \"/nowhere/cert.pem\"\n  tls_key = \"/nowhere/key.pem\"\n}\n"},
		"a port that is taken":  {Args: []string{"--listen", strings.TrimPrefix(shared(t).URL, "http://")}},
	} {
		bad.Dir = filepath.Join(t.TempDir(), "data")
		refusedStart(t, bad)
		g := &Gateway{Dir: bad.Dir, Work: t.TempDir()}
		if err := g.begin(); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
	}
}

func TestWrongUsageHasItsOwnExitCodes(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"version"}}, {0, []string{"--help"}}, {0, []string{"help", "plan"}},
		{2, []string{"--no-such-flag"}}, {2, []string{"no-such-command"}}, {2, []string{"plan"}}, {2, []string{"plan", "no-such-file"}}, {2, []string{"call", "demo"}},
		{2, []string{"plan", "--tool", "demo/notes_search", "--args", `{"a":1,"a":2}`}}, {2, []string{"token", "pln_x", "--ttl", "1500ms"}},
		{2, []string{"verify", "no-such-receipt"}}, {2, []string{"ledger", "verify", "--data", "nowhere"}},
		{1, []string{"plan", "--tool", "demo/no_such_tool"}}, {1, []string{"token", "pln_06h01csb83sq029wbkxc07q4qc"}}, {1, []string{"call", "demo/notes_search", "--arg", "query=x"}},
		{3, []string{"token", "pln_x", "--url", "http://127.0.0.1:1"}},
	} {
		if r := g.run(t, "", nil, c.args...); r.code != c.code || r.code != 0 && !strings.HasPrefix(r.err, "gatewright: ") || strings.Contains(r.err+r.out, g.Key()) {
			t.Errorf("%q: exit %d, want %d\n%s%s", c.args, r.code, c.code, r.out, r.err)
		}
	}
	if r := g.run(t, "", []string{"GATEWRIGHT_API_KEY=ak_test_wrong"}, "token", "pln_06h01csb83sq029wbkxc07q4qc"); r.code != 1 || !strings.Contains(r.err, "unauthenticated") {
		t.Errorf("a wrong key: %+v", r)
	}
}

func TestTheFlagsAndVariablesAreObeyed(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	g := start(t, Setup{
		HCL:  "log {\n  format = \"json\"\n}\nintent {\n  token_ttl = \"7m\"\n}\n",
		Env:  []string{"GATEWRIGHT_CFG_INTENT__TOKEN_TTL=5m", "GATEWRIGHT_CFG_PROXY__MAX_BODY=2KiB", "GATEWRIGHT_CFG_INTENT__MAX_PLAN=1KiB"},
		Args: []string{"--listen", "127.0.0.1:" + port},
	})
	if g.URL != "http://127.0.0.1:"+port {
		t.Errorf("--listen 127.0.0.1:%s serves at %s", port, g.URL)
	}
	a := g.newAgent(t)
	p := a.capture(t, `{"steps":[`+step("demo", "wait", `{"seconds":0}`)+`]}`)
	ans := send(t, "POST", g.URL+"/api/v1/plans/"+p.ID+"/tokens", bearer(a.key, ""), `{}`)
	life := lifetime(t, ans.Body)
	if life < 4*time.Minute || life > 5*time.Minute {
		t.Errorf("a token lives %s, the variable says 5m", life)
	}
	big := send(t, "POST", g.URL+"/mcp", bearer(a.key, ""), `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"`+strings.Repeat("x", 3000)+`"}}`)
	big.refused(t, "too_large")
}

func TestSIGTERMDrainsAndExitsZero(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "wait", `{"seconds":2}`))
	done := make(chan answer, 1)
	go func() {
		ans, err := trySend("POST", g.URL+"/mcp/demo", bearer(a.key, tok.Token), message("wait", `{"seconds":2}`))
		if err != nil {
			ans.Body = err.Error()
		}
		done <- ans
	}()
	waitFor(t, "the call's admission", func() bool {
		for _, r := range g.ledger(t, g.Admin()) {
			if r.Kind == "admitted" && r.Tool == "wait" {
				return true
			}
		}
		return false
	})
	admin := g.Admin()
	if code := g.Stop(t); code != 0 {
		t.Errorf("exit %d after SIGTERM\n%s", code, g.Log())
	}
	ans := <-done
	ans.ok(t)
	if v := g.verifyLedger(t); v.code != 0 || strings.Contains(v.out, "not settled") {
		t.Errorf("ledger verify after a drain: %+v", v)
	}
	g.Restart(t)
	_ = admin
	if r := g.find(t, ans.Record); r.Kind != "settled" || r.Outcome != "ok" {
		t.Errorf("the drained call stands as %s", r.Raw)
	}
}

func TestPlansTokensAndUsesOutliveARestart(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	p, tok := a.planned(t, step("demo", "calculate", expression(1)), step("demo", "calculate", expression(2), `"uses":3`), step("demo", "calculate", expression(3), `"after":[1]`))
	a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
	a.call(t, "demo", "calculate", expression(2), tok.Token).ok(t)
	revoked := a.token(t, p.ID, 0)
	g.manage(t, g.Admin(), "DELETE", "/api/v1/tokens/"+revoked.ID, nil, nil)
	a.call(t, "demo", "calculate", expression(2), revoked.Token).refused(t, "token_revoked")
	if code := g.Stop(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	g.Restart(t)
	a.call(t, "demo", "calculate", expression(2), revoked.Token).refused(t, "token_revoked")
	a.call(t, "demo", "calculate", expression(1), tok.Token).refused(t, "step_used")
	a.call(t, "demo", "calculate", expression(3), tok.Token).ok(t) // step 1 was done before the restart
	a.call(t, "demo", "calculate", expression(2), tok.Token).ok(t)
	a.call(t, "demo", "calculate", expression(2), tok.Token).ok(t)
	a.call(t, "demo", "calculate", expression(2), tok.Token).refused(t, "step_used", "plan_inactive")
	g.Stop(t)
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

func TestProductionModePrintsTheAdminKeyOnceAndMakesNoDemo(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{Env: []string{"GATEWRIGHT_CFG_MODE=production"}})
	form := regexp.MustCompile(`ak_live_\S{40,}`)
	keys := form.FindAllString(g.Out(), -1)
	if len(keys) != 1 {
		t.Fatalf("%d keys printed:\n%s", len(keys), g.Out())
	}
	if _, err := os.Stat(filepath.Join(g.Dir, "demo.env")); err == nil {
		t.Error("demo.env was written")
	}
	if strings.Contains(g.Log(), keys[0]) {
		t.Error("the key stands in the log")
	}
	var orgs struct{ Items []struct{ ID string } }
	g.manage(t, keys[0], "GET", "/api/v1/organisations", nil, &orgs)
	if len(orgs.Items) != 1 || orgs.Items[0].ID != "_instance" {
		t.Errorf("organisations: %v", orgs.Items)
	}
	if code := g.Stop(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	g.Restart(t)
	if again := form.FindAllString(g.Out(), -1); len(again) != 1 {
		t.Errorf("after a restart %d keys have been printed", len(again))
	}
	g.manage(t, keys[0], "GET", "/api/v1/whoami", nil, nil)
	code, text := refusedStart(t, Setup{Env: []string{"GATEWRIGHT_CFG_MODE=production", "GATEWRIGHT_CFG_CONTROL__LISTEN=0.0.0.0:0"}, Args: []string{"--control", "0.0.0.0:0"}})
	oneClearLine(t, code, text, "TLS", "loopback")
}

func TestKeysWrappedByTheOperatorNeedTheirKey(t *testing.T) {
	t.Parallel()
	env := []string{"GATEWRIGHT_CFG_DATA__KEY_ENV=WRAP", "WRAP=" + strings.Repeat("ab", 32)}
	g := start(t, Setup{Env: env})
	keysAreSealed(t, g.Dir)
	key := g.Key()
	g.Stop(t)
	for _, env := range [][]string{nil, {env[0], "WRAP=" + strings.Repeat("cd", 32)}, {env[0], "WRAP=short"}, {env[0], "WRAP="}} {
		code, text := refusedStart(t, Setup{Dir: g.Dir, Env: env})
		if code == 0 || strings.Contains(text, "abab") || strings.Contains(text, "cdcd") || strings.Contains(text, "goroutine") {
			t.Errorf("with %v: exit %d\n%s", env, code, text)
		}
	}
	g.Restart(t)
	if g.Key() == "" || key == "" {
		t.Error("no key in demo.env")
	}
}

func keysAreSealed(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"ledger", "pepper", "vault", "store", "intent-1", "ledger.chain"} {
		b, err := os.ReadFile(filepath.Join(dir, "keys", name))
		if err != nil || strings.Contains(string(b), " raw ") {
			t.Errorf("key %s is not sealed (%v): %.24s", name, err, b)
		}
	}
}
