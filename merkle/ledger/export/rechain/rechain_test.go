package rechain_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/export/rechain"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// made makes the files of n records in a folder and returns it with the key.
func made(t *testing.T, n int) (dir, key string) {
	t.Helper()
	key, err := rechain.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m, err := rechain.New(key, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	files := map[string]*bytes.Buffer{}
	err = m.Files(t.Context(), &export.About{Origin: "gw.example/ledger/acme/one"}, func(fn func(*wal.Entry, *ledger.Record) error) error {
		for i := range n {
			r := record(t, i)
			e := wal.Entry{Index: uint64(10 + 3*i), Data: r.AppendJSON(nil)}
			if err := fn(&e, &r); err != nil {
				return err
			}
		}
		return nil
	}, func(name string) (io.Writer, error) {
		files[name] = &bytes.Buffer{}
		return files[name], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if bytes.Contains(b.Bytes(), []byte(key)) {
			t.Errorf("%s holds the key", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, key
}

func record(t *testing.T, i int) ledger.Record {
	t.Helper()
	at := now.Add(time.Duration(i) * 1234567 * time.Microsecond)
	id, err := ledger.NewID(at, strings.NewReader(fmt.Sprintf("%-16d", i)))
	if err != nil {
		t.Fatal(err)
	}
	r := ledger.Record{
		ID: id, Time: at.UnixMicro(), Tenant: "acme", Instance: "one", Kind: ledger.Settled, Step: -1, Agent: "agt_1", User: "usr_1",
		Op: "tools/call", Server: "shöp 商店 😀", Tool: "buy\"<&>\u2028\x7f", Verdict: "allow", Outcome: "ok", Micros: uint64(i) * 700, Of: id,
	}
	if i%3 == 0 {
		r.Agent, r.Tool, r.Server, r.Route, r.Kind, r.Of, r.Outcome = "", "", "", "/api/v1/agents", ledger.Admin, "", ""
	}
	if err := r.Normalize(); err != nil {
		t.Fatal(err)
	}
	return r
}

// referee is a verifier of the chain and the certificate, written from the description of the formats alone.
const referee = `
import hashlib, hmac, json, sys
key = sys.argv[1].encode()
def mac(v):
    return hmac.new(key, json.dumps(v, sort_keys=True, separators=(",", ":")).encode(), hashlib.sha256).hexdigest()
doc = json.load(open(sys.argv[2] + "/audit.json", encoding="utf-8"))
prev, seq = "GENESIS", 1
for e in doc["events"]:
    names = ("agent_id", "cost_estimate_usd", "created_at", "decision", "endpoint", "latency_ms", "method", "request_metadata")
    p = {n: e[n] for n in names}
    p["prev_hash"] = prev
    assert e["prev_hash"] == e["prev_hash_org"] == prev, "linkage"
    assert e["entry_hash"] == e["entry_hash_org"] == mac(p), "hash"
    assert e["org_chain_seq"] == seq, "sequence"
    assert e["key_fingerprint"] == hashlib.sha256(key).hexdigest()[:16], "fingerprint"
    prev, seq = e["entry_hash"], seq + 1
r = json.load(open(sys.argv[2] + "/report.json", encoding="utf-8"))
c = r["chain_verification"]
cert = {"chain_valid": c["chain_valid"], "entries_verified": c["entries_verified"], "generated_at": r["generated_at"],
        "report_id": r["report_id"], "total_entries": c["total_entries"]}
assert r["report_signature"] == mac(cert), "certificate"
assert c["total_entries"] == len(doc["events"]), "count"
def leaf(b): return hashlib.sha256(b"\x00" + b).digest()
def node(a, b): return hashlib.sha256(b"\x01" + a + b).digest()
roots = {c["merkle_root"] for c in json.load(open(sys.argv[2] + "/c.json", encoding="utf-8"))}
proofs = json.load(open(sys.argv[2] + "/p.json", encoding="utf-8"))["proofs"]
assert [p["entry_hash"] for p in proofs] == [e["entry_hash"] for e in doc["events"]], "entries proved"
for p in proofs:
    fn, sn, h = p["index"], p["tree_size"] - 1, leaf(bytes.fromhex(p["entry_hash"]))
    for s in map(bytes.fromhex, p["proof"]):
        assert sn > 0, "length"
        if fn & 1 or fn == sn:
            h = node(s, h)
            while not fn & 1 and fn: fn, sn = fn >> 1, sn >> 1
        else:
            h = node(h, s)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0 and h.hex() == p["merkle_root"] and p["merkle_root"] in roots, "inclusion"
`

func judge(t *testing.T, dir, key string) error {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no python3 to judge")
		}
		t.Skip("no python3 to judge")
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", referee, key, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestAnotherReaderInPythonAcceptsTheChainTheCertificateAndTheProofs(t *testing.T) {
	for _, n := range []int{1, 2, 7, 1024, 1025, 2500} {
		dir, key := made(t, n)
		if err := judge(t, dir, key); err != nil {
			t.Errorf("%d records: %v", n, err)
		}
	}
}

func TestAnotherReaderInPythonRefusesATamperedCopy(t *testing.T) {
	for name, edit := range map[string][3]string{
		"an agent":       {"audit.json", `"agent_id":"agt_1"`, `"agent_id":"agt_2"`},
		"a decision":     {"audit.json", `"decision":"allow"`, `"decision":"deny"`},
		"metadata":       {"audit.json", `"kind":"settled"`, `"kind":"refused"`},
		"a time":         {"audit.json", `2026-11-22T09:00:01`, `2026-11-22T09:00:02`},
		"a sequence":     {"audit.json", `"org_chain_seq":3`, `"org_chain_seq":4`},
		"the report":     {"report.json", `"total_entries": 7`, `"total_entries": 8`},
		"a proof":        {"p.json", `"index":2`, `"index":3`},
		"the checkpoint": {"c.json", `"merkle_root": "`, `"merkle_root": "00`},
	} {
		dir, key := made(t, 7)
		file := filepath.Join(dir, edit[0])
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(b, []byte(edit[1]), []byte(edit[2]), 1)
		if bytes.Equal(changed, b) {
			t.Fatalf("%s has no %q", edit[0], edit[1])
		}
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := judge(t, dir, key); err == nil || !strings.Contains(err.Error(), "AssertionError") {
			t.Errorf("%s changed: %v", name, err)
		}
	}
	dir, _ := made(t, 7)
	if err := judge(t, dir, "another key"); err == nil {
		t.Error("another key verifies it")
	}
}

// TestTheEnvelopesAreSignedByTheKeyBesideThem checks DSSE and ECDSA with nothing of ours.
func TestTheEnvelopesAreSignedByTheKeyBesideThem(t *testing.T) {
	dir, _ := made(t, 2500)
	raw, err := os.ReadFile(filepath.Join(dir, "public-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var checkpoints []struct {
		Root     merkle.Hash `json:"merkle_root"`
		Envelope struct {
			PayloadType string
			Payload     []byte
			Signatures  []struct{ KeyID, Sig string }
		}
	}
	if raw, err = os.ReadFile(filepath.Join(dir, "c.json")); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &checkpoints); err != nil || len(checkpoints) != 3 {
		t.Fatalf("%d checkpoints, %v", len(checkpoints), err)
	}
	for _, c := range checkpoints {
		e := c.Envelope
		sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
		digest := sha256.Sum256(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(e.Payload), e.Payload))
		if err != nil || !ecdsa.VerifyASN1(parsed.(*ecdsa.PublicKey), digest[:], sig) {
			t.Errorf("the signature over %s is wrong: %v", c.Root, err)
		}
		var payload struct {
			Root merkle.Hash `json:"merkle_root"`
		}
		if err := json.Unmarshal(e.Payload, &payload); err != nil || payload.Root != c.Root {
			t.Errorf("signed is %s, said %s", payload.Root, c.Root)
		}
	}
}

// TestTheirOwnVerifierAccepts runs AI Identity's public verifier, when AI_IDENTITY_VERIFY names a copy of
// cli/ai_identity_verify.py. It is not part of this repository.
func TestTheirOwnVerifierAccepts(t *testing.T) {
	verifier := os.Getenv("AI_IDENTITY_VERIFY")
	if verifier == "" {
		t.Skip("AI_IDENTITY_VERIFY names no copy of ai_identity_verify.py")
	}
	dir, key := made(t, 1500)
	run := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "python3", append([]string{verifier}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "AI_IDENTITY_HMAC_KEY="+key, "NO_COLOR=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	inclusion := []string{"inclusion-proof", "--checkpoints", "c.json", "--proofs", "p.json", "--pubkey", "public-key.pem"}
	for _, args := range [][]string{{"chain", "audit.json"}, {"report", "report.json"}, {"chain", "--global", "audit.json"}, inclusion} {
		if out, err := run(args...); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	for _, c := range []struct {
		file, old, with string
		args            []string
	}{
		{"audit.json", `"decision":"allow"`, `"decision":"deny"`, []string{"chain", "audit.json"}},
		{"report.json", `"total_entries": 1500`, `"total_entries": 1499`, []string{"report", "report.json"}},
		{"p.json", `"index":2,`, `"index":3,`, inclusion},
	} {
		b, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.file), bytes.Replace(b, []byte(c.old), []byte(c.with), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := run(c.args...); err == nil {
			t.Errorf("%s changed: accepted\n%s", c.file, out)
		}
	}
}
