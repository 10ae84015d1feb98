package control_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// took tells the register what the ledger says happened under demo's plan.
func (w *world) took() {
	i := w.ids[demo]
	at := w.clock.now().UnixMicro()
	w.plans.Follow([]wal.Event{
		{Tenant: demo, Index: 10, ID: "rec_a", Time: at, Kind: ledger.Plan, PlanID: i.plan, Step: -1, Code: "captured"},
		{Tenant: demo, Index: 11, ID: "rec_b", Time: at, Kind: ledger.Token, PlanID: i.plan, Step: -1, Token: i.token, Code: "issued"},
		{Tenant: demo, Index: 12, ID: "rec_c", Time: at, Kind: ledger.Admitted, PlanID: i.plan, Step: 0, Token: i.token},
		{Tenant: demo, Index: 13, ID: "rec_d", Time: at, Kind: ledger.Settled, Of: "rec_c", Step: -1, Outcome: "ok"},
		{Tenant: demo, Index: 14, ID: "rec_e", Time: at, Kind: ledger.Refused, PlanID: i.plan, Step: 0, Token: i.token, Code: "step_used"},
	})
}

func TestAPlanIsShownWithItsHistoryAndLedgerIndexes(t *testing.T) {
	w := newWorld(t)
	w.took()
	a := w.call("GET", "/api/v1/plans/"+w.ids[demo].plan, w.viewer, "")
	for _, want := range []string{
		`{"index":10,"record":"rec_a"`, `"kind":"plan","step":-1,"act":"captured"`, `"kind":"token","step":-1,"act":"issued"`,
		`{"index":12,"record":"rec_c"`, `{"index":13,"record":"rec_d"`, `"outcome":"ok"`, `{"index":14,"record":"rec_e"`, `"act":"step_used"`,
		`"root":"`, `"tool":"read"`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	if a.status != http.StatusOK || strings.Contains(a.body, canary) {
		t.Errorf("%d, arguments shown: %s", a.status, a.body)
	}
	w.call("GET", "/api/v1/plans/"+w.ids[demo].plan+"/content", w.viewer, "").refused(t, http.StatusForbidden, "role_denied")
	if b := w.call("GET", "/api/v1/plans/"+w.ids[demo].plan+"/content", w.byRole[identity.RoleManager], ""); !strings.Contains(b.body, canary) {
		t.Errorf("%d %s", b.status, b.body)
	}
}

func TestATokenIsListedWithItsUsesAndRefusals(t *testing.T) {
	w := newWorld(t)
	w.took()
	a := w.call("GET", "/api/v1/tokens", w.viewer, "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"id":"`+w.ids[demo].token+`"`) || !strings.Contains(a.body, `"uses":1,"refusals":1`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAPlanEndsOnceAndCanOnlyBeRevokedAfter(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/plans/" + w.ids[demo].plan + "/state"
	for _, body := range []string{`{"state":"active"}`, `{"state":"expired"}`, `{"state":""}`, `{"state":"Revoked"}`, `{"state":"revoked","reason":"` + strings.Repeat("a", 257) + `"}`} {
		w.call("PUT", path, w.admin, body).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
	if a := w.call("PUT", path, w.admin, `{"state":"completed"}`); a.status != http.StatusOK || !strings.Contains(a.body, `"state":"completed"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.call("PUT", path, w.admin, `{"state":"failed"}`).refused(t, http.StatusConflict, "inactive")
	if a := w.call("PUT", path, w.admin, `{"state":"revoked","reason":"stolen laptop"}`); a.status != http.StatusOK || !strings.Contains(a.body, `"state":"revoked"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestEverythingRevokedStandsInOneList(t *testing.T) {
	w := newWorld(t)
	i := w.ids[demo]
	for kind, id := range map[string]string{"token": i.token, "plan": i.plan, "key": i.key, "agent": i.agent} {
		if a := w.call("POST", "/api/v1/revocations", w.byRole[identity.RoleManager], `{"kind":"`+kind+`","id":"`+id+`","reason":"test"}`); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
		}
		if r := w.log.last(demo); !strings.Contains(string(r.Body), `"reason":"test"`) || !strings.Contains(string(r.Body), `"target":"`+id+`"`) {
			t.Errorf("%s: %s", kind, r.Body)
		}
	}
	a := w.call("GET", "/api/v1/revocations", w.viewer, "")
	for kind, id := range map[string]string{"token": i.token, "plan": i.plan, "key": i.key, "agent": i.agent} {
		if !strings.Contains(a.body, `{"kind":"`+kind+`","id":"`+id+`"`) {
			t.Errorf("no %s %s in %s", kind, id, a.body)
		}
	}
	for _, body := range []string{
		`{"kind":"user","id":"` + w.viewerUser + `"}`, `{"kind":"plan","id":"` + i.agent + `"}`, `{"kind":"key","id":"../agents"}`, `{"kind":"key","id":""}`, `{"kind":"key"}`, `{"id":"` + i.key + `"}`,
	} {
		w.call("POST", "/api/v1/revocations", w.admin, body).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
}
