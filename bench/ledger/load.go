package ledger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Load is one subject under a closed loop of writers.
type Load struct {
	Writers int           `json:"writers"`
	Records int           `json:"records"`
	Rate    float64       `json:"rate"`   // records a second
	CPU     float64       `json:"cpu_us"` // of the process for a record, the writers' loops included
	Batch   float64       `json:"batch"`  // records a commit, or a signature; 0: not known
	P50     time.Duration `json:"p50"`    // of a closed loop: at saturation this is queueing
	P99     time.Duration `json:"p99"`
}

// closed opens a subject in an empty folder and has writers append, each the next record when the last is kept.
func (b *bench) closed(ctx context.Context, open func(string) (subject, error), n int) (_ Load, err error) {
	dir, remove, err := b.fresh()
	if err != nil {
		return Load{}, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, err := open(dir)
	if err != nil {
		return Load{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := drive(ctx, s, n, b.Time/10); err != nil {
		return Load{}, err
	}
	cpu, err := rig.CPU()
	if err != nil {
		return Load{}, err
	}
	commits, start := s.batches(), time.Now()
	times, err := drive(ctx, s, n, b.Time)
	elapsed := time.Since(start)
	if err != nil {
		return Load{}, err
	}
	after, err := rig.CPU()
	if err != nil {
		return Load{}, err
	}
	l := Load{Writers: n, Records: len(times), Rate: float64(len(times)) / elapsed.Seconds()}
	l.CPU = float64((after - cpu).Nanoseconds()) / 1e3 / float64(max(len(times), 1))
	if commits = s.batches() - commits; commits > 0 {
		l.Batch = float64(len(times)) / float64(commits)
	}
	l.P50, l.P99 = quantiles(times)
	return l, nil
}

// drive has n writers append for a while in a closed loop. It returns the time of each call.
func drive(ctx context.Context, s subject, n int, d time.Duration) ([]time.Duration, error) {
	var all sync.WaitGroup
	times, errs := make([][]time.Duration, n), make([]error, n)
	start := time.Now()
	for i := range n {
		all.Go(func() {
			w := newWriter()
			for began := time.Now(); ctx.Err() == nil && errs[i] == nil && began.Sub(start) < d; {
				errs[i] = s.keep(ctx, w)
				now := time.Now()
				times[i] = append(times[i], now.Sub(began))
				began = now
			}
		})
	}
	all.Wait()
	return slices.Concat(times...), errors.Join(append(errs, ctx.Err())...)
}

func quantiles(times []time.Duration) (p50, p99 time.Duration) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}
