package identity_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
)

func TestRevocationsOutliveARestartOnDisk(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	open := func() (*badger.Store, *house) {
		s, err := badger.Open(badger.Options{Dir: dir, Key: pepper})
		h := &house{TB: t, now: start}
		h.must(err)
		h.Directory, err = identity.Open(ctx, identity.DefaultConfig(), s, pepper, func() time.Time { return start }, rand.Reader)
		h.must(err)
		return s, h
	}
	s, h := open()
	root, err := h.Bootstrap(ctx, store.Instance, identity.Seed{OrgName: "Gateway", Admin: "Operator"})
	h.must(err)
	o := h.org("acme")
	h.must(h.RevokeKey(ctx, "acme", o.runKey.ID))
	h.must(s.Close())
	s, h = open()
	h.accepted(root.AdminKey)
	h.accepted(o.adminText)
	h.refused(o.text, identity.KeyRevoked)
	h.must(s.Close())
	h.want(h.RevokeKey(ctx, "acme", o.adminKey.ID), store.ErrClosed)
	h.refused(o.adminText, identity.StateUncertain) // nobody can tell any more what is in force
}
