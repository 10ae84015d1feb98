package main

import (
	"sync"
	"time"
)

// journal is what clients were told and may rely on, and what they asked for and do not know about.
type journal struct {
	mu       sync.Mutex // guards all below
	next     int64
	steps    map[int64]*step // by the number their arguments carry
	promises []promise       // since the last judgement
	told     int             // in all
	revoked  []revoked
	keys     []madeKey // that must work
	failed   []string  // answers nobody expected; they are no violation of what is counted
}

// step is a step of a plan with the number that its effect is known by.
type step struct {
	spend
	n    int64
	uses uint32
}

// revoked is something whose revocation was acknowledged, with what must not work any more.
type revoked struct {
	what       string
	tenant     string
	key, token string
	n          int64 // of the step to try; 0: the key alone is tried
}

// madeKey is a key whose making was acknowledged and that nobody has begun to revoke.
type madeKey struct{ tenant, id, secret string }

func newJournal() *journal { return &journal{steps: map[int64]*step{}} }

// number gives out numbers that no other step has.
func (j *journal) number() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	return j.next
}

// planned notes the steps of a plan before anybody may take one.
func (j *journal) planned(all []*step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range all {
		j.steps[s.n] = s
	}
}

func (j *journal) step(n int64) *step {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.steps[n]
}

// ack notes an answer that names a record. Answers without one promise nothing.
func (j *journal) ack(tenant string, a *answer) {
	if a == nil || a.record == "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told++
	j.promises = append(j.promises, promise{tenant: tenant, record: a.record, receipt: a.receipt, at: time.Now()})
}

func (j *journal) made(k madeKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keys = append(j.keys, k)
}

// unmade takes a key back before its revocation is asked for: from then on nobody knows.
func (j *journal) unmade(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, k := range j.keys {
		if k.id == id {
			j.keys = append(j.keys[:i], j.keys[i+1:]...)
			return
		}
	}
}

func (j *journal) gone(r revoked) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.revoked = append(j.revoked, r)
}

func (j *journal) fail(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.failed) < 100 {
		j.failed = append(j.failed, text)
	}
}

// take hands out what was promised since the last time.
func (j *journal) take() []promise {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.promises
	j.promises = nil
	return sorted(p)
}

// standing copies what must be refused and what must work.
func (j *journal) standing() ([]revoked, []madeKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]revoked(nil), j.revoked...), append([]madeKey(nil), j.keys...)
}
