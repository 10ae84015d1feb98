package policies

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/gatewright/gatewright/merkle"
)

// The most an engine's caches may hold, as powers of two. Filled, they take about 40 MiB; what does not fit is rebuilt in
// some ten microseconds.
const (
	callerBits    = 12
	targetBits    = 10
	candidateBits = 15
	outcomeBits   = 14
)

// maxTools bounds a tenant's catalogue: each tool is an action in the schema.
const maxTools = 20_000

// Engine answers Asks under one compiled bundle. It is immutable and safe for concurrent use; nil refuses everything.
type Engine struct {
	digest  merkle.Hash
	seed    maphash.Seed
	words   *vocabulary
	rules   []*rule
	byLabel map[string]*rule
	index   *index
	tools   map[targetKey]*target
	sorted  []*target // the tools that can be called, by server and name
	skipped []string
	reading field   // of all policies, those in shadow included
	rated   bool    // whether any enforced one has a rate
	beside  *Engine // of the policies in shadow; nil when there are none, see mode.go

	callers    *cache[*Principal, *caller]
	targets    *cache[targetKey, *target]
	candidates *cache[candidateKey, *candidates]
	outcomes   *cache[outcomeKey, outcome]
	lists      *cache[listKey, *listing]
}

type candidateKey struct {
	caller  *caller
	target  *target
	unknown bool
}

// outcomeKey holds everything an outcome depends on, so a remembered one cannot be stale: the candidates stand for the
// policies, the caller's contents and the target, and the facts are all that these policies read of the context.
type outcomeKey struct {
	candidates *candidates
	facts      facts
}

type outcome struct {
	allowed bool
	reasons []cedar.DiagnosticReason
	errors  []string
	more    *more // what policies with @hold and overlays add; nil where none of them is
}

// Compile parses, validates and indexes a bundle against the tools a tenant can reach. What is wrong with the bundle comes
// back as Problems, each with its place and a hint. What is wrong with a tool only leaves that tool out: see Skipped.
func Compile(b *Bundle, tools []ToolDef) (e *Engine, err error) {
	if b == nil || len(b.files) == 0 {
		return nil, errors.New("compile policies: no bundle")
	}
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, fmt.Errorf("compile policies: internal fault: %v", r)
		}
	}()
	if e, err = compile(b, tools); err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	return e, nil
}

func compile(b *Bundle, defs []ToolDef) (*Engine, error) {
	if len(defs) > maxTools {
		return nil, fmt.Errorf("%d tools; at most %d", len(defs), maxTools)
	}
	words, err := newVocabulary(b)
	if err != nil {
		return nil, err
	}
	e := &Engine{digest: b.digest, seed: maphash.MakeSeed(), words: words, byLabel: map[string]*rule{}}
	tools := e.takeTools(defs)
	if err := words.addTools(tools); err != nil {
		return nil, err
	}
	rules, problems := parseRules(b)
	if problems = append(problems, e.check(rules, tools)...); len(problems) > 0 {
		return nil, problems.bounded()
	}
	enforced, shadowed := byMode(rules)
	e.fill(enforced, tools)
	e.beside = e.newBeside(shadowed, tools)
	e.survey()
	return e, nil
}

// check prepares the rules and validates them, when it is known to end: all of them are measured before the first.
func (e *Engine) check(rules []*rule, tools []*tool) (problems Problems) {
	check := newChecker(e.words, tools)
	for _, r := range rules {
		r.full = newVariant(r.full.policy)
		if p := check.afford(r); p != nil {
			return Problems{*p}
		}
	}
	for _, r := range rules {
		r.maybe = maybeVariant(r)
		problems = append(problems, check.check(r)...)
		problems = append(problems, check.counts(r)...)
		if e.byLabel[r.label] = r; len(problems) > maxFound {
			break
		}
	}
	return problems
}

