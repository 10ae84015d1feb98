package control_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/device"
)

// desk is the real one, until somebody else is told to be faster.
type desk struct {
	*device.Desk
	meanwhile func()
}

func (d *desk) Approve(code string, g device.Grant) error {
	if d.meanwhile != nil {
		d.meanwhile()
	}
	return d.Desk.Approve(code, g)
}

// newDesk has a sign-in that waits, and one that the other tenant has approved.
func (w *world) newDesk() {
	d, err := device.New(device.DefaultConfig(), w.clock.now, rand.Reader)
	w.must(err)
	w.desk = &desk{Desk: d}
	for _, tenant := range []string{demo, other} {
		i := w.ids[tenant]
		i.code = w.signIn().User
		w.ids[tenant] = i
	}
	w.must(d.Approve(w.ids[other].code, device.Grant{Secret: "x", Key: "key_x", Tenant: other, Agent: "agt_x"}))
}

func (w *world) signIn() device.Code {
	w.t.Helper()
	c, err := w.desk.Begin(netip.MustParseAddr("198.51.100.4"))
	w.must(err)
	return c
}

func path(code, verb string) string { return "/api/v1/device-codes/" + code + verb }

func TestASignInIsDecidedWithinTheRolesOfKeys(t *testing.T) {
	w := newWorld(t)
	member, manager := w.byRole[identity.RoleMember], w.byRole[identity.RoleManager]
	c := w.signIn()
	for _, refused := range []struct {
		key, body, code string
		status          int
	}{
		{member, `{"agent":"` + w.agent + `"}`, "role_denied", http.StatusForbidden}, // somebody else's
		{member, `{"name":"new"}`, "role_denied", http.StatusForbidden},
		{member, `{}`, "role_denied", http.StatusForbidden},
		{w.viewer, `{}`, "role_denied", http.StatusForbidden},
		{manager, `{"agent":"` + w.agent + `","name":"both"}`, "request_invalid", http.StatusUnprocessableEntity},
		{manager, `{"agent":"` + w.ids[other].agent + `"}`, "not_found", http.StatusNotFound},
		{manager, `{"name":"worker"}`, "exists", http.StatusConflict},
		{manager, `{"key":"x"}`, "request_invalid", http.StatusUnprocessableEntity},
	} {
		if a := w.call("POST", path(c.User, "/approve"), refused.key, refused.body); a.status != refused.status && a.code() != "body_invalid" || a.status < 400 {
			t.Errorf("%s: %d %s", refused.body, a.status, a.body)
		}
	}
	for _, code := range []string{"bbbb-bbbb", "BBBBBBBB", "BBBB-BBB", c.Device} {
		if a := w.call("POST", path(code, "/approve"), manager, `{}`); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", code, a.status, a.body)
		}
	}
	if _, err := w.desk.Poll(c.Device); !errors.Is(err, device.ErrPending) {
		t.Errorf("after refusals only: %v", err)
	}
}

