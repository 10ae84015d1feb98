// Command crash kills the real gateway again and again while it works, and looks each time whether anything was lost that
// somebody relies on.
//
//	go run ./conformance/crash -kills 500
//
// It builds the gateway and runs it on one data folder with small segments, over loopback HTTP, with two organisations:
// agents capture plans, take steps one at a time and in races, and are refused; managers make and revoke keys, agents,
// tokens and plans; the tool behind the gateway writes each call down. The whole process group is killed at random points:
// while it starts, in the first milliseconds after its ready line, under load, at the moment when a checkpoint or a segment
// is made, while old records are given up, and while it ends. After each restart every record that an answer named must be in the ledger with the
// receipt's bytes, every effect must have an admitted record before it and no step more effects than uses, every call must
// be settled, what was revoked must be refused and what was made must work, and checkpoints must cover the very records
// that were there before. Every so many kills the ledger is verified offline as a whole.
//
// Its last line is `crash kills=N lost=N unrecorded=N double_spent=N revocations_lost=N recovery_ms_max=N`. It exits 1 when
// one of the four is not 0, or the gateway did not come up again; the folder with the evidence is then kept and named.
//
// With -records it fills a ledger first, kills the gateway a few times, and prints how long it takes to be ready again.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// options are the command line.
type options struct {
	kills   int
	seed    uint64
	mode    string // of the ledger: sync or write
	segment string // size of one
	limit   time.Duration
	every   int // kills between two offline verifications
	records int
	gateway string // a built gateway; empty: this module's is built
	dir     string // parent of the evidence folder; empty: the system's for temporary files
	keep    bool   // keep it also when nothing was found

	spoil func(dir string) error // for tests: done to the data folder after each kill
}

func parse(args []string) (options, error) {
	o := options{}
	f := flag.NewFlagSet("crash", flag.ContinueOnError)
	f.IntVar(&o.kills, "kills", 100, "how often the gateway is killed")
	f.Uint64Var(&o.seed, "seed", 0, "seed of all choices; 0 takes one from the clock")
	f.StringVar(&o.mode, "mode", "sync", "sync or write: when the gateway takes a record for durable")
	f.StringVar(&o.segment, "segment", "", "size of a segment of the ledger; empty: 1MiB, with -records 64MiB")
	f.DurationVar(&o.limit, "time-limit", time.Hour, "fail when it is not done after this time")
	f.IntVar(&o.every, "verify-every", 25, "kills between two offline verifications of the whole ledger")
	f.IntVar(&o.records, "records", 0, "fill a ledger with so many records and measure starts instead")
	f.StringVar(&o.gateway, "gateway", "", "a built gateway instead of this module's")
	f.StringVar(&o.dir, "dir", "", "where the data folder is made; its disk is the one that is tested")
	f.BoolVar(&o.keep, "keep", false, "keep the data folder and what was noted also when nothing was found")
	err := f.Parse(args)
	if err == nil && (o.mode != "sync" && o.mode != "write" || o.kills < 1 || o.every < 1 || f.NArg() > 0) {
		err = fmt.Errorf("-mode is sync or write, -kills and -verify-every are at least 1, and nothing follows")
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	return o, err
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	act := run
	if o.records > 0 {
		act = starts
	}
	if err := act(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// run kills the gateway as often as asked and judges. Its last line is on out also when it fails.
func run(ctx context.Context, out io.Writer, o options) error {
	if o.segment == "" {
		o.segment = "1MiB"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done in %s", o.limit))
	defer cancel()
	w, err := newWorld(ctx, out, o)
	if err != nil {
		return err
	}
	err = w.kills(ctx)
	if err == nil {
		err = w.end(ctx)
	}
	w.close()
	c := w.check
	bad := 0
	for _, v := range c.found {
		fmt.Fprintf(out, "VIOLATION %s: %s\n", v.kind, v.text)
		bad++
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d violations", bad)
	}
	if err != nil {
		err = fmt.Errorf("%w; seed %d, evidence in %s", err, o.seed, w.base)
	} else if o.keep {
		fmt.Fprintf(out, "evidence in %s\n", w.base)
	} else {
		err = os.RemoveAll(w.base)
	}
	fmt.Fprintf(out, "crash kills=%d lost=%d unrecorded=%d double_spent=%d revocations_lost=%d recovery_ms_max=%d\n",
		w.killed, c.count(lost), c.count(unrecorded), c.count(doubleSpent), c.count(unrevoked), w.slowest.Milliseconds())
	return err
}
