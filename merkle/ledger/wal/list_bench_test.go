package wal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// howMany is how many records BenchmarkList looks at; GATEWRIGHT_RECORDS says another number.
func howMany(b *testing.B) int {
	if s := os.Getenv("GATEWRIGHT_RECORDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return 1_000_000
}

// started is the time of the first record; each of the others is 100 ms later.
var started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fillList writes records as a gateway of 40 agents and 60 tools makes them, with one needle in the middle.
func fillList(b *testing.B, l *wal.Log, n int) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				r := record("acme", ledger.Refused)
				r.Time = started.Add(time.Duration(i) * 100 * time.Millisecond).UnixMicro()
				r.Agent, r.Tool, r.Code = fmt.Sprint("agt_", i%40), fmt.Sprint("tool_", i%60), []string{"policy_denied", "step_used", "rate_limited"}[i%3]
				if i == n/2 {
					r.Agent = "agt_needle"
				}
				if _, err := l.Append(context.Background(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// percentiles runs fn and reports its times.
func percentiles(b *testing.B, fn func()) {
	var all []time.Duration
	for b.Loop() {
		at := time.Now()
		fn()
		all = append(all, time.Since(at))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(all[len(all)*95/100].Microseconds())/1e3, "p95-ms")
}

// BenchmarkList asks a ledger of a million records as GET /api/v1/audit-logs does: with the indexes in memory (warm), and
// with none (cold: they are read from their files, which the operating system may have).
func BenchmarkList(b *testing.B) {
	n := howMany(b)
	o := options(b.TempDir())
	o.Sync, o.SegmentBytes = wal.SyncWrite, 64<<20
	l := open(b, o)
	fillList(b, l, n)
	shut(b, l)
	names, _ := filepath.Glob(filepath.Join(o.Dir, "_wal", "*.index"))
	size := int64(0)
	for _, name := range names {
		if st, err := os.Stat(name); err == nil {
			size += st.Size()
		}
	}
	b.Logf("%d records, %d indexes of %d bytes for each record", n, len(names), size/int64(n))
	day := started.Add(time.Duration(n/3) * 100 * time.Millisecond).UnixMicro()
	for _, heat := range []string{"warm", "cold"} {
		if o.IndexCache = 0; heat == "cold" {
			o.IndexCache = 1
		}
		runtime.GC()
		at := time.Now()
		l := open(b, o)
		b.Logf("opened in %v", time.Since(at).Round(time.Millisecond))
		for _, c := range []struct {
			name string
			q    index.Query
		}{
			{"no-filter", index.Query{}},
			{"needle", index.Query{Agent: "agt_needle"}},
			{"nobody", index.Query{Agent: "agt_nobody", Code: "policy_denied"}},
			{"common", index.Query{Agent: "agt_7", Tool: "tool_7"}},
			{"time-range", index.Query{From: day, To: day + 3_600_000_000}},
			{"oldest", index.Query{Tool: "tool_9", Oldest: true}},
		} {
			c.q.Limit = 50
			b.Run(heat+"/"+c.name, func(b *testing.B) {
				percentiles(b, func() {
					if _, err := l.Query(b.Context(), "acme", c.q); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
		for name, q := range map[string]index.Query{"count-all": {}, "count-common": {Agent: "agt_7"}} {
			b.Run(heat+"/"+name, func(b *testing.B) {
				percentiles(b, func() {
					if _, err := l.Count(b.Context(), "acme", q); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
		shut(b, l)
	}
}

// BenchmarkRebuild reads a full segment to make its index again.
func BenchmarkRebuild(b *testing.B) {
	o := options(b.TempDir())
	o.Sync, o.SegmentBytes, o.IndexCache = wal.SyncWrite, 64<<20, 1
	l := open(b, o)
	fillList(b, l, 200_000)
	name := filepath.Join(o.Dir, "_wal", "000000000000.index")
	for b.Loop() {
		_ = os.Remove(name)
		if _, err := l.Query(b.Context(), "acme", index.Query{Limit: 1, Oldest: true}); err != nil {
			b.Fatal(err)
		}
	}
}
