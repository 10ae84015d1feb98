package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	ledgerdisk "github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// diskFault is what a disk does instead of one operation.
type diskFault struct {
	op       string // write, sync, open
	suffix   string // of the file's name
	skip     int
	err      error         // reported
	persists bool          // the operation happens all the same
	half     bool          // half of a write happens
	hold     time.Duration // a sync takes so long; for ever when negative, until the disk is mended
	always   bool
}

// disk is the operating system's file system, written anew because the log's own is not for others, with a fault in it.
type disk struct {
	mu    sync.Mutex // guards what follows
	fault *diskFault
	skip  int
	hits  int
	held  chan struct{} // closed to let go of what hangs
}

func (d *disk) arm(f *diskFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.skip, d.hits, d.held = f, f.skip, 0, make(chan struct{})
}

// mend says how often the fault struck.
func (d *disk) mend() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault != nil {
		close(d.held)
	}
	d.fault = nil
	return d.hits
}

func (d *disk) struck() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits
}

func (d *disk) hit(op, name string) (*diskFault, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fault
	if f == nil || f.op != op || !strings.HasSuffix(name, f.suffix) || d.hits > 0 && !f.always {
		return nil, nil
	}
	if d.skip > 0 {
		d.skip--
		return nil, nil
	}
	d.hits++
	return f, d.held
}

