package vault_test

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

// fill makes secrets and subject keys in three tenants, more than one batch in one of them.
func fill(t *testing.T, v *vault.Vault) (aead cipher.AEAD) {
	t.Helper()
	for _, tenant := range []string{"acme", "other", store.Instance} {
		must(t, v.Put(t.Context(), tenant, "up", []byte(canary+tenant)))
	}
	for i := range 120 {
		must(t, v.Put(t.Context(), "acme", fmt.Sprint("n", i), []byte("x")))
	}
	aead, err := v.Subject(t.Context(), "acme", "agt_1")
	must(t, err)
	return aead
}

// whole asks that every secret and subject key opens.
func whole(t *testing.T, v *vault.Vault, was cipher.AEAD) {
	t.Helper()
	for _, tenant := range []string{"acme", "other", store.Instance} {
		if got, err := use(t, v, tenant, "up"); err != nil || got != canary+tenant {
			t.Fatalf("%s: got %q, %v", tenant, got, err)
		}
	}
	for i := range 120 {
		_, err := use(t, v, "acme", fmt.Sprint("n", i))
		must(t, err)
	}
	is, err := v.Lookup(t.Context(), "acme", "agt_1")
	must(t, err)
	nonce := make([]byte, 12)
	if _, err := is.Open(nil, nonce, was.Seal(nil, nonce, []byte("x"), nil), nil); err != nil {
		t.Fatal("the subject has another key")
	}
}

func TestRotationRewrapsEverything(t *testing.T) {
	s := storetest.NewMemory()
	v := open(t, s, "old")
	aead := fill(t, v)
	must(t, v.Rotate(t.Context(), kek("new")))
	whole(t, v, aead)
	whole(t, open(t, s, "new"), aead)
	_, err := vault.Open(t.Context(), s, kek("old"), rand.Reader)
	want(t, err, vault.ErrWrongKEK)
	want(t, v.Rotate(t.Context(), kek("new")), vault.ErrInvalid)
	want(t, v.Rotate(t.Context(), kek("x")[:16]), vault.ErrInvalid)
	must(t, v.Rotate(t.Context(), kek("newer")))
	whole(t, open(t, s, "newer"), aead)
}

// Each commit of a rotation fails in each flavour; afterwards the vault works, whichever key the operator has at hand.
func TestARotationCutShortLosesNothing(t *testing.T) {
	for _, flavour := range []storetest.Fault{storetest.Failed, storetest.Persisted} {
		for cut := 0; ; cut++ {
			s := storetest.NewFaulty(storetest.NewMemory())
			v := open(t, s, "old")
			aead := fill(t, v)
			first := s.Commits() + cut
			s.Choose(func(commit int) storetest.Fault {
				if commit == first {
					return flavour
				}
				return storetest.None
			})
			err := v.Rotate(t.Context(), kek("new"))
			s.Choose(nil)
			if err == nil {
				if cut < 5 {
					t.Fatalf("cut %d was not noticed", cut)
				}
				break
			}
			want(t, err, storetest.ErrInjected)
			whole(t, v, aead)
			must(t, v.Rotate(t.Context(), kek("another")))
			whole(t, open(t, s, "another"), aead)
		}
	}
}

// The process is gone in the middle of a rotation: every commit from some moment on fails.
func TestAKilledRotationIsFinishedByEitherKey(t *testing.T) {
	for cut := range 12 {
		for _, at := range []string{"old", "new"} {
			s := storetest.NewFaulty(storetest.NewMemory())
			v := open(t, s, "old")
			aead := fill(t, v)
			first := s.Commits() + cut
			s.Choose(func(commit int) storetest.Fault {
				if commit >= first {
					return storetest.Failed
				}
				return storetest.None
			})
			err := v.Rotate(t.Context(), kek("new"))
			s.Choose(nil)
			again, openErr := vault.Open(t.Context(), s, kek(at), rand.Reader)
			switch {
			case err == nil && at == "old" || cut < 2 && at == "new":
				want(t, openErr, vault.ErrWrongKEK) // the rotation is over, or had not begun
			default:
				must(t, openErr)
				whole(t, again, aead)
				whole(t, open(t, s, at), aead)
			}
		}
	}
}

func TestUsesDuringARotationSeeOneOfTheKeys(t *testing.T) {
	s := storetest.NewMemory()
	v := open(t, s, "k0")
	aead := fill(t, v)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := use(t, v, "acme", "up"); err != nil {
					t.Error(err)
					return
				}
				if err := v.Put(t.Context(), "acme", fmt.Sprint("n", i), []byte("y")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 10 {
		must(t, v.Rotate(t.Context(), kek(fmt.Sprint("k", i+1))))
	}
	close(stop)
	wg.Wait()
	whole(t, open(t, s, "k10"), aead)
}
