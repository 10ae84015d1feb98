package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/x/exp/schema"

	"github.com/gatewright/gatewright/policies/toolschema"
)

// generatorJob is one question to cedar-for-agents' generator.
type generatorJob struct {
	Stub   string          `json:"stub"`
	Tools  string          `json:"tools"`
	Config map[string]bool `json:"config"`

	options toolschema.Options
}

type generatorAnswer struct {
	OK     bool   `json:"ok"`
	Schema string `json:"schema"`
	Error  string `json:"error"`
}

// stricter names what the official generator writes and ours refuses, by what ours says of it. toolschema's package
// comment says why.
var stricter = []string{
	"is no identifier in Cedar",           // blanks or comments around a name
	"the stub has an action of that name", // it overwrites the stub's action
	"two types would be called",           // an entity type and a common type of one name
	"would hide Cedar's own",              // a type that captures a built-in one
	"the schema does not resolve",         // references that lead nowhere or in a circle
	"and the tools define another",        // a tool's own type in place of an opaque one
	"a second tool",                       // it keeps the last
}

// TestToolSchemasAgainstTheirGenerator: on random lists of tools, under every option, the text equals that of
// cedar-for-agents' own generator; what it refuses is refused, and what only ours refuses has a name.
func TestToolSchemasAgainstTheirGenerator(t *testing.T) {
	installed(t, "npm", "node_modules", "@cedar-policy", "mcp-schema-generator-wasm")
	jobs := generatorJobs()
	answers := askGenerator(t, jobs)
	equal, refused, named := 0, 0, map[string]int{}
	for i, j := range jobs {
		got, err := toolschema.Generate([]byte(j.Stub), []byte(j.Tools), j.options)
		switch a := answers[i]; {
		case err == nil && a.OK:
			if theirs := a.Schema; string(got.Cedar()) != theirs {
				t.Fatalf("%+v of %s\n%s", j.options, j.Tools, firstDifference(string(got.Cedar()), theirs))
			}
			equal++
		case err == nil:
			t.Fatalf("%+v of %s: they refuse it: %s", j.options, j.Tools, a.Error)
		case !a.OK:
			refused++
		default:
			named[exceptionOf(t, &j, err, a.Schema)]++
		}
	}
	t.Logf("%d schemas equal, %d refused by both, refused by ours alone: %v", equal, refused, named)
	if equal < len(jobs)/2 || refused == 0 || len(named) == 0 {
		t.Error("the random tools are too much alike")
	}
}

// exceptionOf finds the name under which ours refuses alone. What is said not to resolve must not resolve.
func exceptionOf(t *testing.T, j *generatorJob, err error, theirs string) string {
	t.Helper()
	for _, s := range stricter {
		if !strings.Contains(err.Error(), s) {
			continue
		}
		if s == "the schema does not resolve" && resolves(theirs) {
			break
		}
		return s
	}
	t.Fatalf("%+v of %s: ours alone refuses: %v\n%s", j.options, j.Tools, err, theirs)
	return ""
}

func resolves(text string) bool {
	var s schema.Schema
	if s.UnmarshalCedar([]byte(text)) != nil {
		return false
	}
	_, err := s.Resolve()
	return err == nil
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\nours   %s\ntheirs %s", i+1, g[i], w[i])
		}
	}
	return "one goes on where the other ends"
}

func askGenerator(t *testing.T, jobs []generatorJob) []generatorAnswer {
	t.Helper()
	var in, errOut bytes.Buffer
	enc := json.NewEncoder(&in)
	for i := range jobs {
		if err := enc.Encode(&jobs[i]); err != nil {
			t.Fatal(err)
		}
	}
	cmd := node(t, "toolschema.mjs")
	cmd.Stdin, cmd.Stderr = &in, &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%.4000s", err, errOut.String())
	}
	answers := make([]generatorAnswer, 0, len(jobs))
	lines := bufio.NewReader(bytes.NewReader(out))
	for range jobs {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var a generatorAnswer
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers
}

