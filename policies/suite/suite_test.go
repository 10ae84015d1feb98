package suite_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/suite"
)

const payroll = `@id("read") @reason("Data people may query.")
permit (principal in Team::"data", action == Action::"db___query", resource)
when { context.plan.inPlan && principal.trust >= 500 };

@id("no-payroll")
forbid (principal, action == Action::"db___query", resource)
when { context.input has table && context.input.table == "payroll" }
unless { principal in Team::"finance" };

@id("ask-first") @hold("A person looks at what leaves.")
forbid (principal, action == Action::"db___query", resource)
when { context.filters.labels.contains("pii") };
`

const tools = `[{"server": "db", "name": "query", "inputSchema": {"type": "object", "properties": {"table": {"type": "string"}}}}]`

const cases = `Who may read what.
-- principal ada --
{"teams": ["data"]}
-- principal eve --
{"teams": ["data"], "trust": 100}
-- case ada reads orders --
{"principal": "ada", "server": "db", "tool": "query", "args": {"table": "orders"}, "plan": {}, "want": "allow", "by": ["read"]}
-- case payroll is closed --
{"principal": "ada", "server": "db", "tool": "query", "args": {"table": "payroll"}, "plan": {}, "want": "deny", "by": ["no-payroll"]}
-- case eve is not trusted --
{"principal": "eve", "server": "db", "tool": "query", "plan": {}, "want": "deny", "by": []}
-- case personal data waits --
{"principal": "ada", "server": "db", "tool": "query", "plan": {}, "labels": ["pii"], "want": "hold", "by": ["ask-first"]}
-- case personal data goes once approved --
{"principal": "ada", "server": "db", "tool": "query", "plan": {}, "labels": ["pii"], "approved": true, "want": "allow"}
`

