package control

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Phases of a call's records: one of "call" for a read or a refusal; "intent" and "outcome" for a change; "replay" for
// an answer given a second time.
const (
	phaseCall    = "call"
	phaseIntent  = "intent"
	phaseOutcome = "outcome"
	phaseReplay  = "replay"
)

// Bounds of one call after its credential is known.
const (
	callTime   = 45 * time.Second // handling; refreshing a slow server's tools is the longest
	appendTime = 10 * time.Second // one record; a disk that is slower than this is broken
	maxFact    = 256              // bytes of one fact in a record
)

// call is one authenticated request.
type call struct {
	api    *API
	caller identity.Caller
	route  *Route // nil when no row matched
	method string
	addr   netip.Addr
	id     string // of the record that the caller is told
	target string // what the call acts on, or what it made
	code   string // reason of a refusal
	facts  map[string]string
	digest [32]byte // of the body
	start  time.Time
	intent bool       // the intent is durable: something may have changed
	broken bool       // the ledger did not take a record
	replay string     // record of the call whose kept answer this one gets
	claim  *replayKey // the Idempotency-Key this call holds
	stream *flow      // the answer, when it is one that flows
	done   bool       // the outcome of a flow is durable
}

type callKey struct{}

// callOf finds the call a handler works for; nil outside one.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// note puts a fact into the call's next record. Facts are for what an auditor must know and no law makes us erase:
// states, roles, kinds and ids, never names, addresses of people, or secrets.
func (c *call) note(key, value string) {
	if c.facts == nil {
		c.facts = map[string]string{}
	}
	c.facts[key] = clip(value, maxFact)
}

// begin makes the intent of a change durable. Handlers that change something run after it and not without it.
func (c *call) begin(ctx context.Context) error {
	if err := c.write(ctx, phaseIntent, c.id, 0); err != nil {
		return auditUnavailable()
	}
	c.intent = true
	return nil
}

// finish makes the record of the answer durable, or replaces the answer when it cannot. After an intent whose append
// failed it still tries: the intent may stand in the ledger all the same, and then the ledger must say what came of it.
func (c *call) finish(ctx context.Context, out *answer) {
	phase, id := phaseCall, c.id
	switch {
	case c.replay != "":
		phase = phaseReplay
	case c.intent || c.broken:
		phase = phaseOutcome
		next, err := ledger.NewID(c.api.deps.Now(), c.api.deps.Rand)
		if err != nil {
			out.replace(auditUnavailable())
			return
		}
		id = next
	}
	if err := c.write(ctx, phase, id, out.status); err != nil {
		out.replace(auditUnavailable())
		return
	}
	if !c.broken {
		out.header.Set("Gatewright-Record", c.id)
	}
}

// write appends one record of the call. The client hanging up does not stop it.
func (c *call) write(ctx context.Context, phase, id string, status int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTime)
	defer cancel()
	r := c.record(phase, id, status)
	if _, err := c.api.deps.Ledger.Append(ctx, r); err != nil {
		c.broken = true
		c.api.log.Error("control call not recorded", "record", id, "phase", phase, "error", err)
		return fmt.Errorf("append control record: %w", err)
	}
	return nil
}

func (c *call) record(phase, id string, status int) *ledger.Record {
	now := c.api.deps.Now()
	r := &ledger.Record{
		ID: id, Time: now.UnixMicro(), Kind: ledger.Admin, Step: -1,
		Tenant: c.caller.Tenant(), Snapshot: c.caller.Snapshot(),
		User: c.caller.User(), Agent: c.caller.Agent(), Key: c.caller.KeyID(),
		Route: "unmatched", Verdict: "allow", Status: status,
	}
	if c.addr.IsValid() {
		r.Addr = c.addr.String()
	}
	if c.route != nil {
		r.Route, r.Op = c.route.Path, c.route.Op
	}
	if c.digest != ([32]byte{}) {
		r.Request = merkle.Hash(c.digest)
	}
	if phase != phaseIntent {
		r.Micros = uint64(max(0, now.Sub(c.start).Microseconds()))
	}
	if status >= http.StatusBadRequest {
		r.Verdict, r.Code = "deny", c.code
	}
	switch phase {
	case phaseOutcome:
		r.Of, r.Outcome = c.id, c.outcome(status)
	case phaseReplay:
		r.Of = c.replay
	}
	r.Body = c.body(phase)
	return r
}

// outcome says how a change ended. After a fault of ours nobody can say whether it took effect.
func (c *call) outcome(status int) string {
	switch {
	case !c.intent:
		return "refused"
	case status >= http.StatusInternalServerError:
		return "unknown"
	case status >= http.StatusBadRequest:
		return "refused"
	}
	return "ok"
}

// body is what the record says beyond the members every kind has.
func (c *call) body(phase string) []byte {
	b, err := json.Marshal(struct {
		Facts  map[string]string `json:"facts,omitempty"`
		Method string            `json:"method"`
		Phase  string            `json:"phase"`
		Target string            `json:"target,omitempty"`
	}{c.facts, c.method, phase, c.target})
	if err != nil {
		return nil // strings and a map of strings always encode
	}
	return b
}

// commit keeps the digest of a body, so that a record says which request it was; not where the body is a secret or about
// a person, since a digest lets a guess be tried for ever.
func (c *call) commit(body []byte) {
	if len(body) > 0 && c.route != nil && !c.route.Sensitive && !c.route.Private {
		c.digest = sha256.Sum256(body)
	}
}
