package wal_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// signedHeads are the checkpoints of a log as a witness would remember them.
func signedHeads(t testing.TB, l *wal.Log) map[string]ledger.Checkpoint {
	t.Helper()
	heads, err := l.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]ledger.Checkpoint{}
	for i := range heads {
		h := &heads[i]
		name := ledger.Origin("gate.example", h.Tenant, wal.InstanceName("gw-1", l.Generation()))
		out[h.Tenant] = ledger.Checkpoint{Origin: name, Size: h.Tree.Size(), Root: h.Tree.Root()}
	}
	return out
}

// behind is a data folder put back from a backup: acme has less than was signed of it, rival is as it was, and the boots
// that are lost are not known.
func behind(t testing.TB) wal.Options {
	t.Helper()
	dir := t.TempDir()
	o := options(dir)
	o.SegmentBytes = 8 << 10
	l, err := whole(t, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		settle(t, l, "rival", admit(t, l, "rival", use("r", 0, 0)), ledger.OutcomeOK)
		settle(t, l, "acme", admit(t, l, "acme", use("a", 0, 0)), ledger.OutcomeOK)
	}
	shut(t, l)
	backup := t.TempDir()
	copyTree(t, dir, backup)
	if l, err = whole(t, o); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		admit(t, l, "acme", use("later", 0, 0))
	}
	b := options(backup)
	b.SegmentBytes, b.Signed = o.SegmentBytes, signedHeads(t, l)
	shut(t, l)
	return b
}

var why = wal.RestoreOptions{Reason: "the disk died", By: "ops"}

