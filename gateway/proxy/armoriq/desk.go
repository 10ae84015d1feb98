package armoriq

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/terms"
)

// Desk are the parts behind the routes that are not about calls and tokens.
type Desk struct {
	People    *identity.Directory
	Approvals Approvals
	Limits    map[string]string // the largest amount each role may approve; "" is none
	Proposals Proposals
	Usage     Usage
	Devices   Devices
	Sources   Sources
}

// Proposals is where an agent asks an admin for what it may not do itself.
type Proposals interface {
	Draft(ctx context.Context, who terms.Who, raw []byte) error
	Propose(ctx context.Context, who terms.Who, reason string) (terms.Proposal, error)
	Withdraw(ctx context.Context, who terms.Who) (int, error)
	ProposeServer(ctx context.Context, who terms.Who, form string, raw []byte) (terms.Proposal, error)
	Profile(tenant string) (terms.Profile, bool)
}

func (r *request) proposer() terms.Who {
	c := r.c.Caller
	return terms.Who{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), Key: c.KeyID()}
}

// refusedProposal gives the register's refusals their codes.
func refusedProposal(err error) error {
	switch {
	case errors.Is(err, terms.ErrNotFound):
		return pipeline.Deny(pipeline.NotFound, "there is no such draft or proposal of this caller").Because(err)
	case errors.Is(err, terms.ErrLimit):
		return pipeline.Deny(pipeline.RateLimited, "too many proposals are open").Because(err)
	case errors.Is(err, terms.ErrPolicy):
		return pipeline.Deny(pipeline.InvalidPlan, err.Error()).Because(err)
	case errors.Is(err, terms.ErrInvalid), errors.Is(err, terms.ErrDecided):
		return malformed("", err.Error()).Because(err)
	case errors.Is(err, terms.ErrForbidden):
		return elsewhere(err.Error(), "ask an admin of the organisation").Because(err)
	}
	return err
}
