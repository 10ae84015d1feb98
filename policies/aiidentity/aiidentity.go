// Package aiidentity translates AI Identity's policies, which allow and deny endpoints of an API to an agent, into Cedar
// that only narrows.
//
// A policy there is {when, allowed_endpoints, denied_endpoints, allowed_methods}. A request is allowed if every condition of
// when holds of the agent's metadata, no denied endpoint matches, an allowed one does, and its method is listed or none is.
// Here a request to the API is a call of one tool, whose input names the path and the method: see Options. What comes out
// speaks of that tool alone and has no permit: what else the agent may do is for the rest of the bundle to say.
//
//	there                                here
//	when: {team: "payments"}             the agent has the label team=payments
//	when: {team: {in: [..]}}             the agent has one of the labels
//	when: {team: {not_in: [..]}}         the agent has the label team, and none of team=..: there, too, the member must be set
//	"*", "/v1/*", "/v1/chat"             every path; /v1 and what is below it; this path
//	allowed_methods: ["get"]             the method is GET: names of methods are compared as HTTP has them, in capitals
//
// Nothing is guessed. A member that is not known or not of its type is a Problem, and nothing is translated; a member that is
// known and cannot be said in Cedar is in Left. What is refused there is refused here; two things that are allowed there are
// not, a method in small letters and not_in for an agent whose labels do not say that the member is set.
package aiidentity

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of AI Identity's validator.
const (
	maxEndpoints  = 50
	maxEndpoint   = 256
	maxMethods    = 10
	maxConditions = 10
	maxValues     = 20
	maxBytes      = 10_240
)

// Options say what a request to the API is here. The zero value is filled: tool request of server api, its arguments
// endpoint and method, every agent.
type Options struct {
	Server, Tool     string
	Endpoint, Method string // names of arguments, both required strings
	Agent            string // id of the agent the policy is of; "" for all
	Name             string // begins every @id; "aiidentity" if empty, followed by the agent
}

func (o Options) filled() Options {
	for into, text := range map[*string]string{&o.Server: "api", &o.Tool: "request", &o.Endpoint: "endpoint", &o.Method: "method"} {
		if *into == "" {
			*into = text
		}
	}
	if o.Name == "" {
		o.Name = "aiidentity"
		if o.Agent != "" {
			o.Name += ":" + o.Agent
		}
	}
	return o
}

// Problem is why a policy is refused, or what of it is left out, at its place.
type Problem struct {
	Pointer string // RFC 6901; "" is the whole document
	Msg     string
	Hint    string
}

// Error gives "policy at POINTER: message (hint)".
func (p Problem) Error() string {
	at := "policy"
	if p.Pointer != "" {
		at += " at " + p.Pointer
	}
	if p.Hint == "" {
		return at + ": " + p.Msg
	}
	return at + ": " + p.Msg + " (" + p.Hint + ")"
}

// Terms is a policy translated.
type Terms struct {
	Cedar []byte    // forbid policies, each behind a comment that says which member it comes from
	Left  []Problem // what the policy says and Cedar cannot
}

// Translate reads a policy: its rules, or a row of AI Identity's API that holds them.
func Translate(raw []byte, o Options) (Terms, error) {
	if len(raw) > maxBytes*2 {
		return Terms{}, Problem{"", fmt.Sprintf("%d bytes", len(raw)), fmt.Sprintf("AI Identity takes %d", maxBytes)}
	}
	if err := canon.Check(raw, canon.DefaultLimits()); err != nil {
		return Terms{}, Problem{"", err.Error(), "one JSON object with allowed_endpoints"}
	}
	v := value{raw: raw}
	if _, row := canon.Get(raw, "rules"); row && canon.KindOf(raw) == '{' {
		var err error
		if v, err = v.row(); err != nil {
			return Terms{}, err
		}
	}
	r, err := v.rules()
	if err != nil {
		return Terms{}, err
	}
	return Terms{Cedar: r.cedar(o.filled()), Left: r.left}, nil
}

