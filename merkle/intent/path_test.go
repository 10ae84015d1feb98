package intent_test

import (
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

// fold follows siblings from a leaf as a reader does who knows neither index nor size.
func fold(h merkle.Hash, path []intent.Sibling) merkle.Hash {
	for _, s := range path {
		if s.Left {
			h = merkle.NodeHash(s.Hash, h)
		} else {
			h = merkle.NodeHash(h, s.Hash)
		}
	}
	return h
}

func TestSiblingsLeadFromEachStepToTheRoot(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 13, 64, 65} {
		h := newWorld(t, draftOf(n, "")).held
		for i := range n {
			path := h.Siblings(i)
			if path == nil || fold(h.LeafHash(i), path) != h.Root() {
				t.Fatalf("step %d of %d: %v does not lead to the root", i, n, path)
			}
			if err := h.VerifyPath(i, path); err != nil {
				t.Fatalf("step %d of %d: %v", i, n, err)
			}
			op, server, tool, local, ok := h.Step(i)
			if op != "tools/call" || server != "files" || tool != "t"+itoa(i) || local || !ok {
				t.Fatalf("step %d of %d: %s %s %s %v %v", i, n, op, server, tool, local, ok)
			}
		}
		for _, i := range []int{-1, n, 1 << 30} {
			if _, _, _, _, ok := h.Step(i); ok || h.Siblings(i) != nil || !h.LeafHash(i).IsZero() {
				t.Fatalf("step %d of %d is there", i, n)
			}
			refused(t, h.VerifyPath(i, nil), intent.StepUnknown)
		}
	}
}

func TestAnyOtherPathIsRefused(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 13} {
		h := newWorld(t, draftOf(n, "")).held
		for i := range n {
			good := h.Siblings(i)
			refused(t, h.VerifyPath(i, append(h.Siblings(i), intent.Sibling{})), intent.ProofLength)
			if len(good) > 0 {
				refused(t, h.VerifyPath(i, good[1:]), intent.ProofLength)
				refused(t, h.VerifyPath(i, nil), intent.ProofLength)
			}
			for k := range good {
				bad := h.Siblings(i)
				bad[k].Left = !bad[k].Left
				refused(t, h.VerifyPath(i, bad), intent.ProofMismatch)
				bad = h.Siblings(i)
				bad[k].Hash[31] ^= 1
				refused(t, h.VerifyPath(i, bad), intent.ProofMismatch)
				if k > 0 {
					bad = h.Siblings(i)
					bad[k], bad[k-1] = bad[k-1], bad[k]
					refused(t, h.VerifyPath(i, bad), intent.ProofMismatch)
				}
			}
			for k := range n {
				if err := h.VerifyPath(k, good); k != i && err == nil {
					t.Fatalf("the path of step %d of %d passes for step %d", i, n, k)
				}
			}
		}
	}
}

func TestALocalStepIsSaidToBeLocal(t *testing.T) {
	p, err := intent.ParseDraft([]byte(one("")), intent.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	p.Steps[0].Local = true
	if err := p.Seal(&stream{}); err != nil {
		t.Fatal(err)
	}
	h, err := intent.NewHeld(&p)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, local, ok := h.Step(0); !local || !ok {
		t.Fatal("it is not")
	}
}
