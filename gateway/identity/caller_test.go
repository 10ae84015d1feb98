package identity_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestACallerIsWhatItsKeySays(t *testing.T) {
	h := build(t)
	c := h.accepted(h.acme.text)
	if c.Tenant() != "acme" || c.User() != h.acme.admin.ID || c.Agent() != h.acme.agent.ID || c.KeyID() != h.acme.runKey.ID ||
		c.Kind() != identity.Runtime || c.Mode() != identity.Test || c.Role() != "" || c.Trust() != 500 {
		t.Fatalf("runtime caller %+v", c.Principal())
	}
	if p := c.Principal(); p.Kind != "Agent" || p.ID != c.Agent() || p.Owner != c.User() || p.Tenant != "acme" || p.Status != "active" || len(p.Roles) != 0 {
		t.Fatalf("runtime principal %+v", p)
	}
	c = h.accepted(h.acme.adminText)
	if c.User() != h.acme.admin.ID || c.Agent() != "" || c.Kind() != identity.Admin || c.Mode() != identity.Live || c.Role() != identity.RoleAdmin {
		t.Fatalf("admin caller %+v", c.Principal())
	}
	if p := c.Principal(); p.Kind != "User" || p.ID != c.User() || p.Roles[0] != "Admin" {
		t.Fatalf("admin principal %+v", p)
	}
}

func TestTheDigestFollowsTheHolder(t *testing.T) {
	h, ctx := build(t), t.Context()
	first := h.accepted(h.acme.text)
	want := `{"id":"` + h.acme.agent.ID + `","kind":"Agent","labels":[],"owner":"` + h.acme.admin.ID +
		`","roles":[],"status":"active","talks_to":[],"teams":["dev","ops"],"tenant":"acme","trust":500}`
	if got := string(first.Entity()); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if first.Snapshot() != sha256.Sum256(first.Entity()) {
		t.Fatal("the digest is not of the entity")
	}
	h.must(h.SetTrust(ctx, "acme", h.acme.agent.ID, 700))
	second := h.accepted(h.acme.text)
	if second.Snapshot() == first.Snapshot() || second.Trust() != 700 || first.Trust() != 500 {
		t.Fatal("a changed agent kept its digest, or an old caller changed")
	}
	_, another, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: h.acme.agent.ID, Name: "k"})
	h.must(err)
	if h.accepted(another).Principal() != second.Principal() {
		t.Fatal("two keys of one agent have two principals")
	}
	h.reopen()
	if h.accepted(h.acme.text).Snapshot() != second.Snapshot() {
		t.Fatal("a restart changed the digest")
	}
}

func TestBootstrapCanBeRepeated(t *testing.T) {
	h, ctx := build(t), t.Context()
	seed := identity.Seed{OrgName: "Gateway", Admin: "Operator"}
	first, err := h.Bootstrap(ctx, store.Instance, seed)
	h.must(err)
	if c := h.accepted(first.AdminKey); c.Tenant() != store.Instance || c.Role() != identity.RoleAdmin || c.Mode() != identity.Live {
		t.Fatalf("the first admin is %+v", c.Principal())
	}
	if first.RuntimeKey != "" || first.Agent.ID != "" {
		t.Fatal("an agent was made that nobody asked for")
	}
	h.reopen()
	again, err := h.Bootstrap(ctx, store.Instance, seed)
	h.must(err)
	if again.AdminKey != "" || again.User.ID != first.User.ID {
		t.Fatal("production made a second admin key")
	}
	h.accepted(first.AdminKey)
	if orgs, err := h.Orgs(ctx, store.Instance); err != nil || len(orgs) != 3 {
		t.Fatalf("the instance sees %v, %v", orgs, err)
	}
}

func TestDevelopmentGetsFreshKeysAtEachStart(t *testing.T) {
	h, ctx := build(t), t.Context()
	seed := identity.Seed{OrgName: "Demo", Admin: "Demo", Agent: "demo", Mode: identity.Test, Reissue: true}
	first, err := h.Bootstrap(ctx, "demo", seed)
	h.must(err)
	if !strings.HasPrefix(first.RuntimeKey, "ak_test_") || !strings.HasPrefix(first.AdminKey, "ak_test_") {
		t.Fatal("demo keys do not say test")
	}
	_, own, err := h.CreateKey(ctx, "demo", identity.NewKey{Kind: identity.Runtime, Agent: first.Agent.ID, Name: "mine"})
	h.must(err)
	h.reopen()
	second, err := h.Bootstrap(ctx, "demo", seed)
	h.must(err)
	h.refused(first.RuntimeKey, identity.KeyRevoked)
	h.refused(first.AdminKey, identity.KeyRevoked)
	h.accepted(second.RuntimeKey)
	h.accepted(second.AdminKey)
	h.accepted(own)
	if second.Agent.ID != first.Agent.ID || second.User.ID != first.User.ID {
		t.Fatal("a restart made another agent or admin")
	}
}

func TestABootstrapCutShortIsFinished(t *testing.T) {
	for cut := range 6 {
		h := build(t)
		seed := identity.Seed{OrgName: "Demo", Admin: "Demo", Agent: "demo", Mode: identity.Test, Reissue: true}
		n := h.store.Commits()
		h.store.Choose(func(commit int) storetest.Fault {
			if commit == n+cut {
				return storetest.Persisted
			}
			return storetest.None
		})
		_, err := h.Bootstrap(h.Context(), "demo", seed)
		if cut < 5 && err == nil {
			t.Fatalf("cut %d was not noticed", cut)
		}
		h.store.Choose(nil)
		h.reopen()
		out, err := h.Bootstrap(h.Context(), "demo", seed)
		h.must(err)
		h.accepted(out.AdminKey)
		h.accepted(out.RuntimeKey)
		if users, _ := h.Users(h.Context(), "demo"); len(users) != 1 {
			t.Fatalf("%d admins", len(users))
		}
	}
}
