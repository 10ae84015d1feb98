package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// delivery is one request that left the gateway, with the durable record that lets it.
type delivery struct {
	args   string
	record string // "" when none was there
	digest merkle.Hash
}

// witness stands where calls leave the gateway. It counts them and looks, at that moment, whether the log holds an
// admitted record for each. It is the tool too, where nothing else stands behind it.
type witness struct {
	w *world

	mu      sync.Mutex // guards what follows
	from    uint64     // index of the tenant's log where this fault's records begin
	sent    []delivery
	claimed map[string]bool
}

func (t *witness) begin(from uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from, t.sent, t.claimed = from, nil, map[string]bool{}
}

func (t *witness) seen() []delivery {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.sent)
}

// see notes one request that leaves.
func (t *witness) see(args []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := delivery{args: string(args)}
	recs, err := t.w.records(tenant, t.from)
	for i := range recs {
		if r := &recs[i]; err == nil && r.Kind == ledger.Admitted && !t.claimed[r.ID] {
			t.claimed[r.ID] = true
			d.record, d.digest = r.ID, r.Request
			break
		}
	}
	t.sent = append(t.sent, d)
}

// Carry is the tool itself.
func (t *witness) Carry(ctx context.Context, _ *upstream.Target, r *upstream.Request, reply *upstream.Reply) error {
	t.see(r.Arguments)
	return t.w.in.around(ctx, "carrier", func() error {
		reply.Result = []byte(`{"content":[{"type":"text","text":"done"}]}`)
		return nil
	})
}

// records reads a tenant's durable records from an index on.
func (w *world) records(tenant string, from uint64) ([]ledger.Record, error) {
	var out []ledger.Record
	for {
		entries, err := w.book.log.Load().Scan(context.Background(), tenant, from, 1000)
		if errors.Is(err, wal.ErrTenant) {
			return out, nil
		}
		if err != nil || len(entries) == 0 {
			return out, err
		}
		for i := range entries {
			r, err := entries[i].Record()
			if err != nil {
				return out, err
			}
			out = append(out, r)
		}
		from += uint64(len(entries))
	}
}

// outcome is one call and what it left behind.
type outcome struct {
	f        *fault
	call     *pipeline.Call
	panicked any
	sent     []delivery
	records  []ledger.Record
	problem  error // the log could not be read
}

// run takes a call down the line and looks at all it left.
func (w *world) run(f *fault, ctx context.Context, c *pipeline.Call) (o *outcome) { //nolint:revive // the fault names the outcome
	from := w.book.log.Load().Size(tenant)
	w.witness.begin(from)
	o = &outcome{f: f, call: c}
	func() {
		defer func() { o.panicked = recover() }()
		w.line.Run(ctx, c)
	}()
	o.sent = w.witness.seen()
	o.records, o.problem = w.records(tenant, from)
	for i := range o.records {
		w.known[o.records[i].ID] = o.records[i].Kind
	}
	return o
}

// finding is something that must not be.
type finding struct {
	kind string // allowed or unrecorded
	text string
}

const (
	allowed    = "allowed"
	unrecorded = "unrecorded"
)

// judge holds an outcome against what the log and the witness hold.
func (w *world) judge(o *outcome) (all []finding) {
	add := func(kind, format string, args ...any) {
		all = append(all, finding{kind, o.f.String() + ": " + fmt.Sprintf(format, args...)})
	}
	c := o.call
	if o.problem != nil {
		add(unrecorded, "the ledger cannot be read: %v", o.problem)
	}
	w.judgeSent(o, add)
	if o.panicked != nil {
		add(unrecorded, "no answer, a panic left the line: %v", o.panicked)
		return all
	}
	if c.Denial != nil && (c.Reply.Result != nil || c.Reply.Error != nil) {
		add(allowed, "a reply came with the refusal")
	}
	if c.Denial == nil && (o.f.refuse || o.f.silent) {
		add(allowed, "it was answered all the same")
	}
	w.judgeRecords(o, add)
	return all
}

