package armoriq

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// ownOrg refuses a body that names another organisation than the caller's.
func (r *request) ownOrg(org string) error {
	if org != "" && org != r.c.Caller.Tenant() {
		return pipeline.Deny(pipeline.NotFound, "orgId is not an organisation of this credential").WithReason("other_tenant")
	}
	return nil
}

// readDraft reads PUT /policies/profiles/draft: a profile that the agent means to propose. It changes nothing.
func readDraft(r *request) error {
	var policy []byte
	var org string
	if err := readObject(r.body, "", fields{"policy": value(&policy), "orgId": text(&org, 128)}); err != nil {
		return err
	}
	if err := r.ownOrg(org); err != nil {
		return err
	}
	if policy == nil {
		return malformed("/policy", "is needed")
	}
	r.own("proposals/draft", "propose", func(ctx context.Context) (any, error) {
		if err := r.Proposals.Draft(ctx, r.proposer(), policy); err != nil {
			return nil, refusedProposal(err)
		}
		return map[string]any{"success": true, "status": "draft"}, nil
	})
	return nil
}

// readPropose reads POST /policies/profiles/propose: the draft goes to an admin, who alone puts it in force.
func readPropose(r *request) error {
	var reason, org string
	if err := readObject(r.body, "", fields{"reason": text(&reason, 256), "orgId": text(&org, 128)}); err != nil {
		return err
	}
	if err := r.ownOrg(org); err != nil {
		return err
	}
	r.own("proposals/make", "propose", func(ctx context.Context) (any, error) {
		p, err := r.Proposals.Propose(ctx, r.proposer(), reason)
		if err != nil {
			return nil, refusedProposal(err)
		}
		return map[string]any{
			"success": true, "proposed": p.Content, "status": string(p.State), "proposalId": p.ID, "proposalHash": p.Digest.String(), "diff": p.Cedar, "lines": p.Lines,
			"message": "an admin decides: gatewright proposal approve " + p.ID,
		}, nil
	})
	return nil
}

// readWithdraw reads POST /policies/profiles/cancel.
func readWithdraw(r *request) error {
	var org string
	if err := readObject(r.body, "", fields{"orgId": text(&org, 128)}); err != nil {
		return err
	}
	if err := r.ownOrg(org); err != nil {
		return err
	}
	r.own("proposals/withdraw", "propose", func(ctx context.Context) (any, error) {
		n, err := r.Proposals.Withdraw(ctx, r.proposer())
		if err != nil {
			return nil, refusedProposal(err)
		}
		return map[string]any{"success": true, "cancelled": n}, nil
	})
	return nil
}

// readActiveProfile reads GET /policies/profiles/active.
func readActiveProfile(r *request) error {
	r.own("proposals/read", "read_account", func(context.Context) (any, error) {
		p, ok := r.Proposals.Profile(r.c.Caller.Tenant())
		if !ok {
			return map[string]any{"success": true, "policy": nil, "version": 0}, nil
		}
		return map[string]any{
			"success": true, "policy": p.Policy, "version": p.Version, "publishedAt": p.Since.UTC().Format(time.RFC3339),
			"hash": p.Digest.String(), "cedar": p.Cedar, "lines": p.Lines,
		}, nil
	})
	return nil
}

// readActivate reads POST /policies/sync and /policies/profiles/template, which would put a policy in force.
func readActivate(*request) error {
	return elsewhere("templates are not kept here, and a runtime key puts no policy in force: write the profile and propose it (armoriq policy propose --file)", "PUT /policies/profiles/draft and POST /policies/profiles/propose; an admin approves")
}
