package server_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

// fetch asks the data port.
func (r *running) fetch(method, path, key string, head ...string) (*http.Response, string) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.g.URL()+path, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		q.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(head); i += 2 {
		q.Header.Set(head[i], head[i+1])
	}
	resp, err := client.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

// published is a gateway with one call on record, and that call's result.
func published(t *testing.T) (*running, *gatewright.Result) {
	t.Helper()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Ledger.CheckpointEvery = 20 * time.Millisecond
	})
	r := run(t, o, out, log)
	res, err := r.planned(t.Context(), r.env["GATEWRIGHT_API_KEY"], "files", "echo", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	return r, res
}

func TestAnAgentUpgradesItsReceipt(t *testing.T) {
	r, res := published(t)
	key := r.env["GATEWRIGHT_API_KEY"]
	keys, err := gatewright.ParseKeys([]byte(r.g.VerifierKey().String()))
	if err != nil {
		t.Fatal(err)
	}
	v, err := gatewright.VerifyReceipt(res.Receipt, keys)
	if err != nil {
		t.Fatal(err)
	}
	before := r.control("GET", "/metrics", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	text, err := r.agent(key).Proof(t.Context(), v.Record.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.InLog(text, keys, gatewright.WitnessPolicy{}); err != nil {
		t.Fatal(err)
	}
	byAdmin := r.control("GET", "/api/v1/ledger/records/"+v.Record.ID+"/proof", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	if _, err := v.InLog([]byte(byAdmin), keys, gatewright.WitnessPolicy{}); err != nil {
		t.Fatal(err)
	}
	if settled(before) != settled(r.control("GET", "/metrics", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)) {
		t.Error("reading a proof made a call's records")
	}
	for path, want := range map[string]int{
		"/api/v1/ledger/records/rec_00000000000000000000000000/proof": 404, "/api/v1/ledger/records/0/proof": 404,
		"/api/v1/ledger/records//proof": 404, "/api/v1/ledger/records/" + v.Record.ID + "/proof/x": 404,
	} {
		if resp, body := r.fetch("GET", path, key); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := r.fetch("GET", "/api/v1/ledger/records/"+v.Record.ID+"/proof", ""); resp.StatusCode != 401 {
		t.Error("without a credential:", resp.StatusCode, body)
	}
	if resp, body := r.fetch("GET", "/api/v1/ledger/records/"+v.Record.ID+"/proof", r.env["GATEWRIGHT_ADMIN_KEY"]); resp.StatusCode != 403 {
		t.Error("with a management key:", resp.StatusCode, body)
	}
	if resp, body := r.fetch("POST", "/api/v1/ledger/records/"+v.Record.ID+"/proof", key); resp.StatusCode != 405 {
		t.Error("POST:", resp.StatusCode, body)
	}
}

func settled(metrics string) string {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "gatewright_line_settled_total") {
			return line
		}
	}
	return ""
}

func TestALogIsServedToItsOwnTenantOnly(t *testing.T) {
	r, _ := published(t)
	key := r.env["GATEWRIGHT_API_KEY"]
	keys := ledger.VerifierKeys{r.g.VerifierKey()}
	prefix := "/ledger/demo/" + r.options.Config.Ledger.Instance + "/"
	var cp ledger.Checkpoint
	awaited(t, "a checkpoint", func() bool {
		resp, note := r.fetch("GET", prefix+"checkpoint", key)
		if resp.StatusCode == 404 {
			return false
		}
		var err error
		if cp, err = ledger.OpenCheckpoint([]byte(note), keys); err != nil || !strings.HasSuffix(cp.Origin, strings.TrimSuffix(prefix, "/")) {
			t.Fatal(resp.StatusCode, note, cp, err)
		}
		if resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Error(resp.Header)
		}
		return cp.Size > 2 && cp.Size < 256
	})
	at := tile.Name{Level: tile.Entries, Index: 0, Wide: int(cp.Size)}
	bundle := r.control("GET", prefix+at.Path(), r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	if entries, err := tile.ParseBundle([]byte(bundle), int(cp.Size)); err != nil || len(entries) != int(cp.Size) {
		t.Fatal(err)
	}
	entries := at.Path()
	at.Level = 0
	resp, _ := r.fetch("GET", prefix+at.Path(), key)
	if c := resp.Header.Get("Cache-Control"); !strings.HasPrefix(c, "private") || !strings.Contains(c, "immutable") || resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Error(resp.Header)
	}
	if resp, body := r.fetch("HEAD", prefix+at.Path(), key); resp.StatusCode != 200 || body != "" {
		t.Error("HEAD:", resp.StatusCode, len(body))
	}
	_, unknown := r.fetch("GET", "/ledger/nobody/"+r.options.Config.Ledger.Instance+"/checkpoint", key)
	for _, path := range []string{
		prefix + entries, prefix + "tile/entries/000.p/1", prefix + "tile/entries",
		"/ledger/_instance/" + r.options.Config.Ledger.Instance + "/checkpoint", "/ledger/demo/other/checkpoint", "/ledger/demo", "/ledger",
		prefix + "tile/0/001", prefix + "tile/entries/000", prefix + "minimum", prefix + "tile/0/000.p/0", prefix + "tile/x/000",
		"/ledger/_checkpoints/" + r.options.Config.Ledger.Instance + "/tile/entries/000.p/1", "/ledger/_wal/" + r.options.Config.Ledger.Instance + "/boot",
	} {
		resp, body := r.fetch("GET", path, key)
		if resp.StatusCode != 404 || noRecord(body) != noRecord(unknown) {
			t.Errorf("%s: %d %s\nunlike %s", path, resp.StatusCode, body, unknown)
		}
	}
	if resp, _ := r.fetch("GET", prefix+"checkpoint", ""); resp.StatusCode != 401 {
		t.Error("without a credential:", resp.StatusCode)
	}
	if resp, _ := r.fetch("GET", "/ledger/_checkpoints/"+r.options.Config.Ledger.Instance+"/checkpoint", key); resp.StatusCode != 200 {
		t.Error("the log of checkpoints:", resp.StatusCode)
	}
	if resp, _ := r.fetch("GET", prefix+"checkpoint", key, "X-Organization-Id", "nobody"); resp.StatusCode != 404 {
		t.Error("another organisation in the header:", resp.StatusCode)
	}
}

// noRecord cuts the id of the refusal's record out of it.
func noRecord(body string) string {
	head, _, _ := strings.Cut(body, `,"record":`)
	return head
}

// TestALedgerFolderThatWasPutBackAloneKeepsTheGatewayFromStarting: the store remembers the latest checkpoint.
func TestALedgerFolderThatWasPutBackAloneKeepsTheGatewayFromStarting(t *testing.T) {
	r, _ := published(t)
	dir := filepath.Join(r.options.Config.Data.Dir, "ledger")
	r.stop()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	r = run(t, r.options, r.out, r.log)
	if _, err := r.planned(t.Context(), r.env["GATEWRIGHT_API_KEY"], "files", "echo", `{"a":1}`); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	g, err := server.Start(t.Context(), r.options)
	if err == nil {
		_ = g.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "put back to an earlier state") {
		t.Error(err)
	}
}

func TestCheckpointsAreSignedForLaterToo(t *testing.T) {
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Ledger.CheckpointEvery, c.Ledger.MLDSA = 20*time.Millisecond, true
	})
	r := run(t, o, out, log)
	text, err := os.ReadFile(filepath.Join(o.Config.Data.Dir, "keys", "ledger.mldsa44.pub"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	later, err := mldsa.ParseWitnessKey(lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	awaited(t, "a checkpoint", func() bool {
		resp, note := r.fetch("GET", "/ledger/demo/"+o.Config.Ledger.Instance+"/checkpoint", r.env["GATEWRIGHT_API_KEY"])
		if resp.StatusCode != 200 {
			_, _ = r.planned(t.Context(), r.env["GATEWRIGHT_API_KEY"], "files", "echo", `{}`)
			return false
		}
		if _, err := ledger.OpenCheckpoint([]byte(note), ledger.VerifierKeys{r.g.VerifierKey()}); err != nil {
			t.Fatal(err)
		}
		if _, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{later}, Need: 1}).Check([]byte(note)); err != nil {
			t.Fatal(err)
		}
		return true
	})
	r.stop()
	if err := os.Remove(filepath.Join(o.Config.Data.Dir, "keys", "ledger.mldsa44")); err != nil {
		t.Fatal(err)
	}
	refuseStart(t, o, "ledger.mldsa44")
}
