package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	schemaast "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// overlayCheck refuses what a policy of an overlay can never find: actions, types, attributes and parts of the context
// that do not exist. Cedar would let such a forbid never match, or always fail.
type overlayCheck struct {
	words *vocabulary
	ids   map[string]*rule
	likes int // patterns so far, and the bytes of their texts
	bytes int
	// Of the policy being checked:
	at        *rule
	resources []types.EntityType // that a matching request can have
	problems  Problems
}

// overlayWords is the schema that ships with the gateway, without tools.
var overlayWords = sync.OnceValues(func() (*vocabulary, error) {
	words, err := newVocabulary(Default())
	if err != nil {
		return nil, err
	}
	return words, words.addTools(nil)
})

func newOverlayCheck() (*overlayCheck, error) {
	words, err := overlayWords()
	return &overlayCheck{words: words, ids: map[string]*rule{}}, err
}

func (c *overlayCheck) refuse(word, msg, hint string) {
	c.problems = append(c.problems, c.at.problem(word, msg, hint))
}

// rule checks one policy.
func (c *overlayCheck) rule(r *rule) Problems {
	c.at, c.problems, c.resources = r, nil, c.resourceTypes(r.ast())
	if !r.forbid {
		c.refuse("permit", "an overlay only narrows, and a permit would not", "write forbid ... unless { ... } instead")
	}
	if first := c.ids[r.id]; first != nil {
		c.refuse(r.id, "the id is taken by "+first.label, "ids are unique in an overlay")
	}
	c.ids[r.id] = r
	if r.rate != nil {
		c.refuse("@rate", "an overlay has no rates", "put the policy into the bundle")
	}
	c.scopes()
	words := checker{words: c.words}
	c.problems = append(c.problems, words.enums(r)...)
	c.problems = append(c.problems, words.strays(r)...)
	c.problems = append(c.problems, reach(r)...)
	literals(r.ast(), c.literal)
	for _, cond := range r.ast().Conditions {
		c.reads(cond.Body)
	}
	c.patterns()
	return c.problems
}

// scopes checks the names in the scopes.
func (c *overlayCheck) scopes() {
	tree := c.at.ast()
	for _, uid := range scopeActions(tree) {
		c.literal(uid)
	}
	principal := scopeKeys(tree.Principal)
	for _, k := range append(principal, scopeKeys(tree.Resource)...) {
		if k.typ != "" {
			c.typ(k.typ)
		}
	}
	if typ := principal[0].typ; !slices.Contains(callers(tree.Principal), typ) {
		c.refuse(string(typ), fmt.Sprintf("a principal is never a %s", typ), "is Agent or User, in a Team, a Role or an Organization")
	}
	if len(c.resources) == 0 {
		c.refuse("", "no action goes with this resource", "check the two against each other")
	}
}

// callers lists the types that a scope of the principal can name and ever match.
func callers(scope ast.IsScopeNode) []types.EntityType {
	switch s := scope.(type) {
	case ast.ScopeTypeIn:
		return []types.EntityType{"Agent", "User", "Team", "Role", "Organization"}
	case ast.ScopeTypeIsIn:
		if s.Type != "Agent" && s.Type != "User" {
			return nil
		}
		return callers(ast.ScopeTypeIn{})
	}
	return []types.EntityType{"", "Agent", "User"}
}

func (c *overlayCheck) literal(uid types.EntityUID) {
	if len(c.problems) >= maxProblems {
		return
	}
	if uid.Type == "Action" {
		c.action(uid)
		return
	}
	c.typ(uid.Type)
}

// action accepts the gateway's own actions and whatever could be a tool's.
func (c *overlayCheck) action(uid types.EntityUID) {
	if _, ok := c.words.full.Actions[uid]; ok || uid.Type == "Action" && toolOp(uid) != "" {
		return
	}
	words := checker{words: c.words}
	c.refuse(string(uid.ID), fmt.Sprintf("unrecognized action %s", uid), didYouMean(string(uid.ID), words.actionNames()))
}

