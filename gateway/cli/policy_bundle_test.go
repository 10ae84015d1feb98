package cli_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

func TestPoliciesArePushedActivatedAndRolledBackOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	dir := bundleOf(t, map[string]string{"p.cedar": "permit (principal, action, resource);", "bundle.sig": "sig"})
	row := `{"number":3,"state":"STATE","digest":"ab12cd34","files":1,"bytes":37,"source":"api","by":"usr_1","created":"2026-01-01T00:00:00Z"}`
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(b)))
		switch {
		case r.URL.Path == "/api/v1/policies/revisions" && r.Method == "GET":
			answer(w, 200, `{"items":[`+strings.Replace(row, "STATE", "enforced", 1)+`]}`)
		case r.URL.Path == "/api/v1/policies/revisions":
			answer(w, 201, strings.Replace(row, `STATE"`, `idle","filters":[{"name":"a","mode":"enforce","before":{"version":1,"digest":"d"}},{"name":"b","mode":"enforce","before":{"version":1,"digest":"d"}}],"warnings":["as things are"]`, 1))
		case strings.HasSuffix(r.URL.Path, "/9/activate"):
			answer(w, 404, `{"code":"not_found","detail":"there is no such revision","hint":"GET /api/v1/policies/revisions lists them","record":"rec_1"}`)
		case strings.Contains(string(b), "canary"):
			answer(w, 200, strings.Replace(row, `STATE"`, `canary","percent":10`, 1))
		default:
			answer(w, 200, strings.Replace(row, "STATE", "enforced", 1))
		}
	})
	if o := h.run(t, "policy", "push", dir); !strings.Contains(o.errOut, "warning: as things are\n") || !strings.Contains(o.errOut, "`gatewright policy activate 3` enforces it; one that changes filters cannot be tried") {
		t.Errorf("%+v", o)
	}
	for _, c := range []struct {
		args      string
		out, sent string
		code      int
	}{
		{"policy push " + dir, "revision 3 idle\ntakes out of force: a, b\n", `POST /api/v1/policies/revisions {"files":{"bundle.sig":"sig","p.cedar":"permit (principal, action, resource);"}}`, 0},
		{"policy activate 3", "revision 3 enforced, digest ab12cd34\n", `POST /api/v1/policies/revisions/3/activate {"mode":"enforce"}`, 0},
		{"policy activate 3 --shadow", "", `POST /api/v1/policies/revisions/3/activate {"mode":"shadow"}`, 0},
		{"policy activate 3 --canary 10", "revision 3 canary for 10 % of the principals, digest ab12cd34\n", `POST /api/v1/policies/revisions/3/activate {"mode":"canary","percent":10}`, 0},
		{"policy rollback", "revision 3 enforced, digest ab12cd34\n", "POST /api/v1/policies/rollback", 0},
		{"policy rollback 2", "revision 3 enforced, digest ab12cd34\n", `POST /api/v1/policies/rollback {"to":2}`, 0},
		{"policy history", "N  STATE     CREATED               FROM  BY     SIGNED BY  NAME  DIGEST\n3  enforced  2026-01-01T00:00:00Z  api   usr_1  -          -     ab12cd34\n", "GET /api/v1/policies/revisions", 0},
		{"policy activate 9", "", "", 1},
		{"policy activate 3 --canary 100", "", "", 2},
		{"policy activate 3 --canary 0", "", "", 2},
		{"policy activate 3 --shadow --canary 5", "", "", 2},
		{"policy push " + filepath.Join(dir, "none"), "", "", 2},
	} {
		seen = nil
		o := h.run(t, strings.Fields(c.args)...)
		if o.code != c.code || c.out != "" && o.out != c.out {
			t.Errorf("%s: %+v", c.args, o)
		}
		if c.sent != "" && strings.Join(seen, "\n") != c.sent {
			t.Errorf("%s sent %q", c.args, seen)
		}
	}
}

func TestASignedBundleVerifies(t *testing.T) {
	h := newHouse(t)
	dir := bundleOf(t, map[string]string{"p.cedar": "permit (principal, action, resource);", "manifest.json": `{"format":1,"name":"acme","version":4}`})
	_, key, _ := ed25519.GenerateKey(nil)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := h.run(t, "policy", "sign", dir, "--key", file, "--name", "acme-policies")
	pub, err := ledger.ParseVerifierKey(strings.TrimSpace(o.out))
	if o.code != 0 || err != nil {
		t.Fatalf("%+v %v", o, err)
	}
	b, err := policies.LoadBundle(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if by, err := bundles.Verify(b, ledger.VerifierKeys{pub}); err != nil || by != "acme-policies" {
		t.Errorf("%q %v", by, err)
	}
	plain := bundleOf(t, map[string]string{"p.cedar": "permit (principal, action, resource);"})
	for _, args := range [][]string{{plain, "--key", file, "--name", "a"}, {dir, "--key", file, "--name", "a b"}, {dir, "--key", filepath.Join(dir, "p.cedar"), "--name", "a"}, {dir, "--key", dir, "--name", "a"}} {
		if o := h.run(t, append([]string{"policy", "sign"}, args...)...); o.code != 2 {
			t.Errorf("%v: %+v", args, o)
		}
	}
}