func TestAnApprovedProgramGetsAKeyAndNobodyElseDoes(t *testing.T) {
	w := newWorld(t)
	member := w.byRole[identity.RoleMember]
	who := w.call("GET", "/api/v1/whoami", member, "").json()["user"].(string)
	own, err := w.directory.CreateAgent(t.Context(), demo, identity.NewAgent{Name: "own", Owner: who})
	w.must(err)
	c := w.signIn()
	if a := w.call("GET", path(c.User, ""), member, ""); a.status != http.StatusOK || a.json()["state"] != "pending" || a.json()["source"] != "198.51.100.4" {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := w.call("POST", path(c.User, "/approve"), member, `{"agent":"`+own.ID+`"}`)
	if a.status != http.StatusOK || a.json()["state"] != "approved" || a.json()["agent"] != own.ID {
		t.Fatalf("%d %s", a.status, a.body)
	}
	g, err := w.desk.Poll(c.Device)
	w.must(err)
	if g.Tenant != demo || g.Agent != own.ID || g.User != who || g.Key != a.json()["key"] {
		t.Errorf("granted %+v to %s", g, g.User)
	}
	caller, err := w.directory.Authenticate([]byte(g.Secret), w.clock.now())
	if err != nil || caller.Kind() != identity.Runtime || caller.Agent() != own.ID || caller.KeyID() != g.Key {
		t.Errorf("the key opens as %s: %v", caller.Agent(), err)
	}
	if strings.Contains(a.body, g.Secret) || strings.Contains(w.slog.String(), g.Secret) {
		t.Error("the key is shown to the approver or the log")
	}
	records := w.log.of(demo)
	last := records[len(records)-1]
	if last.Op != "approve-device-code" || last.Outcome != "ok" || !strings.Contains(string(last.Body), own.ID) || !strings.Contains(string(last.Body), g.Key) {
		t.Errorf("recorded %s", last.AppendJSON(nil))
	}
	for i := range records {
		if strings.Contains(string(records[i].AppendJSON(nil)), g.Secret) {
			t.Error("the key stands in the ledger")
		}
	}
	w.call("GET", path(c.User, ""), member, "").refused(t, http.StatusNotFound, "not_found")
}

func TestANewAgentIsItsApproversOwn(t *testing.T) {
	w := newWorld(t)
	manager := w.byRole[identity.RoleManager]
	for body, name := range map[string]string{`{"name":"laptop"}`: "laptop", `{}`: ""} {
		c := w.signIn()
		if a := w.call("POST", path(c.User, "/approve"), manager, body); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if name == "" {
			name = "device " + c.User
		}
		g, err := w.desk.Poll(c.Device)
		w.must(err)
		agent, err := w.directory.Agent(t.Context(), demo, g.Agent)
		if err != nil || agent.Name != name || agent.Owner != w.managerUser || g.User != w.managerUser {
			t.Errorf("%+v %v", agent, err)
		}
	}
}

func TestWhatNobodyCollectsIsTakenBack(t *testing.T) {
	w := newWorld(t)
	c := w.signIn()
	w.desk.meanwhile = func() { w.must(w.desk.Deny(c.User, demo)) }
	w.call("POST", path(c.User, "/approve"), w.admin, `{"name":"late"}`).refused(t, http.StatusConflict, "inactive")
	agents, err := w.directory.Agents(t.Context(), demo)
	w.must(err)
	at := slices.IndexFunc(agents, func(a identity.Agent) bool { return a.Name == "late" })
	if at < 0 || agents[at].Status != identity.Revoked {
		t.Fatalf("the new agent stays: %d", at)
	}
	keys, err := w.directory.Keys(t.Context(), demo)
	w.must(err)
	for _, k := range keys {
		if k.Agent == agents[at].ID && k.Ended.IsZero() {
			t.Errorf("the key stays: %+v", k)
		}
	}
	if _, err := w.desk.Poll(c.Device); !errors.Is(err, device.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

func TestASignInIsDecidedOnceAndInTime(t *testing.T) {
	w := newWorld(t)
	c := w.signIn()
	if a := w.call("POST", path(c.User, "/deny"), w.byRole[identity.RoleMember], ""); a.status != http.StatusOK || a.json()["state"] != "denied" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	keys, err := w.directory.Keys(t.Context(), demo)
	w.must(err)
	w.call("POST", path(c.User, "/approve"), w.admin, `{}`).refused(t, http.StatusConflict, "inactive")
	w.call("POST", path(c.User, "/deny"), w.admin, "").refused(t, http.StatusConflict, "inactive")
	for _, verb := range []string{"/approve", "/deny"} {
		w.call("POST", path(c.User, verb), w.otherAdmin, map[string]string{"/approve": "{}"}[verb]).refused(t, http.StatusNotFound, "not_found")
	}
	late := w.signIn()
	w.clock.add(10 * time.Minute)
	w.call("POST", path(late.User, "/approve"), w.admin, `{}`).refused(t, http.StatusConflict, "inactive")
	if after, err := w.directory.Keys(t.Context(), demo); err != nil || len(after) != len(keys) {
		t.Errorf("%d keys, before %d", len(after), len(keys))
	}
}

func TestNoRecordNoSignIn(t *testing.T) {
	w := newWorld(t)
	c := w.signIn()
	w.log.failAfter(0)
	w.call("POST", path(c.User, "/approve"), w.admin, `{}`).refused(t, http.StatusServiceUnavailable, "audit_unavailable")
	w.call("POST", path(c.User, "/deny"), w.admin, "").refused(t, http.StatusServiceUnavailable, "audit_unavailable")
	if _, err := w.desk.Poll(c.Device); !errors.Is(err, device.ErrPending) {
		t.Errorf("got %v", err)
	}
}

func TestAGatewayWithoutADeskKnowsNoCode(t *testing.T) {
	w := newWorld(t)
	code := w.ids[demo].code
	api, err := control.New(control.DefaultConfig(), control.Deps{
		Directory: w.directory, Catalogue: w.catalogue, Plans: w.plans, Ledger: w.log, Bundles: w.bundles, Vault: w.vault,
		Now: w.clock.now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)),
	})
	w.must(err)
	w.api = api
	w.call("GET", path(code, ""), w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", path(code, "/approve"), w.admin, `{}`).refused(t, http.StatusNotFound, "not_found")
	w.call("POST", path(code, "/deny"), w.admin, "").refused(t, http.StatusNotFound, "not_found")
}