func bundle(t testing.TB, files map[string]string) *policies.Bundle {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	b, err := policies.LoadBundle(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t testing.TB, files map[string]string, o suite.Options) *suite.Report {
	t.Helper()
	r, err := suite.Run(t.Context(), bundle(t, files), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func good() map[string]string {
	return map[string]string{"p.cedar": payroll, "tests/tools.json": tools, "tests/a.txtar": cases}
}

func TestEachCaseIsAskedAndWhatNoneMetIsNamed(t *testing.T) {
	r := run(t, good(), suite.Options{})
	if len(r.Results) != 5 || r.Failed() != 0 {
		for _, x := range r.Results {
			t.Error(x.Case.Name, x.Why)
		}
		t.FailNow()
	}
	missing := ""
	for _, m := range r.Coverage.Missing() {
		missing += fmt.Sprintf("%s:%d:%d %s: %s\n", m.File, m.Line, m.Column, m.Policy, m.What)
	}
	want := `p.cedar:3:8 read: this never fails: context.plan.inPlan
p.cedar:8:10 no-payroll: this never fails: unless principal in Team::"finance"
`
	if missing != want || fmt.Sprintf("%.1f", r.Coverage.Percent()) != "86.7" { // 13 of 15
		t.Errorf("%.1f%% covered, missing\n%swant\n%s", r.Coverage.Percent(), missing, want)
	}
	only := run(t, good(), suite.Options{Only: regexp.MustCompile(`a\.txtar: eve`)})
	if len(only.Results) != 1 || only.Results[0].Case.Name != "eve is not trusted" {
		t.Errorf("%+v", only.Results)
	}
}

func TestACaseThatComesOutOtherwiseSaysWhy(t *testing.T) {
	for name, c := range map[string][3]string{
		"allowed":           {`"want": "allow", "by": ["read"]`, `"want": "deny"`, "want deny, got allow by read"},
		"by another":        {`"want": "allow", "by": ["read"]`, `"want": "allow", "by": ["write"]`, "allow as wanted, by read: want write"},
		"forbidden":         {`"want": "deny", "by": ["no-payroll"]`, `"want": "allow"`, "want allow, got deny by no-payroll"},
		"nobody permits":    {`"want": "deny", "by": []`, `"want": "allow"`, "want allow, got deny: no policy permits it; the nearest is p.cedar:1 read"},
		"held":              {`"want": "hold", "by": ["ask-first"]`, `"want": "allow"`, "want allow, got hold by ask-first"},
		"an unknown tool":   {`"tool": "query", "args": {"table": "orders"}`, `"tool": "drop", "args": {"table": "orders"}`, `tool "drop" of server "db" is not known to policy`},
		"of another type":   {`{"table": "orders"}`, `{"table": 7}`, "want allow, got deny: "},
		"an unknown status": {`{"teams": ["data"]}`, `{"teams": ["data"], "status": "happy"}`, "principal of unknown status"},
	} {
		files := good()
		files["tests/a.txtar"] = strings.Replace(cases, c[0], c[1], 1)
		r := run(t, files, suite.Options{})
		if r.Failed() == 0 {
			t.Errorf("%s: all pass", name)
		}
		found := ""
		for _, x := range r.Results {
			if x.Why != nil {
				found += x.Why.Error() + "\n"
			}
		}
		if !strings.Contains(found, c[2]) {
			t.Errorf("%s: %q", name, found)
		}
	}
}

func TestATestThatSaysNothingIsRefused(t *testing.T) {
	head := "-- principal ada --\n{}\n-- case x --\n"
	for name, c := range map[string][2]string{
		"no case":              {"words\n", "tests/a.txtar:1: no case"},
		"no want":              {head + `{"principal": "ada"}`, `tests/a.txtar:3: case "x": want ""`},
		"another want":         {head + `{"principal": "ada", "want": "allowed"}`, `want "allowed": say allow, deny or hold`},
		"an unknown principal": {head + `{"principal": "bob", "want": "deny"}`, `add a section -- principal bob --`},
		"a misspelt member":    {head + `{"principal": "ada", "want": "deny", "arg": {}}`, `tests/a.txtar:3: unknown field "arg"`},
		"a member twice":       {head + `{"principal": "ada", "want": "allow", "want": "deny"}`, "tests/a.txtar:3: "},
		"no JSON":              {head + `principal: ada`, "tests/a.txtar:3: "},
		"two values":           {head + `{"principal": "ada", "want": "deny"} {}`, "tests/a.txtar:3: "},
		"no address":           {head + `{"principal": "ada", "want": "deny", "ip": "localhost"}`, `ip "localhost" is no address`},
		"args of another kind": {head + `{"principal": "ada", "want": "deny", "args": []}`, "args are not an object"},
		"another section":      {head + `{"principal": "ada", "want": "deny"}` + "\n-- cases y --\n{}\n", `tests/a.txtar:5: section "cases y"`},
		"a section twice":      {head + `{"principal": "ada", "want": "deny"}` + "\n-- case x --\n" + `{"principal": "ada", "want": "allow"}`, `tests/a.txtar:5: a second section "case x"`},
		"a case with no name":  {"-- case --\n{}", `section "case"`},
	} {
		_, err := suite.Run(t.Context(), bundle(t, map[string]string{"p.cedar": "permit (principal, action, resource);", "tests/a.txtar": c[0]}), suite.Options{})
		if err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := bundle(t, map[string]string{"p.cedar": payroll, "tests/readme.md": "x", "tests/deep/a.txtar": cases})
	if _, err := suite.Run(t.Context(), none, suite.Options{}); !errors.Is(err, suite.ErrNone) {
		t.Error("no tests:", err)
	}
	files := good()
	files["tests/tools.json"] = strings.Replace(tools, "query", "ask", 1)
	var ps policies.Problems
	if _, err := suite.Run(t.Context(), bundle(t, files), suite.Options{}); !errors.As(err, &ps) {
		t.Error("a bundle that does not compile:", err)
	}
	files = map[string]string{"p.cedar": "permit (principal, action, resource);", "tests/tools.json": tools[:len(tools)-1] + "," + tools[1:], "tests/a.txtar": head + `{"principal": "ada", "want": "allow"}`}
	if _, err := suite.Run(t.Context(), bundle(t, files), suite.Options{}); err == nil || !strings.Contains(err.Error(), "ambiguous") {
		t.Error("a tool twice:", err)
	}
}

func TestReportsForMachines(t *testing.T) {
	files := good()
	files["tests/b.txtar"] = "-- principal <&> --\n{}\n-- case \"quoted\" <x> --\n" + `{"principal": "<&>", "server": "db", "tool": "query", "want": "allow"}`
	r := run(t, files, suite.Options{})
	var junit strings.Builder
	if err := r.JUnit(&junit); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string `xml:"name,attr"`
				Line    int    `xml:"line,attr"`
				Failure struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(junit.String()), &read); err != nil || read.Tests != 6 || read.Failures != 1 || len(read.Suites) != 2 {
		t.Fatalf("%v %+v", err, read)
	}
	if c := read.Suites[1].Cases[0]; c.Name != `"quoted" <x>` || c.Line != 3 || !strings.Contains(c.Failure.Message, "want allow, got deny") || !strings.Contains(c.Failure.Text, "forbid p.cedar:5 no-payroll does not apply\n  - 7:8  context.input has table\n (?) 7:") {
		t.Errorf("%+v", c)
	}
	var sarif strings.Builder
	if err := suite.SARIF(&sarif, "policies/", r.Findings()); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string
		Runs    []struct {
			Results []struct {
				RuleID, Level string
				Locations     []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine, StartColumn int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(sarif.String()), &log); err != nil || log.Version != "2.1.0" || len(log.Runs) != 1 || len(log.Runs[0].Results) != 3 {
		t.Fatalf("%v\n%s", err, sarif.String())
	}
	first, last := log.Runs[0].Results[0], log.Runs[0].Results[2]
	if first.RuleID != "policy-test" || first.Level != "error" || first.Locations[0].PhysicalLocation.ArtifactLocation.URI != "policies/tests/b.txtar" {
		t.Errorf("%+v", first)
	}
	if at := last.Locations[0].PhysicalLocation; last.Level != "note" || at.ArtifactLocation.URI != "policies/p.cedar" || at.Region.StartLine != 8 || at.Region.StartColumn != 10 {
		t.Errorf("%+v", last)
	}
}

// BenchmarkThousandCases runs a suite of a thousand cases.
func BenchmarkThousandCases(b *testing.B) {
	files := good()
	var text strings.Builder
	text.WriteString("-- principal ada --\n{\"teams\": [\"data\"]}\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "-- case %d --\n{\"principal\": \"ada\", \"server\": \"db\", \"tool\": \"query\", \"args\": {\"table\": \"t%d\"}, \"plan\": {}, \"want\": \"allow\"}\n", i, i)
	}
	files["tests/a.txtar"] = text.String()
	for b.Loop() {
		if r := run(b, files, suite.Options{}); r.Failed() != 0 {
			b.Fatal(r.Results[0].Why)
		}
	}
}
