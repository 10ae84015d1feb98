package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
)

// auditFilter are the flags that say which records are wanted.
type auditFilter struct {
	Since   string `help:"Records of this time and later: 2026-11-22, 2026-11-22T08:00:00Z, or 24h ago as 24h." placeholder:"TIME"`
	Until   string `help:"Records before this time." placeholder:"TIME"`
	Agent   string `help:"Id of the agent." placeholder:"AGENT_ID"`
	User    string `help:"Id of the user." placeholder:"USER_ID"`
	Server  string `help:"Name of the MCP server." placeholder:"NAME"`
	Tool    string `help:"Name of the tool, or SERVER/TOOL." placeholder:"NAME"`
	Verdict string `help:"What policy said: allow or deny." placeholder:"VERDICT"`
	Kind    string `help:"What a record states: admitted, settled, refused, admin, and so on." placeholder:"KIND"`
	Code    string `help:"Reason of a refusal." placeholder:"CODE"`
	Outcome string `help:"What came of a call: ok, tool_error, upstream_error, withheld or unknown." placeholder:"OUTCOME"`
}

// read is the filter as the gateway is asked. Times that are an age are counted from now.
func (f *auditFilter) read(now time.Time) (out gatewright.AuditFilter, err error) {
	out = gatewright.AuditFilter{
		Agent: f.Agent, User: f.User, Server: f.Server, Tool: f.Tool, Verdict: f.Verdict, Kind: f.Kind, Code: f.Code, Outcome: f.Outcome,
	}
	if out.From, err = momentOf("--since", f.Since, now); err != nil {
		return out, err
	}
	if out.To, err = momentOf("--until", f.Until, now); err != nil {
		return out, err
	}
	if !out.To.IsZero() && !out.From.Before(out.To) {
		return out, usage("records from --since on, and before --until, are wanted", "--until is not after --since")
	}
	if err := closed(f.Verdict, f.Outcome); err != nil {
		return out, err
	}
	if f.Kind != "" && ledger.ParseKind(f.Kind) == ledger.Unknown {
		return out, usage("kinds are admitted, settled, refused, plan, token, approval, admin, key, bundle, filter, heartbeat, recovery, prune, erasure", "%q is no kind of record", f.Kind)
	}
	return out, nil
}

// closed checks what records say one of a few words about.
func closed(verdict, outcome string) error {
	f := export.Filter{Verdict: verdict}
	if f.Check() != nil {
		return usage("verdicts are allow and deny", "%q is no verdict", verdict)
	}
	f = export.Filter{Outcome: outcome}
	if f.Check() != nil {
		return usage("outcomes are ok, tool_error, upstream_error, withheld, unknown", "%q is no outcome", outcome)
	}
	return nil
}

func momentOf(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && !t.Before(time.Unix(0, 0)) {
			return t, nil
		}
	}
	return time.Time{}, usage("a time is written 2026-11-22 or 2026-11-22T08:00:00Z, an age 90m, 24h or 30d", "%s %q is no time", flag, text)
}

type ledgerListCmd struct {
	controlPort
	auditFilter
	Oldest bool `help:"Show the oldest records first."`
	Limit  int  `help:"How many records at most." default:"50"`
	JSON   bool `help:"Print JSON." name:"json"`
}

// maxListed bounds what is held in memory to be printed; an export takes any number.
const maxListed = 100_000

// Run lists records of a gateway that runs.
func (c *ledgerListCmd) Run(sh *shell) error {
	if c.Limit < 1 || c.Limit > maxListed {
		return usage("more records than that are for an export", "--limit is 1 to %d", maxListed)
	}
	f, err := c.read(time.Now())
	if err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	records, more, err := c.fetch(sh, a, f)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(map[string]any{"items": records, "more": more})
	}
	if err := sh.showRecords(records); err != nil {
		return err
	}
	if len(records) == 0 {
		fmt.Fprintln(sh.err, "no record matches")
	}
	if more {
		fmt.Fprintln(sh.err, "hint: there are more; --limit, --since and --until say which")
	}
	return nil
}

// fetch reads pages until there are enough records.
func (c *ledgerListCmd) fetch(sh *shell, a *gatewright.Admin, f gatewright.AuditFilter) (all []gatewright.Record, more bool, err error) {
	const most, pages = 1000, 10_000 // of a page; an empty one stands for millions of records that are not wanted
	all = []gatewright.Record{}
	q := gatewright.AuditQuery{AuditFilter: f, Oldest: c.Oldest}
	for range pages {
		q.Limit = min(most, c.Limit-len(all))
		p, err := a.AuditLogs(sh.ctx, q)
		if err != nil {
			return nil, false, err
		}
		all = append(all, p.Items...)
		if q.Cursor = p.Next; q.Cursor == "" || len(all) >= c.Limit {
			return all, q.Cursor != "", nil
		}
	}
	return nil, false, fmt.Errorf("%w: the list does not end", gatewright.ErrAnswer)
}

