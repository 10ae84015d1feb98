package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// The four things that must not happen, as the last line counts them.
const (
	lost        = "lost"             // an acknowledged record, key or checkpoint that is gone, or another one
	unrecorded  = "unrecorded"       // an effect without a durable admitted record before it, or a call that nothing settles
	doubleSpent = "double_spent"     // more effects or admitted records than a step has uses
	unrevoked   = "revocations_lost" // what was revoked works again
)

// violation is one of them, with what an engineer needs to find it.
type violation struct{ kind, text string }

// promise is a record that a client was told of.
type promise struct {
	tenant, record string
	receipt        string // empty: only the id is known
	at             time.Time
}

// spend is one step of one plan.
type spend struct {
	tenant, plan string
	step         int
}

// effect is a call that the tool server saw.
type effect struct {
	spend
	uses uint32 // that the step has; 0: no limit
	n    int64  // of the step, as its arguments carry it; negative: the server does not know the step
	at   time.Time
}

// trial is how an attempt went to use what was revoked.
type trial struct {
	what string
	held bool
	said string
}

// tree is one tenant's ledger as far as it was read.
type tree struct {
	read   merkle.Frontier // over all records
	leaves []merkle.Hash   // of all records
	signed merkle.Frontier // up to the highest checkpoint
	floor  uint64          // no checkpoint may be of fewer records
}

// checker knows what the ledger was seen to say, from its first record on, and holds it against what was promised. It
// needs no gateway: whatever it is fed, it judges.
type checker struct {
	keys     ledger.VerifierKeys
	trees    map[string]*tree
	leaves   map[string]merkle.Hash // by tenant and record id
	open     map[string]spend       // admitted records that nothing has settled
	admitted map[spend][]int64      // their times, in unix microseconds
	effects  map[spend][]int64
	uses     map[spend]uint32
	touched  map[spend]bool // since the last judgement
	records  uint64
	unknown  int // calls that a start settled as unknown
	found    []violation
}

func newChecker(keys ledger.VerifierKeys) *checker {
	return &checker{
		keys: keys, trees: map[string]*tree{}, leaves: map[string]merkle.Hash{}, open: map[string]spend{},
		admitted: map[spend][]int64{}, effects: map[spend][]int64{}, uses: map[spend]uint32{}, touched: map[spend]bool{},
	}
}

func (c *checker) violate(kind, format string, args ...any) {
	c.found = append(c.found, violation{kind, fmt.Sprintf(format, args...)})
}

func (c *checker) tree(tenant string) *tree {
	t := c.trees[tenant]
	if t == nil {
		t = &tree{}
		c.trees[tenant] = t
	}
	return t
}

// size is how many records of a tenant were read.
func (c *checker) size(tenant string) uint64 { return c.tree(tenant).read.Size() }

// record takes up the next record of a tenant, as the gateway shows it: compact JSON is the leaf.
func (c *checker) record(tenant string, index uint64, shown string, raw []byte) error {
	t := c.tree(tenant)
	if index != t.read.Size() {
		c.violate(lost, "%s: record %d was shown where %d was expected", tenant, index, t.read.Size())
		return fmt.Errorf("record %d of %s is missing", t.read.Size(), tenant)
	}
	var leaf bytes.Buffer
	if err := json.Compact(&leaf, raw); err != nil {
		return fmt.Errorf("record %d of %s: %w", index, tenant, err)
	}
	h := merkle.LeafHash(leaf.Bytes())
	if shown != h.String() {
		c.violate(lost, "%s: record %d has the leaf %s and is shown as that of %s", tenant, index, h, shown)
	}
	r, err := ledger.ParseRecord(leaf.Bytes())
	if err != nil {
		return fmt.Errorf("record %d of %s: %w", index, tenant, err)
	}
	t.read.Append(h)
	t.leaves = append(t.leaves, h)
	c.leaves[tenant+"/"+r.ID] = h
	c.records++
	c.follow(tenant, &r)
	return nil
}

// follow keeps count of what is spent and what is open.
func (c *checker) follow(tenant string, r *ledger.Record) {
	switch r.Kind {
	case ledger.Admitted:
		s := spend{tenant, r.Plan.String(), int(r.Step)}
		c.open[tenant+"/"+r.ID] = s
		if !r.Plan.IsZero() {
			c.admitted[s] = append(c.admitted[s], r.Time)
			c.uses[s] = r.Uses
			c.touched[s] = true
		}
	case ledger.Settled:
		delete(c.open, tenant+"/"+r.Of)
		if r.Outcome == ledger.OutcomeUnknown {
			c.unknown++
		}
	default:
	}
}

