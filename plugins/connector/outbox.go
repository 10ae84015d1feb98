package connector

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"google.golang.org/grpc/mem"
)

const (
	// batchSize is how many bytes of frames wait for the stream before callers do. gRPC itself takes 64 KiB more.
	batchSize = 64 << 10
	// keepBatch is the largest buffer kept for the next batch.
	keepBatch = 256 << 10
	// yields is how often the writer lets others add to a batch before it sends it, as long as somebody does.
	yields = 4
)

var errEnded = errors.New("the session has ended")

// outbox gathers frames and sends them in batches from one goroutine, so that no caller ever waits for a peer that
// does not read longer than it wants to.
type outbox struct {
	send  func(*message) error // of the stream
	limit int                  // bytes of one message
	wake  chan struct{}        // holds one
	ended chan struct{}        // closed by stop
	gone  chan struct{}        // closed when run has returned
	next  message              // what run sends, used again

	mu      sync.Mutex // guards what follows
	batch   *[]byte
	room    chan struct{} // closed when the batch is taken; nil while nobody waits
	closing bool          // send what there is, then end
	stopped bool
}

func newOutbox(limit int, send func(*message) error) *outbox {
	return &outbox{
		send: send, limit: limit, batch: newBatch(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}), gone: make(chan struct{}),
	}
}

// begin waits for room in the batch and returns it with the lock held; the caller appends one frame and commits. So
// the batch is never longer than batchSize and one frame, and a long frame waits no longer than a short one.
func (o *outbox) begin(ctx context.Context) (*[]byte, error) {
	o.mu.Lock()
	for len(*o.batch) >= batchSize && !o.stopped {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		o.mu.Lock()
	}
	return o.beginNow()
}

// urgent is begin for small frames that must not wait.
func (o *outbox) urgent() (*[]byte, error) {
	o.mu.Lock()
	return o.beginNow()
}

func (o *outbox) beginNow() (*[]byte, error) {
	if o.stopped || o.closing {
		o.mu.Unlock()
		return nil, errEnded
	}
	return o.batch, nil
}

func (o *outbox) commit() {
	o.mu.Unlock()
	o.nudge()
}

// abandon ends what begin began, with nothing written.
func (o *outbox) abandon() { o.mu.Unlock() }

func (o *outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// signal sends a frame without a body.
func (o *outbox) signal(kind frameKind, id uint64) error {
	b, err := o.urgent()
	if err != nil {
		return err
	}
	*b = appendHead(*b, kind, id, 0)
	o.commit()
	return nil
}

// run sends batches until the outbox is closed or stopped, or the stream fails.
func (o *outbox) run() error {
	defer close(o.gone)
	for {
		select {
		case <-o.wake:
		case <-o.ended:
			return nil
		}
		o.gather()
		for {
			b, last := o.take()
			if err := o.write(b); err != nil {
				return err
			}
			if last {
				return nil
			}
			if b == nil {
				break
			}
		}
	}
}

// gather lets others run while that makes the batch grow.
func (o *outbox) gather() {
	for before, i := 0, 0; i < yields; i++ {
		o.mu.Lock()
		n := len(*o.batch)
		o.mu.Unlock()
		if n == before || n >= batchSize/2 {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// take returns the batch, nil if it is empty, and whether it is the last.
func (o *outbox) take() (b *[]byte, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last = o.closing
	if len(*o.batch) == 0 {
		return nil, last
	}
	b, o.batch = o.batch, newBatch()
	o.makeRoom()
	return b, last
}

// makeRoom wakes those who wait for room.
func (o *outbox) makeRoom() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// write sends a batch in as few messages as the limit allows.
func (o *outbox) write(b *[]byte) error {
	if b == nil {
		return nil
	}
	if len(*b) <= o.limit {
		return o.post(mem.NewBuffer(b, batches{}))
	}
	whole := mem.NewBuffer(b, batches{})
	defer whole.Free()
	for from := 0; from < len(*b); {
		to := from + wholeFrames((*b)[from:], o.limit)
		if err := o.post(whole.Slice(from, to)); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// post sends one message; gRPC has taken hold of it when send returns.
func (o *outbox) post(b mem.Buffer) error {
	o.next.data = b
	return o.send(&o.next)
}

// wholeFrames returns the length of the frames at the start of b that fit limit; of the first in any case. b is of
// our own making.
func wholeFrames(b []byte, limit int) int {
	n := 0
	for n < len(b) {
		_, rest, err := nextFrame(b[n:])
		end := len(b) - len(rest)
		if err != nil || n > 0 && end > limit {
			break
		}
		n = end
	}
	return n
}

// close lets run send what there is and end.
func (o *outbox) close() {
	o.mu.Lock()
	o.closing = true
	o.mu.Unlock()
	o.nudge()
}

// stop ends run and every wait for room.
func (o *outbox) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopped {
		o.stopped = true
		close(o.ended)
		o.makeRoom()
	}
}

var batchPool = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

func newBatch() *[]byte { return batchPool.Get().(*[]byte) }

// batches is where gRPC returns a batch once it is on the wire, and where messages that arrive in pieces are put
// together. (gRPC's own pool wipes up to 1 MiB for each message over 32 KiB.) Batches may hold credentials and are
// wiped after use.
type batches struct{}

// Get returns a buffer of n bytes.
func (batches) Get(n int) *[]byte {
	b := newBatch()
	if cap(*b) < n {
		batchPool.Put(b)
		large := make([]byte, n)
		return &large
	}
	*b = (*b)[:n]
	return b
}

// Put keeps b for the next batch.
func (batches) Put(b *[]byte) {
	clear(*b)
	if cap(*b) <= keepBatch {
		*b = (*b)[:0]
		batchPool.Put(b)
	}
}