func (c *overlayCheck) typ(name types.EntityType) {
	_, entity := c.words.full.Entities[name]
	_, enum := c.words.full.Enums[name]
	if !entity && !enum && name != "Action" {
		words := checker{words: c.words}
		c.refuse(string(name), fmt.Sprintf("unrecognized entity type %s", name), didYouMean(string(name), words.typeNames()))
	}
}

// resourceTypes lists the types that the resource of a request can have, given the scopes of a policy.
func (c *overlayCheck) resourceTypes(p *ast.Policy) []types.EntityType {
	found := map[types.EntityType]bool{}
	for uid := range c.words.full.Actions {
		if c.inScope(p, uid) {
			for _, t := range c.words.resourceTypes(string(uid.ID)) {
				found[t] = true
			}
		}
	}
	for _, uid := range scopeActions(p) {
		if op := toolOp(uid); op != "" {
			found[c.words.resourceTypes(op)[0]] = true
		}
	}
	only := scopeKeys(p.Resource)[0]
	if in, ok := p.Resource.(ast.ScopeTypeIsIn); ok {
		only = scopeKey{typ: in.Type}
	} else if _, ok := p.Resource.(ast.ScopeTypeIn); ok {
		only = scopeKey{}
	}
	maps.DeleteFunc(found, func(t types.EntityType, _ bool) bool { return only.typ != "" && t != only.typ })
	return slices.Sorted(maps.Keys(found))
}

// inScope reports whether one of the gateway's own actions fits the scope of a policy.
func (c *overlayCheck) inScope(p *ast.Policy, action types.EntityUID) bool {
	scope := scopeActions(p)
	if scope == nil {
		return true
	}
	_, exact := p.Action.(ast.ScopeTypeEq)
	return slices.Contains(scope, action) ||
		!exact && slices.ContainsFunc(c.words.parents[action], func(g types.EntityUID) bool { return slices.Contains(scope, g) })
}

// toolOp gives the operation that the action of a tool belongs to; "" for any other action.
func toolOp(action types.EntityUID) string {
	name := string(action.ID)
	switch {
	case !strings.Contains(name, "___"):
		return ""
	case strings.HasPrefix(name, "resource:"):
		return opRead
	case strings.HasPrefix(name, "prompt:"):
		return opPrompt
	}
	return opCall
}

// reads checks every place of the principal, the resource and the context that a condition looks at.
func (c *overlayCheck) reads(n ast.IsNode) {
	if len(c.problems) >= maxProblems {
		return // each is looked for in the text
	}
	switch root, path := chain(n); root {
	case "context":
		c.context(path)
		return
	case "principal":
		c.attribute("principal", path, []types.EntityType{"Agent", "User"})
		return
	case "resource":
		c.attribute("resource", path, c.resources)
		return
	case "action":
		c.attribute("action", path, nil)
		return
	}
	switch n.(type) {
	case ast.NodeTypeHasTag, ast.NodeTypeGetTag:
		c.refuse("", "nothing has tags here", "")
	}
	kids, known := children(n)
	if !known {
		c.refuse("", "a condition that this version does not understand", "")
	}
	for _, k := range kids {
		c.reads(k)
	}
}

// attribute checks a path below an entity that can be of any of the types.
func (c *overlayCheck) attribute(root string, path []types.String, of []types.EntityType) {
	if len(path) == 0 {
		return
	}
	var names []string
	for _, t := range of {
		names = appendKeys(names, c.words.base.Entities[schemaast.Ident(t)].Shape)
	}
	word := string(path[0])
	if !slices.Contains(names, word) {
		c.refuse(word, fmt.Sprintf("%s.%s cannot be there", root, word), didYouMean(word, names))
		return
	}
	if len(path) > 1 {
		c.refuse(string(path[1]), fmt.Sprintf("%s.%s has no attributes here", root, word), "")
	}
}