func (d *disk) Open(name string, flag int) (ledgerdisk.File, error) {
	if flag&os.O_CREATE != 0 {
		if f, _ := d.hit("open", name); f != nil {
			return nil, f.err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &diskFile{file, d, name}, nil
}

func (*disk) Rename(from, to string) error { return os.Rename(from, to) }
func (*disk) Remove(name string) error     { return os.Remove(name) }

func (*disk) List(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (*disk) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type diskFile struct {
	*os.File
	disk *disk
	name string
}

func (f *diskFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *diskFile) WriteAt(b []byte, off int64) (int, error) {
	x, _ := f.disk.hit("write", f.name)
	if x == nil {
		return f.File.WriteAt(b, off)
	}
	n := 0
	switch {
	case x.persists:
		n = len(b)
	case x.half:
		n = len(b) / 2
	}
	_, err := f.File.WriteAt(b[:n], off)
	return 0, errors.Join(x.err, err)
}

func (f *diskFile) Sync() error {
	x, held := f.disk.hit("sync", f.name)
	switch {
	case x == nil:
		return f.File.Sync()
	case x.hold < 0:
		<-held
	case x.hold > 0:
		time.Sleep(x.hold)
	}
	if x.err == nil || x.persists {
		if err := f.File.Sync(); err != nil {
			return err
		}
	}
	return x.err
}

// stand is one ledger on a disk of its own.
type stand struct {
	w    *world
	f    *fault
	name string
	disk *disk
	opt  func(*wal.Options)
	log  *wal.Log
}

// start opens the ledger and puts it in force.
func (s *stand) start(ctx context.Context, change func(*wal.Options)) (err error) {
	s.log, err = s.w.openLog(ctx, s.name, func(o *wal.Options) {
		o.FS = s.disk
		s.opt(o)
		if change != nil {
			change(o)
		}
	})
	if err == nil {
		s.w.book.log.Store(s.log)
	}
	return err
}

// restart mends the disk and starts the ledger again, which is what it takes after a disk error.
func (s *stand) restart(ctx context.Context) error {
	s.f.struck = s.disk.mend() > 0 || s.f.struck
	_ = s.log.Close(ctx) // it says why it was broken
	return s.start(ctx, func(o *wal.Options) { o.Deadline, o.QueueRecords = 20*time.Second, 1000 })
}

// finish looks at the whole ledger: what was admitted is settled, and every byte is as it was written.
func (s *stand) finish(ctx context.Context) error {
	defer s.w.book.log.Store(s.w.main)
	recs, err := s.w.records(tenant, 0)
	if err == nil && len(unsettled(recs)) > 0 {
		err = fmt.Errorf("%d calls are not settled after the restart", len(unsettled(recs)))
	}
	if err := errors.Join(err, s.log.Close(ctx)); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(s.w.dir, s.name, "k0"))
	if err != nil {
		return err
	}
	_, k0, err := wal.ParseChainKey(b)
	if err != nil {
		return err
	}
	rep, err := publish.Verify(ctx, filepath.Join(s.w.dir, s.name, "ledger"), publish.VerifyOptions{K0: k0})
	if err == nil && (rep.Open > 0 || !rep.Chain) {
		err = fmt.Errorf("verify: %+v", rep)
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(s.w.dir, s.name)))
}

const firstSegment, nextSegment = "000000000000.segment", "000000000001.segment"

// diskFaults give the ledger a disk of its own and break it where a record is at stake.
func diskFaults(ctx context.Context, w *world) (all []*fault, err error) {
	add := func(f *fault, early *diskFault, arm func(*stand) error, opt func(*wal.Options)) {
		s := &stand{w: w, f: f, name: fmt.Sprintf("disk-%d", len(all)), disk: &disk{}, opt: opt}
		f.ledger = true
		f.before = func(w *world) error {
			if early != nil {
				s.disk.arm(early)
			}
			if err := s.start(ctx, nil); err != nil {
				return err
			}
			args, retry := w.next("warm")
			w.run(f, w.in.arm(nil), w.call(&fault{}, args, retry))
			return arm(s)
		}
		f.after = func(*world) error { return s.restart(ctx) }
		f.end = func(*world) error { return s.finish(ctx) }
		all = append(all, f)
	}
	same := func(*wal.Options) {}
	quick := func(o *wal.Options) { o.Deadline = 200 * time.Millisecond }
	for _, at := range []struct {
		name string
		call shape
		skip int
	}{{"admitted", planned, 0}, {"settled", planned, 1}, {"refused", offPlan, 0}, {"admitted without a plan", ownList, 0}} {
		inject := func(kind string, x diskFault, opt func(*wal.Options)) {
			x.suffix, x.skip = firstSegment, at.skip
			f := &fault{point: "record " + at.name, kind: kind, call: at.call, refuse: at.name != "settled" && x.hold <= 0, silent: x.hold <= 0}
			add(f, nil, func(s *stand) error { s.disk.arm(&x); return nil }, opt)
		}
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			inject(fmt.Sprintf("write fails: %v", cause), diskFault{op: "write", err: cause}, same)
			inject(fmt.Sprintf("half a write: %v", cause), diskFault{op: "write", err: cause, half: true}, same)
			inject(fmt.Sprintf("write fails but persists: %v", cause), diskFault{op: "write", err: cause, persists: true}, same)
			inject(fmt.Sprintf("sync fails: %v", cause), diskFault{op: "sync", err: cause}, same)
			inject(fmt.Sprintf("sync fails but persists: %v", cause), diskFault{op: "sync", err: cause, persists: true}, same)
		}
		inject("write fails from now on", diskFault{op: "write", err: syscall.EIO, always: true}, same)
		inject("sync hangs past the deadline", diskFault{op: "sync", hold: -1}, quick)
		inject("sync is late", diskFault{op: "sync", hold: 50 * time.Millisecond}, same)
		if at.skip > 0 {
			continue
		}
		whole := func(kind string, early *diskFault, arm func(*stand) error, opt func(*wal.Options)) {
			add(&fault{point: "ledger, record " + at.name, kind: kind, call: at.call, refuse: true}, early, arm, opt)
		}
		whole("closed", nil, (*stand).shut, same)
		whole("queue full", nil, (*stand).queueUp, func(o *wal.Options) { o.QueueRecords = 1 })
		for _, op := range []string{"open", "write", "sync"} {
			full := diskFault{op: op, suffix: nextSegment, err: syscall.ENOSPC, always: true}
			whole("disk full: "+op, &full, func(s *stand) error { return s.fill(ctx) }, func(o *wal.Options) { o.SegmentBytes = 32 << 10 })
		}
	}
	return all, nil
}

func (s *stand) shut() error {
	s.f.struck = true
	return s.log.Close(context.Background())
}

func admin() *ledger.Record { return &ledger.Record{Tenant: "other", Kind: ledger.Admin, Step: -1} }

// queueUp lets a sync hang and fills the queue behind it.
func (s *stand) queueUp() error {
	s.disk.arm(&diskFault{op: "sync", suffix: firstSegment, hold: -1})
	for n := 1; n <= 2; n++ {
		go func() { _, _ = s.log.Append(context.Background(), admin()) }() // ends when the disk is mended
		for range 1000 {
			if s.disk.struck() > 0 && s.log.Stats().Queue >= n {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// fill writes until no room is left in the last segment there is.
func (s *stand) fill(ctx context.Context) error {
	for range 10_000 {
		if _, err := s.log.Append(ctx, admin()); err != nil {
			s.f.struck = errors.Is(err, wal.ErrFull)
			return nil
		}
	}
	return io.ErrShortWrite
}
