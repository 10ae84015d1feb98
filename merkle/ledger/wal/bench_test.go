package wal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// cpuTime is user and system time of the process so far.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// reportCPU adds the process's CPU time per operation, in microseconds.
func reportCPU(b *testing.B, from time.Duration) {
	b.ReportMetric(float64((cpuTime()-from).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

// BenchmarkSeal is what a record costs without the hand-over: encode, leaf, MAC, tree, frame.
func BenchmarkSeal(b *testing.B) {
	s := wal.NewSealer()
	r := record("acme", ledger.Admitted)
	r.ID, r.Time, r.Plan, r.Step, r.Uses = "rec_00000000000000000000000000", 1_800_000_000_000_000, plan("p"), 1, 1
	b.ReportAllocs()
	from := cpuTime()
	for b.Loop() {
		if err := s.Seal(r); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, from)
	b.ReportMetric(float64(len(r.AppendJSON(nil))), "leaf-bytes")
}

func BenchmarkSHA256Of1KiB(b *testing.B) {
	data := make([]byte, 1024)
	from := cpuTime()
	for b.Loop() {
		merkle.LeafHash(data)
	}
	reportCPU(b, from)
}

// BenchmarkCall is the ledger's whole part in a call: an admitted record, then a settled one with its
// receipt. Between them a call rests 1 ms when rest is set, as an upstream would make it.
func BenchmarkCall(b *testing.B) {
	for _, mode := range []string{wal.SyncWrite, wal.SyncDisk} {
		for _, signed := range []bool{false, true} {
			for _, n := range []int{1, 16, 64, 256} {
				b.Run(fmt.Sprintf("%s/receipts=%v/inflight=%d", mode, signed, n), func(b *testing.B) {
					benchCalls(b, mode, signed, n)
				})
			}
		}
	}
}

// BenchmarkIdle is the same load without a ledger: what to subtract.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("inflight=%d", n), func(b *testing.B) {
			spread(b, n, func(*caller) { time.Sleep(time.Millisecond) })
		})
	}
}

type caller struct {
	admitted, settled *ledger.Record
	receipt           []byte
}

func spread(b *testing.B, n int, call func(*caller)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	from := cpuTime()
	for range n {
		wg.Go(func() {
			c := &caller{admitted: record("acme", ledger.Admitted), settled: record("acme", ledger.Settled)}
			for left.Add(-1) >= 0 {
				call(c)
			}
		})
	}
	wg.Wait()
	reportCPU(b, from)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func benchCalls(b *testing.B, mode string, signed bool, n int) {
	o := options(b.TempDir())
	o.Sync, o.SegmentBytes = mode, 64<<20
	l := open(b, o)
	for !l.Stats().Spare { // the zeros of the next segment are not the calls' cost
		time.Sleep(time.Millisecond)
	}
	u := use("bench", 0, 0)
	spread(b, n, func(c *caller) {
		c.admitted.ID, c.settled.ID = "", ""
		if _, err := l.Admit(b.Context(), c.admitted, u); err != nil {
			b.Error(err)
			return
		}
		time.Sleep(time.Millisecond)
		c.settled.Of, c.settled.Outcome = c.admitted.ID, ledger.OutcomeOK
		var err error
		if signed {
			_, c.receipt, err = l.Settle(b.Context(), c.settled, c.receipt[:0])
		} else {
			_, err = l.Append(b.Context(), c.settled)
		}
		if err != nil {
			b.Error(err)
		}
	})
	s := l.Stats()
	b.ReportMetric(float64(s.Records)/float64(max(s.Batches, 1)), "rec/batch")
	b.ReportMetric(float64(b.N)/float64(max(s.Signatures, 1)), "rec/sig")
}

// BenchmarkVerify is offline verification of one record, chain MAC included.
func BenchmarkVerify(b *testing.B) {
	o := options(b.TempDir())
	o.Sync, o.SegmentBytes = wal.SyncWrite, 8<<20
	l := open(b, o)
	const n = 16_384
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range n / 64 {
				if _, err := l.Append(b.Context(), record("acme", ledger.Admin)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	shut(b, l)
	from := cpuTime()
	for b.Loop() {
		mustVerify(b, o)
	}
	b.ReportMetric(float64((cpuTime()-from).Nanoseconds())/1e3/float64(b.N)/n, "cpu-us/record")
}

// million is a log with as many records in a folder that stays between benchmarks: made once, in write mode.
func million(b *testing.B, segment int64, records int) wal.Options {
	b.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("gatewright-bench-%d-%d", segment, records))
	o := options(dir)
	o.Sync, o.SegmentBytes, o.Checkpoint, o.CheckFirst = wal.SyncWrite, segment, time.Second, -1
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		return o
	}
	_ = os.RemoveAll(dir)
	l := open(b, o)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			tenant := fmt.Sprintf("tenant-%d", w%8)
			for i := range records / 2 / 64 {
				r, s := record(tenant, ledger.Admitted), record(tenant, ledger.Settled)
				u := use(fmt.Sprintf("plan %d %d", w, i/10), int32(i%10), 1)
				if _, err := l.Admit(context.Background(), r, u); err != nil {
					b.Error(err)
					return
				}
				s.Of, s.Outcome = r.ID, ledger.OutcomeOK
				if _, err := l.Append(context.Background(), s); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	shut(b, l)
	if err := os.WriteFile(filepath.Join(dir, "made"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
	return o
}

// BenchmarkOpen is how long a start takes with a million records: after a clean end, and after a killed process. The
// folders of the logs stay in the temporary folder, for the next run.
func BenchmarkOpen(b *testing.B) {
	for _, segment := range []int64{4 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("segment=%dMiB", segment>>20), func(b *testing.B) {
			o := million(b, segment, 1_000_000)
			var open, clean time.Duration
			for b.Loop() {
				from := time.Now()
				l, err := wal.Open(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				open += time.Since(from)
				if s := l.Stats(); !stored(s) {
					b.Fatal(s.Started)
				}
				from = time.Now()
				shut(b, l)
				clean += time.Since(from)
			}
			b.ReportMetric(open.Seconds()*1e3/float64(b.N), "open-ms")
			b.ReportMetric(clean.Seconds()*1e3/float64(b.N), "close-ms")
		})
	}
}

// BenchmarkVerifyMillion is offline verification of a million records, chain MACs included.
func BenchmarkVerifyMillion(b *testing.B) {
	o := million(b, 64<<20, 1_000_000)
	vo := wal.VerifyOptions{K0: k0(b, o), Keys: pinned(b)}
	from := cpuTime()
	var n uint64
	for b.Loop() {
		rep, err := wal.Verify(b.Context(), o.Dir, vo)
		if err != nil || !rep.Chain {
			b.Fatal(rep.Notes, err)
		}
		n += rep.Records
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "verify_per_s")
	b.ReportMetric(float64(n)/(cpuTime()-from).Seconds(), "verify_per_s_core")
}
