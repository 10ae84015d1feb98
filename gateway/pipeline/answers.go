package pipeline

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// Answers keeps the answers of calls that carried an Idempotency-Key, so that a retry of the same request gets the first
// answer again and never has a second effect. It is bounded in entries, bytes and age; what has been dropped is a new
// request to the line, where a used step refuses it.
type Answers struct {
	MaxEntries int           // default 10,000
	MaxBytes   int           // default 64 MiB of kept replies
	Keep       time.Duration // from when a call was answered; default 10 minutes

	mu    sync.Mutex
	index map[answerKey]*answer
	order list.List // of *answer, those that are done, oldest first
	bytes int
}

type answerKey struct{ tenant, agent, credential, key string }

// answer is what one call was answered. While the call runs it is not in the order: nothing but the end of its call takes
// it away, and how many there are is bounded by connections. Once it is done it does not change.
type answer struct {
	key       answerKey
	request   [32]byte
	done      bool
	place     *list.Element // in the order, once it is done
	expires   time.Time     // once it is done
	reply     Reply
	denial    *Denial
	outcome   string // of the settled record; "unknown" when there is none
	code      string
	record    string
	receipt   []byte
	salt      [16]byte
	plan      policies.PlanFacts    // the step that was granted; facts and not the Grant, which would keep its whole plan in memory
	schema    merkle.Hash           // of the tool as it was then
	session   policies.SessionFacts // as it was then
	approval  string                // that let it pass
	approvals int
	size      int
}

// Claim looks the call's key up. On nil the call goes on: either it is the first under its key and now owns it (the Line
// settles it), or the same request was answered before; then Again says so, and the Line gives that answer when every
// stage lets the call pass once more. A refusal comes when the first is still running or was another request.
func (s *Answers) Claim(c *Call, now time.Time) error {
	k := keyOf(c)
	sum := requestDigest(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if a := s.index[k]; a != nil && a.done && !now.Before(a.expires) {
		s.remove(a) // its call let it be given again for less time than others
	}
	if a := s.index[k]; a != nil {
		switch {
		case a.request != sum:
			return Deny(RetryMismatch, "")
		case !a.done:
			return Deny(InProgress, "")
		}
		c.again = a
		return nil
	}
	if s.index == nil {
		s.index = map[answerKey]*answer{}
	}
	for len(s.index) >= s.maxEntries() && s.dropOldest() {
	}
	a := &answer{key: k, request: sum}
	s.index[k] = a
	c.claimed, c.entry = s, a
	return nil
}

func keyOf(c *Call) answerKey {
	return answerKey{c.Caller.Tenant(), c.Caller.Agent(), c.Caller.KeyID(), c.Retry}
}

// settle keeps the answer of a call that claimed its key, in the very entry that it claimed. Once a call went out it is
// answered the same from then on; a refusal before that is not kept, so the caller may mend the cause and try again.
func (s *Answers) settle(c *Call, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := c.entry
	c.claimed, c.entry = nil, nil
	if !c.admitted {
		s.remove(a)
		return
	}
	a.done, a.denial, a.record, a.salt, a.plan = true, c.Denial, c.Record, c.Salt, c.Planned()
	if c.Tool != nil {
		a.schema = c.Tool.SchemaHash
	}
	a.outcome, a.code = c.settled()
	a.reply = Reply{Status: c.Reply.Status, Result: clone(c.Reply.Result), Error: clone(c.Reply.Error), Task: c.Reply.Task}
	a.receipt = clone(c.Receipt)
	a.size = len(a.reply.Result) + len(a.reply.Error) + len(a.receipt) + 256
	a.approval, a.approvals, a.session = c.Approval, c.Approvals, c.Session
	for _, l := range a.session.Labels {
		a.size += len(l) + 16
	}
	a.expires, a.place = now.Add(s.keepOf(c)), s.order.PushBack(a)
	s.bytes += a.size
	for s.bytes > s.maxBytes() && s.dropOldest() {
	}
}

// settled is the outcome and code of the call's settled record. Without one nobody can show what came of the call.
func (c *Call) settled() (outcome, code string) {
	switch {
	case c.outcome != "":
		return c.outcome, c.code
	case c.Denial != nil:
		return ledger.OutcomeUnknown, string(c.Denial.Code)
	}
	return ledger.OutcomeUnknown, ""
}

func (s *Answers) expire(now time.Time) {
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		a := e.Value.(*answer)
		if now.Before(a.expires) {
			return
		}
		s.remove(a)
	}
}

// dropOldest forgets the oldest answer that is done, and says whether there was one.
func (s *Answers) dropOldest() bool {
	e := s.order.Front()
	if e == nil {
		return false
	}
	s.remove(e.Value.(*answer))
	return true
}

func (s *Answers) remove(a *answer) {
	if a.place != nil {
		s.order.Remove(a.place)
	}
	delete(s.index, a.key)
	s.bytes -= a.size
}

// requestDigest is over everything that makes two requests the same. Trace context does not: each try has its own.
func requestDigest(c *Call) [32]byte {
	h := sha256.New()
	for _, part := range [][]byte{
		[]byte(c.Route), []byte(c.Op), []byte(c.Server), []byte(c.Name), c.Args, c.Shown.Token, c.Shown.Step, []byte(c.Lent.Header), []byte(c.Lent.Value), c.Input, c.Round.name(), c.Task.name(), extraDigest(c.Extra),
	} {
		n := sha256.Sum256(part)
		h.Write(n[:])
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

func (s *Answers) keep() time.Duration {
	if s.Keep > 0 {
		return s.Keep
	}
	return 10 * time.Minute
}

// keepOf is how long the call's answer may be given again.
func (s *Answers) keepOf(c *Call) time.Duration {
	if c.Keep > 0 {
		return min(c.Keep, s.keep())
	}
	return s.keep()
}

func (s *Answers) maxEntries() int {
	if s.MaxEntries > 0 {
		return s.MaxEntries
	}
	return 10_000
}

func (s *Answers) maxBytes() int {
	if s.MaxBytes > 0 {
		return s.MaxBytes
	}
	return 64 << 20
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
