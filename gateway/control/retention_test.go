package control_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/gateway/sinks"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// keeper answers as a retention.Keeper does, from memory.
type keeper struct {
	w      *world
	holds  map[string]retention.Hold
	asked  []retention.Request
	erased []string
	err    error
}

var _ control.Retention = (*keeper)(nil)

func (k *keeper) Held(_ context.Context, tenant string) (retention.Hold, bool, error) {
	h, ok := k.holds[tenant]
	return h, ok, k.err
}

func (k *keeper) Hold(_ context.Context, tenant, reason string, by retention.Who) (retention.Hold, error) {
	if _, stands := k.holds[tenant]; stands {
		return retention.Hold{}, retention.ErrStands
	}
	h := retention.Hold{Reason: reason, By: by.User, Since: 1_700_000_000}
	k.holds[tenant] = h
	return h, k.err
}

func (k *keeper) Release(_ context.Context, tenant, _ string) (retention.Hold, error) {
	h := k.holds[tenant]
	delete(k.holds, tenant)
	return h, k.err
}

func (k *keeper) Prune(_ context.Context, r retention.Request) (retention.Result, error) {
	k.asked = append(k.asked, r)
	return retention.Result{Parts: []retention.Part{{Tenant: "demo", From: 0, To: 256, Size: 300, Record: "rec_1", Why: "record 256 is young"}}}, k.err
}

func (k *keeper) Erase(_ context.Context, tenant, subject, _ string, by retention.Who) (retention.Erasure, error) {
	if _, held := k.holds[tenant]; held {
		return retention.Erasure{}, retention.ErrHeld
	}
	if subject == "agt_owned" {
		return retention.Erasure{}, fmt.Errorf("erase: %w: erase usr_owner, or nobody", retention.ErrOwned)
	}
	if subject != k.w.ids[tenant].agent || by.User == "" || by.Key == "" {
		return retention.Erasure{}, retention.ErrUnknown
	}
	k.erased = append(k.erased, subject)
	return retention.Erasure{Digest: "d1", Salt: "s1", Record: "rec_1", Outcome: "rec_2", Records: 3}, k.err
}

// sinkList is what a set of sinks says.
type sinkList []sinks.State

func (s sinkList) States() []sinks.State { return s }

const (
	holdPath  = "/api/v1/ledger/hold"
	prunePath = "/api/v1/ledger/prune"
	erasePath = "/api/v1/audit-logs/erase"
)

func TestWhatTakesAwayIsForAdmins(t *testing.T) {
	w := newWorld(t)
	agent := w.ids[demo].agent
	erase := `{"subject":"` + agent + `","reason":"asked","confirm":"` + agent + `"}`
	for _, c := range []struct{ method, path, body string }{
		{"POST", holdPath, `{"reason":"case"}`}, {"DELETE", holdPath, `{"reason":"case"}`}, {"POST", prunePath, `{}`}, {"POST", prunePath, `{"dry_run":true}`}, {"POST", erasePath, erase},
	} {
		w.call(c.method, c.path, w.runtime, c.body).refused(t, http.StatusForbidden, "wrong_key_kind")
		for _, role := range []identity.Role{identity.RoleViewer, identity.RoleMember, identity.RoleManager} {
			w.call(c.method, c.path, w.byRole[role], c.body).refused(t, http.StatusForbidden, "role_denied")
		}
	}
	if len(w.keeper.holds)+len(w.keeper.asked)+len(w.keeper.erased) > 0 {
		t.Fatal("something was done")
	}
}

