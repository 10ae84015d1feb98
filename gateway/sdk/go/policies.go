package gatewright

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// PolicyBundle names a bundle of policies: one of its members, or none for what is in force.
type PolicyBundle struct {
	Revision uint64            `json:"revision,omitempty"`
	Staged   bool              `json:"staged,omitempty"` // what is tried in shadow or for a share of the agents
	Files    map[string]string `json:"files,omitempty"`  // by name, of a bundle that is not there yet
}

// DecisionFilter chooses recorded decisions. Members that are not given choose all; given ones must all hold.
type DecisionFilter struct {
	Since  *time.Time `json:"since,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Agent  string     `json:"agent,omitempty"`
	User   string     `json:"user,omitempty"`
	Server string     `json:"server,omitempty"`
	Tool   string     `json:"tool,omitempty"` // name of a tool, or SERVER/TOOL
}

// PolicyDiff asks what two bundles answer differently.
type PolicyDiff struct {
	Old       *PolicyBundle  `json:"old,omitempty"` // nil: what is in force
	New       *PolicyBundle  `json:"new,omitempty"` // nil: what is in force
	Filter    DecisionFilter `json:"filter"`
	Limit     int            `json:"limit,omitempty"`     // how many records at most, newest first; 0 is the gateway's bound
	Examples  int            `json:"examples,omitempty"`  // of each group; 0 is 5
	Generated int            `json:"generated,omitempty"` // compare so many made-up requests instead of records
	Seed      uint64         `json:"seed,omitempty"`      // of the made-up requests
}

// PolicyDiffed is the outcome of a comparison.
type PolicyDiffed struct {
	Old, New    string          // digests of the bundles
	Report      json.RawMessage // as policies/compare.Report
	Record      string          // the ledger record of the request
	FilterMoves                 // what the new one changes of the old one's filters
}

// DiffPolicies has the gateway put recorded decisions to two bundles, and says now and then how many of how many it has
// read, 0 when the gateway does not know of how many. It takes an Admin's key. Ending ctx ends the comparison.
func (a *Admin) DiffPolicies(ctx context.Context, in PolicyDiff, progress func(read, of uint64)) (*PolicyDiffed, error) {
	lines := &diffLines{progress: progress}
	got, err := a.end.download(ctx, "/api/v1/policies/diff", in, lines)
	if err != nil {
		return nil, err
	}
	if lines.out.Report == nil {
		return nil, errors.New("the gateway's answer has no report")
	}
	lines.out.Record = got.Record
	return &lines.out, nil
}

// maxDiffLine bounds one line of the answer, in bytes.
const maxDiffLine = 64 << 20

// diffLines reads the lines of a comparison as they come.
type diffLines struct {
	progress func(read, of uint64)
	rest     []byte
	out      PolicyDiffed
}

// Write implements io.Writer.
func (d *diffLines) Write(b []byte) (int, error) {
	d.rest = append(d.rest, b...)
	for {
		line, rest, whole := bytes.Cut(d.rest, []byte("\n"))
		if !whole {
			break
		}
		if err := d.line(line); err != nil {
			return 0, err
		}
		d.rest = rest
	}
	if len(d.rest) > maxDiffLine {
		return 0, errors.New("a line of the gateway's answer is too long")
	}
	return len(b), nil
}

func (d *diffLines) line(line []byte) error {
	var in struct {
		Read   *uint64         `json:"read"`
		Of     uint64          `json:"of"`
		Old    string          `json:"old"`
		New    string          `json:"new"`
		Report json.RawMessage `json:"report"`
		FilterMoves
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return fmt.Errorf("read the comparison: %w", err)
	}
	if in.Read != nil && d.progress != nil {
		d.progress(*in.Read, in.Of)
	}
	if in.Report != nil {
		d.out.Old, d.out.New, d.out.Report, d.out.FilterMoves = in.Old, in.New, in.Report, in.FilterMoves
	}
	return nil
}

// ExplainedRecord says why a recorded call is allowed or denied.
type ExplainedRecord struct {
	Record      string            `json:"record"`
	Recorded    string            `json:"recorded,omitempty"` // what was answered then: allow, deny or hold
	Refused     string            `json:"refused,omitempty"`  // the code that the call was refused with, not always by policy
	Now         string            `json:"now"`                // what the bundle answers
	Bundle      string            `json:"bundle"`             // its digest
	Same        bool              `json:"same_bundle"`
	Approximate string            `json:"approximate,omitempty"` // what the record does not keep
	Target      string            `json:"target"`
	By          []string          `json:"by"`
	Errors      []string          `json:"errors,omitempty"`
	Shadowed    []string          `json:"shadowed,omitempty"`
	Policies    []ExplainedPolicy `json:"policies"`
	Nearest     []string          `json:"nearest,omitempty"`
}

// ExplainedPolicy is what became of one policy.
type ExplainedPolicy struct {
	Policy     string               `json:"policy"`
	Effect     string               `json:"effect"` // permit, forbid or hold
	Value      string               `json:"value"`  // holds, fails, error or unknown
	Reason     string               `json:"reason,omitempty"`
	Conditions []ExplainedCondition `json:"conditions"`
}

// ExplainedCondition is what became of one condition.
type ExplainedCondition struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Unless  bool   `json:"unless,omitempty"`
	Text    string `json:"text"`
	Value   string `json:"value"`
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"`
}

// ExplainRecord says what a bundle, nil is what is in force, makes of a recorded call, by the record's id or index. It takes
// an Admin's key.
func (a *Admin) ExplainRecord(ctx context.Context, record string, bundle *PolicyBundle) (*ExplainedRecord, error) {
	in := struct {
		Record string        `json:"record"`
		Bundle *PolicyBundle `json:"bundle,omitempty"`
	}{record, bundle}
	var out ExplainedRecord
	if err := a.change(ctx, http.MethodPost, "/api/v1/policies/explain", in, &out); err != nil {
		return nil, err
	}
	return &out, nil
}
