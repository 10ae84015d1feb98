package sinks_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/sinks"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
)

const (
	childDir = "SINKS_TEST_DIR"
	childURL = "SINKS_TEST_URL"
)

// child writes records and delivers them until it is killed.
func child(dir, url string) {
	l, err := openLog(context.Background(), dir)
	if err != nil {
		panic(err)
	}
	_, err = sinks.Open(sinks.Options{
		Dir: filepath.Join(dir, "sinks"), Key: cursorKey, Source: l, Host: "gate.example", Instance: "gw-1", Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.DiscardHandler),
	}, []sinks.Config{config(sinks.Webhook, url)})
	if err != nil {
		panic(err)
	}
	for {
		r := ledger.Record{Tenant: "acme", Kind: ledger.Admin, Step: -1}
		if _, err := l.Append(context.Background(), &r); err != nil {
			panic(err)
		}
	}
}

func TestAKilledGatewayLosesNoEvent(t *testing.T) {
	h, s := newHook(t)
	w := &world{t: t, dir: t.TempDir()}
	t.Cleanup(w.close)
	for round := range 4 {
		h.mood.Store(int32(round % 2)) // every second one dies while its receiver fails
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childDir+"="+w.dir, childURL+"="+s.URL)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := h.asked.Load()
		for end := time.Now().Add(10 * time.Second); h.asked.Load() < before+5 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Duration(round) * 400 * time.Millisecond) // before and after a cursor is stored
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if said.Len() > 0 {
			t.Fatal(said.String())
		}
	}
	h.mood.Store(0)
	w.open()
	var want []string
	for from := uint64(0); from < w.log.Size("acme"); {
		entries, err := w.log.Scan(t.Context(), "acme", from, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			r, err := e.Record()
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, r.ID)
		}
		from += uint64(len(entries))
	}
	w.start(config(sinks.Webhook, s.URL))
	h.await(t, want)
	h.inOrder(t, want)
	t.Log(len(want), "records,", len(h.list()), "deliveries")
}

func TestARestartGoesOnWhereItStood(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	var want []string
	for range 3 {
		w.start(config(sinks.Webhook, s.URL))
		want = append(want, w.fill("acme", 200)...)
		h.await(t, want)
		w.caughtUp()
		w.close()
		w.open()
	}
	if got := h.list(); len(got) != len(want) {
		t.Fatal(len(got), "deliveries of", len(want))
	}
}

func TestADamagedCursorIsRefused(t *testing.T) {
	w := newWorld(t)
	_, s := newHook(t)
	c := config(sinks.Webhook, s.URL)
	w.fill("acme", 20)
	w.start(c)
	w.caughtUp()
	if err := w.set.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.set = nil
	name := filepath.Join(w.dir, "sinks", "out.cursor")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if set, err := sinks.Open(w.options(), []sinks.Config{c}); err == nil {
			_ = set.Close(t.Context())
			t.Fatalf("byte %d is changed and it is taken", i)
		}
	}
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := sinks.Open(w.options(), []sinks.Config{c}); err == nil {
		t.Fatal("an empty file is taken")
	}
}

// The disk fails at every write of a cursor: the events are delivered all the same, and again after the next start.
func TestACursorThatCannotBeStoredLosesNothing(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "syncdir"} {
		w := newWorld(t)
		h, s := newHook(t)
		c := config(sinks.Webhook, s.URL)
		w.start(c)
		first := w.fill("acme", 20)
		h.await(t, first)
		w.caughtUp()
		if err := w.set.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.set = nil
		fs := disktest.New()
		o := w.options()
		o.FS = fs
		set, err := sinks.Open(o, []sinks.Config{c})
		if err != nil {
			t.Fatal(err)
		}
		fs.Arm(&disktest.Fault{Op: op, Always: true, Err: errors.New("broken disk")})
		second := w.fill("acme", 20)
		h.await(t, second)
		eventually(t, func() bool { return strings.Contains(set.States()[0].LastError, "store cursor") }, op)
		if err := set.Close(t.Context()); err == nil {
			t.Fatal(op, "is not noticed")
		}
		w.start(c)
		third := w.fill("acme", 20)
		h.await(t, third)
		h.inOrder(t, append(append(first, second...), third...))
		w.close()
	}
}

var _ disk.FS = (*disktest.FS)(nil)

// Records that were pruned before they were delivered are a loss that shows.
func TestPrunedRecordsAreALossThatShows(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	ids := w.fill("acme", 1200)
	if err := os.Remove(filepath.Join(w.dir, "ledger", "_wal", "000000000000.segment")); err != nil {
		t.Fatal(err)
	}
	w.start(config(sinks.Webhook, s.URL))
	h.await(t, ids[1190:])
	w.caughtUp()
	if st := w.state(); st.Lost != 1 || !strings.Contains(w.out.String(), "pruned") {
		t.Fatalf("%+v", st)
	}
}

// A cursor beyond the end, as a power cut can leave one of a log that is not synced, goes back and delivers again.
func TestACursorBeyondTheEndGoesBack(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	c := config(sinks.Webhook, s.URL)
	before := filepath.Join(t.TempDir(), "copy")
	w.fill("acme", 20)
	w.close()
	if err := os.CopyFS(before, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.start(c)
	h.await(t, w.fill("acme", 2000))
	w.caughtUp()
	w.close()
	if err := os.Rename(filepath.Join(w.dir, "sinks"), filepath.Join(before, "sinks")); err != nil {
		t.Fatal(err)
	}
	w.dir = before
	w.open()
	w.start(c)
	h.await(t, w.fill("acme", 20))
}
