package identity_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

var (
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pepper = []byte("an pepper of exactly 32 bytes...")
)

// house is a directory with the organisations acme and other, each with an admin, an agent and a key of each kind.
type house struct {
	testing.TB
	*identity.Directory
	store *storetest.Faulty
	now   time.Time
	acme  org
	other org
}

type org struct {
	tenant           string
	admin            identity.User
	agent            identity.Agent
	adminKey, runKey identity.Key
	adminText, text  string
}

func build(t testing.TB) *house {
	t.Helper()
	h := &house{TB: t, store: storetest.NewFaulty(storetest.NewMemory()), now: start}
	h.reopen()
	h.acme, h.other = h.org("acme"), h.org("other")
	return h
}

// reopen reads everything from the store again, as a restart does.
func (h *house) reopen() {
	h.Helper()
	d, err := identity.Open(h.Context(), identity.DefaultConfig(), h.store, pepper, func() time.Time { return h.now }, rand.Reader)
	h.must(err)
	h.Directory = d
}

func (h *house) org(tenant string) (o org) {
	h.Helper()
	_, err := h.CreateOrg(h.Context(), tenant, "The "+tenant+" people")
	h.must(err)
	o.tenant = tenant
	o.admin, err = h.CreateUser(h.Context(), tenant, identity.NewUser{Name: "Ada", Role: identity.RoleAdmin, Email: "ada@example.org"})
	h.must(err)
	o.agent, err = h.CreateAgent(h.Context(), tenant, identity.NewAgent{Name: "Bot", Owner: o.admin.ID, Teams: []string{"ops", "dev"}})
	h.must(err)
	o.runKey, o.text, err = h.CreateKey(h.Context(), tenant, identity.NewKey{Kind: identity.Runtime, Agent: o.agent.ID, Name: "first", Mode: identity.Test})
	h.must(err)
	o.adminKey, o.adminText, err = h.CreateKey(h.Context(), tenant, identity.NewKey{Kind: identity.Admin, User: o.admin.ID, Name: "first"})
	h.must(err)
	return o
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) want(err, target error) {
	h.Helper()
	if !errors.Is(err, target) {
		h.Fatalf("got error %v, want %v", err, target)
	}
}

// refused asks that the key is refused for this reason.
func (h *house) refused(key string, reason identity.Reason) {
	h.Helper()
	c, err := h.Authenticate([]byte(key), h.now)
	if !errors.Is(err, identity.ErrUnauthenticated) || identity.ReasonOf(err) != reason {
		h.Fatalf("got %v, want %s", err, reason)
	}
	if c.Valid() {
		h.Fatal("a refused key has a caller")
	}
}

func (h *house) accepted(key string) identity.Caller {
	h.Helper()
	c, err := h.Authenticate([]byte(key), h.now)
	h.must(err)
	if !c.Valid() {
		h.Fatal("an accepted key has no caller")
	}
	return c
}

func TestHostileKeysAreRefused(t *testing.T) {
	h := build(t)
	good := h.acme.text
	swapped := strings.Replace(good, "ak_test_", "ak_live_", 1)
	mixed := h.acme.text[:35] + h.other.text[35:]
	for key, reason := range map[string]identity.Reason{
		"": identity.KeyMalformed, "ak_test_": identity.KeyMalformed, good[:len(good)-1]: identity.KeyMalformed, good + "0": identity.KeyMalformed,
		" " + good[1:]: identity.KeyMalformed, strings.ToUpper(good): identity.KeyMalformed, "ak_prod_" + good[8:]: identity.KeyMalformed,
		good[:34] + "-" + good[35:]:                    identity.KeyMalformed,
		good[:len(good)-1] + "\x00":                    identity.KeyMalformed,
		good[:len(good)-1] + "_":                       identity.KeyMalformed,
		good[:33] + "I" + good[34:]:                    identity.KeyMalformed, // Crockford's look-alike of 1 is no other spelling
		strings.Repeat("a", 1<<20):                     identity.KeyMalformed,
		swapped:                                        identity.KeyWrong,
		mixed:                                          identity.KeyWrong,
		good[:35] + strings.Repeat("0", 43):            identity.KeyWrong,
		good[:8] + strings.Repeat("0", 26) + good[34:]: identity.KeyUnknown,
	} {
		h.refused(key, reason)
	}
	h.accepted(good)
}

func TestTheZeroCallerIsNobody(t *testing.T) {
	var c identity.Caller
	if c.Valid() || c.Tenant()+c.User()+c.Agent()+c.KeyID()+string(c.Kind())+string(c.Role())+string(c.Mode()) != "" ||
		c.Thumbprint() != "" || c.Principal() != nil || c.Teams() != nil || c.Trust() != 0 || !c.Snapshot().IsZero() || c.Entity() != nil {
		t.Fatal("the zero caller is somebody")
	}
}

