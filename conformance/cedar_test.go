package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/cedartest"
)

// The engine that Cedar's authors maintain, in Rust, judges policies that cedartest writes beside the one that the gateway
// is built on. The gateway's own path is held against cedar-go on the same cases, in policies.

// cedarVersion is the referee's: another one may judge otherwise, and is to be looked at first.
const cedarVersion = "4.13.0"

// What is asked, and in how many requests a policy set is tried. CI asks everything; GATEWRIGHT_REQUESTS another number.
const (
	cedarRequests      = 100_000
	cedarRequestsBrief = 4_000
	cedarRequestsEach  = 20
	cedarValidateEvery = 10 // policy sets: it takes longer than twenty requests
)

// cedarAnswer is what an engine says of a request: the ids of policies, sorted.
type cedarAnswer struct {
	Failed          string
	Decision        string
	Reasons, Errors []string
}

func (a *cedarAnswer) sort() {
	slices.Sort(a.Reasons)
	slices.Sort(a.Errors)
}

// cedarVerdict is what the referee says of a case.
type cedarVerdict struct {
	Failed           string
	Answers          []cedarAnswer
	Errors, Warnings []struct{ Policy, Message, Help string }
}

// cedarJob is a case for the referee.
type cedarJob struct {
	Policies string           `json:"policies"`
	Schema   string           `json:"schema,omitempty"`
	Entities []types.Entity   `json:"entities"`
	Requests []map[string]any `json:"requests"`
}

func requestsToAsk(t *testing.T) int {
	t.Helper()
	n := cedarRequestsBrief
	if os.Getenv("CI") == "true" {
		n = cedarRequests
	}
	if s := os.Getenv("GATEWRIGHT_REQUESTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("GATEWRIGHT_REQUESTS: %v", err)
		}
	}
	return n
}

func TestCedarsOwnEngineAgrees(t *testing.T) {
	t.Parallel()
	schemas := newCedarSchemas(t)
	cases := make([]cedartest.Case, (requestsToAsk(t)+cedarRequestsEach-1)/cedarRequestsEach)
	for i := range cases {
		cases[i] = cedartest.Generate(cedartest.NewSource(1, uint64(i)), cedarRequestsEach)
	}
	asked, allowed, failed, valid := 0, 0, 0, 0
	differ := map[string]int{}
	askCedar(t, cases, schemas, func(i int, v *cedarVerdict) error {
		set, err := cedar.NewPolicySetFromBytes("p.cedar", []byte(cases[i].Policies))
		if err != nil {
			return err
		}
		for k, q := range cases[i].Requests {
			ours, theirs := answerOf(set, cases[i].Entities, q), &v.Answers[k]
			if theirs.sort(); ours.Decision != theirs.Decision || !slices.Equal(ours.Reasons, theirs.Reasons) || !slices.Equal(ours.Errors, theirs.Errors) || theirs.Failed != "" {
				disagree(t, set, q, &ours, theirs)
			}
			asked++
			allowed += len(ours.Decision) - len("deny") // "allow" is one longer
			failed += min(1, len(ours.Errors))
		}
		if i%cedarValidateEvery != 0 {
			return nil
		}
		valid += schemas.compare(&cases[i], set, v, differ)
		return nil
	})
	t.Logf("%d requests: %d allowed, %d with errors; %d policies valid; the validators differ by %v", asked, allowed, failed, valid, differ)
	if asked < len(cases)*cedarRequestsEach || allowed < asked/20 || failed < asked/20 || valid < asked/1000 {
		t.Error("too little happened")
	}
	for name := range differ {
		if !slices.Contains([]string{scopesOfNothing, behindFalse, neverReached, notKnownHere, unlikeSets, unknownType}, name) {
			t.Errorf("the validators differ by %s, which is not known", name)
		}
	}
}

// What the engines are known to answer differently, which no generated policy has. A bundle with one of the literals is
// refused; the date and the time of moments before 1970 stay a difference, of no use to a gateway. When a new cedar-go
// answers alike, cedartest may write them.
func TestWhatTheEnginesAnswerDifferently(t *testing.T) {
	t.Parallel()
	literals := map[string]struct {
		text, ours, theirs string
		taken              bool
	}{
		"a plus":                {`decimal("+1.0").lessThan(decimal("2.0"))`, "allow", "deny", false},
		"the shortest duration": {`duration("-9223372036854775808ms") < duration("0ms")`, "deny", "allow", false},
		"a time before 1970":    {`datetime("1969-12-31T12:00:00Z").toTime() < duration("0ms")`, "allow", "deny", true},
		"a date before 1970":    {`datetime("1969-12-31T12:00:00Z").toDate() == datetime("1969-12-31")`, "deny", "allow", true},
	}
	var cases []cedartest.Case
	var names []string
	for name, l := range literals {
		c := cedartest.Generate(cedartest.NewSource(1, 1), 1)
		c.Policies = "permit (principal, action, resource) when { " + l.text + " };"
		cases, names = append(cases, c), append(names, name)
		if taken := (&cedarSchemas{}).check(&cedartest.Case{Gateway: true}, "", mustParse(t, c.Policies)) == nil; taken != l.taken {
			t.Errorf("a bundle may have %s: %v", name, taken)
		}
	}
	askCedar(t, cases, newCedarSchemas(t), func(i int, v *cedarVerdict) error {
		want := literals[names[i]]
		set, err := cedar.NewPolicySetFromBytes("p.cedar", []byte(cases[i].Policies))
		if err != nil {
			return err
		}
		ours := answerOf(set, cases[i].Entities, cases[i].Requests[0])
		if ours.Decision != want.ours || v.Answers[0].Decision != want.theirs {
			t.Errorf("%s: %s and %s, want %s and %s: is the difference gone?", names[i], ours.Decision, v.Answers[0].Decision, want.ours, want.theirs)
		}
		return nil
	})
}

