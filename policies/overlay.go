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
	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of an overlay. Thousands live at once, one for each plan that has terms of its own, and each of their policies
// is looked at for every call.
const (
	maxOverlayBytes    = 64 << 10
	maxOverlayPolicies = 128
	maxOverlayName     = 128
)

// Overlay is policies that only narrow, laid over a tenant's bundle for the whole tenant or for one plan: a call is
// allowed if the bundle allows it and no overlay forbids it. It is immutable, safe for concurrent use, and knows no tools:
// in its context, input holds every top-level argument as a Json record (kind, text and typed views), whatever the tool's
// schema says, and inputNulls and undeclared do not exist. A forbid that cannot be evaluated denies.
type Overlay struct {
	name   string
	digest merkle.Hash
	rules  []laid
	params []string // top-level arguments that some policy reads, sorted
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
		r.full = variant{policy: r.full.policy, reads: readsOf(r.ast())}
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
	r.maybe, r.text = &r.full, ""
	if r.full.reads.fields&readUnknown != 0 {
		r.maybe = nil
		if p := bounded(r, readUnknown); p != nil {
			r.maybe = &variant{policy: p, reads: readsOf((*ast.Policy)(p.AST()))}
		}
	}
	tree := r.ast()
	o.rules = append(o.rules, laid{r, scopeKeys(tree.Principal), scopeKeys(tree.Action), scopeKeys(tree.Resource)})
	all := reads{params: o.params, whole: o.whole}.union(r.full.reads)
	o.params, o.whole = all.params, all.whole
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

// evaluate asks the overlay. An error says that it could not be asked, which refuses.
func (o *Overlay) evaluate(a *Ask, v *view) (n narrowing, err error) {
	if o == nil {
		return n, errNoOverlay
	}
	g := o.fitting(v, !a.ArgsKnown)
	if len(g.policies) == 0 {
		return n, nil
	}
	f, err := newFacts(a, g.reads.fields, v.caller.trust)
	if err != nil {
		return n, fmt.Errorf("%s: %w", o.name, err)
	}
	ctx := f.base(a.Labels)
	if g.reads.fields&readInput != 0 {
		if ctx["input"], err = o.input(a.Args); err != nil {
			return n, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	_, diag := cedar.Authorize(&g, v, v.request(types.NewRecord(ctx)))
	for _, x := range diag.Errors {
		n.denied = true
		n.errors = append(n.errors, string(x.PolicyID)+": "+x.Message)
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

// fitting gives the policies whose scopes could hold, holds among the others. What they read of the arguments is left to
// the overlay's own params.
func (o *Overlay) fitting(v *view, unknown bool) (g group) {
	for i := range o.rules {
		r := &o.rules[i]
		form := &r.full
		if unknown {
			form = r.maybe
		}
		if form != nil && r.fits(v) {
			g.reads.fields |= form.reads.fields
			g.policies = append(g.policies, labeled{cedar.PolicyID(r.label), form.policy})
		}
	}
	return g
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

// input shows the arguments that the overlay reads, each as a Json record.
func (o *Overlay) input(args []byte) (types.Value, error) {
	input := types.RecordMap{}
	if len(args) > 0 && canon.KindOf(args) != '{' {
		return nil, errNotObject
	}
	c := canon.NewCursor(args)
	for more := len(args) > 0 && c.Enter(); more; more = c.More() {
		key, value := c.Key(), c.Value()
		if !o.whole && !slices.Contains(o.params, string(key)) {
			continue
		}
		r := reader{path: []string{string(key)}}
		shown, err := r.json(value)
		if err != nil {
			return nil, err
		}
		input[types.String(key)] = shown
	}
	return types.NewRecord(input), nil
}