// row takes the rules out of a row of the table of policies.
func (v value) row() (value, error) {
	m, err := v.object("id", "agent_id", "rules", "version", "is_active", "created_at", "updated_at")
	if err != nil {
		return v, err
	}
	if active, ok := m["is_active"]; ok && canon.KindOf(active.raw) != 't' {
		return v, active.problem("the policy is not active", "translate the one that is")
	}
	return m["rules"], nil
}

// rules are a policy, read.
type rules struct {
	when            []condition
	allowed, denied []string
	methods         []string
	left            []Problem
}

// condition asks that the agent has the metadata, with one of the values or with none of them.
type condition struct {
	name   string
	values []string
	not    bool
}

func (v value) rules() (r rules, err error) {
	m, err := v.object("when", "allowed_endpoints", "denied_endpoints", "allowed_methods", "max_cost_usd")
	if err != nil {
		return r, err
	}
	if w, ok := m["when"]; ok {
		if r.when, err = w.conditions(); err != nil {
			return r, err
		}
	}
	if e, ok := m["allowed_endpoints"]; ok {
		r.allowed, err = e.texts(maxEndpoints, value.endpoint)
	}
	if e, ok := m["denied_endpoints"]; ok && err == nil {
		r.denied, err = e.texts(maxEndpoints, value.endpoint)
	}
	if e, ok := m["allowed_methods"]; ok && err == nil {
		r.methods, err = e.texts(maxMethods, value.method)
	}
	if c, ok := m["max_cost_usd"]; ok && err == nil {
		if canon.KindOf(c.raw) != '0' {
			return r, c.problem("not a number", "an amount of dollars")
		}
		r.left = append(r.left, Problem{c.at, "a bound on what requests cost is not translated", "set a budget in the settings of quota"})
	}
	return r, err
}

func (v value) conditions() (out []condition, err error) {
	members, err := v.members()
	if err != nil {
		return nil, err
	}
	if len(members) > maxConditions {
		return nil, v.problem(fmt.Sprintf("%d conditions", len(members)), fmt.Sprintf("AI Identity takes %d", maxConditions))
	}
	for _, m := range members {
		if m.name == "" || strings.ContainsAny(m.name, "=") {
			return nil, m.value.problem("a name that is empty or has an equals sign is no label's", "rename the member, here and of the agents")
		}
		c := condition{name: m.name}
		if canon.KindOf(m.value.raw) == '{' {
			c.values, c.not, err = m.value.operator()
		} else {
			c.values = make([]string, 1)
			c.values[0], err = m.value.label()
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// operator reads {in: [..]} or {not_in: [..]}.
func (v value) operator() (values []string, not bool, err error) {
	m, err := v.object("in", "not_in")
	if err != nil {
		return nil, false, err
	}
	if len(m) != 1 {
		return nil, false, v.problem(fmt.Sprintf("%d operators", len(m)), "one of in and not_in")
	}
	list, in := m["in"]
	if !in {
		list = m["not_in"]
	}
	if values, err = list.texts(maxValues, value.label); err == nil && len(values) == 0 {
		err = list.problem("an empty list, which matches nothing", "leave the condition out, or name values")
	}
	return values, !in, err
}

// label is a value of metadata. Labels are texts, and 3 is not "3" there.
func (v value) label() (string, error) {
	if canon.KindOf(v.raw) != '"' {
		return "", v.problem("labels are texts, and this is none", "make it a text, here and of the agents")
	}
	return canon.Unquote(v.raw)
}

var endpointForm = regexp.MustCompile(`\A(\*|/[a-zA-Z0-9/_\-.*]*)\z`)

func (v value) endpoint() (string, error) {
	text, err := v.text()
	if err == nil && (len(text) > maxEndpoint || !endpointForm.MatchString(text)) {
		err = v.problem(fmt.Sprintf("%.40q is no endpoint", text), `"*", or a path like "/v1/chat" or "/v1/*"`)
	}
	return text, err
}

func (v value) method() (string, error) {
	text, err := v.text()
	text = strings.ToUpper(text)
	known := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
	if err == nil && !slices.Contains(known, text) {
		err = v.problem(fmt.Sprintf("%.40q is no method", text), strings.Join(known, ", "))
	}
	return text, err
}
