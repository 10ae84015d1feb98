package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// record fills the call's record with what is known so far. The record is the call's own and is reused: fill it, write
// it, and only then ask for the next.
func (l *Line) record(c *Call, kind ledger.Kind) (*ledger.Record, error) {
	now := l.Now()
	id, err := ledger.NewID(now, l.Rand)
	if err != nil {
		return nil, fmt.Errorf("make a record id: %w", err)
	}
	if kind != ledger.Settled {
		if _, err := io.ReadFull(l.Rand, c.Salt[:]); err != nil {
			return nil, fmt.Errorf("make a salt: %w", err)
		}
	}
	r := &c.rec
	policies, after, request := r.Policies[:0], r.After[:0], r.Request
	*r = ledger.Record{
		ID: id, Time: now.UnixMicro(), Tenant: c.Caller.Tenant(), Instance: l.Instance, Kind: kind,
		Agent: c.Caller.Agent(), User: c.Caller.User(), Key: c.Caller.KeyID(),
		Op: c.Op, Server: c.Server, Tool: c.Name, Step: -1, Labels: c.Labels, Bundle: c.Decision.Bundle(),
	}
	if c.Grant.Valid() {
		r.Plan, r.PlanID, r.Token = c.Grant.PlanRoot(), c.Grant.PlanID(), c.Grant.TokenID()
		r.Step, r.Uses = int32(c.Grant.Step()), c.Grant.Uses()
		after = append(after, c.Grant.After()...)
	}
	if t := c.Token; t != nil && kind == ledger.Refused && !c.Grant.Valid() && t.Claims().Tenant == r.Tenant {
		r.Plan, r.PlanID, r.Token = t.PlanRoot(), t.Claims().PlanID, t.Claims().ID
	}
	r.After = after
	if kind == ledger.Settled { // what was asked, and over what, stands in the admitted record that it names
		r.Request, r.Policies = request, policies
		return r, nil
	}
	if c.addr == "" && c.Remote.IsValid() {
		c.addr = c.Remote.String()
	}
	r.Addr, r.Route = c.addr, c.Route
	if c.Grant.Valid() {
		r.PlanExpires = c.Grant.PlanExpires()
	}
	r.Snapshot = c.Caller.Snapshot()
	r.Policies = append(policies, c.Decision.Policies()...)
	r.Stages = c.stages
	if c.Args != nil {
		r.Request = saltedDigest(&c.seal, c.Salt, c.Args)
	}
	return r, nil
}

// saltedDigest is SHA-256(salt || b). Without the salt nobody can guess a short argument or reply from its digest; the
// caller is given the salt beside the receipt.
func saltedDigest(scratch *[]byte, salt [16]byte, b []byte) merkle.Hash {
	s := append((*scratch)[:0], salt[:]...)
	s = append(s, b...)
	*scratch = s
	return sha256.Sum256(s)
}

// sealAsk commits the record to the whole question that policy answered and, when there is a key to seal under, puts
// the question and the arguments beside the record, so that the decision can be replayed by whoever may open them.
//
// Sealed plaintext: argument length (u32, big endian) || arguments || the question as JSON. The record's id is the
// associated data.
func (l *Line) sealAsk(ctx context.Context, c *Call, r *ledger.Record) error {
	c.ask = c.appendAsk(c.ask[:0], r)
	r.Ask = sha256.Sum256(c.ask)
	if l.Subjects == nil {
		return nil
	}
	subject := c.Caller.User()
	if subject == "" {
		subject = c.Caller.Agent()
	}
	aead, err := l.Subjects.Subject(ctx, c.Caller.Tenant(), subject)
	if err != nil {
		return Deny(AuditUnavailable, "").Because(fmt.Errorf("seal arguments: %w", err))
	}
	n := aead.NonceSize()
	size := n + 4 + len(c.Args) + len(c.ask)
	if cap(c.seal) < size+aead.Overhead() {
		c.seal = make([]byte, 0, size+aead.Overhead()+512)
	}
	side := c.seal[:n]
	if _, err := io.ReadFull(l.Rand, side); err != nil {
		return Deny(AuditUnavailable, "").Because(fmt.Errorf("make a nonce: %w", err))
	}
	plain := binary.BigEndian.AppendUint32(side[n:n:cap(side)], uint32(len(c.Args)))
	c.bound = append(c.bound[:0], r.ID...)
	plain = append(plain, c.Args...)
	plain = append(plain, c.ask...)
	r.Side = aead.Seal(side, side, plain, c.bound)
	return nil
}
