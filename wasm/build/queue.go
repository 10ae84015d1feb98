package build

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Queue hands out places at which work of tenants is done, so that none can shut others out: a tenant never has all places
// where there is more than one; a free place goes to those who hold fewest, among them in turn, tenant by tenant; and where no
// more may wait, a tenant that waits with fewer takes the place of one that waits with more. Who comes in can be refused only
// while nobody waits with two more than its tenant does. Many goroutines may use it at once.
type Queue struct {
	parallel, most, perTenant int

	mu      sync.Mutex // guards what follows
	running int
	round   uint64 // counts turns
	tenants map[string]*share
	waiting []*ticket // in the order in which they came
}

// share is what one tenant has in the queue.
type share struct {
	running, open int
	turn          uint64 // when it is due: the round in which it began to wait or was last given a place
}

func (s *share) waits() int { return s.open - s.running }

type ticket struct {
	tenant string
	called chan struct{} // closed when the place is given or refused
	err    error         // set before called is closed
}

// NewQueue has parallel places, and lets most more wait. perTenant bounds what one tenant has of both.
func NewQueue(parallel, most, perTenant int) *Queue {
	return &Queue{parallel: parallel, most: most, perTenant: perTenant, tenants: make(map[string]*share)}
}

// Enter waits for a place; leave must follow unless there is an error, which is an *Error: Busy at once when too many wait, or
// later when a tenant with fewer needs the room; Canceled when ctx ends first.
func (q *Queue) Enter(ctx context.Context, tenant string) (leave func(), err error) {
	t, err := q.line(tenant)
	if err != nil {
		return nil, err
	}
	select {
	case <-t.called:
		if t.err != nil {
			return nil, t.err
		}
		return func() { q.leave(tenant) }, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, t); i >= 0 {
		q.drop(i)
	} else if t.err == nil { // it was given the place just now
		q.release(tenant)
	}
	return nil, refuse(Canceled, Usage{}, "nobody waits for it any more")
}

// line stands a tenant in the queue.
func (q *Queue) line(tenant string) (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var has share
	if s := q.tenants[tenant]; s != nil {
		has = *s
	}
	if has.open >= q.perTenant {
		return nil, refuse(Busy, Usage{}, fmt.Sprintf("%d modules of this tenant are at work or wait", has.open))
	}
	waits := q.running >= q.parallel || has.running >= q.share()
	if waits && len(q.waiting) >= q.most && !q.makeRoom(has.waits()) {
		return nil, refuse(Busy, Usage{}, fmt.Sprintf("%d modules wait already", len(q.waiting)))
	}
	s := q.tenants[tenant]
	if s == nil {
		s = &share{}
		q.tenants[tenant] = s
	}
	if s.waits() == 0 {
		s.turn = q.next()
	}
	s.open++
	t := &ticket{tenant: tenant, called: make(chan struct{})}
	q.waiting = append(q.waiting, t)
	q.call()
	return t, nil
}

// share is how many places one tenant may have.
func (q *Queue) share() int { return max(1, q.parallel-1) }

// next begins a turn, which is later than all before.
func (q *Queue) next() uint64 {
	q.round++
	return q.round
}

// makeRoom refuses the newest of the tenant that waits with most, if those are two more than has, so that nobody takes a
// place from whom it would then have to get it back.
func (q *Queue) makeRoom(has int) bool {
	last, most := -1, has+1
	for i, t := range q.waiting {
		if n := q.tenants[t.tenant].waits(); n > most || n == most && last >= 0 && q.waiting[last].tenant == t.tenant {
			last, most = i, n
		}
	}
	if last < 0 {
		return false
	}
	t := q.waiting[last]
	q.drop(last)
	t.err = refuse(Busy, Usage{}, fmt.Sprintf("%d modules of this tenant waited, and one gave way to a tenant with fewer", most))
	close(t.called)
	return true
}

// drop takes who waits at i out.
func (q *Queue) drop(i int) {
	tenant := q.waiting[i].tenant
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.close(tenant)
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
	q.call()
}

// close forgets one of a tenant's tickets.
func (q *Queue) close(tenant string) {
	s := q.tenants[tenant]
	if s.open--; s.open == 0 {
		delete(q.tenants, tenant)
	}
}

// call gives free places away.
func (q *Queue) call() {
	for q.running < q.parallel {
		i := q.due()
		if i < 0 {
			return
		}
		t := q.waiting[i]
		q.waiting = slices.Delete(q.waiting, i, i+1)
		s := q.tenants[t.tenant]
		q.running++
		s.running++
		s.turn = q.next()
		close(t.called)
	}
}

// due finds who is given the next free place: -1 if those who wait have all that they may.
func (q *Queue) due() int {
	best := -1
	var least *share
	for i, t := range q.waiting {
		s := q.tenants[t.tenant]
		if s.running >= q.share() {
			continue
		}
		if least == nil || s.running < least.running || s.running == least.running && s.turn < least.turn {
			best, least = i, s
		}
	}
	return best
}
