package policies

import (
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// world is any policy set over any entities, asked by the functions that answer Decide: the loader's parser, the index, the
// guards, both groups of candidates, their evaluation and what the engine makes of it. What it leaves out is what makes a
// cedar.Request of an Ask.
type world struct {
	engine   *Engine
	entities types.EntityMap
	callers  map[types.EntityUID]*caller
	targets  map[[2]types.EntityUID]*target
}

func newWorld(text string, entities types.EntityMap) (*world, error) {
	rules, problems := parseFile("p.cedar", text)
	if len(problems) > 0 {
		return nil, problems
	}
	e := &Engine{byLabel: map[string]*rule{}, rules: rules}
	for i, r := range rules {
		r.order = i
		r.full = newVariant(r.full.policy)
		r.maybe = maybeVariant(r)
		e.byLabel[r.label] = r
	}
	e.index = newIndex(rules)
	return &world{e, entities, map[types.EntityUID]*caller{}, map[[2]types.EntityUID]*target{}}, nil
}

// ancestors is everything that an entity is in, but itself.
func (w *world) ancestors(u types.EntityUID) []types.EntityUID {
	seen := map[types.EntityUID]bool{u: true}
	var out []types.EntityUID
	for todo := []types.EntityUID{u}; len(todo) > 0; todo = todo[1:] {
		for p := range w.entities[todo[0]].Parents.All() {
			if !seen[p] {
				seen[p] = true
				out, todo = append(out, p), append(todo, p)
			}
		}
	}
	return out
}

func (w *world) entity(u types.EntityUID) types.Entity {
	if e, ok := w.entities[u]; ok {
		return e
	}
	return types.Entity{UID: u}
}

func (w *world) view(q cedar.Request) view {
	who := w.callers[q.Principal]
	if who == nil {
		who = &caller{entity: w.entity(q.Principal), keys: keysOf(q.Principal, w.ancestors(q.Principal))}
		w.callers[q.Principal] = who
	}
	key := [2]types.EntityUID{q.Action, q.Resource}
	what := w.targets[key]
	if what == nil {
		what = &target{action: w.entity(q.Action), resource: w.entity(q.Resource)}
		what.buckets = w.engine.index.fitting(keysOf(q.Action, w.ancestors(q.Action)), keysOf(q.Resource, w.ancestors(q.Resource)))
		w.targets[key] = what
	}
	return view{caller: who, target: what, others: w.entities}
}

// answered is an answer by the numbers of its policies, sorted.
type answered struct {
	allowed         bool
	reasons, errors []int
}

func (a answered) equal(b answered) bool {
	return a.allowed == b.allowed && slices.Equal(a.reasons, b.reasons) && slices.Equal(a.errors, b.errors)
}

// ask gives what the candidates say in Cedar's terms, and what the engine answers.
func (w *world) ask(q cedar.Request) (plain, engine answered, candidates int) {
	c := gather(w.view(q), false)
	var said, judged outcome
	for _, g := range []*group{&c.lasting, &c.fresh} {
		if g.empty() {
			continue
		}
		request := c.view.request(q.Context)
		request.Context = shown(q.Context, &g.reads)
		candidates += len(g.policies)
		decision, diag := g.judge(&c.view, request)
		said = w.engine.merge(said, outcome{allowed: bool(decision), reasons: diag.Reasons})
		for _, x := range diag.Errors {
			plain.errors = append(plain.errors, w.number(string(x.PolicyID)))
		}
		judged = w.engine.merge(judged, w.engine.answer(g, &c.view, request))
	}
	plain.allowed, plain.reasons = said.allowed, w.numbers(said.reasons)
	engine.allowed, engine.reasons = judged.allowed, w.numbers(judged.reasons)
	for _, text := range judged.errors {
		label, _, _ := strings.Cut(text, ": ")
		engine.errors = append(engine.errors, w.number(label))
	}
	slices.Sort(plain.errors)
	slices.Sort(engine.errors)
	return plain, engine, candidates
}

// shown is what Decide would build of a context: the leaves that the policies read, and nothing beside them.
func shown(ctx types.Record, r *reads) types.Record {
	out := types.RecordMap{}
	for name, v := range ctx.All() {
		inner, nested := v.(types.Record)
		_, leaf := contextPaths[string(name)]
		switch {
		case fieldsAt([]types.String{name})&r.fields == 0:
		case name == "input" && nested && !r.whole:
			out[name] = kept(inner, func(param types.String) bool { return slices.Contains(r.params, string(param)) })
		case nested && !leaf && fieldsAt([]types.String{name}) != readAll:
			out[name] = kept(inner, func(part types.String) bool { return fieldsAt([]types.String{name, part})&r.fields != 0 })
		default:
			out[name] = v
		}
	}
	return types.NewRecord(out)
}

func kept(from types.Record, keep func(types.String) bool) types.Record {
	out := types.RecordMap{}
	for name, v := range from.All() {
		if keep(name) {
			out[name] = v
		}
	}
	return types.NewRecord(out)
}

// number is the place of a policy in the text, from 0; -1 for none, which equals nothing.
func (w *world) number(label string) int {
	if r := w.engine.byLabel[label]; r != nil {
		return r.order
	}
	return -1
}

func (w *world) numbers(reasons []cedar.DiagnosticReason) (out []int) {
	for _, r := range reasons {
		out = append(out, w.number(string(r.PolicyID)))
	}
	slices.Sort(out)
	return out
}

// closed is what the engine must make of an answer in Cedar's terms: a forbid that fails refuses, and is a reason.
func (w *world) closed(plain answered) answered {
	var failed []int
	for _, n := range plain.errors {
		if w.engine.rules[n].forbid {
			failed = append(failed, n)
		}
	}
	if len(failed) == 0 {
		return plain
	}
	out := answered{reasons: failed, errors: plain.errors}
	if !plain.allowed {
		out.reasons = append(out.reasons, plain.reasons...)
		slices.Sort(out.reasons)
	}
	return out
}

// scan asks plain cedar-go, with every policy before it.
func (w *world) scan(q cedar.Request) (out answered) {
	decision, diag := cedar.Authorize(scanAll{e: w.engine}, w.entities, q)
	out.allowed, out.reasons = bool(decision), w.numbers(diag.Reasons)
	for _, x := range diag.Errors {
		out.errors = append(out.errors, w.number(string(x.PolicyID)))
	}
	slices.Sort(out.errors)
	return out
}