func mustParse(t *testing.T, text string) *cedar.Policy {
	t.Helper()
	var p cedar.Policy
	if err := p.UnmarshalCedar([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return &p
}

// disagree reports a request that is answered in two ways, with the policies that make the difference.
func disagree(t *testing.T, set *cedar.PolicySet, q cedar.Request, ours, theirs *cedarAnswer) {
	t.Helper()
	var texts []string
	for id, p := range set.All() {
		name := string(id)
		if slices.Contains(ours.Reasons, name) != slices.Contains(theirs.Reasons, name) || slices.Contains(ours.Errors, name) != slices.Contains(theirs.Errors, name) {
			texts = append(texts, name+": "+string(p.MarshalCedar()))
		}
	}
	t.Errorf("cedar-go %+v, the referee %+v\n%+v\n%s", *ours, *theirs, q, strings.Join(texts, "\n"))
}

// askCedar gives the cases to the referee and what it says to judge, one after the other.
func askCedar(t *testing.T, cases []cedartest.Case, schemas *cedarSchemas, judge func(int, *cedarVerdict) error) {
	t.Helper()
	installed(t, "npm", "node_modules", "@cedar-policy", "cedar-wasm")
	cmd := node(t, "cedar.mjs")
	cmd.Args = slices.Insert(cmd.Args, 1, "--no-opt") // node 22 can die as it takes an optimization back; WebAssembly is not slower
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(sendCases(in, cases, schemas), in.Close()) }()
	said := judgeAll(bufio.NewReaderSize(out, 1<<20), cases, judge)
	if said != nil {
		_ = cmd.Process.Kill() // it would wait for a reader
	}
	if err := errors.Join(<-sent, cmd.Wait()); said != nil || err != nil {
		t.Fatalf("%v\n%v\n%.2000s", said, err, complaint.String())
	}
}

func sendCases(in io.Writer, cases []cedartest.Case, schemas *cedarSchemas) error {
	buffered := bufio.NewWriter(in)
	enc := json.NewEncoder(buffered)
	for i := range cases {
		c := &cases[i]
		job := cedarJob{Policies: c.Policies}
		if i%cedarValidateEvery == 0 {
			job.Schema = schemas.of(c)
		}
		for u := range c.Entities {
			job.Entities = append(job.Entities, c.Entities[u])
		}
		for _, q := range c.Requests {
			job.Requests = append(job.Requests, map[string]any{
				"principal": q.Principal, "action": q.Action, "resource": q.Resource, "context": q.Context, "sees": seen(c, job.Entities, q),
			})
		}
		if err := enc.Encode(job); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// seen lists the entities that can have a part in an answer: those of the request, those the policies name, and what these
// lead to. Reading entities is most of what the referee does.
func seen(c *cedartest.Case, list []types.Entity, q cedar.Request) []int {
	reached := map[types.EntityUID]bool{}
	var reach func(types.Value)
	reach = func(v types.Value) {
		switch v := v.(type) {
		case types.EntityUID:
			if reached[v] {
				return
			}
			reached[v] = true
			e := c.Entities[v]
			for p := range e.Parents.All() {
				reach(p)
			}
			reach(e.Attributes)
			reach(e.Tags)
		case types.Set:
			for e := range v.All() {
				reach(e)
			}
		case types.Record:
			for e := range v.Values() {
				reach(e)
			}
		}
	}
	for _, v := range []types.Value{q.Principal, q.Action, q.Resource, q.Context} {
		reach(v)
	}
	out := []int{} // null is no list
	for i := range list {
		if strings.Contains(c.Policies, list[i].UID.String()) {
			reach(list[i].UID)
		}
	}
	for i := range list {
		if reached[list[i].UID] {
			out = append(out, i)
		}
	}
	return out
}

func judgeAll(out io.Reader, cases []cedartest.Case, judge func(int, *cedarVerdict) error) error {
	dec := json.NewDecoder(out)
	var is struct{ Version, Language string }
	if err := dec.Decode(&is); err != nil || is.Version != cedarVersion {
		return fmt.Errorf("the referee is %+v, want %s: %w", is, cedarVersion, err)
	}
	for i := range cases {
		var v cedarVerdict
		err := dec.Decode(&v)
		if err == nil && v.Failed != "" {
			err = errors.New(v.Failed)
		}
		if err == nil && len(v.Answers) != len(cases[i].Requests) {
			err = fmt.Errorf("%d answers", len(v.Answers))
		}
		if err == nil {
			err = judge(i, &v)
		}
		if err != nil {
			return fmt.Errorf("case %d: %w", i, err)
		}
	}
	return nil
}

func answerOf(set *cedar.PolicySet, entities types.EntityMap, q cedar.Request) cedarAnswer {
	decision, diag := cedar.Authorize(set, entities, q)
	a := cedarAnswer{Decision: decision.String()}
	for _, r := range diag.Reasons {
		a.Reasons = append(a.Reasons, string(r.PolicyID))
	}
	for _, e := range diag.Errors {
		a.Errors = append(a.Errors, string(e.PolicyID))
	}
	a.sort()
	return a
}

// cedarSchemas are what the policies of each sort of worlds are validated by.
type cedarSchemas struct {
	gateway, documents string
	validator          *validate.Validator // of documents
}

// cedarTools are the tools of a gateway's world.
var cedarTools = []policies.ToolDef{
	{Server: "mail", Name: "send", InputSchema: []byte(`{"type":"object","properties":{"to":{"type":"string"},"subject":{"type":"string"},"copies":{"type":"integer"},
		"tags":{"type":"array","items":{"type":"string"}},"price":{"type":"number"},"meta":{"type":"object","properties":{"dept":{"type":"string"},"level":{"type":"integer"}},
		"required":["dept"]},"any":{}},"required":["to"]}`)},
	{Server: "db", Name: "query", InputSchema: []byte(`{"type":"object","properties":{"sql":{"type":"string"},"table":{"type":"string"},"limit":{"type":"integer"},
		"write":{"type":"boolean"}},"required":["sql"]}`)},
}

func newCedarSchemas(t *testing.T) *cedarSchemas {
	t.Helper()
	text, skipped, err := policies.Schema(policies.Default(), cedarTools)
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
	}
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(cedartest.DocumentSchema)); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return &cedarSchemas{string(text), cedartest.DocumentSchema, validate.New(resolved, validate.WithStrict())}
}

func (s *cedarSchemas) of(c *cedartest.Case) string {
	if c.Gateway {
		return s.gateway
	}
	return s.documents
}

// check judges a policy as this program does: one for a gateway as a bundle of its own, another by cedar-go's validator.
func (s *cedarSchemas) check(c *cedartest.Case, id string, p *cedar.Policy) error {
	if !c.Gateway {
		return s.validator.Policy(id, (*ast.Policy)(p.AST()))
	}
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: p.MarshalCedar()}})
	if err != nil {
		return err
	}
	_, err = policies.Compile(b, cedarTools)
	return err
}