// context checks a path below the context.
func (c *overlayCheck) context(path []types.String) {
	if len(path) == 0 {
		c.refuse("context", "the context is read as a whole", "name what you need of it")
		return
	}
	switch word := string(path[0]); word {
	case "input":
		c.input(path[1:])
	case "inputNulls", "undeclared":
		c.refuse(word, fmt.Sprintf("context.%s does not exist in an overlay", word), "context.input shows every argument, and each has a kind")
	default:
		c.leaf(path)
	}
}

// leaf checks a path against those that exist. A path may stop early, at a record; it may not go on.
func (c *overlayCheck) leaf(path []types.String) {
	words := make([]string, len(path))
	for i, p := range path {
		words[i] = string(p)
	}
	name := strings.Join(words, ".")
	var names []string
	dotted := slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, ".") }) // one word, not two
	for leaf, bit := range contextPaths {
		if !dotted && (leaf == name || strings.HasPrefix(leaf, name+".")) {
			c.phase(words, bit)
			return
		}
		names = append(names, strings.Split(leaf, ".")...)
	}
	slices.Sort(names)
	last := words[len(words)-1]
	c.refuse(last, fmt.Sprintf("context.%s cannot be there", name), didYouMean(last, slices.Compact(names)))
}

// phase refuses what only work has where other actions can be meant. It is said once for a policy: the leaves below a path
// come in no order.
func (c *overlayCheck) phase(path []string, bit field) {
	if len(path) == 1 && path[0] == "filters" || bit&(readSession|readApproval|readScore|readScores) == 0 || c.work() {
		return
	}
	word := path[len(path)-1]
	c.refuse(word, fmt.Sprintf("context.%s is there for work only", strings.Join(path, ".")), `say action in Action::"work" in the scope`)
}

// input checks a path below context.input: an argument of any name, then the words of a Json record.
func (c *overlayCheck) input(path []types.String) {
	if !c.work() {
		c.refuse("input", "only work has arguments", `say action in Action::"call_tool" in the scope`)
	}
	if len(path) < 2 {
		return
	}
	rec, _ := c.words.base.CommonTypes["Json"].Type.(schemaast.RecordType)
	names := appendKeys(nil, rec)
	word := string(path[1])
	if !slices.Contains(names, word) {
		c.refuse(word, fmt.Sprintf("an argument is a Json record here, which has no %s", word), didYouMean(word, names))
	} else if len(path) > 2 {
		c.refuse(string(path[2]), fmt.Sprintf("%s of a Json record has no attributes", word), "")
	}
}

// work reports whether the policy only ever meets actions that have arguments.
func (c *overlayCheck) work() bool {
	scope, work := scopeActions(c.at.ast()), actionUID("work")
	return len(scope) > 0 && !slices.ContainsFunc(scope, func(uid types.EntityUID) bool {
		return uid != work && !slices.Contains(c.words.parents[uid], work) && toolOp(uid) == ""
	})
}

// patterns bounds the patterns of an overlay: each is held against a text of the caller's.
func (c *overlayCheck) patterns() {
	within := c.likes <= maxOverlayLikes && c.bytes <= maxOverlayLikeBytes
	for _, cond := range c.at.ast().Conditions {
		c.count(cond.Body)
	}
	switch cost := costOf(c.at.ast()); {
	case within && c.likes > maxOverlayLikes:
		c.refuse("like", fmt.Sprintf("more than %d patterns", maxOverlayLikes), "shorten the lists")
	case within && c.bytes > maxOverlayLikeBytes:
		c.refuse("like", fmt.Sprintf("more than %d bytes of patterns", maxOverlayLikeBytes), "shorten the patterns")
	case cost.fixed > overlayBudget:
		c.refuse("", "the policy costs too much for arguments of any size", "shorten its lists")
	}
}

// count takes the patterns below n.
func (c *overlayCheck) count(n ast.IsNode) {
	if v, ok := n.(ast.NodeTypeLike); ok {
		c.likes++
		c.bytes += patternOf(v.Value).bytes()
	}
	kids, _ := children(n)
	for _, k := range kids {
		c.count(k)
	}
}
