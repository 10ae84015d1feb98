package cli_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// keyed is a data folder whose ledger has a receipt to show.
func keyed(t *testing.T) (dir string, receipt []byte) {
	t.Helper()
	dir, _ = dataFolder(t, 5)
	seed := "gatewright/key/v1 raw " + base64.StdEncoding.EncodeToString(make([]byte, ed25519.SeedSize)) + "\n"
	for name, text := range map[string]string{"VERSION": "1\n", "keys/ledger": seed} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := publish.OpenBook(t.Context(), bookOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	_, receipt, err = b.Settle(t.Context(), &ledger.Record{Tenant: "demo", Kind: ledger.Refused, Step: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir, receipt
}

func pinnedIn(t *testing.T, dir string) ledger.VerifierKeys {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "keys", "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ledger.ParseVerifierKeys(b)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// rotated opens the ledger with the key that is in the folder now, and looks at what a rotation leaves.
func rotated(t *testing.T, h *house, dir string, receipt []byte) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "keys", "ledger.next")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the new key still waits:", err)
	}
	keys := pinnedIn(t, dir)
	if len(keys) != 2 {
		t.Fatal(keys)
	}
	rc, err := ledger.ParseReceipt(receipt)
	if err != nil || rc.Verify(keys) != nil || rc.Verify(keys[:1]) == nil {
		t.Fatal("the old receipt", err)
	}
	for _, log := range []string{"demo", "_instance", "_checkpoints"} {
		note, err := os.ReadFile(filepath.Join(dir, "ledger", log, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if _, err := ledger.OpenCheckpoint(note, keys[i:i+1]); err != nil {
				t.Errorf("%s is not signed by key %d: %v", log, i, err)
			}
		}
	}
	if o := h.run(t, "ledger", "verify", "--data", dir); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	folder, err := datadir.Open(dir, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := folder.Key("ledger", ed25519.SeedSize)
	if err = errors.Join(err, folder.Close()); err != nil {
		t.Fatal(err)
	}
	o := bookOptions(dir)
	o.Signer = ed25519.NewKeyFromSeed(seed)
	if !keys[0].Key.Equal(o.Signer.Public()) {
		t.Fatal("the newest key is not first")
	}
	b, err := publish.OpenBook(t.Context(), o, func(po *publish.Options) { po.Retired = []ed25519.PublicKey{keys[1].Key} })
	if err != nil {
		t.Fatal(err)
	}
	onRecord(t, b.Log, keys)
	if _, fresh, err := b.Settle(t.Context(), &ledger.Record{Tenant: "demo", Kind: ledger.Refused, Step: -1}, nil); err != nil {
		t.Fatal(err)
	} else if rc, err := ledger.ParseReceipt(fresh); err != nil || rc.Verify(keys[:1]) != nil {
		t.Fatal("the new receipt", err)
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// onRecord looks for the record that both keys signed.
func onRecord(t *testing.T, l *wal.Log, keys ledger.VerifierKeys) {
	t.Helper()
	all, err := l.Scan(t.Context(), ledger.InstanceTenant, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		r, err := all[i].Record()
		if err != nil || r.Kind != ledger.Key {
			continue
		}
		old, next, err := publish.ReadRotation(r.Body)
		if err != nil || old.String() != keys[1].String() || next.String() != keys[0].String() {
			t.Fatal(old, next, err)
		}
		for _, bad := range []string{
			strings.Replace(string(r.Body), `"rotated"`, `"other"`, 1), strings.Replace(string(r.Body), keys[0].String(), keys[1].String(), 1), "{}", "",
			strings.Replace(string(r.Body), `"new_signature":"`, `"new_signature":"AAAA`, 1),
		} {
			if _, _, err := publish.ReadRotation([]byte(bad)); !errors.Is(err, publish.ErrRotation) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		return
	}
	t.Error("the rotation is not on record")
}

func TestALedgersKeyIsRotated(t *testing.T) {
	h := newHouse(t)
	dir, receipt := keyed(t)
	held, err := datadir.Open(dir, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.fails(t, 1, "in use by another gateway", "ledger", "rotate-key", "--data", dir)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	h.fails(t, 2, "no data folder", "ledger", "rotate-key", "--data", t.TempDir())
	if o := h.run(t, "ledger", "rotate-key", "--data", dir); o.code != 0 || !strings.Contains(o.out, "rotated") {
		t.Fatalf("%+v", o)
	}
	rotated(t, h, dir, receipt)
	if o := h.run(t, "ledger", "rotate-key", "--data", dir); o.code != 0 || len(pinnedIn(t, dir)) != 3 {
		t.Fatalf("once more: %+v", o)
	}
}

// TestAnInterruptedRotationIsFinished: whatever was written when it stopped.
func TestAnInterruptedRotationIsFinished(t *testing.T) {
	for what, undo := range map[string]func(before, dir string){
		"only the new key":     func(before, dir string) { back(t, before, dir, "keys/ledger", "keys/ledger.pub", "ledger") },
		"the public keys too":  func(before, dir string) { back(t, before, dir, "keys/ledger") },
		"all but the last":     func(string, string) {},
		"checkpoints, no more": func(before, dir string) { back(t, before, dir, "keys/ledger", "keys/ledger.pub") },
	} {
		h := newHouse(t)
		dir, receipt := keyed(t)
		before := t.TempDir()
		if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if o := h.run(t, "ledger", "rotate-key", "--data", dir); o.code != 0 {
			t.Fatalf("%+v", o)
		}
		next, err := os.ReadFile(filepath.Join(dir, "keys", "ledger"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "keys", "ledger.next"), next, 0o600); err != nil {
			t.Fatal(err)
		}
		undo(before, dir)
		if o := h.run(t, "ledger", "rotate-key", "--data", dir); o.code != 0 {
			t.Fatalf("%s: %+v", what, o)
		}
		rotated(t, h, dir, receipt)
	}
}

// back puts some of a folder back.
func back(t *testing.T, before, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		from, to := filepath.Join(before, name), filepath.Join(dir, name)
		if st, err := os.Stat(from); err != nil {
			t.Fatal(err)
		} else if st.IsDir() {
			if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
				t.Fatal(err)
			}
			// What the chain of MACs begins with lies among the keys.
			back(t, before, dir, "keys/ledger.chain")
			continue
		}
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
