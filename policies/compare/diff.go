package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// Batch is questions that were read together. Read is called for each, by one goroutine, with a parser of its own.
type Batch interface {
	Len() int
	// Read gives the i-th question, for use until the goroutine's next Read. A Lost says that it cannot be replayed, and is counted; any other error ends the
	// comparison.
	Read(i int, p *Parser) (RecordedAsk, error)
}

// Asks is a Batch of questions that are at hand.
type Asks []RecordedAsk

// Len implements Batch.
func (a Asks) Len() int { return len(a) }

// Read implements Batch.
func (a Asks) Read(i int, _ *Parser) (RecordedAsk, error) { return a[i], nil }

var _ Batch = Asks(nil)

// Options say how to compare.
type Options struct {
	Examples int // of each group; 0 is 5
	Workers  int // 0 is one for each core
	// Resolve finds the principal of a question that keeps only its digest, as it is now; nil, or an answer of nil, loses it.
	// It is called by several goroutines.
	Resolve func(r *RecordedAsk) *policies.Principal
	// Progress is told now and then how many questions were looked at, and at the end. It is called by one goroutine at a time.
	Progress func(read uint64)
}

// progressEvery is how often Progress is called.
const progressEvery = 250 * time.Millisecond

// Diff puts the questions of all batches to both engines. An engine that is nil refuses everything, as it would in force.
// What a call's terms, holds and shadows add is as in the recorded question; policies in shadow are not enforced in either.
// It ends early, with an error, when ctx does, or when a batch cannot be read.
func Diff(ctx context.Context, old, next *policies.Engine, batches iter.Seq2[Batch, error], o Options) (*Report, error) {
	if o.Examples <= 0 {
		o.Examples = 5
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &differ{o: o, old: old, next: next, cancel: cancel, work: make(chan numbered, o.Workers)}
	tallies := make([]*tally, o.Workers)
	var workers, told sync.WaitGroup
	done := make(chan struct{})
	told.Go(func() { d.tell(done) })
	for i := range tallies {
		tallies[i] = newTally(o.Examples)
		workers.Go(func() { d.run(ctx, tallies[i]) })
	}
	d.feed(ctx, batches)
	workers.Wait()
	close(done)
	told.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("compare policies: %w", err)
	}
	all := newTally(o.Examples)
	for _, t := range tallies {
		all.add(t)
	}
	return all.report(), nil
}

// differ is one comparison under way.
type differ struct {
	o         Options
	old, next *policies.Engine
	cancel    context.CancelCauseFunc
	work      chan numbered
	read      atomic.Uint64
}

// numbered is a batch and the number of its first question.
type numbered struct {
	Batch
	first uint64
}

// feed hands the batches to the workers.
func (d *differ) feed(ctx context.Context, batches iter.Seq2[Batch, error]) {
	defer close(d.work)
	at := uint64(0)
	for b, err := range batches {
		if err != nil {
			d.cancel(err)
			return
		}
		select {
		case d.work <- numbered{b, at}:
		case <-ctx.Done():
			return
		}
		at += uint64(b.Len()) //nolint:gosec // not negative
	}
}

// tell reports progress until done.
func (d *differ) tell(done <-chan struct{}) {
	if d.o.Progress == nil {
		return
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.o.Progress(d.read.Load())
		case <-done:
			d.o.Progress(d.read.Load())
			return
		}
	}
}

// run compares batches until there are none.
func (d *differ) run(ctx context.Context, t *tally) {
	p := &Parser{}
	for b := range d.work {
		for i := range b.Len() {
			if ctx.Err() != nil {
				break
			}
			r, err := b.Read(i, p)
			var lost Lost
			switch {
			case err == nil:
				d.compare(&r, b.first+uint64(i), t) //nolint:gosec // not negative
			case errors.As(err, &lost):
				t.Lost[string(lost)]++
			default:
				d.cancel(err)
			}
			t.Read++
			d.read.Add(1)
		}
	}
}

// What a record may lack.
const (
	lackPrincipal = "who called is as the directory knows them now"
	lackTerms     = "terms that narrowed the bundle are left out"
)

