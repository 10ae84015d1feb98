package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/policies/suite"
)

// whichDecisions are the flags that choose recorded decisions, and how a comparison of them is shown.
type whichDecisions struct {
	Since    string `help:"Decisions of this time and later: 2026-11-22, 2026-11-22T08:00:00Z, or 24h ago as 24h." placeholder:"TIME"`
	Until    string `help:"Decisions before this time." placeholder:"TIME"`
	Agent    string `help:"Decisions about this agent." placeholder:"AGENT_ID"`
	User     string `help:"Decisions about this person's calls." placeholder:"USER_ID"`
	Server   string `help:"Decisions about this server."`
	Tool     string `help:"Decisions about this tool; SERVER/TOOL names its server too."`
	Limit    int    `help:"How many records of decisions at most, newest first (default: a million)." placeholder:"N"`
	Examples int    `help:"How many records of each group are named (default: 5)." placeholder:"N"`
	MaxFlips int64  `help:"Fail when more answers differ." default:"-1" placeholder:"N"`
	JSON     bool   `help:"Print JSON." name:"json"`
}

func (w *whichDecisions) filter() (f gatewright.DecisionFilter, err error) {
	f = gatewright.DecisionFilter{Agent: w.Agent, User: w.User, Server: w.Server, Tool: w.Tool}
	if f.Since, err = instant("--since", w.Since); err != nil {
		return f, err
	}
	f.Until, err = instant("--until", w.Until)
	return f, err
}

type policyDiffCmd struct {
	controlPort
	whichDecisions
	Old       string `arg:"" help:"A folder, the number of a revision, current (in force) or staged."`
	New       string `arg:"" help:"What it is compared with, named in the same ways."`
	Generated int    `help:"Compare so many made-up requests instead of recorded decisions. With two folders this needs no gateway." placeholder:"N"`
	Seed      uint64 `help:"Of the made-up requests: the same seed makes the same." placeholder:"N"`
}

// Run says which answers differ between two bundles.
func (c *policyDiffCmd) Run(sh *shell) error {
	if c.Generated > 0 && isFolder(c.Old) && isFolder(c.New) {
		r, m, err := c.offline(sh)
		if err != nil {
			return err
		}
		return c.show(sh, r, m)
	}
	old, err := bundleNamed(c.Old)
	if err != nil {
		return err
	}
	next, err := bundleNamed(c.New)
	if err != nil {
		return err
	}
	return c.online(sh, &c.controlPort, gatewright.PolicyDiff{Old: old, New: next, Generated: c.Generated, Seed: c.Seed})
}

// offline compares made-up requests here, about the tools that the tests of both bundles describe.
func (c *policyDiffCmd) offline(sh *shell) (*compare.Report, *gatewright.FilterMoves, error) {
	var bundles [2]*policies.Bundle
	var tools []policies.ToolDef
	for i, name := range []string{c.Old, c.New} {
		b, err := (&bundleFolder{name}).load()
		if err != nil {
			return nil, nil, err
		}
		compiled, err := suite.Compile(b)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		bundles[i] = b
		for _, t := range compiled.Defs() {
			if !slices.ContainsFunc(tools, func(k policies.ToolDef) bool { return k.Server == t.Server && k.Name == t.Name && k.Op == t.Op }) {
				tools = append(tools, t)
			}
		}
	}
	var engines [2]*policies.Engine
	for i, b := range bundles {
		var err error
		if engines[i], err = policies.Compile(b, tools); err != nil {
			return nil, nil, err
		}
	}
	p := &progress{w: sh.err}
	defer p.end()
	r, err := compare.Generate(sh.ctx, engines[0], engines[1], compare.Requests{N: c.Generated, Seed: c.Seed, Tenant: "made-up", Tools: tools}, compare.Options{Examples: c.Examples, Progress: func(read uint64) { p.tell(read, uint64(c.Generated)) }})
	return r, movesOf(bundles[0], bundles[1]), err
}

// movesOf is what one bundle changes of another's filters, by their digests: without a gateway nobody knows numbers.
func movesOf(old, next *policies.Bundle) *gatewright.FilterMoves {
	out := &gatewright.FilterMoves{}
	side := func(f *manifest.Filter) *gatewright.MovedFilter {
		if f == nil {
			return nil
		}
		return &gatewright.MovedFilter{Digest: f.Digest}
	}
	moves, reordered := manifest.Moves(old.Manifest().Filters, next.Manifest().Filters)
	for _, m := range moves {
		out.Filters = append(out.Filters, gatewright.FilterMove{Name: m.Name, Mode: m.Mode, Before: side(m.Before), After: side(m.After)})
	}
	out.Reordered = reordered
	return out
}

