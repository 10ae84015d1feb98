package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Auditor searches the ledger, exactly. A tenant without records is wal.ErrTenant, a page that begins with records that
// were pruned wal.ErrPruned, and a count over too many index.ErrCount.
type Auditor interface {
	Query(ctx context.Context, tenant string, q index.Query) (index.Page, error)
	Count(ctx context.Context, tenant string, q index.Query) (index.Counts, error)
}

var _ Auditor = (*wal.Log)(nil)

// AuditFilter is exported for huma, which passes over members that are not. It says which records are wanted: all that is given must hold.
type AuditFilter struct {
	From    string `query:"from" maxLength:"64" doc:"earliest time of a record, RFC 3339" example:"2026-11-22T08:00:00Z"`
	To      string `query:"to" maxLength:"64" doc:"time before which a record was made, RFC 3339"`
	Agent   string `query:"agent_id" maxLength:"256" doc:"the agent that called"`
	User    string `query:"user_id" maxLength:"256" doc:"the user it called for, or who called this port"`
	Server  string `query:"server" maxLength:"256" doc:"name of an MCP server"`
	Tool    string `query:"tool" maxLength:"320" doc:"name of a tool, or SERVER/TOOL"`
	Verdict string `query:"verdict" enum:"allow,deny" doc:"what policy said"`
	Kind    string `query:"kind" enum:"admitted,settled,refused,plan,token,approval,admin,key,bundle,filter,heartbeat,recovery,prune,erasure" doc:"what a record states"`
	Code    string `query:"code" maxLength:"64" doc:"reason of a refusal"`
	Outcome string `query:"outcome" enum:"ok,tool_error,upstream_error,withheld,unknown" doc:"what came of a call"`

	from, to int64
}

// Resolve implements huma.Resolver: it reads the times, and refuses what was given and is empty, which would ask for
// nothing.
func (f *AuditFilter) Resolve(ctx huma.Context) []error {
	var errs []error
	wrong := func(name, message string) {
		errs = append(errs, &huma.ErrorDetail{Location: "query." + name, Message: message})
	}
	asked := ctx.URL()
	for name, values := range asked.Query() {
		if slices.Contains(values, "") {
			wrong(name, "is empty; leave it out")
		}
	}
	var ok bool
	if f.from, ok = micros(f.From); !ok {
		wrong("from", "expected a time as RFC 3339 writes it, from 1970 on")
	}
	if f.to, ok = micros(f.To); !ok {
		wrong("to", "expected a time as RFC 3339 writes it, from 1970 on")
	}
	var err error
	if f.Server, f.Tool, err = toolOf(f.Server, f.Tool); err != nil {
		wrong("tool", err.Error())
	}
	if len(errs) == 0 && f.To != "" && f.to <= f.from {
		wrong("to", "must be after from")
	}
	return errs
}

