package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// Folder is where a bundle keeps its tests.
const Folder = "tests"

// Files with what all tests share.
const (
	sharedTools      = Folder + "/tools.json"
	sharedPrincipals = Folder + "/principals.json"
)

// Tool is a tool as a test describes it: the members of an MCP tool that policies can see, and what a catalogue adds.
type Tool struct {
	Server      string          `json:"server"`
	Name        string          `json:"name"`
	Op          string          `json:"op,omitempty"` // call_tool, read_resource or get_prompt; call_tool when it is left out
	InputSchema json.RawMessage `json:"inputSchema,omitempty"`
	Annotations struct {
		ReadOnly    bool `json:"readOnlyHint"`
		Destructive bool `json:"destructiveHint"`
		Idempotent  bool `json:"idempotentHint"`
		OpenWorld   bool `json:"openWorldHint"`
	} `json:"annotations"`
	Sensitivity int64    `json:"sensitivity,omitempty"`
	Labels      []string `json:"labels,omitempty"`
}

// Principal is who calls. Left out: an active agent of organisation acme with trust 500, whose id is the name it has in
// the test.
type Principal struct {
	Kind    string   `json:"kind,omitempty"`
	ID      string   `json:"id,omitempty"`
	Tenant  string   `json:"tenant,omitempty"`
	Owner   string   `json:"owner,omitempty"`
	Teams   []string `json:"teams,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Labels  []string `json:"labels,omitempty"`
	TalksTo []string `json:"talksTo,omitempty"`
	Trust   *int64   `json:"trust,omitempty"`
	Status  string   `json:"status,omitempty"`
}

// Plan is what is proved of the call's plan. A case without one is a call in no plan.
type Plan struct {
	InPlan        *bool     `json:"inPlan,omitempty"` // true when it is left out
	ID            string    `json:"id,omitempty"`
	Step          int       `json:"step,omitempty"`
	Steps         int       `json:"steps,omitempty"`
	Done          int       `json:"stepsDone,omitempty"`
	Expires       time.Time `json:"expires,omitzero"`
	BundleAtIssue string    `json:"bundleAtIssue,omitempty"`
}

// Case is one call, and what must become of it. Left out: action call_tool, arguments {}, address 192.0.2.1 over TLS, and
// noon of 1 January 2026 UTC.
type Case struct {
	Principal string          `json:"principal"`
	As        string          `json:"as,omitempty"` // the user on whose behalf
	Action    string          `json:"action,omitempty"`
	Server    string          `json:"server,omitempty"`
	Tool      string          `json:"tool,omitempty"`
	Args      json.RawMessage `json:"args,omitempty"`
	Plan      *Plan           `json:"plan,omitempty"`
	IP        string          `json:"ip,omitempty"`
	TLS       *bool           `json:"tls,omitempty"`
	Now       time.Time       `json:"now,omitzero"`
	Labels    []string        `json:"labels,omitempty"` // put on by filters
	Approved  bool            `json:"approved,omitempty"`

	Want string   `json:"want"`         // allow, deny or hold
	By   []string `json:"by,omitempty"` // ids of exactly the policies that decide, in any order; left out: whichever

	Name string `json:"-"`
	File string `json:"-"`
	Line int    `json:"-"` // of its section
}

// Test is one file.
type Test struct {
	File       string
	About      string
	Tools      []Tool
	Principals map[string]Principal
	Cases      []Case
}

// Problem is what is wrong with a test, and where.
type Problem struct {
	File string
	Line int
	Msg  string
}

// Error gives "file:line: message".
func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Msg) }

// Load reads the tests of a bundle, in the order of their names. Every problem is reported, joined.
func Load(b *policies.Bundle) ([]Test, error) {
	var tests []Test
	base, err := shared(b)
	errs := []error{err}
	for _, name := range b.Files() {
		if path.Dir(name) != Folder || path.Ext(name) != ".txtar" {
			continue
		}
		text, _ := b.File(name)
		t, err := parse(name, text, &base)
		tests, errs = append(tests, t), append(errs, err)
	}
	return tests, errors.Join(errs...)
}

// shared reads what all tests have.
func shared(b *policies.Bundle) (Test, error) {
	t := Test{File: sharedTools, Principals: map[string]Principal{}}
	var errs []error
	if text, ok := b.File(sharedTools); ok {
		errs = append(errs, strict(text, &t.Tools, sharedTools, 1))
	}
	if text, ok := b.File(sharedPrincipals); ok {
		errs = append(errs, strict(text, &t.Principals, sharedPrincipals, 1))
	}
	return t, errors.Join(errs...)
}

// parse reads one file on top of what all share.
func parse(name string, text []byte, base *Test) (Test, error) {
	t := Test{File: name, Tools: slices.Clone(base.Tools), Principals: maps.Clone(base.Principals)}
	archive := txtar.Parse(text)
	t.About = strings.TrimSpace(string(archive.Comment))
	line := 1 + bytes.Count(archive.Comment, []byte("\n"))
	var errs []error
	seen := map[string]bool{}
	for _, s := range archive.Files {
		at := &Problem{File: name, Line: line}
		if seen[s.Name] {
			at.Msg = fmt.Sprintf("a second section %q", s.Name)
			errs = append(errs, at)
		}
		seen[s.Name] = true
		errs = append(errs, t.section(s.Name, s.Data, line))
		line += 1 + bytes.Count(s.Data, []byte("\n"))
	}
	if len(t.Cases) == 0 && errors.Join(errs...) == nil {
		errs = append(errs, &Problem{name, 1, "no case: write a section -- case NAME --"})
	}
	for i := range t.Cases {
		if err := t.check(&t.Cases[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return t, errors.Join(errs...)
}

func (t *Test) section(name string, data []byte, line int) error {
	kind, rest, _ := strings.Cut(name, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case kind == "tools" && rest == "":
		var tools []Tool
		err := strict(data, &tools, t.File, line)
		t.Tools = append(t.Tools, tools...)
		return err
	case kind == "principal" && rest != "":
		var p Principal
		err := strict(data, &p, t.File, line)
		t.Principals[rest] = p
		return err
	case kind == "case" && rest != "":
		c := Case{Name: rest, File: t.File, Line: line}
		if err := strict(data, &c, t.File, line); err != nil {
			return err
		}
		t.Cases = append(t.Cases, c)
		return nil
	}
	return &Problem{t.File, line, fmt.Sprintf("section %q: want tools, principal NAME or case NAME", name)}
}

// strict decodes JSON with known members only.
func strict(data []byte, into any, file string, line int) error {
	if err := canon.Check(bytes.TrimSpace(data), canon.DefaultLimits()); err != nil {
		return &Problem{file, line, err.Error()}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &Problem{file, line, strings.TrimPrefix(err.Error(), "json: ")}
	}
	return nil
}

// check refuses a case that could never say anything.
func (t *Test) check(c *Case) error {
	fail := func(format string, a ...any) error {
		return &Problem{c.File, c.Line, fmt.Sprintf("case %q: ", c.Name) + fmt.Sprintf(format, a...)}
	}
	_, known := t.Principals[c.Principal]
	switch {
	case !slices.Contains([]string{"allow", "deny", "hold"}, c.Want):
		return fail("want %q: say allow, deny or hold", c.Want)
	case !known:
		return fail("principal %q is not described: add a section -- principal %s --", c.Principal, c.Principal)
	}
	if c.IP != "" {
		if _, err := netip.ParseAddr(c.IP); err != nil {
			return fail("ip %q is no address", c.IP)
		}
	}
	if len(c.Args) > 0 && c.Args[0] != '{' {
		return fail("args are not an object")
	}
	return nil
}

// ask is the case as a question.
func (t *Test) ask(c *Case) *policies.Ask {
	p := t.Principals[c.Principal]
	a := &policies.Ask{
		Principal: &policies.Principal{
			Kind: or(p.Kind, "Agent"), ID: or(p.ID, c.Principal), Tenant: or(p.Tenant, "acme"), Owner: p.Owner, Teams: p.Teams, Roles: p.Roles,
			Labels: p.Labels, TalksTo: p.TalksTo, Trust: 500, Status: or(p.Status, "active"),
		},
		User: c.As, Action: or(c.Action, "call_tool"), Server: c.Server, Tool: c.Tool, Args: c.Args, ArgsKnown: true,
		IP: netip.MustParseAddr("192.0.2.1"), TLS: c.TLS == nil || *c.TLS, Now: c.Now, Labels: c.Labels, Approved: c.Approved,
	}
	if p.Trust != nil {
		a.Principal.Trust = *p.Trust
	}
	if len(a.Args) == 0 {
		a.Args = []byte("{}")
	}
	if c.IP != "" {
		a.IP = netip.MustParseAddr(c.IP) // checked
	}
	if a.Now.IsZero() {
		a.Now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	}
	if l := c.Plan; l != nil {
		a.Plan = policies.PlanFacts{
			InPlan: l.InPlan == nil || *l.InPlan, ID: l.ID, Step: l.Step, Steps: l.Steps, Done: l.Done, Expires: l.Expires,
			BundleAtIssue: l.BundleAtIssue,
		}
	}
	return a
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (t *Test) defs() []policies.ToolDef {
	var out []policies.ToolDef
	for _, x := range t.Tools {
		out = append(out, policies.ToolDef{
			Server: x.Server, Name: x.Name, Op: x.Op, InputSchema: x.InputSchema, ReadOnly: x.Annotations.ReadOnly,
			Destructive: x.Annotations.Destructive, Idempotent: x.Annotations.Idempotent, OpenWorld: x.Annotations.OpenWorld,
			Sensitivity: x.Sensitivity, Labels: x.Labels,
		})
	}
	return out
}
