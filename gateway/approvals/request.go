package approvals

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Request is a call that was held, and what its approval takes.
type Request struct {
	Call
	Key       string   // API key that asks
	Reason    string   // why it was held, for those who decide
	Policies  []string // that held it
	Approvals int      // how many people must approve, at least the configured number; 0 asks for no more
	Approver  string   // lowest role that may, at least the configured one; "" asks for no more
	Local     bool     // the tool is of a server that the gateway does not reach
}

// Bounds of what is kept of a request; what is longer is cut, since only people read it.
const (
	maxReason   = 512 // bytes
	maxPolicies = 16
	maxPolicy   = 128 // bytes
	// maxArgs is how many bytes of arguments are kept to be shown. Larger ones are decided by their digest.
	maxArgs = 64 << 10
)

// Request asks for an approval of the call. While one is open for exactly this call (pending, or approved and not used)
// it is that one; when the call now takes more than when it was made, the open one takes that too from then on, and when
// it was made without a policy's reason, it has that from then on.
func (r *Register) Request(ctx context.Context, q Request) (View, error) {
	v, args, err := r.draft(&q)
	if err != nil {
		return View{}, fmt.Errorf("request approval: %w", err)
	}
	for {
		e, made, err := r.reserve(ctx, q.Tenant, v)
		if err != nil {
			return View{}, fmt.Errorf("request approval: %w", err)
		}
		if made {
			err = r.commit(ctx, e, args)
		} else {
			made, err = r.again(ctx, e, &v)
		}
		if err != nil {
			return View{}, fmt.Errorf("request approval: %w", err)
		}
		if made {
			return r.view(e), nil
		}
	}
}

// draft checks a request and makes its row.
func (r *Register) draft(q *Request) (v row, args []byte, err error) {
	if q.User == "" || q.Agent == "" || q.Key == "" || len(q.Key) > maxWord || !ledger.ValidTenant(q.Tenant) || q.Tenant == ledger.InstanceTenant {
		return v, nil, fmt.Errorf("only an agent of an organisation can ask: %w", ErrInvalid)
	}
	if q.Approvals < 0 || q.Approvals > maxRequired || q.Approver != "" && rank(q.Approver) == 0 {
		return v, nil, fmt.Errorf("%d approvals by %q: %w", q.Approvals, q.Approver, ErrInvalid)
	}
	if args, err = q.args(); err != nil {
		return v, nil, err
	}
	digest, err := q.digest(args)
	if err != nil {
		return v, nil, err
	}
	now := r.deps.Now()
	id, err := ledger.NewID(now, r.deps.Rand)
	if err != nil {
		return v, nil, err
	}
	v = row{
		ID: "apr_" + strings.TrimPrefix(id, "rec_"), Digest: digest, User: q.User, Agent: q.Agent, Key: q.Key, Plan: q.PlanID,
		Op: q.Op, Server: q.Server, Tool: q.Tool, Local: q.Local, ArgsSize: len(args), Reason: cut(q.Reason, maxReason), Policies: names(q.Policies),
		Approvals: max(q.Approvals, r.cfg.Required), Approver: higher(q.Approver, r.cfg.Approver), State: Pending, Created: now.Unix(), Expires: now.Add(r.cfg.TTL).Unix(),
	}
	v.Amount, err = amount(args)
	v.Vague = err != nil
	if len(args) > maxArgs {
		args = nil
	}
	return v, args, nil
}

// reserve finds the open entry of a call, or makes one that counts against the bounds but that nobody is shown yet. The
// caller that made it holds its change lock, and everybody else waits there.
func (r *Register) reserve(ctx context.Context, tenant string, v row) (e *entry, made bool, err error) {
	if err := r.makeRoom(ctx); err != nil {
		return nil, false, err
	}
	now := r.deps.Now().Unix()
	e = &entry{tenant: tenant, row: v}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.byDigest[e.digestKey()]; old != nil {
		if !old.ready || old.row.state(now).Open() {
			return old, false, nil
		}
		r.unlist(old)
	}
	mine := r.open[e.agentKey()]
	if len(mine) >= r.cfg.MaxOpen {
		for _, old := range slices.Clone(mine) {
			if old.ready && !old.row.state(now).Open() {
				r.unlist(old)
			}
		}
		mine = r.open[e.agentKey()]
	}
	switch {
	case len(mine) >= r.cfg.MaxOpen:
		return nil, false, fmt.Errorf("the agent has %d open requests: %w", r.cfg.MaxOpen, ErrLimit)
	case len(r.byID) >= r.cfg.MaxAll:
		return nil, false, fmt.Errorf("the gateway keeps no more approvals: %w", ErrLimit)
	}
	e.change.Lock()
	r.byID[idKey{tenant, v.ID}] = e
	r.list(e)
	return e, true, nil
}

