package connector

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// A note is one notification about a call, on its way from the connector to the call's caller. Bounds of them, in either
// direction: what is over the first is refused or ends the stream, what is over the others gives way to newer ones.
const (
	maxNote      = 16 << 10 // bytes of one note's params
	maxMethod    = 128      // bytes of its method
	maxNotes     = 10_000   // of one call: ten times what the gateway hears of an answer by default
	waitingNotes = 32       // of one call, while its caller is busy with an earlier one
	waitingBytes = 64 << 10 // of these

	listenedNotes = 1024 // as waitingNotes, of a call that listens, whose notes are no news of the same thing
	listenedBytes = 1 << 20
)

// ErrLater is what Notify gives in a call of MethodListen when there is no room for the notification now; in other calls it is
// dropped then.
var ErrLater = errors.New("there is no room for a notification now; say it again soon")

var (
	errNoteSize = errors.New("a notification is over the bound")
	errNoteLate = errors.New("the call has its answer")
	errNotes    = errors.New("the call has said too much")
)

// noteSize returns the length of a whole note frame.
func noteSize(method string, params []byte) int {
	return headSize + lengthSize + len(method) + len(params)
}

func appendNote(dst []byte, id uint64, method string, params []byte) []byte {
	dst = appendHead(dst, kindNote, id, lengthSize+len(method)+len(params))
	return append(appendField(dst, method), params...)
}

// parseNote reads a note, whose params alias body.
func parseNote(body []byte) (n note, err error) {
	f := fields{b: body}
	method := f.bytes()
	if f.bad || len(method) == 0 || len(method) > maxMethod || len(f.b) > maxNote {
		return n, errors.New("the body of a note frame is malformed, or over the bound")
	}
	return note{string(method), f.b}, nil
}

type note struct {
	method string
	params []byte // a copy, where it waits
}

// hearing is what waits for the caller of one call. The reader of the stream never waits for a caller.
type hearing struct {
	wake   chan struct{}                                                          // holds one
	answer func(ctx context.Context, method string, params []byte) (Reply, error) // nil when the caller cannot be asked
	ctx    context.Context                                                        //nolint:containedctx // of the questions; ends with the call
	end    context.CancelFunc
	asks   sync.WaitGroup

	mostNotes, mostBytes int

	mu    sync.Mutex // guards what follows
	notes []note
	bytes int
	open  map[uint32]context.CancelFunc // questions that are not answered
}

// newHearing is nil when nobody hears.
func newHearing(ctx context.Context, r *Request) *hearing {
	if r.Notify == nil {
		return nil
	}
	h := &hearing{wake: make(chan struct{}, 1), answer: r.Ask, mostNotes: waitingNotes, mostBytes: waitingBytes}
	if r.Method == MethodListen {
		h.mostNotes, h.mostBytes = listenedNotes, listenedBytes
	}
	if r.Ask != nil {
		h.ctx, h.end = context.WithCancel(ctx)
	}
	return h
}

// put lets the oldest give way: the newest progress is worth the most.
func (h *hearing) put(n note) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, note{n.method, append([]byte(nil), n.params...)})
	h.bytes += len(n.params)
	for len(h.notes) > h.mostNotes || h.bytes > h.mostBytes {
		h.bytes -= len(h.notes[0].params)
		h.notes = append(h.notes[:0], h.notes[1:]...)
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// tell gives the caller what waits.
func (h *hearing) tell(to func(method string, params []byte) error) error {
	for {
		h.mu.Lock()
		if len(h.notes) == 0 {
			h.mu.Unlock()
			return nil
		}
		n := h.notes[0]
		h.bytes -= len(n.params)
		h.notes = append(h.notes[:0], h.notes[1:]...)
		h.mu.Unlock()
		if err := to(n.method, n.params); err != nil {
			return err
		}
	}
}

// noted hands a connector's note to the call that it is about. One whose caller has gone, or does not hear, is dropped.
func (s *Session) noted(f frame) error {
	n, err := parseNote(f.body)
	if err != nil {
		return err
	}
	sl, err := s.about(f.id)
	if sl == nil {
		return err
	}
	defer sl.mu.Unlock()
	if sl.heard != nil && sl.reply != nil {
		sl.heard.put(n)
	}
	return nil
}

// attend waits for the answer of a call whose caller hears what is said before it. The error is the caller's own, who
// wants no more. What was said before the answer has been told when it returns without one.
func (s *Session) attend(ctx context.Context, sl *slot, h *hearing, r *Request) (settled bool, err error) {
	for {
		select {
		case <-sl.ready:
			if err := h.tell(r.Notify); err != nil {
				return true, err
			}
			return true, nil
		case <-h.wake:
			if err := h.tell(r.Notify); err != nil {
				return false, err
			}
		case <-ctx.Done():
			return false, nil
		}
	}
}

// noter says what an author's server has to say about one call. It never waits: what the stream has no room for is lost, as
// is what comes after the answer.
type noter struct {
	h    *host
	id   uint64
	ctx  context.Context //nolint:containedctx // the call's
	said atomic.Int64
	// listens is set of a call of MethodListen, whose notes are no news of the same thing and are not dropped unsaid.
	listens bool
	over    atomic.Bool // seen with the outbox locked: nothing comes after the answer

	mu    sync.Mutex // guards what follows
	asked map[uint32]chan<- Reply
	last  uint32
}

func (n *noter) say(method string, params []byte) error {
	switch {
	case method == "" || len(method) > maxMethod || len(params) > maxNote || noteSize(method, params) > n.h.max:
		return errNoteSize
	case n.said.Add(1) > maxNotes:
		return errNotes
	}
	b, err := n.h.out.urgent()
	if err != nil {
		return err
	}
	if n.over.Load() {
		n.h.out.abandon()
		return errNoteLate
	}
	if len(*b) >= batchSize {
		n.h.out.abandon()
		if n.listens {
			n.said.Add(-1)
			return ErrLater
		}
		return nil
	}
	*b = appendNote(*b, n.id, method, params)
	n.h.out.commit()
	return nil
}

// end refuses what comes after the answer. A nil noter has said nothing.
func (n *noter) end() {
	if n != nil {
		n.over.Store(true)
	}
}