func TestARevokedKeyIsRefusedBeforeTheCallReturns(t *testing.T) {
	h := build(t)
	h.must(h.RevokeKey(t.Context(), "acme", h.acme.runKey.ID))
	h.refused(h.acme.text, identity.KeyRevoked)
	h.accepted(h.acme.adminText)
	h.accepted(h.other.text)
	h.must(h.RevokeKey(t.Context(), "acme", h.acme.runKey.ID))
	h.reopen()
	h.refused(h.acme.text, identity.KeyRevoked)
}

func TestASuspendedHolderIsRefused(t *testing.T) {
	h, ctx := build(t), t.Context()
	second, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin})
	h.must(err)
	_, secondText, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Admin, User: second.ID, Name: "k"})
	h.must(err)

	h.must(h.SetAgentStatus(ctx, "acme", h.acme.agent.ID, identity.Suspended))
	h.refused(h.acme.text, identity.AgentInactive)
	h.must(h.SetAgentStatus(ctx, "acme", h.acme.agent.ID, identity.Active))
	h.accepted(h.acme.text)

	h.must(h.SetUserStatus(ctx, "acme", h.acme.admin.ID, identity.Suspended))
	h.refused(h.acme.adminText, identity.UserInactive)
	h.refused(h.acme.text, identity.OwnerInactive)
	h.accepted(secondText)
	h.must(h.SetAgentOwner(ctx, "acme", h.acme.agent.ID, second.ID))
	if c := h.accepted(h.acme.text); c.User() != second.ID {
		t.Fatalf("the agent answers to %s", c.User())
	}
	h.must(h.SetUserStatus(ctx, "acme", h.acme.admin.ID, identity.Active))
	h.accepted(h.acme.adminText)

	h.must(h.SuspendOrg(ctx, "acme"))
	for _, key := range []string{h.acme.text, h.acme.adminText, secondText} {
		h.refused(key, identity.OrgInactive)
	}
	h.accepted(h.other.text)
	h.reopen()
	h.refused(h.acme.text, identity.OrgInactive)
	h.must(h.SetOrgStatus(ctx, "acme", identity.Active))
	h.accepted(h.acme.text)

	h.must(h.RemoveUser(ctx, "acme", second.ID))
	h.refused(secondText, identity.UserInactive)
	h.refused(h.acme.text, identity.OwnerInactive)
	h.must(h.RemoveUser(ctx, "acme", second.ID))
	h.want(h.SetUserStatus(ctx, "acme", second.ID, identity.Active), identity.ErrFinal)
	h.want(h.SetRole(ctx, "acme", second.ID, identity.RoleAdmin), identity.ErrFinal)
}

func TestARevokedAgentIsRefusedForGood(t *testing.T) {
	h, ctx := build(t), t.Context()
	id := h.acme.agent.ID
	h.must(h.SetAgentStatus(ctx, "acme", id, identity.Revoked))
	h.refused(h.acme.text, identity.AgentInactive)
	h.must(h.SetAgentStatus(ctx, "acme", id, identity.Revoked))
	h.want(h.SetAgentStatus(ctx, "acme", id, identity.Active), identity.ErrFinal)
	h.want(h.SetTrust(ctx, "acme", id, 1), identity.ErrFinal)
	_, _, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: id, Name: "late"})
	h.want(err, identity.ErrFinal)
	h.reopen()
	h.refused(h.acme.text, identity.AgentInactive)
}

func TestAPendingAgentIsRefused(t *testing.T) {
	h, ctx := build(t), t.Context()
	a, err := h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "New", Owner: h.acme.admin.ID, Status: identity.Pending})
	h.must(err)
	_, text, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: a.ID, Name: "k"})
	h.must(err)
	h.refused(text, identity.AgentInactive)
	h.must(h.SetAgentStatus(ctx, "acme", a.ID, identity.Active))
	h.accepted(text)
}

func TestAnExpiredKeyIsRefused(t *testing.T) {
	h, ctx := build(t), t.Context()
	asked := identity.NewKey{Kind: identity.Runtime, Agent: h.acme.agent.ID, Name: "k", Expires: start.Add(time.Hour)}
	key, text, err := h.CreateKey(ctx, "acme", asked)
	h.must(err)
	h.now = key.Expires.Add(-time.Nanosecond)
	h.accepted(text)
	h.now = key.Expires
	h.refused(text, identity.KeyExpired)
	h.reopen()
	h.refused(text, identity.KeyExpired)
	for _, at := range []time.Time{h.now, h.now.Add(-time.Second), h.now.AddDate(11, 0, 0)} {
		asked.Expires = at
		_, _, err := h.CreateKey(ctx, "acme", asked)
		h.want(err, identity.ErrInvalid)
	}
}

