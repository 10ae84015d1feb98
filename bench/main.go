// Command bench measures how fast the gateway is, and says so in one machine-readable last line per command.
//
//	go run ./bench ladder     what the gateway costs over a bare reverse proxy, part by part
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/bench/ladder"
	"github.com/gatewright/gatewright/bench/rig"
)

const usage = `Usage: go run ./bench COMMAND [flags]

  ladder    CPU per call of the gateway over a bare fasthttp reverse proxy, part by part; ends with
            ladder ratio_full=... ratio_receipts=... ratio_reverseproxy=... allocs=...
    --rounds N       rounds that count (default 5)
    --time D         of one rung in a round (default 2s)
    --conns N        connections, each with one call in flight (default 64)
    --parts=false    only the proxies and the whole gateway
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

// run is the program: self starts it again, for its children.
func run(ctx context.Context, self, args []string, out, log io.Writer) int {
	if rig.IsChild(args) {
		return rig.RunChild(ctx, args, ladder.Roles())
	}
	if len(args) == 0 {
		fmt.Fprint(out, usage)
		return exitDone
	}
	if args[0] != "ladder" {
		fmt.Fprintf(log, "bench: no command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	err := runLadder(ctx, self, args[1:], out, log)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.Is(err, errUsage):
		return exitUsage
	}
	fmt.Fprintln(log, "bench:", err)
	return exitFailed
}

var errUsage = errors.New("wrong usage")

func runLadder(ctx context.Context, self, args []string, out, log io.Writer) error {
	o := ladder.Options{Self: self, Log: log}
	flags := flag.NewFlagSet("ladder", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, usage) }
	flags.IntVar(&o.Rounds, "rounds", 5, "")
	flags.DurationVar(&o.Time, "time", 2*time.Second, "")
	flags.IntVar(&o.Conns, "conns", 64, "")
	flags.BoolVar(&o.Parts, "parts", true, "")
	flags.StringVar(&o.Profile, "profile", "", "") // for those who work on the gateway: CPU and allocation profiles into a folder
	file := flags.String("json", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(log, "bench: %q is too much\n\n%s", flags.Arg(0), usage)
		return errUsage
	}
	r, err := ladder.Run(ctx, o)
	if err != nil {
		return err
	}
	if *file != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("write %s: %w", *file, err)
		}
		if err := os.WriteFile(*file, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("write the measurements: %w", err)
		}
	}
	return r.Write(out)
}