// compare asks both engines.
func (d *differ) compare(r *RecordedAsk, at uint64, t *tally) {
	lack := ""
	if r.Principal == nil {
		if d.o.Resolve != nil {
			r.Principal = d.o.Resolve(r)
		}
		if lack = lackPrincipal; r.Principal == nil {
			t.Lost[string(LostPrincipal)]++
			return
		}
	}
	ask := r.Ask()
	if d.next != nil && d.next.Knows(&ask) != nil && (d.old == nil || d.old.Knows(&ask) != nil) {
		t.Lost[string(LostTool)]++
		return
	}
	t.Replayed++
	if r.Narrowed {
		lack = lackTerms
	}
	if lack != "" {
		t.Approximate[lack]++
	}
	was, will := d.old.Decide(&ask), d.next.Decide(&ask)
	from, to := verdict(&was), verdict(&will)
	if r.Verdict != "" && r.Verdict != from && !r.Narrowed {
		t.unexplained(r, was.Bundle().String(), at)
	}
	if from != to || demands(&was) != demands(&will) {
		k := blame(from, to, &was, &will)
		t.flip(k, r.Target(), r.Agent, func() Example { return r.example(at) })
	}
}

func verdict(d *policies.Decision) string {
	switch {
	case d.Allowed():
		return Allow
	case d.Held():
		return Hold
	}
	return Deny
}

// demands are what an answer asks for before the call goes out: how many people of which role, how many calls in which span.
func demands(d *policies.Decision) string {
	var all []string
	for _, r := range d.Rates() {
		all = append(all, fmt.Sprint(r.Max, r.Per, r.By, r.Cap))
	}
	if d.Held() {
		people, role := 0, ""
		for _, h := range d.Holds() {
			if people = max(people, h.Approvals); role != "admin" && h.Approver != "" {
				role = h.Approver
			}
		}
		all = append(all, fmt.Sprint(people, role))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "; ")
}

// demanding names the first policy that asks for something.
func demanding(d *policies.Decision) string {
	for _, r := range d.Rates() {
		return r.Policy
	}
	for _, h := range d.Holds() {
		return h.Policy
	}
	return ""
}

// strictness orders answers.
var strictness = map[string]int{Allow: 0, Hold: 1, Deny: 2}

// blame finds the policy that makes the difference: what the stricter answer names or, when nothing but the lack of a permit
// determined that, the permit of the other.
func blame(from, to string, was, will *policies.Decision) groupKey {
	k := groupKey{from: from, to: to, of: "new"}
	if from == to {
		if k.policy = demanding(will); k.policy == "" {
			k.policy, k.of = demanding(was), "old"
		}
		return k
	}
	strict, loose, other := will, was, "old"
	if strictness[from] > strictness[to] {
		strict, loose, k.of, other = was, will, "old", "new"
	}
	names := strict.Policies()
	if len(names) == 0 {
		if errs := strict.Errors(); len(errs) > 0 {
			k.err = errs[0]
			return k
		}
		names, k.of = loose.Policies(), other
	}
	if len(names) > 0 {
		k.policy = names[0]
	}
	return k
}

// Target is what was called, in words.
func (r *RecordedAsk) Target() string {
	switch {
	case r.Server == "" && r.Tool == "":
		return r.Action
	case r.Action == "call_tool":
		return r.Server + "/" + r.Tool
	}
	return strings.TrimSuffix(r.Action+" "+r.Server+"/"+r.Tool, "/")
}

func (r *RecordedAsk) example(at uint64) Example {
	x := Example{Record: r.Record, Agent: r.Agent, Target: r.Target(), at: at}
	if r.made {
		x.Args, x.Ask = string(r.Args), r.describe()
	}
	return x
}

// describe is what a made-up request says beside its arguments.
func (r *RecordedAsk) describe() string {
	b, err := json.Marshal(map[string]any{
		"principal": r.Principal, "user": r.User, "plan": r.Plan, "session": r.Session, "labels": r.Labels, "scores": r.Scores,
		"addr": r.Addr, "tls": r.TLS, "now": r.Time, "approved": r.Approved, "approvals": r.Approvals,
	})
	if err != nil {
		return ""
	}
	return string(b)
}

// unexplained counts a record whose answer the old bundle does not give.
func (t *tally) unexplained(r *RecordedAsk, bundle string, at uint64) {
	u := &t.Unexplained
	if r.Bundle == bundle {
		u.Same++
	} else {
		u.Other++
	}
	if len(u.Examples) < t.examples {
		u.Examples = append(u.Examples, r.example(at))
	}
}
