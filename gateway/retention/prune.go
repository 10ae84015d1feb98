package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

// bundle is how many entries a C2SP entry bundle has: only whole ones can be given up.
const bundle = 256

// Request is what to prune.
type Request struct {
	Tenant string    // one organisation; empty: all of them
	Before time.Time // records older than this; zero: as old as the configured retention says
	DryRun bool      // only say what would be pruned
	By     Who       // zero: the daily pruning
}

// Part is what becomes of one tenant's ledger.
type Part struct {
	Tenant   string `json:"tenant"`
	From, To uint64 // records From to To-1 are given up; equal: none
	Size     uint64 // of the checkpoint that the record names
	Root     string // of that checkpoint, hex
	Held     bool   // nothing is, for a legal hold
	Record   string // id of the prune record
	Receipt  string // of that record
	note     string // the checkpoint
}

// Result is a whole pruning.
type Result struct {
	Before time.Time
	Parts  []Part
}

// Prune gives up what is old enough: of each tenant as many whole bundles as lie before the time, before the oldest call
// that is open, and within the last published checkpoint. A record in each tenant's ledger says so first, with the range,
// the checkpoint's size and root and the checkpoint itself; only when all records are durable is anything deleted. A
// tenant under legal hold keeps everything, and with it every segment file that has a record of its.
//
// What is given up is shown to nobody from then on, and its tiles are gone; the log's own files go in the background, see
// Drop. Prune may fail at any step and is repeated whole: what was recorded and not deleted is deleted by the next one.
func (k *Keeper) Prune(ctx context.Context, r Request) (Result, error) {
	before, err := k.limit(r.Before)
	if err != nil {
		return Result{}, err
	}
	ctx, end := k.begin(ctx)
	defer end()
	out := Result{Before: before}
	out.Parts, err = k.measure(ctx, r.Tenant, before)
	if err == nil && !r.DryRun {
		err = k.carryOut(ctx, r, &out)
		k.note(&out, err)
		select {
		case k.kick <- struct{}{}:
		default:
		}
	}
	if err != nil {
		return out, fmt.Errorf("prune: %w", err)
	}
	return out, nil
}

// begin waits for a pruning that runs, and makes one that a hold can end.
func (k *Keeper) begin(ctx context.Context) (context.Context, func()) {
	k.prune.Lock()
	ctx, cancel := context.WithCancel(ctx)
	k.state.Lock()
	k.cancel = cancel
	k.state.Unlock()
	return ctx, func() {
		cancel()
		k.prune.Unlock()
	}
}

// Drop removes the segment files of the log that no tenant has a record in that stays, and returns how many. It checks the
// log once more on the way, which takes its time.
func (k *Keeper) Drop(ctx context.Context) (int, error) {
	ctx, end := k.begin(ctx)
	defer end()
	least, err := k.floors(ctx)
	if err != nil {
		return 0, fmt.Errorf("drop segments: %w", err)
	}
	pruned, err := k.deps.Log.Prune(ctx, func(tenant string) uint64 { return least[tenant] })
	k.state.Lock()
	k.last.Segments += uint64(pruned.Segments)
	if err != nil {
		k.last.Err = err
	}
	k.state.Unlock()
	if err != nil {
		return pruned.Segments, fmt.Errorf("drop segments: %w", err)
	}
	return pruned.Segments, nil
}

// limit is the time before which records may go. No request shortens what the policy keeps.
func (k *Keeper) limit(asked time.Time) (time.Time, error) {
	if k.deps.Retention <= 0 {
		return time.Time{}, fmt.Errorf("%w: ledger.retention keeps records for ever", ErrPolicy)
	}
	allowed := k.deps.Now().Add(-k.deps.Retention)
	switch {
	case asked.IsZero():
		return allowed, nil
	case asked.After(allowed):
		return time.Time{}, fmt.Errorf("%w: ledger.retention keeps what is younger than %s", ErrPolicy, k.deps.Retention)
	}
	return asked, nil
}

