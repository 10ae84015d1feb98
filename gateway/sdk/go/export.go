package gatewright

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// RecordFilter chooses records. Members that are not given choose all; given ones must all hold.
type RecordFilter struct {
	From    uint64     `json:"from,omitempty"`  // index of the first record
	To      uint64     `json:"to,omitempty"`    // index behind the last; 0 is the published checkpoint's size
	Since   *time.Time `json:"since,omitempty"` // records of this time and later
	Until   *time.Time `json:"until,omitempty"` // records before this time
	Agent   string     `json:"agent,omitempty"`
	User    string     `json:"user,omitempty"`
	Server  string     `json:"server,omitempty"`
	Tool    string     `json:"tool,omitempty"`
	Kind    string     `json:"kind,omitempty"`
	Verdict string     `json:"verdict,omitempty"`
	Code    string     `json:"code,omitempty"`
	Outcome string     `json:"outcome,omitempty"`
}

// NewExport is a wish for an export: jsonl, csv, pdf or ai-identity.
type NewExport struct {
	Format string       `json:"format"`
	Filter RecordFilter `json:"filter"`
	Limit  int          `json:"limit,omitempty"` // refuse when more records match; 0 is the gateway's bound
	// Subject is a person's or an agent's id: everything about it, with what is sealed beside its records opened. It takes
	// an Admin's key.
	Subject string `json:"subject,omitempty"`
}

// AbsenceQuestion asks for the proof that an agent did not call a tool.
type AbsenceQuestion struct {
	Agent  string `json:"agent"`
	Server string `json:"server,omitempty"` // "" is any
	Tool   string `json:"tool,omitempty"`   // "" is any
	From   uint64 `json:"from,omitempty"`   // the size of the ledger from which on it is proved
	To     uint64 `json:"to,omitempty"`     // up to which; 0 is the published checkpoint's size
	Since  string `json:"since,omitempty"`  // a checkpoint of From records that the asker holds
}

// Download is what came beside a file.
type Download struct {
	Record string // the ledger record of the request
	Key    string // of an export as ai-identity: what its chain is verified with. It is nowhere else
}

// Export writes an export, a ZIP archive, to w as it comes. After an error what was written is worth nothing. Verify what
// came before it is relied on: `gatewright verify`, or merkle/ledger/export.
func (a *Admin) Export(ctx context.Context, in NewExport, w io.Writer) (*Download, error) {
	return a.end.download(ctx, "/api/v1/audit-logs/export", in, w)
}

// ProveAbsence writes the proof to w as it comes, as Export does. What it says shows when it is verified.
func (a *Admin) ProveAbsence(ctx context.Context, in AbsenceQuestion, w io.Writer) (*Download, error) {
	return a.end.download(ctx, "/api/v1/audit-logs/absence", in, w)
}

// download sends in and copies a success's body to w. It knows no bound and no time limit but the context's.
func (e *endpoint) download(ctx context.Context, path string, in any, w io.Writer) (*Download, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	e.sign(req.Header)
	req.Header.Set("User-Agent", "gatewright-sdk-go/"+Version)
	req.Header.Set("Content-Type", "application/json")
	patient := *e.http
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return nil, e.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(resp.Body, e.maxReply))
		if err != nil {
			return nil, e.unreachable(ctx, err)
		}
		return nil, e.refusal(&reply{status: resp.StatusCode, header: resp.Header, body: b})
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", e.unreachable(ctx, err))
	}
	return &Download{Record: clean(resp.Header.Get("Gatewright-Record")), Key: clean(resp.Header.Get("Gatewright-Export-Key"))}, nil
}
