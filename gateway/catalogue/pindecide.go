package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
)

// Errors of decisions that a caller branches on.
var (
	ErrNoTool    = errors.New("the server has no such tool")
	ErrPinMoved  = errors.New("the definition of that digest does not wait any more")
	ErrFindings  = errors.New("the definition has findings")
	ErrCollision = errors.New("the tool's name is taken by another")
	ErrPins      = errors.New("the server has as many tool pins as it may have")
	ErrNotKept   = pins.ErrNotKept
)

// Pin is what is known of one tool's definition.
type Pin struct {
	Server, Tool string
	State        State
	Listed       bool        // the server lists it now; else Digest is zero
	Digest       merkle.Hash // of the listed definition
	Approved     merkle.Hash // zero: none is
	Findings     []string
	Unusable     string
}

// Waits says whether somebody should look at it.
func (p *Pin) Waits() bool { return p.Listed && (p.State == New || p.State == Changed) }

// PinDetail is a Pin with what was decided and how the listed definition differs from the approved one.
type PinDetail struct {
	Pin
	Kept        []merkle.Hash // definitions to roll back to, the last approved first
	History     []pins.Entry  // oldest first, at most pins.MaxHistory
	Differences []pins.Difference
}

// PinDecision is one person's word about one definition.
type PinDecision struct {
	Action    string // pins.Approve, pins.Reject or pins.RollBack
	Digest    merkle.Hash
	Despite   bool // approve though there are findings
	User, Key string
	Reason    string
}

// Pins lists a server's tools, listed or approved, by name.
func (c *Catalogue) Pins(tenant, server string) ([]Pin, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil {
		return nil, false
	}
	held := c.held(tenant, server).Tools
	out := make([]Pin, 0, len(e.list))
	for _, t := range e.list {
		out = append(out, pinOf(t, held[t.Name]))
	}
	for name, h := range held {
		if !h.Approved.IsZero() && !slices.ContainsFunc(e.list, func(t *Tool) bool { return t.Name == name }) {
			out = append(out, Pin{Server: server, Tool: name, State: Approved, Approved: h.Approved})
		}
	}
	slices.SortStableFunc(out, func(a, b Pin) int { return cmp.Compare(a.Tool, b.Tool) })
	return out, true
}

func pinOf(t *Tool, h pins.Held) Pin {
	p := Pin{
		Server: t.Server, Tool: t.Name, State: t.State, Listed: true, Digest: t.Pin, Approved: h.Approved,
		Findings: t.Findings, Unusable: t.Unusable,
	}
	if t.State == Approved { // also of a server of this program's own
		p.Approved = t.Pin
	}
	return p
}

// Pin tells all that is known of one tool. With a digest of an approved definition as against, the differences lead from
// that one to the approved one: what rolling back to it would undo.
func (c *Catalogue) Pin(ctx context.Context, tenant, server, tool string, against merkle.Hash) (*PinDetail, error) {
	all, ok := c.Pins(tenant, server)
	if !ok {
		return nil, ErrUnknown
	}
	i, found := slices.BinarySearchFunc(all, tool, func(p Pin, name string) int { return strings.Compare(p.Tool, name) })
	if !found {
		return nil, ErrNoTool
	}
	d := &PinDetail{Pin: all[i]}
	row, err := c.book().Tool(ctx, tenant, server, tool)
	if err != nil {
		return nil, err
	}
	d.Kept, d.History = row.Kept, row.History
	from, to := d.Approved, d.Digest
	if !against.IsZero() {
		from, to = against, d.Approved
	}
	if to.IsZero() || from == to {
		d.Differences = []pins.Difference{}
		return d, nil
	}
	old, err := c.definition(ctx, tenant, server, tool, from)
	if err != nil {
		return nil, err
	}
	now, err := c.definition(ctx, tenant, server, tool, to)
	if err != nil {
		return nil, err
	}
	d.Differences = pins.Diff(old, now)
	return d, nil
}

