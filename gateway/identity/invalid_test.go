package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestInvalidEntriesAreRefused(t *testing.T) {
	h, ctx := build(t), t.Context()
	owner, many := h.acme.admin.ID, make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprint("w", i)
	}
	user := func(n identity.NewUser) error { _, err := h.CreateUser(ctx, "acme", n); return err }
	agent := func(n identity.NewAgent) error { _, err := h.CreateAgent(ctx, "acme", n); return err }
	key := func(n identity.NewKey) error { _, _, err := h.CreateKey(ctx, "acme", n); return err }
	organisation := func(tenant, name string) error { _, err := h.CreateOrg(ctx, tenant, name); return err }
	for i, err := range []error{
		user(identity.NewUser{Role: identity.RoleViewer}),
		user(identity.NewUser{Name: "x"}),
		user(identity.NewUser{Name: "x", Role: "admin"}),
		user(identity.NewUser{Name: " x", Role: identity.RoleViewer}),
		user(identity.NewUser{Name: "a\u202eb", Role: identity.RoleViewer}),
		user(identity.NewUser{Name: "a\nb", Role: identity.RoleViewer}),
		user(identity.NewUser{Name: "a\xff", Role: identity.RoleViewer}),
		user(identity.NewUser{Name: strings.Repeat("x", 129), Role: identity.RoleViewer}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Email: "x"}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Email: "X <x@example.org>"}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Email: strings.Repeat("x", 250) + "@e.org"}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Teams: []string{"a", "a"}}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Teams: []string{"A"}}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Teams: []string{""}}),
		user(identity.NewUser{Name: "x", Role: identity.RoleViewer, Teams: many[:33]}),
		agent(identity.NewAgent{Name: "x"}),
		agent(identity.NewAgent{Owner: owner}),
		agent(identity.NewAgent{Name: "x", Owner: owner, Status: identity.Revoked}),
		agent(identity.NewAgent{Name: "x", Owner: owner, Labels: many[:33]}),
		agent(identity.NewAgent{Name: "x", Owner: owner, TalksTo: many}),
		agent(identity.NewAgent{Name: "x", Owner: owner, TalksTo: []string{"-a"}}),
		agent(identity.NewAgent{Name: "x", Owner: owner, PublicKey: []byte{}}),
		key(identity.NewKey{Name: "x"}),
		key(identity.NewKey{Name: "x", Kind: "root", User: owner}),
		key(identity.NewKey{Name: "x", Kind: identity.Runtime, User: owner}),
		key(identity.NewKey{Name: "x", Kind: identity.Admin, Agent: h.acme.agent.ID}),
		key(identity.NewKey{Name: "x", Kind: identity.Admin, User: owner, Agent: h.acme.agent.ID}),
		key(identity.NewKey{Kind: identity.Admin, User: owner}),
		key(identity.NewKey{Name: "x", Kind: identity.Admin, User: owner, Mode: "prod"}),
		organisation("_instance", "x"), organisation("", "x"), organisation("A", "x"), organisation("a/b", "x"), organisation("ok", ""),
		h.SetOrgStatus(ctx, "acme", identity.Revoked),
		h.SetOrgStatus(ctx, "_instance", identity.Suspended),
		h.SetAgentStatus(ctx, "acme", h.acme.agent.ID, identity.Pending),
		h.SetTrust(ctx, "acme", h.acme.agent.ID, 1001),
		h.SetTrust(ctx, "acme", h.acme.agent.ID, -1),
		h.SetAgentOwner(ctx, "acme", h.acme.agent.ID, "usr_x"),
	} {
		if err == nil {
			t.Errorf("case %d was accepted", i)
			continue
		}
		h.want(err, identity.ErrInvalid)
	}
}

func TestDuplicatesAreRefused(t *testing.T) {
	h, ctx := build(t), t.Context()
	_, err := h.CreateOrg(ctx, "acme", "again")
	h.want(err, identity.ErrExists)
	_, err = h.CreateUser(ctx, "acme", identity.NewUser{Name: "x", Role: identity.RoleViewer, Email: "ada@example.org"})
	h.want(err, identity.ErrExists)
	_, err = h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "Bot", Owner: h.acme.admin.ID})
	h.want(err, identity.ErrExists)

	first, second := publicKey(t), publicKey(t)
	one, err := h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "one", Owner: h.acme.admin.ID, PublicKey: first})
	h.must(err)
	_, err = h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "two", Owner: h.acme.admin.ID, PublicKey: first})
	h.want(err, identity.ErrExists)
	two, err := h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "two", Owner: h.acme.admin.ID, PublicKey: second})
	h.must(err)
	h.want(h.RotateAgentKey(ctx, "acme", two.ID, first), identity.ErrExists)
	h.must(h.SetAgentStatus(ctx, "acme", one.ID, identity.Revoked))
	h.want(h.RotateAgentKey(ctx, "acme", two.ID, first), identity.ErrExists)
	h.must(h.RotateAgentKey(ctx, "acme", two.ID, publicKey(t)))
	_, err = h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "one", Owner: h.acme.admin.ID}) // a revoked agent's name is free
	h.must(err)
	_, err = h.CreateAgent(ctx, "other", identity.NewAgent{Name: "theirs", Owner: h.other.admin.ID, PublicKey: first})
	h.must(err) // one tenant cannot probe another's keys
}

