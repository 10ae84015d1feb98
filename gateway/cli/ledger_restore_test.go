package cli_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func bookOptions(dir string) wal.Options {
	o := wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local",
		Signer:       ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)),
		ChainKeyFile: filepath.Join(dir, "keys", "ledger.chain"), RootKeyFile: filepath.Join(dir, "keys", "ledger.k0"), Now: time.Now, Rand: rand.Reader,
	}
	o.Sync, o.SegmentBytes, o.Deadline = wal.SyncWrite, 1<<20, time.Minute
	return o
}

// putBack is a data folder put back from a backup of 5 records, and the checkpoint of 9 that was signed after it.
func putBack(t *testing.T) (dir, checkpoint string) {
	t.Helper()
	dir, _ = dataFolder(t, 5)
	seed := "gatewright/key/v1 raw " + base64.StdEncoding.EncodeToString(make([]byte, ed25519.SeedSize)) + "\n"
	for name, text := range map[string]string{"VERSION": "1\n", "keys/ledger": seed} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	b, err := publish.OpenBook(t.Context(), bookOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := b.Append(t.Context(), &ledger.Record{Tenant: "demo", Kind: ledger.Admin, Step: -1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return backup, filepath.Join(dir, "ledger", "demo", "checkpoint")
}

func TestALedgerPutBackFromABackupIsRestoredWithAReasonAndAYes(t *testing.T) {
	h := newHouse(t)
	dir, checkpoint := putBack(t)
	restore := []string{"ledger", "restore", "--data", dir, "--reason", "the disk died", "--by", "ops"}
	h.fails(t, 2, "reason", "ledger", "restore", "--data", dir)
	h.fails(t, 1, "nothing that was signed is missing", restore...)
	h.fails(t, 2, "checkpoint is not valid", append(restore, "--checkpoint", filepath.Join(dir, "VERSION"))...)
	restore = append(restore, "--checkpoint", checkpoint)

	held, err := datadir.Open(dir, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.fails(t, 1, "in use by another gateway", append(restore, "--yes")...)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}

	o := h.run(t, restore...)
	if o.code != 0 || !strings.Contains(o.errOut, "nothing was changed") || strings.Contains(o.out, "restored:") || !strings.Contains(o.out, "demo") || !strings.Contains(o.out, "main.2") {
		t.Fatalf("%+v", o)
	}
	if n, err := wal.ReadGeneration(nil, filepath.Join(dir, "ledger")); n != 1 || err != nil {
		t.Fatal("a look changed the folder:", n, err)
	}
	if o = h.run(t, append(restore, "--yes")...); o.code != 0 || !strings.Contains(o.out, "generation 2") {
		t.Fatalf("%+v", o)
	}
	for _, want := range []string{"tell every witness", `origin = "gatewright.local/ledger/_checkpoints/main.2"`, `keys = ["gatewright.local/ledger/_instance/main+`} {
		if !strings.Contains(o.out, want) {
			t.Errorf("no %s in %s", want, o.out)
		}
	}
	b, err := publish.OpenBook(t.Context(), bookOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.Scan(t.Context(), "demo", 5, 10)
	if err != nil || len(all) != 1 {
		t.Fatal(len(all), err)
	}
	r, err := all[0].Record()
	if err != nil || r.Code != "restored" || !strings.Contains(string(r.Body), `"signed":9`) || !strings.Contains(string(r.Body), "the disk died") {
		t.Fatalf("%+v %v", r, err)
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ledger", "demo", "checkpoint"))
	if err != nil || !strings.HasPrefix(string(text), "gatewright.local/ledger/demo/main.2\n6\n") {
		t.Fatalf("%s %v", text, err)
	}
	if o = h.run(t, "ledger", "verify", "--data", dir); o.code != 0 {
		t.Fatalf("%+v", o)
	}
}

func TestAFolderThatOthersRefuseIsRestoredOnTheirWord(t *testing.T) {
	h := newHouse(t)
	dir, _ := putBack(t)
	o := h.run(t, "ledger", "restore", "--data", dir, "--reason", "the witness refuses it", "--rolled-back", "--yes")
	if o.code != 0 || !strings.Contains(o.out, "unknown") {
		t.Fatalf("%+v", o)
	}
}
