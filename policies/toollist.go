package policies

import (
	"cmp"
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies/quick"
)

// ToolList is the tools that a caller could call, for some arguments. It is immutable; nil has none.
type ToolList struct {
	tools []*target // of the servers asked about, by server and name
	shown bits
}

// All gives server and name of each tool on the list, sorted.
func (l *ToolList) All() iter.Seq2[string, string] {
	return func(yield func(server, name string) bool) {
		if l == nil {
			return
		}
		for i, t := range l.tools {
			if l.shown.has(i) && !yield(t.key.server, t.key.name) {
				return
			}
		}
	}
}

// Has tells whether a tool is on the list.
func (l *ToolList) Has(server, name string) bool {
	if l == nil {
		return false
	}
	i, found := slices.BinarySearchFunc(l.tools, targetKey{server: server, name: name}, func(t *target, k targetKey) int {
		return byName(t.key, k)
	})
	return found && l.shown.has(i)
}

func byName(a, b targetKey) int {
	return cmp.Or(cmp.Compare(a.server, b.server), cmp.Compare(a.name, b.name))
}

type bits []uint64

func newBits(n int) bits      { return make(bits, (n+63)/64) }
func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) empty() bool    { return !slices.ContainsFunc(b, func(w uint64) bool { return w != 0 }) }
func (l *listing) of(a *Ask, trust int64) bool {
	f, err := newFacts(a, l.facts.fields, trust)
	return err == nil && f == l.facts
}

// listing is what is remembered of a list: which tools are shown, and which have to be asked about each time because a
// policy that matters reads what changes with every call. It stands for one caller, by contents, and one set of the facts
// that the other policies read; so nobody else's list, and no other bundle's, can come of it.
type listing struct {
	facts facts
	list  ToolList
	open  bits // nil when none is
}

type listKey struct {
	caller *caller
	server string
}

// listBits bounds the lists that are remembered, as a power of two: with 20,000 tools each takes 5 KiB.
const listBits = 11

// ToolList tells of every tool of the Ask's server, or of all servers when that is empty, whether some call of it could be
// allowed, or held: what Decide says of each with ArgsKnown false. The rest of the Ask is as for Decide; its Tool, its
// arguments and its Action, which is call_tool, are not looked at. Any fault gives nil.
func (e *Engine) ToolList(a *Ask) (l *ToolList) {
	if e == nil || a == nil || a.Principal == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			l = nil
		}
	}()
	who := e.caller(a.Principal, printPrincipal(e.seed, a.Principal))
	if who.err != nil {
		return nil
	}
	ask := *a
	ask.Action, ask.Args, ask.ArgsKnown, ask.Local = opCall, nil, false, false
	if !ask.IP.IsValid() || ask.Now.IsZero() || len(ask.Overlays) > 0 { // a policy may refuse for it: Decide knows
		tools := e.listed(a.Server)
		all := newBits(len(tools))
		for i := range tools {
			all.set(i)
		}
		return e.askEach(&ask, &ToolList{tools, newBits(len(tools))}, all)
	}
	key := listKey{who, a.Server}
	found, ok := e.lists.get(key)
	if !ok || !found.of(&ask, who.trust) {
		found = e.lists.put(key, e.newListing(&ask, who))
	}
	if found.open == nil {
		return &found.list
	}
	return e.askEach(&ask, &found.list, found.open)
}

// listed gives the tools of a server, or of all.
func (e *Engine) listed(server string) []*target {
	if server == "" {
		return e.sorted
	}
	from, _ := slices.BinarySearchFunc(e.sorted, server, func(t *target, s string) int { return cmp.Compare(t.key.server, s) })
	to := from
	for to < len(e.sorted) && e.sorted[to].key.server == server {
		to++
	}
	return e.sorted[from:to]
}

