package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/policies/manifest"
)

// Filters are the tenants' own filters, as far as this port looks after them. A tenant's names are its own: what is
// another tenant's is not found. What a change returned without an error is durable and in force.
type Filters interface {
	FilterViews
	// Upload judges a module and keeps it as a version; step hears of each stage that is over.
	Upload(ctx context.Context, tenant string, by filters.Actor, u filters.Upload, step func(filters.Step)) (filters.Version, error)
	Shadow(ctx context.Context, tenant string, by filters.Actor, name string, version uint64, where filters.Placement) (filters.Change, error)
	Activate(ctx context.Context, tenant string, by filters.Actor, name string, version uint64, where filters.Placement) (filters.Change, error)
	Rollback(ctx context.Context, tenant string, by filters.Actor, name string) (filters.Change, error)
	Remove(ctx context.Context, tenant string, by filters.Actor, name string) (filters.Change, error)
	Delete(ctx context.Context, tenant string, by filters.Actor, name string, version uint64) error
}

var _ Filters = (*filters.Service)(nil)

// FilterViews is what can be seen of them.
type FilterViews interface {
	List(ctx context.Context, tenant string) ([]filters.Filter, error)
	Filter(ctx context.Context, tenant, name string) (filters.Filter, error)
	// Logs returns the newest n lines, oldest first.
	Logs(ctx context.Context, tenant, name string, n int) ([]filters.Line, error)
	// Rejections returns what was not taken of late, newest first.
	Rejections(ctx context.Context, tenant string) ([]filters.Version, error)
}

// filter is one as answered.
type filter struct {
	Name     string          `json:"name"`
	Enforced *filterInForce  `json:"enforced,omitempty" doc:"absent: not in force"`
	Shadow   *filterInForce  `json:"shadow,omitempty" doc:"absent: nothing is tried"`
	Versions []filterVersion `json:"versions" nullable:"false" doc:"newest first"`
}

type filterOut struct{ Body filter }

type filterInForce struct {
	Version   uint64          `json:"version"`
	Servers   []string        `json:"servers,omitempty" doc:"names, or beginnings with a *; absent: all"`
	Tools     []string        `json:"tools,omitempty" doc:"names, or beginnings with a *; absent: all"`
	Direction string          `json:"direction" enum:"request,response,both"`
	Position  int             `json:"position" doc:"among the organisation's filters, from 1"`
	Config    json.RawMessage `json:"config,omitempty" doc:"what it is shown when it is set up"`
	Stats     filterStats     `json:"stats" doc:"since it was loaded; of a filter in shadow, what it would have done"`
}

type filterStats struct {
	Calls        uint64            `json:"calls"`
	Passed       uint64            `json:"passed"`
	Denied       uint64            `json:"denied"`
	Rewritten    uint64            `json:"rewritten"`
	Traps        map[string]uint64 `json:"traps,omitempty" doc:"by kind"`
	Labelled     uint64            `json:"labelled,omitempty" doc:"in shadow: verdicts with labels or scores"`
	Skipped      uint64            `json:"skipped,omitempty" doc:"in shadow: calls passed over, because it was behind"`
	Fuel         uint64            `json:"fuel" doc:"units, of all calls"`
	MostFuel     int64             `json:"most_fuel" doc:"of one call"`
	Microseconds float64           `json:"microseconds" doc:"a call, on average; one of sixteen is timed"`
	Instances    int               `json:"instances"`
	Broken       bool              `json:"broken" doc:"it trapped too often: its calls are refused for a while"`
	LastTrap     string            `json:"last_trap,omitempty"`
	LastTrapAt   *time.Time        `json:"last_trap_at,omitempty"`
}

type filterVersion struct {
	Number    uint64           `json:"number" doc:"from 1; 0 of what was rejected"`
	State     string           `json:"state" enum:"idle,shadow,active,rejected"`
	Digest    string           `json:"digest" doc:"SHA-256 of the module, as manifests have it"`
	Size      int              `json:"size" doc:"bytes"`
	Dialect   string           `json:"dialect,omitempty" doc:"gw, gw-flat, http-wasm or opa"`
	Class     string           `json:"class,omitempty" doc:"small, or large: slow to compile and to start"`
	Memory    int              `json:"memory,omitempty" doc:"of a fresh instance, in bytes"`
	Fuel      int64            `json:"fuel,omitempty" doc:"that its costliest test vector took"`
	Response  bool             `json:"response" doc:"it looks at results too"`
	Vectors   int              `json:"vectors" doc:"how many it was tested with"`
	By        string           `json:"by,omitempty"`
	Created   time.Time        `json:"created"`
	Rejection *filterRejection `json:"rejection,omitempty"`
}

type filterVersionOut struct{ Body filterVersion }

