package foreign

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies"
)

// Kinds of policies that Translate reads.
const (
	ToolHive  = "toolhive"
	AgentCore = "agentcore"
)

// Names says what the other gateway's names mean here. The zero value translates only what needs no such help.
type Names struct {
	File string // for places in problems and notes
	// Server is the server here that the other gateway stands before. "*" says that its policies are meant for all servers
	// here. Policies that name no server need it: without, a permit would spread to servers it was not written for.
	Server string
	// Servers gives the server here for an MCP server of ToolHive or a target of AgentCore; the same name if it has none.
	Servers map[string]string
	// Clients gives the entity here for a subject: `Agent::"agt_..."` or `User::"usr_..."`.
	Clients map[string]string
	// Groups gives the group here for a claim, as in "department=finance": `Team::"finance"`. Roles and groups have
	// their own names if it does not name them.
	Groups map[string]string
}

// maxText bounds what is translated at once, in bytes.
const maxText = 1 << 20

// Translate gives the policies in this gateway's words, and notes for who takes them over. An error is policies.Problems.
func Translate(kind string, text []byte, names Names) (out []byte, notes []string, err error) {
	w := words(nil)
	switch kind {
	case ToolHive:
		w = toolhive{}
	case AgentCore:
		w = agentcore{}
	default:
		return nil, nil, policies.Problems{{File: names.File, Msg: fmt.Sprintf("no policies of kind %q can be read", kind), Hint: "toolhive or agentcore"}}
	}
	list, err := parse(names.File, text)
	if err != nil {
		return nil, nil, err
	}
	t := &translator{Names: names, words: w, notes: map[string]bool{}}
	var problems policies.Problems
	var b bytes.Buffer
	for i, p := range list {
		end := len(text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		done, p := t.policy((*ast.Policy)(p.AST()), string(text[p.Position().Offset:end]))
		if p != nil {
			problems = append(problems, *p)
			continue
		}
		if done != nil {
			b.Write(cedar.NewPolicyFromAST((*publicast.Policy)(done)).MarshalCedar())
			b.WriteString("\n\n")
		}
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	out = append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
	if _, err := parse(names.File, out); err != nil {
		return nil, nil, fmt.Errorf("translated, it does not parse: %w", err)
	}
	return out, slices.Sorted(maps.Keys(t.notes)), nil
}

// parse reads policies within the bounds that hold for our own.
func parse(file string, text []byte) (cedar.PolicyList, error) {
	if len(text) > maxText {
		return nil, policies.Problems{{File: file, Msg: fmt.Sprintf("longer than %d bytes", maxText), Hint: "translate one part after the other"}}
	}
	if err := policies.CheckText(file, text); err != nil {
		return nil, err
	}
	list, err := cedar.NewPolicyListFromBytes("", text)
	if err != nil {
		p := policies.Problem{File: file, Msg: err.Error(), Hint: "templates and extensions of the language, as temporal conditions, cannot be read"}
		if _, place, ok := strings.Cut(p.Msg, "<input>:"); ok {
			_, _ = fmt.Sscanf(place, "%d:%d", &p.Line, &p.Column) // as far as it says
		}
		return nil, policies.Problems{p}
	}
	return list, nil
}

// words is what differs between the gateways.
type words interface {
	// scope translates who, what and on what.
	scope(t *translator, p *ast.Policy) (*scope, *trouble)
	// leaf translates an expression that means something of its own; done is false for all others.
	leaf(t *translator, n ast.IsNode) (out ast.IsNode, done bool, bad *trouble)
	// fact recognises what is known of the caller or the tool there, and here perhaps differently.
	fact(t *translator, n ast.IsNode) *fact
	// entity translates the name of somebody or something in a condition.
	entity(t *translator, uid types.EntityUID) (types.EntityUID, *trouble)
}

// scope is a translated scope.
type scope struct {
	principal ast.IsPrincipalScopeNode
	action    ast.IsActionScopeNode
	resource  ast.IsResourceScopeNode
	input     bool // the tools are named, so that their arguments have types
	drop      bool // the policy says nothing here
}

// trouble is why a policy cannot be translated, at the last place of word.
type trouble struct{ word, msg, hint string }

// translator works on one text.
type translator struct {
	Names
	words
	notes   map[string]bool
	gateway string // the ARN that the policies are for

	forbid  bool // of the policy at hand
	input   bool
	guarded map[string]bool // facts that are known to be there
}

func (t *translator) note(format string, args ...any) { t.notes[fmt.Sprintf(format, args...)] = true }

// policy translates one; nil if it says nothing here.
func (t *translator) policy(p *ast.Policy, source string) (*ast.Policy, *policies.Problem) {
	t.forbid = p.Effect == ast.EffectForbid
	s, bad := t.scope(t, p)
	if bad != nil {
		return nil, t.problem(p, source, bad)
	}
	if s.drop {
		return nil, nil
	}
	out := *p
	out.Annotations = t.annotations(p.Annotations)
	out.Principal, out.Action, out.Resource = s.principal, s.action, s.resource
	t.input = s.input
	out.Conditions = make([]ast.ConditionType, len(p.Conditions))
	for i, c := range p.Conditions {
		t.guarded = map[string]bool{}
		at := inWhen
		if c.Condition == ast.ConditionUnless {
			at = inUnless
		}
		if c.Body, bad = t.logic(c.Body, at); bad != nil {
			return nil, t.problem(p, source, bad)
		}
		out.Conditions[i] = c
	}
	if !t.forbid {
		t.note("permits here hold for calls outside a signed plan, too: add `context.plan.inPlan` where they should not")
	}
	return &out, nil
}

// meaning lists the annotations that do something here and nothing there: with one of them a forbid would only hold, count
// or watch what it denied.
var meaning = []types.AnnotationKey{"mode", "hold", "approvals", "approver", "rate", "rate_by"}

// annotations leaves those with a meaning out.
func (t *translator) annotations(all []ast.AnnotationType) (out []ast.AnnotationType) {
	for _, a := range all {
		if slices.Contains(meaning, a.Key) {
			t.note("@%s is left out: it says nothing there, and here it would change what the policy does", a.Key)
			continue
		}
		out = append(out, a)
	}
	return out
}

// problem finds the place of a trouble: the last of the word in the policy, or its head.
func (t *translator) problem(p *ast.Policy, source string, bad *trouble) *policies.Problem {
	out := &policies.Problem{File: t.File, Line: p.Position.Line, Column: p.Position.Column, Msg: bad.msg, Hint: bad.hint}
	at := strings.LastIndex(source, bad.word)
	if at < 0 || bad.word == "" {
		return out
	}
	before := source[:at]
	if n := strings.Count(before, "\n"); n > 0 {
		out.Line += n
		out.Column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	} else {
		out.Column += utf8.RuneCountInString(before)
	}
	return out
}

func stop(word, hint, format string, args ...any) *trouble {
	return &trouble{word: word, msg: fmt.Sprintf(format, args...), hint: hint}
}

// server gives the server here.
func (t *translator) server(theirs string) string {
	if ours, ok := t.Servers[theirs]; ok {
		return ours
	}
	return theirs
}

// ownServer gives the server that policies are for which name none, "*" for all.
func (t *translator) ownServer(word string) (string, *trouble) {
	if t.Server == "" {
		return "", stop(word, "--server NAME says which server here the other gateway stands before, and --server '*' all of them",
			"the policy is for all tools of its gateway, and there may be other servers here")
	}
	return t.Server, nil
}

// tools is the scope of all tools of a server.
func serverScope(server string) ast.IsResourceScopeNode {
	if server == "*" {
		return ast.ScopeTypeAll{}
	}
	return ast.ScopeTypeIn{Entity: types.NewEntityUID("Server", types.String(server))}
}

func action(id string) types.EntityUID { return types.NewEntityUID("Action", types.String(id)) }

func toolUID(server, name string) types.EntityUID {
	return types.NewEntityUID("Tool", types.String(server+"/"+name))
}

// client gives who a subject is here.
func (t *translator) client(sub string) (types.EntityUID, *trouble) {
	hint := fmt.Sprintf("--client '%s=Agent::\"agt_...\"' or User::\"usr_...\" says who it is here", sub)
	ours, ok := t.Clients[sub]
	if !ok {
		return types.EntityUID{}, stop(sub, hint, "who %q is here is not known", sub)
	}
	uid, ok := entityOf(ours)
	if !ok || uid.Type != "Agent" && uid.Type != "User" {
		return uid, stop(sub, hint, "%q is no agent or user here", ours)
	}
	return uid, nil
}

// group gives the group here of those with a claim.
func (t *translator) group(claim, value string) (types.EntityUID, *trouble) {
	hint := fmt.Sprintf("--group '%s=%s=Team::\"...\"' or Role::\"...\" says which group that is here", claim, value)
	uid := types.EntityUID{ID: types.String(value)}
	switch ours, ok := t.Groups[claim+"="+value]; {
	case ok:
		if uid, ok = entityOf(ours); !ok || uid.Type != "Team" && uid.Type != "Role" {
			return uid, stop(value, hint, "%q is no team or role here", ours)
		}
	case claim == "role" || claim == "roles":
		uid.Type = "Role"
	case claim == "group" || claim == "groups" || claim == "cognito:groups" || claim == "THVGroup":
		uid.Type = "Team"
	default:
		return uid, stop(claim, hint, "claim %q is not known here", claim)
	}
	t.note("%s must have those as members who carried %s %q", uid, claim, value)
	return uid, nil
}

// entityOf reads `Type::"id"`.
func entityOf(s string) (types.EntityUID, bool) {
	typ, id, ok := strings.Cut(s, `::"`)
	id, closed := strings.CutSuffix(id, `"`)
	if !ok || !closed || strings.ContainsAny(id, `"\`) || id == "" {
		return types.EntityUID{}, false
	}
	return types.NewEntityUID(types.EntityType(typ), types.String(id)), true
}
