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
	// What it changes of the filters in force: in the answer of PushPolicies, once it is enforced. Warnings are why it cannot be as
	// things are.
	FilterMoves
	Warnings []string `json:"warnings,omitempty"`
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

// RollBackPoliciesTo goes back to a revision that was enforced before, over those between: they are on the way back no more.
func (a *Admin) RollBackPoliciesTo(ctx context.Context, number uint64) (*Revision, error) {
	out := &Revision{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/policies/rollback", map[string]any{"to": number}, out)
}

// PolicyTrial is what policies that are tried would have answered: a revision in shadow or canary, and single policies
// with @mode("shadow"). Counts begin when the gateway starts.
type PolicyTrial struct {
	Staged   string        `json:"staged,omitempty"` // digest of the bundle that is tried
	Mode     string        `json:"mode,omitempty"`   // shadow or canary
	Canary   int           `json:"canary,omitempty"` // percentage of the principals, 1 to 99
	Policies []string      `json:"policies"`         // in force, with @mode("shadow")
	Compared uint64        `json:"compared"`         // calls of which both answers are known, since the bundle is tried
	Passed   uint64        `json:"passed"`           // calls that were not compared, as it took too long
	Failed   uint64        `json:"failed"`           // calls that could not be compared
	Current  []PolicyFlips `json:"current"`          // of the bundle that is tried
	Total    []PolicyFlips `json:"total"`            // of all that was tried
	Latest   []FlippedCall `json:"latest"`           // newest first
}

// PolicyFlips counts calls that would have been answered differently. From and To are allow, deny or hold.
type PolicyFlips struct {
	By    string `json:"by"` // engine: a bundle; policy: a single policy
	From  string `json:"from"`
	To    string `json:"to"`
	Count uint64 `json:"count"`
}

// FlippedCall is one of them.
type FlippedCall struct {
	By       string    `json:"by"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Record   string    `json:"record"`
	Agent    string    `json:"agent"`
	User     string    `json:"user"`
	Op       string    `json:"op"`
	Server   string    `json:"server"`
	Tool     string    `json:"tool"`
	At       time.Time `json:"at"`
	Policies []string  `json:"policies"` // that would have determined it
	Errors   int       `json:"errors"`   // policies that could not be evaluated
}

// PolicyTrial says what is tried beside the policies in force, and what differed so far.
func (a *Admin) PolicyTrial(ctx context.Context) (*PolicyTrial, error) {
	out := &PolicyTrial{}
	return out, a.get(ctx, "/api/v1/policies/shadow", out)
}
