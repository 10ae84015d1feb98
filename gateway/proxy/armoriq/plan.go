package armoriq

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Bounds of their plans beside those of the register.
const (
	maxSteps  = 4096
	maxGoal   = 8 << 10
	maxMeta   = 64 << 10
	maxParams = 256
)

// unnamed is the server of a step that names none and whose tool no server here has: it is judged and never forwarded.
const unnamed = "local"

// asserted are members that their clients put among a tool's parameters about themselves. They are facts of nobody: they
// are taken out before anything is compared or forwarded.
var asserted = map[string]bool{"_iam_context": true, "_policy_context": true, "_approvals": true, "_delegation_id": true}

// planOf makes a plan of ours out of theirs. policy is what the client asks the token to be narrowed by; it becomes part
// of what is signed, as do the organisation and the context.
func (r *request) planOf(raw []byte, at string, meta metadata) (*intent.Plan, error) {
	p := &intent.Plan{}
	var steps, own []byte
	err := readObject(raw, at, fields{"goal": text(&p.Goal, maxGoal), "steps": value(&steps), "metadata": object(&own)})
	if err != nil {
		return nil, err
	}
	if steps == nil {
		return nil, malformed(at+"/steps", "a plan needs steps")
	}
	err = elements(steps, at+"/steps", maxSteps, func(v []byte, at string) error {
		s, err := r.stepOf(v, at, len(p.Steps))
		p.Steps = append(p.Steps, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(own) > maxMeta {
		return nil, malformed(at+"/metadata", "is longer than 65536 bytes")
	}
	meta.Own = own
	p.Metadata, err = meta.json(r)
	return p, err
}

// metadata is what a plan of this dialect says beside its steps, under plan_hash.
type metadata struct {
	Policy  json.RawMessage `json:"policy,omitempty"` // the client's own, which narrows the plan's calls
	Context string          `json:"context_id,omitempty"`
	Own     json.RawMessage `json:"metadata,omitempty"`
}

func (m metadata) json(r *request) (json.RawMessage, error) {
	b, err := json.Marshal(map[string]any{"orgId": r.c.Caller.Tenant(), "armoriq": m})
	if err != nil {
		return nil, malformed("/plan/metadata", err.Error())
	}
	return b, nil
}

// policyIn is the client's own policy in the signed metadata of a plan; nil when it has none.
func policyIn(h *intent.Held) json.RawMessage {
	own, ok := canon.Get(h.Plan().Metadata, "armoriq")
	if !ok {
		return nil
	}
	policy, _ := canon.Get(own, "policy")
	return policy
}

// stepOf reads one step: {action|tool, mcp, params|arguments|metadata.inputs, after}.
func (r *request) stepOf(raw []byte, at string, index int) (intent.Step, error) {
	var action, tool, mcp string
	var params, arguments, inputs, own, after []byte
	err := readObject(raw, at, fields{
		"action": text(&action, 1024), "tool": text(&tool, 1024), "mcp": text(&mcp, 128),
		"params": object(&params), "arguments": object(&arguments), "metadata": object(&own), "after": value(&after),
	})
	if err != nil {
		return intent.Step{}, err
	}
	if own != nil {
		if err := readObject(own, at+"/metadata", fields{"inputs": object(&inputs)}); err != nil {
			return intent.Step{}, err
		}
	}
	s := intent.Step{Op: "tools/call", Uses: uint32(r.Settings.Uses)} //nolint:gosec // bounded by the configuration
	if s.Server, s.Tool, err = r.toolOf(at, mcp, action, tool); err != nil {
		return s, err
	}
	if err := r.known(s.Server, s.Tool, at); err != nil {
		return s, err
	}
	for _, given := range [][]byte{arguments, inputs} {
		if params == nil {
			params = given
		}
	}
	if params != nil {
		if params, err = r.strip(s.Server, s.Tool, params); err != nil {
			return s, err
		}
	}
	if s.Args, err = r.constraint(params, at); err != nil {
		return s, err
	}
	if after != nil {
		s.After, err = afterOf(after, at+"/after", index)
	}
	return s, err
}

func afterOf(raw []byte, at string, index int) (after []int, err error) {
	err = elements(raw, at, 256, func(v []byte, at string) error {
		n, err := strconv.Atoi(string(v))
		if err != nil || n < 0 || n >= index {
			return malformed(at, "must be the index of an earlier step; steps count from 0")
		}
		after = append(after, n)
		return nil
	})
	return after, err
}

// toolOf names the tool that is meant: by mcp and action, by a name SERVER__TOOL, or by an action alone that one server of
// the organisation has.
func (r *request) toolOf(at, mcp, action, tool string) (server, name string, err error) {
	switch {
	case action == "":
		action = tool
	case tool != "" && tool != action:
		return "", "", malformed(at+"/tool", "names another tool than action")
	}
	if action == "" {
		return "", "", malformed(at+"/action", "a tool is needed, as action or tool")
	}
	if mcp != "" {
		return mcp, action, nil
	}
	if server, name, ok := strings.Cut(strings.TrimPrefix(action, "mcp__"), "__"); ok && server != "" && name != "" {
		return server, name, nil
	}
	if server, ok := r.onlyServer(action); ok {
		return server, action, nil
	}
	return unnamed, action, nil
}

// known refuses a tool that a server of the organisation does not have. A server that the organisation does not have makes
// its steps local: they are judged here and never forwarded.
func (r *request) known(server, tool, at string) error {
	if _, ok := r.Catalogue.Server(r.c.Caller.Tenant(), server); !ok {
		return nil
	}
	if _, ok := r.Catalogue.Lookup(r.c.Caller.Tenant(), server, tool); ok {
		return nil
	}
	d := pipeline.Deny(pipeline.InvalidPlan, "at "+at+"/action: this server has no such tool, or has not listed its tools yet")
	d.Hint = "GET /mcp/tools/" + server + " lists them"
	return d
}

// onlyServer is the server of the caller's organisation that has the tool, when just one has.
func (r *request) onlyServer(tool string) (string, bool) {
	found := ""
	for _, s := range r.Catalogue.Servers(r.c.Caller.Tenant()) {
		if !r.Catalogue.Owns(s.Tenant, s.Name, tool) {
			continue
		}
		if found != "" {
			return "", false
		}
		found = s.Name
	}
	return found, found != ""
}

// strip takes out of a tool's parameters what clients assert there about themselves. user_email stays where the tool's
// schema has a parameter of that name.
func (r *request) strip(server, tool string, params []byte) ([]byte, error) {
	out := make([]byte, 0, len(params))
	out = append(out, '{')
	email := r.declares(server, tool, "user_email")
	err := canon.Each(params, func(key, value []byte) error {
		if asserted[string(key)] || string(key) == "user_email" && !email {
			return nil
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = canon.AppendString(out, string(key))
		out = append(append(out, ':'), value...)
		return nil
	})
	return append(out, '}'), err
}

func (r *request) declares(server, tool, parameter string) bool {
	t, ok := r.Catalogue.Lookup(r.c.Caller.Tenant(), server, tool)
	if !ok {
		return false
	}
	properties, ok := canon.Get(t.InputSchema, "properties")
	if !ok || canon.KindOf(properties) != '{' {
		return false
	}
	_, ok = canon.Get(properties, parameter)
	return ok
}

// constraint says what a call's arguments are held to. A step without parameters leaves them open.
func (r *request) constraint(params []byte, at string) (intent.Args, error) {
	if params == nil || r.Settings.Arguments == "open" {
		return intent.Args{Additional: true}, nil
	}
	values := map[string]json.RawMessage{}
	err := canon.Each(params, func(key, value []byte) error {
		if len(values) == maxParams {
			return malformed(at, "has more than 256 parameters")
		}
		v, err := canon.AppendCanonical(nil, value, r.JSON)
		values[string(key)] = v
		return err
	})
	if err != nil {
		return intent.Args{}, err
	}
	a := intent.ConstArgs(values)
	a.Additional = r.Settings.Arguments == "subset"
	return a, nil
}

// same says whether two JSON values are equal in canonical form.
func (r *request) same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err := canon.AppendCanonical(nil, a, r.JSON)
	if err != nil {
		return false
	}
	y, err := canon.AppendCanonical(nil, b, r.JSON)
	return err == nil && bytes.Equal(x, y)
}
