package control

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// token is an issued token as answered: everything but the token, which only its agent ever saw.
type token struct {
	ID       string     `json:"id"`
	Plan     string     `json:"plan"`
	User     string     `json:"user"`
	Agent    string     `json:"agent"`
	Key      string     `json:"key" doc:"the only key that may show it, unless it has a delegate; the key that asked for it then"`
	Issued   time.Time  `json:"issued"`
	Expires  time.Time  `json:"expires"`
	Revoked  *time.Time `json:"revoked,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Uses     int        `json:"uses" doc:"steps taken with it, as far as the plan's history remembers"`
	Refusals int        `json:"refusals" doc:"refusals it met, as far as the plan's history remembers"`
	Alone    bool       `json:"alone,omitempty" doc:"it may be shown as the only credential, for calls of its plan"`
	Parents  []string   `json:"parents,omitempty" doc:"the tokens it was made from, eldest first; it dies with any of them"`
	Steps    []uint32   `json:"steps,omitempty" doc:"the only steps it covers"`
	Delegate string     `json:"delegate,omitempty" doc:"thumbprint (RFC 7638) of the key whose holder shows it"`
}

type tokenPath struct {
	ID string `path:"id" pattern:"^tok_[0-9a-z]{1,32}$" maxLength:"36"`
}

type listTokensIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
	Agent  string `query:"agent" pattern:"^agt_[0-9a-z]{1,32}$"`
	Plan   string `query:"plan" pattern:"^pln_[0-9a-z]{1,32}$"`
}

func (m *mounting) tokens() {
	handle(m, "list-tokens", m.api.listTokens)
	handle(m, "revoke-token", func(ctx context.Context, c *call, in *tokenPath) (*none, error) {
		return nil, m.api.deps.Plans.RevokeToken(ctx, c.actor(), in.ID, "")
	})
}

func (a *API) listTokens(_ context.Context, c *call, in *listTokensIn) (*paged[token], error) {
	counted := counts{plans: a.deps.Plans, tenant: c.caller.Tenant(), of: map[string]map[string]*count{}}
	fetch := func(after string, n int) []plans.IssuedToken {
		return a.deps.Plans.Tokens(c.caller.Tenant(), plans.Filter{Agent: in.Agent, Plan: in.Plan, After: after, Limit: n})
	}
	shape := func(t *plans.IssuedToken) token {
		n := counted.token(t)
		return token{t.ID, t.Plan, t.User, t.Agent, t.Key, t.Issued, t.Expires, t.Revoked, t.Reason, n.uses, n.refusals, t.Alone, t.Parents, t.Steps, t.Delegate}
	}
	return window(c, listing{in.Limit, in.Cursor}, fetch, func(t *plans.IssuedToken) string { return t.ID }, shape)
}

type count struct{ uses, refusals int }

// counts reads each plan's history once for all tokens of a page.
type counts struct {
	plans  Plans
	tenant string
	of     map[string]map[string]*count // by plan, then token
}

func (s counts) token(t *plans.IssuedToken) count {
	tokens, ok := s.of[t.Plan]
	if !ok {
		tokens = map[string]*count{}
		history, _ := s.plans.History(s.tenant, t.Plan) // a plan that is gone meanwhile has no history
		for i := range history.Events {
			e := &history.Events[i]
			if tokens[e.Token] == nil {
				tokens[e.Token] = &count{}
			}
			switch e.Kind {
			case ledger.Admitted.String():
				tokens[e.Token].uses++
			case ledger.Refused.String():
				tokens[e.Token].refusals++
			}
		}
		s.of[t.Plan] = tokens
	}
	if n := tokens[t.ID]; n != nil {
		return *n
	}
	return count{}
}
