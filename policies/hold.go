package policies

import (
	"maps"
	"slices"
	"strconv"

	cedar "github.com/cedar-policy/cedar-go"
)

// Hold is one policy that asks people before a call may go on: a forbid with the annotation @hold("why"), and beside it,
// if the policy says more than the gateway's settings do, @approvals("2") and @approver("admin").
type Hold struct {
	Policy    string // as Decision.Policies names it
	Why       string // what @hold says, for the caller and the approver
	Approver  string // the lowest role that may approve, "manager" or "admin"; "" leaves it to the settings
	Approvals int    // how many people must approve, from 1 to 16; 0 leaves it to the settings
}

// maxApprovals is the most people a policy may ask for.
const maxApprovals = 16

// annotationNames are those that mean something here and are long enough to be misspelt.
var annotationNames = []string{"reason", "hold", "approvals", "approver", "mode", "rate", "rate_by"}

// misspelt refuses annotations that are nearly one of ours: a forbid with @aprovals("2") would be content with one. Others
// are the author's, and travel as advice.
func (r *rule) misspelt() (problems Problems) {
	for _, name := range slices.Sorted(maps.Keys(r.annotations())) {
		if slices.Contains(annotationNames, name) {
			continue
		}
		if ours := closest(name, annotationNames); ours != "" {
			problems = append(problems, r.problem("@"+name, "unknown annotation @"+name, "did you mean @"+ours+"? Or name it otherwise: it would mean nothing"))
		}
	}
	return problems
}

// takeHold reads the annotations of a hold. What they say must be right: a slip would change who has to approve.
func (r *rule) takeHold() (problems Problems) {
	notes := r.annotations()
	why, has := notes["hold"]
	approvals, counted := notes["approvals"]
	approver, named := notes["approver"]
	refuse := func(word, msg, hint string) { problems = append(problems, r.problem(word, msg, hint)) }
	h := Hold{Why: why, Approver: approver}
	switch {
	case !has && counted:
		refuse("@approvals", "@approvals without @hold", `add @hold("why"), or a forbid denies and nobody is asked`)
	case !has && named:
		refuse("@approver", "@approver without @hold", `add @hold("why"), or a forbid denies and nobody is asked`)
	case has && !r.forbid:
		refuse("@hold", "@hold on a permit, which holds nothing", "put @hold on a forbid: it then holds what it would deny")
	case has && why == "":
		refuse("@hold", "@hold does not say why", `write @hold("what the approver is to decide")`)
	}
	if counted && !parseApprovals(approvals, &h.Approvals) {
		refuse("@approvals", "@approvals is not a whole number from 1 to 16", `as @approvals("2")`)
	}
	if named && approver != "manager" && approver != "admin" {
		refuse("@approver", "@approver is not a role that approves", `@approver("manager") or @approver("admin")`)
	}
	if has {
		r.hold = &h
	}
	return problems
}

// parseApprovals takes plain digits only.
func parseApprovals(text string, n *int) bool {
	v, err := strconv.Atoi(text)
	*n = v
	return err == nil && v >= 1 && v <= maxApprovals && strconv.Itoa(v) == text
}

// more is what policies with @hold and overlays add to an outcome. As one group of candidates leaves it, it has only the
// holds; settle makes the answer of it.
type more struct {
	held  bool    // permitted but for the holds
	holds []*rule // policies with @hold that apply
	caps  []*rule // forbids with @rate that apply
	rules []*rule // the policies that determined the answer
}

func (m *more) determined() []*rule {
	if m == nil {
		return nil
	}
	return m.rules
}

// merge joins the holds of two groups of one bundle.
func (m *more) merge(o *more) *more {
	if m == nil || o == nil {
		if m == nil {
			return o
		}
		return m
	}
	return &more{holds: inOrder(append(slices.Clip(m.holds), o.holds...)), caps: inOrder(append(slices.Clip(m.caps), o.caps...))}
}

// askHolds evaluates the policies with @hold of a group, and the forbids with @rate. One that cannot be evaluated denies like any forbid: nobody can
// approve what nobody could see.
func (e *Engine) askHolds(out *outcome, holds *group, v *view, request cedar.Request) {
	_, diag := holds.judge(v, request)
	if len(diag.Errors) > 0 {
		e.blame(out, diag.Errors)
	}
	e.hold(out, diag.Reasons)
}

// hold notes the policies with @hold, and the forbids with @rate, that apply.
func (e *Engine) hold(out *outcome, reasons []cedar.DiagnosticReason) {
	if len(reasons) > 0 {
		out.more = &more{}
		for _, r := range e.named(reasons) {
			if r.hold != nil {
				out.more.holds = append(out.more.holds, r)
			} else {
				out.more.caps = append(out.more.caps, r)
			}
		}
	}
}

// settle makes the answer of what the bundle says, of the holds and of the overlays. Forbidden by anyone is denied;
// permitted by nobody is denied; permitted and held waits for approval, or passes with one.
func (e *Engine) settle(a *Ask, v *view, out *outcome) error {
	var holds, caps []*rule
	if out.more != nil {
		holds, caps = slices.Clip(out.more.holds), out.more.caps
	}
	denied := !out.allowed
	against := slices.Clone(holds) // every policy that speaks against the call
	if denied {
		against = inOrder(append(against, e.named(out.reasons)...))
	}
	narrowed, err := narrow(a, v)
	if err != nil {
		return err
	}
	for _, n := range narrowed {
		denied = denied || n.denied
		holds = append(holds, n.holds...)
		against = append(against, n.rules...)
		out.errors = append(slices.Clip(out.errors), n.errors...)
	}
	m := &more{rules: against, caps: caps}
	switch {
	case !denied && (len(holds) == 0 || a.Approved):
		m.rules, m.holds = e.named(out.reasons), holds
	case !denied:
		m.held, m.holds = true, holds
	case a.Approved:
		m.rules = slices.DeleteFunc(against, func(r *rule) bool { return slices.Contains(holds, r) })
	}
	out.allowed, out.more = !denied && !m.held, m
	return nil
}

// named finds the rules that reasons of the bundle name.
func (e *Engine) named(reasons []cedar.DiagnosticReason) []*rule {
	var out []*rule
	for _, r := range reasons {
		out = append(out, e.byLabel[string(r.PolicyID)])
	}
	return out
}

// inOrder sorts rules of one bundle or overlay into its order, in place.
func inOrder(rules []*rule) []*rule {
	slices.SortFunc(rules, func(a, b *rule) int { return a.order - b.order })
	return rules
}

func labels(rules []*rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.label)
	}
	return out
}
