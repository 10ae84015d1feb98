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
	"time"

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
	if missing != want || fmt.Sprintf("%.1f", r.Coverage.Percent()) != "88.9" { // 16 of 18
		t.Errorf("%.1f%% covered, missing\n%swant\n%s", r.Coverage.Percent(), missing, want)
	}
	only := run(t, good(), suite.Options{Only: regexp.MustCompile(`a\.txtar: eve`)})
	if len(only.Results) != 1 || only.Results[0].Case.Name != "eve is not trusted" {
		t.Errorf("%+v", only.Results)
	}
}

func TestACaseThatComesOutOtherwiseSaysWhy(t *testing.T) {
	for name, c := range map[string][3]string{
		"allowed":            {`"want": "allow", "by": ["read"]`, `"want": "deny"`, "want deny, got allow by read"},
		"by another":         {`"want": "allow", "by": ["read"]`, `"want": "allow", "by": ["write"]`, "allow as wanted, by read: want write"},
		"forbidden":          {`"want": "deny", "by": ["no-payroll"]`, `"want": "allow"`, "want allow, got deny by no-payroll"},
		"nobody permits":     {`"want": "deny", "by": []`, `"want": "allow"`, "want allow, got deny: no policy permits it; the nearest is p.cedar:1 read"},
		"held":               {`"want": "hold", "by": ["ask-first"]`, `"want": "allow"`, "want allow, got hold by ask-first"},
		"denied by an error": {`"args": {"table": "payroll"}, "plan": {}, "want": "deny", "by": ["no-payroll"]`, `"args": {"table": 7}, "plan": {}, "want": "deny"`, "deny as wanted, but by an error: "},
		"no error":           {`"want": "deny", "by": []`, `"want": "deny", "error": true`, "deny as wanted, but everything could be evaluated"},
		"of another type":    {`{"table": "orders"}`, `{"table": 7}`, "want allow, got deny: "},
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
		"a misspelt member":    {head + `{"principal": "ada", "want": "deny", "arg": {}}`, `tests/a.txtar:3: unknown field "arg": want principal, as, `},
		"a member twice":       {head + `{"principal": "ada", "want": "allow", "want": "deny"}`, "tests/a.txtar:3: "},
		"no JSON":              {head + `principal: ada`, "tests/a.txtar:3: "},
		"two values":           {head + `{"principal": "ada", "want": "deny"} {}`, "tests/a.txtar:3: "},
		"no address":           {head + `{"principal": "ada", "want": "deny", "ip": "localhost"}`, `ip "localhost" is no address`},
		"args of another kind": {head + `{"principal": "ada", "want": "deny", "args": []}`, "args are not an object"},
		"another section":      {head + `{"principal": "ada", "want": "deny"}` + "\n-- cases y --\n{}\n", `tests/a.txtar:5: section "cases y"`},
		"a section twice":      {head + `{"principal": "ada", "want": "deny"}` + "\n-- case x --\n" + `{"principal": "ada", "want": "allow"}`, `tests/a.txtar:5: a second section "case x"`},
		"a case with no name":  {"-- case --\n{}", `section "case"`},
		"an unknown action":    {head + `{"principal": "ada", "action": "call", "want": "deny"}`, `tests/a.txtar:3: case "x": unknown action "call" (one of `},
		"a group of actions":   {head + `{"principal": "ada", "action": "work", "want": "deny"}`, `unknown action "work"`},
		"an unknown tool":      {head + `{"principal": "ada", "server": "db", "tool": "drop", "want": "deny"}`, `tool "drop" of server "db" is not described (describe it in tests/tools.json`},
		"an unknown kind":      {"-- principal ada --\n{\"kind\": \"agent\"}\n", `tests/a.txtar:1: principal "ada": kind "agent" (one of Agent, User)`},
		"an unknown status":    {"-- principal ada --\n{\"status\": \"happy\"}\n", `principal "ada": status "happy"`},
		"an error that allows": {head + `{"principal": "ada", "want": "allow", "error": true}`, "an error can only deny"},
		"another spelling":     {head + `{"principal": "ada", "want": "deny", "BY": ["read"]}`, `unknown field "BY"`},
		"of a member":          {head + `{"principal": "ada", "Want": "deny"}`, `unknown field "Want"`},
		"of a plan's":          {head + `{"principal": "ada", "want": "deny", "plan": {"inplan": true}}`, `unknown field "inplan"`},
		"of a tool's":          {"-- tools --\n[{\"server\": \"db\", \"name\": \"x\", \"annotations\": {\"readonlyhint\": true}}]\n" + head + `{"principal": "ada", "want": "deny"}`, `tests/a.txtar:1: unknown field "readonlyhint"`},
		"a byte order mark":    {"\ufeff-- principal ada --\n{}\n-- case x --\n" + `{"principal": "ada", "want": "deny"}`, `tests/a.txtar:1: "\ufeff-- principal ada --" looks like the head of a section`},
		"a space at the end":   {head[:len(head)-1] + " \n" + `{"principal": "ada", "want": "deny"}`, `tests/a.txtar:3: "-- case x -- " looks like`},
		"a space before":       {" " + head + `{"principal": "ada", "want": "deny"}`, `tests/a.txtar:1: " -- principal ada --" looks like`},
		"no space":             {head + `{"principal": "ada", "want": "deny"}` + "\n--case y--\n", `tests/a.txtar:5: "--case y--" looks like`},
		"the same name":        {"-- principal  ada --\n{}\n" + head + `{"principal": "ada", "want": "deny"}`, `a second section "principal ada"`},
		"an approval of none":  {head + `{"principal": "ada", "want": "deny", "approvals": 2}`, "approvals without approved"},
		"too high a score":     {head + `{"principal": "ada", "want": "deny", "scores": {"pii": 1001}}`, `score "pii" is 1001`},
	} {
		_, err := suite.Run(t.Context(), bundle(t, map[string]string{"p.cedar": "permit (principal, action, resource);", "tests/a.txtar": c[0]}), suite.Options{})
		if err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := bundle(t, map[string]string{"p.cedar": payroll, "tests/readme.md": "x"})
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
	if err := r.JUnit(&junit, "policies/"); err != nil {
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
	if err := suite.SARIF(&sarif, "policies/", r.Findings(), nil); err != nil {
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

func TestFilesThatAreNotRunAreNamed(t *testing.T) {
	for _, name := range []string{"tests/sub/a.txtar", "tests/b.TXTAR", "tests/a.txt", "Tests/b.txtar", "a.txtar", "tests/tool.json"} {
		files := good()
		files[name] = cases
		_, err := suite.Run(t.Context(), bundle(t, files), suite.Options{})
		if err == nil || !strings.Contains(err.Error(), name+": this file is not run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	files := good()
	files["tests/a.txtar"] = strings.ReplaceAll(cases, `"want"`, `"wanted"`)
	_, err := suite.Run(t.Context(), bundle(t, files), suite.Options{})
	ps, ok := errors.AsType[suite.Problems](err)
	if !ok || len(ps.Lines()) != 5 || strings.Count(err.Error(), "\n") != 4 {
		t.Fatal(err)
	}
	found := suite.Findings(err)
	if len(found) != 5 || found[0].File != "tests/a.txtar" || found[0].Line != 6 || found[0].Rule != "policy-test" {
		t.Errorf("%+v", found)
	}
	var junit strings.Builder
	if err := suite.JUnitErrors(&junit, "x/", found); err != nil || !strings.Contains(junit.String(), `tests="5" failures="0" errors="5"`) || !strings.Contains(junit.String(), `file="x/tests/a.txtar" line="6"`) {
		t.Error(err, junit.String())
	}
}

// The tools of every file are those of one tenant.
func TestToolsOfOneFileAreKnownToAll(t *testing.T) {
	files := good()
	delete(files, "tests/tools.json")
	files["tests/a.txtar"] = cases + "-- tools --\n" + tools + "\n"
	files["tests/b.txtar"] = "-- principal ada --\n{}\n-- case it looks around --\n" + `{"principal": "ada", "action": "list_tools", "want": "deny"}`
	if r := run(t, files, suite.Options{}); r.Failed() != 0 || len(r.Results) != 6 {
		t.Errorf("%+v", r)
	}
	files["tests/b.txtar"] += "\n-- tools --\n" + strings.Replace(tools, "string", "integer", 1)
	_, err := suite.Run(t.Context(), bundle(t, files), suite.Options{})
	if err == nil || !strings.Contains(err.Error(), `tests/b.txtar:1: tool "query" of server "db" is described otherwise in tests/a.txtar`) {
		t.Error(err)
	}
	delete(files, "tests/b.txtar")
	files["tests/a.txtar"] = cases
	if _, err = suite.Run(t.Context(), bundle(t, files), suite.Options{}); err == nil || !strings.Contains(err.Error(), "describe the tool in tests/tools.json") {
		t.Error(err)
	}
}

// Carriage returns of another system's editor change nothing.
func TestLinesMayEndInCarriageReturns(t *testing.T) {
	files := good()
	files["tests/a.txtar"] = strings.ReplaceAll(cases, "\n", "\r\n")
	if r := run(t, files, suite.Options{}); r.Failed() != 0 || len(r.Results) != 5 || r.Results[4].Case.Line != 14 {
		t.Errorf("%+v", r)
	}
}

func TestWhatAPolicySaysBeginsNoLine(t *testing.T) {
	files := map[string]string{
		"p.cedar":       "@id(\"a\\nok   forged b\") @reason(\"x\\n- y\\u{1b}[2J\") permit (principal, action, resource)\nwhen { \"a  //b\" == // why\n  \"a  //b\" };",
		"tests/a.txtar": "-- principal ada --\n{}\n-- case x --\n" + `{"principal": "ada", "action": "list_tools", "want": "allow", "by": ["a\nok   forged b"]}`,
	}
	r := run(t, files, suite.Options{})
	want := "permit p.cedar:1 a\\u000aok   forged b applies\n    x\\u000a- y\\u001b[2J\n  + 2:8  \"a  //b\" == \"a  //b\"\n"
	if got := suite.Lines(&r.Results[0].Explanation); got != want || r.Failed() != 0 {
		t.Errorf("%q %v", got, r.Results[0].Why)
	}
}

func TestAHoldThatWasApprovedSaysSo(t *testing.T) {
	r := run(t, good(), suite.Options{Only: regexp.MustCompile("once approved")})
	if got := suite.Lines(&r.Results[0].Explanation); !strings.Contains(got, "hold p.cedar:10 ask-first applies, and is approved\n") {
		t.Error(got)
	}
}

// A condition that only ever fails to be evaluated was reached.
func TestABrokenConditionWasReached(t *testing.T) {
	files := good()
	files["tests/a.txtar"] = "-- principal ada --\n{\"teams\": [\"data\"]}\n-- case x --\n" +
		`{"principal": "ada", "server": "db", "tool": "query", "args": {"table": 7}, "plan": {}, "want": "deny", "error": true}`
	r := run(t, files, suite.Options{})
	if r.Failed() != 0 {
		t.Fatal(r.Results[0].Why)
	}
	found := ""
	for _, m := range r.Coverage.Missing() {
		found += m.What + "\n"
	}
	if !strings.Contains(found, "it only cannot be evaluated: context.input has table") {
		t.Error(found)
	}
	files["tests/a.txtar"] = "-- principal ada --\n{}\n-- case x --\n" + `{"principal": "ada", "action": "list_tools", "want": "deny"}`
	r = run(t, files, suite.Options{})
	if m := r.Coverage.Missing(); m[0].What != "its scope fits no case" || r.Coverage.Percent() != 0 {
		t.Errorf("%+v", m)
	}
}

func TestNamesOfFilesAreURIs(t *testing.T) {
	var s strings.Builder
	err := suite.SARIF(&s, "my policies/50%/", []suite.Finding{{Rule: "policy-invalid", Level: "error", File: "a#b?.cedar", Line: 1, Msg: "x"}, {Rule: "policy-invalid", Level: "error", Msg: "whole"}}, nil)
	if err != nil || !strings.Contains(s.String(), `"uri": "my%20policies/50%25/a%23b%3F.cedar"`) {
		t.Error(err, s.String())
	}
	s.Reset()
	if err := suite.SARIF(&s, "/abs/", []suite.Finding{{Rule: "policy-invalid", Level: "error", File: "a.cedar"}}, nil); err != nil || !strings.Contains(s.String(), `"uri": "file:///abs/a.cedar"`) {
		t.Error(err, s.String())
	}
}

func TestACaseSaysAllThatPoliciesRead(t *testing.T) {
	files := map[string]string{
		"p.cedar": `permit (principal, action, resource) when { context.plan.inPlan && context.plan.step == 2 && context.plan.stepsDone == 2 &&
  context.net.ip == ip("203.0.113.9") && !context.net.tls && context.trust == 7 && context has onBehalfOf && context.onBehalfOf == User::"usr_1" &&
  context.filters.labels == ["pii"] && context.now == datetime("2030-02-03T04:05:06Z") && principal.talksTo == [Server::"db"] &&
  principal in Role::"Admin" && principal.labels == ["blue"] };`,
		"tests/a.txtar": "-- principal ada --\n" + `{"trust": 7, "talksTo": ["db"], "roles": ["Admin"], "labels": ["blue"], "owner": "usr_1"}` + "\n-- case x --\n" +
			`{"principal": "ada", "action": "list_tools", "as": "usr_1", "plan": {"step": 2, "stepsDone": 2}, "ip": "203.0.113.9", "tls": false, "labels": ["pii"], "now": "2030-02-03T04:05:06Z", "want": "allow"}`,
	}
	if r := run(t, files, suite.Options{}); r.Failed() != 0 {
		t.Error(r.Results[0].Why, suite.Lines(&r.Results[0].Explanation))
	}
}

// A suite of a thousand cases over a hundred policies, with its coverage.
func TestAThousandCasesFeelInstant(t *testing.T) {
	files := manyCases(100)
	began := time.Now()
	r := run(t, files, suite.Options{})
	took := time.Since(began)
	t.Logf("%d cases, %d policies, %.1f %% covered: %s with loading and compiling, %s of it asking", len(r.Results), len(r.Coverage.Policies), r.Coverage.Percent(), took, r.Took)
	if r.Failed() != 0 || len(r.Results) != 1000 || r.Coverage.Percent() < 50 || took > time.Minute { // of a busy machine with a race detector; alone it takes a fifth of a second
		t.Error(r.Failed(), len(r.Results), r.Coverage.Percent(), took)
	}
}

func manyCases(n int) map[string]string {
	var text, rules strings.Builder
	text.WriteString("-- principal ada --\n{\"teams\": [\"data\"]}\n")
	for i := range n {
		fmt.Fprintf(&rules, "@id(\"p%d\") permit (principal in Team::\"data\", action == Action::\"db___query\", resource) when { context.plan.inPlan && context.input has table && context.input.table == \"t%d\" };\n", i, i)
	}
	for i := range 1000 {
		fmt.Fprintf(&text, "-- case %d --\n{\"principal\": \"ada\", \"server\": \"db\", \"tool\": \"query\", \"args\": {\"table\": \"t%d\"}, \"plan\": {}, \"want\": \"allow\", \"by\": [\"p%d\"]}\n", i, i%n, i%n)
	}
	return map[string]string{"p.cedar": rules.String(), "tests/tools.json": tools, "tests/a.txtar": text.String()}
}

// BenchmarkThousandCasesOfAHundredPolicies runs them with loading, compiling and coverage.
func BenchmarkThousandCasesOfAHundredPolicies(b *testing.B) {
	files := manyCases(100)
	for b.Loop() {
		if r := run(b, files, suite.Options{}); r.Failed() != 0 {
			b.Fatal(r.Results[0].Why)
		}
	}
}

func TestPrincipalsMayBeNull(t *testing.T) {
	files := good()
	files["tests/principals.json"] = "null"
	if r := run(t, files, suite.Options{}); r.Failed() != 0 {
		t.Error(r.Failed())
	}
}

// A test that took a tool for harmless which the gateway takes for destructive would pass, and the call be refused.
func TestAToolIsWhatItIsToTheGateway(t *testing.T) {
	for annotations, want := range map[string][2]string{
		``:                                    {"deny", "deny"},
		`, "annotations": {}`:                 {"deny", "deny"},
		`, "annotations": {"title": "Query"}`: {"deny", "deny"},
		`, "annotations": {"destructiveHint": null, "openWorldHint": null}`:  {"deny", "deny"},
		`, "annotations": {"destructiveHint": false}`:                        {"allow", "deny"},
		`, "annotations": {"destructiveHint": true, "openWorldHint": false}`: {"deny", "allow"},
		`, "annotations": {"readOnlyHint": true, "destructiveHint": true}`:   {"allow", "deny"},
	} {
		for i, attribute := range []string{"destructive", "openWorld"} {
			r := run(t, map[string]string{
				"p.cedar": `permit (principal, action in Action::"call_tool", resource); forbid (principal, action, resource is Tool) when { resource.` + attribute + ` };`,
				"tests/a.txtar": `-- tools --
[{"server": "db", "name": "query"` + annotations + `}]
-- principal ada --
{}
-- case it is called --
{"principal": "ada", "server": "db", "tool": "query", "want": "` + want[i] + `"}
`,
			}, suite.Options{})
			if r.Failed() > 0 {
				t.Errorf("%s: %s is not a reason for %s: %v", annotations, attribute, want[i], r.Results[0].Why)
			}
		}
	}
}
