package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/quota"
	"github.com/gatewright/gatewright/policies"
)

// Counters keeps what policies count, durably. *quota.Keeper is one.
type Counters interface {
	Enter(ctx context.Context, s quota.Session, tool string, now time.Time) (*quota.Place, quota.Seen, error)
	Look(ctx context.Context, s quota.Session, tool string, now time.Time) (quota.Seen, error)
	Take(ctx context.Context, tenant string, all, some []quota.Rate, now time.Time) (*quota.Place, time.Duration, error)
	Room(ctx context.Context, tenant string, all, some []quota.Rate, now time.Time) (time.Duration, error)
}

// Session counts work by its session, the plan or without one the agent, where a policy reads context.session: before
// filters and policy judge the call, so that of many at once each finds another count. What policies of the tenant do not
// read is not counted. On the way back it notes the labels that filters put on the result.
type Session struct {
	Policies Engines
	Counters Counters
	Origin   func(tenant, plan string) string // the plan that a plan grew out of, whose session it shares; nil: itself
}

// Name is "session".
func (Session) Name() string { return "session" }

// Check fills c.Session and takes the call's place.
func (s Session) Check(ctx context.Context, c *pipeline.Call) error {
	if c.Answer != nil && !c.Trial || !s.read(c) {
		return nil
	}
	if c.Again() {
		c.Session = c.Entered()
		return nil
	}
	of, tool := s.of(c), c.Server+"/"+c.Name
	if !c.Takes() {
		seen, err := s.Counters.Look(ctx, of, tool, c.Started)
		c.Session = facts(seen)
		return uncounted(err)
	}
	place, seen, err := s.Counters.Enter(ctx, of, tool, c.Started)
	if err != nil {
		return uncounted(err)
	}
	if ofTask(c) {
		c.Counted, c.Session = append(c.Counted, pipeline.Uncounted(place)), facts(seen)
		return nil
	}
	c.Counted = append(c.Counted, place)
	c.Session = facts(seen)
	return nil
}

// read tells whether any policy that is asked about the call reads the session.
func (s Session) read(c *pipeline.Call) bool {
	force := c.Take(s.Policies)
	return force.Engine.ReadsSession() || force.Shadow.ReadsSession() || slices.ContainsFunc(c.Overlays, (*policies.Overlay).ReadsSession)
}

// of is the session the call belongs to.
func (s Session) of(c *pipeline.Call) quota.Session {
	of := quota.Session{Tenant: c.Caller.Tenant(), Agent: c.Caller.Principal().ID}
	if ofTask(c) && c.Task.From.PlanID != "" {
		of.Plan, of.Ends = c.Task.From.PlanID, time.Unix(c.Task.From.PlanEnds, 0)
		if s.Origin != nil {
			of.Plan = s.Origin(of.Tenant, of.Plan)
		}
		return of
	}
	if p := c.Planned(); p.InPlan {
		of.Plan = p.ID
		if s.Origin != nil {
			of.Plan = s.Origin(of.Tenant, p.ID)
		}
		of.Ends = time.Unix(c.Grant.PlanExpires(), 0)
	}
	return of
}

func facts(s quota.Seen) policies.SessionFacts {
	return policies.SessionFacts{Known: true, Calls: s.Calls, ThisTool: s.Tool, Labels: s.Labels}
}

// CheckReply keeps the labels that are on the call by now, before its caller sees the reply. It runs behind the filters.
func (Session) CheckReply(ctx context.Context, c *pipeline.Call) error {
	for _, place := range c.Counted {
		if err := place.Keep(ctx, c.Labels); err != nil {
			return uncounted(err)
		}
	}
	return nil
}

// uncounted says what an error of the counters means to the caller: without a count nothing goes out.
func uncounted(err error) error {
	if errors.Is(err, quota.ErrFull) {
		d := pipeline.Deny(pipeline.RateLimited, "too much is being counted at once").Because(err)
		d.RetryAfter = time.Minute
		return d.WithReason("rate_limited counters")
	}
	if err != nil {
		return fmt.Errorf("count the call: %w", err)
	}
	return nil
}
