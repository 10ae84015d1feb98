// Package stdio is the connector for MCP servers that are programs: it runs one
// by command and speaks to it in lines of JSON over its standard input and
// output.
//
// The program is not trusted. Each line it writes is bounded and read strictly,
// answers must match questions, what is no message is counted and ends it when
// there is too much of it, and it is asked for signs of life when it owes an
// answer. It sees the environment it was given and no descriptor of ours, runs
// in a process group of its own, and dies with us; what it started and left is
// killed.
//
// Both eras of MCP are spoken, and which one is found out at the start: the
// older one with initialize, and 2026-07-28, whose requests each say who asks.
// A server of the older era may ask the caller of a call (elicitation, sampling) and write logs, but neither says
// which call it belongs to, and there are several callers. They are that call's while it is the only one under way and no
// call of another principal was given up and is still unanswered, nor a task of another may still run, or that call's which
// waits for the result of the task that they name; otherwise questions are refused with an error, and logs
// dropped. So one principal's question never reaches another. Roots are
// refused: they are the conversation's, and servers keep them. A server of the newer era asks by a result, which names its
// call by nature. Progress names its call by a token of ours and reaches that one. That a list has changed or a resource was
// updated is for whoever listens (connector.MethodListen); any other notification reaches nobody.
//
// There is one process, and so one session of the older era, for everybody who
// may use this server. A server of that era that keeps state per session shows
// it to all principals of its tenant.
package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/plugins/connector"
)

// Server is a running MCP server. When its process ends every call under way
// fails, and it stays ended: the gateway starts the whole connector anew.
type Server struct {
	session *session
	modern  bool
}

var _ connector.Ender = (*Server)(nil)

// New starts the program and greets it. ctx bounds the start alone; Close the
// Server to end the program. The program's stderr, and lines on its stdout that
// are no messages, go to log.
func New(ctx context.Context, c Config, log io.Writer) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if _, ok := log.(*os.File); !ok {
		log = &locked{w: log}
	}
	ctx, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	s, err := greet(ctx, c, c.Era, log)
	if err != nil && c.Era == Auto && ctx.Err() == nil && !errors.Is(err, errNoCommonVersion) {
		// Some servers of the older era end when the first thing they hear is not
		// initialize.
		fmt.Fprintf(log, "stdio: start the server again, the older way: %v\n", err)
		s, err = greet(ctx, c, Legacy, log)
	}
	if err != nil {
		return nil, err
	}
	return &Server{session: s, modern: s.modern.Load()}, nil
}

// greet starts the program once.
func greet(ctx context.Context, c Config, era string, log io.Writer) (*session, error) {
	s, err := begin(c, log)
	if err != nil {
		return nil, err
	}
	if err := s.agree(ctx, era); err != nil {
		s.close(0)
		return nil, err
	}
	return s, nil
}

// Era is the era that the server speaks: Legacy or Modern.
func (s *Server) Era() string {
	if s.modern {
		return Modern
	}
	return Legacy
}

// Call sends one request to the server. Its error is a *connector.Failure. The
// request's Headers have no place in this transport and are not sent.
func (s *Server) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	if r.Method == "server/discover" && s.session.declares != nil { // it was asked when it started
		return connector.Reply{Result: append(append([]byte(`{"capabilities":`), s.session.declares...), '}')}, nil
	}
	if r.Method == connector.MethodListen {
		reply, fail := s.session.listen(ctx, r)
		if fail != nil {
			return connector.Reply{}, fail
		}
		return reply, nil
	}
	if ours(r.Method) {
		return connector.Reply{Error: []byte(`{"code":-32601,"message":"Method not found"}`)}, nil
	}
	reply, fail := s.session.exchange(ctx, r)
	if fail != nil {
		return connector.Reply{}, fail
	}
	return reply, nil
}

// ours are methods that a caller must not send: they belong to the conversation
// itself, have no answer, or have one that never ends.
func ours(method string) bool {
	switch method {
	case "", "initialize", "server/discover", "subscriptions/listen":
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}

// Done is closed when the server has ended and nothing of it is left.
func (s *Server) Done() <-chan struct{} { return s.session.finished }

// Err says why the server ended; nil while it runs.
func (s *Server) Err() error { return s.session.over() }

// Close ends the server and returns when it and all that it started are gone.
func (s *Server) Close() error {
	s.session.close(s.session.config.StopTimeout)
	return nil
}

// locked is a writer that several goroutines may use.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
