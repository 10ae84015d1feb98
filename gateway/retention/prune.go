package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store"
)

// bundle is how many entries a C2SP entry bundle has: of the tiles only whole ones can be given up, of the log every record.
const bundle = 256

// Request is what to prune.
type Request struct {
	Tenant string    // one organisation; empty: all of them
	Before time.Time // records older than this; zero: as old as the configured retention says
	DryRun bool      // only say what would be pruned
	By     Who       // zero: the daily pruning
}

// Result is a whole pruning.
type Result struct {
	Before time.Time
	Parts  []Part
}

// Prune gives up what is old enough: of each tenant, and of the instance, the records before the first that is not older
// than the time, or than the oldest call that is open, as far as the last published checkpoint reaches. A record in each
// tenant's ledger says so first, with the range, the checkpoint's size and root and the checkpoint itself; only when all
// records are durable is anything deleted. A tenant under legal hold keeps everything, and with it every segment file that
// has a record of its.
//
// What is given up is shown to nobody from then on, and its tiles are gone, as far as they are whole bundles; the log's own
// files go in the background, see Drop. Prune may fail at any step and is repeated whole: what was recorded and not deleted
// is deleted by the next one, unless a hold came between.
func (k *Keeper) Prune(ctx context.Context, r Request) (Result, error) {
	ctx, end := k.begin(ctx)
	defer end()
	before, err := k.limit(ctx, r.Before)
	if err != nil {
		return Result{}, err
	}
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

// limit is the time before which records may go. No request shortens what the policy keeps, and no clock that leapt.
func (k *Keeper) limit(ctx context.Context, asked time.Time) (time.Time, error) {
	if k.deps.Retention <= 0 {
		return time.Time{}, fmt.Errorf("%w: ledger.retention keeps records for ever", ErrPolicy)
	}
	now, err := k.look(ctx)
	if err != nil {
		return time.Time{}, err
	}
	allowed := now.Add(-k.deps.Retention)
	switch {
	case asked.IsZero():
		return allowed, nil
	case asked.After(allowed):
		return time.Time{}, fmt.Errorf("%w: ledger.retention keeps what is younger than %s", ErrPolicy, k.deps.Retention)
	}
	return asked, nil
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
		row, _, err := keptTable.Get(tx, only)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		_, err = keptTable.Put(tx, only, kept{First: row.First, Next: p.To, Record: rec.ID, Time: k.deps.Now().Unix()}, store.AnyVersion)
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
// comes first: it calls the pruning off. The log hides records only when their tiles are gone, so that whatever ends it in
// between leaves them to be read.
func (k *Keeper) giveUp(ctx context.Context, p *Part) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	_, held, err := k.Held(ctx, p.Tenant)
	if err != nil {
		return err
	}
	if held {
		p.Held, p.To, p.Why = true, p.From, "a legal hold called it off"
		return k.callOff(ctx, p.Tenant)
	}
	row, err := k.kept(ctx, p.Tenant)
	if err != nil || max(row.First, row.Next) == 0 {
		return err
	}
	row.First, row.Next = max(row.First, row.Next), 0
	if err := k.deps.Tiles.PruneTiles(ctx, p.Tenant, row.First/bundle*bundle); err != nil {
		return err
	}
	if err := k.keep(ctx, p.Tenant, row); err != nil {
		return err
	}
	k.deps.Log.Keep(p.Tenant, row.First)
	return nil
}

// callOff records that what a prune record names was not given up after all, if there is such: a hold came before.
func (k *Keeper) callOff(ctx context.Context, tenant string) error {
	row, err := k.kept(ctx, tenant)
	if err != nil || row.Next == 0 {
		return err
	}
	body, err := json.Marshal(map[string]any{"called_off": row.Record, "from": row.First, "to": row.Next})
	if err != nil {
		return err
	}
	r := ledger.Record{Tenant: tenant, Kind: ledger.Prune, Step: -1, Code: "held", Of: row.Record, Body: body}
	if _, err := k.deps.Log.Append(ctx, &r); err != nil {
		return fmt.Errorf("record that a pruning was called off: %w", err)
	}
	row.Next, row.Record = 0, r.ID
	return k.keep(ctx, tenant, row)
}

func (k *Keeper) keep(ctx context.Context, tenant string, row kept) error {
	return k.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		_, err := keptTable.Put(tx, only, row, store.AnyVersion)
		return err
	})
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
		if out.Parts[i].Record != "" && !out.Parts[i].Held {
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
	t, clock := time.NewTimer(dailyFirst), time.NewTicker(lookEvery)
	defer t.Stop()
	defer clock.Stop()
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
		case <-clock.C:
			if _, err := k.look(ctx); err != nil {
				k.deps.Logger.Warn("the ledger is not pruned", "error", err)
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