// The eight points of small order with their other spellings, from RFC 8032's curve, and what else is no public key.
func TestWeakPublicKeysAreRefused(t *testing.T) {
	h, ctx := build(t), t.Context()
	weak := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0200000000000000000000000000000000000000000000000000000000000000", // off the curve
		"00", hex.EncodeToString(make([]byte, 33)),
	}
	for _, text := range weak {
		raw, err := hex.DecodeString(text)
		h.must(err)
		h.want(h.RotateAgentKey(ctx, "acme", h.acme.agent.ID, raw), identity.ErrInvalid)
	}
	for range 20 {
		h.must(h.RotateAgentKey(ctx, "acme", h.acme.agent.ID, publicKey(t)))
	}
	// The key of RFC 8032, 7.1, test 1.
	rfc, _ := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	h.must(h.RotateAgentKey(ctx, "acme", h.acme.agent.ID, rfc))
	a, err := h.Agent(ctx, "acme", h.acme.agent.ID)
	h.must(err)
	if !a.PublicKey.Equal(ed25519.PublicKey(rfc)) {
		t.Fatal("the key was not kept")
	}
}

func TestLimitsHold(t *testing.T) {
	ctx := t.Context()
	c := identity.Config{MaxOrganisations: 1, MaxUsers: 2, MaxAgents: 1, MaxKeys: 2, KeyTTL: time.Hour}
	now := start
	d, err := identity.Open(ctx, c, storetest.NewMemory(), pepper, func() time.Time { return now }, rand.Reader)
	h := &house{TB: t, Directory: d, now: start}
	h.must(err)
	o := h.org("acme")
	_, err = h.CreateOrg(ctx, "more", "x")
	h.want(err, identity.ErrLimit)
	_, err = h.CreateUser(ctx, "acme", identity.NewUser{Name: "x", Role: identity.RoleViewer})
	h.must(err)
	_, err = h.CreateUser(ctx, "acme", identity.NewUser{Name: "y", Role: identity.RoleViewer})
	h.want(err, identity.ErrLimit)
	_, err = h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "x", Owner: o.admin.ID})
	h.want(err, identity.ErrLimit)
	another := identity.NewKey{Kind: identity.Admin, User: o.admin.ID, Name: "x"}
	_, _, err = h.CreateKey(ctx, "acme", another)
	h.want(err, identity.ErrLimit)
	if !o.runKey.Expires.Equal(start.Add(time.Hour)) {
		t.Fatalf("the default lifetime gave %v", o.runKey.Expires)
	}
	h.must(h.RevokeKey(ctx, "acme", o.runKey.ID))
	_, _, err = h.CreateKey(ctx, "acme", another)
	h.must(err)
	now = now.Add(time.Hour) // both live keys expire, and make room
	_, _, err = h.CreateKey(ctx, "acme", another)
	h.must(err)
	_, err = h.Bootstrap(ctx, store.Instance, identity.Seed{OrgName: "Gateway", Admin: "Root"})
	h.must(err) // the gateway's own organisation is not counted
}

func TestRevokedKeysArePushedOut(t *testing.T) {
	h, ctx := build(t), t.Context()
	var oldest string
	for i := range 1002 {
		h.now = h.now.Add(time.Second)
		k, text, err := h.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: h.acme.agent.ID, Name: "k"})
		h.must(err)
		h.must(h.RevokeKey(ctx, "acme", k.ID))
		if i == 0 {
			oldest = text
		}
	}
	h.refused(oldest, identity.KeyUnknown)
	keys, err := h.Keys(ctx, "acme")
	h.must(err)
	if len(keys) > 1004 {
		t.Fatalf("%d keys are kept", len(keys))
	}
	h.reopen()
	h.refused(oldest, identity.KeyUnknown)
	h.accepted(h.acme.text)
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	ctx, now := t.Context(), func() time.Time { return start }
	h := build(t)
	for _, p := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		_, err := identity.Open(ctx, identity.DefaultConfig(), h.store, p, now, rand.Reader)
		h.want(err, identity.ErrInvalid)
	}
	_, err := identity.Open(ctx, identity.Config{}, h.store, pepper, now, rand.Reader)
	h.want(err, identity.ErrInvalid)
	_, err = identity.Open(ctx, identity.DefaultConfig(), h.store, bytes.Repeat([]byte{1}, 32), now, rand.Reader)
	h.want(err, identity.ErrPepper)
	h.store.FailViews(1)
	_, err = identity.Open(ctx, identity.DefaultConfig(), h.store, pepper, now, rand.Reader)
	h.want(err, storetest.ErrInjected)
	h.must(h.store.Update(ctx, "acme", func(tx store.Txn) error {
		_, err := tx.Put("keys", "key_damaged", []byte("\x00\x01{"), 0)
		return err
	}))
	if _, err = identity.Open(ctx, identity.DefaultConfig(), h.store, pepper, now, rand.Reader); err == nil {
		t.Fatal("a damaged row was passed over")
	}
}

func TestBrokenRandomnessMakesNoKey(t *testing.T) {
	h, ctx := build(t), t.Context()
	for _, source := range []io.Reader{iotest.ErrReader(fmt.Errorf("dry")), &ones{}} {
		d, err := identity.Open(ctx, identity.DefaultConfig(), h.store, pepper, func() time.Time { return start }, source)
		h.must(err)
		if _, text, err := d.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: h.acme.agent.ID, Name: "k"}); err == nil || text != "" {
			t.Fatalf("a key was made: %v", err)
		}
	}
}

// ones never gives a byte that a secret could use.
type ones struct{}

func (*ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestReturnedListsAreCopies(t *testing.T) {
	h, ctx := build(t), t.Context()
	a, err := h.Agent(ctx, "acme", h.acme.agent.ID)
	h.must(err)
	a.Teams[0] = "changed"
	all, err := h.Agents(ctx, "acme")
	h.must(err)
	all[0].Teams[0] = "changed"
	if teams := h.accepted(h.acme.text).Teams(); !slices.Equal(teams, []string{"dev", "ops"}) {
		t.Fatalf("the snapshot was changed from outside: %v", teams)
	}
}
