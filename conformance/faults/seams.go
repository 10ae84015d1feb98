package main

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Seams stand around the real parts. Each asks the injector before the real part, and where that makes a difference after
// it: a part that has done its work and then fails.

const afterwards = " (afterwards)"

// around runs a part that returns only an error between its two seams.
func (in *injector) around(ctx context.Context, point string, real func() error) error {
	if done, err := in.meet(ctx, point); done || err != nil {
		return err
	}
	if err := real(); err != nil {
		return err
	}
	_, err := in.meet(ctx, point+afterwards)
	return err
}

type stageSeam struct {
	pipeline.Stage
	in *injector
}

func (s stageSeam) Check(ctx context.Context, c *pipeline.Call) error {
	return s.in.around(ctx, s.Name(), func() error { return s.Stage.Check(ctx, c) })
}

type replierSeam struct {
	stageSeam
	replier pipeline.Replier
}

func (s replierSeam) CheckReply(ctx context.Context, c *pipeline.Call) error {
	return s.in.around(ctx, s.Name()+" on the way back", func() error { return s.replier.CheckReply(ctx, c) })
}

// sewn puts seams around a row of stages.
func sewn(in *injector, row ...pipeline.Stage) (out []pipeline.Stage) {
	for _, s := range row {
		seam := stageSeam{s, in}
		if r, ok := s.(pipeline.Replier); ok {
			out = append(out, replierSeam{seam, r})
		} else {
			out = append(out, seam)
		}
	}
	return out
}

type directorySeam struct {
	*identity.Directory
	in *injector
}

func (s directorySeam) Authenticate(key []byte, now time.Time) (identity.Caller, error) {
	if done, err := s.in.meet(s.in.now(), "directory"); done || err != nil {
		return identity.Caller{}, err
	}
	return s.Directory.Authenticate(key, now)
}

type plansSeam struct{ w *world }

func (s plansSeam) Held(tenant string, root merkle.Hash) (*intent.Held, string, bool) {
	if done, err := s.w.in.meet(s.w.in.now(), "plans"); done || err != nil {
		return nil, "", false
	}
	held, state, ok := s.w.plans.Held(tenant, root)
	return held, string(state), ok
}

func (s plansSeam) used(plan merkle.Hash, step int32) uint32 {
	if done, err := s.w.in.meet(s.w.in.now(), "uses"); done || err != nil {
		return 0
	}
	return s.w.book.log.Load().Used(plan, step)
}

func (s plansSeam) done(plan merkle.Hash) int {
	if done, err := s.w.in.meet(s.w.in.now(), "steps done"); done || err != nil {
		return 0
	}
	return s.w.book.log.Load().Done(plan)
}

type toolsSeam struct {
	*catalogue.Catalogue
	in *injector
}

func (s toolsSeam) Find(tenant, op, server, tool string) (*catalogue.Tool, bool) {
	if done, err := s.in.meet(s.in.now(), "catalogue"); done || err != nil {
		return nil, false
	}
	return s.Catalogue.Find(tenant, op, server, tool)
}

type enginesSeam struct {
	*policies.Set
	in *injector
}

func (s enginesSeam) Choose(tenant string, p *policies.Principal) (enforced, shadow *policies.Engine) {
	if done, err := s.in.meet(s.in.now(), "policies"); done || err != nil {
		return nil, nil
	}
	return s.Set.Choose(tenant, p)
}

// filterSeam is a tenant's one filter, and the list of its filters.
type filterSeam struct {
	*wasm.Filter
	in      *injector
	verdict *wasm.Verdict // given instead of the filter's own, when set
}

func (s *filterSeam) For(ctx context.Context, _ string) (*filters.Set, error) {
	if done, err := s.in.meet(ctx, "filters"); done || err != nil {
		return nil, err
	}
	return filters.NewSet(filters.Place(s, nil)), nil
}

func (s *filterSeam) Decide(ctx context.Context, shown *abi.Context, v *wasm.Verdict) error {
	return s.judge(ctx, "filter's verdict", v, func() error { return s.Filter.Decide(ctx, shown, v) })
}

