package pipeline

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Rounds are calls whose server asked for input before it goes on (MCP 2026-07-28, input_required). Their callers repeat
// them with the input and with the state that they were given, and are then on the step of the plan that the first round
// took: a call of several rounds is one use. A state is good once, for the very call that it was given for, as long as it
// is kept; what the server calls its own state never leaves the gateway, so nobody can change it.
type Rounds struct {
	Seals  Sealer        // seals the states; nil: they are random and nothing else
	Keep   time.Duration // how long an answer may take; 10 minutes when 0
	Most   int           // open at a time, of all callers; 10,000 when 0. The oldest is dropped
	MostOf int           // of one caller; 100 when 0

	// HoldFor is how long a call is held open at its server for an answer; 5 minutes when 0, as upstream.answer_timeout is.
	HoldFor        time.Duration
	MostHeld       int // held at a time, of all callers; 512 when 0. One more is refused: those before it are at work
	MostHeldTenant int // of one tenant; 128 when 0
	MostHeldOf     int // of one agent, or user who has none, whatever its keys; 16 when 0

	mu     sync.Mutex // guards what follows
	open   map[string]*Round
	order  list.List // of *Round, oldest first
	of     map[string]int
	held   int
	heldOf map[string]int // by tenant, and by holder
	closed bool
}

// Held is a call that stands open at its server while its caller is asked: an older server asks in the middle of a call.
type Held interface {
	// End gives the call up. It does not wait, and may be said again.
	End()
	// Done is closed once nothing of the call runs any more.
	Done() <-chan struct{}
}

// Round is what the next round of a call goes on from.
type Round struct {
	all         *Rounds
	id, who, of string // of is what it may continue
	by          Holder
	state       []byte // the server's own requestState, a raw JSON string; nil when it gave none
	grant       intent.Grant
	approval    string
	approvals   int
	record      string // of the first round
	expires     time.Time
	held        Held        // what the next round goes on with; nil: its server is called anew
	ends        *time.Timer // of held
	place       *list.Element
}

// Holder says whose a call is that is held. As what EndHeld is given, it means all whose parts are those that it has.
type Holder struct{ Tenant, User, Agent, Key string }

// name is that of the agent, or of the user who acts without one.
func (h Holder) name() string {
	if h.Agent != "" {
		return h.Tenant + "\n" + h.Agent
	}
	return h.Tenant + "\n\n" + h.User
}

func (h Holder) covers(of Holder) bool {
	fits := func(want, has string) bool { return want == "" || want == has }
	return fits(h.Tenant, of.Tenant) && fits(h.User, of.User) && fits(h.Agent, of.Agent) && fits(h.Key, of.Key)
}

// EndHeld ends the calls that are held for those who may not go on with them any more: a key was revoked, an agent
// suspended.
func (r *Rounds) EndHeld(whose Holder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.open {
		if n.held != nil && whose.covers(n.by) {
			r.forget(n)
		}
	}
}

// Ask keeps what the next round of a call will need, and returns the state that its caller is to show.
func (r *Rounds) Ask(c *Call, state []byte) string {
	id, _ := r.keep(c, state, nil)
	return id
}

// Hold is Ask for a call that stays open at its server until its caller answers. It is ended when the caller does not in
// time, or is refused before it sees the state; false when there is no room for it, and then it is the forwarder's to end.
func (r *Rounds) Hold(c *Call, call Held) (state string, ok bool) { return r.keep(c, nil, call) }

func (r *Rounds) keep(c *Call, state []byte, held Held) (string, bool) {
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails (Go 1.24)
	id, err := r.seal(c, random[:])
	if err != nil {
		return "", false // it continues nothing
	}
	n := &Round{
		all: r, id: id, who: c.Caller.Tenant() + "\n" + c.Caller.Session(), of: continued(c),
		by:    Holder{c.Caller.Tenant(), c.Caller.User(), c.Caller.Agent(), c.Caller.KeyID()},
		state: clone(state), held: held, grant: c.Grant, approval: c.Approval, approvals: c.Approvals, record: c.first, expires: c.Started.Add(or(r.Keep, 10*time.Minute)),
	}
	if c.Round != nil {
		n.record, n.approval, n.approvals = c.Round.record, c.Round.approval, c.Round.approvals
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open, r.of, r.heldOf = map[string]*Round{}, map[string]int{}, map[string]int{}
	}
	if held != nil && (r.closed || r.held >= or(r.MostHeld, 512) || r.heldOf[n.by.Tenant] >= or(r.MostHeldTenant, 128) || r.heldOf[n.by.name()] >= or(r.MostHeldOf, 16)) {
		return "", false
	}
	for e := r.order.Front(); e != nil; e = r.order.Front() {
		if old := e.Value.(*Round); !old.over(c.Started) && len(r.open) < or(r.Most, 10_000) {
			break
		}
		r.forget(e.Value.(*Round))
	}
	for e := r.order.Front(); e != nil && r.of[n.who] >= or(r.MostOf, 100); {
		old := e.Value.(*Round)
		if e = e.Next(); old.who == n.who {
			r.forget(old)
		}
	}
	n.place = r.order.PushBack(n)
	r.open[n.id] = n
	r.of[n.who]++
	if held != nil {
		r.held++
		r.heldOf[n.by.Tenant]++
		r.heldOf[n.by.name()]++
		n.ends = time.AfterFunc(or(r.HoldFor, 5*time.Minute), n.end)
	}
	c.next = n
	return n.id, true
}