// commit records a new request, then keeps it: one that was kept without a record could be approved. It gives the
// change lock of reserve back.
func (r *Register) commit(ctx context.Context, e *entry, args []byte) error {
	defer e.change.Unlock()
	err := r.note(ctx, e.tenant)
	if err == nil {
		err = r.grant(ctx, e, e.row, e.record(&e.row, "requested"), args)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.ready = err == nil; !e.ready {
		r.unlist(e)
		delete(r.byID, idKey{e.tenant, e.row.ID})
	}
	return err
}

// again is a request for a call that has an open entry. ok is false when it has none any more.
func (r *Register) again(ctx context.Context, e *entry, v *row) (ok bool, err error) {
	e.change.Lock()
	defer e.change.Unlock()
	r.mu.RLock()
	next, ready := e.row, e.ready
	r.mu.RUnlock()
	if !ready || !next.state(v.Created).Open() {
		return false, nil
	}
	explained := len(v.Policies) > 0 && len(next.Policies) == 0 // it was the agent's own idea, and now a policy holds it
	if v.Approvals <= next.Approvals && rank(v.Approver) <= rank(next.Approver) && !explained {
		return true, nil
	}
	next.Approvals, next.Approver = max(next.Approvals, v.Approvals), higher(next.Approver, v.Approver)
	next.Reason, next.Policies = v.Reason, v.Policies
	if next.given(next.Approver) < next.Approvals {
		next.State = Pending
	}
	return true, r.grant(ctx, e, next, e.record(&next, "requested"), nil)
}

// grant records a change, keeps it, and puts it in force. e.change is held.
func (r *Register) grant(ctx context.Context, e *entry, next row, rec *ledger.Record, args []byte) error {
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := r.put(ctx, e.tenant, next, args); err != nil {
		return err
	}
	r.mu.Lock()
	e.row = next
	r.mu.Unlock()
	return nil
}

// record starts the ledger record of something done to an approval, by the agent that asked. It has the digest of the
// call and not its arguments.
func (e *entry) record(v *row, act string) *ledger.Record {
	body, _ := json.Marshal(struct { // strings, numbers and a hash always encode
		Approval  string      `json:"approval"`
		Approvals int         `json:"approvals"`
		Approver  string      `json:"approver"`
		Call      string      `json:"call,omitempty"`
		Digest    merkle.Hash `json:"digest"`
		Expires   int64       `json:"expires"`
		For       string      `json:"for"`
		Given     int         `json:"given"`
		Local     bool        `json:"local,omitempty"`
	}{v.ID, v.Approvals, v.Approver, v.Record, v.Digest, v.Expires, v.User, v.given(v.Approver), v.Local})
	return &ledger.Record{
		Kind: ledger.Approval, Tenant: e.tenant, Step: -1, PlanID: v.Plan, User: v.User, Agent: v.Agent, Key: v.Key,
		Op: v.Op, Server: v.Server, Tool: v.Tool, Policies: v.Policies, Code: act, Detail: v.Reason, Body: body,
	}
}

// Approved finds the approval for exactly this call that enough people gave, that was not used and has not expired. It
// answers from memory and allocates nothing.
func (r *Register) Approved(tenant string, digest merkle.Hash) (id string, ok bool) {
	return r.ApprovedBy(tenant, digest, 0, "")
}

// ApprovedBy is Approved for a call that takes so many approvals of at least that role now, which may be more than when
// it was requested; 0 and "" ask for no more than it took then.
func (r *Register) ApprovedBy(tenant string, digest merkle.Hash, approvals int, approver string) (id string, ok bool) {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byDigest[digestKey{tenant, digest}]
	switch {
	case e == nil || !e.ready || e.row.state(now) != Approved:
		return "", false
	case approver != "" && rank(approver) == 0 || e.row.given(approver) < max(approvals, 1):
		return "", false
	}
	return e.row.ID, true
}

// Given is how many people have approved, in a role that counts; 0 for an approval that is not there.
func (r *Register) Given(tenant, id string) int {
	e := r.find(tenant, id)
	if e == nil {
		return 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return e.row.given(e.row.Approver)
}

// cut shortens text for people at a character.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	const more = "..."
	for most -= len(more); !utf8.RuneStart(s[most]); most-- {
	}
	return s[:most] + more
}

func names(policies []string) []string {
	out := make([]string, 0, min(len(policies), maxPolicies))
	for _, p := range policies[:min(len(policies), maxPolicies)] {
		out = append(out, cut(p, maxPolicy))
	}
	return out
}

// moment is an optional time of a row.
func moment(s int64) *time.Time {
	if s == 0 {
		return nil
	}
	t := unix(s)
	return &t
}
