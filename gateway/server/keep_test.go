package server_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/gateway/sinks"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
)

// receiver is a webhook that keeps what it gets.
type receiver struct {
	mu     sync.Mutex
	seen   map[string]string // id: kind
	bodies []string
	t      *testing.T
}

func (r *receiver) ServeHTTP(_ http.ResponseWriter, q *http.Request) {
	b, err := io.ReadAll(q.Body)
	stamp := q.Header.Get(sinks.TimestampHeader)
	if err != nil || q.Header.Get(sinks.SignatureHeader) != "v1="+hex.EncodeToString(sinks.Sign([]byte("0123456789abcdef"), stamp, b)) {
		r.t.Error("not signed", err)
	}
	var in struct {
		Events []struct{ ID, Kind, Tenant string }
	}
	if err := json.Unmarshal(b, &in); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, string(b))
	for _, e := range in.Events {
		r.seen[e.ID] = e.Kind
		if e.Tenant != "demo" {
			r.t.Error("an event of", e.Tenant)
		}
	}
}

func (r *receiver) has(kind string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.seen {
		if k == kind {
			return true
		}
	}
	return false
}

func awaited(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("it did not come about:", what)
}

// records reads those of a kind from the disk.
func records(t *testing.T, r *running, kind ledger.Kind) (out []ledger.Record) {
	t.Helper()
	root := filepath.Join(r.options.Config.Data.Dir, "ledger", "_wal")
	files, err := filepath.Glob(filepath.Join(root, "*.segment"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for off := 512; off+26 < len(b); { // behind the header: frames, each with its length, and a leaf with its own
			n := int(binary.BigEndian.Uint32(b[off:]))
			if n == 0 {
				break
			}
			leaf := int(binary.BigEndian.Uint32(b[off+22:]))
			if rec, err := ledger.ParseRecord(b[off+26:][:leaf]); err != nil {
				t.Fatal(err)
			} else if rec.Kind == kind {
				out = append(out, rec)
			}
			off += n + 8
		}
	}
	return out
}

func TestTheLedgerIsHandedOnAndItsHeartBeats(t *testing.T) {
	in := &receiver{t: t, seen: map[string]string{}}
	site := httptest.NewServer(in)
	defer site.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		s := config.DefaultSink()
		s.Type, s.URL, s.Tenant, s.SecretFile, s.Wait = "webhook", site.URL+"/in?token=hidden", "demo", secret, 10*time.Millisecond
		waits := s
		waits.Tenant = "nosuch"
		c.Sinks = map[string]config.Sink{"soc-1": s, "lost-2": waits}
		c.Ledger.Heartbeat = 100 * time.Millisecond
	})
	r := run(t, o, out, log)
	key, admin := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"]
	if _, err := r.planned(t.Context(), key, "files", "echo", `{}`); err != nil {
		t.Fatal(err)
	}
	awaited(t, "the call reaches the sink", func() bool { return in.has("settled") && in.has("admitted") && in.has("plan") })
	var list struct {
		Items []struct {
			Name, Address string
			Sent, Lag     uint64
		}
	}
	awaited(t, "no lag", func() bool {
		text := r.control("GET", "/api/v1/sinks", admin, "", 200, &list)
		return !strings.Contains(text, "hidden") && len(list.Items) == 1 && list.Items[0].Name == "soc-1" && list.Items[0].Sent > 3 && list.Items[0].Lag < 10
	})
	if m := r.control("GET", "/metrics", admin, "", 200, nil); !strings.Contains(m, `gatewright_sink_lag{sink="soc-1"}`) || !strings.Contains(m, `gatewright_sink_sent_total{sink="soc-1"}`) || !strings.Contains(m, `gatewright_sink_lag{sink="lost-2"}`) || !strings.Contains(m, "gatewright_ledger_heartbeats_total") {
		t.Error(m)
	}
	if said := r.log.String(); strings.Count(said, "tenant does not exist") != 1 || !strings.Contains(said, "tenant=nosuch") {
		t.Error(said)
	}
	awaited(t, "heartbeats", func() bool {
		m := r.control("GET", "/metrics", admin, "", 200, nil)
		return strings.Contains(m, "heartbeats_total") && !strings.Contains(m, "heartbeats_total 0") && !strings.Contains(m, "heartbeats_total 1\n") && !strings.Contains(m, "heartbeats_total 2\n")
	})
	r.stop()
	var last struct {
		Boot, Records uint64
		Ledgers       []struct {
			Tenant, Root string
			Size         uint64
		}
	}
	named := map[string]uint64{}
	for _, rec := range records(t, r, ledger.Heartbeat) {
		if err := json.Unmarshal(rec.Body, &last); err != nil || rec.Tenant != ledger.InstanceTenant {
			t.Fatal(err, rec.Tenant)
		}
		for _, l := range last.Ledgers {
			if l.Size <= named[l.Tenant] || len(l.Root) != 64 {
				t.Errorf("%+v after %d", l, named[l.Tenant])
			}
			named[l.Tenant] = l.Size
		}
	}
	if last.Boot != 1 || last.Records == 0 || named["demo"] == 0 || named[ledger.InstanceTenant] != 0 {
		t.Errorf("%+v %v", last, named)
	}
	if text := log.String(); strings.Contains(text, "hidden") || strings.Contains(text, "0123456789abcdef") {
		t.Error("a secret is in the log")
	}
}

