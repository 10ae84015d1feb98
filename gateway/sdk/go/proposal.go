package gatewright

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Proposal is what an agent asks an admin for: a profile, which narrows the whole organisation's calls once it is
// approved, or a server, which somebody adds by hand.
type Proposal struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`           // profile, server
	Form    string    `json:"form,omitempty"` // of a server: how the agent sent it
	State   string    `json:"state"`          // pending, approved, rejected, withdrawn
	User    string    `json:"user"`           // whom the agent acts for
	Agent   string    `json:"agent"`
	Key     string    `json:"key"`
	Digest  string    `json:"digest"` // of the canonical content, SHA-256 in hex
	Reason  string    `json:"reason,omitempty"`
	Created time.Time `json:"created"`
	Decided time.Time `json:"decided,omitzero"`
	By      string    `json:"by,omitempty"`
	Note    string    `json:"note,omitempty"`

	// In the answer of Proposal alone. Cedar is what a profile becomes, Lines the same in sentences, Problem why it cannot
	// come into force.
	Content json.RawMessage `json:"content,omitempty"`
	Cedar   string          `json:"cedar,omitempty"`
	Lines   []string        `json:"lines,omitempty"`
	Problem string          `json:"problem,omitempty"`
}

// ProposalFilter narrows a list. Zero fields narrow nothing.
type ProposalFilter struct{ Agent, Kind, State string }

// Profile is the profile that narrows the organisation's calls.
type Profile struct {
	Version  int             `json:"version"`
	Digest   string          `json:"digest"`
	Policy   json.RawMessage `json:"policy"`
	Cedar    string          `json:"cedar"`
	Lines    []string        `json:"lines"`
	Proposal string          `json:"proposal"`
	By       string          `json:"by"`
	Since    time.Time       `json:"since"`
	Problem  string          `json:"problem,omitempty"` // why it cannot be read any more; then calls are refused
}

// Usage is the tokens of one product and model on one day, as agents report them.
type Usage struct {
	Day        string `json:"day"` // UTC, 2006-01-02
	Product    string `json:"product"`
	Model      string `json:"model"`
	Input      int64  `json:"input"`
	Output     int64  `json:"output"`
	CacheRead  int64  `json:"cache_read"`
	CacheWrite int64  `json:"cache_write"`
	Rows       int    `json:"rows"` // session hours it is made of
}

// UsageFilter says what to add up. Without From and To it is the last 30 days; the other zero fields narrow nothing.
type UsageFilter struct{ From, To, Agent, Product, Model string }

// Proposals lists proposals, oldest first, without their content.
func (a *Admin) Proposals(ctx context.Context, f ProposalFilter) ([]Proposal, error) {
	q := query(map[string]string{"agent": f.Agent, "kind": f.Kind, "state": f.State})
	return listAll[Proposal](ctx, a.end, "/api/v1/proposals"+q)
}

// Proposal returns one proposal with its content and what a profile becomes.
func (a *Admin) Proposal(ctx context.Context, id string) (*Proposal, error) {
	out := &Proposal{}
	return out, a.get(ctx, "/api/v1/proposals/"+url.PathEscape(id), out)
}

// ApproveProposal puts a proposed profile in force, in place of the one before. A proposed server is only marked.
func (a *Admin) ApproveProposal(ctx context.Context, id string) (*Proposal, error) {
	out := &Proposal{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/proposals/"+url.PathEscape(id)+"/approve", nil, out)
}

// RejectProposal refuses a proposal; the reason stands in the ledger.
func (a *Admin) RejectProposal(ctx context.Context, id, reason string) (*Proposal, error) {
	in, out := map[string]string{}, &Proposal{}
	if reason != "" {
		in["reason"] = reason
	}
	return out, a.change(ctx, http.MethodPost, "/api/v1/proposals/"+url.PathEscape(id)+"/reject", in, out)
}

// Profile returns the profile in force; without one it is an *Error with the code not_found.
func (a *Admin) Profile(ctx context.Context) (*Profile, error) {
	out := &Profile{}
	return out, a.get(ctx, "/api/v1/profile", out)
}

// RemoveProfile takes the profile out of force.
func (a *Admin) RemoveProfile(ctx context.Context) error {
	return a.change(ctx, http.MethodDelete, "/api/v1/profile", nil, nil)
}

// Usage adds up what agents reported, by day, product and model.
func (a *Admin) Usage(ctx context.Context, f UsageFilter) ([]Usage, error) {
	q := query(map[string]string{"from": f.From, "to": f.To, "agent": f.Agent, "product": f.Product, "model": f.Model})
	return listAll[Usage](ctx, a.end, "/api/v1/usage"+q)
}

// query is "?" and the parameters that are set, or nothing.
func query(set map[string]string) string {
	q := url.Values{}
	for name, value := range set {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}