func (sh *shell) showRecords(records []gatewright.Record) error {
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INDEX\tTIME\tKIND\tWHO\tWHAT\tVERDICT\tRESULT\tID")
	for i := range records {
		r, err := records[i].Parse()
		if err != nil {
			return fmt.Errorf("read record: %w", err)
		}
		what := strings.TrimPrefix(r.Server+"/"+r.Tool, "/")
		switch what = cmp.Or(what, r.Op); r.Kind {
		case ledger.Bundle:
			what = changeOfPolicy(r.Body)
		case ledger.Filter:
			what = changeOfFilter(r.Body)
		case ledger.Admin: // of what the gateway did itself, a tool held for one, the op says it
			if r.Server != "" {
				what = r.Op + " " + strings.TrimSuffix(what, "/")
			}
		}
		result := phrase([2]string{"", r.Code}, [2]string{"", r.Outcome})
		cells := []string{r.Label(), cmp.Or(r.Agent, r.User), what, r.Verdict, result, r.ID}
		for i, cell := range cells {
			if cells[i] = oneLine(plainly(cell)); cells[i] == "" {
				cells[i] = "-"
			}
		}
		at := time.UnixMicro(r.Time).UTC().Format("2006-01-02T15:04:05.000Z07:00")
		fmt.Fprintf(w, "%d\t%s\t%s\n", records[i].Index, at, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// changeOfPolicy says what became of a bundle, as in "activate 3 shadow".
func changeOfPolicy(body []byte) string {
	var in struct {
		Op, Mode          string
		Revision, Percent uint64
	}
	if json.Unmarshal(body, &in) != nil || in.Op == "" || in.Revision == 0 {
		return ""
	}
	text := fmt.Sprintf("%s %d", in.Op, in.Revision)
	if in.Mode != "" {
		text += " " + in.Mode
	}
	if in.Percent > 0 {
		text += fmt.Sprintf(" %d %%", in.Percent)
	}
	return text
}

// changeOfFilter says what became of a filter, as in "activate block-sql 3" or "reject block-sql in stage scan".
func changeOfFilter(body []byte) string {
	var in struct {
		Op, Name, Stage string
		Version         uint64
	}
	if json.Unmarshal(body, &in) != nil || in.Op == "" {
		return ""
	}
	text := in.Op + " " + in.Name
	if in.Version > 0 {
		text += fmt.Sprintf(" %d", in.Version)
	}
	if in.Stage != "" {
		text += " in stage " + in.Stage
	}
	return text
}

type ledgerStatsCmd struct {
	controlPort
	auditFilter
	Top  int  `help:"How many names of each list at most." default:"10"`
	JSON bool `help:"Print JSON." name:"json"`
}

// Run adds up records of a gateway that runs.
func (c *ledgerStatsCmd) Run(sh *shell) error {
	if c.Top < 1 || c.Top > 1000 {
		return usage("--top is how many names of each list are shown", "--top is 1 to 1000")
	}
	f, err := c.read(time.Now())
	if err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	s, err := a.AuditStats(sh.ctx, f, c.Top)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(s)
	}
	return sh.showStats(s)
}

// maxBars is how many hours are shown: two days.
const maxBars = 48

func (sh *shell) showStats(s *gatewright.AuditStats) error {
	fmt.Fprintf(sh.out, "%d of %d records", s.Total, s.Size-min(s.First, s.Size))
	if s.Total > 0 {
		fmt.Fprintf(sh.out, ", from %s to %s", moment(s.Earliest), moment(s.Latest))
	}
	fmt.Fprintln(sh.out)
	if s.First > 0 {
		fmt.Fprintf(sh.out, "records before %d are kept no more\n", s.First)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, list := range []struct {
		title string
		names []gatewright.Named
	}{
		{"KIND", s.Kinds}, {"VERDICT", s.Verdicts}, {"CODE", s.Codes}, {"OUTCOME", s.Outcomes},
		{"AGENT", s.Agents}, {"USER", s.Users}, {"SERVER", s.Servers}, {"TOOL", s.Tools},
	} {
		if len(list.names) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\tRECORDS\n", list.title)
		for _, n := range list.names {
			fmt.Fprintf(w, "%s\t%d\n", oneLine(plainly(n.Name)), n.Count)
		}
	}
	if len(s.Hours) > 0 {
		fmt.Fprint(w, "\nHOUR\tRECORDS\n")
	}
	for _, h := range s.Hours[max(0, len(s.Hours)-maxBars):] {
		fmt.Fprintf(w, "%s\t%d\n", moment(h.Start), h.Count)
	}
	return w.Flush()
}
