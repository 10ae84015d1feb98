package gatewright

import (
	"context"
	"net/http"
	"time"
)

// Sink is a receiver of ledger events, and how far it is behind.
type Sink struct {
	Name        string    `json:"name"`
	Type        string    `json:"type"` // syslog, otlp or webhook
	Tenant      string    `json:"tenant"`
	Address     string    `json:"address"`
	Kinds       []string  `json:"kinds"`
	Lag         uint64    `json:"lag"` // records that it has not got past
	Sent        uint64    `json:"sent"`
	Failed      uint64    `json:"failed"`
	Lost        uint64    `json:"lost"`
	Rejected    uint64    `json:"rejected"`
	Unread      uint64    `json:"unread"` // batches delivered with an answer that cannot be read
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Cursor      string    `json:"cursor"`
}

// Hold is the legal hold on the organisation's ledger.
type Hold struct {
	Held   bool      `json:"held"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Pruned is what a pruning did, or would do.
type Pruned struct {
	Before time.Time    `json:"before"`
	DryRun bool         `json:"dry_run"`
	Items  []PrunedPart `json:"items"`
}

// PrunedPart is what became of one organisation's ledger.
type PrunedPart struct {
	Tenant  string `json:"tenant"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"` // behind the last record that goes; From: none goes
	Size    uint64 `json:"size"`
	Root    string `json:"root,omitempty"`
	Why     string `json:"why,omitempty"` // what keeps more from going, in words
	Held    bool   `json:"held"`
	Record  string `json:"record,omitempty"`
	Receipt string `json:"receipt,omitempty"`
}

// Erasure is what was erased. Digest, SHA-256(salt || subject), names the subject in the ledger.
type Erasure struct {
	Digest  string `json:"digest"`
	Salt    string `json:"salt"`
	Record  string `json:"record"`
	Outcome string `json:"outcome"`
	Already bool   `json:"already"`
	Records uint64 `json:"records"`         // that are kept, and cannot be opened any more
	Nothing bool   `json:"nothing"`         // nothing was ever sealed about the subject, and nothing was done
	Owner   string `json:"owner,omitempty"` // of the agent: what it sends for that person stays readable
}

// Sinks lists the receivers of the organisation's ledger events; all of them for the gateway's own tenant.
func (a *Admin) Sinks(ctx context.Context) ([]Sink, error) {
	return listAll[Sink](ctx, a.end, "/api/v1/sinks")
}

// Hold tells whether the organisation is under legal hold.
func (a *Admin) Hold(ctx context.Context) (*Hold, error) {
	out := &Hold{}
	return out, a.get(ctx, "/api/v1/ledger/hold", out)
}

type reason struct {
	Reason string `json:"reason"`
}

// HoldLedger puts the organisation under legal hold: nothing of it is pruned or erased until it is released.
func (a *Admin) HoldLedger(ctx context.Context, why string) (*Hold, error) {
	out := &Hold{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/ledger/hold", reason{why}, out)
}

// ReleaseLedger ends the legal hold.
func (a *Admin) ReleaseLedger(ctx context.Context, why string) (*Hold, error) {
	out := &Hold{}
	return out, a.change(ctx, http.MethodDelete, "/api/v1/ledger/hold", reason{why}, out)
}

// PruneLedger gives up records older than a time, which may not be younger than the gateway's retention; zero is as old
// as that. A dry run changes nothing.
func (a *Admin) PruneLedger(ctx context.Context, before time.Time, dryRun bool) (*Pruned, error) {
	in := struct {
		Before *time.Time `json:"before,omitempty"`
		DryRun bool       `json:"dry_run,omitempty"`
	}{DryRun: dryRun}
	if !before.IsZero() {
		in.Before = &before
	}
	out := &Pruned{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/ledger/prune", in, out)
}

// EraseSubject destroys the key that everything sealed about a user or an agent lies under. It cannot be undone.
func (a *Admin) EraseSubject(ctx context.Context, subject, why string) (*Erasure, error) {
	in := struct {
		Subject string `json:"subject"`
		Reason  string `json:"reason"`
		Confirm string `json:"confirm"`
	}{subject, why, subject}
	out := &Erasure{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/audit-logs/erase", in, out)
}
