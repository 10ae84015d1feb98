package connector

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle/canon"
)

// MemberHears is the member of a call's meta by which the gateway says that its caller hears notes of every kind, and not
// progress alone. Its value is the object of capabilities by which an older server may ask the caller in the middle of the
// call: an empty one means that it cannot be asked. Members that begin with "gatewright/" are not for servers. A gateway that
// does not know of questions never sends it, and a connector that does not know it never asks: each side understands the other.
const MemberHears = "gatewright/hears"

// A question is a request of an older server to the caller of the call that it works on. Bounds, which both sides hold.
const (
	maxAsk   = 1 << 20 // bytes of a question's params
	openAsks = 16      // questions of one call that wait for their answers
)

var (
	errAskSize = errors.New("a question is over the bound")
	errAsks    = errors.New("too many questions of the call are open")
)

func appendAsk(dst []byte, id uint64, number uint32, method string, params []byte) []byte {
	dst = appendHead(dst, kindAsk, id, 4+lengthSize+len(method)+len(params))
	dst = binary.LittleEndian.AppendUint32(dst, number)
	return append(appendField(dst, method), params...)
}

// askSize returns the length of a whole ask frame.
func askSize(method string, params []byte) int { return 4 + noteSize(method, params) }

// parseAsk reads a question, whose params alias body.
func parseAsk(body []byte) (number uint32, n note, err error) {
	f := fields{b: body}
	number = f.u32()
	method := f.bytes()
	if f.bad || len(method) == 0 || len(method) > maxMethod || len(f.b) > maxAsk {
		return 0, n, errors.New("the body of an ask frame is malformed, or over the bound")
	}
	return number, note{string(method), f.b}, nil
}

func appendAnswer(dst []byte, id uint64, number uint32, p Reply) []byte {
	dst = appendHead(dst, kindAnswer, id, 4+1+len(p.Result)+len(p.Error))
	dst = binary.LittleEndian.AppendUint32(dst, number)
	if len(p.Error) > 0 {
		return append(append(dst, 1), p.Error...)
	}
	return append(append(dst, 0), p.Result...)
}

// parseAnswer reads the answer to a question, which does not alias body.
func parseAnswer(body []byte) (number uint32, p Reply, err error) {
	f := fields{b: body}
	number = f.u32()
	object, isError, err := parseReply(f.b)
	if f.bad || err != nil {
		return 0, p, errors.New("the body of an answer frame is malformed")
	}
	if object = append([]byte(nil), object...); isError {
		return number, Reply{Error: object}, nil
	}
	return number, Reply{Result: object}, nil
}

func appendUnask(dst []byte, id uint64, number uint32) []byte {
	return binary.LittleEndian.AppendUint32(appendHead(dst, kindUnask, id, 4), number)
}

// hears reads a call's meta: whether its caller hears notes, and whether it can be asked.
func hears(r *Request) (notes, asks bool) {
	if len(r.Meta) == 0 {
		return false, false
	}
	can, hears := canon.Get(r.Meta, MemberHears)
	_, progress := canon.Get(r.Meta, "progressToken")
	return hears || progress, hears && canon.KindOf(can) == '{' && canon.Each(can, func([]byte, []byte) error { return errAsks }) != nil
}

// ask has the caller of the call answer a question, and waits. It ends with the call.
func (n *noter) ask(ctx context.Context, method string, params []byte) (Reply, error) {
	switch {
	case method == "" || len(method) > maxMethod || len(params) > maxAsk || askSize(method, params) > n.h.max:
		return Reply{}, errAskSize
	case n.said.Add(1) > maxNotes:
		return Reply{}, errNotes
	}
	number, answer, err := n.open()
	if err != nil {
		return Reply{}, err
	}
	defer n.shut(number)
	b, err := n.h.out.begin(ctx)
	if err != nil {
		return Reply{}, err
	}
	if n.over.Load() {
		n.h.out.abandon()
		return Reply{}, errNoteLate
	}
	*b = appendAsk(*b, n.id, number, method, params)
	n.h.out.commit()
	select {
	case p := <-answer:
		return p, nil
	case <-n.ctx.Done():
		err = errNoteLate
	case <-ctx.Done():
		err = ctx.Err()
	}
	if b, lost := n.h.out.urgent(); lost == nil {
		if n.over.Load() {
			n.h.out.abandon()
		} else {
			*b = appendUnask(*b, n.id, number)
			n.h.out.commit()
		}
	}
	return Reply{}, err
}

