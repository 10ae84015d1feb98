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
func (w *world) seal(tenant string) []byte { return w.sealUnder(tenant, subject, "") }

// sealUnder writes a record of a call with something sealed under a subject beside it, as the pipeline does.
func (w *world) sealUnder(tenant, subject, agent string) []byte {
	w.t.Helper()
	aead, err := w.vault.Subject(w.t.Context(), tenant, subject)
	w.must(err)
	nonce := make([]byte, aead.NonceSize())
	_, err = rand.Read(nonce)
	w.must(err)
	r := ledger.Record{Tenant: tenant, Kind: ledger.Admin, Step: -1, User: subject, Agent: agent}
	if subject == agent {
		r.User = ""
	}
	r.ID, err = ledger.NewID(w.now(), rand.Reader)
	w.must(err)
	r.Side = aead.Seal(nonce, nonce, []byte("what is private"), []byte(r.ID))
	bound[string(r.Side)] = r.ID
	_, err = w.book.Append(w.t.Context(), &r)
	w.must(err)
	return r.Side
}

// bound is the id of the record that a side was sealed for.
var bound = map[string]string{}

func opens(aead cipher.AEAD, side []byte) bool {
	n := aead.NonceSize()
	_, err := aead.Open(nil, side[:n], side[n:], []byte(bound[string(side)]))
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
}

// What did nothing is not called an erasure, by the answer or by the ledger.
func TestAnErasureOfNothingIsNone(t *testing.T) {
	w := newWorld(t)
	for _, who := range []string{"usr_known", "agt_alone"} {
		for range 2 {
			e, err := w.erase("acme", who)
			if err != nil || !e.Nothing || e.Already || e.Record != "" || e.Outcome != "" || e.Records != 0 {
				t.Fatalf("%+v %v", e, err)
			}
		}
	}
	if len(w.book.Tenants()) > 0 && len(w.records("acme", ledger.Erasure)) > 0 {
		t.Fatal("it is recorded")
	}
}

// What an agent sent for its owner lies under the owner's key: the agent cannot be erased, and whom to erase is said.
func TestAnAgentIsErasedByWhoeverItsCallsAreSealedUnder(t *testing.T) {
	w := newWorld(t)
	side := w.sealUnder("acme", subject, "agt_owned")
	_, err := w.erase("acme", "agt_owned")
	want(t, err, retention.ErrOwned)
	if !strings.Contains(err.Error(), subject) || len(w.records("acme", ledger.Erasure)) > 0 {
		t.Fatal(err)
	}
	key, err := w.vault.Lookup(t.Context(), "acme", subject)
	if err != nil || !opens(key, side) {
		t.Fatal("something was erased", err)
	}
	w.sealUnder("acme", "agt_owned", "agt_owned") // from when it had no owner
	e, err := w.erase("acme", "agt_owned")
	if err != nil || e.Records != 1 || e.Owner != subject || e.Outcome == "" {
		t.Fatalf("%+v %v", e, err)
	}
	_, err = w.erase("acme", "agt_owned")
	want(t, err, retention.ErrOwned)
}

func TestAnErasureSaysHowMuchItMadeUnreadable(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.sealUnder("acme", subject, "agt_owned")
	}
	w.sealUnder("other", subject, "")
	w.sealUnder("acme", "agt_alone", "agt_alone")
	for who, records := range map[string]uint64{subject: 3, "agt_alone": 1} {
		e, err := w.erase("acme", who)
		if err != nil || e.Records != records {
			t.Fatalf("%+v %v", e, err)
		}
	}
	w.seal("acme") // what was erased before is not counted again
	e, err := w.erase("acme", subject)
	if err != nil || e.Records != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	records := w.records("acme", ledger.Erasure)
	if !strings.Contains(string(records[len(records)-2].Body), `"records":1`) {
		t.Fatal("it is not on record:", string(records[len(records)-2].Body))
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
