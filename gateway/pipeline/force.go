package pipeline

import (
	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/policies"
)

// Force is what a call is judged by: the policies and the filters of one revision of its tenant's bundle, as they were at one
// moment. What comes into force later is for calls that come later: filters of one revision and policies of another might
// give an answer that neither gives.
type Force struct {
	Taken   bool
	Engine  *policies.Engine // whose answer counts; nil refuses everything
	Shadow  *policies.Engine // the one that is tried beside it; may be nil
	Filters *place.Set       // kept open until the call has ended; nil before somebody took them
	Err     error            // why they cannot be had, which refuses a call that would have to pass them
}

// Engines gives the policy engine whose answer counts for a principal, one that refuses everything when the tenant has
// none, and the one that is tried beside it, if any. policies.Set is one.
type Engines interface {
	Choose(tenant string, p *policies.Principal) (enforced, shadow *policies.Engine)
}

// Revisions are Engines that know the filters that belong to them.
type Revisions interface {
	Engines
	Take(tenant string, p *policies.Principal) Force
}

// Take is what the call is judged by: what is in force when it is asked first, and the same ever after. The caller must be
// known.
func (c *Call) Take(from Engines) *Force {
	f := &c.Force
	if f.Taken {
		return f
	}
	if r, ok := from.(Revisions); ok {
		f.release()
		*f = r.Take(c.Caller.Tenant(), c.Caller.Principal())
	} else {
		f.Engine, f.Shadow = from.Choose(c.Caller.Tenant(), c.Caller.Principal())
	}
	f.Taken = true
	return f
}

// release lets the filters go.
func (f *Force) release() {
	set := f.Filters
	f.Filters = nil
	set.Release()
}
