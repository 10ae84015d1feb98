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
}

// Example is a call that a connector must be able to make again and again, several times at once: it should change
// nothing.
type Example struct {
	// Tool is its name; empty means that there is no example.
	Tool string
	// Arguments is a JSON object; empty is {}.
	Arguments string
	// Want is text that the raw result must contain; empty is any result.
	Want string
}

const (
	// limit is how long one check may take. Starting is left to the runtime.
	limit = 20 * time.Second
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
	x := &exam{candidate: c, report: report, before: descriptors()}
	if err := x.begin(); err != nil {
		return err
	}
	defer x.end(ctx)
	if x.check(ctx, "starts", x.starts) != nil {
		return x.verdict()
	}
	for _, check := range x.checks() {
		_ = x.check(ctx, check.name, check.run) // the verdict counts it
		if ctx.Err() != nil {
			return fmt.Errorf("check connector: %w", ctx.Err())
		}
	}
	return x.verdict()
}

// exam is one run of Check.
type exam struct {
	candidate Candidate
	report    func(string, error, time.Duration)
	before    map[string]bool // our descriptors
	marker    string          // a variable that only the candidate's processes see
	sockets   string          // the folder for sockets
	connector *plugins.Connector
	tools     []tool

	done, failed int
}

// named is one check.
type named struct {
	name string
	run  func(context.Context) error
}

func (x *exam) checks() []named {
	all := []named{
		{"lists its tools", x.lists},
		{"lists the same again", x.listsAgain},
		{"refuses an unknown tool", x.unknownTool},
		{"refuses an unknown method", x.unknownMethod},
		{"answers pings", x.pings},
		{"takes a large argument", x.large},
		{"takes many calls at once", x.many},
		{"lives on after cancelled calls", x.cancelled},
		{"starts anew without a gap", x.restart},
		{"starts again after a crash", x.crash},
		{"ends on SIGTERM within the grace", x.stops},
		{"leaves nothing behind", x.leavesNothing},
	}
	if x.candidate.Example.Tool == "" {
		return all
	}
	example := []named{{"makes the example call", x.example}, {"answers bad arguments", x.badArguments}}
	return append(all[:2:2], append(example, all[2:]...)...)
}

// begin makes what the runtime needs and starts the candidate.
func (x *exam) begin() (err error) {
	if x.sockets, err = os.MkdirTemp("", "gw-check"); err != nil {
		return fmt.Errorf("check connector: %w", err)
	}
	c := x.candidate
	x.marker = "GATEWRIGHT_CONNECTOR_CHECK=" + x.sockets // unlike any other run's
	config := plugins.DefaultConfig()
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

// check runs one check and reports it, with the connector's last words when it has failed.
func (x *exam) check(ctx context.Context, name string, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	err := run(ctx)
	took := time.Since(began)
	x.done++
	if err != nil {
		x.failed++
		if lines := x.connector.Logs(logged); len(lines) > 0 {
			var said []string
			for _, l := range lines {
				said = append(said, l.Text)
			}
			err = fmt.Errorf("%w; its log ends: %s", err, strings.Join(said, " | "))
		}
	}
	x.report(name, err, took)
	return err
}

func (x *exam) verdict() error {
	if x.failed == 0 {
		return nil
	}
	return fmt.Errorf("check connector: %d of %d checks failed", x.failed, x.done)
}
