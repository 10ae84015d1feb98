package policies

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	schemaast "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// checker validates the policies of one bundle. The validator's cost per policy grows with the actions in its schema, and
// there is an action per tool; so each policy is checked against the smallest schema that gives the same verdict, and
// policies that need the same one share it.
type checker struct {
	words      *vocabulary
	tools      []*tool
	validators map[string]*validate.Validator
	suggested  int

	actions  map[*validate.Validator]map[types.EntityUID]resolved.Action // in a validator's schema
	byAction map[types.EntityUID]*tool
	sizes    map[types.EntityUID]int // of the tools' arguments, in types
	spent    int                     // units of compileBudget
}

func newChecker(words *vocabulary, tools []*tool) *checker {
	return &checker{words: words, tools: tools, validators: map[string]*validate.Validator{}, actions: map[*validate.Validator]map[types.EntityUID]resolved.Action{}}
}

// check validates one rule strictly and reports what is wrong at its place.
func (c *checker) check(r *rule) Problems {
	problems := append(append(reach(r), c.enums(r)...), c.strays(r)...)
	err := c.validator(r).Policy(r.id, r.ast())
	if err == nil {
		return problems
	}
	type place struct {
		line, column int
		hint         string
	}
	seen := map[place]bool{}
	for _, e := range flatten(err) {
		// The validator repeats itself for every kind of principal and every tool; the first is enough.
		p := c.explain(r, e)
		if at := (place{p.Line, p.Column, p.Hint}); !seen[at] {
			seen[at] = true
			problems = append(problems, p)
		}
		if len(problems) > maxFound {
			break
		}
	}
	return problems
}

// enums refuses values that an enumeration does not have, which cedar-go lets pass: a slip in a forbid would make it a
// rule that never matches.
func (c *checker) enums(r *rule) (problems Problems) {
	literals(r.ast(), func(uid types.EntityUID) {
		enum, ok := c.words.full.Enums[uid.Type]
		if !ok || slices.Contains(enum.Values, uid) {
			return
		}
		names := make([]string, len(enum.Values))
		for i, v := range enum.Values {
			names[i] = string(v.ID)
		}
		hint := didYouMean(string(uid.ID), names)
		if hint == "" {
			hint = "one of " + strings.Join(names, ", ")
		}
		problems = append(problems, r.problem(string(uid.ID), fmt.Sprintf("%s is not a value of its enumeration", uid), hint))
	})
	return problems
}

// literals calls fn for every entity a condition names.
func literals(p *ast.Policy, fn func(types.EntityUID)) {
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				eachEntity(v.Value, fn)
			}
			return true
		})
	}
}

func eachEntity(v types.Value, fn func(types.EntityUID)) {
	switch x := v.(type) {
	case types.EntityUID:
		fn(x)
	case types.Set:
		for e := range x.All() {
			eachEntity(e, fn)
		}
	case types.Record:
		for e := range x.Values() {
			eachEntity(e, fn)
		}
	}
}

func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) // errors.Join has this shape
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

// validator picks the schema for a rule.
func (c *checker) validator(r *rule) *validate.Validator {
	scope := scopeActions(r.ast())
	eq, single := r.ast().Action.(ast.ScopeTypeEq)
	mentioned := mentionedActions(r.ast())
	if single && len(mentioned) == 0 {
		only := c.pick([]types.EntityUID{eq.Entity})
		return c.cached("== "+eq.Entity.String(), func(map[types.EntityUID]resolved.Action) {}, only)
	}
	key := fmt.Sprint("in ", scope, "\x00", mentioned, "\x00")
	var distinct []*tool
	if r.full.reads.fields&readInput != 0 || len(mentioned) > 0 {
		key += fmt.Sprint(r.full.reads.whole, "\x00", strings.Join(r.full.reads.params, "\x00"))
		if v, ok := c.validators[key]; ok {
			return v
		}
		distinct = c.distinct(r.full.reads, mentioned)
	}
	return c.cached(key, func(actions map[types.EntityUID]resolved.Action) {
		for _, t := range distinct {
			maps.Copy(actions, c.pick([]types.EntityUID{t.action}))
		}
		maps.Copy(actions, c.pick(mentioned))
		maps.Copy(actions, c.pick(scope))
		c.outside(actions, scope)
	}, c.words.fixed.Actions)
}