type filterRejection struct {
	Stage  string `json:"stage" doc:"scan, meter, compile, init, selftest, crosscheck or keep"`
	Reason string `json:"reason"`
	Offset *int64 `json:"offset,omitempty" doc:"byte of the module to blame, where there is one"`
	Hint   string `json:"hint" doc:"what to change"`
}

type filterChange struct {
	Name      string   `json:"name"`
	Version   uint64   `json:"version,omitempty" doc:"now in force or tried; absent: none any more"`
	Mode      string   `json:"mode,omitempty" doc:"enforce or shadow"`
	Revision  uint64   `json:"revision" doc:"of the policies, which says so"`
	Servers   []string `json:"servers,omitempty" doc:"where it looks: names, or beginnings with a *; absent: all"`
	Tools     []string `json:"tools,omitempty" doc:"likewise"`
	Direction string   `json:"direction,omitempty" enum:"request,response,both"`
	Warnings  []string `json:"warnings,omitempty" doc:"for people: why it may see no call"`
	// What there was of the name, what there is, and what a rollback would bring.
	Before   filterStanding `json:"before"`
	After    filterStanding `json:"after"`
	Rollback uint64         `json:"rollback,omitempty" doc:"the version that a rollback puts in force, once nothing is tried; absent: there is none to go back to"`
}

// filterStanding is which versions of a name are in force and tried.
type filterStanding struct {
	Enforced uint64 `json:"enforced,omitempty" doc:"absent: none is in force"`
	Shadow   uint64 `json:"shadow,omitempty" doc:"absent: none is tried"`
}

type filterChangeOut struct{ Body filterChange }

// filterPath names a filter. Its pattern is filters' own.
type filterPath struct {
	Name string `path:"name" pattern:"^[a-z0-9._-]{1,64}$" maxLength:"64"`
}

type pushFilterIn struct {
	Name string `path:"name" pattern:"^[a-z0-9._-]{1,64}$" maxLength:"64"`
	Body struct {
		Module  []byte           `json:"module" minLength:"1" doc:"the module, base64"`
		Config  json.RawMessage  `json:"config,omitempty" doc:"an object, shown to gw_init"`
		Vectors []filters.Vector `json:"vectors,omitempty" maxItems:"64" doc:"calls, each with the verdict it has to get"`
	}
}

type filterVersionPath struct {
	Name   string `path:"name" pattern:"^[a-z0-9._-]{1,64}$" maxLength:"64"`
	Number uint64 `path:"number" minimum:"1" maximum:"9007199254740991"`
}

type filterRejectionsOut struct {
	Body struct {
		Items []rejectedFilter `json:"items" nullable:"false" doc:"newest first"`
	}
}

// rejectedFilter is an upload that did not pass.
type rejectedFilter struct {
	Name string `json:"name"`
	filterVersion
}

type placeFilterIn struct {
	Name   string `path:"name" pattern:"^[a-z0-9._-]{1,64}$" maxLength:"64"`
	Number uint64 `path:"number" minimum:"1" maximum:"9007199254740991"`
	Body   *struct {
		Servers   []string        `json:"servers,omitempty" maxItems:"64" doc:"names, or beginnings with a *, which alone is all; absent: as now, or all"`
		Tools     []string        `json:"tools,omitempty" maxItems:"64" doc:"likewise"`
		Direction string          `json:"direction,omitempty" enum:"request,response,both" doc:"absent: as now, or both"`
		Config    json.RawMessage `json:"config,omitempty" doc:"absent: as now, or what the version was uploaded with"`
		Position  int             `json:"position,omitempty" minimum:"1" maximum:"64" doc:"among the organisation's filters; absent: where it stands, or the end"`
	}
}

type filterLogsIn struct {
	Name  string `path:"name" pattern:"^[a-z0-9._-]{1,64}$" maxLength:"64"`
	Lines int    `query:"lines" minimum:"1" maximum:"1000" default:"100" doc:"how many at most, the newest; the server may answer fewer"`
}

type filterLine struct {
	Number  uint64    `json:"number" doc:"from 1"`
	Time    time.Time `json:"time"`
	Level   string    `json:"level" enum:"debug,info,warn,error"`
	Version uint64    `json:"version,omitempty" doc:"absent while it is being judged"`
	Text    string    `json:"text" doc:"as the filter wrote it; not to be trusted"`
}

type filterLogsOut struct {
	Body struct {
		Items []filterLine `json:"items" nullable:"false" doc:"oldest first"`
	}
}

