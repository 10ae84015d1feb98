package control_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store"
)

// roles shows the directory to the register of approvals.
type roles struct{ d *identity.Directory }

func (r roles) Role(ctx context.Context, tenant, user string) (string, error) {
	u, err := r.d.User(ctx, tenant, user)
	if errors.Is(err, identity.ErrNotFound) || err == nil && u.Status != identity.Active {
		return "", nil
	}
	return string(u.Role), err
}

func (r roles) Owner(ctx context.Context, tenant, agent string) (string, error) {
	a, err := r.d.Agent(ctx, tenant, agent)
	if errors.Is(err, identity.ErrNotFound) {
		return "", nil
	}
	return a.Owner, err
}

// newApprovals gives each tenant one held call. Its arguments have the canary of the plans.
func (w *world) newApprovals(kept store.Store) {
	cfg := approvals.DefaultConfig()
	cfg.Limits = map[string]string{"manager": "1000"}
	var err error
	w.approvals, err = approvals.Open(w.t.Context(), cfg, approvals.Deps{
		Store: kept, Ledger: newMemoryLog(), Directory: roles{w.directory}, Now: w.clock.now, Rand: rand.Reader,
	})
	w.must(err)
	w.t.Cleanup(w.approvals.Close)
	for _, tenant := range []string{demo, other} {
		i := w.ids[tenant]
		i.approval = w.hold(tenant, `{"path":"`+canary+`"}`)
		w.ids[tenant] = i
	}
}

// hold has an agent ask for a call.
func (w *world) hold(tenant, args string) string {
	w.t.Helper()
	i, owner := w.ids[tenant], w.owners[tenant]
	v, err := w.approvals.Request(w.t.Context(), approvals.Request{
		Call: approvals.Call{Tenant: tenant, User: owner.User, Agent: owner.Agent, PlanID: i.plan, Op: "tools/call", Server: i.server, Tool: "read", Args: []byte(args)},
		Key:  i.key, Reason: "reading is held", Policies: []string{"hold.cedar:1 read"},
	})
	w.must(err)
	return v.ID
}

func TestAHeldCallIsShownWithItsArgumentsToWhoMayDecide(t *testing.T) {
	w := newWorld(t)
	one := "/api/v1/approvals/" + w.ids[demo].approval
	for _, role := range []identity.Role{identity.RoleAdmin, identity.RoleManager} {
		a := w.call("GET", one, w.byRole[role], "")
		args, _ := a.json()["args"].(map[string]any)
		if a.status != http.StatusOK || args["path"] != canary || a.json()["state"] != "pending" || a.json()["approver"] != "manager" || a.json()["reason"] != "reading is held" {
			t.Errorf("%s: %d %s", role, a.status, a.body)
		}
	}
	member := w.byRole[identity.RoleMember]
	for _, path := range []string{one, "/api/v1/approvals", "/api/v1/approvals?state=pending&agent=" + w.agent + "&plan=" + w.ids[demo].plan} {
		if a := w.call("GET", path, member, ""); a.status != http.StatusOK || strings.Contains(a.body, canary) || !strings.Contains(a.body, w.ids[demo].approval) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	who := w.call("GET", "/api/v1/whoami", member, "")
	user, _ := who.json()["user"].(string)
	w.must(w.directory.SetAgentOwner(t.Context(), demo, w.agent, user))
	if a := w.call("GET", one, member, ""); !strings.Contains(a.body, canary) {
		t.Errorf("the owner does not see what its agent asks: %s", a.body)
	}
	if a := w.call("GET", "/api/v1/approvals?state=executed", w.admin, ""); strings.TrimSpace(a.body) != `{"items":[]}` {
		t.Errorf("%s", a.body)
	}
	w.call("GET", one, w.viewer, "").refused(t, http.StatusForbidden, "role_denied")
	w.call("GET", "/api/v1/approvals?state=gone", w.admin, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
}

func TestADecisionIsTheRegistersAndIsRecorded(t *testing.T) {
	w := newWorld(t)
	one := "/api/v1/approvals/" + w.ids[demo].approval
	manager := w.byRole[identity.RoleManager]
	large := "/api/v1/approvals/" + w.hold(demo, `{"amount":1000.01}`)
	refusal := w.call("POST", large+"/approve", manager, "")
	refusal.refused(t, http.StatusForbidden, "role_denied")
	if !strings.Contains(refusal.body, "at most 1000") {
		t.Errorf("the manager is not told the limit: %s", refusal.body)
	}
	if a := w.call("POST", large+"/reject", manager, `{"reason":"no"}`); a.status != http.StatusOK || a.json()["state"] != "rejected" {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("POST", large+"/approve", w.admin, "").refused(t, http.StatusConflict, "inactive")

	w.call("POST", one+"/approve", w.byRole[identity.RoleMember], "").refused(t, http.StatusForbidden, "role_denied")
	a := w.call("POST", one+"/approve", manager, "")
	decisions, _ := a.json()["decisions"].([]any)
	if a.status != http.StatusOK || a.json()["state"] != "approved" || len(decisions) != 1 || strings.Contains(a.body, canary) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if last := w.log.last(demo); last.Op != "approve-call" || last.Outcome != "ok" || !strings.Contains(string(last.Body), `"given":"1 of 1"`) || !strings.Contains(string(last.Body), w.ids[demo].approval) {
		t.Errorf("%s", last.AppendJSON(nil))
	}
	w.call("POST", one+"/approve", manager, "").refused(t, http.StatusConflict, "conflict")
	w.call("POST", one+"/approve", w.admin, "").refused(t, http.StatusConflict, "conflict")
	w.must(w.approvals.Spend(t.Context(), demo, w.ids[demo].approval, "rec_1"))
	w.call("POST", one+"/reject", w.admin, `{}`).refused(t, http.StatusConflict, "inactive")
	if a := w.call("GET", one, w.admin, ""); a.json()["record"] != "rec_1" || a.json()["state"] != "executed" {
		t.Errorf("%s", a.body)
	}
	late := "/api/v1/approvals/" + w.hold(demo, `{}`)
	w.clock.add(time.Hour)
	w.call("POST", late+"/approve", w.admin, "").refused(t, http.StatusConflict, "inactive")
}

func TestAGatewayThatHoldsNoCallsHasNoApprovals(t *testing.T) {
	w := newWorld(t)
	api, err := control.New(control.DefaultConfig(), control.Deps{
		Directory: w.directory, Catalogue: w.catalogue, Plans: w.plans, Ledger: w.log, Bundles: w.bundles, Vault: w.vault,
		Now: w.clock.now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	w.api = api
	if a := w.call("GET", "/api/v1/approvals", w.admin, ""); strings.TrimSpace(a.body) != `{"items":[]}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	one := "/api/v1/approvals/" + w.ids[demo].approval
	w.call("GET", one, w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", one+"/approve", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", one+"/reject", w.admin, `{}`).refused(t, http.StatusNotFound, "not_found")
}
