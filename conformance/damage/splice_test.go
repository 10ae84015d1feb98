package damage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// segmentHeader is where the first record of a segment stands (package wal, segment.go).
const segmentHeader = 512

func segment(n int) string {
	return filepath.Join(folder, "_wal", fmt.Sprintf("%012d.segment", n))
}

// frame is where a record lies in its segment.
type frame struct{ at, end int }

// frames finds the records of a segment (package wal, frame.go): a length, which counts what follows the CRC, comes first.
func frames(b []byte) (out []frame) {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return nil // a spare
	}
	for at := segmentHeader; at+8 < len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n == 0 {
			break
		}
		out = append(out, frame{at, at + 8 + n})
		at += 8 + n
	}
	return out
}

// tenantOf is the number of the frame's tenant.
func (f frame) tenantOf(b []byte) uint32 { return binary.BigEndian.Uint32(b[f.at+8:]) }

// sum renews a frame's CRC, as somebody does who knows the format.
func (f frame) sum(b []byte, segment uint64) {
	table := crc32.MakeTable(crc32.Castagnoli)
	seed := crc32.Checksum(binary.BigEndian.AppendUint64([]byte("gatewright/segment"), segment), table)
	body := b[f.at:f.end]
	binary.BigEndian.PutUint32(body[4:], crc32.Update(crc32.Update(seed, table, body[:4]), table, body[8:]))
}

// segments are the numbers of those that hold records.
func segments(m *memory) (out []int) {
	for n := 0; m.files[segment(n)] != nil; n++ {
		if len(frames(*m.files[segment(n)])) > 0 {
			out = append(out, n)
		}
	}
	return out
}

