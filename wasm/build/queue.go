package build

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Queue hands out places at which work of tenants is done: first to those whose tenant holds fewest, among them to who came
// first. Many goroutines may use it at once.
type Queue struct {
	parallel, most, perTenant int

	mu      sync.Mutex // guards what follows
	running int
	tenants map[string]*share
	waiting []*ticket
}

// share is what one tenant has in the queue.
type share struct{ running, open int }

type ticket struct {
	tenant string
	turn   chan struct{} // closed when the place is given
}

// NewQueue has parallel places, and lets most more wait. perTenant bounds what one tenant has of both.
func NewQueue(parallel, most, perTenant int) *Queue {
	return &Queue{parallel: parallel, most: most, perTenant: perTenant, tenants: make(map[string]*share)}
}

// Enter waits for a place; leave must follow unless there is an error, which is an *Error: Busy at once when too many wait,
// Canceled when ctx ends first.
func (q *Queue) Enter(ctx context.Context, tenant string) (leave func(), err error) {
	t, err := q.line(tenant)
	if err != nil {
		return nil, err
	}
	select {
	case <-t.turn:
		return func() { q.leave(tenant) }, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, t); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.close(tenant)
	} else { // it was given the place just now
		q.release(tenant)
	}
	return nil, refuse(Canceled, Usage{}, "nobody waits for it any more")
}

// line stands a tenant in the queue.
func (q *Queue) line(tenant string) (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.tenants[tenant]
	switch {
	case s != nil && s.open >= q.perTenant:
		return nil, refuse(Busy, Usage{}, fmt.Sprintf("%d modules of this tenant are being compiled or wait for it", s.open))
	case q.running >= q.parallel && len(q.waiting) >= q.most:
		return nil, refuse(Busy, Usage{}, fmt.Sprintf("%d modules wait to be compiled", len(q.waiting)))
	case s == nil:
		s = &share{}
		q.tenants[tenant] = s
	}
	s.open++
	t := &ticket{tenant, make(chan struct{})}
	q.waiting = append(q.waiting, t)
	q.next()
	return t, nil
}

func (q *Queue) leave(tenant string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(tenant)
}

func (q *Queue) release(tenant string) {
	q.running--
	q.tenants[tenant].running--
	q.close(tenant)
	q.next()
}

// close forgets one of a tenant's tickets.
func (q *Queue) close(tenant string) {
	s := q.tenants[tenant]
	if s.open--; s.open == 0 {
		delete(q.tenants, tenant)
	}
}

// next gives free places away.
func (q *Queue) next() {
	for q.running < q.parallel && len(q.waiting) > 0 {
		best := 0
		for i, t := range q.waiting {
			if q.tenants[t.tenant].running < q.tenants[q.waiting[best].tenant].running {
				best = i
			}
		}
		t := q.waiting[best]
		q.waiting = slices.Delete(q.waiting, best, best+1)
		q.running++
		q.tenants[t.tenant].running++
		close(t.turn)
	}
}
