package rig_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; rig.IsChild(args) {
		os.Exit(rig.RunChild(context.Background(), args, roles()))
	}
	os.Exit(m.Run())
}

func roles() map[string]rig.Role {
	serve := func(s rig.Serving) rig.Role {
		return func(context.Context, json.RawMessage) (rig.Serving, error) { return s, nil }
	}
	return map[string]rig.Role{
		"silent": serve(rig.Serving{}),
		"busy":   serve(rig.Serving{Probe: func(context.Context) error { return nil }, Call: compute}),
		"wrong": serve(rig.Serving{
			Probe: func(context.Context) error { return errors.New("cannot") }, Call: func(context.Context) error { return errors.New("broken") },
		}),
		"parent": func(_ context.Context, self json.RawMessage) (rig.Serving, error) {
			var command []string
			if err := json.Unmarshal(self, &command); err != nil {
				return rig.Serving{}, err
			}
			c, err := rig.Start(context.Background(), command, "busy", nil)
			if err != nil {
				return rig.Serving{}, err
			}
			return rig.Serving{Stop: c.Stop, Probe: c.Probe, Call: func(ctx context.Context) error {
				return c.Loader(1).Run(ctx, time.Millisecond)
			}}, nil
		},
	}
}

// compute is 240 million steps that wait for each other: 48 ms of CPU time at 5 GHz, however busy the machine.
func compute(context.Context) error {
	x := uint64(88172645463325252)
	for range 40_000_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 {
		return errors.New("xorshift came to zero")
	}
	return nil
}

func self(t *testing.T) []string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func start(t *testing.T, role string, settings any) *rig.Child {
	t.Helper()
	c, err := rig.Start(context.WithoutCancel(t.Context()), self(t), role, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// row loads a child by itself.
func row(c *rig.Child, processes int) *rig.Row {
	return &rig.Row{Name: "it", Against: "it", Processes: processes, Child: c, Probe: c.Probe,
		Load: func(context.Context) (rig.Loader, error) { return c.Loader(2), nil }}
}

func bench(rows ...*rig.Row) *rig.Bench {
	return &rig.Bench{Options: rig.Options{Rounds: 1, Time: 100 * time.Millisecond, Log: io.Discard}, Rows: rows, Order: []string{"it"}}
}

// TestTheCPUTimeOfAChildsChildrenCounts: the parent itself does nothing, its child all of the work.
func TestTheCPUTimeOfAChildsChildrenCounts(t *testing.T) {
	c := start(t, "parent", self(t))
	before, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if len(before.Family) != 1 {
		t.Fatalf("a parent of one has the family %v", before.Family)
	}
	if err := c.Loader(1).Run(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	after, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	used, err := after.Since(before)
	if err != nil {
		t.Fatal(err)
	}
	if used.CPU < 30*time.Millisecond {
		t.Errorf("a child at work used %s", used.CPU)
	}
	if _, err := after.Since(rig.Usage{CPU: before.CPU}); err == nil {
		t.Error("a process that came in between is counted")
	}
}

// TestTheClocksOfAProcessAgree: what a process says of itself is what others read of it.
func TestTheClocksOfAProcessAgree(t *testing.T) {
	c := start(t, "busy", nil)
	all, err := rig.Family()
	if err != nil || len(all) != 1 {
		t.Fatalf("family %v: %v", all, err)
	}
	if err := c.Loader(1).Run(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	low, err := rig.CPUOf(all[0])
	if err != nil {
		t.Fatal(err)
	}
	said, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	high, err := rig.CPUOf(all[0])
	if err != nil {
		t.Fatal(err)
	}
	const tick = 10 * time.Millisecond
	if said.CPU < low-tick || said.CPU > high+tick {
		t.Errorf("it says %s, others read %s to %s", said.CPU, low, high)
	}
}

func TestWhatIsMeasuredMustBeAsPromised(t *testing.T) {
	for name, c := range map[string]struct {
		role      string
		processes int
		want      string
	}{
		"a process too few": {"busy", 2, "it has 1 processes, want 2"},
		"a failed probe":    {"wrong", 1, "it does not do its task: cannot"},
		"no probe":          {"silent", 1, "this child has no probe of its own"},
	} {
		_, err := bench(row(start(t, c.role, nil), c.processes)).Rounds(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	failing := row(start(t, "wrong", nil), 1)
	failing.Probe = func(context.Context) error { return nil }
	if _, err := bench(failing).Rounds(t.Context()); err == nil || !strings.Contains(err.Error(), "2 connections failed: broken") {
		t.Errorf("failing calls: %v", err)
	}
	lost := row(start(t, "busy", nil), 1)
	lost.Against = "another"
	if _, err := bench(lost).Rounds(t.Context()); err == nil {
		t.Error("a row that is compared with none is measured")
	}
}

func TestRoundsAreReported(t *testing.T) {
	b := bench(row(start(t, "busy", nil), 1))
	rounds, err := b.Rounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := b.Report(rounds)
	l := r.Find("it")
	if l.Ratio != 1 || l.Calls < 2 || l.CPU < 30_000 || l.P50 < 30_000 {
		t.Errorf("%+v", l)
	}
	if !slices.ContainsFunc(rounds, func(x rig.Round) bool { return x.Counts }) {
		t.Error("no round counts")
	}
	if got := r.Scaled(r.SHA256); got < 3.09 || got > 3.11 {
		t.Errorf("what takes as long as SHA-256 of 1 KiB takes the reference machine %v us", got)
	}
}
