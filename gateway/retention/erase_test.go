package retention_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store/storetest"
)

const subject = "usr_sealed"

// seal writes a record with something sealed about the subject beside it.
func (w *world) seal(tenant string) []byte {
	w.t.Helper()
	aead, err := w.vault.Subject(w.t.Context(), tenant, subject)
	w.must(err)
	nonce := make([]byte, aead.NonceSize())
	_, err = rand.Read(nonce)
	w.must(err)
	side := aead.Seal(nonce, nonce, []byte("what is private"), nil)
	_, err = w.book.Append(w.t.Context(), &ledger.Record{Tenant: tenant, Kind: ledger.Admin, Step: -1, Side: side})
	w.must(err)
	return side
}

func opens(aead cipher.AEAD, side []byte) bool {
	n := aead.NonceSize()
	_, err := aead.Open(nil, side[:n], side[n:], nil)
	return err == nil
}

func (w *world) erase(tenant, subject string) (retention.Erasure, error) {
	return w.Erase(w.t.Context(), tenant, subject, "asked to, 2026-05", retention.Who{User: "usr_admin", Key: "key_admin"})
}

func TestErasureMakesWhatIsSealedUnreadableAndLeavesProofs(t *testing.T) {
	w := newWorld(t)
	side := w.seal("acme")
	other := w.seal("other")
	e, err := w.erase("acme", subject)
	w.must(err)
	if _, err := w.vault.Lookup(t.Context(), "acme", subject); err == nil {
		t.Fatal("the key is in memory still")
	}
	fresh, err := vault.Open(t.Context(), w.store, make([]byte, 32), rand.Reader)
	w.must(err)
	_, err = fresh.Lookup(t.Context(), "acme", subject)
	want(t, err, vault.ErrNotFound)
	after, err := w.vault.Subject(t.Context(), "acme", subject)
	w.must(err)
	if opens(after, side) {
		t.Fatal("a new key opens what was erased")
	}
	theirs, err := w.vault.Lookup(t.Context(), "other", subject)
	if err != nil || !opens(theirs, other) {
		t.Fatal("another tenant's subject is gone:", err)
	}
	records := w.records("acme", ledger.Erasure)
	if len(records) != 2 || records[0].ID != e.Record || records[1].ID != e.Outcome || records[1].Of != e.Record || records[1].Outcome != ledger.OutcomeOK {
		t.Fatalf("%+v", records)
	}
	salt, err := hex.DecodeString(e.Salt)
	w.must(err)
	sum := sha256.Sum256(append(salt, subject...))
	for _, r := range records {
		text := string(r.AppendJSON(nil))
		if strings.Contains(text, subject) || strings.Contains(text, e.Salt) || !strings.Contains(text, hex.EncodeToString(sum[:])) || r.User != "usr_admin" || r.Key != "key_admin" {
			t.Fatal(text)
		}
	}
	if !bytes.Contains(records[0].Body, []byte("asked to")) {
		t.Fatal("it does not say why")
	}
	w.mustVerify()
}

func TestErasureIsIdempotentAndCoversWhatWasSealedSince(t *testing.T) {
	w := newWorld(t)
	w.seal("acme")
	first, err := w.erase("acme", subject)
	w.must(err)
	again, err := w.erase("acme", subject)
	if err != nil || !again.Already || again.Record != first.Record || again.Outcome != first.Outcome || len(w.records("acme", ledger.Erasure)) != 2 {
		t.Fatalf("%+v %v", again, err)
	}
	side := w.seal("acme")
	third, err := w.erase("acme", subject)
	if err != nil || third.Already || third.Digest != first.Digest {
		t.Fatalf("%+v %v", third, err)
	}
	aead, err := w.vault.Subject(t.Context(), "acme", subject)
	if err != nil || opens(aead, side) {
		t.Fatal("still opens", err)
	}
}

func TestErasureIsRefused(t *testing.T) {
	w := newWorld(t)
	w.seal("other")
	_, err := w.erase("acme", subject) // another tenant's
	want(t, err, retention.ErrUnknown)
	_, err = w.erase("acme", "usr_nobody")
	want(t, err, retention.ErrUnknown)
	_, err = w.erase("acme", "")
	want(t, err, retention.ErrInvalid)
	_, err = w.Erase(t.Context(), "other", subject, "", retention.Who{})
	want(t, err, retention.ErrInvalid)
	_, err = w.Hold(t.Context(), "other", "case 12", retention.Who{})
	w.must(err)
	_, err = w.erase("other", subject)
	want(t, err, retention.ErrHeld)
	if _, err := w.vault.Lookup(t.Context(), "other", subject); err != nil {
		t.Fatal("erased all the same")
	}
	if len(w.records("acme", ledger.Erasure))+len(w.records("other", ledger.Erasure)) > 0 {
		t.Fatal("a refusal is recorded as an erasure")
	}
	known, err := w.erase("acme", "usr_known") // nothing is sealed about them yet
	if err != nil || known.Outcome == "" {
		t.Fatal(known, err)
	}
}

// Each commit to the store fails in each flavour: the key is destroyed only after a record, an error is told, and to ask
// again ends it.
func TestAnErasureThatFailsAnywhereIsEndedByAskingAgain(t *testing.T) {
	for _, flavour := range []storetest.Fault{storetest.Failed, storetest.Persisted} {
		for cut := 0; ; cut++ {
			w := newWorld(t)
			side := w.seal("acme")
			before, err := w.vault.Lookup(t.Context(), "acme", subject)
			w.must(err)
			first := w.store.Commits() + cut
			met := false
			w.store.Choose(func(commit int) storetest.Fault {
				if commit == first {
					met = true
					return flavour
				}
				return storetest.None
			})
			_, err = w.erase("acme", subject)
			w.store.Choose(nil)
			if !met {
				if cut < 4 {
					t.Fatal("only", cut, "commits")
				}
				w.close()
				break
			}
			want(t, err, storetest.ErrInjected)
			if _, gone := w.vault.Lookup(t.Context(), "acme", subject); gone != nil && len(w.records("acme", ledger.Erasure)) == 0 {
				t.Fatal("the key is gone and no record says so")
			}
			e, err := w.erase("acme", subject)
			if err != nil || e.Outcome == "" {
				t.Fatal(cut, e, err)
			}
			_, err = w.vault.Lookup(t.Context(), "acme", subject)
			want(t, err, vault.ErrNotFound)
			if !opens(before, side) {
				t.Fatal("the test proves nothing")
			}
			w.close()
		}
	}
}
