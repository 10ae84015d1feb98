// Package tour is the guided tour of gatewright: six acts against a gateway of its own, which lives in a temporary folder
// as long as the tour. An agent takes a step of its plan, tries another argument, another tool and the same step again,
// sends a secret along, and in the end every receipt and the whole ledger are verified without the gateway.
//
// The tour believes nothing: what it tells of an act it read from the act's record in the ledger, and whatever is not as
// it should be ends it with an error. It talks to the gateway as anybody does, through the Go client.
package tour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Options is what the tour needs.
type Options struct {
	// Serve runs a gateway until ctx ends. It must write its ready line to g.Stdout, and demo.env into the data folder
	// before that.
	Serve func(ctx context.Context, g Gateway) error
	// Verify verifies the ledger of a data folder offline.
	Verify func(ctx context.Context, data string) (wal.Report, error)
	// Out is where the tour is told.
	Out io.Writer
	// Log takes the gateway's own messages.
	Log io.Writer
	// Style says what Out can show.
	Style Style
	// Pause lets people read; nil does not wait.
	Pause func(ctx context.Context, d time.Duration)
	// Now and Rand are the clock that calls are timed by, and the source of the secret of act five.
	Now  func() time.Time
	Rand io.Reader
}

// Gateway is how to run the tour's gateway.
type Gateway struct {
	Config string // its configuration file
	Data   string // its data folder
	Stdout io.Writer
	Stderr io.Writer
}

// What ends a tour and is not the gateway's doing.
var (
	// ErrFolder is under errors of the temporary folder that the gateway lives in.
	ErrFolder = errors.New("temporary folder")
	// ErrPrint is under errors of Options.Out.
	ErrPrint = errors.New("print")
)

// Run gives the tour. It returns nil when everything was as it should be; the gateway is stopped and its folder removed
// either way.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "gatewright-demo-*")
	if err != nil {
		return fmt.Errorf("%w: make it: %w", ErrFolder, err)
	}
	defer func() {
		if gone := os.RemoveAll(dir); gone != nil {
			err = errors.Join(err, fmt.Errorf("%w: remove it: %w", ErrFolder, gone))
		}
	}()
	h, err := open(ctx, o, dir)
	if err != nil {
		return err
	}
	g := &guide{o: o, screen: &screen{out: o.Out, style: o.Style}, host: h}
	err = g.play(ctx)
	stopped := h.stop()
	switch {
	case err != nil && stopped != nil:
		return fmt.Errorf("%w; the gateway ended: %w", err, stopped)
	case err != nil:
		return err
	case stopped != nil:
		return fmt.Errorf("the gateway ended: %w", stopped)
	}
	return g.prove(ctx, filepath.Join(dir, "data"))
}

// guide leads through the acts.
type guide struct {
	o      Options
	screen *screen
	host   *host
	trail  trail
	plan   *gatewright.Plan
	token  string
	row    []string // the names of all stages, as the first act met them
	kept   []kept   // the receipts so far
	secret string   // what act five sends along
}

// kept is a receipt that the tour took home, with the id of the record it is about.
type kept struct{ text, record string }

// Pauses, long enough to read what was just printed.
const (
	breath = 700 * time.Millisecond
	rest   = 1800 * time.Millisecond
)

func (g *guide) pause(ctx context.Context, d time.Duration) {
	if g.o.Pause != nil {
		g.o.Pause(ctx, d)
	}
}

// play gives the acts for which the gateway runs.
func (g *guide) play(ctx context.Context) error {
	g.screen.opening(g.host)
	g.pause(ctx, breath)
	if err := g.declare(ctx); err != nil {
		return fmt.Errorf("the plan: %w", err)
	}
	for i, a := range g.acts() {
		g.pause(ctx, rest)
		g.screen.act(i+1, a.title, a.story)
		g.pause(ctx, breath)
		for _, c := range a.calls {
			if err := g.call(ctx, c); err != nil {
				return fmt.Errorf("act %d, %s: demo/%s: %w", i+1, strings.ToLower(a.title), c.tool, err)
			}
			if g.screen.err != nil {
				return g.screen.err
			}
		}
	}
	g.pause(ctx, rest)
	return nil
}

// declare captures the plan and takes a token for it.
func (g *guide) declare(ctx context.Context) error {
	var err error
	if g.secret, err = newSecret(g.o.Rand); err != nil {
		return err
	}
	if g.plan, err = g.host.agent.Plan(ctx, []byte(draft)); err != nil {
		return err
	}
	if len(g.plan.Steps) != steps {
		return fmt.Errorf("%d steps were captured, want %d", len(g.plan.Steps), steps)
	}
	t, err := g.host.agent.Token(ctx, g.plan.ID, 0)
	if err != nil {
		return err
	}
	g.token = t.Token
	g.screen.plan(g.plan, t.ID)
	return nil
}

// call makes one call of an act, reads what the ledger holds about it, holds both against what they should be, and
// tells the story.
func (g *guide) call(ctx context.Context, c call) error {
	g.screen.call(c)
	o, err := g.take(ctx, c)
	if err != nil {
		return err
	}
	if err := c.judge(o); err != nil {
		return err
	}
	if g.row == nil {
		g.row = o.stageNames()
	}
	if !c.brief {
		g.screen.stages(o, g.row)
	}
	g.pause(ctx, breath)
	g.screen.verdict(o, c.tell(o))
	return nil
}
