package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Row is one thing that is measured: a child with all that it starts, and what loads it.
type Row struct {
	Name, Label string
	Against     string // the row whose CPU time is the 1 of this one's ratio; its own name where it is that row
	Processes   int    // how many processes belong to it, so that none is forgotten
	Child       *Child
	Probe       func(context.Context) error           // whether it does its task
	Load        func(context.Context) (Loader, error) // opened anew each time, since a server closes what stays silent
}

// Sample is one measurement of a row.
type Sample struct {
	Calls   int     `json:"calls"`
	CPU     float64 `json:"cpu_us"`    // of the row's processes, a call
	Mallocs float64 `json:"mallocs"`   // heap objects of its first process, a call
	Bytes   float64 `json:"bytes"`     // of heap objects, a call
	Rate    float64 `json:"calls_per"` // a second
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
}

// measure warms the row up and loads it. Any failed call is an error.
func (r *Row) measure(ctx context.Context, d time.Duration) (_ Sample, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", r.Name, err)
		}
	}()
	load, err := r.Load(ctx)
	if err != nil {
		return Sample{}, err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	if _, _, err := r.run(ctx, load, d/10); err != nil {
		return Sample{}, err
	}
	res, used, err := r.run(ctx, load, d)
	switch {
	case err != nil:
		return Sample{}, err
	case res.Calls == 0:
		return Sample{}, errors.New("no call was answered")
	}
	n := float64(res.Calls)
	return Sample{
		Calls: res.Calls, CPU: micros(used.CPU) / n, Mallocs: float64(used.Mallocs) / n, Bytes: float64(used.Bytes) / n,
		Rate: n / res.Elapsed.Seconds(), P50: micros(res.P50), P99: micros(res.P99),
	}, nil
}

// run loads the row once and says what came of it and what it used.
func (r *Row) run(ctx context.Context, load Loader, d time.Duration) (Result, Usage, error) {
	before, err := r.Child.Usage()
	if err != nil {
		return Result{}, Usage{}, err
	}
	if n := 1 + len(before.Family); n != r.Processes {
		return Result{}, Usage{}, fmt.Errorf("it has %d processes, want %d", n, r.Processes)
	}
	if err := load.Run(ctx, d); err != nil {
		return Result{}, Usage{}, err
	}
	after, err := r.Child.Usage()
	if err != nil {
		return Result{}, Usage{}, err
	}
	used, err := after.Since(before)
	if err != nil {
		return Result{}, Usage{}, err
	}
	res, err := load.Result()
	if err == nil && res.Failed > 0 {
		err = fmt.Errorf("%d connections failed: %s", res.Failed, res.Failure)
	}
	return res, used, err
}

// profile loads the row once more under the CPU profiler of its first process.
func (r *Row) profile(ctx context.Context, dir string, d time.Duration) (Sample, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Sample{}, fmt.Errorf("profile: %w", err)
	}
	if err := r.Child.Profile(filepath.Join(dir, r.Name+".cpu")); err != nil {
		return Sample{}, fmt.Errorf("profile %s: %w", r.Name, err)
	}
	s, err := r.measure(ctx, d)
	return s, errors.Join(err, r.Child.StopProfile(filepath.Join(dir, r.Name+".allocs")))
}
