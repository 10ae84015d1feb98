package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

// flavour is a way in which a store goes wrong, armed on the store that a world or a vault keeps things in.
type flavour struct {
	name string
	arm  func(in *injector, s *storetest.Faulty) context.Context
}

// persisted is the flavour that has written everything and says that it failed.
const persisted = "failed but persisted"

func flavours() (all []flavour) {
	script := func(fault storetest.Fault) func(*injector, *storetest.Faulty) context.Context {
		return func(in *injector, s *storetest.Faulty) context.Context { s.Next(fault); return in.arm(nil) }
	}
	all = append(all, flavour{"failed", script(storetest.Failed)}, flavour{persisted, script(storetest.Persisted)})
	for _, k := range kinds() {
		for _, point := range []string{"store update", "store update" + afterwards} {
			if k.name == zeroKind && point != "store update" {
				continue
			}
			all = append(all, flavour{point + ": " + k.name, func(in *injector, _ *storetest.Faulty) context.Context {
				return in.arm(&fault{point: point, strike: k.strike})
			}})
		}
	}
	return all
}

// storeFaults break what administrators and agents change in the store. Whatever came of the change, calls go on or are
// refused, and none goes unrecorded.
func storeFaults(_ context.Context, w *world) (all []*fault, err error) {
	for _, act := range w.acts() {
		for _, flavour := range flavours() {
			f := &fault{point: act.name, kind: flavour.name}
			f.before = func(w *world) error { return w.broken(f, flavour, act.do) }
			f.after = func(w *world) error { return w.people.Heal(context.Background()) }
			all = append(all, f)
		}
	}
	for _, flavour := range flavours() {
		all = append(all, w.revocation(flavour))
	}
	return all, nil
}

// broken does something while the store is broken. What it says of it is not to be relied on.
func (w *world) broken(f *fault, how flavour, act func(context.Context) error) error {
	commits := w.store.Commits()
	ctx := how.arm(w.in, w.store)
	_ = attempt(func() error { return act(ctx) })
	f.struck = w.in.disarm() || w.store.Commits() > commits
	w.store.Next()
	return nil
}

// attempt takes a panic for an error: the control port does too.
func attempt(act func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return act()
}

type act struct {
	name string
	do   func(context.Context) error
}

// acts are what changes the store.
func (w *world) acts() []act {
	n := 0
	name := func() string { n++; return fmt.Sprintf("x-%d", n) }
	return []act{
		{"create key", func(ctx context.Context) error {
			_, _, err := w.people.CreateKey(ctx, tenant, identity.NewKey{Kind: identity.Runtime, Agent: w.seeded.Agent.ID, Name: name(), Mode: identity.Test})
			return err
		}},
		{"create agent", func(ctx context.Context) error {
			_, err := w.people.CreateAgent(ctx, tenant, identity.NewAgent{Name: name(), Owner: w.seeded.User.ID})
			return err
		}},
		{"capture plan", func(ctx context.Context) error {
			_, err := w.plans.Capture(ctx, w.owner(), []byte(draft))
			return err
		}},
		{"issue token", func(ctx context.Context) error {
			_, err := w.plans.Token(ctx, w.owner(), w.planID, plans.TokenOptions{})
			return err
		}},
		{"add server", func(ctx context.Context) error {
			return w.tools.AddServer(ctx, tenant, catalogue.Server{Tenant: tenant, Name: name(), URL: "https://example.com/mcp", Era: "auto", Enabled: true})
		}},
		{"put secret", func(ctx context.Context) error { return w.vault.Load().Put(ctx, tenant, credential, []byte(secret)) }},
	}
}

var errSurvived = errors.New("a key whose revocation is in the store still opens")

// revocation breaks the revocation of a key, and calls with it. A key whose revocation reached the store must not open
// any more, whatever the administrator was told; where the store said nothing, it does not count.
func (w *world) revocation(how flavour) *fault {
	f := &fault{point: "revoke key", kind: how.name, call: ownList}
	var spare identity.Key
	f.before = func(w *world) (err error) {
		spare, f.key, err = w.people.CreateKey(context.Background(), tenant, identity.NewKey{Kind: identity.Runtime, Agent: w.seeded.Agent.ID, Name: "spare", Mode: identity.Test})
		if err != nil {
			return err
		}
		return w.broken(f, how, func(ctx context.Context) error { return w.people.RevokeKey(ctx, tenant, spare.ID) })
	}
	f.after = func(w *world) error {
		if err := w.people.Heal(context.Background()); err != nil {
			return err
		}
		_, err := w.people.Authenticate([]byte(f.key), w.now())
		kept, second := w.people.Key(context.Background(), tenant, spare.ID)
		if how.name == persisted && err == nil || second == nil && !kept.Ended.IsZero() && err == nil {
			return errSurvived
		}
		return second
	}
	return f
}

