package gatewright

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Filter is a name under which an organisation uploads WASM filters, with all its versions.
type Filter struct {
	Name     string          `json:"name"`
	Enforced *FilterInForce  `json:"enforced,omitempty"` // absent: not in force
	Shadow   *FilterInForce  `json:"shadow,omitempty"`   // absent: nothing is tried
	Versions []FilterVersion `json:"versions"`           // newest first
}

// FilterInForce is a version that calls pass, or that is tried beside them.
type FilterInForce struct {
	Version   uint64          `json:"version"`
	Servers   []string        `json:"servers,omitempty"` // names, or beginnings with a "*"; none: all
	Tools     []string        `json:"tools,omitempty"`   // likewise
	Direction string          `json:"direction"`         // request, response or both
	Position  int             `json:"position"`          // among the organisation's filters, from 1
	Config    json.RawMessage `json:"config,omitempty"`  // what it is shown when it is set up
	Stats     FilterStats     `json:"stats"`             // since it was loaded
}

// FilterStats are what a filter did. A filter that is tried counts what it would have done.
type FilterStats struct {
	Calls        uint64            `json:"calls"`
	Passed       uint64            `json:"passed"`
	Denied       uint64            `json:"denied"`
	Rewritten    uint64            `json:"rewritten"`
	Traps        map[string]uint64 `json:"traps,omitempty"` // by kind
	Fuel         uint64            `json:"fuel"`            // units, of all calls
	MostFuel     int64             `json:"most_fuel"`       // of one call
	Labelled     uint64            `json:"labelled"`        // in shadow: verdicts with labels or scores
	Skipped      uint64            `json:"skipped"`         // in shadow: calls passed over, because it was behind
	Microseconds float64           `json:"microseconds"`    // a call, on average
	Instances    int               `json:"instances"`
	Broken       bool              `json:"broken"` // it trapped too often: its calls are refused for a while
	LastTrap     string            `json:"last_trap,omitempty"`
	LastTrapAt   time.Time         `json:"last_trap_at,omitzero"`
}

// FilterVersion is an uploaded module.
type FilterVersion struct {
	Number    uint64           `json:"number"` // from 1; 0 of what was rejected
	State     string           `json:"state"`  // idle, shadow, active or rejected
	Digest    string           `json:"digest"` // SHA-256 of the module, as manifests have it
	Size      int              `json:"size"`   // bytes
	Dialect   string           `json:"dialect,omitempty"`
	Class     string           `json:"class,omitempty"`
	Memory    int              `json:"memory,omitempty"` // of a fresh instance, in bytes
	Fuel      int64            `json:"fuel,omitempty"`   // that its costliest test vector took
	Response  bool             `json:"response"`         // it looks at results too
	Vectors   int              `json:"vectors"`          // how many it was tested with
	By        string           `json:"by,omitempty"`
	Created   time.Time        `json:"created"`
	Rejection *FilterRejection `json:"rejection,omitempty"`
}

// FilterRejection is why a module was not taken.
type FilterRejection struct {
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
	Offset *int64 `json:"offset,omitempty"` // byte of the module to blame, where there is one
	Hint   string `json:"hint"`             // what to change
}

// Error says all of it in one line.
func (r *FilterRejection) Error() string {
	at := ""
	if r.Offset != nil {
		at = fmt.Sprintf(" at byte %d", *r.Offset)
	}
	return fmt.Sprintf("rejected in stage %s%s: %s (%s)", r.Stage, at, r.Reason, r.Hint)
}

// NewFilter is a module to upload.
type NewFilter struct {
	Name    string          `json:"-"`
	Module  []byte          `json:"module"`
	Config  json.RawMessage `json:"config,omitempty"`  // an object, shown to gw_init
	Vectors json.RawMessage `json:"vectors,omitempty"` // an array of calls, each with the verdict it has to get
}

// FilterStep is a stage of judging an upload that is over.
type FilterStep struct {
	Stage        string `json:"stage"` // scan, meter, compile, init, selftest, crosscheck, keep
	OK           bool   `json:"ok"`
	Microseconds int64  `json:"microseconds"`
	Detail       string `json:"detail,omitempty"`
}

