package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// dataFolder makes a data folder with a closed ledger of n records, and returns it with the path of k_0.
func dataFolder(t *testing.T, n int) (dir, k0 string) {
	t.Helper()
	dir = t.TempDir()
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	o := wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: key,
		ChainKeyFile: filepath.Join(keys, "ledger.chain"), RootKeyFile: filepath.Join(keys, "ledger.k0"), Now: time.Now, Rand: rand.Reader,
	}
	o.Sync, o.SegmentBytes, o.Deadline = wal.SyncWrite, 1<<20, time.Minute
	log, err := publish.OpenBook(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id, err := ledger.NewID(time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r := ledger.Record{ID: id, Time: time.Now().UnixMicro(), Tenant: "demo", Kind: ledger.Admin, Step: -1, Detail: fmt.Sprintf("record number %d", i)}
		if _, err := log.Append(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	pub := []byte(log.VerifierKey().String() + "\n")
	if err := log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "ledger.pub"), pub, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, o.RootKeyFile
}

func TestALedgerIsVerifiedOfflineAndNotAfterOneByteIsChanged(t *testing.T) {
	dir, k0 := dataFolder(t, 20)
	h := &house{env: map[string]string{}}
	o := h.run(t, "ledger", "verify", "--data", dir, "--k0", k0)
	if o.code != 0 || !strings.HasPrefix(o.out, "verified: instance main, ") || !strings.Contains(o.out, "signatures checked, chain checked") || !strings.Contains(o.out, "\ndemo ") {
		t.Fatalf("got %+v", o)
	}
	if o = h.run(t, "ledger", "verify", "--data", dir); o.code != 0 || !strings.Contains(o.out, "chain checked") {
		t.Errorf("with k_0 where it was exported: %+v", o)
	}
	away := filepath.Join(t.TempDir(), "ledger.k0")
	if err := os.Rename(k0, away); err != nil {
		t.Fatal(err)
	}
	k0 = away
	if o = h.run(t, "ledger", "verify", "--data", dir); o.code != 0 || !strings.Contains(o.out, "chain NOT checked") {
		t.Errorf("without k_0: %+v", o)
	}
	o = h.run(t, "ledger", "verify", "--data", dir, "--k0", k0, "--json")
	var body struct{ Verified bool }
	if o.code != 0 || json.Unmarshal([]byte(o.out), &body) != nil || !body.Verified {
		t.Errorf("json: %+v", o)
	}
	plain, err := os.ReadFile(k0)
	if err != nil {
		t.Fatal(err)
	}
	for form, code := range map[string]int{"raw": 0, "sealed": 2} {
		file := filepath.Join(t.TempDir(), form)
		if err := os.WriteFile(file, []byte("gatewright/key/v1 "+form+" "+base64.StdEncoding.EncodeToString(plain)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if o := h.run(t, "ledger", "verify", "--data", dir, "--k0", file); o.code != code || (code == 0) != strings.Contains(o.out, "chain checked") {
			t.Errorf("k_0 in a %s key file: %+v", form, o)
		}
	}
	h.fails(t, 2, "not the first one", "ledger", "verify", "--data", dir, "--k0", runningKey(t))
	changeOneByte(t, filepath.Join(dir, "ledger"), []byte("record number 7"))
	o = h.run(t, "ledger", "verify", "--data", dir, "--k0", k0)
	if o.code != 1 || !strings.HasPrefix(o.out, "NOT verified") || !strings.HasPrefix(o.errOut, "gatewright: verify ledger: ") || !strings.Contains(o.errOut, "\nhint: ") {
		t.Errorf("one byte changed: %+v", o)
	}
	o = h.run(t, "ledger", "verify", "--data", dir, "--json")
	body.Verified = true
	if o.code != 1 || json.Unmarshal([]byte(o.out), &body) != nil || body.Verified {
		t.Errorf("one byte changed, json: %+v", o)
	}
}

func TestALedgerUnderAnotherKeyIsNotVerified(t *testing.T) {
	dir, _ := dataFolder(t, 3)
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte(otherPin(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &house{env: map[string]string{}}
	if o := h.run(t, "ledger", "verify", "--data", dir, "--key", pin); o.code != 1 || !strings.Contains(o.out, "NOT verified") {
		t.Errorf("got %+v", o)
	}
	_, foreign := dataFolder(t, 1)
	if o := h.run(t, "ledger", "verify", "--data", dir, "--k0", foreign); o.code != 1 {
		t.Errorf("under another ledger's k_0: %+v", o)
	}
}

// runningKey writes a key file of epoch 1, as a ledger's second segment has.
func runningKey(t *testing.T) string {
	t.Helper()
	line := fmt.Sprintf("gatewright/chain-key/v1 1 %064x", 1)
	name := filepath.Join(t.TempDir(), "chain")
	sum := crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli))
	if err := os.WriteFile(name, fmt.Appendf(nil, "%s %08x\n", line, sum), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// changeOneByte flips a bit inside the first occurrence of text in the folder's segments.
func changeOneByte(t *testing.T, dir string, text []byte) {
	t.Helper()
	done := false
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || done || filepath.Ext(path) == ".index" { // those are made again from the log
			return err
		}
		b, err := os.ReadFile(path)
		if i := bytes.Index(b, text); err == nil && i >= 0 {
			b[i+3] ^= 1
			done = true
			return os.WriteFile(path, b, 0o600)
		}
		return err
	})
	if err != nil || !done {
		t.Fatalf("no byte to change: %v", err)
	}
}
