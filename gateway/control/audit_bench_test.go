package control_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// BenchmarkAuditLogs asks the API for 50 of a million records (GATEWRIGHT_RECORDS says another number), as a client
// does: the credential is checked, and the call is on record before its answer. Nothing is waited for on the disk.
func BenchmarkAuditLogs(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("GATEWRIGHT_RECORDS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	w, dir := newWorld(b), b.TempDir()
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	cfg := wal.DefaultConfig()
	cfg.Sync, cfg.Checkpoint = wal.SyncWrite, time.Hour
	log, err := wal.Open(b.Context(), wal.Options{
		Config: cfg, Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: signer,
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"), Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	b.Cleanup(func() { w.must(log.Close(context.Background())) })
	w.rebuild(publish.Book{Log: log})
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var wg sync.WaitGroup
	for part := range 64 {
		wg.Go(func() {
			for i := part; i < n; i += 64 {
				r := ledger.Record{
					Tenant: demo, Kind: ledger.Refused, Step: -1, Time: start.Add(time.Duration(i) * 100 * time.Millisecond).UnixMicro(), Op: "tools/call",
					Agent: fmt.Sprint("agt_", i%40), Server: "files", Tool: fmt.Sprint("tool_", i%60), Verdict: "deny", Code: "policy_denied", Addr: "192.0.2.7",
				}
				if i == n/2 {
					r.Agent = "agt_needle"
				}
				if _, err := log.Append(context.Background(), &r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, query := range []string{
		"?limit=50", "?agent_id=agt_needle", "?agent_id=agt_7&tool=tool_7&limit=50", "?from=2026-03-01T20:00:00Z&to=2026-03-01T21:00:00Z&limit=50", "/stats",
	} {
		b.Run(query, func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				at := time.Now()
				if a := w.call("GET", auditPath+query, w.viewer, ""); a.status != http.StatusOK {
					b.Fatal(a.body)
				}
				all = append(all, time.Since(at))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1e3, "p50-ms")
			b.ReportMetric(float64(all[len(all)*95/100].Microseconds())/1e3, "p95-ms")
		})
	}
}