// measure finds what of each tenant may go.
func (k *Keeper) measure(ctx context.Context, tenant string, before time.Time) ([]Part, error) {
	tenants := k.deps.Log.Tenants()
	if tenant != "" {
		tenants = []string{tenant}
	}
	sort.Strings(tenants)
	if open, ok := k.deps.Log.OldestOpen(); ok && open.Before(before) {
		before = open
	}
	out := []Part{}
	for _, t := range tenants {
		p, err := k.part(ctx, t, before)
		if err != nil {
			return nil, fmt.Errorf("ledger of %s: %w", t, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (k *Keeper) part(ctx context.Context, tenant string, before time.Time) (Part, error) {
	first := k.deps.Log.First(tenant)
	p := Part{Tenant: tenant, From: first, To: first}
	_, held, err := k.Held(ctx, tenant)
	if err != nil || held {
		p.Held = held
		return p, err
	}
	note, err := k.deps.Tiles.Checkpoint(tenant)
	if errors.Is(err, wal.ErrTenant) {
		return p, nil // nothing is published
	}
	if err != nil {
		return p, err
	}
	cp, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return p, err
	}
	p.Size, p.Root, p.note = cp.Size, cp.Root.String(), string(note)
	to, err := k.firstSince(ctx, tenant, first, cp.Size, before)
	if to = to / bundle * bundle; err == nil && to > first {
		p.To = to
	}
	return p, err
}

// firstSince finds the first record that is not older, between two indexes. Records are appended nearly in the order of
// their times, so it is searched for by halves.
func (k *Keeper) firstSince(ctx context.Context, tenant string, first, end uint64, before time.Time) (uint64, error) {
	for first < end {
		middle := first + (end-first)/2
		entries, err := k.deps.Log.Scan(ctx, tenant, middle, 1)
		if err != nil {
			return 0, err
		}
		if len(entries) != 1 {
			return 0, fmt.Errorf("record %d is not there", middle)
		}
		r, err := entries[0].Record()
		if err != nil {
			return 0, err
		}
		if time.UnixMicro(r.Time).Before(before) {
			first = middle + 1
		} else {
			end = middle
		}
	}
	return first, nil
}

// carryOut records everything, and then deletes.
func (k *Keeper) carryOut(ctx context.Context, r Request, out *Result) error {
	for i := range out.Parts {
		p := &out.Parts[i]
		if p.To == p.From {
			continue
		}
		if err := k.record(ctx, r, p, out.Before); err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	for i := range out.Parts {
		if err := k.giveUp(ctx, &out.Parts[i]); err != nil {
			return fmt.Errorf("ledger of %s: %w", out.Parts[i].Tenant, err)
		}
	}
	return nil
}

// record writes what will be given up, signed, into the ledger it is taken from.
func (k *Keeper) record(ctx context.Context, r Request, p *Part, before time.Time) error {
	body, err := json.Marshal(map[string]any{
		"before": before.UTC().Format(time.RFC3339), "checkpoint": p.note, "from": p.From, "root": p.Root, "size": p.Size,
		"to": p.To, "retention_seconds": int64(k.deps.Retention.Seconds()),
	})
	if err != nil {
		return err
	}
	rec := ledger.Record{Tenant: p.Tenant, Kind: ledger.Prune, Step: -1, Code: "retention", Body: body}
	if r.By.User == "" {
		rec.Code = "daily"
	}
	rec.User, rec.Key, rec.Addr = k.named(p.Tenant, r)
	_, receipt, err := k.deps.Log.Settle(ctx, &rec, nil)
	if err != nil {
		return err
	}
	p.Record, p.Receipt = rec.ID, string(receipt)
	return k.deps.Store.Update(ctx, p.Tenant, func(tx store.Txn) error {
		_, err := keptTable.Put(tx, only, kept{First: p.To, Record: rec.ID, Time: k.deps.Now().Unix()}, store.AnyVersion)
		return err
	})
}

// named is who stands in a tenant's record: people of the tenant itself. Who operates the gateway is no business of a tenant's.
func (k *Keeper) named(tenant string, r Request) (user, key, addr string) {
	if r.Tenant != tenant {
		return "", "", ""
	}
	return r.By.User, r.By.Key, r.By.Addr
}

// giveUp deletes what a record says, of this pruning or an earlier one that was cut short. A hold that came meanwhile
// comes first.
func (k *Keeper) giveUp(ctx context.Context, p *Part) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	_, held, err := k.Held(ctx, p.Tenant)
	if err != nil || held {
		p.Held = held
		return err
	}
	row, err := k.kept(ctx, p.Tenant)
	if err != nil || row.First == 0 {
		return err
	}
	k.deps.Log.Keep(p.Tenant, row.First)
	return k.deps.Tiles.PruneTiles(ctx, p.Tenant, row.First)
}

// floors is from where on the log must keep each tenant's records: all of a tenant under hold.
func (k *Keeper) floors(ctx context.Context) (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, t := range k.deps.Log.Tenants() {
		_, held, err := k.Held(ctx, t)
		if err != nil {
			return nil, err
		}
		if held {
			continue
		}
		row, err := k.kept(ctx, t)
		if err != nil {
			return nil, err
		}
		out[t] = row.First
	}
	return out, nil
}

func (k *Keeper) note(out *Result, err error) {
	k.state.Lock()
	defer k.state.Unlock()
	k.last.At, k.last.Err, k.last.Records = k.deps.Now(), err, 0
	for i := range out.Parts {
		if out.Parts[i].Record != "" {
			k.last.Records += out.Parts[i].To - out.Parts[i].From
		}
	}
	k.last.Total += k.last.Records
}

// Run prunes once a day, the first time soon after the start, and removes segments after each pruning, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	if k.deps.Retention <= 0 {
		return
	}
	t := time.NewTimer(dailyFirst)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.kick:
			if n, err := k.Drop(ctx); err != nil {
				k.deps.Logger.Error("segments of the ledger were not removed; it is tried again with the next pruning", "error", err)
			} else if n > 0 {
				k.deps.Logger.Info("segments of the ledger removed", "segments", n)
			}
		case <-t.C:
			t.Reset(24 * time.Hour)
			if out, err := k.Prune(ctx, Request{}); err != nil {
				k.deps.Logger.Error("the ledger was not pruned; it is tried again tomorrow", "error", err)
			} else {
				k.deps.Logger.Info("ledger pruned", "before", out.Before.Format(time.RFC3339), "records", k.Last().Records)
			}
		}
	}
}

// dailyFirst is when the first pruning after a start begins: not while everything else starts too.
const dailyFirst = 10 * time.Minute
