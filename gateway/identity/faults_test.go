package identity_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestAFailedRevocationIsToldAndChangesNothing(t *testing.T) {
	h := build(t)
	h.store.Next(storetest.Failed)
	h.want(h.RevokeKey(t.Context(), "acme", h.acme.runKey.ID), storetest.ErrInjected)
	h.accepted(h.acme.text)
	h.must(h.RevokeKey(t.Context(), "acme", h.acme.runKey.ID))
	h.refused(h.acme.text, identity.KeyRevoked)
}

// The disk has the revocation, the caller was told that it failed: from that moment on it must hold, not from the next
// start on.
func TestAPersistedRevocationHoldsAtOnce(t *testing.T) {
	for name, revoke := range map[string]func(*house) error{
		"key":   func(h *house) error { return h.RevokeKey(h.Context(), "acme", h.acme.runKey.ID) },
		"agent": func(h *house) error { return h.SetAgentStatus(h.Context(), "acme", h.acme.agent.ID, identity.Revoked) },
		"org":   func(h *house) error { return h.SuspendOrg(h.Context(), "acme") },
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			h.store.Next(storetest.Persisted)
			h.want(revoke(h), storetest.ErrInjected)
			if _, err := h.Authenticate([]byte(h.acme.text), h.now); err == nil {
				t.Fatal("the key still works")
			}
			h.must(revoke(h))
		})
	}
}

func TestAnUncertainTenantIsRefusedUntilHealed(t *testing.T) {
	for _, flavour := range []storetest.Fault{storetest.Failed, storetest.Persisted} {
		h := build(t)
		h.store.Next(flavour)
		h.store.FailViews(2) // reading back fails, and the first attempt to heal too
		h.want(h.RevokeKey(t.Context(), "acme", h.acme.runKey.ID), storetest.ErrInjected)
		h.refused(h.acme.text, identity.StateUncertain)
		h.refused(h.acme.adminText, identity.StateUncertain)
		h.accepted(h.other.text)
		if n := h.Stats().Uncertain; n != 1 {
			t.Fatalf("%d tenants are uncertain", n)
		}
		h.want(h.Heal(t.Context()), storetest.ErrInjected)
		h.refused(h.acme.adminText, identity.StateUncertain)
		h.must(h.Heal(t.Context()))
		h.accepted(h.acme.adminText)
		if flavour == storetest.Failed {
			h.accepted(h.acme.text)
		} else {
			h.refused(h.acme.text, identity.KeyRevoked)
		}
	}
}

func TestACancelledChangeIsNoChange(t *testing.T) {
	h := build(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.want(h.RevokeKey(ctx, "acme", h.acme.runKey.ID), context.Canceled)
	h.accepted(h.acme.text)
	_, err := h.CreateOrg(ctx, "late", "Late")
	h.want(err, context.Canceled)
	_, err = h.Org(t.Context(), "late")
	h.want(err, identity.ErrNotFound)
}

func TestAPersistedOrganisationIsThere(t *testing.T) {
	h := build(t)
	h.store.Next(storetest.Persisted)
	_, err := h.CreateOrg(t.Context(), "late", "Late")
	h.want(err, storetest.ErrInjected)
	_, err = h.CreateOrg(t.Context(), "late", "Late")
	h.want(err, identity.ErrExists)
	_, err = h.CreateUser(t.Context(), "late", identity.NewUser{Name: "x", Role: identity.RoleAdmin})
	h.must(err)
}

// Whatever fails in whatever flavour, memory must say what a restart would say.
func TestMemoryEqualsTheStoreUnderFaults(t *testing.T) {
	h, ctx, dice := build(t), t.Context(), rand.New(rand.NewPCG(1, 2))
	texts := []string{h.acme.text, h.acme.adminText}
	h.store.Choose(func(int) storetest.Fault { return storetest.Fault(dice.IntN(3)) })
	for range 300 {
		var err error
		switch agents, _ := h.Agents(ctx, "acme"); dice.IntN(6) {
		case 0:
			_, err = h.CreateAgent(ctx, "acme", identity.NewAgent{Name: string(rune('a' + dice.IntN(26))), Owner: h.acme.admin.ID})
		case 1:
			var text string
			_, text, err = h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: agents[dice.IntN(len(agents))].ID, Name: "k"})
			if err == nil {
				texts = append(texts, text)
			}
		case 2:
			keys, _ := h.Keys(ctx, "acme")
			err = h.RevokeKey(ctx, "acme", keys[dice.IntN(len(keys))].ID)
		case 3:
			err = h.SetAgentStatus(ctx, "acme", agents[dice.IntN(len(agents))].ID, []identity.Status{identity.Active, identity.Suspended}[dice.IntN(2)])
		case 4:
			err = h.SetTrust(ctx, "acme", agents[dice.IntN(len(agents))].ID, dice.Int64N(1000))
		case 5:
			err = h.SetOrgStatus(ctx, "acme", []identity.Status{identity.Active, identity.Suspended}[dice.IntN(2)])
		}
		if err != nil && !errors.Is(err, storetest.ErrInjected) && !errors.Is(err, identity.ErrExists) {
			t.Fatal(err)
		}
	}
	h.store.Choose(nil)
	before := h.Directory
	h.reopen()
	for _, text := range texts {
		was, wasErr := before.Authenticate([]byte(text), h.now)
		is, isErr := h.Authenticate([]byte(text), h.now)
		if identity.ReasonOf(wasErr) != identity.ReasonOf(isErr) || was.Snapshot() != is.Snapshot() || was.User() != is.User() {
			t.Fatalf("memory said %v, the store says %v", wasErr, isErr)
		}
	}
}

func TestARevocationIsSeenByEveryLaterCallUnderLoad(t *testing.T) {
	h, ctx := build(t), t.Context()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := h.Authenticate([]byte(h.other.text), h.now); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 50 {
		k, text, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: h.acme.agent.ID, Name: "k"})
		h.must(err)
		h.accepted(text)
		h.must(h.RevokeKey(ctx, "acme", k.ID))
		h.refused(text, identity.KeyRevoked)
	}
	close(stop)
	wg.Wait()
}