func TestAnErasureIsConfirmedAndOfOnesOwn(t *testing.T) {
	w := newWorld(t)
	agent, theirs := w.ids[demo].agent, w.ids[other].agent
	for _, confirm := range []string{"", agent + " ", strings.ToUpper(agent), theirs} {
		w.call("POST", erasePath, w.admin, `{"subject":"`+agent+`","reason":"asked","confirm":"`+confirm+`"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
	w.call("POST", erasePath, w.admin, `{"subject":"`+agent+`","reason":"","confirm":"`+agent+`"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.call("POST", erasePath, w.admin, `{"subject":"`+theirs+`","reason":"asked","confirm":"`+theirs+`"}`).refused(t, http.StatusNotFound, "not_found")
	w.call("POST", holdPath, w.admin, `{"reason":"case 12"}`)
	body := `{"subject":"` + agent + `","reason":"asked to","confirm":"` + agent + `"}`
	w.call("POST", erasePath, w.admin, body).refused(t, http.StatusConflict, "held")
	w.call("DELETE", holdPath, w.admin, `{"reason":"over"}`)
	if len(w.keeper.erased) > 0 {
		t.Fatal("erased all the same")
	}
	a := w.call("POST", erasePath, w.admin, body)
	if got := a.json(); a.status != 200 || got["digest"] != "d1" || got["record"] != "rec_1" || got["records"] != 3.0 || got["nothing"] != false || got["outcome"] != "rec_2" || len(w.keeper.erased) != 1 {
		t.Fatal(a.status, a.body)
	}
	owned := w.call("POST", erasePath, w.admin, `{"subject":"agt_owned","reason":"asked to","confirm":"agt_owned"}`)
	if owned.refused(t, http.StatusUnprocessableEntity, "request_invalid"); !strings.Contains(owned.body, "erase usr_owner, or nobody") {
		t.Error("it does not say whom to erase:", owned.body)
	}
	for _, r := range w.log.of(demo) { // the control port's own records do not name the subject either
		if text := string(r.AppendJSON(nil)); strings.Contains(text, "erase") && (strings.Contains(text, agent) || strings.Contains(text, "asked to")) {
			t.Error(text)
		}
	}
}

func TestAHoldIsOnRecordWithItsReason(t *testing.T) {
	w := newWorld(t)
	if a := w.call("GET", holdPath, w.admin, ""); a.json()["held"] != false {
		t.Error(a.body)
	}
	if a := w.call("POST", holdPath, w.admin, `{"reason":"case 12"}`); a.status != 200 || a.json()["held"] != true || a.json()["reason"] != "case 12" || a.json()["by"] != w.adminUser {
		t.Error(a.body)
	}
	w.call("POST", holdPath, w.admin, `{"reason":"case 13"}`).refused(t, http.StatusConflict, "held")
	w.call("POST", holdPath, w.admin, `{"reason":""}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	if a := w.call("GET", holdPath, w.admin, ""); a.json()["reason"] != "case 12" {
		t.Error("the first hold is gone:", a.body)
	}
	if a := w.call("GET", holdPath, w.otherAdmin, ""); a.json()["held"] != false {
		t.Error("another organisation's hold:", a.body)
	}
	found := false
	for _, r := range w.log.of(demo) {
		found = found || r.Kind == ledger.Admin && r.Op == "hold-ledger" && strings.Contains(string(r.Body), "case 12") && r.Outcome == "ok"
	}
	if !found {
		t.Error("no record of the hold")
	}
}

func TestPruningIsOfOnesOwnLedgerAndOfAllForOperators(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ key, body, tenant string }{
		{w.admin, "", demo}, {w.otherAdmin, `{"dry_run":true}`, other}, {w.operator, `{"before":"2026-01-01T00:00:00Z"}`, ""},
	} {
		if a := w.call("POST", prunePath, c.key, c.body); a.status != 200 || !strings.Contains(a.body, "record 256 is young") {
			t.Fatal(a.body)
		}
		if r := w.keeper.asked[len(w.keeper.asked)-1]; r.Tenant != c.tenant || r.DryRun != strings.Contains(c.body, "dry") || r.Before.IsZero() == strings.Contains(c.body, "before") || r.By.User == "" {
			t.Errorf("%+v", r)
		}
	}
	w.keeper.err = retention.ErrPolicy
	w.call("POST", prunePath, w.admin, `{}`).refused(t, http.StatusConflict, "retention_refused")
}

func TestSinksAreShownToWhomTheyBelong(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	w.sinks = sinkList{
		{Name: "ours", Type: "webhook", Tenant: demo, Address: "https://h", Lag: 7, LastSuccess: at},
		{Name: "theirs", Type: "syslog", Tenant: other, LastError: "refused"}, {Name: "siem", Type: "otlp", Tenant: sinks.All},
	}
	w.rebuild(w.log)
	names := func(key string) (out []string) {
		items, _ := w.call("GET", "/api/v1/sinks", key, "").json()["items"].([]any)
		for _, i := range items {
			out = append(out, i.(map[string]any)["name"].(string))
		}
		return out
	}
	for key, want := range map[string]string{w.admin: "ours", w.otherAdmin: "theirs", w.operator: "ours siem theirs"} {
		if got := strings.Join(names(key), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	w.call("GET", "/api/v1/sinks", w.viewer, "").refused(t, http.StatusForbidden, "role_denied")
	if a := w.call("GET", "/api/v1/sinks", w.admin, ""); !strings.Contains(a.body, `"lag":7`) || !strings.Contains(a.body, "2026-05-01") {
		t.Error(a.body)
	}
}