// vaultFaults break the store below the vault at the moment when a call needs the key to seal under, or the server's
// credential. Without either nothing may go out.
func vaultFaults(_ context.Context, w *world) (all []*fault, err error) {
	add := func(f *fault, arm func(*vaulted) error) {
		f.before = func(w *world) error {
			v, err := w.newVault(nil)
			if err == nil {
				w.vault.Store(v.Vault)
				err = arm(v)
			}
			return err
		}
		good := w.vault.Load()
		f.after = func(w *world) error { w.vault.Store(good); return nil }
		all = append(all, f)
	}
	for _, at := range []struct {
		point string
		skip  int
	}{
		{"store view", 0}, {"store view", 1}, {"store view" + afterwards, 0}, // for the subject's key; for the credential
		{"store update", 0}, {"store update", 1}, {"store update" + afterwards, 0}, {"store update" + afterwards, 1},
	} {
		list := kinds()
		if strings.HasSuffix(at.point, afterwards) {
			list = withoutZero(list)
		}
		expect := func(f *fault) {
			enrolls := f.kind == zeroKind && at.point == "store update" && at.skip == 0 // that list serves rotation alone
			f.refuse, f.skip = f.kind != lateKind && !enrolls, at.skip
		}
		for _, f := range each(list, at.point, expect) {
			add(f, func(*vaulted) error { return nil })
		}
	}
	for _, d := range damages() {
		f := &fault{point: "vault", kind: d.name, refuse: true, struck: true}
		add(f, d.do)
	}
	f := &fault{point: "vault", kind: "no randomness", refuse: true, struck: true}
	add(f, func(*vaulted) error {
		random := &dryReader{}
		v, err := w.newVault(random)
		if err == nil {
			w.vault.Store(v.Vault)
		}
		random.dry = true
		return err
	})
	return all, nil
}

// dryReader is randomness that ends.
type dryReader struct{ dry bool }

func (d *dryReader) Read(b []byte) (int, error) {
	if d.dry {
		return 0, errInjected
	}
	return rand.Read(b)
}

// vaulted is a vault over a store of its own.
type vaulted struct {
	*vault.Vault
	memory *storetest.Memory
	faulty *storetest.Faulty
}

func (w *world) newVault(random io.Reader) (*vaulted, error) {
	if random == nil {
		random = rand.Reader
	}
	memory := storetest.NewMemory()
	s := storetest.NewFaulty(storeSeam{memory, w.in})
	v, err := vault.Open(context.Background(), s, make([]byte, 32), random)
	if err != nil {
		return nil, err
	}
	return &vaulted{v, memory, s}, v.Put(context.Background(), tenant, credential, []byte(secret))
}

type damage struct {
	name string
	do   func(*vaulted) error
}

// damages are ways in which a vault's store is not what it was.
func damages() []damage {
	const table = "vault_secrets"
	ctx := context.Background()
	change := func(v *vaulted, fn func(tx store.Txn) error) error { return v.memory.Update(ctx, tenant, fn) }
	return []damage{
		{"store closed", func(v *vaulted) error { return v.memory.Close() }},
		{"views fail", func(v *vaulted) error { v.faulty.FailViews(10); return nil }},
		{"failed", func(v *vaulted) error { v.faulty.Next(storetest.Failed, storetest.Failed); return nil }},
		{persisted, func(v *vaulted) error { v.faulty.Next(storetest.Persisted, storetest.Persisted); return nil }},
		{"credential deleted", func(v *vaulted) error { return v.Delete(ctx, tenant, credential) }},
		{"credential damaged", func(v *vaulted) error {
			return change(v, func(tx store.Txn) error {
				_, err := tx.Put(table, credential, []byte("\x00\x01{}"), store.AnyVersion)
				return err
			})
		}},
		{"credential of another name", func(v *vaulted) error {
			if err := v.Put(ctx, tenant, "other", []byte("x")); err != nil {
				return err
			}
			return change(v, func(tx store.Txn) error {
				row, err := tx.Get(table, "other")
				if err == nil {
					_, err = tx.Put(table, credential, row.Data, store.AnyVersion)
				}
				return err
			})
		}},
	}
}