func TestAnotherTenantsIDsAreNotFound(t *testing.T) {
	h, ctx := build(t), t.Context()
	theirs := h.other
	unknown := map[string]string{}
	probe := func(what string, of func(agent, user, key string) error) {
		t.Helper()
		wrong, absent := of(theirs.agent.ID, theirs.admin.ID, theirs.runKey.ID), of("agt_x", "usr_x", "key_x")
		h.want(wrong, identity.ErrNotFound)
		h.want(absent, identity.ErrNotFound)
		if wrong.Error() != absent.Error() {
			t.Errorf("%s: %q differs from %q", what, wrong, absent)
		}
		unknown[what] = wrong.Error()
	}
	probe("agent", func(a, _, _ string) error { _, err := h.Agent(ctx, "acme", a); return err })
	probe("user", func(_, u, _ string) error { _, err := h.User(ctx, "acme", u); return err })
	probe("key", func(_, _, k string) error { _, err := h.Key(ctx, "acme", k); return err })
	probe("revoke key", func(_, _, k string) error { return h.RevokeKey(ctx, "acme", k) })
	probe("status", func(a, _, _ string) error { return h.SetAgentStatus(ctx, "acme", a, identity.Revoked) })
	probe("trust", func(a, _, _ string) error { return h.SetTrust(ctx, "acme", a, 1) })
	probe("rotate", func(a, _, _ string) error { return h.RotateAgentKey(ctx, "acme", a, publicKey(t)) })
	probe("role", func(_, u, _ string) error { return h.SetRole(ctx, "acme", u, identity.RoleViewer) })
	probe("remove", func(_, u, _ string) error { return h.RemoveUser(ctx, "acme", u) })
	probe("runtime key", func(a, _, _ string) error {
		_, _, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: a, Name: "k"})
		return err
	})
	probe("admin key", func(_, u, _ string) error {
		_, _, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Admin, User: u, Name: "k"})
		return err
	})
	_, err := h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "x", Owner: theirs.admin.ID})
	h.want(err, identity.ErrInvalid)
	_, err = h.Agents(ctx, "absent")
	h.want(err, identity.ErrNotFound)
	_, err = h.Users(ctx, "")
	h.want(err, identity.ErrNotFound)
	h.accepted(theirs.text)
	orgs, err := h.Orgs(ctx, "acme")
	h.must(err)
	if len(orgs) != 1 || orgs[0].Tenant != "acme" {
		t.Fatalf("acme sees %v", orgs)
	}
}

func publicKey(t *testing.T) ed25519.PublicKey {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func TestTheLastAdminStays(t *testing.T) {
	h, ctx := build(t), t.Context()
	id := h.acme.admin.ID
	h.want(h.RemoveUser(ctx, "acme", id), identity.ErrLastAdmin)
	h.want(h.SetRole(ctx, "acme", id, identity.RoleManager), identity.ErrLastAdmin)
	h.want(h.SetUserStatus(ctx, "acme", id, identity.Suspended), identity.ErrLastAdmin)
	second, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin})
	h.must(err)
	h.must(h.SetUserStatus(ctx, "acme", second.ID, identity.Suspended))
	h.want(h.RemoveUser(ctx, "acme", id), identity.ErrLastAdmin) // a suspended admin cannot help
	h.must(h.SetUserStatus(ctx, "acme", second.ID, identity.Active))
	h.must(h.SetRole(ctx, "acme", id, identity.RoleViewer))
	h.want(h.RemoveUser(ctx, "acme", second.ID), identity.ErrLastAdmin)
	if c := h.accepted(h.acme.adminText); c.Role() != identity.RoleViewer {
		t.Fatalf("the key still has the role %s", c.Role())
	}
}

func TestLastAdminsRacingAwayLeaveOne(t *testing.T) {
	h, ctx := build(t), t.Context()
	second, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin})
	h.must(err)
	done := make(chan error, 2)
	for _, id := range []string{h.acme.admin.ID, second.ID} {
		go func() { done <- h.RemoveUser(ctx, "acme", id) }()
	}
	if a, b := <-done, <-done; (a == nil) == (b == nil) {
		t.Fatalf("got %v and %v, want one refusal", a, b)
	}
}

func TestStoredKeysHoldNoSecret(t *testing.T) {
	h := build(t)
	h.must(h.store.View(t.Context(), "acme", func(tx store.Txn) error {
		return tx.Scan("keys", "", func(_ string, v store.Value) error {
			for _, text := range []string{h.acme.text, h.acme.adminText} {
				if strings.Contains(string(v.Data), text[35:]) {
					t.Error("a key's secret is stored")
				}
			}
			return nil
		})
	}))
}