// outside leaves of the actions that a scope does not reach only their places in the hierarchy: the validator prepares the
// context of each action it sees for each policy again, and then looks at those in the scope.
func (c *checker) outside(actions map[types.EntityUID]resolved.Action, scope []types.EntityUID) {
	if len(scope) == 0 {
		return
	}
	for uid, a := range actions {
		if !slices.Contains(scope, uid) && !slices.ContainsFunc(c.words.parents[uid], func(p types.EntityUID) bool { return slices.Contains(scope, p) }) {
			a.AppliesTo = nil
			actions[uid] = a
		}
	}
}

// cached makes the validator of a key, over base and what more adds.
func (c *checker) cached(key string, more func(map[types.EntityUID]resolved.Action), base map[types.EntityUID]resolved.Action) *validate.Validator {
	if v, ok := c.validators[key]; ok {
		return v
	}
	s := *c.words.full
	s.Actions = maps.Clone(base)
	more(s.Actions)
	v := validate.New(&s, validate.WithStrict())
	c.validators[key], c.actions[v] = v, s.Actions
	return v
}

func (c *checker) pick(uids []types.EntityUID) map[types.EntityUID]resolved.Action {
	out := map[types.EntityUID]resolved.Action{}
	for _, u := range uids {
		if a, ok := c.words.full.Actions[u]; ok {
			out[u] = a
		}
	}
	return out
}

// distinct gives one tool for each way in which the arguments that are read can be typed. Tools that agree on those types
// cannot differ in the verdict, but for those whose own action is mentioned, which are passed over here.
func (c *checker) distinct(r reads, mentioned []types.EntityUID) []*tool {
	seen := map[string]bool{}
	var out []*tool
	for _, t := range c.tools {
		if slices.Contains(mentioned, t.action) {
			continue
		}
		var sig strings.Builder
		sig.WriteString(t.op + "\x00")
		if r.whole {
			sig.WriteString(t.input.signature())
		}
		for _, name := range r.params {
			if m := t.input.member([]byte(name)); m != nil {
				sig.WriteString(fmt.Sprint(m.required && !m.nullable, m.shape.signature()))
			}
			sig.WriteString(";")
		}
		if !seen[sig.String()] {
			seen[sig.String()] = true
			out = append(out, t)
		}
	}
	return out
}

// scopeActions lists the actions a policy's scope names.
func scopeActions(p *ast.Policy) []types.EntityUID {
	switch s := p.Action.(type) {
	case ast.ScopeTypeEq:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		return s.Entities
	}
	return nil
}

// mentionedActions lists the actions that conditions name, sorted: their places in the hierarchy then matter.
func mentionedActions(p *ast.Policy) (found []types.EntityUID) {
	literals(p, func(uid types.EntityUID) {
		if uid.Type == "Action" {
			found = append(found, uid)
		}
	})
	slices.SortFunc(found, func(a, b types.EntityUID) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return slices.Compact(found)
}

// reach refuses conditions that look into entities the engine does not load. Cedar would call them absent, and a forbid
// that asks for the teams of context.onBehalfOf would silently never match.
func reach(r *rule) (problems Problems) {
	refuse := func(n ast.IsNode) {
		if word, name := foreign(n); name != "" {
			problems = append(problems, r.problem(word, name+" can only be compared: its attributes and groups are not known here",
				"use == or principal's own attributes and groups"))
		}
	}
	for _, c := range r.ast().Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch v := n.(type) {
			case ast.NodeTypeAccess:
				refuse(v.Arg)
			case ast.NodeTypeHas:
				refuse(v.Arg)
			case ast.NodeTypeHasTag:
				refuse(v.Left)
			case ast.NodeTypeGetTag:
				refuse(v.Left)
			case ast.NodeTypeIn:
				refuse(v.Left)
			case ast.NodeTypeIsIn:
				refuse(v.Left)
			}
			return true
		})
	}
	return problems
}

