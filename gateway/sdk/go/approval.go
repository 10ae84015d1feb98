package gatewright

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Approval is a call that policy holds until people approve it, and what became of it.
type Approval struct {
	ID        string     `json:"id"`
	State     string     `json:"state"` // pending, approved, rejected, expired, executed
	User      string     `json:"user"`  // whom the agent acts for
	Agent     string     `json:"agent"`
	Key       string     `json:"key"` // that asked
	Plan      string     `json:"plan,omitempty"`
	Op        string     `json:"op"`
	Server    string     `json:"server"`
	Tool      string     `json:"tool"`
	Local     bool       `json:"local"`            // the agent calls the server itself
	Amount    string     `json:"amount,omitempty"` // decimal
	Digest    string     `json:"digest"`           // of the call that is approved, SHA-256 in hex
	Reason    string     `json:"reason,omitempty"` // why policy holds it
	Policies  []string   `json:"policies"`
	Approvals int        `json:"approvals"` // how many people must approve
	Given     int        `json:"given"`     // how many have
	Approver  string     `json:"approver"`  // the lowest role that may decide
	Decisions []Decision `json:"decisions"` // oldest first
	Created   time.Time  `json:"created"`
	Expires   time.Time  `json:"expires"`
	Ended     time.Time  `json:"ended,omitzero"`
	Record    string     `json:"record,omitempty"` // of the call that used it
	ArgsSize  int        `json:"args_size"`        // bytes

	// Args is what the call would do: in the answer of Approval alone, and only for those who may decide and the agent's
	// owner, unless the arguments are too large to be kept.
	Args json.RawMessage `json:"args,omitempty"`
}

// Decision is one person's word, with the role they had.
type Decision struct {
	User    string    `json:"user"`
	Role    string    `json:"role"`
	Approve bool      `json:"approve"`
	Reason  string    `json:"reason,omitempty"`
	Time    time.Time `json:"time"`
}

// ApprovalFilter narrows a list. Zero fields narrow nothing.
type ApprovalFilter struct{ Agent, Plan, State string }

// Approvals lists held calls, oldest first, without their arguments.
func (a *Admin) Approvals(ctx context.Context, f ApprovalFilter) ([]Approval, error) {
	q := url.Values{}
	for name, value := range map[string]string{"agent": f.Agent, "plan": f.Plan, "state": f.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	path := "/api/v1/approvals"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return listAll[Approval](ctx, a.end, path)
}

// Approval returns one held call.
func (a *Admin) Approval(ctx context.Context, id string) (*Approval, error) {
	out := &Approval{}
	return out, a.get(ctx, "/api/v1/approvals/"+url.PathEscape(id), out)
}

// Approve approves a held call, once. It may go on when as many people have as it takes.
func (a *Admin) Approve(ctx context.Context, id string) (*Approval, error) {
	out := &Approval{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/approvals/"+url.PathEscape(id)+"/approve", nil, out)
}

// ApproveBecause is Approve with a reason, which stands in the ledger.
func (a *Admin) ApproveBecause(ctx context.Context, id, reason string) (*Approval, error) {
	out := &Approval{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/approvals/"+url.PathEscape(id)+"/approve", map[string]string{"reason": reason}, out)
}

// Reject ends a held call for good, also one that was approved and not used yet, by others or by oneself; the reason stands in the ledger.
func (a *Admin) Reject(ctx context.Context, id, reason string) (*Approval, error) {
	in, out := map[string]string{}, &Approval{}
	if reason != "" {
		in["reason"] = reason
	}
	return out, a.change(ctx, http.MethodPost, "/api/v1/approvals/"+url.PathEscape(id)+"/reject", in, out)
}
