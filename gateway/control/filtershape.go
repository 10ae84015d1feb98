package control

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm/build"
)

// roomSoon is when a gateway that had no room for an upload, a bundle or an export has some again, most likely: each takes a few
// seconds.
const roomSoon = 10 * time.Second

// filterFault says what callers may know.
func filterFault(err error) error {
	const stays = "nothing changed: what was in force stays"
	if e, ok := errors.AsType[*build.Error](err); ok && e.Bound == build.Busy {
		return refuse(http.StatusServiceUnavailable, "busy", "too many uploads are being judged: "+clip(e.Detail, clipText), "nothing was kept, and it does not count as an upload: try again later").later(roomSoon)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, filters.ErrNotFound):
		return refuse(http.StatusNotFound, "not_found", "there is no such filter or version in this organisation", "GET /api/v1/filters lists them")
	case errors.Is(err, filters.ErrRejected):
		return refuse(http.StatusUnprocessableEntity, "filter_rejected", clip(err.Error(), 1000), "`gatewright filter check` says the same offline; "+stays)
	case errors.Is(err, filters.ErrInvalid):
		return refuse(http.StatusUnprocessableEntity, "request_invalid", clip(err.Error(), 1000), stays)
	case errors.Is(err, filters.ErrExists):
		return refuse(http.StatusConflict, "exists", clip(err.Error(), clipText), stays)
	case errors.Is(err, filters.ErrRate):
		var after time.Duration
		if r, ok := errors.AsType[*filters.RateError](err); ok {
			after = r.After
		}
		return refuse(http.StatusTooManyRequests, "limit_reached", clip(err.Error(), clipText), stays).later(after)
	case errors.Is(err, filters.ErrQuota):
		return refuse(http.StatusConflict, "limit_reached", clip(err.Error(), clipText), stays)
	case errors.Is(err, filters.ErrBundle), errors.Is(err, filters.ErrSigned):
		return refuse(http.StatusUnprocessableEntity, "bundle_refused", clip(err.Error(), 1000), stays)
	case errors.Is(err, filters.ErrState), errors.Is(err, filters.ErrDamaged), errors.Is(err, filters.ErrUnavailable):
		return refuse(http.StatusConflict, "conflict", clip(err.Error(), clipText), stays)
	}
	return err
}

func shapeFilter(f *filters.Filter) filter {
	out := filter{Name: f.Name, Enforced: shapeInForce(f.Enforced, f.Versions), Shadow: shapeInForce(f.Tried, f.Versions), Versions: []filterVersion{}}
	for i := range f.Versions {
		out.Versions = append(out.Versions, shapeFilterVersion(&f.Versions[i]))
	}
	return out
}

// direction is what a filter that is placed there looks at: one that has nothing for answers looks at requests.
func direction(e *filters.Entry, versions []filters.Version) string {
	for i := range versions {
		if versions[i].Number == e.Version && !versions[i].Response {
			return manifest.Request
		}
	}
	return cmp.Or(e.Direction, manifest.Both)
}

func shapeInForce(e *filters.Entry, versions []filters.Version) *filterInForce {
	if e == nil {
		return nil
	}
	s := &e.Stats
	out := &filterInForce{Version: e.Version, Servers: e.Servers, Tools: e.Tools, Direction: direction(e, versions), Position: e.Position, Config: e.Config}
	out.Stats = filterStats{
		Calls: s.Calls(), Passed: s.Passed, Denied: s.Denied, Rewritten: s.Rewritten, Labelled: s.Labelled, Skipped: s.Skipped, Traps: s.Traps,
		Fuel: s.Fuel, MostFuel: s.MostFuel, Instances: s.Instances, Broken: s.Broken, LastTrap: clip(s.LastTrap, clipText), LastTrapAt: moment(s.LastTrapAt),
	}
	if s.Timed > 0 {
		out.Stats.Microseconds = math.Round(float64(s.Time.Nanoseconds())/float64(s.Timed)/10) / 100
	}
	return out
}

func shapeRejection(r *filters.Rejection) *filterRejection {
	if r == nil {
		return nil
	}
	out := &filterRejection{Stage: string(r.Stage), Reason: clip(r.Reason, 1000), Hint: clip(r.Hint, 1000)}
	if r.Offset >= 0 {
		out.Offset = &r.Offset
	}
	return out
}

func shapeFilterVersion(v *filters.Version) filterVersion {
	return filterVersion{
		Number: v.Number, State: string(v.State), Digest: filters.DigestText(v.Digest), Size: v.Size, Dialect: v.Dialect, Class: v.Class, Memory: v.Memory,
		Fuel: v.Fuel, Response: v.Response, Vectors: v.Tested, By: v.By.User, Created: v.Time.UTC(), Rejection: shapeRejection(v.Rejection),
	}
}

func shapeFilterLines(lines []filters.Line) []filterLine {
	out := make([]filterLine, 0, len(lines))
	for _, l := range lines {
		out = append(out, filterLine{l.Number, l.Time.UTC(), l.Level, l.Version, clip(l.Text, maxLogLine)})
	}
	return out
}

// noFilters stands in for a gateway to which none can be uploaded.
type noFilters struct{}

func (noFilters) List(context.Context, string) ([]filters.Filter, error) { return nil, nil }
func (noFilters) Filter(context.Context, string, string) (filters.Filter, error) {
	return filters.Filter{}, filters.ErrNotFound
}
func (noFilters) Logs(context.Context, string, string, int) ([]filters.Line, error) {
	return nil, filters.ErrNotFound
}
func (noFilters) Rejections(context.Context, string) ([]filters.Version, error) { return nil, nil }
func (noFilters) Delete(context.Context, string, filters.Actor, string, uint64) error {
	return filters.ErrUnavailable
}
func (noFilters) Upload(context.Context, string, filters.Actor, filters.Upload, func(filters.Step)) (filters.Version, error) {
	return filters.Version{}, filters.ErrUnavailable
}
func (noFilters) Shadow(context.Context, string, filters.Actor, string, uint64, filters.Placement) (filters.Change, error) {
	return filters.Change{}, filters.ErrUnavailable
}
func (noFilters) Activate(context.Context, string, filters.Actor, string, uint64, filters.Placement) (filters.Change, error) {
	return filters.Change{}, filters.ErrUnavailable
}
func (noFilters) Rollback(context.Context, string, filters.Actor, string) (filters.Change, error) {
	return filters.Change{}, filters.ErrUnavailable
}
func (noFilters) Remove(context.Context, string, filters.Actor, string) (filters.Change, error) {
	return filters.Change{}, filters.ErrUnavailable
}
