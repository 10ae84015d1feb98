// Package plugins starts, watches, restarts and stops connectors: the child
// processes through which the gateway reaches MCP servers. Package connector,
// below it, is what the author of one imports; the other sub-packages are
// connectors.
//
// A process is trusted with nothing it was not given. Its command comes from
// configuration, its program can be pinned by its hash, its environment is
// built from an explicit list, it inherits no descriptor but the three standard
// ones and no rights it could gain by executing another program. What it prints
// and sends, and what memory, files and processes it takes, is bounded; one that
// gives no sign of life is killed. It dies with the gateway, and all that it
// started dies with it or at its end, as far as it can be found: see search in
// tree_linux.go. The socket between the two lies in a folder of the gateway's
// user alone and is gone once they are connected; both prove who they are with
// certificates made for this one start.
//
// No connector can delay another: each has its own supervisor, its own thread
// and its own bounds, and no lock is shared between them.
//
// This is whole on Linux. Other systems have no parent-death signal, no bounds
// on memory, files and processes, and see only a process's group.
package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

// State is where a connector stands in its life.
type State string

// The states of a connector. Stopped is final.
const (
	Starting State = "starting" // no process takes calls yet, or any more; one is tried or soon will be
	Running  State = "running"  // a process takes calls
	Broken   State = "broken"   // it crashed too often; it is tried again after Config.BreakFor
	Stopped  State = "stopped"  // by Stop
)

// ErrBroken means that a connector crashed too often and is not tried for a
// while.
var ErrBroken = errors.New("crashed too often")

var errStopped = errors.New("stopped")

// Stats is a snapshot of a connector for health pages.
type Stats struct {
	Name, Tenant string
	State        State
	Since        time.Time // when State began
	Next         time.Time // when it is tried again; zero when that is not waited for
	Starts       uint64    // processes that were started
	Crashes      uint64    // ends and failed starts that nobody asked for
	Err          error     // the last of these, or why a restart failed
	Dropped      uint64    // lines of stderr over the rate

	// Of the process that takes calls; zero when none does.
	PID       int
	Info      connector.Info
	InFlight  int
	Pings     uint64        // signs of life
	Pong      time.Duration // how long the last one took
	Strays    uint64        // answers to calls that nobody waits for
	Memory    int64         // resident bytes of it and what it started, at the last look
	Processes int           // how many these are
}

// Connector is one supervised connector. Its methods may be called
// concurrently.
type Connector struct {
	options Options
	log     *slog.Logger
	journal *journal
	start   func(context.Context) (serving, error) // launch, but in tests

	current  atomic.Pointer[live] // the process that takes calls, nil when none does
	restarts chan chan error
	stop     chan struct{} // closed by Stop
	stopOnce sync.Once
	done     chan struct{}      // closed when nothing is left
	patience context.Context    // ends when no grace is left to a process
	hurry    context.CancelFunc // ends patience

	mu      sync.Mutex // guards what follows
	stats   Stats
	served  bool          // it has been Running
	changed chan struct{} // closed at the next change of state
}

// live is a process that takes calls, and when it was started.
type live struct {
	serving
	began time.Time
}

// New checks that the command can be started and begins to supervise it. It
// does not wait for the process: see Ready. Stop must be called in the end.
func New(o Options) (*Connector, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil || o.Now == nil {
		return nil, errors.New("plugins: a logger and a clock are required")
	}
	if err := o.Command.settle(); err != nil {
		return nil, fmt.Errorf("connector %q: %w", o.Command.Name, err)
	}
	if err := settleSocketDir(&o.SocketDir); err != nil {
		return nil, fmt.Errorf("connector %q: %w", o.Command.Name, err)
	}
	c := newConnector(o)
	c.start = c.launch
	go c.supervise()
	return c, nil
}

