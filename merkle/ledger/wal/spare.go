package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Segments are made ahead of their need, so that a full disk is known long before a record is at stake: spares for
// everybody, and behind them one reserve for what must be written even then.
const (
	spares       = 2
	segmentAhead = spares + 1
)

// spareRetry is how long to wait before a segment that could not be made is tried again.
const spareRetry = time.Second

// freeSuffix is that of a segment that pruning gave up and that waits to be used again.
const freeSuffix = ".free"

// spare is the pool of segments that are made ahead, and stores the running chain key after each rotation.
//
// Whatever is taken meanwhile, the number of the one that is made next is next plus how many are made: taking one moves
// both. So a segment that was taken can never be made again.
type spare struct {
	fs    disk.FS
	wake  chan struct{}
	hurry chan struct{} // somebody waits
	mu    sync.Mutex    // guards all below
	cond  sync.Cond     // something below changed
	next  uint64        // number of the segment that is taken next
	files []segmentFile // it and those behind it, as far as they are made
	freed []string      // files to be used again
	// dropped is the number of the first segment that was not given up since the start.
	dropped  uint64
	err      error     // why the one behind the made ones could not be made
	key      *chainKey // to be stored
	unfilled bool      // the next is in need of filling
	filling  bool      // the next is being filled, and cannot be taken
	waits    int       // for segments
	ended    bool
}

// segmentFile is a segment that is made and empty.
type segmentFile struct {
	disk.File
	filled bool // zeros were written over all of it, and not only space reserved
}

func newSpare(on disk.FS, next uint64) *spare {
	s := &spare{fs: on, next: next, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	s.cond.L = &s.mu
	return s
}

// rotated asks for one more segment, and for the new key to be stored.
func (s *spare) rotated(k chainKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = &k
	kick(s.wake)
}

// ready waits until n segments are made or one could not be: nil, or ErrFull with the cause.
func (s *spare) ready(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.await(n)
}

// await waits until n segments are made and can be taken. mu is held.
func (s *spare) await(n int) error {
	s.waits++
	defer func() { s.waits-- }()
	for s.filling || len(s.files) < n && s.err == nil && !s.ended {
		kick(s.hurry)
		s.cond.Wait()
	}
	switch {
	case len(s.files) >= n:
		return nil
	case s.err != nil:
		return s.err
	default:
		return ErrClosed
	}
}

// take hands over the next segment, as soon as it is ready.
func (s *spare) take() (disk.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.await(1); err != nil {
		return nil, err
	}
	s.unfilled = false
	f := s.files[0].File
	s.files = append(s.files[:0], s.files[1:]...)
	s.next++
	return f, nil
}

// status tells how many segments are made, and why there are not more.
func (s *spare) status() (made int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files), s.err
}

// close closes what was not taken.
func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.cond.Broadcast()
	for _, f := range s.files {
		_ = f.Close() // all zero: nothing can be lost
	}
	s.files = nil
}

// runSpare works until the writer has ended: a commit may wait for a segment during Close.
func (l *Log) runSpare() {
	s := l.spare
	retry := time.NewTicker(spareRetry)
	defer retry.Stop()
	for {
		select {
		case <-s.wake:
		case <-retry.C:
		case <-l.written:
			l.storeEpoch()
			s.close()
			return
		}
		l.storeEpoch()
		for l.makeSpare() {
			l.storeEpoch()
		}
		l.fillNext()
	}
}

// makeSpare makes the segment that is missing next, and reports whether another may be.
func (l *Log) makeSpare() bool {
	s := l.spare
	s.mu.Lock()
	number, enough := s.next+uint64(len(s.files)), len(s.files) >= segmentAhead
	s.mu.Unlock()
	if enough {
		return false
	}
	f, err := l.reuse(number)
	if f.File == nil && err == nil {
		f, err = makeSegment(l.opt.FS, l.opt.Dir, number, l.opt.SegmentBytes)
	}
	if err != nil {
		err = l.full(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.files = append(s.files, f)
	}
	s.cond.Broadcast()
	return err == nil && len(s.files) < segmentAhead
}

// fillBytes is how much is filled between two looks at whether the segment is waited for.
const fillBytes = 1 << 20

// fillSoon asks for the next segment to be filled before it is needed.
func (s *spare) fillSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unfilled = true
	kick(s.wake)
}

// fillNext fills the segment that is taken next, if that was asked for and none is missing. After an error nothing is
// written to that file again: all that are made ahead are made anew, so that none is missing between others.
func (l *Log) fillNext() {
	s := l.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unfilled || len(s.files) < segmentAhead || s.files[0].filled || s.waits > 0 {
		return
	}
	s.unfilled, s.filling = false, true
	f := s.files[0].File
	s.mu.Unlock()
	err := l.fill(f)
	s.mu.Lock()
	if err != nil {
		for _, f := range s.files {
			_ = f.Close() // all zero: nothing can be lost
		}
		s.err = removeSegments(l.opt.FS, l.opt.Dir, s.next, s.next+uint64(len(s.files))-1)
		s.files = nil
		kick(s.wake)
	}
	s.filling = false
	s.cond.Broadcast()
}