// fill indexes the policies and prepares the tools and the caches.
func (e *Engine) fill(rules []*rule, tools []*tool) {
	e.rules, e.index, e.tools = rules, newIndex(rules), make(map[targetKey]*target, len(tools))
	for _, t := range tools {
		known := e.newTarget(t.action, t.entity, t.input)
		known.key, e.tools[t.key] = t.key, known
		if t.op == opCall {
			e.sorted = append(e.sorted, known)
		}
	}
	slices.SortFunc(e.sorted, func(a, b *target) int { return byName(a.key, b.key) })
	e.callers = newCache[*Principal, *caller](callerBits)
	e.targets = newCache[targetKey, *target](targetBits)
	e.candidates = newCache[candidateKey, *candidates](candidateBits)
	e.outcomes = newCache[outcomeKey, outcome](outcomeBits)
	e.lists = newCache[listKey, *listing](listBits)
}

// takeTools prepares the definitions. Of tools whose names run into each other none is taken: a server must not be able
// to name a tool so that rules for another's apply to it.
func (e *Engine) takeTools(defs []ToolDef) []*tool {
	var tools []*tool
	names := map[types.EntityUID]int{}
	for _, d := range defs {
		t, err := newTool(d)
		if err != nil {
			e.skipped = append(e.skipped, fmt.Sprintf("%s/%s: %v", d.Server, d.Name, err))
			continue
		}
		names[t.action]++
		names[t.entity.UID]++
		tools = append(tools, t)
	}
	return slices.DeleteFunc(tools, func(t *tool) bool {
		_, taken := e.words.fixed.Actions[t.action]
		clash := taken || names[t.action] > 1 || names[t.entity.UID] > 1
		if clash {
			e.skipped = append(e.skipped, fmt.Sprintf("%s/%s: the name is ambiguous beside another tool's", t.key.server, t.key.name))
		}
		return clash
	})
}

func (e *Engine) newTarget(action types.EntityUID, resource types.Entity, input *shape) *target {
	groups := e.words.parents[action]
	t := &target{resource: resource, input: input, size: entitySize(&resource)}
	t.action = types.Entity{UID: action, Parents: types.NewEntityUIDSet(groups...)}
	t.buckets = e.index.fitting(keysOf(action, groups), keysOf(resource.UID, resource.Parents.Slice()))
	return t
}

// Digest is the digest of the compiled bundle.
func (e *Engine) Digest() merkle.Hash {
	if e == nil {
		return merkle.Hash{}
	}
	return e.digest
}

// Skipped says which tools were left out, and why. Calls of them are refused.
func (e *Engine) Skipped() []string { return slices.Clone(e.skipped) }

// Len is the number of policies that are enforced: those with @mode("shadow") are not among them.
func (e *Engine) Len() int { return len(e.rules) }

// Permits tells whether any policy permits anything. Without one every Ask is refused.
func (e *Engine) Permits() bool {
	return slices.ContainsFunc(e.rules, func(r *rule) bool { return !r.forbid })
}

// Decide answers the Ask. Any fault refuses: no engine, an unknown action, tool or principal, an argument that a policy
// reads and cannot see, a forbid that cannot be evaluated, a panic.
func (e *Engine) Decide(a *Ask) (d Decision) {
	if e == nil {
		return Decision{}
	}
	if a == nil || a.Principal == nil {
		return Decision{engine: e, outcome: outcome{errors: []string{"no principal"}}}
	}
	defer func() {
		if r := recover(); r != nil {
			d.outcome, d.would = outcome{errors: []string{fmt.Sprintf("policy engine fault: %v", r)}}, nil
		}
	}()
	principal := printPrincipal(e.seed, a.Principal)
	d = Decision{engine: e, print: printAsk(e.seed, a, principal)}
	if err := e.decide(a, principal, &d); err != nil {
		d.outcome, d.would = outcome{errors: []string{err.Error()}}, nil
	}
	return d
}