func TestASinkWhoseSecretIsMissingIsRefused(t *testing.T) {
	o, _, _ := options(t, func(c *config.Config) {
		s := config.DefaultSink()
		s.Type, s.URL, s.Tenant, s.SecretFile = "webhook", "https://h.example/", "demo", "no-such-file"
		c.Sinks = map[string]config.Sink{"soc": s}
	})
	g, err := server.Start(t.Context(), o)
	if err == nil {
		_ = g.Close()
	}
	if err == nil || !strings.Contains(err.Error(), `sink "soc": secret_file "no-such-file"`) {
		t.Fatal(err)
	}
}

func TestHoldPruneAndErase(t *testing.T) {
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Ledger.Retention = time.Millisecond
	})
	r := run(t, o, out, log)
	key, admin, user := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"], r.env["USER_ID"]
	if _, err := r.planned(t.Context(), key, "files", "echo", `{"private":"words"}`); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		r.control("GET", "/api/v1/whoami", admin, "", 200, nil)
	}
	r.control("POST", "/api/v1/ledger/prune", key, `{}`, 403, nil)
	r.control("POST", "/api/v1/ledger/hold", admin, `{"reason":"case 12"}`, 200, nil)
	subject := user
	var found bool
	for _, s := range []string{user, r.env["AGENT_ID"]} { // whichever the arguments were sealed for
		text := r.control("POST", "/api/v1/audit-logs/erase", admin, fmt.Sprintf(`{"subject":%q,"reason":"asked","confirm":%q}`, s, s), 409, nil)
		found = found || strings.Contains(text, "held")
		subject = s
	}
	var pruned struct {
		Items []struct {
			Tenant, Record string
			From, To       uint64
			Held           bool
		}
	}
	r.control("POST", "/api/v1/ledger/prune", admin, `{}`, 200, &pruned)
	if !found || len(pruned.Items) != 1 || !pruned.Items[0].Held || pruned.Items[0].To != 0 {
		t.Fatalf("%+v", pruned)
	}
	r.control("DELETE", "/api/v1/ledger/hold", admin, `{"reason":"over"}`, 200, nil)
	awaited(t, "a checkpoint of enough records", func() bool {
		r.control("POST", "/api/v1/ledger/prune", admin, `{"dry_run":true}`, 200, &pruned)
		return pruned.Items[0].To > 300
	})
	r.control("POST", "/api/v1/ledger/prune", admin, ``, 200, &pruned)
	p := pruned.Items[0]
	if p.Tenant != "demo" || p.From != 0 || p.To <= 300 || p.Record == "" {
		t.Fatalf("%+v", p)
	}
	for _, path := range []string{fmt.Sprint("/api/v1/ledger/records/", p.To-1), "/api/v1/ledger/records?from=0"} {
		if text := r.control("GET", path, admin, "", 410, nil); !strings.Contains(text, `"pruned"`) {
			t.Error(text)
		}
	}
	r.control("GET", fmt.Sprint("/api/v1/ledger/records/", p.To), admin, "", 200, nil)
	if _, err := r.planned(t.Context(), key, "files", "echo", `{"private":"words"}`); err != nil {
		t.Fatal(err)
	}
	erase := func(id string, status int, into any) string {
		return r.control("POST", "/api/v1/audit-logs/erase", admin, fmt.Sprintf(`{"subject":%q,"reason":"asked","confirm":%q}`, id, id), status, into)
	}
	if text := erase(r.env["AGENT_ID"], 422, nil); !strings.Contains(text, user) { // its calls are sealed under its owner
		t.Error("it does not say whom to erase:", text)
	}
	var e struct {
		Already         bool
		Digest, Outcome string
		Records         int
	}
	if erase(user, 200, &e); e.Already || e.Digest == "" || e.Outcome == "" || e.Records == 0 {
		t.Errorf("%+v", e)
	}
	if erase(user, 200, &e); !e.Already {
		t.Errorf("again: %+v", e)
	}
	if m := r.control("GET", "/metrics", admin, "", 200, nil); !strings.Contains(m, fmt.Sprintln("gatewright_ledger_pruned_records_total", p.To)) {
		t.Error("the metrics do not count it")
	}
	vk := r.g.VerifierKey()
	r.stop()
	if _, err := publish.Verify(t.Context(), filepath.Join(o.Config.Data.Dir, "ledger"), publish.VerifyOptions{Keys: ledger.VerifierKeys{vk}}); err != nil {
		t.Fatal("what is left does not verify:", err)
	}
	for _, rec := range records(t, r, ledger.Erasure) {
		if text := string(rec.AppendJSON(nil)); strings.Contains(text, subject) && !strings.Contains(text, `"user":"`+subject) {
			t.Error("an erasure names whom it is about:", text)
		}
	}
}
