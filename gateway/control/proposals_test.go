package control_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/store"
)

// profileOf forbids one tool.
func profileOf(tool string) string {
	return `{"schemaVersion":"armor.policy.v1","kind":"PolicyProfile","defaults":{"decision":"allow"},"statements":[{"id":"s1","effect":"forbid","action":{"type":"mcp_tool","eq":"` + tool + `"}}]}`
}

// newTerms gives each tenant a profile in force, a proposal for another, and an hour of usage. The keeper writes to a
// ledger of its own.
func (w *world) newTerms(kept store.Store) {
	ctx := w.t.Context()
	var err error
	w.terms, err = terms.Open(ctx, terms.DefaultConfig(), terms.Deps{Store: kept, Ledger: newMemoryLog(), Now: w.clock.now, Rand: rand.Reader})
	w.must(err)
	w.usage, err = usage.New(usage.DefaultConfig(), kept, w.clock.now, rand.Reader)
	w.must(err)
	for _, tenant := range []string{demo, other} {
		_, err := w.terms.Decide(ctx, terms.Actor{Tenant: tenant, User: "usr_x", Key: "key_x"}, w.proposed(tenant, "drop-"+tenant), true, "")
		w.must(err)
		i := w.ids[tenant]
		i.proposal = w.proposed(tenant, "wipe-"+tenant)
		w.ids[tenant] = i
		who := usage.Who{Tenant: tenant, User: i.user, Agent: i.agent, Key: i.key}
		w.must(w.usage.Put(ctx, who, []usage.Row{{
			Product: "product-" + tenant, Session: "s", Date: "2026-11-20", Hour: 3,
			Entries: []usage.Entry{{Model: "m1", Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4}, {Model: "m2", Input: 5}},
		}}))
	}
}

// proposed has the tenant's agent propose a profile.
func (w *world) proposed(tenant, tool string) string {
	w.t.Helper()
	i, owner := w.ids[tenant], w.owners[tenant]
	who := terms.Who{Tenant: tenant, User: owner.User, Agent: owner.Agent, Key: i.key}
	w.must(w.terms.Draft(w.t.Context(), who, []byte(profileOf(tool))))
	p, err := w.terms.Propose(w.t.Context(), who, "safer so")
	w.must(err)
	return p.ID
}