type policyReplayCmd struct {
	controlPort
	whichDecisions
	Bundle string `arg:"" help:"A folder, the number of a revision, current (in force) or staged."`
}

// Run says which recorded decisions a bundle would have answered differently from the one in force.
func (c *policyReplayCmd) Run(sh *shell) error {
	next, err := bundleNamed(c.Bundle)
	if err != nil {
		return err
	}
	return c.online(sh, &c.controlPort, gatewright.PolicyDiff{New: next})
}

// online has the gateway compare.
func (w *whichDecisions) online(sh *shell, port *controlPort, in gatewright.PolicyDiff) error {
	var err error
	if in.Filter, err = w.filter(); err != nil {
		return err
	}
	in.Limit, in.Examples = w.Limit, w.Examples
	a, err := port.admin(sh)
	if err != nil {
		return err
	}
	p := &progress{w: sh.err}
	got, err := a.DiffPolicies(sh.ctx, in, p.tell)
	p.end()
	if err != nil {
		return err
	}
	var r compare.Report
	if err := json.Unmarshal(got.Report, &r); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	return w.show(sh, &r, &got.FilterMoves)
}

// show prints a report and says by the exit code whether too much differs.
func (w *whichDecisions) show(sh *shell, r *compare.Report, m *gatewright.FilterMoves) error {
	if w.JSON {
		if err := sh.json(struct {
			*compare.Report
			*gatewright.FilterMoves
		}{r, m}); err != nil {
			return err
		}
	} else {
		showReport(sh.out, r)
		for _, line := range moved(m) {
			fmt.Fprintln(sh.out, line)
		}
	}
	if w.MaxFlips >= 0 && r.Replayed == 0 {
		return &hinted{fmt.Errorf("%d decisions were read and none was compared, which shows nothing", r.Read), "look at what is selected (--tool, --agent, --since), or leave --max-flips out"}
	}
	if w.MaxFlips >= 0 && r.Flips > uint64(w.MaxFlips) {
		return &hinted{fmt.Errorf("%d answers differ, and at most %d may", r.Flips, w.MaxFlips), "`gatewright policy explain RECORD` says why a call is answered as it is"}
	}
	return nil
}

// isFolder tells a folder from the other names of bundles.
func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// bundleNamed is a bundle as the gateway is told of it. A folder is sent whole.
func bundleNamed(name string) (*gatewright.PolicyBundle, error) {
	switch n, err := strconv.ParseUint(name, 10, 53); {
	case name == "current":
		return nil, nil //nolint:nilnil // that is its name
	case name == "staged":
		return &gatewright.PolicyBundle{Staged: true}, nil
	case err == nil && n > 0:
		return &gatewright.PolicyBundle{Revision: n}, nil
	}
	b, err := (&bundleFolder{name}).load()
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, f := range b.Files() {
		text, _ := b.File(f)
		if !utf8.Valid(text) {
			return nil, usage("push the bundle (gatewright policy push) and name its revision", "%s/%s is no text", name, f)
		}
		files[f] = string(text)
	}
	return &gatewright.PolicyBundle{Files: files}, nil
}

// progress tells on standard error how far a comparison is.
type progress struct {
	w     io.Writer
	began time.Time
	told  bool
}

// quiet is how long a comparison takes before anything is told.
const quiet = time.Second

// tell says how many of how many are compared; of is 0 when that is not known.
func (p *progress) tell(read, of uint64) {
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	if took := now.Sub(p.began); took >= quiet {
		fmt.Fprintf(p.w, "\r%-*s", progressWidth, progressLine(read, of, float64(read)/took.Seconds()))
		p.told = true
	}
}

// progressWidth is the width of the line of progress, in characters, so that a shorter one covers what stood there.
const progressWidth = 72

func progressLine(read, of uint64, rate float64) string {
	if of == 0 || read > of || rate <= 0 {
		return fmt.Sprintf("%d compared, %.0f a second", read, rate)
	}
	return fmt.Sprintf("%d of %d compared (%d %%), %.0f a second, %.0f s left", read, of, read*100/of, rate, float64(of-read)/rate)
}

func (p *progress) end() {
	if p.told {
		fmt.Fprintln(p.w)
	}
}