func TestALogPutBackFromABackupGoesOnUnderANewName(t *testing.T) {
	o := behind(t)
	if _, err := whole(t, o); !errors.Is(err, wal.ErrTruncated) {
		t.Fatal("a log behind what was signed opens:", err)
	}
	dry := why
	dry.Dry = true
	g, err := wal.Restore(t.Context(), o, dry)
	if err != nil || g.Number != 2 || len(g.Tenants) != 1 || g.Tenants[0].Tenant != "acme" || g.Tenants[0].Size != 20 || g.Tenants[0].Signed != 50 {
		t.Fatalf("%+v %v", g, err)
	}
	if n, err := wal.ReadGeneration(nil, o.Dir); err != nil || n != 1 {
		t.Fatal("a trial changed the folder:", n, err)
	}
	if _, err := wal.Restore(t.Context(), o, why); err != nil {
		t.Fatal(err)
	}
	if n, err := wal.ReadGeneration(nil, o.Dir, signerKey().Public().(ed25519.PublicKey)); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	o.Signed = nil // the new name was never signed for
	l, err := whole(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if l.Generation() != 2 || l.Boot() < 1<<20 || l.Size("acme") != 21 || l.Size("rival") != 20 || l.Size("_instance") != 1 {
		t.Fatal(l.Generation(), l.Boot(), l.Size("acme"), l.Size("rival"), l.Size("_instance"))
	}
	for tenant, want := range map[string]string{"acme": `"signed":50`, "_instance": `"by":"ops"`} {
		all, err := l.Scan(t.Context(), tenant, l.Size(tenant)-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		r, err := all[0].Record()
		if err != nil || r.Kind != ledger.Recovery || r.Code != "restored" || !strings.Contains(string(r.Body), want) || !strings.Contains(string(r.Body), "the disk died") {
			t.Fatalf("%+v %v", r, err)
		}
	}
	signed := signedHeads(t, l)
	shut(t, l)
	for range 2 { // it is said once, also to who starts from nothing
		if l, err = whole(t, o); err != nil || l.Size("_instance") != 1 {
			t.Fatal(err)
		}
		shut(t, l)
		_ = os.Remove(snapshotFile(o))
	}
	rep, err := wal.Verify(t.Context(), o.Dir, wal.VerifyOptions{Signed: signed, K0: k0(t, o), Keys: pinned(t)})
	if err != nil || rep.Generation != 2 || !rep.Chain {
		t.Fatalf("%+v %v", rep, err)
	}
}

func TestRestoringAgainTakesAnotherName(t *testing.T) {
	o := behind(t)
	if _, err := wal.Restore(t.Context(), o, why); err != nil {
		t.Fatal(err)
	}
	o.Signed["acme"] = ledger.Checkpoint{Origin: "gate.example/ledger/acme/gw-1.4", Size: 60}
	g, err := wal.Restore(t.Context(), o, why)
	if err != nil || g.Number != 5 {
		t.Fatalf("%+v %v: generation 4 was used, as a checkpoint shows", g, err)
	}
	more := why
	more.Generation = 9
	if g, err = wal.Restore(t.Context(), o, more); err != nil || g.Number != 10 {
		t.Fatalf("%+v %v", g, err)
	}
	if g.Boot <= 4<<20 {
		t.Log("boot", g.Boot)
	}
}

func TestALogThatLacksNothingIsNotRestored(t *testing.T) {
	o := behind(t)
	o.Signed = nil
	if _, err := wal.Restore(t.Context(), o, why); !errors.Is(err, wal.ErrNothingLost) {
		t.Fatal(err)
	}
	known := why
	known.Known = []wal.Restored{{Tenant: "_checkpoints", Size: 3, Signed: 7}}
	if g, err := wal.Restore(t.Context(), o, known); err != nil || len(g.Tenants) != 1 {
		t.Fatalf("%+v %v", g, err)
	}
	l, err := whole(t, o)
	if err != nil || l.Size("_instance") != 1 {
		t.Fatal(err)
	}
}

func TestOnlyAWholeBackupIsRestoredAndOnlyWithAReason(t *testing.T) {
	o := behind(t)
	if _, err := wal.Restore(t.Context(), o, wal.RestoreOptions{}); err == nil {
		t.Fatal("without a reason")
	}
	damage(t, segment(o, 0), func(b []byte) { b[2000] ^= 1 })
	if _, err := wal.Restore(t.Context(), o, why); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal(err)
	}
	o = behind(t)
	remove(t, segment(o, 0))
	if _, err := wal.Restore(t.Context(), o, why); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestAForkOfTheSameLengthIsALoss(t *testing.T) {
	o := behind(t)
	cp := o.Signed["rival"]
	cp.Root[0] ^= 1
	o.Signed = map[string]ledger.Checkpoint{"rival": cp}
	if _, err := whole(t, o); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal(err)
	}
	g, err := wal.Restore(t.Context(), o, why)
	if err != nil || len(g.Tenants) != 1 || g.Tenants[0].Tenant != "rival" {
		t.Fatalf("%+v %v", g, err)
	}
}

func TestAStoredStateAheadOfTheLogShowsWhatIsLost(t *testing.T) {
	o := history(t)
	n := lastSegment(o)
	for i := n; i < n+10; i++ { // and spares, which hold nothing
		_ = os.Remove(segment(o, i))
	}
	remove(t, segment(o, n-1)) // the running key is two epochs ahead then
	if _, err := whole(t, o); !errors.Is(err, wal.ErrTruncated) {
		t.Fatal(err)
	}
	if _, err := wal.Restore(t.Context(), o, why); !errors.Is(err, wal.ErrKeys) {
		t.Fatal("no key leads back, and it is restored:", err)
	}
	with := why
	with.K0 = k0(t, o)
	g, err := wal.Restore(t.Context(), o, with)
	if err != nil || len(g.Tenants) != 2 || g.Tenants[0].Signed <= g.Tenants[0].Size {
		t.Fatalf("%+v %v", g, err)
	}
	l, err := whole(t, o)
	if err != nil {
		t.Fatal(err)
	}
	admit(t, l, "acme", use("on", 0, 1))
	shut(t, l)
	if rep, err := wal.Verify(t.Context(), o.Dir, wal.VerifyOptions{K0: with.K0, Keys: pinned(t)}); err != nil || !rep.Chain {
		t.Fatalf("%+v %v", rep, err)
	}
}

func TestAGenerationFileThatIsNotTheInstancesOwnRefusesTheLog(t *testing.T) {
	o := behind(t)
	old := options(t.TempDir())
	copyTree(t, filepath.Dir(o.Dir), filepath.Dir(old.Dir))
	stale, err := os.ReadFile(snapshotFile(old))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wal.Restore(t.Context(), o, why); err != nil {
		t.Fatal(err)
	}
	o.Signed, o.CheckFirst = nil, -1
	if err := os.WriteFile(snapshotFile(o), stale, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := whole(t, o)
	if err != nil || stored(l.Stats()) {
		t.Fatal("a state of the generation before is believed:", err)
	}
	shut(t, l)
	name := o.Dir + "/_wal/generation"
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	other := sha256.Sum256([]byte("somebody else"))
	for what, spoiled := range map[string][]byte{
		"missing":        nil,
		"cut short":      good[:len(good)-1],
		"changed":        bytes.Replace(good, []byte(`"number":2`), []byte(`"number":3`), 1),
		"forged":         wal.SignGeneration(good, ed25519.NewKeyFromSeed(other[:])),
		"number 1":       wal.SignGeneration(bytes.Replace(good, []byte(`"number":2`), []byte(`"number":1`), 1), signerKey()),
		"state in place": stale,
	} {
		if err := os.WriteFile(name, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		if spoiled == nil {
			remove(t, name)
		}
		if _, err := whole(t, o); !errors.Is(err, wal.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := wal.Verify(t.Context(), o.Dir, wal.VerifyOptions{Keys: pinned(t)}); !errors.Is(err, wal.ErrCorrupt) {
			t.Errorf("%s verifies: %v", what, err)
		}
	}
}

func TestRestoringSurvivesEveryFault(t *testing.T) {
	base := behind(t)
	for _, op := range []string{"open", "write", "sync", "rename", "remove", "syncdir"} {
		for _, persists := range []bool{false, true} {
			for skip, hit := 0, true; hit; skip++ {
				dir := t.TempDir()
				copyTree(t, filepath.Dir(base.Dir), dir)
				fs := disktest.New()
				o := options(dir)
				o.SegmentBytes, o.Signed, o.FS = base.SegmentBytes, base.Signed, fs
				fs.Arm(&disktest.Fault{Op: op, Skip: skip, Persists: persists, Err: errDisk})
				_, err := wal.Restore(t.Context(), o, why)
				if hit = fs.Hits() > 0; hit != (err != nil) {
					t.Fatal(op, skip, err)
				}
				fs.Arm(nil)
				n, err := wal.ReadGeneration(nil, o.Dir, signerKey().Public().(ed25519.PublicKey))
				if err != nil {
					t.Fatal(err)
				}
				if n == 1 { // nothing was done: it is refused as before
					if _, err := whole(t, o); !errors.Is(err, wal.ErrTruncated) {
						t.Fatal(err)
					}
					continue
				}
				o.Signed = nil
				l, err := whole(t, o)
				if err != nil || l.Size("acme") != 21 {
					t.Fatal(op, skip, err)
				}
				shut(t, l)
			}
		}
	}
}