// decide fills the outcome of d, which is zero; what it holds after an error is of no use.
func (e *Engine) decide(a *Ask, principal uint64, d *Decision) error {
	out := &d.outcome
	c, err := e.candidatesFor(a, principal, !a.ArgsKnown)
	if err != nil {
		return err
	}
	if err = e.ask(a, c, out); err != nil {
		return err
	}
	if e.beside != nil {
		d.would = e.imagine(a, principal, *out)
	}
	if out.more == nil && len(a.Overlays) == 0 {
		return nil
	}
	return e.settle(a, &c.view, out)
}

// candidatesFor finds the policies that can decide an Ask; unknown selects their forms for lists.
func (e *Engine) candidatesFor(a *Ask, principal uint64, unknown bool) (*candidates, error) {
	who := e.caller(a.Principal, principal)
	if who.err != nil {
		return nil, who.err
	}
	t, err := e.target(a)
	if err != nil {
		return nil, err
	}
	key := candidateKey{who, t, unknown}
	c, ok := e.candidates.get(key)
	if !ok {
		c = e.candidates.put(key, gather(view{caller: who, target: t}, unknown))
	}
	return c, nil
}

// ask puts the question to the candidates. What policies with @hold say stays apart, for settle.
func (e *Engine) ask(a *Ask, c *candidates, out *outcome) error {
	if !c.lasting.empty() {
		if err := e.lasting(a, c, out); err != nil {
			return err
		}
	}
	if c.fresh.empty() {
		return nil
	}
	f, err := newFacts(a, c.fresh.reads.fields, c.view.caller.trust)
	if err != nil {
		return err
	}
	fresh, err := e.evaluate(a, &c.view, &c.fresh, &f)
	if err != nil {
		return err
	}
	*out = e.merge(*out, fresh)
	return nil
}

// lasting answers for the policies that read only facts that last, from memory if it can.
func (e *Engine) lasting(a *Ask, c *candidates, out *outcome) error {
	f, err := newFacts(a, c.lasting.reads.fields, c.view.caller.trust)
	if err != nil {
		return err
	}
	key := outcomeKey{c, f}
	var ok bool
	if *out, ok = e.outcomes.get(key); ok {
		return nil
	}
	if *out, err = e.evaluate(a, &c.view, &c.lasting, &f); err == nil {
		e.outcomes.put(key, *out)
	}
	return err
}

// evaluate asks a group: by a glance, or else Cedar, with the context that the group reads.
func (e *Engine) evaluate(a *Ask, v *view, g *group, f *facts) (out outcome, err error) {
	if !g.slow {
		if out, known, err := e.glance(a, v, g, f); known || err != nil {
			return out, err
		}
	}
	ctx := f.base(a)
	if input := v.target.input; input != nil && f.fields&(readInput|readNulls|readUndeclared) != 0 {
		if err := addInput(ctx, a.Args, input, g.reads); err != nil {
			return out, err
		}
		if !g.affordable(a, v, ctx) {
			return out, errAllDear
		}
	}
	return e.answer(g, v, v.request(types.NewRecord(ctx))), nil
}

// answer is what a group says, with forbids that fail refusing.
func (e *Engine) answer(g *group, v *view, request cedar.Request) (out outcome) {
	answer, diag := g.judge(v, request)
	out.allowed, out.reasons = bool(answer), diag.Reasons
	if len(diag.Errors) > 0 {
		e.blame(&out, diag.Errors)
	}
	if g.holds != nil {
		e.askHolds(&out, g.holds, v, request)
	}
	return out
}

// judge evaluates a group's policies as the language has it: no more and no less than Cedar says. Every evaluation of a
// bundle's policies comes through here, and Cedar's own corpus is held against it.
func (g *group) judge(v *view, request cedar.Request) (cedar.Decision, cedar.Diagnostic) {
	return cedar.Authorize(g, v, request)
}

