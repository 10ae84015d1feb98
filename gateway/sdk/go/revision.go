package gatewright

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Revision is a bundle of policies in the organisation's history.
type Revision struct {
	Number   uint64    `json:"number"`            // from 1
	State    string    `json:"state"`             // enforced, shadow, canary, idle
	Percent  int       `json:"percent,omitempty"` // of a canary
	Digest   string    `json:"digest"`            // SHA-256 that stands in every record decided under it, hex
	Name     string    `json:"name,omitempty"`    // as its manifest has it
	Version  uint64    `json:"version,omitempty"` // as its manifest has it
	Files    int       `json:"files"`
	Bytes    int       `json:"bytes"`
	Source   string    `json:"source"` // built-in, folder, git, api
	Commit   string    `json:"commit,omitempty"`
	SignedBy string    `json:"signed_by,omitempty"`
	By       string    `json:"by,omitempty"` // who pushed it
	Created  time.Time `json:"created"`
	Problem  string    `json:"problem,omitempty"` // why it cannot be read any more
}

// Revisions lists the history of the organisation's policies, newest first.
func (a *Admin) Revisions(ctx context.Context) ([]Revision, error) {
	return listAll[Revision](ctx, a.end, "/api/v1/policies/revisions")
}

// PushPolicies hands in a bundle, text by name. It is judged and kept; ActivatePolicies puts it in force.
func (a *Admin) PushPolicies(ctx context.Context, files map[string]string) (*Revision, error) {
	out := &Revision{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/policies/revisions", map[string]any{"files": files}, out)
}

// ActivatePolicies enforces a revision (mode "enforce"), or tries it beside the enforced one: mode "shadow", or "canary"
// with a percentage of the principals, 1 to 99.
func (a *Admin) ActivatePolicies(ctx context.Context, number uint64, mode string, percent int) (*Revision, error) {
	in := map[string]any{"mode": mode}
	if percent != 0 {
		in["percent"] = percent
	}
	out := &Revision{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/policies/revisions/"+strconv.FormatUint(number, 10)+"/activate", in, out)
}

// RollBackPolicies undoes the last activation at once and returns the revision that is enforced then.
func (a *Admin) RollBackPolicies(ctx context.Context) (*Revision, error) {
	out := &Revision{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/policies/rollback", nil, out)
}
