package stages

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle/intent"
)

// TermsKeeper knows what narrows a tenant's calls beside its bundle: the tenant's profile and each plan's own policy.
type TermsKeeper interface {
	Of(tenant string, h *intent.Held) (*terms.Terms, error)
	Allow(key string, t *terms.Terms, now time.Time) (wait time.Duration, ok bool)
}

// Terms lays over the bundle what the tenant's profile and the plan's own policy say, and counts the rates they set. It
// can only narrow.
type Terms struct {
	Keeper TermsKeeper
}

// Name is "terms".
func (Terms) Name() string { return "terms" }

// Check fills c.Overlays. Operations of the gateway itself have no terms: a profile is about tools.
func (s Terms) Check(_ context.Context, c *pipeline.Call) error {
	if c.Answer != nil && !c.Trial || !c.Plan {
		return nil
	}
	t, err := s.Keeper.Of(c.Caller.Tenant(), c.Held)
	if err != nil {
		return pipeline.Deny(pipeline.PolicyDenied, "the plan's own policy cannot be read").WithReason("terms: " + err.Error()).Because(err)
	}
	if t == nil {
		return nil
	}
	c.Overlays = t.Overlays
	if c.Again() || !c.Takes() || len(t.Rates) == 0 {
		return nil // nothing goes out
	}
	if wait, ok := s.Keeper.Allow(counted(c, t), t, c.Started); !ok {
		d := pipeline.Deny(pipeline.RateLimited, fmt.Sprintf("the plan's policy allows no more calls for %s", wait.Round(time.Second)))
		d.RetryAfter = max(wait, time.Second)
		return d.WithReason("rate_limited terms")
	}
	return nil
}

// counted names what calls are counted by: the agent and what its policy says. So neither another token nor a plan that
// has grown gives it the whole rate again.
func counted(c *pipeline.Call, t *terms.Terms) string {
	sum := sha256.Sum256([]byte(strings.Join(t.Lines, "\n")))
	return c.Caller.Tenant() + "/" + c.Caller.Agent() + "/" + string(sum[:16])
}
