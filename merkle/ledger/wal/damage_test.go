package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// tiny is a log of two tenants over two segments, with side bytes, closed.
func tiny(t testing.TB) (wal.Options, string) {
	t.Helper()
	dir := t.TempDir()
	o := options(dir)
	o.SegmentBytes = 4 << 10
	l := open(t, o)
	for i := range 6 {
		r := &ledger.Record{Tenant: []string{"acme", "rival"}[i%2], Kind: ledger.Admin, Step: -1, Tool: "x"}
		if i == 3 {
			r.Side = []byte("sealed bytes that no leaf covers")
		}
		if i >= 2 {
			r.Detail = string(bytes.Repeat([]byte("d"), 700))
		}
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, l)
	return o, dir
}

// dataFiles are the files of a ledger that prove something: segments, boot file, checkpoints. Indexes are made again.
func dataFiles(t testing.TB, o wal.Options) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(o.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != ".index" {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// memFS is a ledger's folder in memory, so that every byte can be flipped in turn.
type memFS struct {
	disk.FS
	files map[string][]byte
}

type memFile struct {
	disk.File
	b []byte
}

func loadFS(t testing.TB, o wal.Options) *memFS {
	m := &memFS{FS: disk.OS{}, files: map[string][]byte{}}
	for _, name := range dataFiles(t, o) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m.files[name] = b
	}
	return m
}

func (m *memFS) Open(name string, _ int) (disk.File, error) {
	b, ok := m.files[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return memFile{b: b}, nil
}

func (f memFile) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(f.b).ReadAt(p, off) }
func (f memFile) Size() (int64, error)                    { return int64(len(f.b)), nil }
func (f memFile) Close() error                            { return nil }

func TestEveryFlippedByteOfALogIsReported(t *testing.T) {
	o, _ := tiny(t)
	fs := loadFS(t, o)
	vo := publish.VerifyOptions{Keys: pinned(t), K0: k0(t, o), FS: fs}
	if rep, err := publish.Verify(t.Context(), o.Dir, vo); err != nil || rep.Records != 6 || rep.Segments < 2 {
		t.Fatalf("%+v %v", rep, err)
	}
	total, stride := 0, 1
	if testing.Short() {
		stride = 13
	}
	for name, b := range fs.files {
		if filepath.Base(name) == "snapshot" {
			continue // is never trusted without its signature, see TestAStoredStateThat...
		}
		for i := 0; i < len(b); i += stride {
			total++
			b[i] ^= 1 << (i % 8)
			if _, err := publish.Verify(t.Context(), o.Dir, vo); err == nil {
				t.Errorf("%s: byte %d of %d is not covered", name, i, len(b))
			}
			b[i] ^= 1 << (i % 8)
		}
	}
	t.Log(total, "bytes")
}

func TestAFlippedByteIsReportedWithoutTheChainKeyToo(t *testing.T) {
	o, _ := tiny(t)
	fs := loadFS(t, o)
	vo := publish.VerifyOptions{Keys: pinned(t), FS: fs}
	rep, err := publish.Verify(t.Context(), o.Dir, vo)
	if err != nil || rep.Chain || len(rep.Notes) == 0 {
		t.Fatalf("a report without k_0 must say so: %+v %v", rep, err)
	}
	b := fs.files[segment(o, 0)]
	for i := range b[:2500] {
		b[i] ^= 0x10
		if _, err := publish.Verify(t.Context(), o.Dir, vo); err == nil {
			t.Errorf("byte %d is not covered", i)
		}
		b[i] ^= 0x10
	}
}

func segment(o wal.Options, n int) string {
	return filepath.Join(o.Dir, "_wal", fmt.Sprintf("%012d.segment", n))
}

func TestTheFirstBadPlaceIsNamed(t *testing.T) {
	o, _ := tiny(t)
	damage(t, segment(o, 0), func(b []byte) { b[bytes.Index(b, []byte("no leaf covers"))] ^= 1 })
	rep, err := verify(t, o)
	if !errors.Is(err, wal.ErrCorrupt) || rep.Bad == nil || rep.Bad.Segment != 0 || rep.Bad.Offset <= wal.HeaderBytes || rep.Bad.Torn {
		t.Fatalf("%+v %v", rep.Bad, err)
	}
	if !bytes.Contains([]byte(err.Error()), []byte("gatewright ledger verify")) {
		t.Fatal("the operator is not told what to do:", err)
	}
	if _, err := openLog(t.Context(), o); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal("it opens:", err)
	}
}