func (m *mounting) filters() {
	a, all := m.api, m.api.deps.Filters
	handle(m, "list-filters", func(ctx context.Context, c *call, in *listing) (*paged[filter], error) {
		rows, err := all.List(ctx, c.caller.Tenant())
		if err != nil {
			return nil, filterFault(err)
		}
		return paginate(c, *in, rows, func(f *filters.Filter) string { return f.Name }, shapeFilter)
	})
	handle(m, "get-filter", func(ctx context.Context, c *call, in *filterPath) (*filterOut, error) {
		f, err := all.Filter(ctx, c.caller.Tenant(), in.Name)
		return &filterOut{Body: shapeFilter(&f)}, filterFault(err)
	})
	handle(m, "push-filter", func(ctx context.Context, c *call, in *pushFilterIn) (*filterVersionOut, error) {
		c.target = in.Name
		v, err := all.Upload(ctx, c.caller.Tenant(), filters.Actor(actor(c)), in.upload(), func(filters.Step) {})
		c.noteVersion(&v)
		return &filterVersionOut{Body: shapeFilterVersion(&v)}, filterFault(err)
	})
	handle(m, "push-filter-steps", func(_ context.Context, c *call, in *pushFilterIn) (*none, error) {
		c.target = in.Name
		return &none{}, c.flow(func() (*flow, error) { return a.pushFlow(c, in), nil })
	})
	handle(m, "shadow-filter", func(ctx context.Context, c *call, in *placeFilterIn) (*filterChangeOut, error) {
		change, err := all.Shadow(ctx, c.caller.Tenant(), filters.Actor(actor(c)), in.Name, in.Number, in.placement())
		return a.filterChanged(ctx, c, in.Name, change, err)
	})
	handle(m, "activate-filter", func(ctx context.Context, c *call, in *placeFilterIn) (*filterChangeOut, error) {
		change, err := all.Activate(ctx, c.caller.Tenant(), filters.Actor(actor(c)), in.Name, in.Number, in.placement())
		return a.filterChanged(ctx, c, in.Name, change, err)
	})
	handle(m, "rollback-filter", func(ctx context.Context, c *call, in *filterPath) (*filterChangeOut, error) {
		change, err := all.Rollback(ctx, c.caller.Tenant(), filters.Actor(actor(c)), in.Name)
		return a.filterChanged(ctx, c, in.Name, change, err)
	})
	handle(m, "remove-filter", func(ctx context.Context, c *call, in *filterPath) (*filterChangeOut, error) {
		change, err := all.Remove(ctx, c.caller.Tenant(), filters.Actor(actor(c)), in.Name)
		return a.filterChanged(ctx, c, in.Name, change, err)
	})
	handle(m, "delete-filter-version", a.deleteFilter)
	handle(m, "list-filter-rejections", func(ctx context.Context, c *call, _ *none) (*filterRejectionsOut, error) {
		rows, err := all.Rejections(ctx, c.caller.Tenant())
		if err != nil {
			return nil, filterFault(err)
		}
		out := &filterRejectionsOut{}
		out.Body.Items = []rejectedFilter{}
		for i := range rows {
			out.Body.Items = append(out.Body.Items, rejectedFilter{rows[i].Name, shapeFilterVersion(&rows[i])})
		}
		return out, nil
	})
	handle(m, "list-filter-logs", func(ctx context.Context, c *call, in *filterLogsIn) (*filterLogsOut, error) {
		lines, err := all.Logs(ctx, c.caller.Tenant(), in.Name, in.Lines)
		if err != nil {
			return nil, filterFault(err)
		}
		out := &filterLogsOut{}
		out.Body.Items = shapeFilterLines(lines)
		return out, nil
	})
}

func (in *pushFilterIn) upload() filters.Upload {
	return filters.Upload{Name: in.Name, Module: in.Body.Module, Config: in.Body.Config, Vectors: in.Body.Vectors}
}

func (in *placeFilterIn) placement() filters.Placement {
	b := in.Body
	if b == nil {
		return filters.Placement{}
	}
	return filters.Placement{Servers: b.Servers, Tools: b.Tools, Direction: b.Direction, Config: b.Config, Position: b.Position}
}

// noteVersion says in the call's record which module it was about.
func (c *call) noteVersion(v *filters.Version) {
	if v.Number > 0 {
		c.note("version", strconv.FormatUint(v.Number, 10))
		c.note("digest", v.Digest.String())
	}
}

func (a *API) filterChanged(ctx context.Context, c *call, name string, change filters.Change, err error) (*filterChangeOut, error) {
	c.target = name
	if err != nil {
		a.log.Warn("filter not changed", "record", c.id, "tenant", c.caller.Tenant(), "filter", name, "error", err)
		return nil, filterFault(err)
	}
	c.note("revision", strconv.FormatUint(change.Revision, 10))
	out := &filterChangeOut{Body: filterChange{
		Name: change.Name, Version: change.Version, Mode: change.Mode, Revision: change.Revision,
		Before: filterStanding{change.Was.Enforced, change.Was.Tried}, After: filterStanding{change.Now.Enforced, change.Now.Tried}, Rollback: change.Back,
	}}
	if e, versions := a.placed(ctx, c, change); e != nil {
		out.Body.Servers, out.Body.Tools, out.Body.Direction = e.Servers, e.Tools, direction(e, versions)
		out.Body.Warnings = a.unseen(c.caller.Tenant(), &e.Filter)
	}
	return out, nil
}

