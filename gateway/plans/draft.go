package plans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Draft is a plan that another dialect's reader has built.
type Draft struct {
	// Plan is not sealed, and has no tenant, user or agent: those are the owner's. It is not changed.
	Plan *intent.Plan
	// AllowLocal lets steps in whose server or tool the tenant does not have, as steps that are enforced and
	// never forwarded. Otherwise they are refused, and so are steps that are marked local already.
	AllowLocal bool
	// TTL is the life asked for; 0 takes the configured one, to which it is cut.
	TTL time.Duration
}

// growth is how many times larger than a draft's bound a sealed plan may be: sealing adds salts and schemas.
const growth = 4

// CapturePlan is Capture for a plan that was read already, with the same checks against the tenant's tools and the
// same bound of steps. Sealed, it may have four times Config.DraftBytes, and at most 3 MiB.
func (r *Register) CapturePlan(ctx context.Context, who Owner, d Draft) (Captured, error) {
	if err := who.check(); err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	p, err := r.adopt(who, d)
	if err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	s, err := r.sealDraft(p)
	if err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	return r.capture(ctx, who, s, r.planTTL(d.TTL))
}

// adopt copies a draft's plan and binds it to its owner and the tenant's tools.
func (r *Register) adopt(who Owner, d Draft) (*intent.Plan, error) {
	if err := r.checkDraft(&d); err != nil {
		return nil, err
	}
	p := *d.Plan
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Local && !d.AllowLocal {
			return nil, &intent.Error{Reason: intent.PlanInvalid, Pointer: "/steps/" + strconv.Itoa(i), Msg: "a step cannot be local here"}
		}
		s.Schema, s.Salt = merkle.Hash{}, ""
	}
	return &p, r.bind(who, &p, d.AllowLocal)
}

func (r *Register) checkDraft(d *Draft) error {
	invalid := func(at, msg string) error {
		return &intent.Error{Reason: intent.PlanInvalid, Pointer: at, Msg: msg}
	}
	switch p := d.Plan; {
	case p == nil:
		return invalid("", "there is no plan")
	case d.TTL < 0 || d.TTL > 0 && d.TTL < time.Second:
		return invalid("", "a plan lives at least a second")
	case p.Nonce != "" || p.Tenant != "" || p.User != "" || p.Agent != "":
		return invalid("", "whose a plan is says the credential, and its nonce is made here")
	case len(p.Steps) > r.cfg.Steps:
		return invalid("/steps", "more than "+strconv.Itoa(r.cfg.Steps)+" steps")
	}
	return nil
}

func (r *Register) planTTL(asked time.Duration) time.Duration {
	if asked == 0 {
		return r.cfg.PlanTTL
	}
	return min(asked, r.cfg.PlanTTL)
}

// sealDraft seals a plan that no parser has bounded. What is held is read back from what is kept, so it shares
// nothing with the draft, and a start will be able to read it too.
func (r *Register) sealDraft(p *intent.Plan) (sealed, error) {
	if err := p.Seal(r.deps.Rand); err != nil {
		return sealed{}, err
	}
	body := p.AppendJSON(nil)
	if most := min(maxBody, growth*r.cfg.DraftBytes); len(body) > most {
		return sealed{}, &intent.Error{Reason: intent.PlanInvalid, Msg: "the sealed plan is larger than " + strconv.Itoa(most) + " bytes", Hint: "split the plan"}
	}
	again, err := intent.ParsePlan(body)
	if err != nil {
		return sealed{}, err
	}
	h, err := intent.NewHeld(again)
	if err != nil {
		return sealed{}, err
	}
	if h.Hash() != p.Hash() {
		return sealed{}, errors.New("a sealed plan does not read back as it was written")
	}
	return sealed{h, body}, nil
}

// maxFind bounds the plans and steps Find looks at.
const maxFind = 1 << 16

// Find returns the newest active plan of this agent and user that has a step for the tool, and the first such step;
// of re-anchored plans the last of the chain. It looks at a bounded number of steps, newest plans first, and
// answers from memory.
func (r *Register) Find(who Owner, op, server, tool string) (planID string, step int, ok bool) {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	list, left := r.owned[Owner{Tenant: who.Tenant, User: who.User, Agent: who.Agent}], maxFind
	for i := len(list) - 1; i >= 0 && left > 0; i-- {
		left--
		e := list[i]
		if e.held == nil || e.row.Next != "" || !e.row.state(now).Active() {
			continue
		}
		steps := e.held.Plan().Steps
		steps = steps[:min(left, len(steps))]
		left -= len(steps)
		at := slices.IndexFunc(steps, func(s intent.Step) bool { return s.Tool == tool && s.Server == server && s.Op == op })
		if at >= 0 {
			return e.row.ID, at, true
		}
	}
	return "", 0, false
}
