package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/merkle"
)

// Bounds of an overlay. Thousands live at once, one for each plan that has terms of its own, and each of their policies
// is looked at for every call.
const (
	maxOverlayBytes    = 64 << 10
	maxOverlayPolicies = 128
	maxOverlayName     = 128

	maxOverlayLikes     = 512      // patterns of like, in all policies
	maxOverlayLikeBytes = 16 << 10 // of their texts
)

// Overlay is policies that only narrow, laid over a tenant's bundle for the whole tenant or for one plan: a call is
// allowed if the bundle allows it and no overlay forbids it. It is immutable, safe for concurrent use, and knows no tools:
// in its context, input holds every top-level argument as a Json record (kind, text and typed views), whatever the tool's
// schema says, and inputNulls and undeclared do not exist. A forbid that cannot be evaluated denies, and so do overlays
// that could take more than some milliseconds for one decision (overlayBudget).
type Overlay struct {
	name   string
	digest merkle.Hash
	rules  []laid
	params []string // top-level arguments that some policy reads, sorted
	likes  int      // patterns that are searched for, each with a number below it
	whole  bool     // some policy reads the input as one value
}

// laid is a rule of an overlay with the keys of its scopes. There is no index: an overlay is short.
type laid struct {
	*rule
	principal, action, resource []scopeKey
}

var errNoOverlay = errors.New("an overlay is missing")

// CompileOverlay parses an overlay: forbid policies, with or without @hold, at least one. name stands before the line in
// what decisions list. Policies are not held against the schema of any tool, since an overlay outlives changes of the
// catalogue; but what it names and reads must exist in the words of default/schema.cedarschema. What is wrong comes back
// as Problems.
func CompileOverlay(name string, text []byte) (o *Overlay, err error) {
	defer func() {
		if r := recover(); r != nil {
			o, err = nil, fmt.Errorf("compile overlay: internal fault: %v", r)
		}
	}()
	if o, err = compileOverlay(name, string(text)); err != nil {
		return nil, fmt.Errorf("compile overlay %.140q: %w", name, err)
	}
	return o, nil
}