// What the validators are known to differ by. What a gateway's bundle may say, the referee takes, but for unlikeSets: in the
// gateway's schema principal.talksTo is the only set of entities.
const (
	scopesOfNothing = "unable to find an applicable action: an error here, a warning there"
	behindFalse     = "policy is impossible: what stands behind a part that is false is checked here, and not there"
	neverReached    = "what a part never reaches is checked here, and not there"
	notKnownHere    = "a bundle cannot look into entities that a call does not have"
	unlikeSets      = "sets of entities of two types compared: an error there, nothing here"
	unknownType     = "x is T, with a T that nobody has: an error there, nothing for cedar-go; a bundle is refused"
)

// compare counts, by name, the policies that one takes and the other does not, and says how many both take.
func (s *cedarSchemas) compare(c *cedartest.Case, set *cedar.PolicySet, v *cedarVerdict, differ map[string]int) (valid int) {
	errs, warnings := map[string]string{}, map[string]string{}
	for _, e := range v.Errors {
		errs[e.Policy] += e.Message
	}
	for _, e := range v.Warnings {
		warnings[e.Policy] += e.Message
	}
	for id, p := range set.All() {
		ours := s.check(c, string(id), p)
		theirs, refused := errs[string(id)]
		switch warned := warnings[string(id)]; {
		case ours == nil && !refused:
			valid++
		case ours != nil && refused:
		case refused && strings.Contains(theirs, "unrecognized entity type") && !c.Gateway:
			differ[unknownType]++
		case refused && strings.Contains(theirs, "the types Set<"):
			differ[unlikeSets]++
		case refused:
			differ["accepted here and refused there: "+theirs]++
		case strings.Contains(warned, "unable to find an applicable action"):
			differ[scopesOfNothing]++
		case strings.Contains(warned, "policy is impossible"):
			differ[behindFalse]++
		case ours != nil && strings.Contains(ours.Error(), "not known here"):
			differ[notKnownHere]++
		default:
			differ[neverReached]++
		}
	}
	return valid
}
