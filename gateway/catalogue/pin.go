package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// How a server's tools come to be approved.
const (
	// PinFirstUse takes what the server lists when it is first met as approved; everything later waits for a person.
	PinFirstUse = "first_use"
	// PinApprove lets every definition wait for a person.
	PinApprove = "approve"
	// PinOwn approves all: for the server that comes with this very program.
	PinOwn = "own"
)

// State is what a tool's pin says of its definition. Only an approved one is called, or shown to agents.
type State string

// The states of a listed definition.
const (
	Approved State = "approved"
	New      State = "new"      // no definition of the tool is approved
	Changed  State = "changed"  // another one is
	Rejected State = "rejected" // a person refused this one
)

// judge sets the state of freshly read tools. At a server's first use it approves what it may, and returns those. On error
// nothing beyond what was approved before is. c.mu is held.
func (c *Catalogue) judge(ctx context.Context, s *Server, list []*Tool) (trusted []pins.Listed, err error) {
	var others names
	known := func() names { // only of use where something is not approved yet
		if others == nil {
			others = c.namesIn(s.Tenant, s.Name, list)
		}
		return others
	}
	if c.held(s.Tenant, s.Name).Unread {
		err = c.reloadPins(ctx, s.Tenant, s.Name)
	}
	if s.Pin == PinFirstUse && len(list) > 0 && !c.held(s.Tenant, s.Name).Opened {
		trusted, err = c.trust(ctx, s, list, known)
	}
	held := c.held(s.Tenant, s.Name).Tools
	for _, t := range list {
		own := held[t.Name]
		t.State, t.Findings, t.collides, t.standing, t.known = Approved, nil, "", nil, !own.Approved.IsZero()
		switch {
		case s.Pin == PinOwn, own.Approved == t.Pin && c.shadows(s, t.Name) == "":
			continue
		case own.Approved == t.Pin: // until a configured server came
			t.State = New
		case slices.Contains(own.Rejected, t.Pin):
			t.State = Rejected
		case own.Approved.IsZero():
			t.State = New
		default:
			t.State = Changed
		}
		t.Findings, t.collides = c.findings(s, t, known())
		if !own.Approved.IsZero() {
			c.stand(ctx, s, t, own.Approved)
		}
	}
	return trusted, err
}

// trust approves a server's first listing, but for what has findings and names that are listed twice.
func (c *Catalogue) trust(ctx context.Context, s *Server, list []*Tool, known func() names) ([]pins.Listed, error) {
	take := []pins.Listed{}
	for _, t := range list {
		if t.Unusable == listedTwice {
			continue
		}
		if findings, _ := c.findings(s, t, known()); len(findings) > 0 {
			continue
		}
		definition, err := t.canonical(c.config)
		if err != nil {
			continue // it was canonical when it was read
		}
		take = append(take, pins.Listed{Name: t.Name, Digest: t.Pin, Definition: definition})
	}
	if err := c.book().Trust(ctx, s.Tenant, s.Name, take, c.now()); err != nil {
		return nil, errors.Join(err, c.reloadPins(ctx, s.Tenant, s.Name))
	}
	return take, c.reloadPins(ctx, s.Tenant, s.Name)
}

// stand lets policies be compiled against the approved definition of a tool whose present one is another: what is not
// approved must not reach into what policies mean.
func (c *Catalogue) stand(ctx context.Context, s *Server, t *Tool, approved merkle.Hash) {
	definition, err := c.book().Definition(ctx, s.Tenant, s.Name, t.Name, approved)
	if err != nil {
		return // then policies do without the tool
	}
	if before, err := parseTool(s, definition, c.config); err == nil && before.Unusable == "" {
		t.standing = &before.def
	}
}

func (c *Catalogue) book() *pins.Book {
	return &pins.Book{Store: c.store, Limits: c.config.toolLimits()}
}

// held is what is decided about a server's tools. c.mu is held.
func (c *Catalogue) held(tenant, server string) *pins.Server {
	if p := c.pins[tenant][server]; p != nil {
		return p
	}
	return &pins.Server{}
}

// reloadPins reads what the store holds for a server. Where it cannot be read nothing is approved. c.mu is held.
func (c *Catalogue) reloadPins(ctx context.Context, tenant, server string) error {
	all, err := c.book().Load(context.WithoutCancel(ctx), tenant)
	if c.pins[tenant] == nil {
		c.pins[tenant] = map[string]*pins.Server{}
	}
	if err != nil {
		c.pins[tenant][server] = &pins.Server{Opened: true, Unread: true}
		return err
	}
	c.pins[tenant][server] = all[server]
	return nil
}

