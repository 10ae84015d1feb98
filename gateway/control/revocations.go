package control

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/plans"
)

// revocation is one thing that no longer works.
type revocation struct {
	Kind string     `json:"kind" enum:"agent,key,token,plan"`
	ID   string     `json:"id"`
	At   *time.Time `json:"at,omitempty"`
}

type revocationOut struct{ Body revocation }

type revokeIn struct {
	Body struct {
		Kind   string `json:"kind" enum:"agent,key,token,plan"`
		ID     string `json:"id" maxLength:"36"`
		Reason string `json:"reason,omitempty" maxLength:"256" doc:"stands in the ledger for good: no personal data"`
	}
}

// kindIDs are the ids that each kind of thing has.
var kindIDs = map[string]*regexp.Regexp{
	"agent": regexp.MustCompile(`^agt_[0-9a-z]{1,32}$`), "key": regexp.MustCompile(`^key_[0-9a-z]{1,32}$`),
	"token": regexp.MustCompile(`^tok_[0-9a-z]{1,32}$`), "plan": regexp.MustCompile(`^pln_[0-9a-z]{1,32}$`),
}

func (m *mounting) revocations() {
	handle(m, "list-revocations", func(ctx context.Context, c *call, in *listing) (*paged[revocation], error) {
		all, err := m.api.revoked(ctx, c.caller.Tenant())
		if err != nil {
			return nil, err
		}
		return paginate(c, *in, all, func(r *revocation) string { return r.ID }, func(r *revocation) revocation { return *r })
	})
	handle(m, "revoke", m.api.revoke)
}

// revoke takes something back under the same rules as the routes of the things themselves.
func (a *API) revoke(ctx context.Context, c *call, in *revokeIn) (*revocationOut, error) {
	b := &in.Body
	if id := kindIDs[b.Kind]; id == nil || !id.MatchString(b.ID) {
		return nil, refuse(http.StatusUnprocessableEntity, "request_invalid", "the id is not one of that kind", "compare the request with /openapi.json")
	}
	c.target = b.ID
	c.note("kind", b.Kind)
	c.note("reason", b.Reason)
	var err error
	switch b.Kind {
	case "agent":
		err = a.deps.Directory.SetAgentStatus(ctx, c.caller.Tenant(), b.ID, identity.Revoked)
	case "key":
		err = a.revokeKey(ctx, c, b.ID)
	case "token":
		err = a.deps.Plans.RevokeToken(ctx, c.actor(), b.ID, b.Reason)
	case "plan":
		err = a.deps.Plans.SetState(ctx, c.actor(), b.ID, plans.Revoked, b.Reason)
	}
	if err != nil {
		return nil, err
	}
	now := a.deps.Now().UTC()
	return &revocationOut{Body: revocation{Kind: b.Kind, ID: b.ID, At: &now}}, nil
}

// revoked gathers what is revoked and still remembered by its owner; the ledger has the rest.
func (a *API) revoked(ctx context.Context, tenant string) ([]revocation, error) {
	agents, err := a.deps.Directory.Agents(ctx, tenant)
	if err != nil {
		return nil, err
	}
	keys, err := a.deps.Directory.Keys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var out []revocation
	for i := range agents {
		if agents[i].Status == identity.Revoked {
			out = append(out, revocation{"agent", agents[i].ID, moment(agents[i].Ended)})
		}
	}
	for i := range keys {
		if !keys[i].Ended.IsZero() {
			out = append(out, revocation{"key", keys[i].ID, moment(keys[i].Ended)})
		}
	}
	for f := (plans.Filter{State: plans.Revoked}); ; {
		some := a.deps.Plans.List(tenant, f)
		if len(some) == 0 {
			break
		}
		for i := range some {
			out = append(out, revocation{"plan", some[i].ID, some[i].Ended})
		}
		f.After = some[len(some)-1].ID
	}
	for f := (plans.Filter{}); ; {
		some := a.deps.Plans.Tokens(tenant, f)
		if len(some) == 0 {
			break
		}
		for i := range some {
			if some[i].Revoked != nil {
				out = append(out, revocation{"token", some[i].ID, some[i].Revoked})
			}
		}
		f.After = some[len(some)-1].ID
	}
	return out, nil
}
