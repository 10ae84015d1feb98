package immunity_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

// TestPeers01NoCommandLineComesOverTheNetwork: LiteLLM took command, args and env of a stdio server in a test endpoint
// (CVE-2026-42271), Docker's gateway launch arguments out of an image's label (CVE-2026-55887), mcp-bridge and eleven SDK
// users likewise (OX Security): whoever reached the endpoint ran programs. Here no request has a member for it.
func TestPeers01NoCommandLineComesOverTheNetwork(t *testing.T) {
	t.Parallel()
	g := shared(t)
	trace := filepath.Join(t.TempDir(), "ran")
	run := []string{"/bin/sh", "-c", "touch " + trace}
	for name, more := range map[string]map[string]any{
		"command": {"command": run}, "as a text": {"command": run[2]}, "args": {"args": run}, "env": {"env": map[string]any{"LD_PRELOAD": trace}}, "pass_env": {"pass_env": []string{"HOME"}},
		"transport": {"transport": "stdio", "command": run}, "connector": {"via": "connector", "exec": run}, "openapi": {"openapi": "/etc/passwd"}, "image": {"image": "evil", "labels": []string{"command=" + run[2]}, "cmd": run},
	} {
		in := map[string]any{"name": "cmd-" + strings.ReplaceAll(name, " ", "-"), "url": "http://127.0.0.1:1/mcp", "allow_private": true}
		maps.Copy(in, more)
		a := g.ask(t, g.admin, "POST", "/api/v1/servers", in)
		if a.status < 400 || a.status > 499 {
			t.Errorf("%s: %s", name, a)
		}
	}
	for _, url := range []string{"stdio:///bin/sh", "file:///bin/sh", "exec:touch", "unix:///tmp/x", "connector://x", "http://127.0.0.1:1/mcp\n"} {
		if a := g.ask(t, g.admin, "POST", "/api/v1/servers", map[string]any{"name": "by-url", "url": url, "allow_private": true}); a.status < 400 || a.status > 499 {
			t.Errorf("url %q: %s", url, a)
		}
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(g.ask(t, "", "GET", "/openapi.json", nil).body), &doc); err != nil {
		t.Fatal(err)
	}
	for name, s := range doc.Components.Schemas {
		for p := range s.Properties {
			if slices.Contains([]string{"command", "argv", "env", "exec", "cmd", "pass_env", "image"}, strings.ToLower(p)) {
				t.Errorf("schema %s has the member %s", name, p)
			}
		}
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("a program ran")
	}
}

// TestPeers02NoSecretIsTheSameTwice: Kuadrant's gateway signed with the literal "secret-api-key" (GHSA-g53w-w6mj-hrpp),
// ContextForge and others start with a default secret: whoever read the source was anybody. Two gateways share no key, a
// production gateway knows none of a development one, and an error of the credential never makes a caller (CVE-2026-12773).
func TestPeers02NoSecretIsTheSameTwice(t *testing.T) {
	t.Parallel()
	one, two := shared(t), start(t, "", "GATEWRIGHT_CFG_MODE=production")
	a := one.agent(t)
	keys := []string{"secret-api-key", "changeme", "admin", "test", "demo", "default", "null", "undefined", "anonymous", one.admin, a.key, strings.Repeat("A", 60), ""}
	for _, key := range keys {
		for _, h := range []map[string]string{{"Authorization": "Bearer " + key}, {"X-API-Key": key}, {"Authorization": "Bearer"}, {}} {
			h["Content-Type"] = "application/json"
			if ans := send(t, "POST", two.url+"/mcp", h, message("tools/list", "{}")); ans.status != http.StatusUnauthorized || ans.result() != "" {
				t.Errorf("%v: %s", h, ans)
			}
			if ans := send(t, "GET", two.control+"/api/v1/whoami", h, ""); ans.status != http.StatusUnauthorized {
				t.Errorf("control, %v: %s", h, ans)
			}
		}
	}
	files, err := os.ReadDir(filepath.Join(one.dir, "keys"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		x, errX := os.ReadFile(filepath.Join(one.dir, "keys", f.Name()))
		y, errY := os.ReadFile(filepath.Join(two.dir, "keys", f.Name()))
		if errX != nil || errY == nil && string(x) == string(y) {
			t.Errorf("key %s is the same in two gateways (%v)", f.Name(), errX)
		}
	}
}

// TestPeers06OutOfTheBoxOnlyThisMachineIsServed: Docker's gateway listened beyond loopback without a check of the Host
// (CVE-2025-64443), so that any page in a browser could call tools.
func TestPeers06OutOfTheBoxOnlyThisMachineIsServed(t *testing.T) {
	t.Parallel()
	c := config.Default()
	for _, addr := range []string{c.Proxy.Listen, c.Control.Listen} {
		host, _, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			t.Errorf("listens at %s by default", addr)
		}
	}
	if len(c.Proxy.Hosts)+len(c.Proxy.Origins)+len(c.Proxy.TrustedProxies) > 0 {
		t.Errorf("by default serves the hosts %v and the origins %v, and believes %v", c.Proxy.Hosts, c.Proxy.Origins, c.Proxy.TrustedProxies)
	}
}

