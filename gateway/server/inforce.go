package server

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/policies"
)

// inForce is what calls are judged by: policies and filters that came into force together.
type inForce struct {
	engines *policies.Set
	filters *filters.Service
}

var _ pipeline.Revisions = (*inForce)(nil)

// Choose gives the engines alone.
func (f *inForce) Choose(tenant string, p *policies.Principal) (enforced, shadow *policies.Engine) {
	return f.engines.Choose(tenant, p)
}

// For gives the filters alone.
func (f *inForce) For(ctx context.Context, tenant string) (*filters.Set, error) {
	return f.filters.For(ctx, tenant)
}

// Take gives both. Filters are over only once others stand beside the engine, so one that finds them over finds those when it
// looks again, or the gateway has closed.
func (f *inForce) Take(tenant string, p *policies.Principal) (now pipeline.Force) {
	var before, with any
	for {
		now.Engine, now.Shadow, with = f.engines.ChooseWith(tenant, p)
		ready, ok := with.(*filters.Prepared)
		if !ok { // nothing is in force yet
			now.Filters, now.Err = f.filters.For(context.Background(), tenant)
			return now
		}
		if set, ok := ready.Hold(); ok {
			now.Filters = set
			return now
		}
		if with == before {
			now.Err = errFiltersOver
			return now
		}
		before = with
	}
}

var errFiltersOver = errors.New("the filters are closed")
