package policies

import (
	"slices"

	"github.com/gatewright/gatewright/merkle"
)

// Decision is the answer to one Ask. Only Engine.Decide makes one that allows; the zero value refuses and covers nothing.
type Decision struct {
	engine *Engine
	print  uint64 // of the Ask
	outcome
	would *would // nil unless policies in shadow were asked, see mode.go
}

// Allowed reports whether the call may go on. For an Ask with ArgsKnown false it only says that some call could.
func (d Decision) Allowed() bool { return d.allowed }

// Held reports that the call is permitted, but that policies with @hold apply: it may go on once people have approved it
// (Ask.Approved), and not before. A held Decision is not Allowed.
func (d Decision) Held() bool { return d.more != nil && d.more.held }

// Holds lists the policies with @hold that a Held decision waits for or, when it is Allowed, that the approval answered.
func (d Decision) Holds() []Hold {
	if d.more == nil {
		return nil
	}
	var out []Hold
	for _, r := range d.more.holds {
		h := *r.hold
		h.Policy = r.label
		out = append(out, h)
	}
	return out
}

// Policies names the policies that determined the answer, each as "file.cedar:line id", in the order of the bundle, then
// those of overlays as "NAME:line id". None means that no policy permitted, or that the engine refused before it asked
// them: Errors tells. The slice must not be changed.
func (d Decision) Policies() []string {
	if d.more != nil {
		return labels(d.more.rules)
	}
	if len(d.reasons) == 1 {
		if r := d.engine.byLabel[string(d.reasons[0].PolicyID)]; r != nil {
			return r.single[:1:1]
		}
	}
	var out []string
	for _, r := range d.reasons {
		out = append(out, string(r.PolicyID))
	}
	return out
}

// Annotations gives the annotations of the policies of Policies, in the same order: @reason is meant for the caller.
func (d Decision) Annotations() []map[string]string {
	rules := d.more.determined()
	if d.more == nil {
		rules = d.engine.named(d.reasons)
	}
	var out []map[string]string
	for _, r := range rules {
		out = append(out, r.annotations())
	}
	return out
}

// Errors lists what could not be evaluated, whether or not it changed the answer.
func (d Decision) Errors() []string { return slices.Clone(d.errors) }

// Bundle is the digest of the bundle that answered.
func (d Decision) Bundle() merkle.Hash {
	if d.engine == nil {
		return merkle.Hash{}
	}
	return d.engine.digest
}

// Covers reports whether this decision answers exactly this Ask: every field, the principal's contents and the argument
// bytes included. A Decision made by another engine or process covers nothing.
func (d Decision) Covers(a *Ask) bool {
	if d.engine == nil || a == nil || a.Principal == nil {
		return false
	}
	seed := d.engine.seed
	return printAsk(seed, a, printPrincipal(seed, a.Principal)) == d.print
}