// TestD4AddressesWithinAreNotDialed: ToolHive's discovery (GHSA-pr64-jmmf-jp54) and ContextForge's test endpoints (3101,
// 5410) reached the metadata service and neighbours. However an inner address is written, no server is put there, and
// nothing is dialed.
func TestD4AddressesWithinAreNotDialed(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	var dialed atomic.Int64
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			dialed.Add(1)
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	g := start(t, "", "GATEWRIGHT_CFG_MODE=production")
	g.admin = regexp.MustCompile(`ak_live_\S{40,}`).FindString(g.log.String())
	g.manage(t, "GET", "/api/v1/servers", nil, nil)
	for i, host := range []string{
		"127.0.0.1", "localhost", "127.1", "0.0.0.0", "0", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]",
		"localhost.", "127.0.0.1.", "user@127.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "192.168.0.1", "100.64.0.1", "[fe80::1%25lo]", "①②⑦.0.0.1",
	} {
		name := fmt.Sprintf("inner-%d", i)
		for _, ask := range []bool{false, true} {
			a := g.ask(t, g.admin, "POST", "/api/v1/servers", map[string]any{"name": name, "url": "http://" + host + ":" + port + "/mcp", "allow_private": ask})
			if a.status < 300 {
				a = g.ask(t, g.admin, "POST", "/api/v1/servers/"+name+"/refresh", nil)
				if a.status < 300 && !strings.Contains(a.body, `"error"`) {
					t.Errorf("%s: %s", host, a)
				}
				g.ask(t, g.admin, "DELETE", "/api/v1/servers/"+name, nil)
			}
		}
	}
	if n := dialed.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestD7NobodyLearnsWhichKeysThereAre: who may not enter is told the same whether the key never was, is revoked, or is
// misspelled by one character, so that keys and agents cannot be tried out.
func TestD7NobodyLearnsWhichKeysThereAre(t *testing.T) {
	t.Parallel()
	g := shared(t)
	revoked, suspended, alive := g.agent(t), g.agent(t), g.agent(t)
	g.manage(t, "PUT", "/api/v1/agents/"+revoked.id+"/status", map[string]any{"status": "revoked"}, nil)
	g.manage(t, "PUT", "/api/v1/agents/"+suspended.id+"/status", map[string]any{"status": "suspended"}, nil)
	last := "A"
	if strings.HasSuffix(alive.key, "A") {
		last = "B"
	}
	first := ""
	for name, key := range map[string]string{
		"revoked agent": revoked.key, "suspended agent": suspended.key, "one character off": alive.key[:len(alive.key)-1] + last, "cut off": alive.key[:len(alive.key)-1],
		"another kind": strings.Replace(alive.key, "ak_test_", "ak_live_", 1), "nobody's": "ak_test_" + strings.Repeat("A", len(alive.key)-8), "not a key": "x",
	} {
		ans := send(t, "POST", g.url+"/api/v1/plans", map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"}, `{}`)
		if ans.status != http.StatusUnauthorized {
			t.Errorf("%s: %s", name, ans)
		}
		if first == "" {
			first = ans.body
		}
		if ans.body != first {
			t.Errorf("%s: %s, others %s", name, ans, first)
		}
	}
}

// operation is a row of the control port's OpenAPI document.
type operation struct {
	method, path string
	roles        []string
}

// operations reads the document of a running gateway.
func (g *gateway) operations(t *testing.T) (out []operation) {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Roles []string `json:"x-gatewright-roles"`
		}
	}
	if err := json.Unmarshal([]byte(g.ask(t, "", "GET", "/openapi.json", nil).body), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if len(op.Roles) > 0 && !strings.HasPrefix(path, "/metrics") && !strings.HasPrefix(path, "/debug") { // those two are open on this machine
				out = append(out, operation{strings.ToUpper(method), path, op.Roles})
			}
		}
	}
	if len(out) < 60 {
		t.Fatalf("the document has %d operations with roles", len(out))
	}
	return out
}

var parameter = regexp.MustCompile(`\{[a-z_]+\}`)

