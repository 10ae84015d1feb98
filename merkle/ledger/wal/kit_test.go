package wal_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// signerKey is the same in all processes of a test, so that a killed child's log verifies here.
func signerKey() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test signer"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// options is a small log in dir with keys beside it.
func options(dir string) wal.Options {
	c := wal.DefaultConfig()
	c.SegmentBytes = 64 << 10
	c.Checkpoint = time.Hour // tests ask for theirs by Close
	c.Deadline = 10 * time.Second
	return wal.Options{
		Config: c, Dir: filepath.Join(dir, "ledger"), Instance: "gw-1", Origin: "gate.example", Signer: signerKey(),
		ChainKeyFile: filepath.Join(dir, "keys", "chain"), RootKeyFile: filepath.Join(dir, "keys", "root"),
		Now: time.Now, Rand: rand.Reader,
	}
}

// openLog opens a log whose checkpoints are published, as a gateway's are.
func openLog(ctx context.Context, o wal.Options) (*wal.Log, error) {
	b, err := publish.OpenBook(ctx, o)
	return b.Log, err
}

func open(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	l, err := openLog(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	return l
}

func shut(t testing.TB, l *wal.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Log("close:", err)
	}
}

// record is a plausible record of a kind.
func record(tenant string, kind ledger.Kind) *ledger.Record {
	return &ledger.Record{
		Tenant: tenant, Kind: kind, Step: -1, Agent: "agt_one", User: "usr_one", Key: "key_one", Addr: "192.0.2.7",
		Route: "/mcp", Op: "tools/call", Server: "demo", Tool: "notes_add", Verdict: "permit",
		Request: merkle.LeafHash([]byte("request")), Ask: merkle.LeafHash([]byte("ask")),
		Stages: []ledger.StageTime{{Name: "identify", Micros: 3}, {Name: "intent", Micros: 41}},
	}
}

func plan(name string) merkle.Hash { return merkle.LeafHash([]byte(name)) }

func use(p string, step int32, most uint32, after ...int) wal.Use {
	return wal.Use{Plan: plan(p), Step: step, Max: most, After: after, Expires: time.Now().Add(time.Hour).Unix()}
}

func admit(t testing.TB, l *wal.Log, tenant string, u wal.Use) string {
	t.Helper()
	r := record(tenant, ledger.Admitted)
	if _, err := l.Admit(t.Context(), r, u); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func settle(t testing.TB, l *wal.Log, tenant, of, outcome string) *ledger.Receipt {
	t.Helper()
	r := record(tenant, ledger.Settled)
	r.Of, r.Outcome, r.Status, r.Micros = of, outcome, 200, 1234
	_, text, err := l.Settle(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := ledger.ParseReceipt(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Verify(pinned(t)); err != nil {
		t.Fatal(err)
	}
	return rc
}

func k0(t testing.TB, o wal.Options) []byte {
	t.Helper()
	b, err := os.ReadFile(o.RootKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	epoch, key, err := wal.ParseChainKey(b)
	if err != nil || epoch != 0 {
		t.Fatal(epoch, err)
	}
	return key
}

func pinned(t testing.TB) ledger.VerifierKeys {
	t.Helper()
	k, err := ledger.NewVerifierKey("gate.example/ledger/_instance/gw-1", signerKey().Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return ledger.VerifierKeys{k}
}

func verify(t testing.TB, o wal.Options) (wal.Report, error) {
	t.Helper()
	return publish.Verify(t.Context(), o.Dir, publish.VerifyOptions{Keys: pinned(t), K0: k0(t, o)})
}

// mustVerify fails unless every byte of the log is as it should be.
func mustVerify(t testing.TB, o wal.Options) wal.Report {
	t.Helper()
	rep, err := verify(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Chain || !rep.Signatures {
		t.Fatalf("not everything was checked: %v", rep.Notes)
	}
	return rep
}

// copyTree copies a folder as a crash would leave it. Where a file gets another name meanwhile, it begins anew.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	for try := 0; ; try++ {
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return
		}
		if try == 10 || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}