// micros reads a time in unix microseconds, rounded up, so that "from on" and "before" keep their meaning; none is 0.
func micros(text string) (int64, bool) {
	if text == "" {
		return 0, true
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Before(time.Unix(0, 0)) {
		return 0, false
	}
	return t.Add(time.Microsecond - 1).UnixMicro(), true
}

func (f *AuditFilter) query() index.Query {
	return index.Query{
		From: f.from, To: f.to, Agent: f.Agent, User: f.User, Server: f.Server, Tool: f.Tool, Verdict: f.Verdict, Kind: f.Kind,
		Code: f.Code, Outcome: f.Outcome,
	}
}

// list names the listing that a cursor is good for: this operation with these filters in this order.
func (f *AuditFilter) list(op, order string) string {
	return strings.Join([]string{op, order, f.From, f.To, f.Agent, f.User, f.Server, f.Tool, f.Verdict, f.Kind, f.Code, f.Outcome}, "\x01")
}

type auditIn struct {
	AuditFilter
	Order  string `query:"order" enum:"newest,oldest" default:"newest" doc:"which come first; the place in the ledger decides, not the clock"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before, with the same filters"`
}

type auditOut struct {
	Body struct {
		Size  uint64  `json:"size" doc:"records in the ledger when this was answered"`
		First uint64  `json:"first" doc:"index of the first record that is kept"`
		Items []entry `json:"items" nullable:"false" doc:"may be empty on a page that is not the last, after many records that are not wanted"`
		Next  string  `json:"next,omitempty" doc:"cursor of the next page; absent on the last. What is written after the first page is on none"`
	}
}

type statsIn struct {
	AuditFilter
	Top int `query:"top" minimum:"1" maximum:"1000" default:"10" doc:"how many names of each list at most"`
}

// named is how many records have a name.
type named struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

type hourly struct {
	Start time.Time `json:"start" doc:"UTC"`
	Count uint64    `json:"count"`
}

// maxHours is how many hours are answered: 31 days.
const maxHours = 31 * 24

// auditStats lists the most frequent names first.
type auditStats struct {
	Size     uint64     `json:"size" doc:"records in the ledger when this was answered"`
	First    uint64     `json:"first" doc:"index of the first record that is kept; those before it are not counted"`
	Total    uint64     `json:"total" doc:"records that are wanted"`
	Earliest *time.Time `json:"earliest,omitempty" doc:"time of the earliest of them"`
	Latest   *time.Time `json:"latest,omitempty"`
	Kinds    []named    `json:"kinds" nullable:"false"`
	Verdicts []named    `json:"verdicts" nullable:"false"`
	Codes    []named    `json:"codes" nullable:"false"`
	Outcomes []named    `json:"outcomes" nullable:"false"`
	Agents   []named    `json:"agents" nullable:"false"`
	Users    []named    `json:"users" nullable:"false"`
	Servers  []named    `json:"servers" nullable:"false"`
	Tools    []named    `json:"tools" nullable:"false"`
	Hours    []hourly   `json:"hours" nullable:"false" doc:"in order of time, those without a record left out; the latest 744"`
}

type auditStatsOut struct{ Body auditStats }

func (m *mounting) audit() {
	handle(m, "list-audit-logs", m.api.listAudit)
	handle(m, "get-audit-log", func(ctx context.Context, c *call, in *recordIn) (*recordOut, error) {
		e, err := m.api.lookUp(ctx, c.caller.Tenant(), in.Record)
		if err != nil {
			return nil, err
		}
		out := &recordOut{Body: shownRecord{entry: shapeEntry(&e)}}
		return out, m.api.follow(ctx, c.caller.Tenant(), &e, &out.Body)
	})
	handle(m, "audit-log-stats", func(ctx context.Context, c *call, in *statsIn) (*auditStatsOut, error) {
		counts, err := m.api.deps.Ledger.Count(ctx, c.caller.Tenant(), in.query())
		switch {
		case errors.Is(err, index.ErrCount):
			return nil, refuse(http.StatusUnprocessableEntity, "limit_reached", "these are too many records, or names, to add up", "narrow the time with from and to")
		case err != nil && !errors.Is(err, wal.ErrTenant):
			return nil, fmt.Errorf("count ledger: %w", err)
		}
		return &auditStatsOut{shapeStats(&counts, in.Top)}, nil
	})
}

func (a *API) listAudit(ctx context.Context, c *call, in *auditIn) (*auditOut, error) {
	tenant, list := c.caller.Tenant(), in.list(c.route.Op, in.Order)
	q := in.query()
	q.Oldest, q.Limit, q.Bytes = in.Order == "oldest", a.limit(in.Limit), maxPageBytes
	text, err := a.cursors.read(tenant, list, in.Cursor)
	if err != nil {
		return nil, err
	}
	if q.Cursor, err = index.ParseCursor(text); err != nil {
		return nil, cursorInvalid()
	}
	out := &auditOut{}
	out.Body.Items = []entry{}
	page, err := a.deps.Ledger.Query(ctx, tenant, q)
	switch {
	case errors.Is(err, wal.ErrTenant):
		return out, nil
	case errors.Is(err, wal.ErrPruned):
		return nil, cursorInvalid()
	case err != nil:
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	out.Body.Size, out.Body.First = page.Size, page.First
	for i := range page.Entries {
		out.Body.Items = append(out.Body.Items, shapeEntry(&page.Entries[i]))
	}
	if page.Next != (index.Cursor{}) {
		out.Body.Next = a.cursors.make(tenant, list, page.Next.String())
	}
	return out, nil
}

func shapeStats(c *index.Counts, top int) auditStats {
	first := func(all []index.Named) []named {
		out := []named{}
		for _, n := range all[:min(top, len(all))] {
			out = append(out, named(n))
		}
		return out
	}
	out := auditStats{
		Size: c.Size, First: c.Kept, Total: c.Total, Kinds: first(c.Kinds), Verdicts: first(c.Verdicts), Codes: first(c.Codes),
		Outcomes: first(c.Outcomes), Agents: first(c.Agents), Users: first(c.Users), Servers: first(c.Servers), Tools: first(c.Tools),
		Hours: []hourly{},
	}
	if c.Total > 0 {
		earliest, latest := time.UnixMicro(c.First).UTC(), time.UnixMicro(c.Last).UTC()
		out.Earliest, out.Latest = &earliest, &latest
	}
	for _, h := range c.Hours[max(0, len(c.Hours)-maxHours):] {
		out.Hours = append(out.Hours, hourly{time.Unix(h.Start, 0).UTC(), h.Count})
	}
	return out
}
