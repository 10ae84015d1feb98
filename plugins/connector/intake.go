package connector

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// write runs the outbox to its end. After a drain the stream's sending side is closed, which lets the connector
// end.
func (s *Session) write() {
	if s.out.run() == nil && s.Err() == nil {
		_ = s.stream.CloseSend() // the reader sees the end, whatever comes of this
	}
	// An error to send means that the stream is over; RecvMsg says why.
}

// read takes frames until the stream or the session ends.
func (s *Session) read() {
	defer close(s.reader)
	err := receive(s.stream, s.handle)
	if broken, ok := errors.AsType[breach](err); ok {
		s.end(&Failure{Kind: Malformed, Detail: "the connector broke the protocol: " + broken.Error()})
		return
	}
	s.end(s.lost(err))
}

// lost says why a stream is over.
func (s *Session) lost(err error) *Failure {
	switch {
	case errors.Is(err, io.EOF) || s.leaving.Load():
		return &Failure{Kind: Unreachable, Detail: "the connector ended"}
	case status.Code(err) == codes.ResourceExhausted:
		return &Failure{Kind: TooLarge, Detail: "the connector sent a message over the bound"}
	}
	return &Failure{Kind: Unreachable, Detail: cleanText("the connector was lost: "+status.Convert(err).Message(), maxDetail)}
}

func (s *Session) handle(f frame) error {
	switch f.kind {
	case kindReply:
		object, isError, err := parseReply(f.body)
		if err != nil {
			return err
		}
		return s.settle(f.id, object, isError, nil)
	case kindFailure:
		fail, err := parseFailure(f.body)
		if err != nil {
			return err
		}
		return s.settle(f.id, nil, false, fail)
	case kindNote:
		return s.noted(f)
	case kindAsk:
		return s.asked(f)
	case kindUnask:
		return s.unasked(f)
	case kindPong:
		return s.pong(f)
	case kindDrain:
		return s.drained(f)
	}
	return fmt.Errorf("a frame of kind %d is not the connector's to send", f.kind)
}

func (s *Session) settle(id uint64, object []byte, isError bool, f *Failure) error {
	if id == 0 {
		return s.stray()
	}
	sl := s.slots[id%uint64(len(s.slots))]
	known, abandoned := sl.settle(id, object, isError, f)
	switch {
	case !known:
		return s.stray()
	case abandoned:
		s.regain(sl)
	}
	return nil
}

// maxStrays is how many answers may come to what was never asked.
const maxStrays = 1024

func (s *Session) stray() error {
	if s.strays.Add(1) > s.givenUp.Load()+maxStrays {
		return errors.New("it floods the gateway with answers nobody asked for")
	}
	return nil
}

func (s *Session) pong(f frame) error {
	if len(f.body) != 0 {
		return errors.New("a pong frame has a body")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pong, ok := s.pings[f.id]
	if !ok {
		return s.stray()
	}
	delete(s.pings, f.id)
	close(pong)
	return nil
}

// drained handles the connector's wish to end: no new call, and once none is left our side of the stream is closed.
func (s *Session) drained(f frame) error {
	if len(f.body) != 0 || f.id != 0 || s.leaving.Swap(true) {
		return errors.New("a drain frame is malformed, or one too many")
	}
	s.draining.Store(true)
	s.rest()
	go func() {
		select {
		case <-s.idle:
			s.out.close()
			s.awaitLeave()
		case <-s.done:
		}
	}()
	return nil
}

// leaveWithin is how long a connector may stay that has said it leaves, when nothing is left to do.
const leaveWithin = 5 * time.Second

// awaitLeave ends the session of one that stays: it takes no calls, and whoever supervises it has to hear of it.
func (s *Session) awaitLeave() {
	timer := time.NewTimer(leaveWithin)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		s.end(&Failure{Kind: Timeout, Detail: "the connector said that it leaves, and stayed"})
	}
}
