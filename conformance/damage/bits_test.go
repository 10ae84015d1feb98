package damage_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
)

// TestEveryFlippedBitIsReported flips each bit of each file: one in five of them where it is to be done in a minute. What is derived of the log and proves nothing may be passed
// over by the verification; then a start must not believe it.
func TestEveryFlippedBitIsReported(t *testing.T) {
	m := small(t, 4)
	copies := [2]*memory{m.clone(), m.clone()}
	step, behind := stride(1, 5, 61), stride(1, 97, 601)
	counts := map[string]int{}
	for _, name := range ledgerFiles(m) {
		if derived(name) {
			continue
		}
		bits := 8 * len(*m.files[name])
		var places []int // each bit of what is written, and some of the zeros behind it
		for at, used := 0, 8*len(bytes.TrimRight(*m.files[name], "\x00")); at < bits; {
			places = append(places, at)
			if at += step; at > used {
				at += behind
			}
		}
		counts[kindOf(name)] += len(places)
		workers(t, len(places), func(w, job int) {
			at := places[job]
			b := *copies[w].files[name]
			b[at/8] ^= 1 << (at % 8)
			if verify(t, copies[w]) == nil {
				t.Errorf("%s: bit %d of byte %d of %d is not covered", name, at%8, at/8, len(b))
			}
			b[at/8] ^= 1 << (at % 8)
		})
	}
	t.Log(counts)
	for _, kind := range []string{"segment", "checkpoint", "boot"} {
		if counts[kind] == 0 {
			t.Errorf("no bit of a %s was flipped", kind)
		}
	}
}

// TestAFlippedBitIsRefusedAtTheStartOrDoesNoHarm flips a bit in each byte: of the log, where the start must refuse or find
// it soon after, and of what is derived, where it may also be made anew.
func TestAFlippedBitIsRefusedAtTheStartOrDoesNoHarm(t *testing.T) {
	m := small(t, 4)
	want := truthOf(t, m)
	step := stride(1, 23, 101)
	for _, checkFirst := range []int64{0, -1} {
		t.Run(fmt.Sprint("check first ", checkFirst), func(t *testing.T) {
			var n atomic.Int64
			for _, name := range ledgerFiles(m) {
				size := len(*m.files[name])
				workers(t, (size+step-1)/step, func(_, job int) {
					at := job * step
					c := m.clone()
					(*c.files[name])[at] ^= 1 << (at % 8)
					n.Add(1)
					if err := starting(t, c, want, checkFirst); err != nil {
						t.Errorf("%s: byte %d of %d: %v", name, at, size, err)
					}
				})
			}
			t.Log(n.Load(), "starts")
		})
	}
}

// TestEveryTruncationIsReportedOrDoesNoHarm cuts each file at each length.
func TestEveryTruncationIsReportedOrDoesNoHarm(t *testing.T) {
	m := small(t, 4)
	want := truthOf(t, m)
	step := stride(1, 23, 101)
	for _, name := range ledgerFiles(m) {
		size := len(*m.files[name])
		workers(t, (size+step-1)/step, func(_, job int) {
			c := m.clone()
			*c.files[name] = (*c.files[name])[:job*step]
			if verify(t, c) == nil && !derived(name) && !harmless(m, name, job*step) {
				t.Errorf("%s: cut at %d of %d: %v", name, job*step, size, errNone)
			}
			if err := starting(t, c, want, 0); err != nil {
				t.Errorf("%s: cut at %d of %d: %v", name, job*step, size, err)
			}
		})
	}
}

// harmless tells whether a cut takes nothing but zeros of a segment that was made ahead and never used.
func harmless(m *memory, name string, _ int) bool {
	if kindOf(name) != "segment" {
		return false
	}
	for _, b := range *m.files[name] {
		if b != 0 {
			return false
		}
	}
	return true
}