func damage(t testing.TB, name string, fn func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fn(b)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSplicesAndOldStatesRefuseToOpen(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, o wal.Options){
		"segment missing": func(t *testing.T, o wal.Options) { remove(t, segment(o, 0)) },
		"all segments missing": func(t *testing.T, o wal.Options) {
			for i := range 8 {
				_ = os.Remove(segment(o, i)) // some may not exist
			}
		},
		"last segment emptied": func(t *testing.T, o wal.Options) { damage(t, segment(o, 1), func(b []byte) { clear(b) }) },
		"segments swapped": func(t *testing.T, o wal.Options) {
			rename(t, segment(o, 0), o.Dir+"/x")
			rename(t, segment(o, 1), segment(o, 0))
			rename(t, o.Dir+"/x", segment(o, 1))
		},
		"segment cut short": func(t *testing.T, o wal.Options) {
			if err := os.Truncate(segment(o, 0), 3000); err != nil {
				t.Fatal(err)
			}
		},
		"frame twice": func(t *testing.T, o wal.Options) {
			damage(t, segment(o, 0), func(b []byte) {
				n := int(b[wal.HeaderBytes+2])<<8 + int(b[wal.HeaderBytes+3]) + 8
				copy(b[wal.HeaderBytes+n:], b[wal.HeaderBytes:wal.HeaderBytes+n])
			})
		},
		"chain key missing":  func(t *testing.T, o wal.Options) { remove(t, o.ChainKeyFile) },
		"chain key damaged":  func(t *testing.T, o wal.Options) { damage(t, o.ChainKeyFile, func(b []byte) { b[30] ^= 1 }) },
		"boot file missing":  func(t *testing.T, o wal.Options) { remove(t, o.Dir+"/_wal/boot") },
		"boot file damaged":  func(t *testing.T, o wal.Options) { damage(t, o.Dir+"/_wal/boot", func(b []byte) { b[20] ^= 1 }) },
		"checkpoint damaged": func(t *testing.T, o wal.Options) { damage(t, o.Dir+"/acme/checkpoint", func(b []byte) { b[60] ^= 1 }) },
		"checkpoint of another tenant": func(t *testing.T, o wal.Options) {
			remove(t, o.Dir+"/acme/checkpoint")
			rename(t, o.Dir+"/rival/checkpoint", o.Dir+"/acme/checkpoint")
		},
		"newer segment format": func(t *testing.T, o wal.Options) {
			damage(t, segment(o, 0), func(b []byte) { b[9]++; wal.SumHeader(b[:wal.HeaderBytes]) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := tiny(t)
			spoil(t, o)
			if _, err := openLog(t.Context(), o); err == nil {
				t.Fatal("it opens")
			} else {
				t.Log(err)
			}
			if _, err := verify(t, o); err == nil && name[:5] != "chain" {
				t.Fatal("it verifies")
			}
		})
	}
}

func remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestANewerSegmentFormatIsToldApartFromDamage(t *testing.T) {
	o, _ := tiny(t)
	damage(t, segment(o, 0), func(b []byte) { b[9]++; wal.SumHeader(b[:wal.HeaderBytes]) })
	if _, err := openLog(t.Context(), o); !errors.Is(err, wal.ErrVersion) {
		t.Fatal(err)
	}
}

func TestACutBehindACheckpointIsTruncation(t *testing.T) {
	o, _ := tiny(t)
	damage(t, segment(o, 1), func(b []byte) { clear(b) })
	if _, err := verify(t, o); !errors.Is(err, wal.ErrTruncated) {
		t.Fatal(err)
	}
	if _, err := openLog(t.Context(), o); !errors.Is(err, wal.ErrTruncated) {
		t.Fatal(err)
	}
}

// crashed is a log as a killed process leaves it: records, no closing checkpoint. It returns where
// the last frame starts and ends.
func crashed(t testing.TB) (o wal.Options, start, end int64) {
	t.Helper()
	dir, copied := t.TempDir(), t.TempDir()
	from := options(dir)
	from.SegmentBytes = 8 << 10
	l := open(t, from)
	for range 4 {
		m, err := l.Append(t.Context(), &ledger.Record{Tenant: "acme", Kind: ledger.Admin, Step: -1})
		if err != nil {
			t.Fatal(err)
		}
		start, end = end, wal.Tip(l)
		_ = m
	}
	copyTree(t, dir, copied)
	o = options(copied)
	o.SegmentBytes = from.SegmentBytes
	return o, start, end
}

func TestATailTornAtAnyByteIsCutAndRecorded(t *testing.T) {
	base, start, end := crashed(t)
	stride := int64(1)
	if testing.Short() {
		stride = 9
	}
	for at := start; at < end; at += stride {
		dir := t.TempDir()
		copyTree(t, filepath.Dir(base.Dir), dir)
		o := options(dir)
		o.SegmentBytes = base.SegmentBytes
		torn := true
		damage(t, segment(o, 0), func(b []byte) {
			torn = !zero(b[start:at]) && !zero(b[at:end])
			clear(b[at:end])
		})
		l, err := openLog(t.Context(), o)
		if err != nil {
			t.Fatal(at-start, err)
		}
		if n := l.Size("acme"); n != 3 && torn {
			t.Fatal(at-start, n)
		}
		if torn {
			checkRecovery(t, l, start, at)
		}
		shut(t, l)
		mustVerify(t, o)
	}
}

func zero(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

func checkRecovery(t *testing.T, l *wal.Log, start, at int64) {
	t.Helper()
	all, err := l.Scan(t.Context(), ledger.InstanceTenant, 0, 10)
	if err != nil || len(all) != 1 {
		t.Fatal(at-start, len(all), err)
	}
	r, err := all[0].Record()
	if err != nil || r.Kind != ledger.Recovery || r.Boot != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	for _, want := range []string{`"offset":`, `"bytes":`, `"seq":2`, `"mac":"`, `"tenant":"acme"`} {
		if !bytes.Contains(r.Body, []byte(want)) {
			t.Fatalf("%s lacks %s", r.Body, want)
		}
	}
}

func TestAValidFrameAfterABadOneRefusesToOpen(t *testing.T) {
	base, _, _ := crashed(t)
	first := int64(wal.HeaderBytes)
	damage(t, segment(base, 0), func(b []byte) { b[first+40] ^= 1 })
	_, err := openLog(t.Context(), base)
	var bad *wal.CorruptError
	if !errors.As(err, &bad) || bad.Torn || bad.Cut || bad.Offset != first {
		t.Fatalf("%+v %v", bad, err)
	}
	base.CutLastBatch = true
	if _, err := openLog(t.Context(), base); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal("more than the last batch was cut:", err)
	}
}

// A forger rewrites the log as somebody would who can write the disk and knows the format, but has no key.
func TestAForgerWithoutTheKeysIsFound(t *testing.T) {
	o, _ := tiny(t)
	clean := loadFS(t, o)
	at := wal.HeaderBytes
	size := func(b []byte, at int) int { return int(b[at+2])<<8 + int(b[at+3]) + 8 }
	for name, c := range map[string]struct {
		forge        func(b []byte)
		with, lacked string // reasons with and without k_0
	}{
		"record changed": {func(b []byte) {
			f := b[at : at+size(b, at)]
			copy(f[bytes.Index(f, []byte(`"tool":"x"`)):], `"tool":"y"`)
			wal.SumFrame(f, 0)
		}, "chain MAC", "differs from the signed checkpoint"},
		"MAC changed": {func(b []byte) {
			f := b[at : at+size(b, at)]
			f[len(f)-1] ^= 1
			wal.SumFrame(f, 0)
		}, "chain MAC", ""},
		"record taken out": {func(b []byte) {
			n := size(b, at+size(b, at)) // the second, rival's first
			first := at + size(b, at)
			copy(b[first:], b[first+n:])
		}, "seq 0 was expected", "seq 0 was expected"},
		"record repeated": {func(b []byte) {
			n := size(b, at)
			copy(b[at+n:], b[at:at+n])
			clear(b[at+2*n:])
		}, "seq 1 was expected", "seq 1 was expected"},
	} {
		fs := &memFS{FS: disk.OS{}, files: map[string][]byte{}}
		for n, b := range clean.files {
			fs.files[n] = bytes.Clone(b)
		}
		c.forge(fs.files[segment(o, 0)])
		vo := publish.VerifyOptions{Keys: pinned(t), K0: k0(t, o), FS: fs}
		rep, err := publish.Verify(t.Context(), o.Dir, vo)
		if err == nil || rep.Bad == nil || !strings.Contains(rep.Bad.Reason, c.with) {
			t.Errorf("%s: %v", name, err)
		}
		vo.K0 = nil
		rep, err = publish.Verify(t.Context(), o.Dir, vo)
		if (err == nil) != (c.lacked == "") || err != nil && !strings.Contains(rep.Bad.Reason, c.lacked) {
			t.Errorf("%s without k_0: %v", name, err)
		}
	}
}

func TestATornBatchIsCutOnlyOnDemand(t *testing.T) {
	base, start, end := crashed(t)
	damage(t, segment(base, 0), func(b []byte) {
		// A batch of two whose first frame did not reach the disk.
		leaf := b[start+26 : end-32]
		clear(b[start:end])
		f := wal.AppendFrame(nil, 0, 0, 4, leaf, nil)
		f[21] = 0 // not the first of its batch
		wal.SumFrame(f, 0)
		copy(b[end:], f)
	})
	_, err := openLog(t.Context(), base)
	var bad *wal.CorruptError
	if !errors.As(err, &bad) || !bad.Cut {
		t.Fatal(err)
	}
	base.CutLastBatch = true
	l := open(t, base)
	if n := l.Size("acme"); n != 3 {
		t.Fatal(n)
	}
	shut(t, l)
	mustVerify(t, base)
}

func FuzzFrame(f *testing.F) {
	f.Add(wal.AppendFrame(nil, 1, 0, 0, []byte(`{}`), nil), uint64(1))
	f.Add(wal.AppendFrame(nil, 7, 3, 9, []byte(`{"a":1}`), []byte("side")), uint64(7))
	f.Add([]byte{0, 0, 0, 0}, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, segment uint64) {
		leaf, side, err := wal.ParseFrame(b, segment)
		if err != nil {
			return
		}
		if len(leaf)+len(side) > len(b) || len(leaf) > ledger.MaxLeaf {
			t.Fatal("a frame larger than its bytes")
		}
		if _, _, err := wal.ParseFrame(b, segment+1); err == nil {
			t.Fatal("a frame of another segment is valid")
		}
		merkle.LeafHash(leaf)
	})
}
