package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// outcome is all that is known of a call: what its caller was told, and what the ledger holds.
type outcome struct {
	call     call
	result   *gatewright.Result // one of these two
	refusal  *gatewright.Error
	took     time.Duration // as the agent sees it
	receipt  string
	record   ledger.Record  // out of the receipt
	admitted *ledger.Record // the record before it, when the call was let out
	letOut   bool           // the ledger holds that some tool was called meanwhile
	verbatim bool           // the record is about the arguments byte for byte as they were sent
}

// judged is the record that was made when the stages had been asked.
func (o *outcome) judged() *ledger.Record {
	if o.admitted != nil {
		return o.admitted
	}
	return &o.record
}

// stages are those that were asked.
func (o *outcome) stages() []ledger.StageTime { return o.judged().Stages }

func (o *outcome) stageNames() []string {
	var names []string
	for _, s := range o.stages() {
		names = append(names, s.Name)
	}
	return names
}

// admission is how long it took until the use was counted and the record durable: from that record's time to when the
// call was let out, which was its duration before it was settled.
func (o *outcome) admission() time.Duration {
	us := o.record.Time - o.admitted.Time - int64(o.record.Micros)
	return time.Duration(max(0, us)) * time.Microsecond
}

// take makes a call and finds out what the ledger holds about it.
func (g *guide) take(ctx context.Context, c call) (*outcome, error) {
	o := &outcome{call: c}
	id, salt, err := g.send(ctx, o)
	if err != nil {
		return nil, err
	}
	switch {
	case o.receipt == "" && o.refusal != nil:
		return nil, fmt.Errorf("no receipt came with the refusal: %w", o.refusal)
	case o.receipt == "":
		return nil, errors.New("no receipt came with the answer")
	}
	r, err := ledger.ParseReceipt([]byte(o.receipt))
	if err != nil {
		return nil, fmt.Errorf("the receipt is none: %w", err)
	}
	if o.record, err = r.Record(); err != nil {
		return nil, fmt.Errorf("the receipt holds no record: %w", err)
	}
	if o.record.ID != id || o.record.Server != "demo" || o.record.Tool != c.tool {
		return nil, fmt.Errorf("the receipt is about %s, a call of %s/%s", o.record.ID, o.record.Server, o.record.Tool)
	}
	g.kept = append(g.kept, kept{o.receipt, id})
	if err := g.trail.read(ctx, g.host.admin); err != nil {
		return nil, err
	}
	if err := g.trail.complete(o, r.LeafHash()); err != nil {
		return nil, err
	}
	o.verbatim = (&gatewright.Verified{Record: o.record}).CoversArguments(salt, []byte(c.args))
	if !o.verbatim && len(o.judged().Labels) == 0 {
		return nil, errors.New("the receipt is about other arguments than those that were sent, and no filter says that it changed them")
	}
	return o, nil
}

// send makes the call.
func (g *guide) send(ctx context.Context, o *outcome) (record, salt string, err error) {
	began := g.o.Now()
	r, err := g.host.agent.Call(ctx, gatewright.Call{Server: "demo", Tool: o.call.tool, Args: json.RawMessage(o.call.args), Token: g.token})
	o.took = g.o.Now().Sub(began)
	if err == nil {
		o.result, o.receipt = r, r.Receipt
		return r.Record, r.Salt, nil
	}
	if e, ok := errors.AsType[*gatewright.Error](err); ok {
		o.refusal, o.receipt = e, e.Receipt
		return e.Record, e.Salt, nil
	}
	return "", "", err
}

// trail is what the ledger has shown so far.
type trail struct {
	next  uint64
	known map[string]entry
	fresh []string // ids since the call before
}

type entry struct {
	record ledger.Record
	leaf   merkle.Hash
}

// page is how many records are asked for at once; a call leaves two.
const page = 100

// read reads the records that are new.
func (t *trail) read(ctx context.Context, admin *gatewright.Admin) error {
	if t.known == nil {
		t.known = map[string]entry{}
	}
	t.fresh = nil
	for {
		list, size, err := admin.Records(ctx, t.next, page)
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		for i := range list {
			if err := t.add(&list[i]); err != nil {
				return fmt.Errorf("read the ledger: record %d: %w", t.next, err)
			}
		}
		if len(list) == 0 || t.next >= size {
			return nil
		}
	}
}

func (t *trail) add(in *gatewright.Record) error {
	leaf := merkle.LeafHash(in.Record)
	if in.Index != t.next || in.Leaf != leaf.String() {
		return errors.New("it is not in its place, or not the one whose hash stands beside it")
	}
	r, err := ledger.ParseRecord(in.Record)
	if err != nil {
		return err
	}
	t.known[r.ID] = entry{r, leaf}
	t.fresh = append(t.fresh, r.ID)
	t.next++
	return nil
}

// complete adds what the ledger holds: the receipt's record must stand in it byte for byte.
func (t *trail) complete(o *outcome, leaf merkle.Hash) error {
	e, ok := t.known[o.record.ID]
	if !ok || e.leaf != leaf {
		return fmt.Errorf("the ledger does not hold the record of the receipt, %s", o.record.ID)
	}
	if first, ok := t.known[o.record.Of]; ok && o.record.Of != "" {
		o.admitted = &first.record
	}
	for _, id := range t.fresh {
		if r := t.known[id].record; r.Kind == ledger.Admitted && r.Tool != "" {
			o.letOut = true
		}
	}
	return nil
}
