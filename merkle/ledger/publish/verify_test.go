package publish_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// written is a real ledger of 300 records of acme and 2 of rival, published three times.
func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	o := wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(dir, "ledger"), Instance: instance, Origin: host, Signer: key("signer"),
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "k0"), Now: time.Now, Rand: rand.Reader,
	}
	o.Sync, o.SegmentBytes, o.Checkpoint, o.Deadline = wal.SyncWrite, 1<<20, time.Hour, time.Minute
	w := newWitness(t, "w.example")
	b, err := publish.OpenBook(t.Context(), o, func(po *publish.Options) { po.Cosign = w.cosign })
	must(t, err)
	for i := range 300 {
		_, err := b.Append(t.Context(), &ledger.Record{Tenant: "acme", Kind: ledger.Heartbeat, Step: -1})
		must(t, err)
		if i%150 == 1 {
			_, err := b.Append(t.Context(), &ledger.Record{Tenant: "rival", Kind: ledger.Heartbeat, Step: -1})
			must(t, err)
			heads, err := b.Heads(t.Context())
			must(t, err)
			must(t, b.Publish(t.Context(), heads))
		}
	}
	must(t, b.Close(context.Background()))
	return o.Dir
}

func verify(t *testing.T, dir string) (wal.Report, error) {
	t.Helper()
	return publish.Verify(t.Context(), dir, publish.VerifyOptions{Keys: pinned(t)})
}

func TestEveryTileIsHeldAgainstTheLog(t *testing.T) {
	dir := written(t)
	rep, err := verify(t, dir)
	if err != nil || !rep.Signatures || strings.Contains(strings.Join(rep.Notes, " "), "tiles") {
		t.Fatal(rep.Notes, err)
	}
	for path, b := range files(t, dir) {
		if strings.HasPrefix(path, "_wal/") {
			continue
		}
		name := filepath.Join(dir, filepath.FromSlash(path))
		for at := 0; at < len(b); at += 1 + len(b)/9 {
			bad := append([]byte(nil), b...)
			bad[at] ^= 1 << (at % 8)
			must(t, os.WriteFile(name, bad, 0o600))
			if _, err := verify(t, dir); !errors.Is(err, wal.ErrCorrupt) && !errors.Is(err, wal.ErrTruncated) && !cosignature(path, b, at) {
				t.Errorf("%s: byte %d of %d: %v", path, at, len(b), err)
			}
		}
		must(t, os.WriteFile(name, b, 0o600))
	}
	if _, err := verify(t, dir); err != nil {
		t.Fatal(err)
	}
}

// cosignature reports whether a byte belongs to a witness's signature, which takes the witness's key to check.
func cosignature(path string, b []byte, at int) bool {
	return strings.HasPrefix(path, ledger.CheckpointsLog) && at > strings.LastIndex(string(b), "w.example ")-len("\u2014 ")-1 && strings.Contains(string(b), "w.example ")
}

func TestMissingTilesAreReportedAndNoDamage(t *testing.T) {
	dir := written(t)
	must(t, os.RemoveAll(filepath.Join(dir, "acme", "tile")))
	rep, err := verify(t, dir)
	if err != nil || !strings.Contains(strings.Join(rep.Notes, "\n"), "tiles of acme end at 0 of 300") {
		t.Fatal(rep.Notes, err)
	}
}

// TestALogOfCheckpointsThatSaysOtherwiseIsRefused: its own tiles are as they should be, and signed.
func TestALogOfCheckpointsThatSaysOtherwiseIsRefused(t *testing.T) {
	for what, lie := range map[string]func(cp *ledger.Checkpoint){
		"another root":     func(cp *ledger.Checkpoint) { cp.Root[3] ^= 1 },
		"a longer tree":    func(cp *ledger.Checkpoint) { cp.Size = 5000 },
		"a tenant unheard": func(cp *ledger.Checkpoint) { cp.Origin = ledger.Origin(host, "nobody", instance) },
		"another host":     func(cp *ledger.Checkpoint) { cp.Origin = ledger.Origin("other.example", "acme", instance) },
	} {
		dir := written(t)
		folder := filepath.Join(dir, ledger.CheckpointsLog)
		tree, err := tile.Open(quick{}, folder)
		must(t, err)
		note, err := os.ReadFile(filepath.Join(dir, "acme", "checkpoint"))
		must(t, err)
		cp, err := ledger.ReadCheckpoint(note)
		must(t, err)
		lie(&cp)
		must(t, tree.Append([][]byte{append(make([]byte, ledger.SaltSize), cp.Body()...)}))
		all := ledger.Checkpoint{Origin: ledger.Origin(host, ledger.CheckpointsLog, instance), Size: tree.Size(), Root: tree.Root()}
		text, err := all.Sign(signer(t, "signer"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, "checkpoint"), text, 0o600))
		if _, err := verify(t, dir); !errors.Is(err, wal.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAFolderWithoutRecordsIsRefused(t *testing.T) {
	dir := written(t)
	must(t, os.Mkdir(filepath.Join(dir, "nobody"), 0o700))
	if _, err := verify(t, dir); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal(err)
	}
}
