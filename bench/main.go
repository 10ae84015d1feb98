// Command bench measures how fast the gateway is, and says so in one machine-readable last line per command.
//
//	go run ./bench ladder     what the gateway costs over a bare reverse proxy, part by part
//	go run ./bench mcp        what a tool call costs, to a server over HTTP and through a connector, and the connector alone
//	go run ./bench ledger     what a durable, sealed record costs beside one in a plain file and in Badger
//	go run ./bench neighbour  what a tenant notices of another one whose filters take all they can get
//	go run ./bench streams    what answers that stay open cost, and what others notice of thousands of them
//	go run ./bench policy     what a decision costs beside plain cedar-go and Open Policy Agent, with 10 to 10,000 policies
//	go run ./bench wasm       what a filter costs, its loop over native Go, its metering, and putting its memory back
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/bench/ladder"
	"github.com/gatewright/gatewright/bench/ledger"
	"github.com/gatewright/gatewright/bench/mcp"
	"github.com/gatewright/gatewright/bench/neighbour"
	"github.com/gatewright/gatewright/bench/policy"
	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/streams"
	"github.com/gatewright/gatewright/bench/wasm"
	"github.com/gatewright/gatewright/wasm/build"
)

const usage = `Usage: go run ./bench COMMAND [flags]

  ladder    CPU per call of the gateway over a bare fasthttp reverse proxy, part by part; ends with
            ladder ratio_full=... ratio_receipts=... ratio_reverseproxy=... allocs=... ratio_filter=...
    --parts=false    only the proxies and the whole gateway
  mcp       CPU per enforced tool call over a bare fasthttp reverse proxy, natively and through a connector, by clients
            of either era, and of the connector alone over a bare gRPC stream; memory of an idle stream; ends with
            mcp ratio_bare=... connector_us=... connector_vs_grpc=... stream_kb_idle=... sha256_us=...
  ledger    durable records a second, with 256, 16 and 1 writers: sealed by the ledger, in a plain file with a group
            commit, in Badger; what sealing, a receipt and verifying cost; ends with
            ledger vs_unsealed=... vs_badger_batch=... vs_badger_txn=... seal_us=... seal_allocs=... receipt_us=...
            p50_vs_fsync=... sync_vs_write=... verify_per_s=... sha256_us=... (in one line)
    --dir DIR        a folder on the disk that is measured (default: the system's for temporary files)

  policy    CPU per decision with 10 to 10,000 policies: the gateway's engine, cedar-go as it comes, and OPA, which is
            built from bench/peers; lists, loading and replay; ends with
            policy vs_scan_1000=... vs_opa_min=... us_ready_1000=... us_json_1000=... growth=... list_ms=...
            load_s_10000=... replay_per_s=... sha256_us=... (in one line)
  wasm      CPU per call of filters built from C, Rust and AssemblyScript: a no-op, also over one that the engine itself
            can stop; a loop over native Go; metering; putting memory back; a module from the sealed cache; ends with
            wasm noop_us=... noop_vs_close=... loop_vs_native=... reset_us_256k=... reset_us_4m=... meter_loop=...
            meter_calls=... cached_ms=... sha256_us=... (in one line)
  streams   memory for each idle stream of events and for each that nobody reads, what is left when they have gone, and
            the p99 of others' calls beside all of them over that without; ends with
            streams kb_idle=... kb_slow=... goroutines_left=... descriptors_left=... ratio=... low=... high=...
            control=... control_low=... control_high=... sha256_us=... (in one line)
    --idle N         streams on which nothing is said (default 8000)
    --slow N         streams with events that nobody reads (default 1000)

  all
    --rounds N       rounds that count (default 5; neighbour and streams 15)
    --time D         of one rung in a round (default 2s; ledger 1s; policy 300ms, wasm 100ms)
    --json FILE      write everything that was measured
  ladder, mcp, neighbour, streams
    --conns N        connections, each with one call in flight (default 64)
`

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	build.Hook() // a process started to compile a filter never comes back from here
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, []string{self}, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// child runs what this binary is for itself, if that is what the arguments ask for.
func child(ctx context.Context, args []string) (code int, ok bool) {
	switch {
	case mcp.IsConnector(args):
		return mcp.ServeConnector(), true
	case rig.IsChild(args):
		roles := ladder.Roles()
		maps.Copy(roles, mcp.Roles())
		maps.Copy(roles, neighbour.Roles())
		return rig.RunChild(ctx, args, roles), true
	}
	return 0, false
}

