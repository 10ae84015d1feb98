package watch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/bundles/watch"
	"github.com/gatewright/gatewright/policies"
)

const policy = "permit (principal, action, resource);\n"

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFoldersStampChangesWithItsFiles(t *testing.T) {
	dir := t.TempDir()
	f := watch.Folder{Dir: dir}
	last, err := f.Stamp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"a file", func() { write(t, dir, "a.cedar", policy) }},
		{"its length", func() { write(t, dir, "a.cedar", policy+" ") }},
		{"its time", func() { _ = os.Chtimes(filepath.Join(dir, "a.cedar"), time.Time{}, time.Unix(1, 0)) }},
		{"a link", func() { _ = os.Symlink("a.cedar", filepath.Join(dir, "l")) }},
	} {
		c.change()
		now, err := f.Stamp(t.Context())
		if err != nil || now == last {
			t.Errorf("%s: unseen (%v)", c.name, err)
		}
		last = now
	}
	write(t, dir, ".hidden", "x")
	if now, _ := f.Stamp(t.Context()); now != last {
		t.Error("a hidden file counts")
	}
	if _, err := (watch.Folder{Dir: filepath.Join(dir, "none")}).Stamp(t.Context()); err == nil {
		t.Error("a folder that is not there has a stamp")
	}
}

// fake is a source that a test moves.
type fake struct {
	mu sync.Mutex // guards what follows

	stamp   string
	err     error
	bad     error
	settles bool
	reads   int
	during  func()
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Settles() bool { return f.settles }

func (f *fake) Stamp(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stamp, f.err
}

func (f *fake) Read(context.Context) (*policies.Bundle, bundles.Source, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.during != nil {
		f.during()
	}
	return policies.Default(), bundles.Source{}, f.bad
}

// watched runs a watch in a bubble of its own time.
func watched(t *testing.T, f *fake, play func(wait func(), found func() (n int, err error), now chan<- struct{})) {
	synctest.Test(t, func(t *testing.T) {
		n, last, now := 0, error(nil), make(chan struct{}, 1)
		w := &watch.Watch{Source: f, Every: time.Second, Now: now, Found: func(_ context.Context, _ *policies.Bundle, _ bundles.Source, err error) {
			f.set(func() { n, last = n+1, err })
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		play(func() { time.Sleep(time.Second); synctest.Wait() }, func() (int, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return n, last
		}, now)
		cancel()
		<-done
	})
}

func TestAFolderIsTakenWhenItHasSettled(t *testing.T) {
	f := &fake{stamp: "a", settles: true}
	watched(t, f, func(wait func(), found func() (int, error), _ chan<- struct{}) {
		wait()
		if n, _ := found(); n != 0 {
			t.Error("taken at first sight")
		}
		f.set(func() { f.stamp = "b" }) // somebody still copies
		wait()
		if n, _ := found(); n != 0 {
			t.Error("taken while it moved")
		}
		wait()
		if n, _ := found(); n != 1 {
			t.Errorf("found %d", n)
		}
		wait()
		wait()
		if n, _ := found(); n != 1 || f.reads != 1 {
			t.Errorf("found %d, read %d: nothing was new", n, f.reads)
		}
		f.set(func() { f.stamp, f.during = "c", func() { f.stamp += "c" } })
		wait()
		wait()
		if n, _ := found(); n != 1 {
			t.Error("taken although it changed while it was read")
		}
		f.set(func() { f.during = nil })
		wait()
		wait()
		if n, _ := found(); n != 2 {
			t.Errorf("found %d", n)
		}
	})
}

func TestASourceThatFailsIsToldAndTriedAgain(t *testing.T) {
	f := &fake{stamp: "a"}
	watched(t, f, func(wait func(), found func() (int, error), now chan<- struct{}) {
		wait()
		f.set(func() { f.err = errors.New("down") })
		wait()
		if n, err := found(); n != 2 || err == nil {
			t.Errorf("found %d, %v", n, err)
		}
		f.set(func() { f.err = nil })
		wait()
		if n, err := found(); n != 3 || err != nil {
			t.Errorf("it is there again: found %d, %v", n, err)
		}
		wait()
		if n, _ := found(); n != 3 {
			t.Errorf("found %d", n)
		}
		f.set(func() { f.stamp, f.bad = "b", errors.New("torn") })
		wait()
		wait()
		if n, err := found(); n != 5 || err == nil {
			t.Errorf("a failed fetch is not tried again: found %d, %v", n, err)
		}
		f.set(func() { f.bad = nil })
		wait()
		now <- struct{}{}
		wait()
		if n, _ := found(); n != 7 {
			t.Errorf("asked to look at once: found %d", n)
		}
	})
}
