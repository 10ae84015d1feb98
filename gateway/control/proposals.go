package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
)

// Terms is what this port needs of the keeper of profiles and proposals. What Decide and Remove returned without an error
// is durable and in force.
type Terms interface {
	Proposals(tenant string, f terms.Filter) []terms.Proposal
	Proposal(ctx context.Context, tenant, id string) (terms.Proposal, error)
	Decide(ctx context.Context, by terms.Actor, id string, approve bool, reason string) (terms.Proposal, error)
	Profile(tenant string) (terms.Profile, bool)
	Remove(ctx context.Context, by terms.Actor, reason string) error
}

var _ Terms = (*terms.Keeper)(nil)

// noTerms stands in for a gateway that takes no proposals.
type noTerms struct{}

func (noTerms) Proposals(string, terms.Filter) []terms.Proposal { return nil }
func (noTerms) Proposal(context.Context, string, string) (terms.Proposal, error) {
	return terms.Proposal{}, terms.ErrNotFound
}

func (noTerms) Decide(context.Context, terms.Actor, string, bool, string) (terms.Proposal, error) {
	return terms.Proposal{}, terms.ErrNotFound
}
func (noTerms) Profile(string) (terms.Profile, bool)              { return terms.Profile{}, false }
func (noTerms) Remove(context.Context, terms.Actor, string) error { return terms.ErrNotFound }

// proposal is what an agent asks an admin for.
type proposal struct {
	ID      string     `json:"id"`
	Kind    string     `json:"kind" enum:"profile,server" doc:"a profile that narrows the whole organisation's calls, or a server to be added by hand"`
	Form    string     `json:"form,omitempty" doc:"of a server: how the agent sent it"`
	State   string     `json:"state" enum:"pending,approved,rejected,withdrawn"`
	User    string     `json:"user" doc:"whom the agent acts for"`
	Agent   string     `json:"agent"`
	Key     string     `json:"key" doc:"the key that asked"`
	Digest  string     `json:"digest" doc:"SHA-256 of the canonical content, hex"`
	Reason  string     `json:"reason,omitempty" doc:"the agent's words"`
	Created time.Time  `json:"created"`
	Decided *time.Time `json:"decided,omitempty"`
	By      string     `json:"by,omitempty" doc:"the user who decided"`
	Note    string     `json:"note,omitempty" doc:"the words that go with the decision"`
}

type shownProposalOut struct {
	Body struct {
		proposal
		Content json.RawMessage `json:"content" doc:"what the agent sent; not to be trusted"`
		Cedar   string          `json:"cedar,omitempty" doc:"the policies that a profile becomes"`
		Lines   []string        `json:"lines" nullable:"false" doc:"what they say, in plain sentences"`
		Problem string          `json:"problem,omitempty" doc:"why it cannot come into force"`
	}
}

type proposalOut struct{ Body proposal }

type proposalPath struct {
	ID string `path:"id" pattern:"^prp_[0-9a-z]{1,32}$" maxLength:"36"`
}

type listProposalsIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
	Agent  string `query:"agent" pattern:"^agt_[0-9a-z]{1,32}$"`
	Kind   string `query:"kind" enum:"profile,server"`
	State  string `query:"state" enum:"pending,approved,rejected,withdrawn"`
}

type rejectProposalIn struct {
	ID   string `path:"id" pattern:"^prp_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"256" doc:"stands in the ledger for good: no personal data"`
	}
}

// profileOut is the organisation's profile in force.
type profileOut struct {
	Body struct {
		Version  int             `json:"version" doc:"counts the organisation's profiles, from 1"`
		Digest   string          `json:"digest" doc:"SHA-256 of the canonical policy, hex"`
		Policy   json.RawMessage `json:"policy"`
		Cedar    string          `json:"cedar" doc:"what it became; it lies over the bundle and only forbids"`
		Lines    []string        `json:"lines" nullable:"false"`
		Proposal string          `json:"proposal"`
		By       string          `json:"by" doc:"the user who approved it"`
		Since    time.Time       `json:"since"`
		Problem  string          `json:"problem,omitempty" doc:"why it cannot be read any more; until it is removed or replaced, calls are refused"`
	}
}

func (m *mounting) proposals() {
	keeper := m.api.deps.Terms
	handle(m, "list-proposals", func(_ context.Context, c *call, in *listProposalsIn) (*paged[proposal], error) {
		fetch := func(after string, n int) []terms.Proposal {
			f := terms.Filter{Agent: in.Agent, Kind: terms.Kind(in.Kind), State: terms.State(in.State), After: after, Limit: n}
			return keeper.Proposals(c.caller.Tenant(), f)
		}
		return window(c, listing{in.Limit, in.Cursor}, fetch, func(p *terms.Proposal) string { return p.ID }, shapeProposal)
	})
	handle(m, "get-proposal", func(ctx context.Context, c *call, in *proposalPath) (*shownProposalOut, error) {
		p, err := keeper.Proposal(ctx, c.caller.Tenant(), in.ID)
		if err != nil {
			return nil, err
		}
		out := &shownProposalOut{}
		b := &out.Body
		b.proposal, b.Content, b.Cedar, b.Lines, b.Problem = shapeProposal(&p), p.Content, p.Cedar, strs(p.Lines), p.Problem
		return out, nil
	})
	handle(m, "approve-proposal", func(ctx context.Context, c *call, in *proposalPath) (*proposalOut, error) {
		return m.api.settle(ctx, c, in.ID, true, "")
	})
	handle(m, "reject-proposal", func(ctx context.Context, c *call, in *rejectProposalIn) (*proposalOut, error) {
		return m.api.settle(ctx, c, in.ID, false, in.Body.Reason)
	})
	handle(m, "get-profile", func(_ context.Context, c *call, _ *none) (*profileOut, error) {
		p, ok := keeper.Profile(c.caller.Tenant())
		if !ok {
			return nil, notFound()
		}
		return shapeProfile(&p), nil
	})
	handle(m, "remove-profile", func(ctx context.Context, c *call, _ *none) (*none, error) {
		return nil, keeper.Remove(ctx, c.judge(), "")
	})
}

// settle decides a proposal.
func (a *API) settle(ctx context.Context, c *call, id string, approve bool, reason string) (*proposalOut, error) {
	p, err := a.deps.Terms.Decide(ctx, c.judge(), id, approve, reason)
	if err != nil {
		return nil, err
	}
	c.note("state", string(p.State))
	c.note("kind", string(p.Kind))
	return &proposalOut{Body: shapeProposal(&p)}, nil
}

// judge is the caller as the keeper knows those who decide.
func (c *call) judge() terms.Actor {
	return terms.Actor{Tenant: c.caller.Tenant(), User: c.caller.User(), Key: c.caller.KeyID()}
}

func shapeProposal(p *terms.Proposal) proposal {
	return proposal{
		ID: p.ID, Kind: string(p.Kind), Form: p.Form, State: string(p.State), User: p.User, Agent: p.Agent, Key: p.Key, Digest: p.Digest.String(),
		Reason: p.Reason, Created: p.Created, Decided: p.Decided, By: p.By, Note: p.Note,
	}
}

func shapeProfile(p *terms.Profile) *profileOut {
	out := &profileOut{}
	b := &out.Body
	b.Version, b.Digest, b.Policy, b.Cedar, b.Lines = p.Version, p.Digest.String(), p.Policy, p.Cedar, strs(p.Lines)
	b.Proposal, b.By, b.Since, b.Problem = p.Proposal, p.By, p.Since, p.Problem
	return out
}