// reported demands that a damage is reported by the verification, and refused or found by a start.
func reported(t *testing.T, what string, m *memory, want truth) {
	t.Helper()
	if verify(t, m) == nil {
		t.Errorf("%s: it verifies", what)
	}
	for _, checkFirst := range []int64{0, -1} {
		if err := starting(t, m.clone(), want, checkFirst); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSwappedRecordsAreReported swaps each pair of records that follow each other. Two of one tenant are always reported.
// Records of different tenants stand in no order to each other that anything proves; if it is not reported, then each
// tenant's records are the same as before.
func TestSwappedRecordsAreReported(t *testing.T) {
	m := small(t, 12)
	want := truthOf(t, m)
	pairs, silent := 0, 0
	for _, n := range segments(m) {
		whole := *m.files[segment(n)]
		all := frames(whole)
		for i := range len(all) - 1 {
			a, b := all[i], all[i+1]
			c := m.clone()
			spoiled := slices.Concat(whole[:a.at], whole[b.at:b.end], whole[a.at:a.end], whole[b.end:])
			*c.files[segment(n)] = spoiled
			pairs++
			if verify(t, c) != nil {
				if err := starting(t, c, want, 0); err != nil {
					t.Errorf("segment %d, records %d and %d: %v", n, i, i+1, err)
				}
				continue
			}
			silent++
			if a.tenantOf(whole) == b.tenantOf(whole) {
				t.Errorf("segment %d, records %d and %d of one tenant: it verifies", n, i, i+1)
			}
			// The segment's index still has the old places: what is read by it fails, and nothing wrong is told.
			if err := starting(t, c, want, 0); err != nil && !errors.Is(err, wal.ErrCorrupt) {
				t.Errorf("segment %d, records %d and %d: %v", n, i, i+1, err)
			}
		}
	}
	t.Logf("%d pairs, %d of them of two tenants and without a trace", pairs, silent)
}

// TestSplicedRecordsAreReported puts a record in the place of another: of another tenant, of another place, of another
// instance's ledger, each with a CRC that fits.
func TestSplicedRecordsAreReported(t *testing.T) {
	m := small(t, 12)
	want := truthOf(t, m)
	stranger := &memory{files: map[string]*[]byte{}}
	o := options(stranger)
	o.Instance = "gw-2"
	live(t, o, 0, 12)
	first := *m.files[segment(0)]
	into := frames(first)
	for i, target := range into {
		for from, source := range map[string]*memory{"its own ledger": m, "another instance's": stranger} {
			other := *source.files[segment(0)]
			for j, f := range frames(other) {
				if source == m && i == j {
					continue
				}
				c := m.clone()
				spliced := slices.Concat(first[:target.at], other[f.at:f.end], first[target.end:])
				spliced = append(spliced, make([]byte, max(0, len(first)-len(spliced)))...)[:len(first)]
				frame{target.at, target.at + f.end - f.at}.sum(spliced, 0)
				*c.files[segment(0)] = spliced
				if j%3 == 0 {
					reported(t, fmt.Sprintf("record %d of %s in the place of %d", j, from, i), c, want)
				} else if verify(t, c) == nil {
					t.Errorf("record %d of %s in the place of %d: it verifies", j, from, i)
				}
			}
		}
	}
}

// TestRecordsWithTheirFieldsChangedAreReported changes tenant, sequence, flags and MAC of each record, with a CRC that
// fits.
func TestRecordsWithTheirFieldsChangedAreReported(t *testing.T) {
	m := small(t, 6)
	want := truthOf(t, m)
	for _, n := range segments(m) {
		for i, f := range frames(*m.files[segment(n)]) {
			for what, at := range map[string]int{"tenant": f.at + 11, "sequence": f.at + 19, "leaf's length": f.at + 25, "record": f.at + 40, "MAC": f.end - 1} {
				c := m.clone()
				b := *c.files[segment(n)]
				b[at] ^= 1
				f.sum(b, uint64(n))
				if what == "MAC" { // once the epoch's key is gone, only who holds k_0 can tell; the records are the same
					if verify(t, c) == nil {
						t.Errorf("segment %d, record %d: its MAC changed: it verifies", n, i)
					}
					continue
				}
				reported(t, fmt.Sprintf("segment %d, record %d: its %s changed", n, i, what), c, want)
			}
		}
	}
}

// TestASegmentInThePlaceOfAnotherIsReported copies each segment over each other one, and takes each away.
func TestASegmentInThePlaceOfAnotherIsReported(t *testing.T) {
	m := small(t, 20)
	want := truthOf(t, m)
	used := segments(m)
	if len(used) < 3 {
		t.Fatal("only", len(used), "segments")
	}
	for _, from := range used {
		for _, to := range used {
			if from == to {
				continue
			}
			c := m.clone()
			*c.files[segment(to)] = bytes.Clone(*m.files[segment(from)])
			reported(t, fmt.Sprintf("segment %d in the place of %d", from, to), c, want)
		}
		c := m.clone()
		delete(c.files, segment(from))
		reported(t, fmt.Sprintf("segment %d is missing", from), c, want)
		c = m.clone()
		clear(*c.files[segment(from)])
		reported(t, fmt.Sprintf("segment %d is emptied", from), c, want)
	}
}

// TestAnOlderFormOfASegmentIsReported puts the segment that is written last back to what it was a life before.
func TestAnOlderFormOfASegmentIsReported(t *testing.T) {
	m := &memory{files: map[string]*[]byte{}}
	live(t, options(m), 0, 3)
	before := m.clone()
	live(t, options(m), 3, 3)
	want := truthOf(t, m)
	for name, old := range before.files {
		if now := m.files[name]; now != nil && bytes.Equal(*old, *now) {
			continue
		}
		c, back := m.clone(), bytes.Clone(*old)
		c.files[name] = &back
		switch kindOf(name) {
		case "segment":
			reported(t, name+" is that of before", c, want)
		case "snapshot", "index", "checkpoint", "tile", "bundle": // an older one says less; nothing it says is wrong
			if err := starting(t, c, want, 0); err != nil {
				t.Errorf("%s is that of before: %v", name, err)
			}
		case "boot":
			if verify(t, c) == nil {
				t.Errorf("%s is that of before: it verifies", name)
			}
		default:
		}
	}
}

// TestAnIndexOfAnotherSegmentHidesNothing puts indexes in each other's place, and those of another ledger.
func TestAnIndexOfAnotherSegmentHidesNothing(t *testing.T) {
	m, stranger := small(t, 20), small(t, 20)
	want := truthOf(t, m)
	n := 0
	for _, name := range ledgerFiles(m) {
		if kindOf(name) != "index" {
			continue
		}
		for _, from := range []*memory{m, stranger} {
			for _, other := range ledgerFiles(from) {
				if kindOf(other) != "index" || from == m && other == name {
					continue
				}
				n++
				c := m.clone()
				*c.files[name] = bytes.Clone(*from.files[other])
				if err := starting(t, c, want, 0); err != nil {
					t.Errorf("%s is %s (own: %v): %v", name, other, from == m, err)
				}
			}
		}
	}
	if n == 0 {
		t.Error("there is no index")
	}
}
