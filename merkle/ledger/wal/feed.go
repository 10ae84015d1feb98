package wal

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// feed reads a segment ahead of a walk and does the work on each frame that needs no other: CRC, leaf, hash. It only ever
// speeds a walk up: from the first frame on that is not as it should be it is silent, and the walk, which reads on by
// itself, judges that.
type feed struct {
	jobs   chan *job // in the order of the segment
	cancel context.CancelFunc
	wg     sync.WaitGroup
	now    *job
	i      int
}

// job is a run of frames.
type job struct {
	buf    []byte
	frames []prepared
	n      int // of frames
	good   int // of them, valid from the first on; set when done
	done   chan struct{}
}

type prepared struct {
	off  int64
	raw  []byte
	f    frame
	rec  ledger.Record
	leaf merkle.Hash
}

// feedBytes is how much is read at once, and feedAhead how many runs lie ready at most: some 5 MiB.
const (
	feedBytes = 512 << 10
	feedAhead = 6
)

var feedJobs = sync.Pool{New: func() any { return new(job) }}

// newFeed begins to read from an offset on, with so many workers, which keep the words of records if they are wanted.
func newFeed(ctx context.Context, w *window, number uint64, off int64, workers int, words bool) *feed {
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{jobs: make(chan *job, feedAhead), cancel: cancel}
	work := make(chan *job, feedAhead)
	f.wg.Go(func() {
		defer close(work)
		defer close(f.jobs)
		f.read(ctx, w, off, work)
	})
	seed := frameSeed(number)
	for range workers {
		f.wg.Go(func() {
			s := ledger.Skimmer{Words: words}
			for j := range work {
				j.prepare(&s, seed)
				close(j.done)
			}
		})
	}
	return f
}

// read cuts the segment into runs of frames, by their lengths alone.
func (f *feed) read(ctx context.Context, w *window, off int64, work chan<- *job) {
	for want := int64(feedBytes); ctx.Err() == nil; {
		n := min(want, w.size-off)
		j := feedJobs.Get().(*job)
		j.done, j.n, j.good = make(chan struct{}), 0, 0
		if int64(cap(j.buf)) < n {
			j.buf = make([]byte, n)
		}
		j.buf = j.buf[:max(n, 0)]
		if got, _ := w.f.ReadAt(j.buf, off); int64(got) < n || n < frameMin {
			return // the walk finds out why
		}
		end, next := j.cut(off)
		if want = max(feedBytes, int64(next)); j.n > 0 {
			off += int64(end)
			select {
			case f.jobs <- j:
				work <- j // has as much room
			case <-ctx.Done():
				return
			}
		}
		if next == 0 || j.n == 0 && (int64(next) <= n || off+int64(next) > w.size) {
			return
		}
	}
}

// cut finds the frames in the buffer. It returns where the first begins that is not whole, and its length; 0 when none
// begins there.
func (j *job) cut(off int64) (end, next int) {
	for end+lenBytes <= len(j.buf) {
		n, err := frameLen(j.buf[end:])
		if err != nil {
			return end, 0
		}
		if end+n > len(j.buf) {
			return end, n
		}
		if j.n == len(j.frames) {
			j.frames = append(j.frames, prepared{})
		}
		p := &j.frames[j.n]
		p.off, p.raw = off+int64(end), j.buf[end:end+n]
		j.n++
		end += n
	}
	if end+4 <= len(j.buf) && binary.BigEndian.Uint32(j.buf[end:]) == 0 {
		return end, 0
	}
	return end, frameMin
}

// prepare does the work on each frame, up to the first that is not valid.
func (j *job) prepare(s *ledger.Skimmer, seed uint32) {
	for i := range j.frames[:j.n] {
		p := &j.frames[i]
		var err error
		if p.f, err = parseFrame(p.raw, seed); err != nil {
			return
		}
		if err = s.Read(&p.rec, p.f.leaf); err != nil {
			return
		}
		p.leaf = merkle.LeafHash(p.f.leaf)
		j.good = i + 1
	}
}

// next returns the frame at an offset, nil when the walk has to read it by itself. What it returns is valid until the next
// call.
func (f *feed) next(off int64) *prepared {
	if f == nil {
		return nil
	}
	for f.now == nil || f.i == f.now.n {
		if f.now != nil {
			feedJobs.Put(f.now)
			f.now = nil
		}
		j, ok := <-f.jobs
		if !ok {
			return nil
		}
		<-j.done
		f.now, f.i = j, 0
	}
	p := &f.now.frames[f.i]
	if f.i >= f.now.good || p.off != off {
		return nil
	}
	f.i++
	return p
}

// stop ends the goroutines of a feed.
func (f *feed) stop() {
	if f == nil {
		return
	}
	f.cancel()
	for range f.jobs { // nobody takes them any more
	}
	f.wg.Wait()
}
