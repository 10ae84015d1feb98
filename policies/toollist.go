package policies

import (
	"cmp"
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
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
	open  []openTool
}

// openTool is a tool that is not settled by what lasts.
type openTool struct {
	at        int     // among the tools of the list
	permitted bool    // by a policy that lasts
	rules     []*rule // the policies that are left, which read the clock; nil leaves it to Decide
}

// maxOpenRules bounds what a listing keeps of open tools.
const maxOpenRules = 4096

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
		all := &listing{list: ToolList{tools, newBits(len(tools))}}
		for i := range tools {
			all.open = append(all.open, openTool{at: i})
		}
		return e.settleList(&ask, who, all)
	}
	key := listKey{who, a.Server}
	found, ok := e.lists.get(key)
	if !ok || !found.of(&ask, who.trust) {
		found = e.lists.put(key, e.newListing(&ask, who))
	}
	if len(found.open) == 0 {
		return &found.list
	}
	return e.settleList(&ask, who, found)
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

// settleList adds the open tools that are shown to a copy of the list.
func (e *Engine) settleList(a *Ask, who *caller, l *listing) *ToolList {
	out := &ToolList{l.list.tools, slices.Clone(l.list.shown)}
	s := newLister(a, who, lasting|readNow)
	defer s.close()
	for i := range l.open {
		o := &l.open[i]
		t := l.list.tools[o.at]
		is := unsettled
		if o.rules != nil {
			s.rules = append(s.rules[:0], o.rules...)
			is = s.look(t, o.permitted)
		}
		if is == unsettled {
			a.Server, a.Tool = t.key.server, t.key.name
			if d := e.Decide(a); d.Allowed() || d.Held() {
				is = onList
			}
		}
		if is == onList {
			out.shown.set(o.at)
		}
	}
	return out
}

// newListing looks at every tool once.
func (e *Engine) newListing(a *Ask, who *caller) *listing {
	tools := e.listed(a.Server)
	l := &listing{list: ToolList{tools, newBits(len(tools))}}
	s, kept := newLister(a, who, lasting), 0
	defer s.close()
	for i, t := range tools {
		s.fitting(t)
		switch s.look(t, false) {
		case onList:
			l.list.shown.set(i)
		case unsettled:
			o := openTool{at: i, permitted: s.permitted}
			if kept += len(s.left); kept <= maxOpenRules && !slices.ContainsFunc(s.left, (*rule).unlistable) {
				o.rules = slices.Clone(s.left)
			}
			l.open = append(l.open, o)
		}
	}
	l.facts, _ = newFacts(a, s.read, who.trust) // a part of what is known
	return l
}

// unlistable: a look cannot tell what the policy says, whatever the time.
func (r *rule) unlistable() bool {
	return r.maybe.program == nil || r.maybe.reads.fields&^(lasting|readNow) != 0
}

// lasting is what a listing may rest on: facts that last, and that a glance can see.
const lasting = (readNet | readTrust | readUser | readInPlan) &^ readFresh

// lister looks at one tool after the other for one caller.
type lister struct {
	view  view
	glass *glass
	err   error
	may   field // what it knows
	read  field // of that, by any policy that was asked
	rules []*rule

	left      []*rule // of the last tool: what a look could not tell
	permitted bool    // of the last tool, by another
}

// newLister makes one that knows some facts of a call.
func newLister(a *Ask, who *caller, may field) *lister {
	s := &lister{view: view{caller: who}, may: may}
	s.glass, _ = glasses.Get().(*glass)
	var f facts
	if f, s.err = newFacts(a, may, who.trust); s.err == nil {
		f.show(&s.glass.env, a)
	}
	s.glass.env.Principal, s.glass.env.Entities = who.entity.UID, &s.view
	return s
}

func (s *lister) close() {
	s.glass.clear()
	glasses.Put(s.glass)
}

type look uint8

const (
	offList look = iota
	onList
	unsettled
)

// look tells what the rules at hand say of a tool, if that settles it; permitted is what others said.
func (s *lister) look(t *target, permitted bool) look {
	s.view.target, s.left = t, s.left[:0]
	s.glass.env.Action, s.glass.env.Resource = t.action.UID, t.resource.UID
	mayForbid := false
	for _, r := range s.rules {
		switch holds, known := s.ask(r.maybe); {
		case !known:
			s.left = append(s.left, r)
			mayForbid = mayForbid || r.forbid
		case holds && r.forbid && r.apart():
		case holds && r.forbid:
			return offList
		case holds:
			permitted = true
		}
	}
	s.permitted = permitted
	mayPermit := permitted || slices.ContainsFunc(s.left, func(r *rule) bool { return !r.forbid })
	switch {
	case permitted && !mayForbid:
		return onList
	case mayPermit:
		return unsettled
	}
	return offList
}

// ask evaluates one policy, unless it reads what is not known.
func (s *lister) ask(form *variant) (holds, known bool) {
	if s.err != nil || form.program == nil || form.reads.fields&^s.may != 0 {
		return false, false
	}
	s.read |= form.reads.fields
	return form.program.Run(&s.glass.env)
}

// fitting takes the policies in whose scopes a tool is, in any order.
func (s *lister) fitting(t *target) {
	s.view.target, s.rules = t, s.rules[:0]
	for _, b := range t.buckets {
		for _, k := range s.view.caller.keys {
			for _, r := range b[k] {
				if r.maybe != nil && s.inScope(r) {
					s.rules = append(s.rules, r)
				}
			}
		}
	}
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
