// Command bench measures how fast the gateway is, and says so in one machine-readable last line per command.
//
//	go run ./bench ladder     what the gateway costs over a bare reverse proxy, part by part
//	go run ./bench mcp        what a tool call costs, to a server over HTTP and through a connector, and the connector alone
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
	"github.com/gatewright/gatewright/bench/mcp"
	"github.com/gatewright/gatewright/bench/rig"
)

const usage = `Usage: go run ./bench COMMAND [flags]

  ladder    CPU per call of the gateway over a bare fasthttp reverse proxy, part by part; ends with
            ladder ratio_full=... ratio_receipts=... ratio_reverseproxy=... allocs=... ratio_filter=...
    --parts=false    only the proxies and the whole gateway
  mcp       CPU per enforced tool call over a bare fasthttp reverse proxy, natively and through a connector, and of
            the connector alone over a bare gRPC stream; ends with
            mcp ratio_bare=... connector_us=... connector_vs_grpc=... sha256_us=...

  both
    --rounds N       rounds that count (default 5)
    --time D         of one rung in a round (default 2s)
    --conns N        connections, each with one call in flight (default 64)
    --json FILE      write everything that was measured
`

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
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
}

// options are the flags of all commands.
type options struct {
	ladder.Options
	file string
}

var errUsage = errors.New("wrong usage")

func parse(command string, self, args []string, log io.Writer) (options, error) {
	var o options
	o.Self, o.Log = self, log
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, usage) }
	flags.IntVar(&o.Rounds, "rounds", 5, "")
	flags.DurationVar(&o.Time, "time", 2*time.Second, "")
	flags.IntVar(&o.Conns, "conns", 64, "")
	flags.StringVar(&o.Profile, "profile", "", "") // for those who work on the gateway: CPU and allocation profiles into a folder
	flags.StringVar(&o.file, "json", "", "")
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