// merge gives the outcome of both groups together, by Cedar's rule: any forbid denies, else any permit allows. An outcome
// that is not allowed and has reasons was forbidden.
func (e *Engine) merge(a, b outcome) outcome {
	out := outcome{errors: append(slices.Clip(a.errors), b.errors...)}
	forbidden := !a.allowed && len(a.reasons) > 0 || !b.allowed && len(b.reasons) > 0
	out.allowed = !forbidden && (a.allowed || b.allowed)
	out.more = a.more.merge(b.more)
	for _, o := range []outcome{a, b} {
		if o.allowed == out.allowed {
			if len(out.reasons) == 0 {
				out.reasons = slices.Clip(o.reasons) // in order already, and not ours to change
				continue
			}
			out.reasons = append(out.reasons, o.reasons...)
			e.sort(out.reasons)
		}
	}
	return out
}

// sort puts reasons into the order of the bundle.
func (e *Engine) sort(reasons []cedar.DiagnosticReason) {
	if len(reasons) > 1 {
		slices.SortFunc(reasons, func(a, b cedar.DiagnosticReason) int {
			return e.byLabel[string(a.PolicyID)].order - e.byLabel[string(b.PolicyID)].order
		})
	}
}

// blame reports evaluation errors. Cedar passes over a policy that fails; a forbid that fails must refuse instead, or an
// attribute somebody forgot would open the gate.
func (e *Engine) blame(d *outcome, errs []cedar.DiagnosticError) {
	var forbids []cedar.DiagnosticReason
	for _, x := range errs {
		d.errors = append(d.errors, string(x.PolicyID)+": "+x.Message)
		if e.byLabel[string(x.PolicyID)].forbid {
			forbids = append(forbids, cedar.DiagnosticReason{PolicyID: x.PolicyID, Position: x.Position})
		}
	}
	if len(forbids) == 0 {
		return
	}
	if d.allowed {
		d.allowed, d.reasons = false, nil
	}
	d.reasons = append(d.reasons, forbids...)
	e.sort(d.reasons)
}

// caller finds or builds the entity of a principal. The print guards against a Principal that was changed in place.
func (e *Engine) caller(p *Principal, print uint64) *caller {
	if c, ok := e.callers.get(p); ok && c.print == print {
		return c
	}
	return e.callers.put(p, newCaller(p, print))
}

// target finds what the Ask is about. Tools must be known; other resources need no more than their name.
func (e *Engine) target(a *Ask) (*target, error) {
	if !a.ArgsKnown && a.Args != nil {
		return nil, errors.New("arguments are given but said to be unknown")
	}
	if a.Local {
		return e.local(a)
	}
	key := targetKey{action: a.Action, server: a.Server, name: a.Tool}
	if t := e.tools[key]; t != nil {
		return t, nil
	}
	kinds := e.words.resourceTypes(a.Action)
	if kinds == nil {
		return nil, fmt.Errorf("unknown action %q", a.Action)
	}
	switch {
	case kinds[0] == "Tool":
		return nil, fmt.Errorf("tool %q of server %q is not known to policy", a.Tool, a.Server)
	case kinds[0] == "Server":
		return e.place(a), nil
	case a.Server == "" || a.Tool == "":
		return nil, fmt.Errorf("%s without a server or a name", a.Action)
	case kinds[0] == "Prompt" && len(a.Args) > 2: // longer than {}
		return nil, fmt.Errorf("prompt %q of server %q is not known to policy and has arguments", a.Tool, a.Server)
	}
	if t, ok := e.targets.get(key); ok {
		return t, nil
	}
	resource := resourceEntity(kinds[0], a.Server, a.Tool)
	return e.targets.put(key, e.newTarget(actionUID(a.Action), resource, &shape{kind: kindRecord})), nil
}

// place is the target of an action on a server, or on all of the caller's organization.
func (e *Engine) place(a *Ask) *target {
	key := targetKey{action: a.Action, server: a.Server}
	uid := types.NewEntityUID("Server", types.String(a.Server))
	if a.Server == "" {
		key.organization = a.Principal.Tenant
		uid = types.NewEntityUID("Organization", types.String(a.Principal.Tenant))
	}
	if t, ok := e.targets.get(key); ok {
		return t
	}
	return e.targets.put(key, e.newTarget(actionUID(a.Action), types.Entity{UID: uid}, nil))
}