// findings are what a person must know before approving; collides names the other where approving could not help.
func (c *Catalogue) findings(s *Server, t *Tool, known names) (findings []string, collides string) {
	if definition, err := t.canonical(c.config); err == nil {
		if found := pins.Hidden(definition); found != "" {
			findings = append(findings, found)
		}
	}
	collides = c.shadows(s, t.Name)
	if like, exact := known.like(s.Name, t.Name); exact {
		collides = "its name is also " + like
	} else if like != "" {
		findings = append(findings, "its name looks like "+like)
	}
	if collides != "" {
		findings = append(findings, collides)
	}
	return findings, collides
}

// shadows says whether a tool's own name leads to another server, "" when it does not. It allocates nothing then.
func (c *Catalogue) shadows(s *Server, tool string) string {
	before, _, joined := strings.Cut(tool, "__")
	if !joined || before == s.Name || (*c.snapshot.Load())[s.Tenant][before] == nil {
		return ""
	}
	return "its name reads as a tool of server " + before
}

// canonical is the pinned part of the definition.
func (t *Tool) canonical(c Config) ([]byte, error) { return pins.Canonical(t.Raw, c.toolLimits()) }

func (c Config) toolLimits() canon.Limits {
	return canon.Limits{Bytes: c.MaxToolBytes, Depth: c.MaxSchemaDepth + 4, Values: c.MaxToolBytes}
}

// names are the tools of a tenant by both skeletons of both names that a caller may see: the bare one, and SERVER__TOOL.
type names map[string][]owner

type owner struct {
	server, tool string
	joined       bool
}

func (n names) add(server, tool string) {
	for _, o := range []owner{{server, tool, false}, {server, tool, true}} {
		for _, key := range pins.Skeletons(o.shown()) {
			n[key] = append(n[key], o)
		}
	}
}

func (o owner) shown() string {
	if o.joined {
		return o.server + "__" + o.tool
	}
	return o.tool
}

// namesIn collects a tenant's tools: those listed and those approved, with list instead of what server listed before.
func (c *Catalogue) namesIn(tenant, server string, list []*Tool) names {
	n := names{}
	for name, e := range (*c.snapshot.Load())[tenant] {
		seen := map[string]bool{}
		listed := e.list
		if name == server {
			listed = list
		}
		for _, t := range listed {
			if !seen[t.Name] {
				seen[t.Name] = true
				n.add(name, t.Name)
			}
		}
		for tool, held := range c.held(tenant, name).Tools {
			if !seen[tool] && !held.Approved.IsZero() {
				n.add(name, tool)
			}
		}
	}
	return n
}

// like finds another tool whose name could be taken for this one's. exact means that the two are the same text: the bare
// name of one and the joined name of the other. That two servers have a tool of one name is no such case.
func (n names) like(server, tool string) (what string, exact bool) {
	for _, own := range []owner{{server, tool, false}, {server, tool, true}} {
		for _, key := range pins.Skeletons(own.shown()) {
			for _, o := range n[key] {
				same := o.shown() == own.shown()
				switch {
				case o.server == server && o.tool == tool, same && !o.joined && !own.joined:
					continue
				case same:
					return fmt.Sprintf("that of tool %s of server %s", o.tool, o.server), true
				case what == "" || o.server+o.tool < what:
					what = fmt.Sprintf("tool %s of server %s", o.tool, o.server)
				}
			}
		}
	}
	return what, false
}

// collidesWith refuses a new server whose name other tools or servers have taken, in sight. c.mu is held.
func (c *Catalogue) collidesWith(tenant, name string) error {
	for other, e := range (*c.snapshot.Load())[tenant] {
		if pins.Alike(other, name) {
			return fmt.Errorf("%w: the name looks like that of server %s", ErrInvalid, other)
		}
		taken := func(tool string) error {
			return fmt.Errorf("%w: tool %s of server %s reads as a tool of a server of this name", ErrInvalid, tool, other)
		}
		for _, t := range e.list {
			if strings.HasPrefix(t.Name, name+"__") {
				return taken(t.Name)
			}
		}
		for tool, held := range c.held(tenant, other).Tools {
			if !held.Approved.IsZero() && strings.HasPrefix(tool, name+"__") {
				return taken(tool)
			}
		}
	}
	return nil
}

// Quarantined says whether a server lists a tool that may not be called until somebody approves it.
func (c *Catalogue) Quarantined(tenant, server, tool string) bool {
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil || !e.server.Enabled {
		return false
	}
	_, waits := e.waiting[tool]
	return waits
}

// Owns says whether a bare name means this server's tool: it may be called, or was approved once and waits now. Otherwise the
// name could lead to another server meanwhile, or, were new tools to count, a server could take it away from another.
func (c *Catalogue) Owns(tenant, server, tool string) bool {
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil || !e.server.Enabled {
		return false
	}
	return e.tools[tool] != nil || e.waiting[tool]
}