// run is the program: self starts it again, for its children.
func run(ctx context.Context, self, args []string, out, log io.Writer) int {
	if code, ok := child(ctx, args); ok {
		return code
	}
	if len(args) == 0 {
		fmt.Fprint(out, usage)
		return exitDone
	}
	measure := commands[args[0]]
	if measure == nil {
		fmt.Fprintf(log, "bench: no command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	o, err := parse(args[0], self, args[1:], log)
	if err == nil {
		err = finish(ctx, measure, o, out)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.Is(err, errUsage):
		return exitUsage
	}
	fmt.Fprintln(log, "bench:", err)
	return exitFailed
}

// report is what a command found.
type report interface {
	Write(w io.Writer) error
}

var commands = map[string]func(context.Context, options) (report, error){
	"ladder": func(ctx context.Context, o options) (report, error) { return ladder.Run(ctx, o.Options) },
	"mcp":    func(ctx context.Context, o options) (report, error) { return mcp.Run(ctx, o.Options.Options) },
	"ledger": func(ctx context.Context, o options) (report, error) {
		return ledger.Run(ctx, ledger.Options{Rounds: o.Rounds, Time: o.Time, Dir: o.dir, Log: o.Log})
	},
	"neighbour": func(ctx context.Context, o options) (report, error) {
		return neighbour.Run(ctx, neighbour.Options{Self: o.Self, Rounds: o.Rounds, Time: o.Time, Conns: o.Conns, Log: o.Log})
	},
	"policy": func(ctx context.Context, o options) (report, error) {
		return policy.Run(ctx, policy.Options{Rounds: o.Rounds, Time: o.Time, Log: o.Log})
	},
	"streams": func(ctx context.Context, o options) (report, error) {
		return streams.Run(ctx, streams.Options{
			Self: o.Self, Rounds: o.Rounds, Time: o.Time, Conns: o.Conns, Idle: o.idle, Slow: o.slow, Log: o.Log,
		})
	},
	"wasm": func(ctx context.Context, o options) (report, error) {
		return wasm.Run(ctx, wasm.Options{Self: o.Self, Rounds: o.Rounds, Time: o.Time, Log: o.Log})
	},
}

// options are the flags of all commands.
type options struct {
	ladder.Options
	file string
	dir  string
	idle int
	slow int
}

var errUsage = errors.New("wrong usage")

func parse(command string, self, args []string, log io.Writer) (options, error) {
	var o options
	o.Self, o.Log = self, log
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, usage) }
	rounds := 5
	if command == "neighbour" || command == "streams" {
		rounds = 15 // a p99 varies more than a mean
	}
	flags.IntVar(&o.Rounds, "rounds", rounds, "")
	flags.StringVar(&o.file, "json", "", "")
	each := 2 * time.Second
	switch command {
	case "ledger":
		each = time.Second
		flags.StringVar(&o.dir, "dir", "", "")
	case "policy":
		each = 300 * time.Millisecond
	case "wasm":
		each = 100 * time.Millisecond
	default:
		flags.IntVar(&o.Conns, "conns", 64, "")
		flags.StringVar(&o.Profile, "profile", "", "") // for those who work on the gateway: CPU and allocation profiles into a folder
	}
	if command == "streams" {
		flags.IntVar(&o.idle, "idle", 8000, "")
		flags.IntVar(&o.slow, "slow", 1000, "")
	}
	flags.DurationVar(&o.Time, "time", each, "")
	if command == "ladder" {
		flags.BoolVar(&o.Parts, "parts", true, "")
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(log, "bench: %q is too much\n\n%s", flags.Arg(0), usage)
		return o, errUsage
	}
	return o, nil
}

// finish measures, and writes what was found.
func finish(ctx context.Context, measure func(context.Context, options) (report, error), o options, out io.Writer) error {
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	if o.file != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("write %s: %w", o.file, err)
		}
		if err := os.WriteFile(o.file, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("write the measurements: %w", err)
		}
	}
	return r.Write(out)
}
