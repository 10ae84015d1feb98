package wal_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// forge renames a word in an index file and makes digest and MAC again, with a key.
func forge(t *testing.T, file, from, to string, key index.Key) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const head, digestAt = 128, 96
	mac := head + int(binary.LittleEndian.Uint32(b[76:]))
	body := b[mac+sha256.Size:]
	if !bytes.Contains(body, []byte(from)) {
		return false
	}
	copy(body, bytes.Replace(body, []byte(from), []byte(to), 1))
	sum := sha256.Sum256(body)
	copy(b[digestAt:], sum[:])
	h := hmac.New(sha256.New, key[:])
	h.Write(b[:mac])
	copy(b[mac:], h.Sum(nil))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return true
}

// forgeAll forges every index of a log and returns how many have evil's records.
func forgeAll(t *testing.T, o wal.Options, key index.Key) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.Dir, "_wal", "*.index"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if forge(t, f, "agt_evil", "agt_nice", key) {
			n++
		}
	}
	return n
}

// evil is a log of several segments with 300 records of agt_evil.
func evil(t *testing.T) wal.Options {
	t.Helper()
	o := options(t.TempDir())
	l := open(t, o)
	for i := range 900 {
		r := record("acme", ledger.Refused)
		if i%3 == 0 {
			r.Agent = "agt_evil"
		}
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, l)
	return o
}

func wantEvil(t *testing.T, l *wal.Log, when string) {
	t.Helper()
	for agent, want := range map[string]uint64{"agt_evil": 300, "agt_nice": 0} {
		got, err := l.Count(t.Context(), "acme", index.Query{Agent: agent})
		if err != nil || got.Total != want {
			t.Errorf("%s: %d records of %s: %v", when, got.Total, agent, err)
		}
		page, err := l.Query(t.Context(), "acme", index.Query{Agent: agent, Limit: 50})
		if err != nil || len(page.Entries) != int(min(want, 50)) {
			t.Errorf("%s: a page of %d records of %s: %v", when, len(page.Entries), agent, err)
		}
	}
}

// Who can write to the disk, and has no key, hides no record from a search, from whatever the log is started.
func TestAForgedIndexHidesNothing(t *testing.T) {
	for _, whole := range []bool{false, true} {
		o := evil(t)
		if n := forgeAll(t, o, index.NewKey([]byte("a guess"))); n < 2 {
			t.Fatal("forged", n)
		}
		if whole {
			if err := os.Remove(filepath.Join(o.Dir, "_wal", "snapshot")); err != nil {
				t.Fatal(err)
			}
		}
		o.IndexCache, o.CheckFirst = 1, -1
		l := open(t, o)
		wantEvil(t, l, "after the start")
		l.WaitAudit()
		wantEvil(t, l, "after the check")
		shut(t, l)
		if rep := mustVerify(t, o); noted(rep, "index of segment") {
			t.Error(rep.Notes)
		}
	}
}

func noted(rep wal.Report, what string) bool {
	return slices.ContainsFunc(rep.Notes, func(s string) bool { return strings.Contains(s, what) })
}

// An index under the right key can come of records that were forged, indexed and put back: the check compares the two.
func TestAnIndexThatDiffersFromItsRecordsIsMadeAgain(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *wal.Options){
		"checked in the background": func(_ *testing.T, o *wal.Options) { o.CheckFirst = -1 },
		"checked at the start":      func(*testing.T, *wal.Options) {},
		"the whole log is read": func(t *testing.T, o *wal.Options) {
			if err := os.Remove(filepath.Join(o.Dir, "_wal", "snapshot")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		o := evil(t)
		forged := forgeAll(t, o, index.NewKey(o.Signer.Seed()))
		rep := mustVerify(t, o)
		if n := strings.Count(strings.Join(rep.Notes, "\n"), "index of segment"); n != forged || forged < 2 {
			t.Errorf("%s: forged %d, noted %d: %q", name, forged, n, rep.Notes)
		}
		change(t, &o)
		l := open(t, o)
		l.WaitAudit()
		wantEvil(t, l, name)
		if s := l.Stats(); s.Verify != nil || !s.Ready || s.Remade == 0 && name != "the whole log is read" {
			t.Error(name, s.Verify, s.Err, s.Remade)
		}
		if _, err := l.Append(t.Context(), record("acme", ledger.Refused)); err != nil {
			t.Error(err)
		}
		shut(t, l)
		if rep := mustVerify(t, o); noted(rep, "index of segment") {
			t.Error(name, rep.Notes)
		}
		l = open(t, o)
		wantEvil(t, l, name+", and the next start")
		shut(t, l)
	}
}

// Another signing key, another key of the indexes: those there are made again.
func TestIndexesAreMadeAgainAfterTheSigningKeyChanged(t *testing.T) {
	o := evil(t)
	forgeAll(t, o, index.NewKey([]byte("the key before")))
	l := open(t, o)
	wantEvil(t, l, "under another key")
}

// Before the check in the background began nothing looks as if all were checked.
func TestWhatWasNotCheckedYetIsCounted(t *testing.T) {
	o := evil(t)
	o.CheckFirst = -1
	s, err := wal.Recovered(t.Context(), o)
	if err != nil || s.Verified != 0 || s.VerifyOf < 900 {
		t.Error(s.Verified, s.VerifyOf, err)
	}
	l := open(t, o)
	l.WaitAudit()
	if s := l.Stats(); s.Verified != s.VerifyOf || s.Verified < 900 {
		t.Error(s.Verified, s.VerifyOf)
	}
}

// A count of starts that no record could say is refused when the log is opened, not with its first record.
func TestABootThatNoRecordCanSayIsRefused(t *testing.T) {
	for _, boot := range []uint64{1<<64 - 1, 1 << 53, 1<<53 - 1} {
		o := evil(t)
		s := fmt.Sprintf("gatewright/boot/v1 %d", boot)
		text := fmt.Appendf(nil, "%s %08x\n", s, crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)))
		if err := os.WriteFile(filepath.Join(o.Dir, "_wal", "boot"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := openLog(t.Context(), o)
		if !errors.Is(err, wal.ErrCorrupt) {
			t.Error(boot, err)
		}
		if err == nil {
			shut(t, l)
		}
	}
}

// However many ask, no more counts than a few are in memory at a time.
func TestCountsWaitForOneAnother(t *testing.T) {
	l := open(t, evil(t))
	release := wal.HoldCounts(l)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Count(ctx, "acme", index.Query{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	release()
	for range 5 {
		if _, err := l.Count(t.Context(), "acme", index.Query{}); err != nil {
			t.Error(err)
		}
	}
}
