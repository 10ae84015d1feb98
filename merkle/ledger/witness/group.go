package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Group asks several witnesses at once, and remembers what each holds. It is safe for concurrent use.
type Group struct {
	clients []*Client
	wait    time.Duration
	now     func() time.Time

	mu      sync.Mutex // guards members
	members []member
}

// member is what is known of one witness.
type member struct {
	old    uint64 // the size it holds, as far as is known
	status Status
	fails  int
	rest   time.Time // before it, the witness is left alone
}

// Status is what a witness last did for the log.
type Status struct {
	Name  string
	URL   string
	Key   string    // the pinned key's text
	Size  uint64    // of the last checkpoint it cosigned; 0: none since the start
	At    time.Time // of that cosignature
	Asked time.Time // when it was last asked; zero: not since the start
	Err   error     // why the last time failed; nil: it did not
}

// A witness that fails is left alone for a second, then for twice as long each time, at most restMost: one that is away
// must not cost every checkpoint its patience.
const restMost = time.Minute

// NewGroup makes a group that waits at most wait for the answers to one checkpoint. now is the clock.
func NewGroup(wait time.Duration, now func() time.Time, clients ...*Client) *Group {
	g := &Group{clients: clients, wait: wait, now: now, members: make([]member, len(clients))}
	for i, c := range clients {
		g.members[i].status = Status{Name: c.Name, URL: c.URL, Key: c.Key.String()}
	}
	return g
}

// Cosign asks the witnesses that are not left alone after a failure, and returns the signature lines that came in time,
// in the order of the witnesses. The error joins why others failed; the lines are good all the same. The size is the
// note's: what the witnesses hold after they cosigned it.
func (g *Group) Cosign(ctx context.Context, note []byte, size uint64, proof Proof) ([]byte, error) {
	return g.ask(ctx, note, size, proof, false)
}

// CosignNow asks every witness, also one that has just failed.
func (g *Group) CosignNow(ctx context.Context, note []byte, size uint64, proof Proof) ([]byte, error) {
	return g.ask(ctx, note, size, proof, true)
}

func (g *Group) ask(ctx context.Context, note []byte, size uint64, proof Proof, anyway bool) ([]byte, error) {
	if cp, err := ledger.ReadCheckpoint(note); err != nil || cp.Size != size {
		return nil, fmt.Errorf("ask witnesses: the note is not a checkpoint of size %d: %w", size, errors.Join(err, ErrRefused))
	}
	ctx, cancel := context.WithTimeout(ctx, g.wait)
	defer cancel()
	var turn sync.Mutex
	inTurn := func(old uint64) ([]merkle.Hash, error) {
		turn.Lock()
		defer turn.Unlock()
		return proof(old)
	}
	lines, errs := make([][]byte, len(g.clients)), make([]error, len(g.clients))
	var asked sync.WaitGroup
	for i, c := range g.clients {
		old, due := g.due(i, anyway)
		if !due {
			continue
		}
		asked.Go(func() {
			got, err := c.Submit(ctx, note, old, inTurn)
			g.learn(i, got, err)
			lines[i], errs[i] = got.Line, err
		})
	}
	asked.Wait() // the deadline holds for each: nobody uses proof after this
	return bytes.Join(lines, nil), errors.Join(errs...)
}

// due tells whether a witness is asked now, and which size it is believed to hold.
func (g *Group) due(i int, anyway bool) (old uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &g.members[i]
	return m.old, anyway || !g.now().Before(m.rest)
}

// learn keeps what came of asking a witness.
func (g *Group) learn(i int, got Cosignature, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, now := &g.members[i], g.now()
	m.status.Asked, m.status.Err = now, err
	if err != nil {
		m.rest = now.Add(min(time.Second<<min(m.fails, 10), restMost))
		m.fails++
		return
	}
	m.old, m.fails, m.rest = got.Size, 0, time.Time{}
	m.status.Size, m.status.At = got.Size, got.At
}

// Status lists the witnesses in their order.
func (g *Group) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Status, 0, len(g.members))
	for i := range g.members {
		out = append(out, g.members[i].status)
	}
	return out
}