// foreign names an entity that is neither the caller, the action nor the resource; "" for anything else.
func foreign(n ast.IsNode) (word, name string) {
	if v, ok := n.(ast.NodeValue); ok {
		if uid, ok := v.Value.(types.EntityUID); ok && uid.Type != "Action" {
			return string(uid.ID), uid.String()
		}
	}
	if _, has := n.(ast.NodeTypeHas); has {
		return "", ""
	}
	root, path := chain(n)
	switch {
	case len(path) != 1:
	case root == "principal" && path[0] == "owner":
		return "owner", "principal.owner"
	case root == "context" && path[0] == "onBehalfOf":
		return "onBehalfOf", "context.onBehalfOf"
	}
	return "", ""
}

var (
	quotedName = regexp.MustCompile("`([^`]+)`")
	actionName = regexp.MustCompile(`Action::"([^"]*)"`)
)

// explain turns a validator message into a problem with a place and a hint.
func (c *checker) explain(r *rule, err error) Problem {
	msg := strings.TrimPrefix(err.Error(), fmt.Sprintf("for policy `%s`, ", r.id))
	word, hint := "", ""
	if m := quotedName.FindStringSubmatch(msg); m != nil {
		word = m[1]
	}
	switch {
	case strings.HasPrefix(msg, "unrecognized action"):
		if m := actionName.FindStringSubmatch(msg); m != nil {
			word = m[1]
		}
		hint = c.suggest(word, c.actionNames)
	case strings.HasPrefix(msg, "unrecognized entity type"):
		hint = c.suggest(word, c.typeNames)
	case strings.HasPrefix(msg, "attribute"):
		word = word[strings.LastIndexByte(word, '.')+1:]
		hint = c.suggest(word, c.attributeNames)
		if readsScore(r, word) {
			hint = c.scoreHint(word)
		} else if what, only := ofWork[word]; only {
			hint = "only work " + what + `: name the action, or say action in Action::"work"`
		} else if t := c.named(r.ast().Resource); t != nil && t.input.member([]byte(word)) != nil {
			hint = "a tool's own action has its arguments: say action == " + t.action.String()
		}
	case strings.Contains(msg, "optional attribute"):
		word = word[strings.LastIndexByte(word, '.')+1:]
		hint = "it may be absent: ask `has " + word + "` first"
	case strings.Contains(msg, "applicable action"):
		word, hint = "", "no action goes with this principal and this resource: check the three against each other"
	}
	return r.problem(word, msg, hint)
}

// named is the tool that a policy's scope names, or nil.
func (c *checker) named(resource ast.IsResourceScopeNode) *tool {
	eq, ok := resource.(ast.ScopeTypeEq)
	if !ok {
		return nil
	}
	for _, t := range c.tools {
		if t.entity.UID == eq.Entity {
			return t
		}
	}
	return nil
}

// ofWork says of each attribute that only work has why no other action has it.
var ofWork = map[string]string{
	"input": "has arguments", "inputNulls": "has arguments", "undeclared": "has arguments",
	"session": "has a session", "score": "has scores", "scores": "has scores", "approval": "can be approved",
}

// suggest names the nearest, as long as anybody will read it: all names of a tenant's tools are looked at.
func (c *checker) suggest(word string, names func() []string) string {
	if c.suggested++; c.suggested > maxProblems {
		return ""
	}
	return didYouMean(word, names())
}

func didYouMean(word string, names []string) string {
	if c := closest(word, names); c != "" {
		return "did you mean " + c + "?"
	}
	return ""
}

func (c *checker) actionNames() (names []string) {
	for uid := range c.words.full.Actions {
		names = append(names, string(uid.ID))
	}
	slices.Sort(names)
	return names
}

func (c *checker) typeNames() (names []string) {
	for n := range c.words.full.Entities {
		names = append(names, string(n))
	}
	for n := range c.words.full.Enums {
		names = append(names, string(n))
	}
	slices.Sort(names)
	return names
}

// attributeNames lists every attribute of the base schema and every argument of every tool.
func (c *checker) attributeNames() (names []string) {
	for _, e := range c.words.base.Entities {
		names = appendKeys(names, e.Shape)
	}
	for _, t := range c.words.base.CommonTypes {
		if rec, ok := t.Type.(schemaast.RecordType); ok {
			names = appendKeys(names, rec)
		}
	}
	for _, t := range c.tools {
		for _, m := range t.input.fields {
			names = append(names, m.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func appendKeys(names []string, rec schemaast.RecordType) []string {
	for k := range rec {
		names = append(names, string(k))
	}
	return names
}
