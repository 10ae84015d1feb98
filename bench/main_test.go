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
	"github.com/gatewright/gatewright/bench/rig"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; rig.IsChild(args) {
		os.Exit(rig.RunChild(context.Background(), args, ladder.Roles()))
	}
	os.Exit(m.Run())
}

func TestTheLadderStandsAndEndsWithItsLine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts nine processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	file := filepath.Join(t.TempDir(), "ladder.json")
	code := run(t.Context(), []string{self}, []string{"ladder", "--rounds", "1", "--time", "100ms", "--conns", "8", "--json", file}, &out, &log)
	if code != exitDone {
		t.Fatalf("exit %d: %s", code, log.String())
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	want := regexp.MustCompile(`^ladder ratio_full=\d+\.\d\d ratio_receipts=\d+\.\d\d ratio_reverseproxy=\d+\.\d\d allocs=\d+\.\d$`)
	if last := lines[len(lines)-1]; !want.Match(last) {
		t.Errorf("last line %q", last)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r ladder.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rungs) != 9 || len(r.Rounds) < 1 || r.SHA256 <= 0 {
		t.Fatalf("report has %d rungs, %d rounds, sha256_us %v", len(r.Rungs), len(r.Rounds), r.SHA256)
	}
	for _, l := range r.Rungs {
		if l.Calls < 1 || l.CPU <= 0 || l.Ratio <= 0 || l.Min > l.Ratio || l.Max < l.Ratio {
			t.Errorf("%s: %+v", l.Name, l)
		}
	}
}

func TestWrongUsageIsTold(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown command": {"race"}, "unknown flag": {"ladder", "--fast"}, "argument too much": {"ladder", "twice"}, "bad time": {"ladder", "--time", "soon"},
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
