package control_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// overLog is a world whose calls are recorded in a real log.
func overLog(t *testing.T) (*world, publish.Book) {
	t.Helper()
	w, dir := newWorld(t), t.TempDir()
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	log, err := publish.OpenBook(t.Context(), wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: signer,
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"), Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	t.Cleanup(func() { w.must(log.Close(context.Background())) })
	w.rebuild(log)
	return w, log
}

const recordPath = "/api/v1/ledger/records/"

func TestARecordOfAnotherOrganisationAnswersLikeAnUnknownOne(t *testing.T) {
	w, log := overLog(t)
	r := ledger.Record{Tenant: other, Kind: ledger.Admitted, Step: -1}
	_, err := log.Append(t.Context(), &r)
	w.must(err)
	w.call("GET", "/api/v1/whoami", w.admin, "")
	w.call("GET", recordPath+r.ID, w.admin, "").refused(t, http.StatusNotFound, "not_found")
	theirs, unknown := w.call("GET", recordPath+r.ID, w.admin, ""), w.call("GET", recordPath+"rec_00000000000000000000000000", w.admin, "")
	a, b := theirs.problem(), unknown.problem()
	delete(a, "record")
	delete(b, "record")
	if x, y := toJSON(t, a), toJSON(t, b); x != y || theirs.status != unknown.status {
		t.Errorf("%s\n%s", x, y)
	}
	if n := log.Size(other); n != 1 {
		t.Errorf("%d records with the other organisation", n)
	}
	// A record of ours that names theirs does not lead to it either.
	ours := ledger.Record{Tenant: demo, Kind: ledger.Admin, Step: -1, Of: r.ID}
	_, err = log.Append(t.Context(), &ours)
	w.must(err)
	if a := w.call("GET", recordPath+ours.ID, w.admin, ""); a.status != http.StatusOK || a.json()["counterpart"] != nil {
		t.Errorf("%s", a.body)
	}
	if a := w.call("GET", recordPath+r.ID, w.otherAdmin, ""); a.status != http.StatusOK || a.json()["open"] != true || a.json()["counterpart"] != nil {
		t.Errorf("%s", a.body)
	}
}

func TestALookUpIsRefusedToWhoMayNotReadTheLedgerAndForWhatIsNoName(t *testing.T) {
	w, log := overLog(t)
	id := w.call("GET", "/api/v1/whoami", w.viewer, "").header.Get("Gatewright-Record")
	w.call("GET", recordPath+id, "", "").refused(t, http.StatusUnauthorized, "unauthenticated")
	w.call("GET", recordPath+id, w.runtime, "").refused(t, http.StatusForbidden, "wrong_key_kind")
	w.call("POST", recordPath+id, w.admin, "{}").refused(t, http.StatusMethodNotAllowed, "method_not_allowed")
	for _, name := range []string{
		id[:29], id + "0", strings.ToUpper(id), "REC_" + id[4:], id[:29] + "u", "rec_", "-1", "1.0", "0x1", "1e3", "x", "12345678901234567", "99999999999999999999", "usr_" + id[4:],
	} {
		a := w.call("GET", recordPath+name, w.viewer, "")
		a.refused(t, http.StatusUnprocessableEntity, "request_invalid")
		if strings.Contains(a.body, id[6:20]) {
			t.Errorf("%s repeats what was sent: %s", name, a.body)
		}
	}
	for _, name := range []string{"+1", "%20", id + "%00"} {
		w.call("GET", recordPath+name, w.viewer, "").refused(t, http.StatusBadRequest, "path_invalid")
	}
	for _, name := range []string{"1000", "9007199254740992", "9999999999999999", "rec_00000000000000000000000000", "rec_zzzzzzzzzzzzzzzzzzzzzzzzzz"} {
		w.call("GET", recordPath+name, w.viewer, "").refused(t, http.StatusNotFound, "not_found")
	}
	if a := w.call("GET", recordPath+id, w.viewer, ""); a.status != http.StatusOK || a.json()["index"] != 0.0 {
		t.Errorf("a viewer reads the ledger: %d %s", a.status, a.body)
	}
	if n := log.Size(demo); n != 23 { // every call that came with a key and a path
		t.Errorf("%d records", n)
	}
}

func TestARecordIsFoundByTheIdTheAnswerNamed(t *testing.T) {
	w, log := overLog(t)
	for _, c := range []struct{ path, key string }{{"/api/v1/whoami", w.viewer}, {"/nowhere", w.admin}, {"/api/v1/users", w.runtime}} {
		index := log.Size(demo)
		id := w.call("GET", c.path, c.key, "").header.Get("Gatewright-Record")
		a := w.call("GET", recordPath+id, w.viewer, "")
		entries, err := log.Scan(t.Context(), demo, index, 1)
		w.must(err)
		if a.status != http.StatusOK || a.json()["index"] != float64(index) || a.json()["leaf"] != entries[0].Leaf.String() || !strings.Contains(a.body, string(entries[0].Data)) {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
		if b := w.call("GET", recordPath+strconv.FormatUint(index, 10), w.viewer, ""); b.body != a.body {
			t.Errorf("by index\n%s\nby id\n%s", b.body, a.body)
		}
	}
}

func TestAnAdmittedCallLeadsToWhatCameOfItAndBack(t *testing.T) {
	w, log := overLog(t)
	ctx := t.Context()
	admitted := ledger.Record{Tenant: demo, Kind: ledger.Admitted, Agent: "agt_1"}
	_, err := log.Admit(ctx, &admitted, wal.Use{Plan: merkle.LeafHash([]byte("p")), Step: 0, Expires: time.Now().Add(time.Hour).Unix()})
	w.must(err)
	if v := w.call("GET", recordPath+admitted.ID, w.viewer, "").json(); v["open"] != true || v["counterpart"] != nil { // record 1
		t.Errorf("%v", v)
	}
	settled := ledger.Record{Tenant: demo, Kind: ledger.Settled, Step: -1, Of: admitted.ID, Outcome: ledger.OutcomeOK, Side: []byte("sealed")}
	_, _, err = log.Settle(ctx, &settled, nil)
	w.must(err)
	for _, c := range []struct {
		name, other string
		index       float64
		sealed      bool
	}{
		{admitted.ID, settled.ID, 2, false},
		{"0", settled.ID, 2, false},
		{settled.ID, admitted.ID, 0, true},
		{"2", admitted.ID, 0, true},
	} {
		a := w.call("GET", recordPath+c.name, w.viewer, "")
		v := a.json()
		to, _ := v["counterpart"].(map[string]any)
		if a.status != http.StatusOK || to["id"] != c.other || to["index"] != c.index || v["open"] != nil || v["sealed"] != c.sealed {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	// A change of this API is an intent, which the answer names, and its outcome.
	intent := w.call("POST", "/api/v1/users", w.admin, goodUser).header.Get("Gatewright-Record")
	to, _ := w.call("GET", recordPath+intent, w.viewer, "").json()["counterpart"].(map[string]any)
	outcome, _ := to["id"].(string)
	back, _ := w.call("GET", recordPath+outcome, w.viewer, "").json()["counterpart"].(map[string]any)
	if !ledger.ValidID(outcome) || back["id"] != intent {
		t.Errorf("%v, and back %v", to, back)
	}
	refused := w.call("GET", "/nowhere", w.admin, "").header.Get("Gatewright-Record")
	if v := w.call("GET", recordPath+refused, w.viewer, "").json(); v["counterpart"] != nil || v["open"] != nil {
		t.Errorf("%v", v)
	}
}

func TestARecordOutlivesWhatItIsAbout(t *testing.T) {
	w, log := overLog(t)
	admitted := ledger.Record{Tenant: demo, Kind: ledger.Admitted, Step: -1}
	_, err := log.Append(t.Context(), &admitted)
	w.must(err)
	settled := ledger.Record{Tenant: demo, Kind: ledger.Settled, Step: -1, Of: admitted.ID, Outcome: ledger.OutcomeOK}
	_, err = log.Append(t.Context(), &settled)
	w.must(err)
	covered := func() bool {
		_, err := log.Prove(t.Context(), demo, 1)
		return err == nil
	}
	for end := time.Now().Add(20 * time.Second); !covered() && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // only what is published is ever pruned
	}
	log.Keep(demo, 1)
	w.call("GET", recordPath+admitted.ID, w.viewer, "").refused(t, http.StatusGone, "pruned")
	for _, name := range []string{"1", settled.ID} {
		if a := w.call("GET", recordPath+name, w.viewer, ""); a.status != http.StatusOK || a.json()["counterpart"] != nil || !strings.Contains(a.body, admitted.ID) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// crowded is a ledger in which look-ups meet too many records.
type crowded struct {
	publish.Book
	find bool
}

func (c *crowded) Find(ctx context.Context, tenant, id string) (wal.Entry, bool, error) {
	if c.find {
		return wal.Entry{}, false, wal.ErrLookup
	}
	return c.Log.Find(ctx, tenant, id)
}

func (*crowded) FindAfter(context.Context, string, string, uint64) (wal.Entry, bool, error) {
	return wal.Entry{}, false, wal.ErrLookup
}

func TestALookUpThatGaveUpIsNotAMiss(t *testing.T) {
	w, log := overLog(t)
	r := ledger.Record{Tenant: demo, Kind: ledger.Admitted, Step: -1}
	_, err := log.Append(t.Context(), &r)
	w.must(err)
	c := &crowded{Book: log}
	w.rebuild(c)
	if a := w.call("GET", recordPath+r.ID, w.viewer, ""); a.status != http.StatusOK || a.json()["open"] != nil || a.json()["counterpart"] != nil {
		t.Errorf("the record is there, and nobody knows what came of it: %d %s", a.status, a.body)
	}
	c.find = true
	a := w.call("GET", recordPath+r.ID, w.viewer, "")
	a.refused(t, http.StatusServiceUnavailable, "busy")
	if a.problem()["hint"] == "" {
		t.Errorf("%s", a.body)
	}
}
