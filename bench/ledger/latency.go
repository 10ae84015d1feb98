package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Latency is what a durable decision adds to a call in an open loop, and how long the disk's own sync takes at the same
// spacing: the frame of one record, written and synced by one that does nothing else as often as the ledger committed, back
// to back where that is more often than it can. It is not as large as a commit: a slow ledger's are larger.
type Latency struct {
	Rate    float64       `json:"rate"` // records a second
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	None    time.Duration `json:"none_p50"` // of the same calls when nothing is kept: what starting one of them takes
	Commits float64       `json:"commits"`  // a second
	Bare    time.Duration `json:"bare_p50"`
	BareP99 time.Duration `json:"bare_p99"`
}

// sparse is a load at which every record has a sync of its own, in records a second.
const sparse = 1000

// latency measures at half of a rate, and with a sparse load.
func (b *bench) latency(ctx context.Context, saturation float64) ([]Latency, error) {
	out := []Latency{{Rate: saturation / 2}, {Rate: sparse}}
	for i := range out {
		if err := errors.Join(b.none(ctx, &out[i]), b.open(ctx, &out[i]), b.bare(ctx, &out[i])); err != nil {
			return nil, fmt.Errorf("latency: %w", err)
		}
	}
	return out, nil
}

// added is the p50 over that of keeping nothing.
func (l *Latency) added() time.Duration { return max(0, l.P50-l.None) }

// nothing makes the bytes of a record and keeps none.
type nothing struct{}

func (nothing) keep(_ context.Context, w *writer) (err error) {
	w.buf, err = encode(w.record, w.buf[:0])
	return err
}

func (nothing) batches() uint64 { return 0 }
func (nothing) Close() error    { return nil }

func (b *bench) none(ctx context.Context, l *Latency) error {
	times, err := arrive(ctx, nothing{}, b.Time, l.Rate)
	l.None, _ = quantiles(times)
	return err
}

func (b *bench) open(ctx context.Context, l *Latency) (err error) {
	dir, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, err := openSync(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	commits, start := s.batches(), time.Now()
	times, err := arrive(ctx, s, b.Time, l.Rate)
	commits = max(1, s.batches()-commits)
	l.P50, l.P99 = quantiles(times)
	l.Commits = float64(commits) / time.Since(start).Seconds()
	return err
}

// frameBytes is about what the frame of a record takes.
const frameBytes = 448

func (b *bench) bare(ctx context.Context, l *Latency) (err error) {
	dir, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	f := &file{dir: dir, size: 64 << 20}
	m := f.segment(0)
	if m.err != nil {
		return m.err
	}
	defer func() { err = errors.Join(err, m.f.Close()) }()
	var times []time.Duration
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := newPace(l.Commits)
	for start, off := time.Now(), int64(0); time.Since(start) < b.Time && off+frameBytes <= f.size && ctx.Err() == nil; off += frameBytes {
		if p.next(); time.Until(p.due) > 0 {
			nap(time.Until(p.due))
		}
		began := time.Now()
		if err := writeSync(m.f, off, frameBytes); err != nil {
			return err
		}
		times = append(times, time.Since(began))
	}
	l.Bare, l.BareP99 = quantiles(times)
	return ctx.Err()
}

func writeSync(f disk.File, off int64, n int) error {
	b := make([]byte, n)
	b[0] = 1
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	return f.Sync()
}

// rootKey reads the first chain key of the log in a folder.
func rootKey(dir string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, "root")) }
