// Package connectortest checks that a connector does what the gateway needs of it. The program runs under the
// gateway's own runtime, so that what passes here works there.
//
//	func TestConnector(t *testing.T) {
//		connectortest.Run(t, connectortest.Candidate{
//			Path: build(t), Example: connectortest.Example{Tool: "add", Arguments: `{"a":1,"b":2}`, Want: "3"},
//		})
//	}
//
// The command "gatewright connector check" does the same without an example.
package connectortest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins"
)

// Candidate is a connector to check.
type Candidate struct {
	// Path is the program, Args its arguments without itself.
	Path string
	Args []string
	// Env is what it sees, as NAME=value; PassEnv names variables that it gets from this process. It sees no other.
	Env, PassEnv []string
	// Dir is its working directory; empty means this process's.
	Dir string
	// Example is a call that succeeds. Without one a few checks are left out.
	Example Example
	// Calls are made once each: they must be answered without an error, and the process must live on. They may change
	// something.
	Calls []Example
}

// Observer hears how the checks of a candidate go. What is nil is not told.
type Observer struct {
	// Begins is told before a check that starts a process, which may take long; limit is what it is given at most.
	Begins func(name string, limit time.Duration)
	// Ends is told when a check has ended: why it failed or nil, and how long it took.
	Ends func(name string, err error, d time.Duration)
	// Listed is told how many tools there are, and how many of them neither Example nor Calls calls.
	Listed func(tools, uncalled int)
}

// Example is a call. That of a Candidate a connector must be able to make again and again, several times at once: it
// should change nothing.
type Example struct {
	// Tool is its name; empty means that there is no example.
	Tool string
	// Arguments is a JSON object; empty is {}.
	Arguments string
	// Want is text that the raw result must contain; empty is any result.
	Want string
}

const (
	// limit is how long one check may take.
	limit = 20 * time.Second
	// startLimit is how long a process may take to start, as the gateway has it by default.
	startLimit = 30 * time.Second
	// grace is how long the program may take to end after SIGTERM.
	grace = 5 * time.Second
	// logged is how many lines of the connector's log a failure shows.
	logged = 5
)

// Run checks a candidate, each check a subtest. It must not run in parallel with tests that open sockets, since it
// counts them.
func Run(t *testing.T, c Candidate) {
	t.Helper()
	_ = Check(t.Context(), c, func(name string, err error, d time.Duration) { // each error is reported
		t.Run(name, func(t *testing.T) {
			if err != nil {
				t.Error(err)
			}
			t.Logf("took %v", d)
		})
	})
}

// Check checks a candidate. It reports each check when it has ended, and returns an error unless all of them
// passed.
func Check(ctx context.Context, c Candidate, report func(name string, err error, d time.Duration)) error {
	return Watch(ctx, c, Observer{Ends: report})
}

// Watch is Check for an observer who wants to know more.
func Watch(ctx context.Context, c Candidate, o Observer) error {
	x := &exam{candidate: c, observer: o, before: descriptors()}
	if err := x.begin(); err != nil {
		return err
	}
	defer x.end(ctx)
	if x.check(ctx, named{"starts", x.starts, startLimit}) != nil {
		return x.verdict()
	}
	for _, check := range x.checks() {
		_ = x.check(ctx, check) // the verdict counts it
		if ctx.Err() != nil {
			return fmt.Errorf("check connector: %w", ctx.Err())
		}
	}
	return x.verdict()
}

// exam is one run of Check.
type exam struct {
	candidate Candidate
	observer  Observer
	before    map[string]bool // our descriptors
	marker    string          // a variable that only the candidate's processes see
	sockets   string          // the folder for sockets
	connector *plugins.Connector
	tools     []tool

	done, failed int
}

// named is one check.
type named struct {
	name  string
	run   func(context.Context) error
	start time.Duration // how long a process may take to start in it, beside what else it does
}

func (x *exam) checks() []named {
	all := []named{
		{"lists its tools", x.lists, 0},
		{"lists the same again", x.listsAgain, 0},
		{"refuses an unknown tool", x.unknownTool, 0},
		{"refuses an unknown method", x.unknownMethod, 0},
		{"answers pings", x.pings, 0},
		{"takes a large argument", x.large, 0},
		{"takes many calls at once", x.many, 0},
		{"lives on after cancelled calls", x.cancelled, 0},
		{"starts anew without a gap", x.restart, startLimit},
		{"starts again after a crash", x.crash, startLimit},
		{"ends on SIGTERM within the grace", x.stops, 0},
		{"leaves nothing behind", x.leavesNothing, 0},
	}
	var calls []named
	if x.candidate.Example.Tool != "" {
		calls = append(calls, named{"makes the example call", x.example, 0}, named{"answers bad arguments", x.badArguments, 0})
	}
	for _, c := range x.candidate.Calls {
		calls = append(calls, named{"calls " + c.Tool, func(ctx context.Context) error { return x.callOnce(ctx, c) }, 0})
	}
	return slices.Insert(all, 2, calls...)
}

// begin makes what the runtime needs and starts the candidate.
func (x *exam) begin() (err error) {
	if x.sockets, err = os.MkdirTemp("", "gw-check"); err != nil {
		return fmt.Errorf("check connector: %w", err)
	}
	c := x.candidate
	x.marker = "GATEWRIGHT_CONNECTOR_CHECK=" + x.sockets // unlike any other run's
	config := plugins.DefaultConfig()
	config.StartTimeout = startLimit
	config.StopTimeout, config.PingEvery, config.BackoffMin = grace, 100*time.Millisecond, 10*time.Millisecond
	x.connector, err = plugins.New(plugins.Options{
		Config: config, Tenant: "check", Logger: slog.New(slog.DiscardHandler), Now: time.Now, SocketDir: x.sockets,
		Command: plugins.Command{
			Name: "candidate", Path: c.Path, Args: c.Args, Dir: c.Dir, PassEnv: c.PassEnv,
			Env: append([]string{x.marker}, c.Env...),
		},
	})
	if err != nil {
		err = errors.Join(err, os.RemoveAll(x.sockets))
	}
	return err
}

// end removes what is left when the checks were broken off.
func (x *exam) end(ctx context.Context) {
	_ = x.connector.Stop(ctx) // stopped already, or its check has failed
	_ = os.RemoveAll(x.sockets)
}

// late is how much longer than a start the check may take, so that it is the runtime that says what it waited for.
const late = time.Second

// check runs one check and reports it, with the connector's last words when it has failed.
func (x *exam) check(ctx context.Context, n named) error {
	most := limit
	if n.start > 0 {
		most += n.start + late
		if x.observer.Begins != nil {
			x.observer.Begins(n.name, n.start)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("it was not done within %s", most))
	defer cancel()
	began := time.Now()
	err := n.run(ctx)
	took := time.Since(began)
	x.done++
	if err != nil {
		x.failed++
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		err = x.lastWords(err)
	}
	if x.observer.Ends != nil {
		x.observer.Ends(n.name, err, took)
	}
	return err
}

// lastWords adds the end of the connector's log to an error; what it said several times, as one that was started several
// times does, stands there once.
func (x *exam) lastWords(err error) error {
	var said []string
	for _, l := range x.connector.Logs(logged) {
		if text := strings.TrimSpace(l.Text); text != "" && !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w; its log ends: %s", err, strings.Join(said, " | "))
}

func (x *exam) verdict() error {
	if x.failed == 0 {
		return nil
	}
	return fmt.Errorf("check connector: %d of %d checks failed", x.failed, x.done)
}
