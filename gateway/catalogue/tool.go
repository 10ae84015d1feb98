package catalogue

import (
	"encoding/json"
	"fmt"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// maxToolName is MCP's bound on a tool's name.
const maxToolName = 128

// Tool is one tool as its server describes it. It does not change; a refresh
// makes new ones.
type Tool struct {
	Server, Name       string
	Title, Description string
	InputSchema        json.RawMessage
	OutputSchema       json.RawMessage // nil when the server gives none
	Annotations        json.RawMessage // nil when the server gives none
	Raw                json.RawMessage // the whole definition as the server sent it

	// Pin is the digest of what people approve of the definition, see package pins.
	Pin merkle.Hash

	// SchemaHash is the SHA-256 of the input schema's canonical form; a plan's
	// step names it. DefinitionHash is that of the whole definition.
	SchemaHash, DefinitionHash merkle.Hash

	// Unusable says why the tool cannot be called; "" when it can. A tool whose
	// schema cannot be enforced is shown to people and never called.
	Unusable string

	// State says whether the definition is approved; Findings are what a person
	// must know before approving one that is not.
	State    State
	Findings []string

	known    bool              // some definition of it is approved
	collides string            // why approving could not help; "" when it can
	standing *policies.ToolDef // of the approved definition, where this one is not approved
	def      policies.ToolDef
	schema   *schema
	output   *schema // nil when the server gives none
	mirrors  []mirror
}

// Callable says whether the tool may be called, and shown to agents.
func (t *Tool) Callable() bool { return t.Unusable == "" && t.State == Approved }

// CheckArgs judges arguments that passed canon.Check against the input schema.
// Missing arguments are an empty object. A refusal is a *Violation and names
// place and rule, never the value.
func (t *Tool) CheckArgs(args []byte) error {
	if t.Unusable != "" || t.schema == nil {
		return &Violation{Rule: "the tool's own definition, which cannot be used"}
	}
	if len(args) == 0 {
		args = emptyObject
	}
	return t.schema.check(args)
}

var emptyObject = []byte("{}")

// annotations are MCP's hints. Absent ones have the protocol's defaults, which
// assume the worst.
type annotations struct {
	ReadOnlyHint    bool  `json:"readOnlyHint"`
	DestructiveHint *bool `json:"destructiveHint"`
	IdempotentHint  bool  `json:"idempotentHint"`
	OpenWorldHint   *bool `json:"openWorldHint"`
}

func orTrue(b *bool) bool { return b == nil || *b }

// parseTool reads one definition. An error means that it cannot even be shown;
// what can be shown but not used has Unusable set.
func parseTool(s *Server, raw json.RawMessage, c Config) (*Tool, error) {
	limits := c.toolLimits()
	if err := canon.Check(raw, limits); err != nil {
		return nil, fmt.Errorf("read tool: %w", err)
	}
	t := &Tool{Server: s.Name, Raw: raw}
	var bad error
	err := canon.Each(raw, func(key, value []byte) error {
		switch string(key) {
		case "name":
			t.Name, bad = text(value, bad)
		case "title":
			t.Title, bad = text(value, bad)
		case "description":
			t.Description, bad = text(value, bad)
		case "inputSchema":
			t.InputSchema = value
		case "outputSchema":
			t.OutputSchema = value
		case "annotations":
			t.Annotations = value
		}
		return nil
	})
	if err != nil || bad != nil {
		return nil, fmt.Errorf("read tool: a member is of the wrong type")
	}
	if !validToolName(t.Name) {
		return nil, fmt.Errorf("read tool: its name is not 1 to %d characters of A-Z a-z 0-9 _ - and the dot", maxToolName)
	}
	if t.DefinitionHash, err = canon.Digest(raw, limits); err != nil {
		return nil, fmt.Errorf("hash tool: %w", err)
	}
	pinned, err := pins.Canonical(raw, limits)
	if err != nil {
		return nil, fmt.Errorf("hash tool: %w", err)
	}
	t.Pin = pins.Digest(pinned)
	t.compile(c)
	t.describe(s)
	return t, nil
}

func text(value []byte, bad error) (string, error) {
	if canon.KindOf(value) != '"' {
		return "", errNotText
	}
	s, err := canon.Unquote(value)
	if err != nil {
		return "", err
	}
	return s, bad
}

func validToolName(s string) bool {
	if s == "" || len(s) > maxToolName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// compile makes the schema enforceable, or says in Unusable why it is not.
func (t *Tool) compile(c Config) {
	limits := canon.Limits{Bytes: c.MaxSchemaBytes, Depth: c.MaxSchemaDepth, Values: c.MaxSchemaBytes}
	var err error
	switch kind, _ := canon.Get(t.InputSchema, "type"); {
	case t.InputSchema == nil:
		t.Unusable = "it has no input schema"
		return
	case canon.KindOf(t.InputSchema) != '{' || string(kind) != `"object"`:
		t.Unusable = "its input schema does not have type object"
	}
	if t.SchemaHash, err = canon.Digest(t.InputSchema, limits); err != nil {
		t.Unusable = "its input schema is over a bound: " + err.Error()
	}
	if t.Unusable != "" {
		return
	}
	if t.schema, err = compileSchema(t.InputSchema, argumentLimits().Depth); err != nil {
		t.Unusable = "its input schema cannot be enforced: " + err.Error()
		return
	}
	if t.mirrors, err = findMirrors(t.InputSchema); err != nil {
		t.Unusable = "its x-mcp-header annotations cannot be followed: " + err.Error()
		return
	}
	t.compileOutput(c, limits)
}

// describe fills in what policies see. Hints come from the server and are as
// trustworthy as it is; labels and sensitivity are the operator's.
func (t *Tool) describe(s *Server) {
	var a annotations
	if t.Annotations != nil && json.Unmarshal(t.Annotations, &a) != nil && t.Unusable == "" {
		t.Unusable = "its annotations are of the wrong type"
	}
	t.def = policies.ToolDef{
		Server: t.Server, Name: t.Name, Op: "call_tool", InputSchema: t.InputSchema,
		ReadOnly: a.ReadOnlyHint, Destructive: !a.ReadOnlyHint && orTrue(a.DestructiveHint),
		Idempotent: a.IdempotentHint, OpenWorld: orTrue(a.OpenWorldHint),
		Sensitivity: s.Sensitivity, Labels: s.Labels,
	}
}