func TestAProposalIsShownWithWhatItBecomesAndAnAdminDecides(t *testing.T) {
	w := newWorld(t)
	id := w.ids[demo].proposal
	one := "/api/v1/proposals/" + id
	if a := w.call("GET", "/api/v1/proposals?state=pending&kind=profile&agent="+w.agent, w.viewer, ""); a.status != http.StatusOK || !strings.Contains(a.body, id) || strings.Contains(a.body, "wipe-demo") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("GET", "/api/v1/proposals?kind=server", w.viewer, ""); strings.TrimSpace(a.body) != `{"items":[]}` {
		t.Errorf("%s", a.body)
	}
	w.call("GET", one, w.byRole[identity.RoleMember], "").refused(t, http.StatusForbidden, "role_denied")
	a := w.call("GET", one, w.byRole[identity.RoleManager], "")
	cedar, _ := a.json()["cedar"].(string)
	lines, _ := a.json()["lines"].([]any)
	if a.status != http.StatusOK || !strings.Contains(cedar, "forbid") || !strings.Contains(fmt.Sprint(lines), "wipe-demo") || a.json()["reason"] != "safer so" || a.json()["content"] == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("POST", one+"/approve", w.byRole[identity.RoleManager], "").refused(t, http.StatusForbidden, "role_denied")
	a = w.call("POST", one+"/approve", w.admin, "")
	if a.status != http.StatusOK || a.json()["state"] != "approved" || a.json()["by"] != w.adminUser {
		t.Errorf("%d %s", a.status, a.body)
	}
	if last := w.log.last(demo); last.Op != "approve-proposal" || last.Outcome != "ok" || !strings.Contains(string(last.Body), `"state":"approved"`) {
		t.Errorf("%s", last.AppendJSON(nil))
	}
	for _, path := range []string{"/approve", "/reject"} {
		body := map[string]string{"/reject": "{}"}[path]
		w.call("POST", one+path, w.admin, body).refused(t, http.StatusConflict, "inactive")
	}
	a = w.call("GET", "/api/v1/profile", w.viewer, "")
	if a.status != http.StatusOK || a.json()["version"] != 2.0 || a.json()["proposal"] != id || a.json()["cedar"] != cedar {
		t.Errorf("%d %s", a.status, a.body)
	}
	next := w.proposed(demo, "third")
	if a := w.call("POST", "/api/v1/proposals/"+next+"/reject", w.admin, `{"reason":"not now"}`); a.json()["state"] != "rejected" || a.json()["note"] != "not now" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("DELETE", "/api/v1/profile", w.admin, ""); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("DELETE", "/api/v1/profile", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("GET", "/api/v1/profile", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	if a := w.call("GET", "/api/v1/profile", w.otherAdmin, ""); a.status != http.StatusOK {
		t.Errorf("the other tenant's profile is gone too: %d", a.status)
	}
}

func TestUsageIsAddedUpByDayProductAndModel(t *testing.T) {
	w := newWorld(t)
	first := `{"day":"2026-11-20","product":"product-demo","model":"m1","input":1,"output":2,"cache_read":3,"cache_write":4,"rows":1}`
	second := `{"day":"2026-11-20","product":"product-demo","model":"m2","input":5,"output":0,"cache_read":0,"cache_write":0,"rows":1}`
	for query, want := range map[string]string{
		"":                                  `{"items":[` + first + `,` + second + `]}`,
		"?from=2026-11-20&to=2026-11-20":    `{"items":[` + first + `,` + second + `]}`,
		"?from=2026-11-21":                  `{"items":[]}`,
		"?to=2026-11-19":                    `{"items":[]}`,
		"?model=m2&product=product-demo":    `{"items":[` + second + `]}`,
		"?product=product-other":            `{"items":[]}`,
		"?agent=" + w.ids[other].agent:      `{"items":[]}`,
		"?from=2026-11-20&agent=" + w.agent: `{"items":[` + first + `,` + second + `]}`,
	} {
		if a := w.call("GET", "/api/v1/usage"+query, w.viewer, ""); a.status != http.StatusOK || strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	a := w.call("GET", "/api/v1/usage?limit=1", w.viewer, "")
	next, _ := a.json()["next"].(string)
	if !strings.Contains(a.body, first) || next == "" {
		t.Fatalf("%s", a.body)
	}
	if a := w.call("GET", "/api/v1/usage?limit=1&cursor="+next, w.viewer, ""); strings.TrimSpace(a.body) != `{"items":[`+second+`]}` {
		t.Errorf("%s", a.body)
	}
	for _, query := range []string{"from=yesterday", "from=2026-13-01", "to=2026-02-30", "from=2026-11-22&to=2026-11-21", "from=2025-01-01", "cursor=x"} {
		if a := w.call("GET", "/api/v1/usage?"+query, w.viewer, ""); a.status != http.StatusUnprocessableEntity && a.code() != "cursor_invalid" {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestAGatewayThatTakesNoProposalsHasNone(t *testing.T) {
	w := newWorld(t)
	api, err := control.New(control.DefaultConfig(), control.Deps{
		Directory: w.directory, Catalogue: w.catalogue, Plans: w.plans, Ledger: w.log, Bundles: w.bundles, Vault: w.vault,
		Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	one := "/api/v1/proposals/" + w.ids[demo].proposal
	w.api = api
	for _, path := range []string{"/api/v1/proposals", "/api/v1/usage"} {
		if a := w.call("GET", path, w.admin, ""); strings.TrimSpace(a.body) != `{"items":[]}` {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, c := range [][3]string{{"GET", one, ""}, {"POST", one + "/approve", ""}, {"POST", one + "/reject", "{}"}, {"GET", "/api/v1/profile", ""}, {"DELETE", "/api/v1/profile", ""}} {
		w.call(c[0], c[1], w.admin, c[2]).refused(t, http.StatusNotFound, "not_found")
	}
}
