package suite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

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
	Annotations Annotations     `json:"annotations"`
	Sensitivity int64           `json:"sensitivity,omitempty"`
	Labels      []string        `json:"labels,omitempty"`

	// Of no use here, but tools are copied with them.
	Title        string          `json:"title,omitempty"`
	Description  string          `json:"description,omitempty"`
	OutputSchema json.RawMessage `json:"outputSchema,omitempty"`
}

// Annotations are what MCP lets a server say of a tool. What is left out is as MCP has it, and the gateway: a tool that does
// more than read destroys, and reaches into the world.
type Annotations struct {
	Title       string `json:"title,omitempty"` // of no use here
	ReadOnly    bool   `json:"readOnlyHint"`
	Destructive *bool  `json:"destructiveHint"`
	Idempotent  bool   `json:"idempotentHint"`
	OpenWorld   *bool  `json:"openWorldHint"`
}

// Principal is who calls. Left out: an active agent of organisation acme with trust 500, whose id is the name it has in
// the test.
type Principal struct {
	Kind    string   `json:"kind,omitempty"` // Agent or User
	ID      string   `json:"id,omitempty"`
	Tenant  string   `json:"tenant,omitempty"`
	Owner   string   `json:"owner,omitempty"`
	Teams   []string `json:"teams,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Labels  []string `json:"labels,omitempty"`
	TalksTo []string `json:"talksTo,omitempty"`
	Trust   *int64   `json:"trust,omitempty"`
	Status  string   `json:"status,omitempty"` // active, pending, suspended or revoked
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

// Session is what was counted of the session before the call. Left out: nothing.
type Session struct {
	Calls    int64    `json:"calls,omitempty"`
	ThisTool int64    `json:"callsThisTool,omitempty"`
	Labels   []string `json:"labels,omitempty"`
}

// Case is one call, and what must become of it. Left out: action call_tool, arguments {}, address 192.0.2.1 over TLS, noon of
// 1 January 2026 UTC, no plan, a session that begins, nothing found by filters, nobody's approval.
type Case struct {
	Principal string           `json:"principal"`
	As        string           `json:"as,omitempty"` // the user on whose behalf
	Action    string           `json:"action,omitempty"`
	Server    string           `json:"server,omitempty"`
	Tool      string           `json:"tool,omitempty"`
	Local     bool             `json:"local,omitempty"` // a tool that the caller runs itself
	Args      json.RawMessage  `json:"args,omitempty"`
	Plan      *Plan            `json:"plan,omitempty"`
	Session   *Session         `json:"session,omitempty"`
	IP        string           `json:"ip,omitempty"`
	TLS       *bool            `json:"tls,omitempty"`
	Now       time.Time        `json:"now,omitzero"`
	Labels    []string         `json:"labels,omitempty"` // put on by filters
	Scores    map[string]int64 `json:"scores,omitempty"` // given by filters, from 0 to 1000
	Approved  bool             `json:"approved,omitempty"`
	Approvals int              `json:"approvals,omitempty"` // how many people approved; 1 when approved says so and this is left out

	Want  string   `json:"want"`            // allow, deny or hold
	By    []string `json:"by,omitempty"`    // ids of exactly the policies that decide, in any order; left out: whichever
	Error bool     `json:"error,omitempty"` // it is denied because something cannot be evaluated; any other denial by an error fails

	Name string `json:"-"`
	File string `json:"-"`
	Line int    `json:"-"` // of its section
}

// Test is one file.
type Test struct {
	File       string
	About      string
	Tools      []Tool // of this file alone
	Principals map[string]Principal
	Cases      []Case
	made       map[string]*policies.Principal
}

// Load reads the tests of a bundle, in the order of their names, and what all of them share, which comes first. An error is
// Problems.
func Load(b *policies.Bundle) (tests []Test, err error) {
	base, problems := shared(b)
	tests = []Test{base}
	for _, name := range b.Files() {
		if problem := misplaced(name); problem != nil {
			problems = append(problems, *problem)
			continue
		}
		if path.Dir(name) != Folder || path.Ext(name) != ".txtar" {
			continue
		}
		text, _ := b.File(name)
		r := reader{Test: Test{File: name, Principals: map[string]Principal{}}}
		maps.Copy(r.Principals, base.Principals)
		r.parse(text)
		tests, problems = append(tests, r.Test), append(problems, r.problems...)
	}
	return tests, problems.orNil()
}

// misplaced says of a file that looks like a test why it would not be run.
func misplaced(name string) *Problem {
	if name == sharedTools || name == sharedPrincipals || path.Dir(name) == Folder && path.Ext(name) == ".txtar" {
		return nil
	}
	inside := strings.HasPrefix(strings.ToLower(name), Folder+"/")
	if inside && path.Ext(name) == ".md" || !inside && strings.ToLower(path.Ext(name)) != ".txtar" {
		return nil
	}
	return &Problem{File: name, Msg: "this file is not run", Hint: "tests are " + Folder + "/*.txtar, beside " + sharedTools + ", " + sharedPrincipals + " and " + Folder + "/*.md"}
}

// shared reads what all tests have.
func shared(b *policies.Bundle) (Test, Problems) {
	r := reader{Test: Test{File: sharedTools, Principals: map[string]Principal{}}}
	if text, ok := b.File(sharedTools); ok {
		r.strict(text, &r.Tools, 1)
	}
	r.File = sharedPrincipals
	if text, ok := b.File(sharedPrincipals); ok {
		r.strict(text, &r.Principals, 1)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Principals)) {
		r.checkPrincipal(name, 1)
	}
	r.File = sharedTools
	return r.Test, r.problems
}

// reader reads one file.
type reader struct {
	Test
	problems Problems
}

func (r *reader) fail(line int, hint, format string, a ...any) {
	r.problems = append(r.problems, Problem{r.File, line, fmt.Sprintf(format, a...), hint})
}

const sections = "sections are -- tools --, -- principal NAME -- and -- case NAME --"

func (r *reader) parse(text []byte) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	r.markers(text)
	archive := txtar.Parse(text)
	r.About = strings.TrimSpace(string(archive.Comment))
	line := 1 + bytes.Count(archive.Comment, []byte("\n"))
	seen := map[string]bool{}
	for _, s := range archive.Files {
		name := words(s.Name)
		if seen[name] {
			r.fail(line, "give each its own name", "a second section %q", name)
		}
		seen[name] = true
		r.section(name, s.Data, line)
		line += 1 + bytes.Count(s.Data, []byte("\n"))
	}
	if len(r.Cases) == 0 && len(r.problems) == 0 {
		r.fail(1, "write a section -- case NAME --", "no case")
	}
	for i := range r.Cases {
		r.check(&r.Cases[i])
	}
}

// markers refuses lines that a person takes for the head of a section, and the format does not.
func (r *reader) markers(text []byte) {
	for i, line := range strings.Split(string(text), "\n") {
		bare := strings.Trim(line, "\ufeff \t\r\v\f\u00a0")
		if !strings.HasPrefix(bare, "--") || strings.Trim(bare, "-") == "" {
			continue
		}
		if line != bare || !strings.HasPrefix(line, "-- ") || !strings.HasSuffix(line, " --") || len(words(line)) < len("-- x --") {
			r.fail(i+1, "write it as -- case NAME --, from the first column to the last", "%q looks like the head of a section, and is none", line)
		}
	}
}

// words puts single spaces between the words of a name.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func (r *reader) section(name string, data []byte, line int) {
	kind, rest, _ := strings.Cut(name, " ")
	switch {
	case kind == "tools" && rest == "":
		r.strict(data, &r.Tools, line)
	case kind == "principal" && rest != "":
		var p Principal
		if r.strict(data, &p, line) {
			r.Principals[rest] = p
			r.checkPrincipal(rest, line)
		}
	case kind == "case" && rest != "":
		c := Case{Name: rest, File: r.File, Line: line}
		if r.strict(data, &c, line) {
			c.Principal = words(c.Principal)
			r.Cases = append(r.Cases, c)
		}
	default:
		r.fail(line, sections, "section %q", name)
	}
}
