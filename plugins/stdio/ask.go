package stdio

import (
	"bytes"
	"context"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// A process is one conversation for everybody, and a server's log or question over it names no call. It belongs to one for
// certain only while that call alone is under way, and no other that was given up can still be worked on for somebody else.

// maxGiven is how many calls that were given up and never answered are told apart; with more, nothing is attributed any more.
const maxGiven = 4096

// given are the calls that were given up and are not answered: nobody knows whether the server still works on them.
type given struct {
	calls map[uint64]string // their principals
	of    map[string]int    // how many of each principal
	full  bool
}

func (g *given) add(id uint64, principal string) {
	if len(g.calls) >= maxGiven {
		g.full = true
		return
	}
	if g.calls == nil {
		g.calls, g.of = map[uint64]string{}, map[string]int{}
	}
	g.calls[id] = principal
	g.of[principal]++
}

func (g *given) remove(id uint64) {
	principal, ok := g.calls[id]
	if !ok {
		return
	}
	delete(g.calls, id)
	if g.of[principal]--; g.of[principal] == 0 {
		delete(g.of, principal)
	}
}

// only tells whether nobody but this principal has such calls.
func (g *given) only(principal string) bool {
	return !g.full && len(g.of) == min(1, g.of[principal])
}

// metaRelatedTask names the task that a message is about (MCP 2025-11-25, tasks).
const metaRelatedTask = metaReserved + "related-task"

// relatedTask is the task that a message names, "" when it names none.
func relatedTask(params []byte) string {
	meta, _ := canon.Get(params, "_meta")
	related, _ := canon.Get(meta, metaRelatedTask)
	return textOf(related, "taskId")
}

func textOf(object []byte, member string) string {
	raw, _ := canon.Get(object, member)
	if canon.KindOf(raw) != '"' {
		return ""
	}
	text, _ := canon.Unquote(raw) // checked JSON: cannot fail
	return text
}

// unknownTask is how a server says that there is no such task, or that it has ended and cannot be cancelled.
const unknownTask = "-32602"

// tasked keeps account of what a server works on beyond its answer: a task that it began is as a call that was given up, until
// somebody is told that it has ended. s.mu is held.
func (s *session) tasked(c *call, reply *connector.Reply) {
	switch c.method {
	case "tools/call":
		task, _ := canon.Get(reply.Result, "task")
		if id := textOf(task, "taskId"); id != "" {
			s.tasks[id] = c.id
			s.given.add(c.id, c.principal)
		}
	case "tasks/get", "tasks/cancel", "tasks/result":
		code, _ := canon.Get(reply.Error, "code")
		ended := string(code) == unknownTask || reply.Error == nil && c.method == "tasks/result"
		switch textOf(reply.Result, "status") {
		case "completed", "failed", "cancelled":
			ended = true
		}
		if ended {
			s.given.remove(s.tasks[c.name])
			delete(s.tasks, c.name)
		}
	}
}

// whose is the call to which belongs what a server says without naming one; nil when that is not certain. What names a task
// belongs to the call that waits for the task's result. s.mu is held.
func (s *session) whose(params []byte) *call {
	if task := relatedTask(params); task != "" {
		for _, c := range s.calls {
			if c.method == "tasks/result" && c.name == task {
				return c
			}
		}
		return nil
	}
	if len(s.calls) != 1 {
		return nil
	}
	for _, c := range s.calls {
		if !c.binding && s.given.only(c.principal) {
			return c
		}
	}
	return nil
}

// isQuestion tells what a server of the older era may ask of a call's caller. Roots are not among it: they are facts of a
// whole conversation, which servers ask for once and keep, and one caller's folders would be everybody's.
func isQuestion(method string) bool {
	return method == "elicitation/create" || method == "sampling/createMessage"
}

// question is a request of the server that a caller answers.
type question struct {
	end       context.CancelFunc
	withdrawn bool
}

// maxQuestions is how many questions of one server may be open.
const maxQuestions = 64

// ask answers a request of the server, or has the caller of the call that it belongs to answer it.
func (s *session) ask(m *message) {
	if m.method == "ping" || !isQuestion(m.method) {
		s.courtesy(respond(m.rawID, m.method))
		return
	}
	c, q, why := s.pose(m)
	switch {
	case why != "":
		s.courtesy(refuse(m.rawID, why))
		return
	case c == nil:
		s.courtesy(respond(m.rawID, m.method))
		return
	}
	id, method, params := bytes.Clone(m.rawID), m.method, bytes.Clone(m.params)
	ctx, end := context.WithCancel(c.ctx)
	s.mu.Lock()
	q.end = end
	s.mu.Unlock()
	s.wg.Go(func() {
		defer end()
		reply, err := c.ask(ctx, method, params)
		text := []byte(nil)
		switch {
		case err != nil && c.ctx.Err() != nil:
			text = refuse(id, "the call has ended")
		case err != nil || reply.Result == nil && reply.Error == nil:
			text = refuse(id, "the client has no answer")
		default:
			text = appendAnswer(nil, id, reply)
		}
		if s.answered(id, q) {
			select {
			case s.out <- &outgoing{text: text}: // the server waits for it
			case <-s.quit:
			}
		}
	})
}

// pose finds the call that a question belongs to and notes that it is open. Without a call the caller cannot be asked.
func (s *session) pose(m *message) (c *call, q *question, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c = s.whose(m.params); {
	case c == nil:
		return nil, nil, "this belongs to no call for certain: others are under way, or were given up and are not answered; call again alone, or have the process restarted"
	case c.ask == nil:
		return nil, nil, ""
	case m.params != nil && canon.KindOf(m.params) != '{':
		return nil, nil, "the params are no object"
	case s.open[string(m.rawID)] != nil:
		return nil, nil, "a request with this id is still open"
	case len(s.open) >= maxQuestions:
		return nil, nil, "too many requests are open"
	}
	q = &question{}
	s.open[string(m.rawID)] = q
	return c, q, ""
}

// answered ends a question; false when the server took it back.
func (s *session) answered(id []byte, q *question) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, string(id))
	s.stir()
	return !q.withdrawn
}

// withdraw ends a question that the server takes back.
func (s *session) withdraw(m *message) bool {
	if m.method != "notifications/cancelled" || canon.KindOf(m.params) != '{' {
		return false
	}
	id, _ := canon.Get(m.params, "requestId")
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.open[string(id)]
	if q == nil {
		return false
	}
	q.withdrawn = true
	q.end()
	return true
}

// refuse answers a question with an error.
func refuse(rawID []byte, why string) []byte {
	failure := append([]byte(`{"code":`), strconv.Itoa(rpcInternal)...)
	failure = append(canon.AppendString(append(failure, `,"message":`...), why), '}')
	return appendAnswer(nil, rawID, connector.Reply{Error: failure})
}

// rpcInternal is JSON-RPC's code for what cannot be done now.
const rpcInternal = -32603

func appendAnswer(dst, rawID []byte, reply connector.Reply) []byte {
	from := len(dst)
	dst = append(append(dst, `{"jsonrpc":"2.0","id":`...), rawID...)
	if reply.Error != nil {
		dst = append(append(dst, `,"error":`...), reply.Error...)
	} else {
		dst = append(append(dst, `,"result":`...), reply.Result...)
	}
	joinLines(dst[from:])
	return append(dst, "}\n"...)
}