// showReport prints a report for people.
func showReport(w io.Writer, r *compare.Report) {
	for i := range r.Groups {
		showGroup(w, &r.Groups[i])
	}
	if r.Further > 0 {
		fmt.Fprintf(w, "%d more differ, in groups that are not listed\n", r.Further)
	}
	what := "recorded decisions"
	if r.Requests > 0 {
		what = fmt.Sprintf("made-up requests (seed %d)", r.Seed)
	}
	if r.Flips == 0 {
		fmt.Fprintf(w, "no difference found in %d %s\n", r.Replayed, what)
	} else {
		fmt.Fprintf(w, "%d of %d %s are answered differently\n", r.Flips, r.Replayed, what)
	}
	showCounts(w, "not compared: ", r.Lost)
	showCounts(w, "compared approximately: ", r.Approximate)
	if u := &r.Unexplained; u.Total() > 0 {
		fmt.Fprintf(w, "the old bundle does not explain %d records (%d decided under it, %d under another): %s\n", u.Total(), u.Same, u.Other, examples(u.Examples))
	}
}

func showGroup(w io.Writer, g *compare.Group) {
	by := plainly(oneLine(g.Policy)) + " of the " + g.Of + " bundle"
	switch {
	case g.Error != "":
		by = "policies that cannot be evaluated: " + plainly(oneLine(g.Error))
	case g.Policy == "":
		by = "no policy"
	}
	fmt.Fprintf(w, "%s -> %s: %d by %s\n", g.From, g.To, g.Count, by)
	fmt.Fprintf(w, "  tools: %s\n  agents: %s\n", names(g.Tools), names(g.Agents))
	if len(g.Examples) == 0 || g.Examples[0].Args == "" && g.Examples[0].Ask == "" {
		fmt.Fprintf(w, "  records: %s\n", examples(g.Examples))
		return
	}
	for _, x := range g.Examples {
		fmt.Fprintf(w, "  as %s with %s\n     %s\n", plainly(x.Target), plainly(oneLine(cmp.Or(x.Args, "no arguments"))), plainly(oneLine(x.Ask)))
	}
}

// maxShown is how many names of a group are printed; --json has more.
const maxShown = 8

func names(list []compare.Count) string {
	var out []string
	for i, n := range list {
		if i == maxShown {
			out = append(out, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		out = append(out, fmt.Sprintf("%s (%d)", plainly(oneLine(n.Name)), n.Count))
	}
	return strings.Join(out, ", ")
}

func examples(list []compare.Example) string {
	var out []string
	for _, x := range list {
		out = append(out, plainly(x.Record))
	}
	return strings.Join(out, " ")
}

func showCounts(w io.Writer, what string, counts map[string]uint64) {
	var reasons []string
	for why := range counts {
		reasons = append(reasons, why)
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		fmt.Fprintf(w, "%s%d, %s\n", what, counts[why], plainly(oneLine(why)))
	}
}

// recordName is the id of a record.
var recordName = regexp.MustCompile(`^rec_[0-9a-hjkmnp-tv-z]{26}$`)

// recordedCall are the flags of what is recorded.
type recordedCall struct {
	controlPort
	Under string `help:"For a record: the bundle to explain by, a folder, the number of a revision, current or staged (default: current)." default:"current" placeholder:"BUNDLE"`
}

// explainRecord says what a bundle makes of a recorded call.
func (c *recordedCall) explainRecord(sh *shell, record string, asJSON bool) error {
	under, err := bundleNamed(c.Under)
	if err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	x, err := a.ExplainRecord(sh.ctx, record, under)
	if err != nil {
		return err
	}
	if asJSON {
		return sh.json(x)
	}
	showExplained(sh.out, x)
	return nil
}

func showExplained(w io.Writer, x *gatewright.ExplainedRecord) {
	line := func(format string, args ...any) { fmt.Fprintln(w, plainly(oneLine(fmt.Sprintf(format, args...)))) }
	line("%s: %s, by %s", x.Target, x.Now, cmp.Or(strings.Join(x.By, ", "), "no policy"))
	if x.Recorded != "" && x.Recorded != x.Now {
		line("the record says %s", x.Recorded)
	}
	if x.Refused != "" && x.Recorded != "deny" {
		line("the call was refused all the same: %s", x.Refused)
	}
	if x.Approximate != "" {
		line("approximate: %s", x.Approximate)
	}
	for _, e := range x.Errors {
		line("error: %s", e)
	}
	for _, p := range x.Shadowed {
		line("in shadow: %s", p)
	}
	marks := map[string]string{"holds": "+", "fails": "-", "error": "!"}
	for _, p := range x.Policies {
		line("%s %s %s", cmp.Or(marks[p.Value], "?"), p.Effect, p.Policy)
		for _, c := range p.Conditions {
			text := c.Text
			if c.Unless {
				text = "unless " + text
			}
			if !c.Reached {
				text = "(" + text + ")"
			}
			if c.Error != "" {
				text += ": " + c.Error
			}
			fmt.Fprintf(w, "    %s %s\n", cmp.Or(marks[c.Value], "?"), plainly(oneLine(text)))
		}
	}
	for _, n := range x.Nearest {
		line("nearest permit: %s", n)
	}
}