// askEach decides about the open tools, and adds those that are shown to a copy of the list.
func (e *Engine) askEach(a *Ask, l *ToolList, open bits) *ToolList {
	out := &ToolList{l.tools, slices.Clone(l.shown)}
	for i, t := range l.tools {
		if !open.has(i) {
			continue
		}
		a.Server, a.Tool = t.key.server, t.key.name
		if d := e.Decide(a); d.Allowed() || d.Held() {
			out.shown.set(i)
		}
	}
	return out
}

// newListing looks at every tool once.
func (e *Engine) newListing(a *Ask, who *caller) *listing {
	tools := e.listed(a.Server)
	l := &listing{list: ToolList{tools, newBits(len(tools))}}
	open := newBits(len(tools))
	// Of the facts that last, all are shown; which of them are read is known at the end.
	s := lister{view: view{caller: who}}
	if s.facts, s.err = newFacts(a, lasting, who.trust); s.err == nil {
		s.facts.show(&s.env, a)
	}
	s.env.Principal, s.env.Entities = who.entity.UID, &s.view
	for i, t := range tools {
		switch s.look(t) {
		case onList:
			l.list.shown.set(i)
		case unsettled:
			open.set(i)
		}
	}
	if !open.empty() {
		l.open = open
	}
	l.facts, _ = newFacts(a, s.read, who.trust) // a part of what was known above
	return l
}

// lasting is what a listing may rest on: facts that last, and that a glance can see.
const lasting = (readNet | readTrust | readUser | readInPlan) &^ readFresh

// lister looks at one tool after the other for one caller.
type lister struct {
	view  view
	env   quick.Env
	facts facts
	err   error
	read  field // by any policy that was asked
	rules []*rule
}

type look uint8

const (
	offList look = iota
	onList
	unsettled
)

// look tells what the policies that last say of a tool, if that settles it.
func (s *lister) look(t *target) look {
	s.view.target = t
	s.env.Action, s.env.Resource = t.action.UID, t.resource.UID
	permitted, mayPermit, mayForbid := false, false, false
	for _, r := range s.fitting() {
		if r.maybe == nil || !s.inScope(r) {
			continue
		}
		switch holds, known := s.ask(r.maybe); {
		case !known && r.forbid:
			mayForbid = true
		case !known:
			mayPermit = true
		case holds && r.forbid && r.apart():
		case holds && r.forbid:
			return offList
		case holds:
			permitted = true
		}
	}
	switch {
	case permitted && !mayForbid:
		return onList
	case permitted, mayPermit:
		return unsettled
	}
	return offList
}

// ask evaluates one policy, unless it reads what changes with every call.
func (s *lister) ask(form *variant) (holds, known bool) {
	if s.err != nil || form.program == nil || form.reads.fields&^lasting != 0 {
		return false, false
	}
	s.read |= form.reads.fields
	return form.program.Run(&s.env)
}

// fitting is view.fitting without its order.
func (s *lister) fitting() []*rule {
	s.rules = s.rules[:0]
	for _, b := range s.view.target.buckets {
		for _, k := range s.view.caller.keys {
			s.rules = append(s.rules, b[k]...)
		}
	}
	return s.rules
}

// inScope tells whether the scopes of a policy hold. The engine knows all groups of its entities.
func (s *lister) inScope(r *rule) bool {
	p, t := r.ast(), s.view.target
	return inScope(p.Principal, &s.view.caller.entity) && inScope(p.Action, &t.action) && inScope(p.Resource, &t.resource)
}

func inScope(n ast.IsScopeNode, e *types.Entity) bool {
	within := func(u types.EntityUID) bool { return e.UID == u || e.Parents.Contains(u) }
	switch s := n.(type) {
	case ast.ScopeTypeAll:
		return true
	case ast.ScopeTypeEq:
		return e.UID == s.Entity
	case ast.ScopeTypeIn:
		return within(s.Entity)
	case ast.ScopeTypeIs:
		return e.UID.Type == s.Type
	case ast.ScopeTypeIsIn:
		return e.UID.Type == s.Type && within(s.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, within)
	}
	return true // unknown: the index had it fit, and what is asked too often is only asked again
}
