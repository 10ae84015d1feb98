package control_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// told is a record as these tests look at it.
func told(r *ledger.Record) (phase, target string) {
	var b struct{ Phase, Target string }
	_ = json.Unmarshal(r.Body, &b)
	return b.Phase, b.Target
}

func TestAReadIsOneRecordThatNamesUserKeyAddressAndRoute(t *testing.T) {
	w := newWorld(t)
	a := w.call("GET", "/api/v1/users/"+w.adminUser, w.viewer, "")
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	all := w.log.of(demo)
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	r := all[0]
	phase, target := told(&r)
	if r.Kind != ledger.Admin || r.User != w.viewerUser || r.Key == "" || r.Addr != "127.0.0.1" || r.Route != "/api/v1/users/{id}" ||
		r.Op != "get-user" || r.Verdict != "allow" || r.Status != 200 || phase != "call" || target != w.adminUser || r.ID != a.header.Get("Gatewright-Record") {
		t.Errorf("%s", r.AppendJSON(nil))
	}
}

func TestEveryAuthenticatedRefusalIsOneRecord(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct{ method, path, key, body, code string }{
		{"GET", "/api/v1/users", w.runtime, "", "wrong_key_kind"},
		{"GET", "/nowhere", w.runtime, "", "wrong_key_kind"},
		{"POST", "/api/v1/users", w.viewer, goodUser, "role_denied"},
		{"GET", "/nowhere", w.admin, "", "not_found"},
		{"HEAD", "/api/v1/users", w.admin, "", "method_not_allowed"},
		{"PATCH", "/api/v1/users", w.admin, "", "method_not_allowed"},
		{"GET", "/api/v1/users/usr_00000000000000000000000000", w.admin, "", "not_found"},
		{"GET", "/api/v1/users?x=1", w.admin, "", "request_invalid"},
		{"POST", "/api/v1/organisations", w.admin, `{}`, "instance_only"},
	} {
		a := w.call(c.method, c.path, c.key, c.body)
		all := w.log.of(demo)
		if len(all) != i+1 {
			t.Fatalf("%s %s: %d records, want %d", c.method, c.path, len(all), i+1)
		}
		r := all[i]
		if r.Verdict != "deny" || r.Code != c.code || r.Status != a.status || r.ID != a.header.Get("Gatewright-Record") {
			t.Errorf("%s %s: %d, %s", c.method, c.path, a.status, r.AppendJSON(nil))
		}
	}
}

func TestAChangeIsAnIntentAndItsOutcome(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", "/api/v1/users", w.admin, goodUser)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	all := w.log.of(demo)
	if len(all) != 2 {
		t.Fatalf("%d records", len(all))
	}
	p0, t0 := told(&all[0])
	p1, t1 := told(&all[1])
	id, _ := a.json()["id"].(string)
	if p0 != "intent" || t0 != "" || all[0].Status != 0 || all[0].ID != a.header.Get("Gatewright-Record") {
		t.Errorf("intent: %s", all[0].AppendJSON(nil))
	}
	if p1 != "outcome" || t1 != id || id == "" || all[1].Of != all[0].ID || all[1].Outcome != "ok" || all[1].Status != 201 || all[1].ID == all[0].ID {
		t.Errorf("outcome: %s", all[1].AppendJSON(nil))
	}
	if !all[0].Request.IsZero() {
		t.Error("a digest of a person's name and address stays in the ledger")
	}
	w.call("POST", "/api/v1/agents", w.admin, `{"name":"new"}`)
	all = w.log.of(demo)[2:]
	if len(all) != 2 || all[0].Request.IsZero() || all[0].Request != all[1].Request {
		t.Error("the records do not commit to the request")
	}
}

