package plans

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxLinks bounds how often one plan is re-anchored. A call under its first token checks every link once.
const maxLinks = 64

// chain is a plan and those it was re-anchored to, eldest first; most chains are one plan. change serializes what
// is done to any of them over disk and ledger; it is taken before Register.mu, never after.
type chain struct {
	change sync.Mutex

	// Written under Register.mu and change, so either suffices to read them.
	plans   []*entry
	deltas  []*intent.Delta // deltas[i] leads from plans[i] to plans[i+1]; only ever appended to
	cut     int             // tokens of plans before this one follow no deltas: the key of one is pinned no more
	dropped bool            // the plans are kept no more

	// Guarded by Register.mu.
	free    int64 // needed, as it was last ordered
	spot    int   // in Register.queue, counted from 1; 0 = not there
	claimed bool  // somebody is about to drop it
}

// add puts a plan at the end of its chain; d leads to it from the one before.
func (c *chain) add(e *entry, d *intent.Delta) {
	e.place = len(c.plans)
	if e.place > 0 {
		c.deltas = append(c.deltas, d)
	}
	if e.place > 0 && d == nil {
		c.cut = e.place
	}
	c.plans = append(c.plans, e)
}

func (c *chain) head() *entry { return c.plans[len(c.plans)-1] }

// stale tells whether all plans expired before then and have nothing left to be written.
func (c *chain) stale(then int64) bool {
	return !slices.ContainsFunc(c.plans, func(e *entry) bool {
		return e.row.Expires > then || !e.row.State.ended() || e.row.Pending || e.live > 0
	})
}

// ref names the plan in a delta.
func (e *entry) ref() intent.PlanRef {
	return intent.PlanRef{
		ID: e.row.ID, Nonce: e.nonce, Hash: e.row.Hash, Root: e.row.Root, Expires: e.row.Expires,
		Size: uint32(e.row.Size), //nolint:gosec // at most intent.MaxSteps
	}
}

// Reanchor captures the plan that one of the agent's own has grown into, and chains it, by a signed delta, to the
// last plan of planID's chain. Tokens of the plans before then stand for the new one (see Anchors), except those for
// some steps only: their plans stay active for them. A plan is re-anchored while it is active or when all its steps
// were done. The new plan's uses count anew, and its terms are those of its own metadata.
//
// A plan that has the steps (tools, arguments, uses, order) and the metadata of the last of a chain is not captured
// again: the last plan and the delta that led to it are returned.
func (r *Register) Reanchor(ctx context.Context, who Owner, planID string, d Draft, reason string) (Captured, string, error) {
	if err := errors.Join(who.check(), checkReason(reason)); err != nil {
		return Captured{}, "", fmt.Errorf("re-anchor plan: %w", err)
	}
	e := r.own(who, planID)
	if e == nil {
		return Captured{}, "", fmt.Errorf("re-anchor plan: %w", ErrNotFound)
	}
	p, err := r.adopt(who, d)
	if err != nil {
		return Captured{}, "", fmt.Errorf("re-anchor plan: %w", err)
	}
	e.chain.change.Lock()
	defer e.chain.change.Unlock()
	if !r.kept(e) {
		return Captured{}, "", fmt.Errorf("re-anchor plan: %w", ErrNotFound)
	}
	head := e.chain.head()
	if h, row := head.held, head.row; h != nil && row.Delta != "" && row.state(r.deps.Now().Unix()).Active() && sameSteps(h.Plan(), p) {
		return r.view(row, h.Plan(), h.Plan().AppendJSON(nil)), row.Delta, nil
	}
	next, s, err := r.grow(ctx, who, head, p, growing{r.planTTL(d.TTL), reason})
	if err != nil {
		return Captured{}, "", fmt.Errorf("re-anchor plan: %w", err)
	}
	return r.view(next.row, s.held.Plan(), s.body), next.row.Delta, nil
}

// growing is how a plan is to be re-anchored.
type growing struct {
	ttl    time.Duration
	reason string
}

// sameSteps tells whether two plans allow the same under the same terms; salts, nonces and words may differ.
func sameSteps(a, b *intent.Plan) bool {
	return bytes.Equal(outline(a), outline(b))
}