// FilterPlacement says where a filter is in force. Its zero value is everywhere and in both directions.
type FilterPlacement struct {
	Servers   []string        `json:"servers,omitempty"`
	Tools     []string        `json:"tools,omitempty"`
	Direction string          `json:"direction,omitempty"`
	Config    json.RawMessage `json:"config,omitempty"` // instead of what the version was uploaded with
	Position  int             `json:"position,omitempty"`
}

// FilterChange is what a change of what is in force came to.
type FilterChange struct {
	Name     string `json:"name"`
	Version  uint64 `json:"version,omitempty"` // now in force or tried; 0: none any more
	Mode     string `json:"mode,omitempty"`    // enforce or shadow
	Revision uint64 `json:"revision"`          // of the policies, which says so
	// Where it looks: names, or beginnings with a "*"; none: all. Direction is request, response or both.
	Servers   []string `json:"servers,omitempty"`
	Tools     []string `json:"tools,omitempty"`
	Direction string   `json:"direction,omitempty"`
	Warnings  []string `json:"warnings,omitempty"` // for people: why it may see no call
	// What there was of the name and what there is, and the version that a rollback puts in force, once nothing is tried; 0: none.
	Before   FilterStanding `json:"before"`
	After    FilterStanding `json:"after"`
	Rollback uint64         `json:"rollback,omitempty"`
}

// FilterStanding is which versions of a name are in force and tried; 0: none.
type FilterStanding struct {
	Enforced uint64 `json:"enforced,omitempty"`
	Shadow   uint64 `json:"shadow,omitempty"`
}

// FilterMoves is what a revision of the policies changes of the filters in force.
type FilterMoves struct {
	Filters   []FilterMove `json:"filters,omitempty"`
	Reordered bool         `json:"reordered,omitempty"` // calls pass them in another order
}

// FilterMove is what becomes of one filter.
type FilterMove struct {
	Name   string       `json:"name"`
	Mode   string       `json:"mode"`             // enforce or shadow
	Before *MovedFilter `json:"before,omitempty"` // nil: it was not in force, or tried
	After  *MovedFilter `json:"after,omitempty"`  // nil: it is not any more; the same version: its config, or where it looks, is another
}

// MovedFilter is a version of a filter.
type MovedFilter struct {
	Version uint64 `json:"version,omitempty"` // 0: deleted since
	Digest  string `json:"digest"`
}

// FilterDeleted is a version that is no more.
type FilterDeleted struct {
	Name      string   `json:"name"`
	Version   uint64   `json:"version"`
	Deleted   bool     `json:"deleted"`
	Digest    string   `json:"digest"`
	Revisions []uint64 `json:"revisions,omitempty"` // of the policies that name it, and cannot be put in force without it
	Warnings  []string `json:"warnings,omitempty"`  // the same, for people
}

// FilterLine is what a filter logged, or what the gateway noted about it.
type FilterLine struct {
	Number  uint64    `json:"number"` // from 1
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Version uint64    `json:"version,omitempty"` // absent while it is being judged
	Text    string    `json:"text"`              // the filter's own words, not the gateway's
}

const filtersPath = "/api/v1/filters"

func filterPath(name, rest string) string { return filtersPath + "/" + url.PathEscape(name) + rest }

// Filters lists the organisation's filters.
func (a *Admin) Filters(ctx context.Context) ([]Filter, error) {
	return listAll[Filter](ctx, a.end, filtersPath)
}

// Filter returns one filter with its versions.
func (a *Admin) Filter(ctx context.Context, name string) (*Filter, error) {
	out := &Filter{}
	return out, a.get(ctx, filterPath(name, ""), out)
}

// PushFilter uploads a module. The gateway judges it stage by stage, and step hears of each; nothing comes into force. A
// module that does not pass is a *FilterRejection.
func (a *Admin) PushFilter(ctx context.Context, in NewFilter, step func(FilterStep)) (*FilterVersion, error) {
	lines := &filterLines{step: step}
	if _, err := a.end.download(ctx, filterPath(in.Name, "/push"), in, lines); err != nil {
		return nil, err
	}
	switch {
	case lines.out.Rejection != nil:
		return nil, lines.out.Rejection
	case lines.out.Refused != nil:
		r := lines.out.Refused
		return nil, &Error{Code: clean(r.Code), Message: clean(r.Detail), Hint: clean(r.Hint), Status: r.Status, RetryAfter: waits(r.RetryAfter)}
	case lines.out.Version == nil:
		return nil, fmt.Errorf("%w: it broke off before it said what became of the upload", ErrAnswer)
	}
	return lines.out.Version, nil
}

