package plans

import (
	"fmt"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

// share is what one agent has in the register. All of it is guarded by Register.mu. Time changes it when it is looked at;
// whatever else does is taken up at once.
type share struct {
	active map[*entry]struct{} // active, and being captured
	over   map[*entry]struct{} // ended, and to be kept
	looked int64               // unix seconds; when over was last looked through
}

// mostOver bounds the ended plans of one agent that have to be kept, so that none fills the gateway with them.
func (r *Register) mostOver() int { return max(r.cfg.PlansPerAgent, r.cfg.Plans/4) }

// count puts a plan to its agent's active ones, to the ended ones that have to be kept, or to neither. Register.mu is held.
func (r *Register) count(e *entry, now int64) {
	active, over := e.row.state(now).Active(), e.chain.free > now
	r.uncount(e)
	if !active && !over {
		return
	}
	mine := agentKey{e.tenant, e.row.Agent}
	s := r.agents[mine]
	if s == nil {
		s = &share{active: map[*entry]struct{}{}, over: map[*entry]struct{}{}}
		r.agents[mine] = s
	}
	if active {
		s.active[e] = struct{}{}
	} else {
		s.over[e] = struct{}{}
	}
}

// uncount gives the agent's place back. Register.mu is held.
func (r *Register) uncount(e *entry) {
	mine := agentKey{e.tenant, e.row.Agent}
	s := r.agents[mine]
	if s == nil {
		return
	}
	delete(s.active, e)
	delete(s.over, e)
	if len(s.active)+len(s.over) == 0 {
		delete(r.agents, mine)
	}
}

// within tells whether an agent may have another plan, by time as it is. Register.mu is held.
func (r *Register) within(mine agentKey, now int64) error {
	s := r.agents[mine]
	if s == nil || len(s.active) < r.cfg.PlansPerAgent && len(s.over) < r.mostOver() {
		return nil
	}
	first := r.look(s, now)
	switch {
	case len(s.active) >= r.cfg.PlansPerAgent:
		return limit("the agent has "+strconv.Itoa(len(s.active))+" active plans, and intent.max_plans is "+strconv.Itoa(r.cfg.PlansPerAgent)+"; "+ends(first)+
			"; ending a plan (completed, failed or revoked) frees its place at once, and whoever runs the gateway may raise intent.max_plans", "end plans that are done with")
	case len(s.over) >= r.mostOver():
		return limit("the agent has "+strconv.Itoa(len(s.over))+" ended plans that must be kept, because tokens for them have not expired or because they were revoked before their end, and "+
			strconv.Itoa(r.mostOver())+" are the most (the larger of intent.max_plans and a quarter of intent.max_all_plans); they free their places as their tokens expire, revoked ones as the plans expire; "+
			ends(first)+"; whoever runs the gateway may raise intent.max_all_plans", "ask for shorter lives of plans and tokens")
	}
	return nil
}

// look takes up what time has done to an agent's plans, and returns the unix second at which the first of its active ones
// ends; 0 when it has none. Register.mu is held.
func (r *Register) look(s *share, now int64) (first int64) {
	for e := range s.active {
		switch {
		case !e.row.state(now).Active():
			r.count(e, now)
		case first == 0 || e.row.Expires < first:
			first = e.row.Expires
		}
	}
	if s.looked == now {
		return first
	}
	s.looked = now
	for e := range s.over {
		r.count(e, now)
	}
	return first
}

// full is the refusal when no plan of the gateway can make room. It says nothing of others' plans.
func (r *Register) full(mine agentKey) error {
	now := r.deps.Now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	var first int64
	if s := r.agents[mine]; s != nil {
		first = r.look(s, now)
	}
	return limit("the gateway keeps "+strconv.Itoa(r.cfg.Plans)+" plans of all organisations, as many as intent.max_all_plans, and none that ended can make room yet; "+ends(first)+
		"; ending a plan frees its place once its tokens have expired, and whoever runs the gateway may raise intent.max_all_plans", "end plans that are done with")
}

func ends(first int64) string {
	if first == 0 {
		return "the agent has no active plan"
	}
	return "the oldest of the agent's active plans ends at " + unix(first).Format(time.RFC3339)
}

func limit(msg, hint string) error {
	return fmt.Errorf("%w: %w", ErrLimit, &intent.Error{Reason: intent.PlanInvalid, Msg: msg, Hint: hint})
}
