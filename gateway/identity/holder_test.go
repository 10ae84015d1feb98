package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestAHolderIsWhoTheTokenWasMadeFor(t *testing.T) {
	h, ctx := build(t), t.Context()
	i := newIssuer("EdDSA")
	h.must(h.SetLogins([]identity.Login{i.login}))
	agent, user, key := h.acme.agent.ID, h.acme.admin.ID, h.acme.runKey.ID
	second, err := h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "Second", Owner: user})
	h.must(err)
	refused := func(what, tenant, agent, user, key string, reason identity.Reason) {
		t.Helper()
		c, err := h.AuthenticateHolder(tenant, agent, user, key, h.now)
		if !errors.Is(err, identity.ErrUnauthenticated) || identity.ReasonOf(err) != reason || c.Valid() {
			t.Errorf("%s: got %v, want %s", what, err, reason)
		}
	}
	for what, key := range map[string]string{"empty": "", "prefix": "key_", "short": key[:20], "bare": key[4:], "long": key + "0", "text": h.acme.text, "hostile": "key_\x00\xff", "upper": "KEY_" + key[4:]} {
		refused(what, "acme", agent, user, key, identity.KeyMalformed)
	}
	refused("unknown key", "acme", agent, user, "key_00000000000000000000000000", identity.KeyUnknown)
	refused("another tenant", "other", agent, user, key, identity.HolderChanged)
	refused("another agent", "acme", second.ID, user, key, identity.HolderChanged)
	refused("another user", "acme", agent, h.other.admin.ID, key, identity.HolderChanged)
	refused("no user", "acme", agent, "", key, identity.HolderChanged)
	refused("a management key", "acme", "", user, h.acme.adminKey.ID, identity.HolderChanged)
	refused("unknown login", "acme", agent, user, "login:else", identity.LoginUnknown)
	refused("another tenant's login", "other", h.other.agent.ID, h.other.admin.ID, "login:corp", identity.LoginUnknown)
	refused("an agent that is not the login's", "acme", second.ID, user, "login:corp", identity.HolderChanged)
	refused("a user by email", "acme", agent, "ada@example.org", "login:corp", identity.HolderChanged)
	refused("unknown user", "acme", agent, h.other.admin.ID, "login:corp", identity.UserUnknown)

	c, err := h.AuthenticateHolder("acme", agent, user, key, h.now)
	h.must(err)
	if c != h.accepted(h.acme.text) {
		t.Error("the holder is another caller than with the key")
	}
	c, err = h.AuthenticateHolder("acme", agent, user, "login:corp", h.now)
	h.must(err)
	signed := h.acceptedJWT(i.token(nil))
	if c.Agent() != agent || c.User() != user || c.KeyID() != "login:corp" || c.Session() != signed.Session() || c.Kind() != identity.Runtime {
		t.Error("the holder is another caller than with the login")
	}

	h.must(h.SetAgentStatus(ctx, "acme", agent, identity.Suspended))
	refused("suspended agent", "acme", agent, user, key, identity.AgentInactive)
	refused("suspended agent", "acme", agent, user, "login:corp", identity.AgentInactive)
	h.must(h.SetAgentStatus(ctx, "acme", agent, identity.Active))
	bea, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin})
	h.must(err)
	h.must(h.SetAgentOwner(ctx, "acme", agent, bea.ID))
	refused("another owner", "acme", agent, user, key, identity.HolderChanged)
	_, err = h.AuthenticateHolder("acme", agent, bea.ID, key, h.now)
	h.must(err)
	h.must(h.RevokeKey(ctx, "acme", key))
	refused("revoked key", "acme", agent, bea.ID, key, identity.KeyRevoked)
	h.must(h.SetLogins(nil))
	refused("login that went", "acme", agent, user, "login:corp", identity.LoginUnknown)
}

func TestAHoldersKeyExpires(t *testing.T) {
	h := build(t)
	k, _, err := h.CreateKey(t.Context(), "acme", identity.NewKey{Kind: identity.Runtime, Agent: h.acme.agent.ID, Name: "k", Expires: start.Add(time.Minute)})
	h.must(err)
	_, err = h.AuthenticateHolder("acme", h.acme.agent.ID, h.acme.admin.ID, k.ID, start)
	h.must(err)
	if _, err = h.AuthenticateHolder("acme", h.acme.agent.ID, h.acme.admin.ID, k.ID, start.Add(time.Minute)); identity.ReasonOf(err) != identity.KeyExpired {
		t.Errorf("got %v", err)
	}
}

func TestAHolderOfUncertainStateIsRefused(t *testing.T) {
	h := build(t)
	i := newIssuer("EdDSA")
	h.must(h.SetLogins([]identity.Login{i.login}))
	token := i.token(nil)
	h.acceptedJWT(token)
	h.breakAcme()
	h.refusedJWT("uncertain", token, identity.StateUncertain)
	for _, key := range []string{h.acme.runKey.ID, "login:corp"} {
		if c, err := h.AuthenticateHolder("acme", h.acme.agent.ID, h.acme.admin.ID, key, h.now); identity.ReasonOf(err) != identity.StateUncertain || c.Valid() {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func TestAUserIsFoundByEmail(t *testing.T) {
	h, ctx := build(t), t.Context()
	find := func(tenant, email, want string) {
		t.Helper()
		u, err := h.UserByEmail(ctx, tenant, email)
		if want == "" {
			h.want(err, identity.ErrNotFound)
		} else if err != nil || u.ID != want {
			t.Errorf("%s: %s, %v", email, u.ID, err)
		}
	}
	find("acme", "ada@example.org", h.acme.admin.ID)
	find("other", "ADA@example.org", h.other.admin.ID)
	for _, email := range []string{"", "ada", "ada@example.org ", "ada@ex\u212aample.org", "\u017fada@example.org"} {
		find("acme", email, "")
	}
	find("nowhere", "ada@example.org", "")
	_, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Twin", Role: identity.RoleMember, Email: "Ada@Example.org"})
	h.want(err, identity.ErrExists)
	bea, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin, Email: "Bea@Example.org"})
	h.must(err)
	find("acme", "bea@example.org", bea.ID)
	h.must(h.SetRole(ctx, "acme", bea.ID, identity.RoleMember))
	h.must(h.SetUserStatus(ctx, "acme", bea.ID, identity.Suspended))
	find("acme", "bea@example.org", bea.ID)
	h.reopen()
	find("acme", "bea@example.org", bea.ID)
	h.must(h.RemoveUser(ctx, "acme", bea.ID))
	find("acme", "bea@example.org", "")
	again, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin, Email: "bea@example.org"})
	h.must(err)
	find("acme", "Bea@Example.org", again.ID)
	h.reopen()
	find("acme", "bea@example.org", again.ID)
}

// breakAcme leaves acme in a state that nobody knows.
func (h *house) breakAcme() {
	h.Helper()
	h.store.Next(storetest.Failed)
	h.store.FailViews(1)
	h.want(h.SetTrust(h.Context(), "acme", h.acme.agent.ID, 1), storetest.ErrInjected)
}