// Stubs that differ in what they mark.
var generatorStubs = []string{
	`namespace S { @mcp_principal entity User; @mcp_resource entity Server; @mcp_action action call_tool; }`,
	`namespace My::Org {
  @mcp_principal("p") entity Person in [Group] = { name: String, "odd name"?: Set<{ a: Long }> } tags Set<String>;
  @mcp_principal @note("kept") entity Bot enum ["one", "two's"];
  entity Group;
  @mcp_resource @mcp_context("where") entity Place;
  @mcp_context("session") type Session = { at: datetime, deep: { x?: ipaddr, y: {} } };
  type Empty = {};
  @mcp_action action all;
  @mcp_action action "some more" in [all];
  action other appliesTo { principal: [Person], resource: [Place], context: Empty };
}`,
	`namespace N { @mcp_principal @mcp_resource entity Both; @mcp_context("null") type Null2 = Long; entity Number = { own: Long }; }`,
}

// generatorJobs are random lists of tools, each under the default, one option or a few.
func generatorJobs() []generatorJob {
	rng := rand.New(rand.NewPCG(20, 26))
	var jobs []generatorJob
	for i := range 300 {
		tools := string((&toolMaker{rng: rng, wild: i%3 == 2}).list())
		for k := range 8 {
			bits := 1 << k >> 1
			if k == 6 || k == 7 {
				bits = rng.IntN(32)
			}
			o := toolschema.Options{IncludeOutputs: bits&1 > 0, ObjectsAsRecords: bits&2 > 0, KeepAnnotations: bits&4 > 0, Flatten: bits&8 > 0, NumbersAsDecimal: bits&16 > 0}
			stub := generatorStubs[i%len(generatorStubs)]
			if o.Flatten && strings.Contains(stub, "::") {
				o.Flatten = false // theirs leaves dangling references; ours refuses before it looks at tools
			}
			jobs = append(jobs, generatorJob{Stub: stub, Tools: tools, options: o, Config: map[string]bool{
				"includeOutputs": o.IncludeOutputs, "objectsAsRecords": o.ObjectsAsRecords, "eraseAnnotations": !o.KeepAnnotations,
				"flattenNamespaces": o.Flatten, "numbersAsDecimal": o.NumbersAsDecimal,
			}})
		}
	}
	return jobs
}

// toolMaker makes descriptions of tools. Wild ones have what only hostile or careless servers send.
type toolMaker struct {
	rng  *rand.Rand
	wild bool
	defs []string // that may be referred to
}

type obj = map[string]any

func (m *toolMaker) one(of ...string) string { return of[m.rng.IntN(len(of))] }

func (m *toolMaker) often(percent int) bool { return m.rng.IntN(100) < percent }

// rarely is for the wild: true once in so many times.
func (m *toolMaker) rarely(n int) bool { return m.wild && m.rng.IntN(n) == 0 }

