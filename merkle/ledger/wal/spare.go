package wal

import (
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// spareRetry is how long to wait before a segment that could not be made is tried again.
const spareRetry = time.Second

// spare prepares the next segment in the background, so that a full disk is known before a record
// is at stake, and stores the running chain key after each rotation.
type spare struct {
	mu    sync.Mutex // guards all below
	cond  sync.Cond  // something below changed
	want  uint64     // number of the next segment
	file  disk.File  // it, once made
	err   error      // why it could not be made
	key   *chainKey  // to be stored
	ended bool
	wake  chan struct{}
}

func newSpare() *spare {
	s := &spare{wake: make(chan struct{}, 1)}
	s.cond.L = &s.mu
	return s
}

// request asks for a segment; the one before was taken or never made.
func (s *spare) request(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want, s.file, s.err = number, nil, nil
	kick(s.wake)
}

// rotated asks for the next segment, and for the new key to be stored.
func (s *spare) rotated(k chainKey) {
	s.mu.Lock()
	s.key = &k
	s.mu.Unlock()
	s.request(k.epoch + 1)
}

// ready waits until the next segment is made or could not be: nil, or ErrFull with the cause.
func (s *spare) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.file == nil && s.err == nil && !s.ended {
		s.cond.Wait()
	}
	switch {
	case s.file != nil:
		return nil
	case s.err != nil:
		return s.err
	default:
		return ErrClosed
	}
}

// take hands the made segment over. From then on nothing is wanted until rotated says what: a segment
// that is in use must never be made again.
func (s *spare) take() (disk.File, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file
	s.file, s.want = nil, 0
	return f, nil
}

// status tells whether the next segment is there, and why it could not be made.
func (s *spare) status() (have bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil, s.err
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
			l.endSpare()
			return
		}
		l.storeEpoch()
		l.makeSpare()
	}
}

// endSpare stores a key that still waits and closes an unused segment.
func (l *Log) endSpare() {
	l.storeEpoch()
	s := l.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.cond.Broadcast()
	if s.file != nil {
		_ = s.file.Close() // all zero: nothing can be lost
		s.file = nil
	}
}

// makeSpare makes the wanted segment unless it is there.
func (l *Log) makeSpare() {
	s := l.spare
	s.mu.Lock()
	number, have := s.want, s.file != nil || s.want == 0
	s.mu.Unlock()
	if have {
		return
	}
	f, err := makeSegment(l.opt.FS, l.opt.Dir, number, l.opt.SegmentBytes)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == number && s.file == nil {
		s.file, s.err = f, err
		s.cond.Broadcast()
	}
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
