package gatewright

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// AuditFilter says which records are wanted. What is empty asks for nothing; all that is set must hold.
type AuditFilter struct {
	From, To time.Time // from From on, before To
	Agent    string    // agt_...
	User     string    // usr_...
	Server   string
	Tool     string
	Verdict  string
	Kind     string
	Code     string
	Outcome  string
}

// AuditQuery is one page of a listing.
type AuditQuery struct {
	AuditFilter
	Oldest bool   // oldest first; else newest first
	Limit  int    // how many at most; 0 leaves it to the gateway, which may answer fewer in any case
	Cursor string // Next of the page before, with the same filter
}

// AuditPage is a page of the organisation's ledger.
type AuditPage struct {
	Size  uint64   `json:"size"`  // records in the ledger when this was answered
	First uint64   `json:"first"` // index of the first record that is kept
	Items []Record `json:"items"` // may be empty on a page that is not the last
	Next  string   `json:"next,omitempty"`
}

// Named is how many records have a name.
type Named struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Hourly is how many records were made in an hour.
type Hourly struct {
	Start time.Time `json:"start"`
	Count uint64    `json:"count"`
}

// AuditStats are records added up; each list has the most frequent names first, Hours the latest hours in their order.
type AuditStats struct {
	Size     uint64    `json:"size"`
	First    uint64    `json:"first"`
	Total    uint64    `json:"total"`
	Earliest time.Time `json:"earliest,omitzero"`
	Latest   time.Time `json:"latest,omitzero"`
	Kinds    []Named   `json:"kinds"`
	Verdicts []Named   `json:"verdicts"`
	Codes    []Named   `json:"codes"`
	Outcomes []Named   `json:"outcomes"`
	Agents   []Named   `json:"agents"`
	Users    []Named   `json:"users"`
	Servers  []Named   `json:"servers"`
	Tools    []Named   `json:"tools"`
	Hours    []Hourly  `json:"hours"`
}

// Parse reads the record's members.
func (r *Record) Parse() (ledger.Record, error) { return ledger.ParseRecord(r.Record) }

func (f *AuditFilter) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	if !f.From.IsZero() {
		set("from", f.From.UTC().Format(time.RFC3339Nano))
	}
	if !f.To.IsZero() {
		set("to", f.To.UTC().Format(time.RFC3339Nano))
	}
	set("agent_id", f.Agent)
	set("user_id", f.User)
	set("server", f.Server)
	set("tool", f.Tool)
	set("verdict", f.Verdict)
	set("kind", f.Kind)
	set("code", f.Code)
	set("outcome", f.Outcome)
	return v
}

// AuditLogs answers one page of the organisation's ledger. Each record's leaf hash is compared with its bytes; that it stands in the
// ledger, and that none was left out, is for receipts, exports and verification to prove.
func (a *Admin) AuditLogs(ctx context.Context, q AuditQuery) (*AuditPage, error) {
	v := q.values()
	if q.Oldest {
		v.Set("order", "oldest")
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	out := &AuditPage{}
	if err := a.get(ctx, "/api/v1/audit-logs?"+v.Encode(), out); err != nil {
		return nil, err
	}
	for i := range out.Items {
		r := &out.Items[i]
		if _, err := r.Parse(); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrAnswer, r.Index, err)
		}
		if merkle.LeafHash(r.Record).String() != r.Leaf {
			return nil, fmt.Errorf("%w: the leaf hash of record %d is not the record's", ErrAnswer, r.Index)
		}
	}
	return out, nil
}

// AuditStats adds the wanted records up; top is how many names of each list to answer at most, 0 leaves it to the gateway.
func (a *Admin) AuditStats(ctx context.Context, f AuditFilter, top int) (*AuditStats, error) {
	v := f.values()
	if top != 0 {
		v.Set("top", strconv.Itoa(top))
	}
	out := &AuditStats{}
	if err := a.get(ctx, "/api/v1/audit-logs/stats?"+v.Encode(), out); err != nil {
		return nil, err
	}
	return out, nil
}
