package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/gatewright/gatewright/plugins/connector"
)

// serving is a process that takes calls, as the supervisor sees it.
type serving interface {
	Call(ctx context.Context, r *connector.Request, reply *connector.Reply) error
	// gone is closed when it takes no more calls.
	gone() <-chan struct{}
	// bury cleans up after that and says why. It returns when nothing is left.
	bury() error
	// retire lets the calls under way end and stops it, at once when ctx ends.
	// It returns when nothing is left.
	retire(ctx context.Context)
	// describe fills in what Stats tells of it.
	describe(s *Stats)
}

// lastWords is how long a process that ended its session may take to exit, so
// that its status can be told.
const lastWords = 2 * time.Second

// instance is one process and the session with it.
type instance struct {
	process *process
	config  Config
	conn    *grpc.ClientConn
	session *connector.Session
	ended   chan struct{} // closed when it takes no more calls
	healthy chan struct{} // closed when health has returned
	pings   atomic.Uint64
	pong    atomic.Int64 // nanoseconds the last one took
}

// Call carries one request.
func (in *instance) Call(ctx context.Context, r *connector.Request, reply *connector.Reply) error {
	return in.session.Call(ctx, r, reply)
}

func (in *instance) gone() <-chan struct{} { return in.ended }

// health asks for signs of life until the session or the process ends.
func (in *instance) health(c Config) {
	defer close(in.healthy)
	defer close(in.ended)
	ticker := time.NewTicker(c.PingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-in.session.Done():
			return
		case <-in.process.exited:
			return
		case <-ticker.C:
		}
		if err := in.ping(c.PingTimeout); err != nil {
			in.process.kill(err)
			return
		}
	}
}

// ping returns an error when the process gives no sign of life in time. That
// the session ends meanwhile is for others to see.
func (in *instance) ping(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	began := time.Now()
	err := in.session.Ping(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no sign of life within %s", timeout)
	}
	if err == nil {
		in.pings.Add(1)
		in.pong.Store(int64(time.Since(began)))
	}
	return nil
}

func (in *instance) bury() error {
	if lost := in.session.Err(); lost != nil && !unreachable(lost) {
		in.process.kill(lost) // it broke the rules and may as well run on
	}
	select {
	case <-in.process.exited:
	case <-time.After(lastWords):
		in.process.kill(errLost)
		<-in.process.exited
	}
	return errors.Join(in.process.fault(), in.close())
}

var errLost = errors.New("it ended its session and did not exit")

// unreachable tells a lost connection from a breach of the rules.
func unreachable(err error) bool {
	f, ok := errors.AsType[*connector.Failure](err)
	return ok && f.Kind == connector.Unreachable
}

func (in *instance) retire(ctx context.Context) {
	drain, cancel := context.WithTimeout(ctx, in.config.DrainTimeout)
	defer cancel()
	_ = in.session.Drain(drain)
	_ = in.session.Close() // what is not done by now is cut off; the end of its stream alone makes a connector exit
	in.process.end(ctx, in.config.StopTimeout)
	<-in.healthy
	if err := in.close(); err != nil {
		in.process.journal.note(in.process.pid(), err.Error())
	}
}

// close ends the session when the process is dead or about to be.
func (in *instance) close() error {
	return errors.Join(in.session.Close(), in.conn.Close(), in.process.release())
}

func (in *instance) describe(s *Stats) {
	s.PID, s.Info, s.InFlight = in.process.pid(), in.session.Info(), in.session.InFlight()
	s.Pings, s.Pong = in.pings.Load(), time.Duration(in.pong.Load())
	u := in.process.used()
	s.Memory, s.Processes = u.memory, u.processes
	s.Strays = in.session.Strays()
}