// checkpoint holds a published checkpoint against the records that were read. All of the ledger must have been read that
// was there when the checkpoint was taken.
func (c *checker) checkpoint(tenant, where string, note []byte) {
	cp, err := ledger.OpenCheckpoint(note, c.keys)
	t := c.tree(tenant)
	switch {
	case err != nil:
		c.violate(lost, "%s: checkpoint in %s: %v", tenant, where, err)
		return
	case cp.Size < t.floor:
		c.violate(lost, "%s: the checkpoint in %s went back from %d to %d", tenant, where, t.floor, cp.Size)
		return
	case cp.Size > t.read.Size():
		c.violate(lost, "%s: the checkpoint in %s covers %d records and %d are there", tenant, where, cp.Size, t.read.Size())
		return
	}
	var next merkle.Frontier
	if cp.Size >= t.signed.Size() { // else another place was read a moment before and was ahead
		next = t.signed.Clone()
	}
	for _, h := range t.leaves[next.Size():cp.Size] {
		next.Append(h)
	}
	if next.Root() != cp.Root {
		c.violate(lost, "%s: the checkpoint in %s forks: its root for %d records is %s, that of the records is %s", tenant, where, cp.Size, cp.Root, next.Root())
		return
	}
	if next.Size() > t.signed.Size() {
		t.signed = next
	}
}

// remember ends a judgement: no checkpoint that is seen from now on may be behind one that was seen.
func (c *checker) remember() {
	for _, t := range c.trees {
		t.floor = t.signed.Size()
	}
}

// settled demands that nothing is open: a start settles what the boot before left.
func (c *checker) settled() {
	for id, s := range c.open {
		c.violate(unrecorded, "%s was admitted (step %d of plan %s) and nothing settles it after the restart", id, s.step, s.plan)
	}
	clear(c.open)
}

// kept demands that a promise is in the ledger as it was given.
func (c *checker) kept(p promise) {
	leaf, ok := c.leaves[p.tenant+"/"+p.record]
	if !ok {
		c.violate(lost, "%s: record %s was acknowledged at %s and is not in the ledger", p.tenant, p.record, p.at.Format(time.RFC3339Nano))
		return
	}
	if p.receipt == "" {
		return
	}
	r, err := ledger.ParseReceipt([]byte(p.receipt))
	if err == nil {
		err = r.Verify(c.keys)
	}
	switch {
	case err != nil:
		c.violate(lost, "%s: the receipt of record %s: %v", p.tenant, p.record, err)
	case r.LeafHash() != leaf:
		c.violate(lost, "%s: record %s is in the ledger with other bytes than in its receipt", p.tenant, p.record)
	}
}

// happened takes up an effect.
func (c *checker) happened(e effect) {
	if e.n < 0 {
		c.violate(unrecorded, "the tool server was called for a step that nobody planned, at %s", e.at.Format(time.RFC3339Nano))
		return
	}
	c.effects[e.spend] = append(c.effects[e.spend], e.at.UnixMicro())
	c.uses[e.spend] = e.uses
	c.touched[e.spend] = true
}

// spent demands for each step that something happened to since the last time: no more effects and admitted records than
// uses, and before the k-th effect k admitted records.
func (c *checker) spent() {
	for s := range c.touched {
		effects, admitted, uses := c.effects[s], c.admitted[s], int(c.uses[s])
		if uses > 0 && len(effects) > uses {
			c.violate(doubleSpent, "%s: step %d of plan %s has %d uses and had %d effects", s.tenant, s.step, s.plan, uses, len(effects))
		}
		if uses > 0 && len(admitted) > uses {
			c.violate(doubleSpent, "%s: step %d of plan %s has %d uses and was admitted %d times", s.tenant, s.step, s.plan, uses, len(admitted))
		}
		slices.Sort(effects)
		slices.Sort(admitted)
		for k, at := range effects {
			if k >= len(admitted) || admitted[k] > at {
				c.violate(unrecorded, "%s: effect %d of step %d of plan %s has no admitted record before it (%d there)", s.tenant, k+1, s.step, s.plan, len(admitted))
				break
			}
		}
	}
	clear(c.touched)
}

// tried takes up how what was revoked fared.
func (c *checker) tried(t trial) {
	if !t.held {
		c.violate(unrevoked, "%s was revoked and works: %s", t.what, t.said)
	}
}

// count is how often a thing happened that must not.
func (c *checker) count(kind string) int {
	n := 0
	for _, v := range c.found {
		if v.kind == kind {
			n++
		}
	}
	return n
}

// sorted orders promises by time, for reports that can be read.
func sorted(all []promise) []promise {
	slices.SortFunc(all, func(a, b promise) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	return all
}