func (m *toolMaker) list() []byte {
	var tools []any
	var shared obj
	if m.often(40) {
		shared = m.definitions("Shared", 0)
	}
	for i := range 1 + m.rng.IntN(4) {
		tools = append(tools, m.tool(i))
	}
	var out any = tools
	switch {
	case shared != nil:
		out = obj{"jsonrpc": "2.0", "id": 1, "result": obj{"tools": tools, "$defs": shared}}
	case len(tools) == 1 && m.often(50):
		out = tools[0]
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return b
}

func (m *toolMaker) tool(i int) obj {
	outer := m.defs
	defer func() { m.defs = outer }()
	name := fmt.Sprintf("%s%d", m.one("read", "send_", "Get", "x", "permit"), i)
	if m.rarely(12) {
		name = m.one("call_tool", "all", "get-sum", "a b", " pad", "read0", "if", "Input", "x\ny", "é", "o'k", `q"q`, "read/*c*/", "a::b", "")
	}
	t := obj{"name": name, "description": "does it"}
	if m.often(25) {
		t["$defs"] = m.definitions("Tool", 0)
	}
	t[m.one("inputSchema", "inputSchema", "parameters")] = m.parameters("In")
	if m.often(40) {
		t["outputSchema"] = m.parameters("Out")
	}
	if m.rarely(30) {
		t["description"] = 5
	}
	return t
}

func (m *toolMaker) parameters(prefix string) obj {
	outer := m.defs
	defer func() { m.defs = outer }()
	p := obj{"type": "object"}
	if m.often(30) {
		p["$defs"] = m.definitions(prefix, 0)
	}
	m.properties(p, 0)
	if m.often(5) {
		p["properties"], p["required"] = false, false
	}
	if m.often(5) {
		return obj{"json": p}
	}
	return p
}

// definitions may refer to each other, and the wild also to themselves and to what is not there.
func (m *toolMaker) definitions(prefix string, depth int) obj {
	defs := obj{}
	var names []string
	for i := range 1 + m.rng.IntN(3) {
		name := fmt.Sprintf("%s%d", prefix, i)
		if m.rarely(15) {
			name = m.one("Number", "Null", "User", "String", "ipaddr", "Input", "read0Input", "a-b", "Person")
		}
		names = append(names, name)
	}
	if m.often(50) {
		m.defs = append(slices.Clip(m.defs), names...)
	}
	for _, name := range names {
		defs[name] = m.schema(depth + 1)
	}
	m.defs = append(slices.Clip(m.defs), names...)
	return defs
}

func (m *toolMaker) properties(into obj, depth int) {
	props, required := obj{}, []string{}
	for range m.rng.IntN(5) {
		name := m.one("id", "path", "amount", "to", "when", "tags", "principal", "_x", "A1", "entity", "namespace", "type", "in_")
		if m.rarely(25) {
			name = m.one("a-b", "$ref", "in", "String", "ipaddr", "Long", "Number", " sp", "x//y", "ü", "__cedar", "decimal", "")
		}
		props[name] = m.schema(depth + 1)
		if m.often(50) {
			required = append(required, name)
		}
	}
	into["properties"] = props
	if m.often(80) {
		into["required"] = required
	}
	if m.rarely(40) {
		into["required"] = m.one("id", "path")
	}
}

func (m *toolMaker) schema(depth int) any {
	if depth > 4 {
		return obj{"type": m.one("string", "integer")}
	}
	if m.rarely(40) {
		return []any{true, "string", nil, obj{"type": "date"}, obj{"type": 7}, obj{"$ref": "#/definitions/x"}, obj{"$ref": "#/$defs/nowhere"}, obj{"type": true}}[m.rng.IntN(8)]
	}
	s := obj{}
	if m.often(20) {
		s["description"] = m.one("one", "two")
	}
	switch m.rng.IntN(12) {
	case 0, 1:
		s["type"] = m.one("string", "boolean", "integer", "number", "float", "null")
	case 2, 3:
		s["type"], s["format"] = "string", m.one("date-time", "date", "duration", "ipv4", "ipv6", "decimal", "uri", "email")
	case 4:
		s["type"], s["enum"] = "string", m.values()
	case 5:
		m.array(s, depth)
	case 6, 7:
		m.object(s, depth)
	case 8:
		s[m.one("anyOf", "oneOf")] = []any{m.schema(depth + 1), m.schema(depth + 1), m.schema(depth + 1)}
	case 9:
		m.several(s, depth)
	case 10:
		if len(m.defs) > 0 {
			s["$ref"] = "#/$defs/" + m.one(m.defs...)
		}
	case 11:
		s[m.one("const", "allOf", "not", "title")] = []any{"x"}
	}
	return s
}

func (m *toolMaker) values() any {
	values := []any{m.one("on", "off", "a\"b", "it's", "tab\there", "nul\x00", "ünïcode", "\u202eabc", "日本", "\\", "]; entity Evil; //", "e\u0301", "\u00ad")}
	for i := range m.rng.IntN(3) {
		values = append(values, fmt.Sprint("v", i))
	}
	if m.rarely(10) {
		return []any{[]any{}, []any{1}, "x", []any{"same", "same"}}[m.rng.IntN(4)]
	}
	return values
}

func (m *toolMaker) array(s obj, depth int) {
	s["type"] = "array"
	if m.often(40) {
		s["prefixItems"] = []any{m.schema(depth + 1), m.schema(depth + 1)}
	}
	switch m.rng.IntN(6) {
	case 0, 1, 2:
		s["items"] = m.schema(depth + 1)
	case 3:
		s["items"] = m.often(30)
	case 4:
		one := m.schema(depth + 1)
		s["items"], s["prefixItems"] = one, []any{one, one}
	}
}

func (m *toolMaker) object(s obj, depth int) {
	s["type"] = "object"
	m.properties(s, depth)
	switch m.rng.IntN(5) {
	case 0:
		s["additionalProperties"] = m.schema(depth + 1)
	case 1:
		s["additionalProperties"] = m.often(50)
	}
}

func (m *toolMaker) several(s obj, depth int) {
	types := []any{m.one("string", "integer", "null"), m.one("boolean", "array", "object", "number")}
	if m.often(20) {
		types = append(types, m.schema(depth+1))
	}
	s["type"] = types
	m.properties(s, depth)
	s["items"] = m.schema(depth + 1)
	s["enum"] = []any{"a", 1}
}
