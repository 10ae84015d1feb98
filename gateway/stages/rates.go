package stages

import (
	"context"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/quota"
	"github.com/gatewright/gatewright/policies"
)

// Rates holds an allowed call to the rates of the policies that allow it or would forbid it, and makes durable every place
// that the call has taken by then. It is the last stage: what it lets pass goes out. A trial takes nothing.
type Rates struct {
	Counters Counters
}

// Name is "rates".
func (Rates) Name() string { return "rates" }

// Check counts the call, or refuses it with the time until there is room.
func (s Rates) Check(ctx context.Context, c *pipeline.Call) error {
	if c.Answer != nil && !c.Trial || c.Again() {
		return nil
	}
	if rates := c.Decision.Rates(); len(rates) > 0 {
		if err := s.take(ctx, c, rates); err != nil {
			return err
		}
	}
	for _, place := range c.Counted {
		if err := place.Keep(ctx, c.Labels); err != nil {
			return uncounted(err)
		}
	}
	return nil
}

func (s Rates) take(ctx context.Context, c *pipeline.Call, rates []policies.Rate) error {
	var all, some []quota.Rate
	for _, r := range rates {
		q := quota.Rate{Key: rateKey(c, &r), Max: r.Max, Per: r.Per}
		if r.Cap {
			all = append(all, q)
		} else {
			some = append(some, q)
		}
	}
	tenant := c.Caller.Tenant()
	var place *quota.Place
	var wait time.Duration
	var err error
	if c.Takes() {
		place, wait, err = s.Counters.Take(ctx, tenant, all, some, c.Started)
	} else {
		wait, err = s.Counters.Room(ctx, tenant, all, some, c.Started)
	}
	switch {
	case err != nil:
		return uncounted(err)
	case wait > 0:
		d := pipeline.Deny(pipeline.RateLimited, "policy allows no more of these calls for "+ceil(wait).String())
		d.RetryAfter = max(wait, time.Second)
		d.Policy = rates[0].ID
		return d.WithReason("rate_limited policy " + rates[0].Policy)
	case place != nil:
		c.Counted = append(c.Counted, place)
	}
	return nil
}

func ceil(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// rateKey names what a rate counts together. The policy's text is not part of it: a rate that was changed goes on counting
// unless its span is another.
func rateKey(c *pipeline.Call, r *policies.Rate) string {
	key := strconv.Quote(r.ID) + r.By
	switch r.By {
	case "tenant":
		return key
	case "tool":
		return key + strconv.Quote(c.Caller.Principal().ID) + strconv.Quote(c.Server) + strconv.Quote(c.Name)
	}
	return key + strconv.Quote(c.Caller.Principal().ID)
}