// placed is what is in force after a change, or tried, and the filter's versions; nil when nothing is, or somebody else was faster.
func (a *API) placed(ctx context.Context, c *call, change filters.Change) (*filters.Entry, []filters.Version) {
	f, err := a.deps.Filters.Filter(ctx, c.caller.Tenant(), change.Name)
	switch {
	case err != nil || change.Mode == "":
		return nil, nil
	case change.Mode == manifest.Shadow:
		return f.Tried, f.Versions
	}
	return f.Enforced, f.Versions
}

// unseen says why a filter that looks there may see no call: nothing that is known now fits. A server or a tool may come later, so
// that is no error.
func (a *API) unseen(tenant string, e *manifest.Filter) (warnings []string) {
	servers := a.deps.Catalogue.Servers(tenant)
	var names, tools []string
	seen := false
	for _, s := range servers {
		names = append(names, s.Name)
		if !(&manifest.Filter{Servers: e.Servers}).Covers(s.Name, "") {
			continue
		}
		seen = true
		for _, t := range a.deps.Catalogue.Tools(tenant, s.Name) {
			tools = append(tools, t.Name)
		}
	}
	if !seen && e.Servers != nil {
		return []string{fmt.Sprintf("no server fits %q (there are: %s); the filter sees no call until one does", e.Servers, some(names))}
	}
	if e.Tools != nil && len(tools) > 0 && !slices.ContainsFunc(tools, func(t string) bool { return (&manifest.Filter{Tools: e.Tools}).Covers("", t) }) {
		return []string{fmt.Sprintf("no tool fits %q (there are: %s); the filter sees no call of a tool until one does (a prompt's name or a resource's URI may fit)", e.Tools, some(tools))}
	}
	return nil
}

// some are a few names for people.
func some(names []string) string {
	const few = 12
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	if len(names) > few {
		return strings.Join(names[:few], ", ") + " and more"
	}
	return strings.Join(names, ", ")
}

// pushLine is one line of an upload's answer. The last has the version, why it was rejected, or why it was refused; an
// answer without one broke off.
type pushLine struct {
	Step      *pushStep        `json:"step,omitempty"`
	Version   *filterVersion   `json:"version,omitempty"`
	Rejection *filterRejection `json:"rejection,omitempty"`
	Refused   *problem         `json:"refused,omitempty"`
}

type pushStep struct {
	Stage        string `json:"stage"`
	OK           bool   `json:"ok"`
	Microseconds int64  `json:"microseconds"`
	Detail       string `json:"detail,omitempty"`
}

// pushFlow judges an upload and tells of each stage as it is over. A reader who leaves ends the judging.
func (a *API) pushFlow(c *call, in *pushFilterIn) *flow {
	tenant, by := c.caller.Tenant(), filters.Actor(actor(c))
	return &flow{media: "application/jsonl", name: "gatewright-filter-push.jsonl", write: func(ctx context.Context, w io.Writer, commit func([32]byte) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var mu sync.Mutex // a stage may tell of itself from a goroutine of its own
		tell := func(l pushLine) error {
			mu.Lock()
			defer mu.Unlock()
			return writeLine(w, l)
		}
		v, err := a.deps.Filters.Upload(ctx, tenant, by, in.upload(), func(s filters.Step) {
			if err := tell(pushLine{Step: &pushStep{string(s.Stage), s.OK, s.Took.Microseconds(), clip(s.Detail, clipText)}}); err != nil {
				cancel(err)
			}
		})
		last, err := a.pushed(&v, err)
		if err != nil {
			return err
		}
		c.noteVersion(&v)
		b, err := json.Marshal(last)
		if err != nil {
			return err
		}
		if err := commit(sum(b)); err != nil {
			return err
		}
		return tell(last)
	}}
}

// pushed is what an upload came to, or an error that callers are not told.
func (a *API) pushed(v *filters.Version, err error) (pushLine, error) {
	if err == nil {
		shaped := shapeFilterVersion(v)
		return pushLine{Version: &shaped}, nil
	}
	if r, ok := errors.AsType[*filters.Rejection](err); ok {
		return pushLine{Rejection: shapeRejection(r)}, nil
	}
	p, known := asProblem(fault(filterFault(err)))
	if !known {
		return pushLine{}, err
	}
	return pushLine{Refused: p}, nil
}