func newConnector(o Options) *Connector {
	c := &Connector{
		options: o, log: o.Logger.With(slog.String("connector", o.Command.Name), slog.String("tenant", o.Tenant)),
		restarts: make(chan chan error), stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
		stats: Stats{Name: o.Command.Name, Tenant: o.Tenant, State: Starting, Since: o.Now()},
	}
	c.journal = newJournal(c.log, o.Config, o.Now)
	c.patience, c.hurry = context.WithCancel(context.Background())
	return c
}

// Ready waits until the connector has taken calls once. The error says why it
// does not: ErrBroken, that it was stopped, or ctx's, with the last failure.
func (c *Connector) Ready(ctx context.Context) error {
	for {
		served, s, changed := c.look()
		switch {
		case served:
			return nil
		case s.State == Broken:
			return c.wrap(fmt.Errorf("%w: %w", ErrBroken, s.Err))
		case s.State == Stopped:
			return c.wrap(errStopped)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			_, s, _ := c.look()
			return c.wrap(errors.Join(fmt.Errorf("not ready: %w", ctx.Err()), s.Err))
		}
	}
}

func (c *Connector) wrap(err error) error {
	return fmt.Errorf("connector %q: %w", c.options.Command.Name, err)
}

func (c *Connector) look() (served bool, s Stats, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served, c.stats, c.changed
}

// Call sends one request to the process that takes calls and waits for its
// answer, as connector.Session.Call does. The error is a *connector.Failure;
// while no process takes calls it is Unreachable, not sent, and comes at once.
func (c *Connector) Call(ctx context.Context, r *connector.Request, reply *connector.Reply) error {
	l := c.current.Load()
	for l != nil {
		err := l.Call(ctx, r, reply)
		if err == nil || !unsent(err) {
			return err
		}
		// Another process may have taken over between the two lines above.
		now := c.current.Load()
		if now == l {
			return err
		}
		l = now
	}
	return c.down()
}

// unsent says that a call never left this side, because the process has ended
// or is being replaced. What the process says of itself is not taken for that: a
// call must not have two effects because of a lie.
func unsent(err error) bool {
	f, ok := errors.AsType[*connector.Failure](err)
	return ok && f.Kind == connector.Unreachable && !f.Sent && !f.Told()
}

func (c *Connector) down() error {
	_, s, _ := c.look()
	return &connector.Failure{Kind: connector.Unreachable, Detail: "the connector is " + string(s.State)}
}

// Restart starts a new process, lets it take over when it is ready, and then
// the old one finish its calls and end. When the new one fails the old one stays
// and the error says why. Without an old one it is a try ahead of time. ctx
// bounds only the wait, not the restart.
func (c *Connector) Restart(ctx context.Context) error {
	result := make(chan error, 1)
	for asked := false; ; {
		ask := c.restarts
		if asked {
			ask = nil
		}
		select {
		case ask <- result:
			asked = true
		case err := <-result:
			return err
		case <-c.stop:
			return c.wrap(errStopped)
		case <-ctx.Done():
			return c.wrap(fmt.Errorf("restart: %w", ctx.Err()))
		}
	}
}

// stopRest is how long Stop waits for a kill to take effect.
const stopRest = 10 * time.Second

// Stop lets calls under way end, asks the process to end and kills what is left
// of it and of all it started. When ctx ends it kills at once. It returns when
// nothing is left and is safe to call again.
func (c *Connector) Stop(ctx context.Context) error {
	c.stopOnce.Do(func() { close(c.stop) })
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	c.hurry()
	timer := time.NewTimer(stopRest)
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-timer.C:
		return c.wrap(errors.New("its process outlives SIGKILL"))
	}
}

// Stats returns a snapshot.
func (c *Connector) Stats() Stats {
	_, s, _ := c.look()
	if l := c.current.Load(); l != nil {
		l.describe(&s)
	}
	s.Dropped = c.journal.droppedEver()
	return s
}

// Logs returns the last n lines of the connector's stderr, the oldest first, as
// far as they are kept. Of a process that prints something else than the
// handshake the first line of stdout is among them.
func (c *Connector) Logs(n int) []Line { return c.journal.last(n) }
