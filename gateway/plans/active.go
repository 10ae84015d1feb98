package plans

import "github.com/gatewright/gatewright/merkle/intent"

// Active lists the newest of the agent's own plans that may be worked on, at most n, each as it has grown.
func (r *Register) Active(who Owner, n int) []*intent.Held {
	now := r.deps.Now().Unix()
	var out []*intent.Held
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := r.owned[Owner{Tenant: who.Tenant, User: who.User, Agent: who.Agent}]
	for i := len(list) - 1; i >= 0 && len(out) < n; i-- {
		if e := list[i]; e.held != nil && e.row.Next == "" && e.row.state(now).Active() {
			out = append(out, e.held)
		}
	}
	return out
}