// definition finds a definition among those listed and those kept; nil for none at all.
func (c *Catalogue) definition(ctx context.Context, tenant, server, tool string, digest merkle.Hash) ([]byte, error) {
	if digest.IsZero() {
		return nil, nil
	}
	for _, t := range c.Tools(tenant, server) {
		if t.Name == tool && t.Pin == digest {
			return t.canonical(c.config)
		}
	}
	row, err := c.book().Tool(ctx, tenant, server, tool)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(row.Kept, digest) {
		return nil, ErrNotKept
	}
	return c.book().Definition(ctx, tenant, server, tool, digest)
}

// DecidePin makes a decision durable and in force before it returns.
func (c *Catalogue) DecidePin(ctx context.Context, tenant, server, tool string, d PinDecision) error {
	if err := c.decidePin(ctx, tenant, server, tool, d); err != nil {
		return err
	}
	c.notify(tenant)
	return nil
}

func (c *Catalogue) decidePin(ctx context.Context, tenant, server, tool string, d PinDecision) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil {
		return ErrUnknown
	}
	held, known := c.held(tenant, server).Tools[tool]
	var listed *Tool
	for _, t := range e.list {
		if known = known || t.Name == tool; t.Name == tool && t.Pin == d.Digest {
			listed = t
		}
	}
	if !known {
		return ErrNoTool
	}
	change := pins.Change{Entry: pins.Entry{
		Time: c.now(), Action: d.Action, User: d.User, Key: d.Key, From: held.Approved, To: d.Digest, Reason: d.Reason,
	}}
	if err := c.allowed(tenant, &change, listed, held, d); err != nil {
		return err
	}
	_, err := c.book().Decide(ctx, tenant, server, tool, change)
	err = errors.Join(err, c.reloadPins(ctx, tenant, server)) // whether it was written after all, only a read can tell
	return errors.Join(err, c.rejudge(ctx, e))
}

// pinsPerTool bounds the pins of a server by the tools it may list: those it lists no more keep theirs.
const pinsPerTool = 4

// allowed says whether the decision fits what is there now, and completes it.
func (c *Catalogue) allowed(tenant string, change *pins.Change, listed *Tool, held pins.Held, d PinDecision) error {
	switch {
	case d.Action == pins.RollBack:
		return nil // the book knows what is kept
	case d.Action == pins.Reject && held.Approved == d.Digest:
		return nil
	case listed == nil || listed.State == Approved, d.Action == pins.Reject && listed.State == Rejected:
		return ErrPinMoved
	case len(c.held(tenant, listed.Server).Tools) >= pinsPerTool*c.config.MaxTools:
		return ErrPins
	case d.Action == pins.Reject:
		return nil
	case d.Action != pins.Approve:
		return fmt.Errorf("%w: no such decision", ErrInvalid)
	case listed.collides != "":
		return fmt.Errorf("%w: %s", ErrCollision, listed.collides)
	case len(listed.Findings) > 0 && !d.Despite:
		return fmt.Errorf("%w: %s", ErrFindings, strings.Join(listed.Findings, "; "))
	}
	change.Despite = strings.Join(listed.Findings, "; ")
	var err error
	change.Definition, err = listed.canonical(c.config)
	return err
}

// rejudge shows an entry's tools as its pins are now. c.mu is held.
func (c *Catalogue) rejudge(ctx context.Context, e *entry) error {
	list := make([]*Tool, len(e.list))
	for i, t := range e.list {
		own := *t
		list[i] = &own
	}
	_, err := c.judge(ctx, &e.server, list)
	c.put(e, list, nil)
	return err
}

// forgetPins drops what was decided about a removed server's tools.
func (c *Catalogue) forgetPins(ctx context.Context, tenant, server string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (*c.snapshot.Load())[tenant][server] != nil {
		return nil // it was added again meanwhile
	}
	delete(c.pins[tenant], server)
	return c.book().Forget(ctx, tenant, server)
}