// fill writes zeros over a segment, in pieces and with a pause as long as each, so that no commit waits long behind one.
// Space that is reserved and was never written costs each sync a commit of the file system's journal as well, which
// doubles it. A segment that is waited for, or is not used any more, is left as it is: it reads the same.
func (l *Log) fill(f disk.File) error {
	size := l.opt.SegmentBytes
	piece := make([]byte, min(fillBytes, size))
	var at disk.Appender
	err := at.Begin(f, 0, size, true)
	for off := int64(0); off < size && err == nil && !l.hurried(); off += fillBytes {
		began := time.Now()
		if err = at.Append(piece[:min(fillBytes, size-off)]); err == nil {
			err = f.Sync()
		}
		if off+fillBytes >= size {
			break
		}
		pause := time.NewTimer(time.Since(began))
		select {
		case <-pause.C:
		case <-l.spare.hurry:
		case <-l.stop:
		}
		pause.Stop()
	}
	return err
}

// hurried tells whether somebody waits for a segment, or the log is closed.
func (l *Log) hurried() bool {
	select {
	case <-l.stop:
		return true
	default:
	}
	s := l.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits > 0
}

// full says what an operator needs to know about a segment that could not be made.
func (l *Log) full(cause error) error {
	free := ""
	if n, err := disk.Free(l.opt.FS, l.opt.Dir); err == nil {
		free = fmt.Sprintf(", where %d are free", n)
	}
	return fmt.Errorf("%w: a segment takes %d bytes in %s%s: %w", ErrFull, l.opt.SegmentBytes, l.opt.Dir, free, cause)
}

// reuse makes a segment of one that pruning gave up: zeroed, durably, before it gets its name. It returns none when
// there is none. One that is of no use is removed.
func (l *Log) reuse(number uint64) (segmentFile, error) {
	for {
		name := l.spare.nextFreed()
		if name == "" {
			return segmentFile{}, nil
		}
		f, err := l.opt.FS.Open(name, os.O_RDWR)
		if err != nil {
			continue // it is gone
		}
		if n, err := f.Size(); err == nil && n == l.opt.SegmentBytes && l.wipe(f, name, number) == nil {
			return segmentFile{f, true}, nil
		}
		_ = f.Close() // nothing of it is used
		if err := l.opt.FS.Remove(name); err != nil {
			return segmentFile{}, err
		}
	}
}

func (s *spare) nextFreed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.freed) == 0 {
		return ""
	}
	name := s.freed[0]
	s.freed = s.freed[1:]
	return name
}

// wipe fills a file with zeros and gives it a segment's name.
func (l *Log) wipe(f disk.File, name string, number uint64) error {
	if err := fillZero(f, 0, l.opt.SegmentBytes); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	to := segmentName(l.opt.Dir, number)
	if err := l.opt.FS.Rename(name, to); err != nil {
		return err
	}
	return l.opt.FS.SyncDir(filepath.Dir(to))
}

// recycle gives up a segment's file that pruning has no more use for: it becomes a spare one as soon as one is needed, or
// is removed if enough wait for that. The caller syncs the folder.
func (s *spare) recycle(number uint64, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = max(s.dropped, number+1)
	if len(s.freed) >= segmentAhead {
		return s.fs.Remove(name)
	}
	free := strings.TrimSuffix(name, segmentSuffix) + freeSuffix
	if err := s.fs.Rename(name, free); err != nil {
		return err
	}
	s.freed = append(s.freed, free)
	kick(s.wake)
	return nil
}

// dropped reports whether a segment was given up, so that its file may be something else by now.
func (l *Log) dropped(segment uint64) bool {
	s := l.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	return segment < s.dropped
}

// adoptSpares takes over what an earlier start made ahead: the segments from the next on up to the newest that are whole
// and of the right size. All of them are zero, which the walk over the log has seen. What is not adopted is removed.
func (l *Log) adoptSpares(newest uint64) error {
	s, o := l.spare, &l.opt
	for n := s.next; n <= newest && len(s.files) < segmentAhead; n++ {
		f, err := o.FS.Open(segmentName(o.Dir, n), os.O_RDWR)
		if err != nil {
			break
		}
		if size, err := f.Size(); err != nil || size != o.SegmentBytes {
			_ = f.Close() // nothing was written to it
			break
		}
		s.files = append(s.files, segmentFile{File: f})
	}
	if err := removeSegments(o.FS, o.Dir, s.next+uint64(len(s.files)), newest); err != nil {
		return err
	}
	names, err := o.FS.List(filepath.Join(o.Dir, walDir))
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, freeSuffix) {
			s.freed = append(s.freed, filepath.Join(o.Dir, walDir, name))
		}
	}
	return nil
}

// storeEpoch replaces the running key, so that the one before is gone from the machine. A failure is
// tried again: the older key still opens the log, it only tells a thief more.
func (l *Log) storeEpoch() {
	s := l.spare
	s.mu.Lock()
	k := s.key
	s.mu.Unlock()
	if k == nil || l.opt.storeKey(l.opt.ChainKeyFile, *k) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == k {
		s.key = nil
	}
}
