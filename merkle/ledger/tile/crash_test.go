package tile_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

var errDisk = errors.New("disk says no")

// TestAFaultAtAnyStepLosesNothing puts one fault at every operation of a few appends, failing before or after it
// happened, whole or half, and opens the tree again: it has all that was acknowledged, nothing that was not given, and
// goes on to the same files.
func TestAFaultAtAnyStepLosesNothing(t *testing.T) {
	for _, op := range []string{"write", "sync", "open", "rename", "remove", "syncdir"} {
		for _, how := range []disktest.Fault{{}, {Persists: true}, {Short: true}} {
			if how.Short && op != "write" {
				continue
			}
			skip := 0
			for ; faulted(t, op, how, skip); skip++ {
			}
			if skip == 0 && op != "remove" {
				t.Errorf("%s: no step was hit", op)
			}
		}
	}
}

// faulted reports whether the fault was met.
func faulted(t *testing.T, op string, how disktest.Fault, skip int) bool {
	t.Helper()
	what := fmt.Sprintf("%s %+v after %d", op, how, skip)
	dir := filepath.Join(t.TempDir(), "log")
	on := disktest.New()
	on.FS = quick{}
	how.Op, how.Skip, how.Err = op, skip, errDisk
	on.Arm(&how)
	steps := []uint64{5, 256, 300, 800}
	done := uint64(0)
	tree, err := tile.Open(on, dir)
	for _, n := range steps {
		if err == nil {
			err = tree.Append(entries(done, n))
		}
		if err == nil {
			done = n
			_ = tree.Trim(n)
		}
	}
	hit := on.Hits() > 0
	on.Arm(nil)
	if err != nil && !errors.Is(err, errDisk) && !errors.Is(err, tile.ErrFailed) {
		t.Fatalf("%s: %v", what, err)
	}
	if err != nil && tree != nil {
		if again := tree.Append(entries(done, done+1)); !errors.Is(again, tile.ErrFailed) {
			t.Fatalf("%s: goes on after a failure: %v", what, again)
		}
	}
	reopened(t, on, dir, done, what)
	return hit
}

func reopened(t *testing.T, on disk.FS, dir string, done uint64, what string) {
	t.Helper()
	tree, err := tile.Open(on, dir)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	size := tree.Size()
	if size < done || size > 800 || size > 0 && tree.Root() != leaves(size).Root() {
		t.Fatalf("%s: size %d, acknowledged %d", what, size, done)
	}
	// What differs from the first try may follow now: leftovers of that one must not come back.
	must(t, tree.Append(entries(size, size+7)))
	must(t, tree.Append(entries(size+7, 900)))
	must(t, open(t, on, dir).Verify(t.Context(), nil))
	if tree.Root() != leaves(900).Root() {
		t.Fatalf("%s: another root", what)
	}
}

// TestLeftoversOfAnotherContentDoNotComeBack: after a failed append another continuation is taken, of a log whose
// entries are not determined by anything else.
func TestLeftoversOfAnotherContentDoNotComeBack(t *testing.T) {
	for skip := range 40 {
		dir := filepath.Join(t.TempDir(), "log")
		on := disktest.New()
		on.FS = quick{}
		tree := open(t, on, dir)
		must(t, tree.Append(entries(0, 200)))
		on.Arm(&disktest.Fault{Op: "rename", Skip: skip, Err: errDisk, Always: true})
		if tree.Append(entries(200, 3000)) == nil {
			return // more steps than there are
		}
		on.Arm(nil)
		tree = open(t, on, dir)
		size := tree.Size()
		other := make([][]byte, 500)
		for i := range other {
			other[i] = fmt.Appendf(nil, "other %d", i)
		}
		must(t, tree.Append(other[:3]))
		must(t, tree.Append(other[3:]))
		again := open(t, on, dir)
		if again.Size() != size+500 || again.Root() != tree.Root() {
			t.Fatalf("after %d renames: %d entries, not %d", skip, again.Size(), size+500)
		}
		must(t, again.Verify(t.Context(), nil))
	}
	t.Error("the append never ended")
}