// over says whether the time for an answer is up. A call that is held has a timer.
func (n *Round) over(now time.Time) bool { return n.held == nil && !now.Before(n.expires) }

// end forgets a round that nobody has taken, and ends the call that is held for it.
func (n *Round) end() {
	n.all.mu.Lock()
	defer n.all.mu.Unlock()
	if n.all.open[n.id] == n {
		n.all.forget(n)
	}
}

// Close ends the calls that are held, and waits for their ends as long as ctx does. None is held from then on.
func (r *Rounds) Close(ctx context.Context) error {
	for _, held := range r.close() {
		select {
		case <-held.Done():
		case <-ctx.Done():
			return fmt.Errorf("calls that were held have not ended: %w", ctx.Err())
		}
	}
	return nil
}

func (r *Rounds) close() (all []Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, n := range r.open {
		if n.held != nil {
			all = append(all, n.held)
			r.forget(n)
		}
	}
	return all
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// continued is what two rounds of one call have in common.
func continued(c *Call) string {
	h := sha256.New()
	for _, part := range []string{c.Route, c.Op, c.Server, c.Name, string(came(c))} {
		n := sha256.Sum256([]byte(part))
		h.Write(n[:])
	}
	return string(h.Sum(nil))
}

// came is the arguments as the caller sent them.
func came(c *Call) []byte {
	if c.Came != nil {
		return c.Came
	}
	return c.Args
}

// Continue makes the call the next round of the one that the state was given for; false when there is none such: the state
// is of another caller or call, was used, or has expired. Its arguments have to be those of the first round, as they came.
func (r *Rounds) Continue(c *Call, state string) bool {
	if !r.genuine(c, state) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.open[state]
	if n == nil || n.who != c.Caller.Tenant()+"\n"+c.Caller.Session() || n.of != continued(c) || n.over(c.Started) {
		return false
	}
	c.Round = n
	return true
}

// drop takes a round out of the table. r.mu is held.
func (r *Rounds) drop(n *Round) {
	r.order.Remove(n.place)
	delete(r.open, n.id)
	if r.of[n.who]--; r.of[n.who] == 0 {
		delete(r.of, n.who)
	}
	if n.held == nil {
		return
	}
	n.ends.Stop()
	r.held--
	for _, of := range [...]string{n.by.Tenant, n.by.name()} {
		if r.heldOf[of]--; r.heldOf[of] == 0 {
			delete(r.heldOf, of)
		}
	}
}

// forget drops a round that is not gone on with. r.mu is held.
func (r *Rounds) forget(n *Round) {
	r.drop(n)
	if n.held != nil {
		n.held.End()
	}
}

// letGo ends what is held for a call that is refused: for the round that it took, and for the one that its caller was to come
// back for and is not told of.
func (c *Call) letGo() {
	if c.Denial == nil {
		return
	}
	if c.took && c.Round.held != nil {
		c.Round.held.End()
	}
	if c.next != nil {
		c.next.end()
	}
}

// take uses the state up, once.
func (n *Round) take() bool {
	n.all.mu.Lock()
	defer n.all.mu.Unlock()
	if n.all.open[n.id] != n {
		return false
	}
	n.all.drop(n)
	return true
}

// name tells rounds apart; nil has none.
func (n *Round) name() []byte {
	if n == nil {
		return nil
	}
	return []byte(n.id)
}

// State is the server's own state of the call, a raw JSON string, or nil.
func (n *Round) State() []byte { return n.state }

// Held is the call that the next round goes on with; nil when its server is called anew, and of no round.
func (n *Round) Held() Held {
	if n == nil {
		return nil
	}
	return n.held
}

// Grant is the step that the first round took, when it was a step of the plan that root names.
func (n *Round) Grant(root merkle.Hash) (intent.Grant, bool) {
	return n.grant, n.grant.Valid() && n.grant.PlanRoot() == root
}

// RoundOver says why a state that a client shows is not taken.
const RoundOver = "the requestState is not one that this call was given, or it was used or has expired: make the call again without it"

// OverRound refuses such a state.
func OverRound() *Denial {
	d := Deny(Malformed, RoundOver)
	d.Hint = "make the call again without requestState and inputResponses"
	return d
}

var errRoundOver = errors.New("the round was taken by another call")

// continues makes the record of a further round one that names plan and token, and spends no step. What the client answered
// stands in it by its salted digest.
func (c *Call) continues(r *ledger.Record) {
	if c.Round != nil {
		r.Plan, r.Step, r.Uses, r.After, r.PlanExpires = merkle.Hash{}, -1, 0, r.After[:0], 0
		note(r, "continues "+c.Round.record)
	}
	if c.Input != nil && r.Kind == ledger.Admitted {
		digest := saltedDigest(&c.seal, c.Salt, c.Input)
		note(r, "with input "+hex.EncodeToString(digest[:]))
	}
}