// TestD8EachOperationIsForItsRolesAlone: ContextForge let session tokens and plugin bindings past its roles (5239, 4405)
// and one path past its authentication (3812); in AgentCore whoever may update a gateway turns enforcement off. Every
// operation of the document is tried with every role that it does not name, with an agent's key and with none.
func TestD8EachOperationIsForItsRolesAlone(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	keys := map[string]string{}
	for _, role := range []string{"manager", "member", "viewer"} {
		var made struct{ ID, Secret string }
		g.manage(t, "POST", "/api/v1/users", map[string]any{"name": role, "role": role}, &made)
		g.manage(t, "POST", "/api/v1/users/"+made.ID+"/keys", map[string]any{"name": "test", "mode": "test"}, &made)
		keys[role] = made.Secret
	}
	agent := g.agent(t).key
	tried := 0
	for _, op := range g.operations(t) {
		path := parameter.ReplaceAllString(op.path, "1")
		var in any
		if op.method == "POST" || op.method == "PUT" {
			in = map[string]any{}
		}
		for _, none := range []string{"", "ak_live_x", agent} {
			if a := g.ask(t, none, op.method, path, in); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				t.Errorf("%s %s with %.12q: %s", op.method, op.path, none, a)
			}
		}
		for role, key := range keys {
			if slices.ContainsFunc(op.roles, func(r string) bool { return strings.EqualFold(r, role) }) {
				continue
			}
			tried++
			if a := g.ask(t, key, op.method, path, in); a.status != http.StatusForbidden {
				t.Errorf("%s %s as %s: %s", op.method, op.path, role, a)
			}
		}
	}
	if tried < 80 {
		t.Errorf("tried %d operations with a role that may not", tried)
	}
}

// TestD8NothingOfAnotherOrganisationIsReached: an id of another organisation is as unknown as one that never was, on every
// operation of the document that takes one (insecure direct object references).
func TestD8NothingOfAnotherOrganisationIsReached(t *testing.T) {
	t.Parallel()
	base, bin := t.TempDir(), program(t)
	g, err := begin(bin, base, "", "GATEWRIGHT_CFG_MODE=production")
	if err != nil {
		t.Fatal(err)
	}
	operator := regexp.MustCompile(`ak_live_\S{40,}`).FindString(g.log.String())
	var other struct{ Key struct{ Secret string } }
	g.manageAs(t, operator, "POST", "/api/v1/organisations", map[string]any{"id": "other", "name": "Other", "admin": map[string]any{"name": "Other admin"}}, &other)
	g.kill()
	if g, err = begin(bin, base, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.kill)
	g.record(t, "theirs")
	victim := g.agent(t)
	h := map[string]string{"Authorization": "Bearer " + victim.key, "Content-Type": "application/json"}
	var plan, token, user, key struct{ ID string }
	read := func(a answer, out any) {
		if err := json.Unmarshal([]byte(a.body), out); err != nil || a.status != http.StatusCreated {
			t.Fatalf("%v %s", err, a)
		}
	}
	read(send(t, "POST", g.url+"/api/v1/plans", h, `{"steps":[`+anything("theirs", "act")+`]}`), &plan)
	read(send(t, "POST", g.url+"/api/v1/plans/"+plan.ID+"/tokens", h, "{}"), &token)
	read(g.ask(t, g.admin, "POST", "/api/v1/users", map[string]any{"name": "theirs", "role": "viewer"}), &user)
	var list struct{ Items []struct{ ID, Agent string } }
	g.manage(t, "GET", "/api/v1/keys", nil, &list)
	for _, k := range list.Items {
		if k.Agent == victim.id {
			key.ID = k.ID
		}
	}
	ids := []string{victim.id, plan.ID, token.ID, user.ID, key.ID, "theirs", "theirs-key"}
	ledger := g.ledger(t, g.admin)
	for id := range ledger {
		ids = append(ids, id)
		break
	}
	tried := 0
	for _, op := range g.operations(t) {
		if !strings.Contains(op.path, "{") || op.method == "PUT" && op.path == "/api/v1/secrets/{name}" { // that one makes the caller's own
			continue
		}
		for _, id := range ids {
			var in any
			if op.method == "POST" || op.method == "PUT" {
				in = map[string]any{"status": "suspended", "state": "revoked", "role": "admin", "reason": "x"}
			}
			tried++
			a := g.ask(t, other.Key.Secret, op.method, parameter.ReplaceAllString(op.path, id), in)
			if a.status < 400 || a.status >= 500 && a.status != http.StatusServiceUnavailable {
				t.Errorf("%s %s of %s: %s", op.method, op.path, id, a)
			}
		}
	}
	if tried < 300 {
		t.Errorf("tried %d", tried)
	}
	if ans := victim.call(t, "theirs", "act", `{"n":1}`, victim.planned(t, anything("theirs", "act"))); ans.result() == "" {
		t.Errorf("after all that its agent calls: %s", ans)
	}
}
