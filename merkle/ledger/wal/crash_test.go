package wal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// crashDir, in the environment, makes the test binary a process that appends until it is killed.
const crashDir = "GATEWRIGHT_TEST_CRASH_DIR"

// crashWriters is how many goroutines append at once in the child.
const crashWriters = 8

// crashChild opens the log in dir and prints each step it was acknowledged for, until it is killed.
func crashChild(dir string) {
	o := crashOptions(dir)
	l, err := openLog(context.Background(), o)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	said := make(chan string, 1024)
	for w := range crashWriters {
		go func() {
			for step := int32(0); ; step++ {
				name := fmt.Sprintf("boot%d-writer%d", l.Boot(), w)
				r := &ledger.Record{Tenant: []string{"acme", "rival"}[w%2], Kind: ledger.Admitted, Side: []byte("sealed")}
				if _, err := l.Admit(context.Background(), r, use(name, step%1000, 1)); err != nil {
					said <- "error " + err.Error()
					return
				}
				said <- fmt.Sprintf("admitted %s %d", name, step)
				s := &ledger.Record{Tenant: r.Tenant, Kind: ledger.Settled, Step: -1, Of: r.ID, Outcome: ledger.OutcomeOK}
				if _, _, err := l.Settle(context.Background(), s, nil); err != nil {
					said <- "error " + err.Error()
					return
				}
				said <- fmt.Sprintf("settled %s %d", name, step)
			}
		}()
	}
	for line := range said {
		fmt.Println(line) // unbuffered: what the parent reads was acknowledged
	}
}

func crashOptions(dir string) wal.Options {
	o := options(dir)
	o.SegmentBytes = 64 << 10 // many rotations
	o.Checkpoint = 10 * time.Millisecond
	o.StateEvery, o.CheckFirst = 16<<10, -1
	return o
}

// ack is what a killed process was told.
type ack struct{ admitted, settled bool }

func TestKilledProcessesLoseNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	rounds := 20
	for round := range rounds {
		acks := killChild(t, dir, time.Duration(20+7*round)*time.Millisecond)
		l, err := openLog(t.Context(), crashOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for key, a := range acks {
			checkAck(t, l, key, a)
		}
		if n := l.Stats().Open; n != 0 {
			t.Fatal(n, "calls are still open")
		}
		shut(t, l)
		if rep := mustVerify(t, crashOptions(dir)); rep.Open != 0 {
			t.Fatalf("%+v", rep)
		}
		t.Log("round", round, len(acks), "steps")
	}
}

type step struct {
	plan string
	n    int32
}

func checkAck(t *testing.T, l *wal.Log, s step, a ack) {
	t.Helper()
	states := l.Steps(plan(s.plan))
	if int(s.n) >= len(states) || states[s.n].Used != 1 {
		t.Fatalf("%+v was acknowledged and is lost", s)
	}
	if a.settled && !states[s.n].Done {
		t.Fatalf("%+v was settled and is not done", s)
	}
	tenant := []string{"acme", "rival"}[s.plan[len(s.plan)-1]%2]
	if _, err := l.Admit(t.Context(), &ledger.Record{Tenant: tenant, Kind: ledger.Admitted}, use(s.plan, s.n, 1)); !errors.Is(err, wal.ErrUsed) {
		t.Fatalf("%+v can be spent again: %v", s, err)
	}
}

// killChild runs this test binary as a writer, kills it after a while, and returns what it was told.
func killChild(t *testing.T, dir string, after time.Duration) map[step]ack {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acks := map[step]ack{}
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		if timer == nil { // count from the first record on
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		var what string
		var s step
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
		} else if n, _ := fmt.Sscanf(lines.Text(), "%s %s %d", &what, &s.plan, &s.n); n == 3 && s.n < 1000 {
			a := acks[s]
			a.admitted, a.settled = true, a.settled || what == "settled"
			acks[s] = a
		}
	}
	_ = cmd.Process.Kill() // in case it ended without a word
	_ = cmd.Wait()         // killed
	if len(acks) == 0 {
		t.Fatal("the child wrote nothing")
	}
	return acks
}
