package control_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store/badger"
)

func TestNewRefusesAMissingPartAndABadConfig(t *testing.T) {
	w := newWorld(t)
	zero := func() float64 { return 0 }
	good := control.Deps{
		Directory: w.directory, Catalogue: w.catalogue, Plans: w.plans, Ledger: w.log, Bundles: w.bundles, Vault: w.vault,
		Now: w.clock.now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}
	if _, err := control.New(control.DefaultConfig(), good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*control.Config, *control.Deps){
		"no directory":     func(_ *control.Config, d *control.Deps) { d.Directory = nil },
		"no ledger":        func(_ *control.Config, d *control.Deps) { d.Ledger = nil },
		"no clock":         func(_ *control.Config, d *control.Deps) { d.Now = nil },
		"no randomness":    func(_ *control.Config, d *control.Deps) { d.Rand = strings.NewReader("") },
		"unbounded body":   func(c *control.Config, _ *control.Deps) { c.MaxBody = 0 },
		"no page":          func(c *control.Config, _ *control.Deps) { c.PageLimit = 0 },
		"trust everybody":  func(c *control.Config, _ *control.Deps) { c.TrustedProxies = []string{"0.0.0.0/0"} },
		"trust everybody6": func(c *control.Config, _ *control.Deps) { c.TrustedProxies = []string{"::/0"} },
		"not a range":      func(c *control.Config, _ *control.Deps) { c.TrustedProxies = []string{"10.0.0.1"} },
		"host wildcard":    func(c *control.Config, _ *control.Deps) { c.Hosts = []string{"*"} },
		"empty host":       func(c *control.Config, _ *control.Deps) { c.Hosts = []string{""} },
		"origin wildcard":  func(c *control.Config, _ *control.Deps) { c.Origins = []string{"*"} },
		"origin with path": func(c *control.Config, _ *control.Deps) { c.Origins = []string{"https://a.example/x"} },
		"origin null":      func(c *control.Config, _ *control.Deps) { c.Origins = []string{"null"} },
		"kept for ever":    func(c *control.Config, _ *control.Deps) { c.ReplayFor = 1 << 60 },
		"same gauge twice": func(_ *control.Config, d *control.Deps) {
			d.Gauges = []control.Gauge{{Name: "abc", Value: zero}, {Name: "abc", Value: zero}}
		},
		"gauge without value": func(_ *control.Config, d *control.Deps) { d.Gauges = []control.Gauge{{Name: "abc"}} },
		"gauge not a name":    func(_ *control.Config, d *control.Deps) { d.Gauges = []control.Gauge{{Name: "a b", Value: zero}} },
	} {
		cfg, deps := control.DefaultConfig(), good
		change(&cfg, &deps)
		if _, err := control.New(cfg, deps); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestOnlyThreeRoutesAreOpen(t *testing.T) {
	w := newWorld(t)
	for _, r := range control.Routes() {
		if r.Open != (r.Path == "/healthz" || r.Path == "/readyz" || r.Path == "/openapi.json") {
			t.Errorf("%s is open", r.Path)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if a := w.call("GET", path, "", ""); a.status != http.StatusOK || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d", path, a.status)
		}
		if a := w.call("HEAD", path, "", ""); a.status != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, a.status)
		}
		w.call("POST", path, "", "").refused(t, http.StatusUnauthorized, "unauthenticated")
	}
	if n := len(w.log.of(demo)); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestReadinessFollowsTheGatewayAndTellsNoReason(t *testing.T) {
	w := newWorld(t)
	w.notReady.Store(&errBroken)
	a := w.call("GET", "/readyz", "", "")
	if a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "broken") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("GET", "/healthz", "", ""); a.status != http.StatusOK {
		t.Errorf("liveness follows readiness: %d", a.status)
	}
	w.notReady.Store(nil)
	if a := w.call("GET", "/readyz", "", ""); a.status != http.StatusOK {
		t.Errorf("%d", a.status)
	}
}

func TestMetricLabelsAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 200 {
		w.call("GET", "/nowhere/"+strconv.Itoa(i), w.admin, "")
		w.call("GET", "/api/v1/users/usr_"+strconv.Itoa(i), w.admin, "")
		w.call("M"+strconv.Itoa(i), "/api/v1/users", w.admin, "")
		w.call("GET", "/api/v1/users", "key"+strconv.Itoa(i), "")
	}
	a := w.call("GET", "/metrics", "", "")
	if lines := strings.Count(a.body, "\ngatewright_control_"); lines > 60 {
		t.Errorf("%d series", lines)
	}
	for _, want := range []string{
		`gatewright_control_requests_total{op="get-user",status="404"} 200`, `gatewright_control_requests_total{op="unmatched",status="404"} 200`,
		`gatewright_control_requests_total{op="unmatched",status="405"} 200`, `gatewright_control_refused_total{code="unauthenticated"} 200`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(a.body, demo) || strings.Contains(a.body, "usr_") {
		t.Error("a label holds what a caller chose")
	}
}

func TestPagesAreBoundedAndCursorsOpaque(t *testing.T) {
	w := newWorld(t)
	seen, cursor, pages := map[string]bool{}, "", 0
	for {
		a := w.call("GET", "/api/v1/users?limit=3&cursor="+url.QueryEscape(cursor), w.admin, "")
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		items, _ := a.json()["items"].([]any)
		if len(items) > 3 {
			t.Fatalf("%d items", len(items))
		}
		for _, item := range items {
			id, _ := item.(map[string]any)["id"].(string)
			if seen[id] {
				t.Errorf("%s comes twice", id)
			}
			seen[id] = true
		}
		if pages++; a.json()["next"] == nil {
			break
		}
		cursor, _ = a.json()["next"].(string)
	}
	if len(seen) != len(w.users()) || pages < 2 {
		t.Errorf("%d of %d users on %d pages", len(seen), len(w.users()), pages)
	}
	forged := []string{cursor[:len(cursor)-2] + "AA", cursor + "A", "AAAA", strings.ToUpper(cursor), "=", strings.Repeat("A", 511)}
	for _, c := range forged {
		w.call("GET", "/api/v1/users?cursor="+url.QueryEscape(c), w.admin, "").refused(t, http.StatusBadRequest, "cursor_invalid")
	}
	w.call("GET", "/api/v1/agents?cursor="+url.QueryEscape(cursor), w.admin, "").refused(t, http.StatusBadRequest, "cursor_invalid")
	w.call("GET", "/api/v1/users?cursor="+url.QueryEscape(cursor), w.otherAdmin, "").refused(t, http.StatusBadRequest, "cursor_invalid")
}

func TestLedgerPagesGoByIndexAndEnd(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.call("GET", "/api/v1/whoami", w.viewer, "")
	}
	a := w.call("GET", "/api/v1/ledger/records?from=2&limit=3", w.viewer, "")
	items, _ := a.json()["items"].([]any)
	if len(items) != 3 || a.json()["next"] != 5.0 || a.json()["size"] != 10.0 {
		t.Fatalf("%s", a.body)
	}
	first, _ := items[0].(map[string]any)
	record, _ := first["record"].(map[string]any)
	if first["index"] != 2.0 || record["route"] != "/api/v1/whoami" || record["kind"] != "admin" || record["tenant"] != demo {
		t.Errorf("%v", first)
	}
	for path, status := range map[string]int{
		"records?from=1000": 200, "records?from=-1": 422, "records?from=9007199254740992": 422, "records?from=18446744073709551616": 422, "records?limit=100000": 422,
		"records/9": 200, "records/1000": 404, "records/-1": 422, "records/x": 422,
	} {
		if a := w.call("GET", "/api/v1/ledger/"+path, w.viewer, ""); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.call("GET", "/api/v1/ledger/checkpoint", w.viewer, ""); a.json()["note"] != "note of demo" {
		t.Errorf("%s", a.body)
	}
}

func TestWhoamiNamesTheCallerAndWhatItMay(t *testing.T) {
	w := newWorld(t)
	a := w.call("GET", "/api/v1/whoami", w.viewer, "")
	v := a.json()
	if v["organisation"] != demo || v["user"] != w.viewerUser || v["role"] != "Viewer" || v["kind"] != "admin" {
		t.Errorf("%s", a.body)
	}
	may := toJSON(t, v["may"])
	if strings.Contains(may, "create-") || strings.Contains(may, "put-secret") || !strings.Contains(may, "list-users") || strings.Contains(a.body, w.viewer) {
		t.Errorf("%s", a.body)
	}
}