func (s *filterSeam) OnResponse(ctx context.Context, shown *abi.Context, v *wasm.Verdict) error {
	return s.judge(ctx, "filter's verdict on the reply", v, func() error { return s.Filter.OnResponse(ctx, shown, v) })
}

func (s *filterSeam) judge(ctx context.Context, point string, v *wasm.Verdict, real func() error) error {
	done, err := s.in.meet(ctx, point)
	if done && s.verdict != nil {
		*v = *s.verdict
	}
	if done || err != nil {
		return err
	}
	return real()
}

// book is the ledger in force between its seams. Disk faults put another log in its place.
type book struct {
	in  *injector
	log atomic.Pointer[wal.Log]
}

func (b *book) Append(ctx context.Context, r *ledger.Record) (m wal.Mark, err error) {
	return b.write(ctx, "ledger append "+r.Kind.String(), func() (wal.Mark, error) { return b.log.Load().Append(ctx, r) })
}

func (b *book) Admit(ctx context.Context, r *ledger.Record, u wal.Use) (m wal.Mark, err error) {
	return b.write(ctx, "ledger admit", func() (wal.Mark, error) { return b.log.Load().Admit(ctx, r, u) })
}

func (b *book) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	out := receipt
	m, err := b.write(ctx, "ledger settle "+r.Kind.String(), func() (m wal.Mark, err error) {
		m, out, err = b.log.Load().Settle(ctx, r, receipt)
		return m, err
	})
	if m == (wal.Mark{}) {
		out = receipt
	}
	return m, out, err
}

func (b *book) write(ctx context.Context, point string, real func() (wal.Mark, error)) (wal.Mark, error) {
	if done, err := b.in.meet(ctx, point); done || err != nil {
		return wal.Mark{}, err
	}
	m, err := real()
	if err != nil {
		return m, err
	}
	if done, err := b.in.meet(ctx, point+afterwards); done || err != nil {
		return wal.Mark{}, err
	}
	return m, nil
}

// Steps is what the register of plans asks.
func (b *book) Steps(plan merkle.Hash) []wal.StepState { return b.log.Load().Steps(plan) }

type subjectsSeam struct{ w *world }

func (s subjectsSeam) Subject(ctx context.Context, tenant, subject string) (cipher.AEAD, error) {
	if done, err := s.w.in.meet(ctx, "subject keys"); done || err != nil {
		return nil, err
	}
	return s.w.vault.Load().Subject(ctx, tenant, subject)
}

type randSeam struct{ in *injector }

func (s randSeam) Read(b []byte) (int, error) {
	done, err := s.in.meet(s.in.now(), "randomness")
	if err != nil {
		return 0, err
	}
	if done {
		clear(b)
		return len(b), nil
	}
	return rand.Read(b)
}

func (w *world) lineNow() time.Time {
	if done, err := w.in.meet(w.in.now(), "clock"); done || err != nil {
		return time.Time{}
	}
	return w.in.clock.now()
}

type forwardSeam struct {
	real stages.Forward
	in   *injector
}

func (s forwardSeam) Forward(ctx context.Context, c *pipeline.Call) error {
	return s.in.around(ctx, "forward", func() error { return s.real.Forward(ctx, c) })
}

type clientSeam struct {
	*upstream.Client
	in *injector
}

func (s clientSeam) Call(ctx context.Context, t *upstream.Target, r *upstream.Request, reply *upstream.Reply) error {
	return s.in.around(ctx, "upstream client", func() error { return s.Client.Call(ctx, t, r, reply) })
}

// storeSeam is a store that goes wrong in more ways than storetest.Faulty knows.
type storeSeam struct {
	store.Store
	in *injector
}

func (s storeSeam) View(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	return s.in.around(ctx, "store view", func() error { return s.Store.View(ctx, tenant, fn) })
}

func (s storeSeam) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	return s.in.around(ctx, "store update", func() error { return s.Store.Update(ctx, tenant, fn) })
}