// judgeSent holds what left against what was admitted.
func (w *world) judgeSent(o *outcome, add func(kind, format string, args ...any)) {
	for _, d := range o.sent {
		switch {
		case d.record == "":
			add(allowed, "%s left without a durable record", d.args)
		case o.call.Denial == nil && !o.call.Kept && d.digest != salted(o.call.Salt, d.args):
			add(allowed, "what left is not what %s admitted", d.record)
		}
	}
	if o.f.refuse && len(o.sent) > 0 {
		add(allowed, "%d calls left in spite of the fault", len(o.sent))
	}
	if len(o.sent) > 1 {
		add(allowed, "one call left %d times", len(o.sent))
	}
}

func salted(salt [16]byte, b string) merkle.Hash {
	return sha256.Sum256(append(salt[:], b...))
}

// judgeRecords asks for the records of what was refused, and of what was admitted.
func (w *world) judgeRecords(o *outcome, add func(kind, format string, args ...any)) {
	c := o.call
	excused := o.f.ledger && c.Denial != nil && c.Denial.Code == pipeline.AuditUnavailable
	for _, id := range unsettled(o.records) {
		if !excused {
			add(unrecorded, "%s was admitted and is not settled", id)
		}
	}
	if excused {
		return // nothing left without its record, as judgeSent has seen
	}
	if !c.Caller.Valid() {
		w.judgeStranger(o, add)
		return
	}
	want := ledger.Settled
	if c.Denial != nil && !slices.ContainsFunc(o.records, func(r ledger.Record) bool { return r.Kind == ledger.Admitted }) {
		want = ledger.Refused
	}
	if err := w.receipted(c, want); err != nil {
		add(unrecorded, "%s: %v", told(c), err)
	}
}

// judgeStranger wants a caller whom nobody knows to be refused, and to be counted in the instance's own chain.
func (w *world) judgeStranger(o *outcome, add func(kind, format string, args ...any)) {
	if o.call.Denial == nil || len(o.sent) > 0 || len(o.records) > 0 {
		add(allowed, "nobody was identified, and yet: %s, %d left", told(o.call), len(o.sent))
	}
	from := w.book.log.Load().Size(ledger.InstanceTenant)
	if err := w.line.Strangers.Flush(context.Background(), w.line); err != nil {
		add(unrecorded, "refusals of strangers: %v", err)
	}
	if recs, err := w.records(ledger.InstanceTenant, from); err != nil || len(recs) != 1 {
		add(unrecorded, "%d records of one stranger's refusal: %v", len(recs), err)
	}
}

// receipted wants the call's receipt to be good and to name a record of that kind that stands in the log.
func (w *world) receipted(c *pipeline.Call, want ledger.Kind) error {
	if c.Denial == nil && (c.Reply.Result == nil) == (c.Reply.Error == nil) {
		return errors.New("answered with neither a result nor an error")
	}
	rc, err := ledger.ParseReceipt(c.Receipt)
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	log := w.book.log.Load()
	if err := rc.Verify(ledger.VerifierKeys{log.VerifierKey()}); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	rec, err := rc.Record()
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if rec.ID != c.Record || rec.Kind != want {
		return fmt.Errorf("the receipt is of %s %s, the caller was told %s", rec.Kind, rec.ID, c.Record)
	}
	if c.Denial == nil && rec.Reply != salted(c.Salt, string(append(c.Reply.Result, c.Reply.Error...))) {
		return fmt.Errorf("the record of %s is of another reply", c.Record)
	}
	if w.known[rec.ID] != want {
		return fmt.Errorf("%s is not in the log", rec.ID)
	}
	return nil
}

func told(c *pipeline.Call) string {
	if c.Denial == nil {
		return "answered"
	}
	return "refused with " + string(c.Denial.Code)
}

// unsettled are the admitted records that no settled one closes.
func unsettled(recs []ledger.Record) (open []string) {
	closed := map[string]bool{}
	for i := range recs {
		if recs[i].Kind == ledger.Settled {
			closed[recs[i].Of] = true
		}
	}
	for i := range recs {
		if r := &recs[i]; r.Kind == ledger.Admitted && !closed[r.ID] {
			open = append(open, r.ID)
		}
	}
	return open
}
