package stdio

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// tallySpan is the time over which a tally counts.
const tallySpan = time.Minute

// tally counts events within spans of time.
type tally struct {
	max   int
	count int
	since time.Time
}

// over counts one more and reports whether they are too many.
func (t *tally) over(now time.Time) bool {
	if now.Sub(t.since) > tallySpan {
		t.since, t.count = now, 0
	}
	t.count++
	return t.count > t.max
}

// take deals with one line. Its error ends the conversation.
func (s *session) take(line []byte, cut bool) error {
	s.heard()
	if cut {
		return s.noMessage(line, &misfit{connector.TooLarge, fmt.Sprintf("it is longer than %d bytes", s.config.MaxMessage)})
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	m, bad := parseLine(line, s.limits)
	if bad != nil {
		return s.noMessage(line, bad)
	}
	switch {
	case m.kind == answer && (s.settle(&m) || s.silenced(&m)):
		return nil
	case m.kind == answer && !s.wasAsked(m.id):
		return s.noMessage(line, malformed("it answers nothing that was asked"))
	case m.kind == notice && (s.withdraw(&m) || s.tell(&m)):
		return nil
	case m.kind == request && s.modern.Load():
		return s.noMessage(line, malformed("servers of this era ask nothing"))
	case m.kind == request:
		s.ask(&m)
	case m.kind == notice:
		s.spread(&m)
	}
	if s.unasked.over(time.Now()) {
		return fmt.Errorf("the server wrote more than %d messages in a minute that answer no call", s.config.MaxUnasked)
	}
	return nil
}

// heard notes a sign of life.
func (s *session) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stir()
}

// stir begins the silence anew in which the server owes an answer. s.mu is held.
func (s *session) stir() {
	s.owed = time.Time{}
	if len(s.calls) > 0 {
		s.owed, s.said = time.Now(), false
	}
}

// tell hands progress to the call that it names and whose caller asked for it, and a log, which names none, to the call that
// it belongs to for certain. One process serves many callers, and what is nobody's for certain is told to nobody. It reports
// false for that, and for a call that has said too much.
func (s *session) tell(m *message) bool {
	if canon.KindOf(m.params) != '{' {
		return false
	}
	var notify func(string, []byte) error
	s.mu.Lock()
	if c := s.about(m); c != nil {
		notify = c.notify
	}
	s.mu.Unlock()
	return notify != nil && notify(m.method, m.params) == nil
}

// about is the call that a notification is about, nil if none is. s.mu is held.
func (s *session) about(m *message) *call {
	switch m.method {
	case "notifications/message":
		return s.whose(m.params)
	case "notifications/progress":
		token, _ := canon.Get(m.params, metaProgress)
		if id, ok := parseID(token); ok {
			return s.calls[id]
		}
	}
	return nil
}

// settle gives an answer to the call that waits for it. It reports false when
// none does.
func (s *session) settle(m *message) bool {
	reply := connector.Reply{Result: bytes.Clone(m.result), Error: bytes.Clone(m.failure)}
	if s.finish(m.id, outcome{reply: reply}) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given.remove(m.id)
	return false
}

func (s *session) finish(id uint64, o outcome) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	if c == nil {
		return false
	}
	delete(s.calls, id)
	if o.fail == nil {
		s.tasked(c, &o.reply)
	}
	if len(s.calls) == 0 {
		s.owed = time.Time{}
	}
	c.done <- o
	return true
}

// wasAsked reports whether an id was ever given out: an answer to it may be late
// or double.
func (s *session) wasAsked(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return id <= s.last
}

// shownNoise is how many bytes of a line that is no message are logged.
const shownNoise = 160

// noMessage deals with a line that is no message: the call that it was meant to
// answer, if that can be told, fails; otherwise it is logged as noise.
func (s *session) noMessage(line []byte, bad *misfit) error {
	if id, ok := guessID(line); ok {
		fail := &connector.Failure{Kind: bad.kind, Detail: "the server's answer was refused: " + bad.why, Sent: true}
		if s.finish(id, outcome{fail: fail}) {
			return nil
		}
	}
	if s.noise.over(time.Now()) {
		return fmt.Errorf("the server wrote more than %d lines in a minute that are no messages of MCP", s.config.MaxNoise)
	}
	fmt.Fprintf(s.log, "stdio: a line was ignored: %s%s\n", bad.why, shown(line))
	return nil
}

// shown is a line for the log. One that may be a message is not shown: it may
// hold what a tool returned.
func shown(line []byte) string {
	if k := canon.KindOf(bytes.TrimLeft(line, " \t")); k == '{' || k == '[' {
		return ""
	}
	return fmt.Sprintf(": %q", line[:min(len(line), shownNoise)])
}