func TestANewKeyWorksAtOnceAndARevokedOneNoMore(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", "/api/v1/users/"+w.viewerUser+"/keys", w.admin, `{"name":"second","mode":"test","expires":"2026-12-01T00:00:00Z"}`)
	text, _ := a.json()["secret"].(string)
	key, _ := a.json()["key"].(map[string]any)
	if a.status != http.StatusCreated || !strings.HasPrefix(text, "ak_test_") || key["user"] != w.viewerUser {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if b := w.call("GET", "/api/v1/whoami", text, ""); b.status != http.StatusOK {
		t.Errorf("%d %s", b.status, b.body)
	}
	id, _ := key["id"].(string)
	if b := w.call("DELETE", "/api/v1/keys/"+id, w.byRole[identity.RoleManager], ""); b.code() != "role_denied" {
		t.Errorf("%d %s", b.status, b.body)
	}
	if b := w.call("DELETE", "/api/v1/keys/"+id, text, ""); b.code() != "role_denied" {
		t.Errorf("a Viewer revoked: %d %s", b.status, b.body)
	}
	if b := w.call("DELETE", "/api/v1/keys/"+id, w.admin, ""); b.status != http.StatusNoContent || b.body != "" {
		t.Errorf("%d %s", b.status, b.body)
	}
	w.call("GET", "/api/v1/whoami", text, "").refused(t, http.StatusUnauthorized, "unauthenticated")
	for _, r := range w.log.of(demo) {
		if strings.Contains(string(r.AppendJSON(nil)), text[len(text)-20:]) {
			t.Errorf("a key stands in the ledger: %s", r.AppendJSON(nil))
		}
	}
	if strings.Contains(w.slog.String(), text[len(text)-20:]) {
		t.Error("a key stands in the log")
	}
}

func TestAMemberLooksAfterItsOwnAgentOnly(t *testing.T) {
	w := newWorld(t)
	member := w.byRole[identity.RoleMember]
	who := w.call("GET", "/api/v1/whoami", member, "").json()["user"].(string)
	mine, err := w.directory.CreateAgent(t.Context(), demo, identity.NewAgent{Name: "mine", Owner: who})
	w.must(err)
	a := w.call("POST", "/api/v1/keys", member, `{"agent":"`+mine.ID+`","name":"k"}`)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	list := w.call("GET", "/api/v1/keys", member, "")
	if !strings.Contains(list.body, mine.ID) || strings.Contains(list.body, w.agent) || strings.Contains(list.body, w.adminKey) {
		t.Errorf("%s", list.body)
	}
	key, _ := a.json()["key"].(map[string]any)
	if b := w.call("DELETE", "/api/v1/keys/"+key["id"].(string), member, ""); b.status != http.StatusNoContent {
		t.Errorf("%d %s", b.status, b.body)
	}
	w.call("POST", "/api/v1/keys", member, `{"agent":"`+w.agent+`","name":"k"}`).refused(t, http.StatusForbidden, "role_denied")
	w.call("DELETE", "/api/v1/keys/"+w.ids[demo].key, member, "").refused(t, http.StatusForbidden, "role_denied")
	w.call("PUT", "/api/v1/agents/"+w.agent+"/public-key", member, `{"public_key":"`+freshPublicKey()+`"}`).refused(t, http.StatusForbidden, "role_denied")
}

func TestANewOrganisationCanBeUsedByItsFirstAdminOnly(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", "/api/v1/organisations", w.operator, `{"id":"third","name":"Third","admin":{"name":"Zoe","email":"zoe@third.example"}}`)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	key, _ := a.json()["key"].(map[string]any)
	text, _ := key["secret"].(string)
	if b := w.call("GET", "/api/v1/whoami", text, "").json(); b["organisation"] != "third" || b["role"] != "Admin" {
		t.Errorf("%v", b)
	}
	w.call("POST", "/api/v1/organisations", w.operator, `{"id":"third","name":"Again","admin":{"name":"Eve"}}`).refused(t, http.StatusConflict, "exists")
	for _, id := range []string{"_instance", "Third", "", "a/b", strings.Repeat("a", 64), "-a"} {
		w.call("POST", "/api/v1/organisations", w.operator, `{"id":"`+id+`","name":"X","admin":{"name":"Eve"}}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
	if b := w.call("PUT", "/api/v1/organisations/third/status", w.operator, `{"status":"suspended"}`); b.status != http.StatusOK {
		t.Errorf("%d %s", b.status, b.body)
	}
	w.call("GET", "/api/v1/whoami", text, "").refused(t, http.StatusUnauthorized, "unauthenticated")
	w.call("PUT", "/api/v1/organisations/_instance/status", w.operator, `{"status":"suspended"}`).refused(t, http.StatusConflict, "instance_tenant")
	for path, body := range map[string]string{"/api/v1/agents": `{"name":"a"}`, "/api/v1/servers": `{"name":"new","url":"https://mcp.example/mcp"}`} { // neither would ever work there
		w.call("POST", path, w.operator, body).refused(t, http.StatusConflict, "instance_tenant")
	}
}

func TestAClientThatHangsUpDoesNotStopTheRecord(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := w.request("POST", "/api/v1/users", w.admin, goodUser).WithContext(ctx)
	if a := w.do(r); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if n := len(w.log.of(demo)); n != 2 {
		t.Errorf("%d records", n)
	}
}

func TestTheRealStoreAndLedgerCarryTheAPI(t *testing.T) {
	dir := t.TempDir()
	kept, err := badger.Open(badger.Options{Dir: filepath.Join(dir, "store"), Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	w := newWorldOver(t, kept)
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	log, err := publish.OpenBook(t.Context(), wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: signer,
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"), Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	t.Cleanup(func() { w.must(log.Close(context.Background())) })
	w.rebuild(log)
	a := w.call("POST", "/api/v1/users", w.admin, goodUser)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	entries, err := log.Scan(t.Context(), demo, 0, 10)
	w.must(err)
	if len(entries) != 2 {
		t.Fatalf("%d records", len(entries))
	}
	r, err := entries[1].Record()
	w.must(err)
	if r.Kind != ledger.Admin || r.Outcome != "ok" || r.Of != a.header.Get("Gatewright-Record") || r.Instance != "main" {
		t.Errorf("%s", entries[1].Data)
	}
	b := w.call("GET", "/api/v1/ledger/records/1", w.viewer, "")
	if b.status != http.StatusOK || !strings.Contains(b.body, string(entries[1].Data)) {
		t.Errorf("the record is not shown byte for byte: %s", b.body)
	}
}

func TestServersAreBoundedByWhatTheConfigurationAllows(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{
		"private":      `{"name":"s","url":"https://mcp.example/mcp","allow_private":true}`,
		"credentials":  `{"name":"s","url":"https://u:p@mcp.example/mcp"}`,
		"file":         `{"name":"s","url":"file:///etc/passwd"}`,
		"reserved":     `{"name":"tools","url":"https://mcp.example/mcp"}`,
		"joining name": `{"name":"a__b","url":"https://mcp.example/mcp"}`,
		"header break": `{"name":"s","url":"https://mcp.example/mcp","credential":"a","header":"X-A\r\nX-B"}`,
		"pins":         `{"name":"s","url":"https://mcp.example/mcp","public_keys":["sha256/AAAA"]}`,
		"pins of http": `{"name":"s","url":"http://mcp.example/mcp","public_keys":["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}`,
		"era":          `{"name":"s","url":"https://mcp.example/mcp","era":"future"}`,
	} {
		if a := w.call("POST", "/api/v1/servers", w.admin, body); a.status != http.StatusUnprocessableEntity || a.code() != "request_invalid" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	name := w.ids[demo].server
	w.call("POST", "/api/v1/servers", w.admin, `{"name":"`+name+`","url":"https://mcp.example/mcp"}`).refused(t, http.StatusConflict, "exists")
	if a := w.call("POST", "/api/v1/servers", w.admin, `{"name":"`+w.ids[other].server+`","url":"https://mcp.example/mcp"}`); a.status != http.StatusCreated {
		t.Errorf("another tenant's name is taken: %d %s", a.status, a.body)
	}
}

func TestToolsAreListedWithTheirState(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/servers/" + w.ids[demo].server
	a := w.call("GET", path+"/tools", w.viewer, "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"name":"read","state":"usable"`) || !strings.Contains(a.body, `"name":"broken","state":"unusable","why":"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.upstream.fail = errBroken
	w.call("POST", path+"/refresh", w.admin, "").refused(t, http.StatusBadGateway, "upstream_failed")
	if b := w.call("GET", path+"/tools", w.viewer, ""); b.body != a.body {
		t.Errorf("a failed refresh changed the tools: %s", b.body)
	}
	if b := w.call("GET", path, w.viewer, ""); !strings.Contains(b.body, `"failures":1`) {
		t.Errorf("%s", b.body)
	}
}
