package wal

import (
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// begin sets the walk up to go on from a state; without one it starts with the log.
func (r *replay) begin(s *state) error {
	r.byName = map[string]*chain{}
	if s == nil {
		return nil
	}
	r.boot, r.clock, r.records, r.unknown, r.told, r.tail = s.boot, s.clock, s.records, s.unknown, s.told, s.tail()
	for i := range s.chains {
		c := &chain{number: uint32(i), name: s.chains[i].name, front: s.chains[i].tree.Clone(), mac: s.chains[i].mac}
		r.chains = append(r.chains, c)
		r.byName[c.name] = c
		if err := r.pin(c); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the end of a segment that is read from the header of the next.
const unknown = -1

// tail is where a log ends that has nothing behind the state.
func (s *state) tail() tail {
	switch {
	case s.at.off > 0:
		return tail{at: s.at, prevEnd: s.prevEnd, header: true}
	case s.at.segment > 0:
		return tail{at: place{s.at.segment - 1, s.prevEnd}, prevEnd: unknown, header: true}
	}
	return tail{}
}

// pin compares a chain that the walk starts with to what was signed of it.
func (r *replay) pin(c *chain) error {
	p, ok := r.pins[c.name]
	switch {
	case !ok:
	case p.Size > c.front.Size():
		c.pinned = &p
	case p.Size < c.front.Size():
		if r.below == nil {
			r.below = map[string]ledger.Checkpoint{}
		}
		r.below[c.name] = p
	case p.Root == c.front.Root():
	case r.differs != nil:
		r.differs(c)
	default:
		return &CorruptError{
			Segment: r.tail.at.segment, Offset: r.tail.at.off, Tenant: c.name, Seq: p.Size - 1,
			Reason: "tree differs from the signed checkpoint",
		}
	}
	return nil
}

// meet holds the chains against a signed state that stands here.
func (r *replay) meet() error {
	if r.meets == nil || r.meets.tail().at != r.tail.at || !r.tail.header {
		return nil
	}
	if differs := r.meets.same(r.chains); differs != "" {
		return &CorruptError{Segment: r.tail.at.segment, Offset: r.tail.at.off, Reason: "not as the signed state has it: " + differs}
	}
	r.meets = nil
	return nil
}

// missed judges a log that ended without coming to a signed state of it.
func (r *replay) missed() error {
	want := r.meets.tail().at
	bad := &CorruptError{Segment: r.tail.at.segment, Offset: r.tail.at.off}
	if r.tail.at.before(want) {
		bad.kind = ErrTruncated
		bad.Reason = fmt.Sprintf(
			"the data end here, a signed state has them up to segment %d, offset %d; for an honest backup run: gatewright ledger restore --reason TEXT --data DIR",
			want.segment, want.off)
		return bad
	}
	bad.Reason = fmt.Sprintf("a signed state stands at segment %d, offset %d, where no record ends", want.segment, want.off)
	return bad
}

// reached checks that the walk ended where it had to.
func (r *replay) reached() error {
	want := r.until.tail().at
	if r.tail.torn != nil {
		r.tail.torn.Torn = false
		return r.tail.torn
	}
	if r.tail.at != want {
		return &CorruptError{
			Segment: r.tail.at.segment, Offset: r.tail.at.off,
			Reason: fmt.Sprintf("the log has no record that ends at segment %d, offset %d, where the signed state stands", want.segment, want.off),
		}
	}
	return r.covered()
}

// covered refuses a log that lacks records a checkpoint was signed for.
func (r *replay) covered() error {
	for tenant, p := range r.pins {
		c := r.byName[tenant]
		if c != nil && c.pinned == nil {
			continue
		}
		bad := &CorruptError{Segment: r.tail.at.segment, Offset: r.tail.at.off, Tenant: tenant, kind: ErrTruncated}
		if c != nil {
			bad.Seq = c.front.Size()
		}
		bad.Reason = fmt.Sprintf("%d records are there, %d were signed", bad.Seq, p.Size)
		return bad
	}
	return nil
}
