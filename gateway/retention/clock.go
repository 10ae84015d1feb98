package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store"
)

// ErrClock says that the clock leapt ahead of what is known of it, and that nothing is pruned by it for now.
var ErrClock = errors.New("the clock is not trusted to prune by")

const (
	// maxLeap is how far the clock may be ahead of when it was last looked at, or of the newest record. A gateway that was
	// off for longer prunes a day later.
	maxLeap = 7 * 24 * time.Hour
	// settling is how long a clock that leapt must go on before it is believed: long enough for somebody to notice.
	settling = 24 * time.Hour
	// lookEvery is how often Run looks at the clock.
	lookEvery = time.Hour
)

// seen is what is known of the clock, in unix seconds.
type seen struct {
	Last int64 `json:"last"`           // when it was last believed
	Leap int64 `json:"leap,omitempty"` // what it said first after a leap that it has not settled from
}

var seenTable = store.Table[seen]{Name: "ledger_clock", Version: 1}

// look believes the clock, or returns ErrClock. A clock that is far ahead makes every record old, and what is pruned by it
// never comes back: so it is believed only when it went on for a day after it leapt.
func (k *Keeper) look(ctx context.Context) (now time.Time, err error) {
	now = k.deps.Now()
	newest, err := k.newest(ctx)
	if err != nil {
		return now, fmt.Errorf("look at the clock: %w", err)
	}
	var row seen
	err = k.deps.Store.Update(ctx, ledger.InstanceTenant, func(tx store.Txn) error {
		var err error
		if row, _, err = seenTable.Get(tx, only); errors.Is(err, store.ErrNotFound) {
			row, err = seen{Last: newest}, nil
		}
		if err != nil {
			return err
		}
		row = row.at(now.Unix())
		_, err = seenTable.Put(tx, only, row, store.AnyVersion)
		return err
	})
	if err != nil {
		return now, fmt.Errorf("look at the clock: %w", err)
	}
	if row.Leap != 0 {
		return now, fmt.Errorf("%w: it was %s when it was last believed and says %s now; when it is right, prune after %s",
			ErrClock, stamp(row.Last), stamp(now.Unix()), stamp(row.Leap+int64(settling/time.Second)))
	}
	return now, nil
}

// at is what is known after the clock said a time.
func (s seen) at(now int64) seen {
	const leap, settled = int64(maxLeap / time.Second), int64(settling / time.Second)
	switch {
	case now-s.Last <= leap: // it goes on, or back: earlier times make nothing old
		return seen{Last: now}
	case s.Leap == 0, now < s.Leap, now-s.Leap > leap:
		return seen{Last: s.Last, Leap: now}
	case now-s.Leap >= settled:
		return seen{Last: now}
	}
	return s
}

// newest is the time of the newest record of all, now in a ledger without any, in unix seconds. It is asked where nothing
// is known of the clock.
func (k *Keeper) newest(ctx context.Context) (int64, error) {
	newest := int64(-1)
	for _, tenant := range k.deps.Log.Tenants() {
		size := k.deps.Log.Size(tenant)
		if size <= k.deps.Log.First(tenant) {
			continue
		}
		entries, err := k.deps.Log.Scan(ctx, tenant, size-1, 1)
		if err != nil {
			return 0, err
		}
		for i := range entries {
			r, err := entries[i].Record()
			if err != nil {
				return 0, err
			}
			newest = max(newest, r.Time/1e6)
		}
	}
	if newest < 0 {
		return k.deps.Now().Unix(), nil
	}
	return newest, nil
}

func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
