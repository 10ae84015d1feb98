package bundles_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// Files that are a revision already may come again with a signature that counts today; the one that was kept may not.
func TestABundleMayBeSignedAnew(t *testing.T) {
	w := newWorld(t)
	us, them := signer(t, "us", 'u'), signer(t, "them", 't')
	files := w.signed("send", 1, us)
	unsigned := maps.Clone(files)
	delete(unsigned, policies.SignatureFile)
	w.push(unsigned)
	for i, by := range []ledger.Signer{us, them} {
		w.keys = ledger.VerifierKeys{by.Public}
		r := w.push(w.signed("send", 1, by))
		if r.SignedBy != []string{"us", "them"}[i] {
			t.Errorf("pushed with a signature of %d: %+v", i, r)
		}
		if _, err := w.Activate(t.Context(), acme, ada, r.Number, enforce); err != nil {
			t.Errorf("signed by %d: %v", i, err)
		}
		if again := w.push(w.signed("send", 1, by)); again.Number != r.Number {
			t.Errorf("the same again is revision %d", again.Number)
		}
	}
}

// A signature stays in memory with its revision, whether or not anybody asks for one.
func TestASignatureIsNoPlaceForOtherThings(t *testing.T) {
	w := newWorld(t)
	files := allow("send")
	files[policies.SignatureFile] = make([]byte, 64<<10)
	if _, err := w.Push(t.Context(), acme, ada, files); !errors.Is(err, bundles.ErrRefused) {
		t.Errorf("pushed: %v", err)
	}
	if err := w.offer(files, bundles.Git, false); !errors.Is(err, bundles.ErrRefused) {
		t.Errorf("loaded: %v", err)
	}
}