// open makes room for a question.
func (n *noter) open() (uint32, <-chan Reply, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) >= openAsks {
		return 0, nil, errAsks
	}
	if n.asked == nil {
		n.asked = map[uint32]chan<- Reply{}
	}
	answer := make(chan Reply, 1)
	n.last++
	n.asked[n.last] = answer
	return n.last, answer, nil
}

func (n *noter) shut(number uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asked, number)
}

// answered hands the gateway's answer to who waits for it. One that is too late is for nobody.
func (h *host) answered(f frame) error {
	number, p, err := parseAnswer(f.body)
	if err != nil {
		return err
	}
	h.mu.Lock()
	n := h.asking[f.id]
	h.mu.Unlock()
	if n == nil {
		return nil
	}
	n.mu.Lock()
	answer := n.asked[number]
	delete(n.asked, number)
	n.mu.Unlock()
	if answer != nil {
		answer <- p
	}
	return nil
}

// asked has a connector's question answered by the caller of the call that it names, beside the reading of the stream. One
// whose caller has gone is dropped: the connector is told of that otherwise.
func (s *Session) asked(f frame) error {
	number, n, err := parseAsk(f.body)
	if err != nil {
		return err
	}
	sl, err := s.about(f.id)
	if sl == nil {
		return err
	}
	defer sl.mu.Unlock()
	switch h := sl.heard; {
	case sl.reply == nil:
		return nil
	case h == nil || h.answer == nil:
		return errors.New("it asks a caller who cannot be asked")
	default:
		return h.ask(s, f.id, number, note{n.method, append([]byte(nil), n.params...)})
	}
}

// unasked takes a question back. It may have been answered meanwhile.
func (s *Session) unasked(f frame) error {
	if len(f.body) != 4 {
		return errors.New("the body of an unask frame is malformed")
	}
	sl, err := s.about(f.id)
	if sl == nil {
		return err
	}
	defer sl.mu.Unlock()
	if h := sl.heard; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		number := binary.LittleEndian.Uint32(f.body)
		if end := h.open[number]; end != nil {
			end()
			delete(h.open, number)
		}
	}
	return nil
}

// about finds the slot of a call about which the connector says something, and counts that. The slot is returned locked; nil
// when there is no such call.
func (s *Session) about(id uint64) (*slot, error) {
	if id == 0 {
		return nil, s.stray()
	}
	sl := s.slots[id%uint64(len(s.slots))]
	sl.mu.Lock()
	if sl.id != id {
		sl.mu.Unlock()
		return nil, s.stray()
	}
	if sl.notes++; sl.notes > maxNotes {
		sl.mu.Unlock()
		return nil, fmt.Errorf("it says over %d things about one call", maxNotes)
	}
	return sl, nil
}

// ask has the caller asked in a goroutine of its own, which ends before the call returns.
func (h *hearing) ask(s *Session, id uint64, number uint32, n note) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[number] != nil || len(h.open) >= openAsks {
		return errors.New("it asks twice under one number, or too much at once")
	}
	if h.open == nil {
		h.open = map[uint32]context.CancelFunc{}
	}
	ctx, end := context.WithCancel(h.ctx)
	h.open[number] = end
	h.asks.Go(func() {
		defer end()
		p, err := h.answer(ctx, n.method, n.params)
		if err != nil || (len(p.Result) == 0) == (len(p.Error) == 0) || askSize("", p.Result)+len(p.Error)+1 > s.max {
			p = Reply{Error: []byte(`{"code":-32603,"message":"the client has no answer"}`)}
		}
		h.mu.Lock()
		waits := h.open[number] != nil
		delete(h.open, number)
		h.mu.Unlock()
		if !waits || h.ctx.Err() != nil {
			return
		}
		if b, err := s.out.begin(h.ctx); err == nil {
			*b = appendAnswer(*b, id, number, p)
			s.out.commit()
		}
	})
	return nil
}

// close ends the questions that are open and waits for them. A nil hearing has none.
func (h *hearing) close() {
	if h != nil && h.end != nil {
		h.end()
		h.asks.Wait()
	}
}
