// Package lint looks at a bundle that compiles for what its authors hardly meant: policies that can never apply, that another
// makes pointless, that are wider than they look, or that every call has to evaluate.
//
// It is careful in one direction: what it calls unreachable or shadowed is so for every request, as far as the schema and the
// scopes tell; what it does not see through it says nothing about. A comment // lint:allow RULE before a policy's semicolon,
// and behind the one of the policy before it, lets a rule pass for that policy.
package lint

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/layout"
	"github.com/gatewright/gatewright/policies/template"
)

// The rules.
const (
	Unreachable   = "unreachable"
	Shadowed      = "shadowed"
	Unscoped      = "unscoped"
	Unindexable   = "unindexable"
	Broad         = "broad"
	Unguarded     = "unguarded"
	UnknownScore  = "unknown-score"
	MissingID     = "missing-id"
	MissingReason = "missing-reason"
	LocalOnly     = "local-only"
)

var rules = map[string]string{
	Unreachable:   "A policy that can never apply",
	Shadowed:      "A policy that makes no difference, because another says as much or more",
	Unscoped:      "A permit whose scope is everything",
	Unindexable:   "A policy that every call has to evaluate, because its scope names nothing",
	Broad:         "A permit for everybody to do work without any condition",
	Unguarded:     "A value read without asking whether it is there",
	UnknownScore:  "A score that is asked for by a name which the schema does not have",
	MissingID:     "A policy without @id, which records and tests name by its place in the file",
	MissingReason: "A policy without @reason, which cannot tell callers why",
	LocalOnly:     "A policy about tools that callers run themselves, which reads as if it were about all tools",
}

// Rules says of each rule what it is about.
func Rules() map[string]string { return maps.Clone(rules) }

// Finding is one thing that a rule found.
type Finding struct {
	Rule         string // one of the rules
	Level        string // warning, or note for what may well be meant
	File         string
	Line, Column int // from 1, in characters
	Policy       string
	Msg          string
	Hint         string // what to do
}

// policy is a policy with all that the rules look at.
type policy struct {
	policies.Policy
	order   int // in the bundle
	tree    *ast.Policy
	notes   map[string]string
	allowed []string // rules that it lets pass
	world   world
	terms   []term
	facts   []fact // what must be true, or false, for it to apply
}

// shadow tells whether the policy only says what it would do.
func (p *policy) shadow() bool { return p.notes["mode"] == "shadow" }

// Check looks at the policies of a bundle; e is the bundle compiled. The findings are in the order of the bundle.
func Check(b *policies.Bundle, e *policies.Engine) []Finding {
	all := read(b, e)
	c := checker{shadows: newShadows(all), scores: b.ScoreNames()}
	for _, p := range all {
		c.check(p)
	}
	return c.found
}

// read brings the trees of a bundle together with what the engine says of its policies; both are in the order of the files,
// and what templates made comes last.
func read(b *policies.Bundle, e *policies.Engine) []*policy {
	listed := e.Policies()
	s := newSchema(e.Actions())
	var out []*policy
	for _, src := range sources(b) {
		trees, err := cedar.NewPolicyListFromBytes(src.File, []byte(src.Text))
		if err != nil {
			continue // it compiled: the engine read it
		}
		for i, t := range trees {
			if len(out) == len(listed) {
				return out
			}
			p := &policy{Policy: listed[len(out)], order: len(out), tree: (*ast.Policy)(t.AST()), notes: map[string]string{}}
			p.tree.Position.Line += src.Line - 1
			for _, a := range p.tree.Annotations {
				p.notes[string(a.Key)] = string(a.Value)
			}
			p.allowed = src.allowed[allowance{i, p.tree.Position.Line}]
			p.world = s.world(p.tree)
			p.terms = termsOf(p.Conditions)
			p.facts = p.world.factsOf(p.terms)
			out = append(out, p)
		}
	}
	return out
}

// source is a file of policies, or one policy that a template made.
type source struct {
	template.Policy
	allowed map[allowance][]string
}

// sources lists them as the engine reads them.
func sources(b *policies.Bundle) (out []source) {
	var templates []template.Source
	allowed := map[string]map[allowance][]string{}
	for _, name := range b.Files() {
		if !strings.HasSuffix(name, ".cedar") {
			continue
		}
		data, _ := b.File(name)
		text := string(data)
		if !strings.HasPrefix(name, policies.TemplateFolder) {
			out = append(out, source{template.Policy{File: name, Line: 1, Text: text}, allowances(text)})
			continue
		}
		templates, allowed[name] = append(templates, template.Source{Name: name, Text: text}), allowances(text)
	}
	links, _ := b.File(policies.LinksFile)
	made, err := template.Expand(templates, policies.LinksFile, links)
	if err != nil {
		return out // it compiled
	}
	for _, p := range made {
		out = append(out, source{p, ofTemplates(allowed[p.File])})
	}
	return out
}

// allowance is a policy's number in its text and the line that it begins on.
type allowance struct{ at, line int }

// ofTemplates finds a template by its line alone: each is a text of its own.
func ofTemplates(all map[allowance][]string) map[allowance][]string {
	out := map[allowance][]string{}
	for a, rules := range all {
		out[allowance{0, a.line}] = append(out[allowance{0, a.line}], rules...)
	}
	return out
}

