package retention

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Part is what becomes of one tenant's ledger.
type Part struct {
	Tenant   string `json:"tenant"`
	From, To uint64 // records From to To-1 are given up; equal: none
	Why      string // what keeps more from going, in words
	Size     uint64 // of the checkpoint that the record names
	Root     string // of that checkpoint, hex
	Held     bool   // nothing is, for a legal hold
	Record   string // id of the prune record
	Receipt  string // of that record
	note     string // the checkpoint
}

// edge is what pruning stops at.
type edge struct {
	before time.Time // only what is older may go
	open   bool      // for a call that is open
}

// measure finds what of each tenant may go.
func (k *Keeper) measure(ctx context.Context, tenant string, before time.Time) ([]Part, error) {
	tenants := k.deps.Log.Tenants()
	if tenant != "" {
		tenants = []string{tenant}
	}
	sort.Strings(tenants)
	e := edge{before: before}
	if open, ok := k.deps.Log.OldestOpen(); ok && open.Before(before) {
		e = edge{open, true}
	}
	out := []Part{}
	for _, t := range tenants {
		p, err := k.part(ctx, t, e)
		if err != nil {
			return nil, fmt.Errorf("ledger of %s: %w", t, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (k *Keeper) part(ctx context.Context, tenant string, e edge) (Part, error) {
	row, err := k.kept(ctx, tenant)
	if err != nil {
		return Part{}, err
	}
	first := max(k.deps.Log.First(tenant), row.Next) // what a record has named is not named again
	p := Part{Tenant: tenant, From: first, To: first}
	_, held, err := k.Held(ctx, tenant)
	if err != nil || held {
		p.Held, p.Why = held, "the organisation is under legal hold"
		return p, err
	}
	note, err := k.deps.Tiles.Checkpoint(tenant)
	if errors.Is(err, wal.ErrTenant) {
		p.Why = "no checkpoint is published"
		return p, nil
	}
	if err != nil {
		return p, err
	}
	cp, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return p, err
	}
	p.Size, p.Root, p.note = cp.Size, cp.Root.String(), string(note)
	end, stop, err := k.firstSince(ctx, tenant, first, cp.Size, e.before)
	if err != nil {
		return p, err
	}
	p.To = max(end, first)
	p.Why = why(&p, stop, e)
	return p, nil
}

// why says what a pruning stops at.
func why(p *Part, stop time.Time, e edge) string {
	text := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case stop.IsZero():
		return fmt.Sprintf("the published checkpoint ends before record %d", p.Size)
	case e.open:
		return fmt.Sprintf("record %d is of %s, and a call is open since %s", p.To, text(stop), text(e.before))
	}
	return fmt.Sprintf("record %d is of %s, not older than %s", p.To, text(stop), text(e.before))
}

// firstSince finds the first record that is not older, between two indexes, and when it was made; end, and no time, when
// all are older. It looks at each record from the front. Times are not always ascending: a clock that was wrong for a while
// leaves old times behind young ones, and what lies before an old time may be young. No record is looked at in vain: what is
// passed goes.
func (k *Keeper) firstSince(ctx context.Context, tenant string, first, end uint64, before time.Time) (uint64, time.Time, error) {
	for first < end {
		entries, err := k.deps.Log.Scan(ctx, tenant, first, int(min(end-first, page)))
		if err != nil {
			return 0, time.Time{}, err
		}
		if len(entries) == 0 {
			return 0, time.Time{}, fmt.Errorf("record %d is not there", first)
		}
		for i := range entries {
			r, err := entries[i].Record()
			if err != nil {
				return 0, time.Time{}, err
			}
			if at := time.UnixMicro(r.Time); !at.Before(before) {
				return first, at, nil
			}
			first++
		}
	}
	return first, time.Time{}, nil
}

// page is how many records are read at a time.
const page = 1024