func TestAChangeThatFailsSaysSoInItsOutcome(t *testing.T) {
	w := newWorld(t)
	w.call("DELETE", "/api/v1/users/"+w.adminUser, w.admin, "").refused(t, http.StatusConflict, "last_admin")
	all := w.log.of(demo)
	if len(all) != 2 || all[1].Of != all[0].ID || all[1].Outcome != "refused" || all[1].Code != "last_admin" || all[1].Verdict != "deny" {
		t.Fatalf("%d records, last %s", len(all), all[len(all)-1].AppendJSON(nil))
	}
	w.bundles.fail = errBroken
	w.call("POST", "/api/v1/bundles/reload", w.admin, "").refused(t, http.StatusUnprocessableEntity, "bundle_refused")
	if by := w.bundles.by; by.User != w.adminUser || by.Key == "" {
		t.Errorf("reloaded in the name of %+v", by)
	}
	w.vault.fail = errBroken
	a := w.call("PUT", "/api/v1/secrets/a", w.admin, `{"value":"x"}`)
	a.refused(t, http.StatusInternalServerError, "internal")
	if r := w.log.last(demo); r.Outcome != "unknown" || r.Code != "internal" {
		t.Errorf("%s", r.AppendJSON(nil))
	}
	if strings.Contains(a.body, "broken") {
		t.Errorf("the cause reached the caller: %s", a.body)
	}
}

func TestNoRecordNoEffectAndNoAnswer(t *testing.T) {
	w := newWorld(t)
	before := len(w.users())
	w.log.failAfter(0)
	for _, c := range [][4]string{
		{"POST", "/api/v1/users", w.admin, goodUser}, {"GET", "/api/v1/users", w.admin, ""}, {"GET", "/nowhere", w.admin, ""},
		{"GET", "/api/v1/users", w.runtime, ""}, {"POST", "/api/v1/users", w.viewer, goodUser},
		{"POST", "/api/v1/keys", w.admin, `{"agent":"` + w.agent + `","name":"k"}`}, {"POST", "/api/v1/users", w.admin, "{"},
	} {
		a := w.call(c[0], c[1], c[2], c[3])
		a.refused(t, http.StatusServiceUnavailable, "audit_unavailable")
		if strings.Contains(a.body, "ak_") || a.header.Get("Gatewright-Record") != "" {
			t.Errorf("%s %s: %s", c[0], c[1], a.body)
		}
	}
	w.log.failAfter(-1)
	if after := len(w.users()); after != before {
		t.Errorf("%d users, before %d", after, before)
	}
}

func TestAnIntentThatFailedStopsTheChangeEvenWhenTheLedgerRecovers(t *testing.T) {
	w := newWorld(t)
	before := len(w.users())
	w.log.once = true
	w.log.failAfter(0)
	a := w.call("POST", "/api/v1/users", w.admin, goodUser)
	a.refused(t, http.StatusServiceUnavailable, "audit_unavailable")
	if a.problem()["record"] != nil || a.header.Get("Gatewright-Record") != "" {
		t.Errorf("a record is named that may not exist: %s", a.body)
	}
	all := w.log.of(demo)
	if len(all) != 1 || all[0].Outcome != "refused" || all[0].Of == "" || all[0].Code != "audit_unavailable" {
		t.Errorf("%d records", len(all))
	}
	if after := len(w.users()); after != before {
		t.Errorf("%d users, before %d", after, before)
	}
}

func TestAnOutcomeThatCannotBeRecordedIsNotAnswered(t *testing.T) {
	w := newWorld(t)
	w.log.failAfter(1) // the intent is taken, the outcome is not
	a := w.call("POST", "/api/v1/keys", w.admin, `{"agent":"`+w.agent+`","name":"k"}`)
	a.refused(t, http.StatusServiceUnavailable, "audit_unavailable")
	if strings.Contains(a.body, "ak_") {
		t.Errorf("a key left without its record: %s", a.body)
	}
	if all := w.log.of(demo); len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
}

func TestAPanicIsRecordedAndTellsNothing(t *testing.T) {
	w := newWorld(t)
	w.bundles.panics = true
	a := w.call("GET", "/api/v1/bundles/current", w.admin, "")
	a.refused(t, http.StatusInternalServerError, "internal")
	if strings.Contains(a.body, "kaboom") || w.log.last(demo).Code != "internal" {
		t.Errorf("%s", a.body)
	}
	if !strings.Contains(w.slog.String(), "kaboom") {
		t.Error("the log does not know the cause")
	}
}

func TestStrangersAreCountedAndNotRecordedOneByOne(t *testing.T) {
	w := newWorld(t)
	for range 50 {
		w.call("GET", "/api/v1/users", "ak_live_nonsense", "").refused(t, http.StatusUnauthorized, "unauthenticated")
	}
	if n := len(w.log.of(demo)) + len(w.log.of("_instance")); n != 0 {
		t.Errorf("%d records", n)
	}
	if w.strangers.count != 50 {
		t.Errorf("counted %d", w.strangers.count)
	}
}
