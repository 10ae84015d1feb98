package suite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// The words that a principal may be described with. The engine refuses others, and a test of them would say nothing.
var (
	kinds    = []string{"Agent", "User"}
	statuses = []string{"active", "pending", "suspended", "revoked"}
	wants    = []string{"allow", "deny", "hold"}
)

// strict decodes JSON whose members are spelt exactly as they are known.
func (r *reader) strict(data []byte, into any, line int) bool {
	if err := Strict(data, into); err != nil {
		r.fail(line, "", "%v", err)
		return false
	}
	return true
}

// Strict decodes JSON as tests have it: no member twice, none that is unknown, none in other letters.
func Strict(data []byte, into any) error {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return fmt.Errorf("nothing here: JSON is missing")
	}
	if err := canon.Check(data, canon.DefaultLimits()); err != nil {
		return err
	}
	if err := exact(data, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

var rawJSON = reflect.TypeFor[json.RawMessage]()

// exact refuses members that encoding/json would pass over, or take for others because it does not mind capitals.
func exact(data []byte, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == rawJSON || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return exactMembers(data, t)
	case reflect.Map:
		var all map[string]json.RawMessage
		if json.Unmarshal(data, &all) != nil {
			return nil // the decoder says it better
		}
		for _, v := range all {
			if err := exact(v, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Slice:
		var all []json.RawMessage
		if json.Unmarshal(data, &all) != nil {
			return nil
		}
		for _, v := range all {
			if err := exact(v, t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

func exactMembers(data []byte, t reflect.Type) error {
	var all map[string]json.RawMessage
	if json.Unmarshal(data, &all) != nil {
		return nil
	}
	known, names := map[string]reflect.Type{}, []string{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "-" && name != "" {
			known[name] = f.Type
			names = append(names, name)
		}
	}
	for name, v := range all {
		inner, ok := known[name]
		if !ok {
			return fmt.Errorf("unknown field %q: want %s", name, strings.Join(names, ", "))
		}
		if err := exact(v, inner); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) checkPrincipal(name string, line int) {
	p := r.Principals[name]
	if !slices.Contains(kinds, or(p.Kind, "Agent")) {
		r.fail(line, "one of "+strings.Join(kinds, ", "), "principal %q: kind %q", name, p.Kind)
	}
	if !slices.Contains(statuses, or(p.Status, "active")) {
		r.fail(line, "one of "+strings.Join(statuses, ", "), "principal %q: status %q", name, p.Status)
	}
}

// check refuses a case that could never say anything.
func (r *reader) check(c *Case) {
	fail := func(hint, format string, a ...any) {
		r.fail(c.Line, hint, "case %q: %s", c.Name, fmt.Sprintf(format, a...))
	}
	if !slices.Contains(wants, c.Want) {
		fail("", "want %q: say allow, deny or hold", c.Want)
	}
	if c.Error && c.Want != "deny" {
		fail(`write "want": "deny"`, "an error can only deny")
	}
	if _, known := r.Principals[c.Principal]; !known {
		fail("add a section -- principal "+c.Principal+" --", "principal %q is not described", c.Principal)
	}
	if msg := c.misuse(); msg != "" {
		fail("", "%s", msg)
	}
}

// misuse says what is wrong with the facts of a call.
func (c *Case) misuse() string {
	if c.IP != "" {
		if _, err := netip.ParseAddr(c.IP); err != nil {
			return fmt.Sprintf("ip %q is no address", c.IP)
		}
	}
	if len(c.Args) > 0 && c.Args[0] != '{' {
		return "args are not an object"
	}
	if c.Approvals < 0 || c.Approvals > 0 && !c.Approved {
		return "approvals without approved"
	}
	for name, v := range c.Scores {
		if v < 0 || v > 1000 {
			return fmt.Sprintf("score %q is %d: want 0 to 1000", name, v)
		}
	}
	return ""
}

// sought refuses a case about an action or a tool that does not exist: it would be denied whatever the policies say.
func (c *Case) sought(e *vocabulary) *Problem {
	action := or(c.Action, "call_tool")
	if !e.actions[action] {
		return &Problem{c.File, c.Line, fmt.Sprintf("case %q: unknown action %q", c.Name, action), "one of " + strings.Join(e.names, ", ")}
	}
	if action == "call_tool" && !c.Local && !c.Error && !e.tools[[2]string{c.Server, c.Tool}] {
		return &Problem{c.File, c.Line, fmt.Sprintf("case %q: tool %q of server %q is not described", c.Name, c.Tool, c.Server),
			`describe it in ` + sharedTools + `, or in a section -- tools --; or say "error": true if the case is about a tool nobody knows`}
	}
	return nil
}

// vocabulary is what a compiled bundle knows.
type vocabulary struct {
	actions map[string]bool
	names   []string
	tools   map[[2]string]bool
}

func wordsOf(e *policies.Engine, tools []Tool) *vocabulary {
	w := &vocabulary{actions: map[string]bool{}, tools: map[[2]string]bool{}}
	for _, a := range e.Actions() {
		if !a.Tool && len(a.Resources) > 0 {
			w.actions[a.Name] = true
			w.names = append(w.names, a.Name)
		}
	}
	for _, t := range tools {
		if or(t.Op, "call_tool") == "call_tool" {
			w.tools[[2]string{t.Server, t.Name}] = true
		}
	}
	return w
}
