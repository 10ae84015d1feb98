package wal_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// cacheFS notes what is forgotten of segments, and fails the test when that was not durable.
type cacheFS struct {
	disk.OS
	t  *testing.T
	mu sync.Mutex
	to map[string]int64 // how far each was forgotten
}

type cacheFile struct {
	disk.File
	fs             *cacheFS
	name           string
	synced, behind int64 // behind: end of what was written
}

func (f *cacheFS) Open(name string, flag int) (disk.File, error) {
	file, err := f.OS.Open(name, flag)
	if err != nil || filepath.Ext(name) != ".segment" {
		return file, err
	}
	return &cacheFile{File: file, fs: f, name: filepath.Base(name)}, nil
}

func (f *cacheFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.behind = max(f.behind, off+int64(len(b)))
	return f.File.WriteAt(b, off)
}

func (f *cacheFile) Sync() error {
	f.fs.mu.Lock()
	end := f.behind
	f.fs.mu.Unlock()
	err := f.File.Sync()
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.synced = max(f.synced, end)
	return err
}

func (f *cacheFile) Forget(off, n int64) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if n == 0 { // another segment is written by now
		n = 1 << 40
	} else if off != f.fs.to[f.name] || off+n > f.synced-(15<<20) {
		f.fs.t.Errorf("%s: %d bytes at %d are forgotten, %d were, %d are durable", f.name, n, off, f.fs.to[f.name], f.synced)
	}
	f.fs.to[f.name] = off + n
}

func TestWhatIsLongDurableIsNotKeptInTheCache(t *testing.T) {
	o := options(t.TempDir())
	fs := &cacheFS{t: t, to: map[string]int64{}}
	o.FS, o.Sync, o.SegmentBytes = fs, wal.SyncWrite, 32<<20
	l := open(t, o)
	far := func(segment string) int64 {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		return fs.to[segment]
	}
	grow := func(n int) {
		for range n {
			r := record("acme", ledger.Admin)
			r.Side = make([]byte, 48<<10)
			if _, err := l.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.PublishNow(); err != nil {
			t.Fatal(err)
		}
	}
	first, second := "000000000000.segment", "000000000001.segment"
	grow(200) // 10 MB
	if n := far(first); n != 0 {
		t.Errorf("%d bytes are forgotten of a log of 10 MB", n)
	}
	grow(300) // 25 MB
	if n := far(first); n < 7<<20 || n > 9<<20 {
		t.Errorf("%d bytes are forgotten of a log of 25 MB", n)
	}
	grow(600) // 55 MB: 22 MB in the next segment
	if n := far(first); n < 1<<40 {
		t.Errorf("%d bytes are forgotten of a segment that is full for long", n)
	}
	if n := far(second); n < 4<<20 || n > 9<<20 {
		t.Errorf("%d bytes are forgotten of 22 MB", n)
	}
}