func outline(p *intent.Plan) []byte {
	bare := intent.Plan{Metadata: p.Metadata, Steps: slices.Clone(p.Steps)}
	for i := range bare.Steps {
		bare.Steps[i].Salt = ""
	}
	return bare.AppendJSON(nil)
}

// grow captures p and links head to it. The chain's change lock is held.
func (r *Register) grow(ctx context.Context, who Owner, head *entry, p *intent.Plan, how growing) (*entry, sealed, error) {
	c := head.chain
	switch row, state := &head.row, head.row.state(r.deps.Now().Unix()); {
	case !state.Active() && (state != Completed || row.By != "" || r.deps.Now().Unix() >= row.Expires):
		return nil, sealed{}, fmt.Errorf("plan is %s: %w", state, ErrInactive)
	case len(c.deltas) >= maxLinks:
		return nil, sealed{}, limit("the plan was re-anchored "+strconv.Itoa(maxLinks)+" times", "capture a new plan")
	}
	s, err := r.sealDraft(p)
	if err != nil {
		return nil, sealed{}, err
	}
	e, err := r.reserve(ctx, who, s.held, c, how.ttl)
	if err != nil {
		return nil, sealed{}, err
	}
	l, err := r.link(head, e, how.reason)
	if err == nil {
		err = r.commitLink(ctx, e, &l, s.body)
	}
	if err != nil {
		r.forget(e)
		return nil, sealed{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	head.row, e.row, e.held = l.from, l.to, s.held
	c.add(e, l.delta)
	r.insert(e)
	r.order(c)
	return e, s, nil
}

// link is two plans' rows as they will be when one is re-anchored to the other.
type link struct {
	from, to planRow
	delta    *intent.Delta
}

// link signs the delta from head to a plan being captured.
func (r *Register) link(head, e *entry, reason string) (link, error) {
	l := link{from: head.row, to: e.row}
	raw, err := r.sign(intent.DeltaClaims{Kind: intent.DeltaReanchor, Tenant: e.tenant, From: head.ref(), To: e.ref(), Reason: reason})
	if err != nil {
		return link{}, err
	}
	if l.delta, err = r.deps.Verifier.Delta([]byte(raw)); err != nil {
		return link{}, fmt.Errorf("verify own delta: %w", err)
	}
	l.from.Next, l.to.Prev, l.to.Delta = e.row.ID, head.row.ID, raw
	return l, nil
}

// sign mints a delta of now.
func (r *Register) sign(c intent.DeltaClaims) (string, error) {
	now := r.deps.Now()
	id, err := r.newID("dlt_", now)
	if err != nil {
		return "", err
	}
	c.ID, c.IssuedAt = id, now.Unix()
	return r.deps.Signer.MintDelta(c)
}

// commitLink records the capture and the link, then keeps both plans at once: half a link could be used.
func (r *Register) commitLink(ctx context.Context, e *entry, l *link, body []byte) error {
	if err := r.recordCapture(ctx, e, body); err != nil {
		return err
	}
	to := &l.to
	rec := e.record(&l.from, ledger.Token, "reanchored")
	rec.User, rec.Agent, rec.Key, rec.Detail = to.User, to.Agent, to.Key, l.delta.Claims().Reason
	rec.Body = fmt.Appendf(nil, `{"delta":%q,"next":%q,"root":%q}`, merkle.Hash(sha256.Sum256([]byte(to.Delta))), to.ID, to.Root)
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record re-anchoring: %w", err)
	}
	if err := r.putPlans(ctx, e.tenant, []planRow{l.from, *to}, body); err != nil {
		return fmt.Errorf("keep plan: %w", err)
	}
	return nil
}

// Anchors returns the deltas that lead from the plan with this root to the last plan of its chain, for
// intent.Verifier.Reanchor; nil when it was not re-anchored. They must not be changed. It answers from memory and
// allocates nothing.
func (r *Register) Anchors(tenant string, root merkle.Hash) []*intent.Delta {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byRoot[rootKey{tenant, root}]
	if e == nil || e.place < e.chain.cut || e.place == len(e.chain.deltas) {
		return nil
	}
	n := len(e.chain.deltas)
	return e.chain.deltas[e.place:n:n]
}

// Head returns the last plan of the chain that one of the agent's own plans belongs to, while it is active.
func (r *Register) Head(who Owner, planID string) (id string, held *intent.Held, ok bool) {
	e := r.own(who, planID)
	if e == nil {
		return "", nil, false
	}
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	head := e.chain.head()
	if head.held == nil || !head.row.state(now).Active() {
		return "", nil, false
	}
	return head.row.ID, head.held, true
}

// Origin returns the first plan of the chain that a plan belongs to, which is the plan itself unless it grew out of another.
// A plan that is not held here is its own.
func (r *Register) Origin(tenant, planID string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byID[planKey{tenant, planID}]
	if e == nil || e.chain == nil || len(e.chain.plans) == 0 {
		return planID
	}
	return e.chain.plans[0].row.ID
}

// chains puts a tenant's plans, as they were loaded, into their chains.
func (r *Register) chains(list []*entry) error {
	for _, e := range list {
		if r.before(e) != nil {
			continue
		}
		e.chain = &chain{}
		e.chain.add(e, nil)
		if err := r.lead(e); err != nil {
			return fmt.Errorf("plan %s: %w", e.row.ID, err)
		}
	}
	for _, e := range list {
		if e.chain == nil {
			return fmt.Errorf("plan %s: its chain is a circle", e.row.ID)
		}
	}
	return nil
}

// before returns the plan that was re-anchored to e. A plan that was kept although its re-anchoring failed, and was then
// done again with another, stands alone.
func (r *Register) before(e *entry) *entry {
	if e.row.Prev == "" {
		return nil
	}
	if prev := r.byID[planKey{e.tenant, e.row.Prev}]; prev != nil && prev.row.Next == e.row.ID {
		return prev
	}
	return nil
}

// lead adds to the chain of its first plan all that come after.
func (r *Register) lead(e *entry) error {
	for c := e.chain; e.row.Next != ""; {
		next := r.byID[planKey{e.tenant, e.row.Next}]
		if next == nil || next.chain != nil || r.before(next) != e || len(c.deltas) >= maxLinks {
			return errors.New("its chain is broken")
		}
		d, err := r.readDelta(e, next)
		if err != nil {
			return fmt.Errorf("its chain: %w", err)
		}
		next.chain = c
		c.add(next, d)
		e = next
	}
	return nil
}

// readDelta verifies the delta between two kept plans. It is nil when its key is not pinned any more.
func (r *Register) readDelta(from, to *entry) (*intent.Delta, error) {
	d, err := r.deps.Verifier.Delta([]byte(to.row.Delta))
	if reason := intent.ReasonOf(err); reason == intent.TokenKey || reason == intent.TokenIssuer {
		return nil, nil //nolint:nilnil // the chain holds, but no token follows it
	}
	if err != nil {
		return nil, err
	}
	if c := d.Claims(); c.Kind != intent.DeltaReanchor || c.Tenant != to.tenant || c.From != from.ref() || c.To != to.ref() {
		return nil, errors.New("delta is of other plans")
	}
	return d, nil
}

// stale lists chains that expired before then and have nothing left to be written.
func (r *Register) stale(then int64) []*chain {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*chain
	for _, e := range r.byRoot {
		if e.place == 0 && e.chain.stale(then) {
			out = append(out, e.chain)
		}
	}
	return out
}

// unlist takes an entry out of all lists. Register.mu is held.
func (r *Register) unlist(e *entry) {
	delete(r.byID, planKey{e.tenant, e.row.ID})
	delete(r.byRoot, rootKey{e.tenant, e.row.Root})
	mine := Owner{Tenant: e.tenant, User: e.row.User, Agent: e.row.Agent}
	list := r.owned[mine]
	switch i := slices.Index(list, e); {
	case i == 0: // the oldest goes first, mostly
		list[0], list = nil, list[1:]
	case i > 0:
		list = slices.Delete(list, i, i+1)
	}
	if r.owned[mine] = list; len(list) == 0 {
		delete(r.owned, mine)
	}
	r.uncount(e)
}