// filterRefusal is why an upload was not judged, or not kept.
type filterRefusal struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
	// Status is what the answer would have been, had it not begun by then, and RetryAfter the seconds of its header of that name.
	Status     int `json:"status"`
	RetryAfter int `json:"retry_after"`
}

// filterLines reads the stages of an upload as they come.
type filterLines struct {
	step func(FilterStep)
	rest []byte
	out  struct {
		Step      *FilterStep      `json:"step"`
		Version   *FilterVersion   `json:"version"`
		Rejection *FilterRejection `json:"rejection"`
		Refused   *filterRefusal   `json:"refused"`
	}
}

// maxFilterLine bounds one line of the answer, in bytes.
const maxFilterLine = 1 << 20

// Write implements io.Writer.
func (l *filterLines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			break
		}
		l.rest = rest
		l.out.Step = nil
		if err := json.Unmarshal(line, &l.out); err != nil {
			return 0, fmt.Errorf("the gateway's answer: %w", err)
		}
		if l.out.Step != nil && l.step != nil {
			l.step(*l.out.Step)
		}
	}
	if len(l.rest) > maxFilterLine {
		return 0, fmt.Errorf("%w: too long a line", ErrAnswer)
	}
	return len(b), nil
}

// ShadowFilter tries a version beside the calls: it is asked, counted, and never obeyed.
func (a *Admin) ShadowFilter(ctx context.Context, name string, version uint64, where FilterPlacement) (*FilterChange, error) {
	return a.placeFilter(ctx, name, version, "shadow", where)
}

// ActivateFilter puts a version in force.
func (a *Admin) ActivateFilter(ctx context.Context, name string, version uint64, where FilterPlacement) (*FilterChange, error) {
	return a.placeFilter(ctx, name, version, "activate", where)
}

func (a *Admin) placeFilter(ctx context.Context, name string, version uint64, how string, where FilterPlacement) (*FilterChange, error) {
	out := &FilterChange{}
	return out, a.change(ctx, http.MethodPost, filterPath(name, "/versions/"+strconv.FormatUint(version, 10)+"/"+how), where, out)
}

// RollBackFilter ends what is tried, or puts the version before in force again.
func (a *Admin) RollBackFilter(ctx context.Context, name string) (*FilterChange, error) {
	out := &FilterChange{}
	return out, a.change(ctx, http.MethodPost, filterPath(name, "/rollback"), nil, out)
}

// RemoveFilter takes a filter out of force. Its versions stay.
func (a *Admin) RemoveFilter(ctx context.Context, name string) (*FilterChange, error) {
	out := &FilterChange{}
	return out, a.change(ctx, http.MethodPost, filterPath(name, "/remove"), nil, out)
}

// DeleteFilterVersion deletes a version that is neither in force nor tried, and tells which revisions of the policies cannot be put in
// force without it.
func (a *Admin) DeleteFilterVersion(ctx context.Context, name string, version uint64) (*FilterDeleted, error) {
	out := &FilterDeleted{}
	return out, a.change(ctx, http.MethodDelete, filterPath(name, "/versions/"+strconv.FormatUint(version, 10)), nil, out)
}

// RejectedFilter is an upload that did not pass.
type RejectedFilter struct {
	Name string `json:"name"`
	FilterVersion
}

// RejectedFilters lists uploads that did not pass, newest first.
func (a *Admin) RejectedFilters(ctx context.Context) ([]RejectedFilter, error) {
	var out struct {
		Items []RejectedFilter `json:"items"`
	}
	return out.Items, a.get(ctx, "/api/v1/filter-rejections", &out)
}

// FilterLogs returns a filter's newest lines, oldest first; lines of zero asks for the gateway's default number.
func (a *Admin) FilterLogs(ctx context.Context, name string, lines int) ([]FilterLine, error) {
	path := filterPath(name, "/logs")
	if lines > 0 {
		path += "?" + url.Values{"lines": {strconv.Itoa(lines)}}.Encode()
	}
	var out struct {
		Items []FilterLine `json:"items"`
	}
	return out.Items, a.get(ctx, path, &out)
}
