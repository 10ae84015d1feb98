// Package ledger measures what the durable ledger costs beside what else could keep records: a file with a group commit
// that seals nothing, and Badger. All of them get the same records in turn, on the same disk, and what is compared is
// compared within one round.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Options say how to measure.
type Options struct {
	Rounds int           // rounds, each with every subject in turn
	Time   time.Duration // of one subject in a round
	Dir    string        // folder on the disk that is measured; empty: the system's for temporary files
	Log    io.Writer     // progress
}

// Writers are how many append at once; the first is what the last line speaks of.
var writers = [...]int{256, 16, 1}

// names of the subjects, in the order of a round; every second round goes backwards.
const (
	sealed   = "sealed"
	unsealed = "unsealed"
	batched  = "badger, batched"
	each     = "badger, each"
	written  = "sealed, write"
)

var subjects = [...]struct {
	name string
	open func(dir string) (subject, error)
}{
	{unsealed, openFile},
	{sealed, openSync},
	{written, openWrite},
	{batched, openBatched},
	{each, openEach},
}

// bench is one run.
type bench struct {
	Options
	dir   string
	watch *rig.Watch
}

// Run measures.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("ledger: %w", err)
		}
	}()
	if o.Rounds < 1 || o.Time <= 0 {
		return nil, errors.New("rounds and time must be positive")
	}
	b := &bench{Options: o, watch: rig.NewWatch()}
	if b.dir, err = os.MkdirTemp(o.Dir, "gatewright-ledger-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	r := newReport(&o)
	for n := range o.Rounds {
		round, err := b.round(ctx, n%2 == 1)
		if err != nil {
			return nil, err
		}
		r.Rounds = append(r.Rounds, round)
		fmt.Fprintf(o.Log, "round %d/%d: %s\n", n+1, o.Rounds, round.line())
	}
	return r, r.summarize()
}

// Round is every measurement once.
type Round struct {
	Before  rig.Weather       `json:"before"`
	Loads   map[string][]Load `json:"loads"` // of each subject, in the order of writers
	CPU     CPU               `json:"cpu"`
	Latency []Latency         `json:"latency"`
	Receipt Load              `json:"receipts"` // settled records with receipts, as many callers at once as the first writers
	Verify  Verify            `json:"verify"`
}

func (b *bench) round(ctx context.Context, backwards bool) (Round, error) {
	r := Round{Loads: map[string][]Load{}}
	var err error
	if r.Before, err = b.watch.Look(); err != nil {
		return r, err
	}
	for _, n := range writers {
		for i := range subjects {
			if backwards {
				i = len(subjects) - 1 - i
			}
			s := &subjects[i]
			l, err := b.closed(ctx, s.open, n)
			if err != nil {
				return r, fmt.Errorf("%s, %d writers: %w", s.name, n, err)
			}
			r.Loads[s.name] = append(r.Loads[s.name], l)
		}
	}
	if r.Receipt, err = b.closed(ctx, openReceipts, writers[0]); err != nil {
		return r, fmt.Errorf("receipts: %w", err)
	}
	if r.Latency, err = b.latency(ctx, r.Loads[sealed][0].Rate); err != nil {
		return r, err
	}
	if r.CPU, err = measureCPU(); err != nil {
		return r, err
	}
	r.Verify, err = b.verify(ctx)
	return r, err
}

// fresh makes an empty folder for one measurement. What was removed before is off the disk by then: no subject pays for
// the room that another gives back.
func (b *bench) fresh() (dir string, remove func() error, err error) {
	if dir, err = os.MkdirTemp(b.dir, "run-"); err != nil {
		return "", nil, err
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), settle(b.dir)) }, nil
}
