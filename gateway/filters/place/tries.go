package place

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/gatewright/gatewright/wasm/abi"
)

// Tries asks a filter in shadow, one call after the other, behind the calls themselves.
type Tries struct {
	unit     Unit
	jobs     chan *try
	free     chan *try
	done     chan struct{}
	said     func(v *abi.Verdict, err error)
	labelled atomic.Uint64
	skipped  atomic.Uint64
}

// try is a call on its way to a shadow.
type try struct {
	context abi.Context
	labels  []string
	body    []byte
	args    []byte
	verdict abi.Verdict
}

// Bounds of what waits for one filter in shadow.
const (
	maxTries    = 16
	maxTryBytes = 64 << 10 // of a body whose memory is kept
)

// NewTries begins to ask u what Try brings, until Close. said is told of each verdict; it may be nil.
func NewTries(u Unit, said func(v *abi.Verdict, err error)) *Tries {
	t := &Tries{unit: u, said: said, jobs: make(chan *try, maxTries), free: make(chan *try, maxTries), done: make(chan struct{})}
	go t.run()
	return t
}

// offer hands a call over, if there is room. Only who holds the set may.
func (t *Tries) offer(c *abi.Context) {
	if len(t.jobs) == cap(t.jobs) {
		t.skipped.Add(1)
		return
	}
	var j *try
	select {
	case j = <-t.free:
	default:
		j = new(try)
	}
	j.take(c)
	select {
	case t.jobs <- j:
	default:
		t.skipped.Add(1)
		t.give(j)
	}
}

// take copies a call: its strings may be views of memory that is used again once it is over.
func (j *try) take(c *abi.Context) {
	to := &j.context
	to.Reset()
	to.Tenant, to.Agent, to.User = strings.Clone(c.Tenant), strings.Clone(c.Agent), strings.Clone(c.User)
	to.Op, to.Server, to.Tool = strings.Clone(c.Op), strings.Clone(c.Server), strings.Clone(c.Tool)
	to.Now, to.Plan, to.Phase, to.Flags = c.Now, c.Plan, c.Phase, c.Flags
	to.Plan.ID = strings.Clone(c.Plan.ID)
	j.labels = append(j.labels[:0], c.Labels...)
	for i, l := range j.labels {
		j.labels[i] = strings.Clone(l)
	}
	j.body, j.args = append(j.body[:0], c.Body...), append(j.args[:0], c.Arguments...)
	to.Labels, to.Body = j.labels, j.body
	if c.Arguments != nil {
		to.Arguments = j.args
	}
}

func (t *Tries) give(j *try) {
	if cap(j.body) > maxTryBytes || cap(j.args) > maxTryBytes || cap(j.verdict.Body) > maxTryBytes {
		return
	}
	select {
	case t.free <- j:
	default:
	}
}

// run asks until close.
func (t *Tries) run() {
	defer close(t.done)
	for j := range t.jobs {
		t.ask(j)
		t.give(j)
	}
}

// ask judges one call. Fuel bounds how long it takes; what comes of it is counted and nothing else.
func (t *Tries) ask(j *try) {
	var err error
	if j.context.Phase == abi.Response {
		err = t.unit.OnResponse(context.Background(), &j.context, &j.verdict)
	} else {
		err = t.unit.Decide(context.Background(), &j.context, &j.verdict)
	}
	if err == nil && (len(j.verdict.Labels) > 0 || len(j.verdict.Scores) > 0) {
		t.labelled.Add(1)
	}
	if t.said != nil {
		t.said(&j.verdict, err)
	}
}

// Close ends it once what waits was asked. Nobody may offer any more.
func (t *Tries) Close() {
	close(t.jobs)
	<-t.done
}

// Labelled is how many verdicts had labels or scores.
func (t *Tries) Labelled() uint64 { return t.labelled.Load() }

// Skipped is how many calls were passed over.
func (t *Tries) Skipped() uint64 { return t.skipped.Load() }
