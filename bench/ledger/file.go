package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// file is a log that seals nothing: the same segments made in advance and written in the same way, the same way to gather
// a batch, one write and one sync for each, and frames with a CRC. It is the least that keeps records durably on this disk.
type file struct {
	dir     string
	size    int64
	number  int
	f       disk.File
	at      disk.Appender
	off     int64
	buf     []byte
	commits atomic.Uint64
	spare   chan made

	mu    sync.Mutex // guards queue
	queue []*writer
	wake  chan struct{}
	stop  chan struct{}
	ended chan struct{}
}

type made struct {
	f   disk.File
	err error
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func openFile(dir string) (subject, error) {
	f := &file{
		dir: dir, size: wal.DefaultConfig().SegmentBytes, spare: make(chan made, 1),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	first := f.segment(0)
	if first.err != nil {
		return nil, first.err
	}
	f.f = first.f
	if err := f.at.Begin(f.f, 0, f.size, true); err != nil {
		return nil, errors.Join(err, f.f.Close())
	}
	f.spare <- f.segment(1) // made before the clock runs, as the ledger's is
	go f.run()
	return f, nil
}

func (f *file) segment(number int) made {
	s, err := disk.OS{}.Open(filepath.Join(f.dir, fmt.Sprintf("%06d.segment", number)), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return made{err: err}
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < f.size && err == nil; off += int64(len(zeros)) {
		_, err = s.WriteAt(zeros, off)
	}
	return made{s, errors.Join(err, s.Sync())}
}

func (f *file) keep(_ context.Context, w *writer) error {
	var err error
	if w.buf, err = encode(w.record, w.buf[:0]); err != nil {
		return err
	}
	f.mu.Lock()
	f.queue = append(f.queue, w)
	first := len(f.queue) == 1
	f.mu.Unlock()
	if first {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	return <-w.done
}

func (f *file) run() {
	defer close(f.ended)
	var free []*writer
	for {
		q := f.take(free)
		if len(q) > 0 {
			err := f.commit(q)
			for _, w := range q {
				w.done <- err
			}
			free = q
			continue
		}
		free = q
		select {
		case <-f.wake:
		case <-f.stop:
			return
		}
	}
}

// grown lets a queue grow as long as it does, as the ledger lets its own.
func grown(mu *sync.Mutex, length func() int) {
	for last, i := 0, 0; i < 16; i++ {
		mu.Lock()
		n := length()
		mu.Unlock()
		if n == last {
			return
		}
		last = n
		runtime.Gosched()
	}
}

// take takes the queue whole.
func (f *file) take(free []*writer) []*writer {
	grown(&f.mu, func() int { return len(f.queue) })
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.queue
	f.queue = free[:0]
	return q
}

func (f *file) commit(q []*writer) error {
	f.buf = f.buf[:0]
	for _, w := range q {
		start := len(f.buf)
		f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(len(w.buf)))
		f.buf = append(f.buf, 0, 0, 0, 0)
		f.buf = append(f.buf, w.buf...)
		binary.BigEndian.PutUint32(f.buf[start+4:], crc32.Checksum(f.buf[start+8:], castagnoli))
	}
	if f.off+int64(len(f.buf)) > f.size {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if err := f.at.Append(f.buf); err != nil {
		return err
	}
	f.off += int64(len(f.buf))
	f.commits.Add(1)
	return f.f.Sync()
}

func (f *file) rotate() error {
	next := <-f.spare
	if next.err != nil {
		return next.err
	}
	f.number++
	number := f.number + 1
	go func() { f.spare <- f.segment(number) }()
	err := f.f.Close()
	f.f, f.off = next.f, 0
	return errors.Join(err, f.at.Begin(f.f, 0, f.size, true))
}

func (f *file) batches() uint64 { return f.commits.Load() }

func (f *file) Close() error {
	close(f.stop)
	<-f.ended
	err := f.f.Close()
	if next := <-f.spare; next.err == nil {
		err = errors.Join(err, next.f.Close())
	}
	return err
}
