package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/gatewright/gatewright/bench/ladder"
	"github.com/gatewright/gatewright/bench/ledger"
	"github.com/gatewright/gatewright/bench/mcp"
	"github.com/gatewright/gatewright/bench/neighbour"
	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/streams"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if code, ok := child(context.Background(), os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// finishes runs a command for a moment, holds its last line to what is promised and reads what it measured.
func finishes(t *testing.T, command, lastLine string, r any, flags ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts many processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	file := filepath.Join(t.TempDir(), "report.json")
	args := []string{command, "--rounds", "1", "--time", "100ms", "--json", file}
	if command != "ledger" {
		args = append(args, "--conns", "8")
	}
	code := run(t.Context(), []string{self}, append(args, flags...), &out, &log)
	if code != exitDone {
		t.Fatalf("exit %d: %s", code, log.String())
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if last := lines[len(lines)-1]; !regexp.MustCompile(lastLine).Match(last) {
		t.Errorf("last line %q", last)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
}

// checkRows holds rows to have been measured.
func checkRows(t *testing.T, r *rig.Report, rows int) {
	t.Helper()
	if len(r.Rungs) != rows || len(r.Rounds) < 1 || r.SHA256 <= 0 {
		t.Fatalf("report has %d rungs, want %d; %d rounds, sha256_us %v", len(r.Rungs), rows, len(r.Rounds), r.SHA256)
	}
	for _, l := range r.Rungs {
		if l.Calls < 1 || l.CPU <= 0 || l.Ratio <= 0 || l.Min > l.Ratio || l.Max < l.Ratio {
			t.Errorf("%s: %+v", l.Name, l)
		}
	}
}

func TestTheLadderStandsAndEndsWithItsLine(t *testing.T) {
	var r ladder.Report
	finishes(t, "ladder", `^ladder ratio_full=\d+\.\d\d ratio_receipts=\d+\.\d\d ratio_reverseproxy=\d+\.\d\d allocs=\d+\.\d ratio_filter=\d+\.\d\d$`, &r)
	checkRows(t, &r.Report, 10)
}

func TestToolCallsAreMeasuredAndEndWithTheirLine(t *testing.T) {
	var r mcp.Report
	finishes(t, "mcp", `^mcp ratio_bare=\d+\.\d\d connector_us=\d+\.\d connector_vs_grpc=\d+\.\d\d stream_kb_idle=\d+\.\d sha256_us=\d+\.\d\d$`, &r)
	checkRows(t, &r.Report, 7)
	hop := r.Find("hop")
	if r.RatioBare != max(r.Find("native").Ratio, r.Find("older").Ratio) || r.ConnectorVsGRPC != hop.Ratio || r.ConnectorUS != r.Scaled(hop.CPU) {
		t.Errorf("the line is not made of the rows: %+v", r)
	}
}

func TestStreamsAreMeasuredAndEndWithTheirLine(t *testing.T) {
	var r streams.Report
	finishes(t, "streams", `^streams kb_idle=\d+\.\d kb_slow=\d+\.\d goroutines_left=-?\d+ descriptors_left=-?\d+ ratio=\d+\.\d\d low=\d+\.\d\d high=\d+\.\d\d control=\d+\.\d\d control_low=\d+\.\d\d control_high=\d+\.\d\d sha256_us=\d+\.\d\d$`, &r, "--idle", "40", "--slow", "10")
	if len(r.Rounds) != 1 || r.WithIdle.Descriptors-r.Before.Descriptors < 40 || r.WithAll.Descriptors-r.WithIdle.Descriptors < 10 {
		t.Errorf("%+v", r)
	}
	if p := r.Rounds[0].Beside; p.Open != 50 || p.Calls < 1 || p.P99 <= 0 || r.Rounds[0].Without.Open != 0 {
		t.Errorf("%+v", r.Rounds[0])
	}
}

func TestTheLedgerIsMeasuredAndEndsWithItsLine(t *testing.T) {
	var r ledger.Report
	finishes(t, "ledger", `^ledger vs_unsealed=\d+\.\d\d vs_badger_batch=\d+\.\d\d vs_badger_txn=\d+\.\d seal_us=\d+\.\d\d seal_allocs=\d+\.\d\d receipt_us=\d+\.\d\d p50_vs_fsync=\d+\.\d\d sync_vs_write=\d+\.\d\d verify_per_s=\d+ sha256_us=\d+\.\d\d$`, &r)
	if len(r.Rounds) != 1 || len(r.Rounds[0].Loads) != 5 {
		t.Fatalf("%d rounds", len(r.Rounds))
	}
	for name, loads := range r.Rounds[0].Loads {
		for _, l := range loads {
			if l.Records < 1 || l.CPU <= 0 || l.P50 <= 0 {
				t.Errorf("%s: %+v", name, l)
			}
		}
	}
	if x := &r.Rounds[0]; x.Verify.Records < 1 || x.CPU.Seal <= 0 || x.CPU.Receipt <= 0 || x.Latency[0].Bare <= 0 || x.Receipt.Batch < 1 {
		t.Errorf("%+v", x)
	}
}

func TestWrongUsageIsTold(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown command": {"race"}, "a flag of another command": {"mcp", "--parts=false"}, "unknown flag": {"ladder", "--fast"}, "argument too much": {"ladder", "twice"}, "bad time": {"ladder", "--time", "soon"},
	} {
		var out, log bytes.Buffer
		if code := run(t.Context(), nil, args, &out, &log); code != exitUsage || log.Len() == 0 || out.Len() > 0 {
			t.Errorf("%s: exit %d, said %q", name, code, log.String())
		}
	}
	var out, log bytes.Buffer
	if code := run(t.Context(), nil, nil, &out, &log); code != exitDone || !bytes.Contains(out.Bytes(), []byte("ladder")) {
		t.Errorf("no arguments: exit %d, said %q", code, out.String())
	}
	if code := run(t.Context(), nil, []string{"ladder", "--rounds", "0"}, &out, &log); code != exitFailed {
		t.Errorf("no rounds: exit %d", code)
	}
}

// TestNeighbour: both tenants make their calls, and the hostile one's filters take fuel. Times say nothing here.
func TestNeighbour(t *testing.T) {
	var r neighbour.Report
	finishes(t, "neighbour", `^neighbour ratio=[\d.]+ low=[\d.]+ high=[\d.]+ control=[\d.]+ control_low=[\d.]+ control_high=[\d.]+ sha256_us=[\d.]+$`, &r)
	last := r.Rounds[len(r.Rounds)-1]
	if last.Hostile.Calls == 0 || last.Hostile.Rival.Fuel < 1_000_000 || last.Harmless.Rival.Passed == 0 || last.Control.Rival.Passed == 0 {
		t.Errorf("%+v", last)
	}
}