func compileOverlay(name, text string) (*Overlay, error) {
	switch {
	case name == "" || len(name) > maxOverlayName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return nil, fmt.Errorf("the name is empty, longer than %d bytes, or has control characters", maxOverlayName)
	case len(text) > maxOverlayBytes:
		return nil, fmt.Errorf("%d bytes; at most %d", len(text), maxOverlayBytes)
	}
	rules, problems := parseFile(name, text)
	if len(problems) > 0 {
		return nil, problems
	}
	if len(rules) == 0 || len(rules) > maxOverlayPolicies {
		return nil, fmt.Errorf("%d policies; from 1 to %d", len(rules), maxOverlayPolicies)
	}
	check, err := newOverlayCheck()
	if err != nil {
		return nil, err
	}
	// No name holds a control character, so the line feeds make the digest's input unambiguous.
	o := &Overlay{name: name, digest: merkle.LeafHash([]byte("gatewright/overlay/v1\n" + name + "\n" + text))}
	for i, r := range rules {
		r.order = i
		r.laid = true
		if r.shadow {
			problems = append(problems, r.problem("mode", "@mode in an overlay, which has no policies in shadow", "leave the policy out, or put it into the bundle"))
		}
		r.full.reads = readsOf(r.ast())
		problems = append(problems, check.rule(r)...)
		o.add(r)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return o, nil
}

// add takes a rule, without its source and without a guard: neither is needed again.
func (o *Overlay) add(r *rule) {
	r.full = *o.variant(r.full.policy)
	r.maybe, r.text = &r.full, ""
	if r.full.reads.fields&readUnknown != 0 {
		r.maybe = nil
		if p := bounded(r, readUnknown); p != nil {
			r.maybe = o.variant(p)
		}
	}
	tree := r.ast()
	o.rules = append(o.rules, laid{r, scopeKeys(tree.Principal), scopeKeys(tree.Action), scopeKeys(tree.Resource)})
	all := reads{params: o.params, whole: o.whole}.union(r.full.reads)
	o.params, o.whole = all.params, all.whole
}

// variant prepares a policy, and gives numbers to its searches.
func (o *Overlay) variant(p *cedar.Policy) *variant {
	v := variant{policy: p, reads: readsOf((*ast.Policy)(p.AST()))}
	v.run, v.searches = searched(p, o.likes)
	v.cost = costOf((*ast.Policy)(v.run.AST()))
	o.likes += len(v.searches)
	return &v
}

// Name is the name given to CompileOverlay.
func (o *Overlay) Name() string { return o.name }

// Digest names the overlay: equal name and text, equal digest. It is zero for nil.
func (o *Overlay) Digest() merkle.Hash {
	if o == nil {
		return merkle.Hash{}
	}
	return o.digest
}

// narrowing is what one overlay says about one call.
type narrowing struct {
	denied bool
	rules  []*rule // that forbid, hold, or could not be evaluated, in order
	holds  []*rule
	errors []string
}

// narrow asks every overlay, each about the same view of the arguments. All of them share one budget, so that no policy
// makes a call dear for others. An error says that they could not be asked, which refuses.
func narrow(a *Ask, v *view) ([]narrowing, error) {
	if len(a.Overlays) == 0 {
		return nil, nil
	}
	fitting, b, err := price(a, v)
	if err != nil {
		return nil, err
	}
	out := make([]narrowing, len(fitting))
	for i, o := range a.Overlays {
		if out[i], err = o.evaluate(a, v, &fitting[i], b); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return out, nil
}

// price finds the policies that could hold, and the most that they can take. Nothing is evaluated beyond the budget.
func price(a *Ask, v *view) (fitting []fit, b *bill, err error) {
	if slices.Contains(a.Overlays, nil) {
		return nil, nil, errNoOverlay
	}
	fitting = make([]fit, len(a.Overlays))
	var seen reads
	var readers []string
	for i, o := range a.Overlays {
		fitting[i] = o.fitting(v, !a.ArgsKnown)
		if fitting[i].reads.fields&readInput != 0 {
			seen, readers = seen.union(reads{params: o.params, whole: o.whole}), append(readers, o.name)
		}
	}
	b = &bill{sizes: sizesOf(a, v), left: overlayBudget}
	if len(readers) > 0 {
		if b.input, err = b.shown(a.Args, &seen); err != nil {
			return fitting, b, fmt.Errorf("%s: %w", strings.Join(readers, ", "), err)
		}
	}
	for i := range fitting {
		if err := b.charge(&fitting[i]); err != nil {
			return fitting, b, fmt.Errorf("%s: %w", a.Overlays[i].name, err)
		}
	}
	return fitting, b, nil
}

// evaluate asks the overlay, once it is paid for.
func (o *Overlay) evaluate(a *Ask, v *view, g *fit, b *bill) (n narrowing, err error) {
	if len(g.policies) == 0 {
		return n, nil
	}
	f, err := newFacts(a, g.reads.fields, v.caller.trust)
	if err != nil {
		return n, err
	}
	ctx := f.base(a)
	if g.reads.fields&readInput != 0 {
		ctx["input"] = b.input
	}
	if found, any := g.search(b.input); any {
		ctx[matched] = found
	}
	_, diag := cedar.Authorize(g, v, v.request(types.NewRecord(ctx)))
	for _, x := range diag.Errors {
		n.denied = true
		n.errors = append(n.errors, string(x.PolicyID)+": "+clip(x.Message))
		n.rules = append(n.rules, o.named(x.PolicyID))
	}
	for _, x := range diag.Reasons {
		r := o.named(x.PolicyID)
		n.rules = append(n.rules, r)
		if r.hold != nil {
			n.holds = append(n.holds, r)
			continue
		}
		n.denied = true
	}
	n.rules = inOrder(n.rules)
	return n, nil
}

// clip shortens what Cedar says, which can quote a whole argument.
func clip(msg string) string {
	const most = 256
	if len(msg) <= most {
		return msg
	}
	return strings.ToValidUTF8(msg[:most], "") + "..."
}

// fit is the policies of one overlay whose scopes could hold.
type fit struct {
	group
	forms []*variant
}

// search lists the patterns that match. any tells whether there are patterns at all.
func (f *fit) search(input types.Record) (found types.Set, any bool) {
	var numbers []types.Value
	for _, form := range f.forms {
		for i := range form.searches {
			any = true
			if s := &form.searches[i]; s.pattern.match(s.text(input)) {
				numbers = append(numbers, types.Long(s.id))
			}
		}
	}
	return types.NewSet(numbers...), any
}

// fitting gives the policies whose scopes could hold, holds among the others. What they read of the arguments is left to
// the overlay's own params.
func (o *Overlay) fitting(v *view, unknown bool) (f fit) {
	for i := range o.rules {
		r := &o.rules[i]
		form := &r.full
		if unknown {
			form = r.maybe
		}
		if form != nil && r.fits(v) {
			f.reads.fields |= form.reads.fields
			f.policies = append(f.policies, labeled{id: cedar.PolicyID(r.label), policy: form.run})
			f.forms = append(f.forms, form)
		}
	}
	return f
}

// fits may say yes too often, never no: Cedar evaluates the scopes again.
func (r *laid) fits(v *view) bool {
	return anyFits(r.principal, &v.caller.entity) && anyFits(r.action, &v.target.action) && anyFits(r.resource, &v.target.resource)
}

func anyFits(keys []scopeKey, e *types.Entity) bool {
	for _, k := range keys {
		switch {
		case !k.entity && (k.typ == "" || k.typ == e.UID.Type):
			return true
		case k.entity:
			if u := types.NewEntityUID(k.typ, k.id); u == e.UID || e.Parents.Contains(u) {
				return true
			}
		}
	}
	return false
}

// named finds a policy of the overlay. Labels are unique here, for ids are.
func (o *Overlay) named(id cedar.PolicyID) *rule {
	at := slices.IndexFunc(o.rules, func(r laid) bool { return r.label == string(id) })
	return o.rules[at].rule
}