// allowances lists for each policy of a file the rules that comments let pass.
func allowances(text string) map[allowance][]string {
	tokens, err := layout.Scan(text)
	if err != nil {
		return nil
	}
	out := map[allowance][]string{}
	var now []string
	at, line := 0, 0
	for _, t := range tokens {
		if list, ok := strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(t.Text, "//")), "lint:allow "); ok && t.Kind == layout.Comment {
			now = append(now, strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' })...)
		}
		if line == 0 && t.Kind != layout.Comment {
			line = t.Line
		}
		if t.Kind == layout.Symbol && t.Text == ";" {
			out[allowance{at, line}] = now
			now, line = nil, 0
			at++
		}
	}
	return out
}

type checker struct {
	shadows *shadows
	scores  []string // that the schema names
	found   []Finding
}

// warn reports at the policy's head.
func (c *checker) warn(p *policy, rule, level, msg, hint string) {
	at := p.tree.Position
	c.at(p, rule, level, at.Line, at.Column, msg, hint)
}

func (c *checker) at(p *policy, rule, level string, line, column int, msg, hint string) {
	if !slices.Contains(p.allowed, rule) {
		c.found = append(c.found, Finding{rule, level, p.File, line, column, p.ID, "policy " + p.ID + ": " + msg, hint})
	}
}

func (c *checker) check(p *policy) {
	began := len(c.found)
	c.annotations(p)
	if !c.unreachable(p) {
		c.scope(p)
		c.pointless(p)
	}
	c.unguarded(p)
	c.unknownScore(p)
	slices.SortStableFunc(c.found[began:], func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

func (c *checker) annotations(p *policy) {
	if p.notes["id"] == "" {
		c.warn(p, MissingID, "warning", "it has no @id, and gets another when a policy is added before it", `write @id("a-name") before it`)
	}
	if p.notes["reason"] == "" && p.notes["hold"] == "" {
		c.warn(p, MissingReason, "note", "it has no @reason: who is refused, or asks why, learns nothing", `write @reason("...") before it`)
	}
}

// scope looks at how much a policy speaks of.
func (c *checker) scope(p *policy) {
	everything := isAll(p.tree.Principal) && isAll(p.tree.Action) && isAll(p.tree.Resource)
	switch {
	case everything && !p.Forbid:
		c.warn(p, Unscoped, "warning", "it permits, and its scope is everything", `name who, what or where: (principal in Team::"...", action in Action::"...", resource)`)
	case !p.Forbid && len(p.facts) == 0 && whole(p) && everybody(p.tree.Principal) && p.world.works():
		c.warn(p, Broad, "warning", "everybody may do this work, without any condition", "name who may, or ask for context.plan.inPlan")
	}
	if eq, ok := p.tree.Action.(ast.ScopeTypeEq); ok && eq.Entity.Type == "Action" && eq.Entity.ID == "call_tool" {
		c.warn(p, LocalOnly, "warning", "it is not about the tools of servers here: the action of each is its own, in Action::\"call_tool\"", `say action in Action::"call_tool", or name the tool's action, Action::"SERVER___TOOL"`)
	}
	moved := c.movable(p)
	if everything && p.Forbid && !moved {
		c.warn(p, Unindexable, "note", "its scope names nothing: every call evaluates it", "if it is about some calls only, name them in its scope")
	}
}

// movable finds conditions that the scope could say, where the index sees them.
func (c *checker) movable(p *policy) (found bool) {
	for _, f := range p.facts {
		v := scoped(f)
		free := v == "principal" && isAll(p.tree.Principal) || v == "action" && isAll(p.tree.Action) || v == "resource" && isAll(p.tree.Resource)
		if !free {
			continue
		}
		found = true
		c.at(p, Unindexable, "warning", f.at.Line, f.at.Column, "every call evaluates this: the index sees what the scope says, not conditions", "say it in the scope: ("+f.plain()+", ...)")
	}
	return found
}

// unreachable reports whether a policy can never apply.
func (c *checker) unreachable(p *policy) bool {
	for _, f := range p.facts {
		if p.world.fold(f.node) == verdictOf(!f.want) {
			c.at(p, Unreachable, "warning", f.at.Line, f.at.Column, "it can never apply: "+f.String()+" is never so here", "mend the condition or the scope, or take the policy out")
			return true
		}
	}
	if a, b, ok := contradiction(p.facts); ok {
		c.at(p, Unreachable, "warning", b.at.Line, b.at.Column, "it can never apply: "+a.String()+" and "+b.String()+" exclude each other", "mend one of the two, or take the policy out")
		return true
	}
	return false
}

// pointless reports what another policy makes of no effect.
func (c *checker) pointless(p *policy) {
	by := c.shadows.of(p)
	if by == nil {
		return
	}
	msg := "it makes no difference: " + by.Policy.Policy + " permits all that it permits"
	switch {
	case !p.Forbid && by.Forbid:
		msg = "it permits nothing: " + by.Policy.Policy + " forbids all that it permits"
	case p.Forbid:
		msg = "it makes no difference: " + by.Policy.Policy + " forbids all that it forbids"
	}
	c.warn(p, Shadowed, "warning", msg, "take one of them out, or say what sets them apart")
}
