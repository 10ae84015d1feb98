package export

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxFilterText bounds each text of a filter in bytes: tool names are the longest.
const maxFilterText = 256

// Filter chooses records. Members that are not given choose all; given ones must all hold. It stands in the manifest as
// it was given, and a verifier holds each record to it.
type Filter struct {
	From    uint64     `json:"from,omitempty"`  // first index
	To      uint64     `json:"to,omitempty"`    // index behind the last; 0 is the checkpoint's size
	Since   *time.Time `json:"since,omitempty"` // of the record's time, included; to the microsecond
	Until   *time.Time `json:"until,omitempty"` // not included
	Agent   string     `json:"agent,omitempty"`
	User    string     `json:"user,omitempty"`
	Server  string     `json:"server,omitempty"`
	Tool    string     `json:"tool,omitempty"`
	Kind    string     `json:"kind,omitempty"`
	Verdict string     `json:"verdict,omitempty"`
	Code    string     `json:"code,omitempty"`
	Outcome string     `json:"outcome,omitempty"`
	// Subject is a person's or agent's id: all records that the subject made, that were made on its behalf, or whose body
	// names it.
	Subject string `json:"subject,omitempty"`
}

// What records say, and "", which asks for nothing.
var (
	verdicts = []string{"", "allow", "deny"}
	outcomes = []string{"", ledger.OutcomeOK, ledger.OutcomeToolError, ledger.OutcomeUpstreamError, ledger.OutcomeWithheld, ledger.OutcomeUnknown}
)

// Check refuses a filter that can mean nothing.
func (f *Filter) Check() error {
	for _, s := range f.texts() {
		if len(s) > maxFilterText {
			return fmt.Errorf("%w: a filter of %d bytes, at most %d", ErrOptions, len(s), maxFilterText)
		}
	}
	switch {
	case f.Kind != "" && ledger.ParseKind(f.Kind) == ledger.Unknown:
		return fmt.Errorf("%w: kind %q", ErrOptions, f.Kind)
	case !slices.Contains(verdicts, f.Verdict):
		return fmt.Errorf("%w: verdict %q: allow or deny", ErrOptions, f.Verdict)
	case !slices.Contains(outcomes, f.Outcome):
		return fmt.Errorf("%w: outcome %q: ok, tool_error, upstream_error, withheld or unknown", ErrOptions, f.Outcome)
	case f.To != 0 && f.To <= f.From, f.From > maxIndex, f.To > maxIndex:
		return fmt.Errorf("%w: records from %d to %d", ErrOptions, f.From, f.To)
	case f.Since != nil && f.Until != nil && !f.Since.Before(*f.Until):
		return fmt.Errorf("%w: no time between since and until", ErrOptions)
	}
	for _, t := range []*time.Time{f.Since, f.Until} {
		if t != nil && (t.Year() < 1970 || t.Year() > 9999) {
			return fmt.Errorf("%w: a time in the year %d", ErrOptions, t.Year())
		}
	}
	return nil
}

func (f *Filter) texts() [9]string {
	return [...]string{f.Agent, f.User, f.Server, f.Tool, f.Kind, f.Verdict, f.Code, f.Outcome, f.Subject}
}

// Everything reports whether the filter leaves out nothing between its indices.
func (f *Filter) Everything() bool {
	return f.Since == nil && f.Until == nil && f.texts() == [9]string{}
}

// span is the range of indices that come into question below a checkpoint's size.
func (f *Filter) span(size uint64) (from, to uint64) {
	to = size
	if f.To != 0 {
		to = min(f.To, size)
	}
	return min(f.From, to), to
}

// Matches reports whether the filter chooses a record; its index is not looked at.
func (f *Filter) Matches(r *ledger.Record) bool {
	if f.Since != nil && r.Time < f.Since.UnixMicro() || f.Until != nil && r.Time >= f.Until.UnixMicro() {
		return false
	}
	return is(f.Agent, r.Agent) && is(f.User, r.User) && is(f.Server, r.Server) && is(f.Tool, r.Tool) &&
		is(f.Kind, r.Kind.String()) && is(f.Verdict, r.Verdict) && is(f.Code, r.Code) && is(f.Outcome, r.Outcome) &&
		(f.Subject == "" || concerns(r, f.Subject))
}

func is(want, got string) bool { return want == "" || want == got }

// concerns reports whether a record was made by or for a subject, or names it in its body.
func concerns(r *ledger.Record, subject string) bool {
	return r.User == subject || r.Agent == subject || bytes.Contains(r.Body, canon.AppendString(nil, subject))
}
