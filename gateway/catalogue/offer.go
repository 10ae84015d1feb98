package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// The methods of MCP that list what a server offers beside its tools, and those that use it.
const (
	ListTools     = "tools/list"
	ListResources = "resources/list"
	ListTemplates = "resources/templates/list"
	ListPrompts   = "prompts/list"

	CallTool     = "tools/call"
	ReadResource = "resources/read"
	GetPrompt    = "prompts/get"
)

// Capabilities stands where a method of a list would: a Lister answers it with one raw object, what the server declares of itself
// as things stand, or with ErrNotOffered where nobody knows.
const Capabilities = "server/discover"

// ErrNotOffered is how a Lister says that a server has no such method.
var ErrNotOffered = errors.New("the server does not offer this")

// maxURI bounds a resource's URI or template, in bytes, and maxPrompt a prompt's name.
const (
	maxURI    = 1024
	maxPrompt = 128
)

// Resource is a resource as its server lists it, or with Template a family of them (RFC 6570).
type Resource struct {
	Server, URI string
	Template    bool
	Raw         json.RawMessage // the whole definition as the server sent it
}

// offers is what a server has beside tools. It is immutable. A nil list is one that the server does not have.
type offers struct {
	resources, templates []*Resource // by URI
	prompts              []*Tool     // by name
	prompt               map[string]*Tool
	tasks                Tasks
	toolless             bool // it says what it has, and that is no tools
}

var noOffers = &offers{}

// Resources returns a server's resources by URI, or its templates; has is false when the server has none of either kind.
// The slice is shared and must not be changed.
func (c *Catalogue) Resources(tenant, server string, templates bool) (list []*Resource, has bool) {
	o := c.offersOf(tenant, server)
	if templates {
		return o.templates, o.readable()
	}
	return o.resources, o.readable()
}

// Prompts returns a server's prompts by name, as tools whose arguments are texts; has is false when the server has no
// prompts at all. The slice is shared and must not be changed.
func (c *Catalogue) Prompts(tenant, server string) (list []*Tool, has bool) {
	o := c.offersOf(tenant, server)
	return o.prompts, o.prompts != nil
}

func (c *Catalogue) offersOf(tenant, server string) *offers {
	if e := (*c.snapshot.Load())[tenant][server]; e != nil && e.server.Enabled && e.offers != nil {
		return e.offers
	}
	return noOffers
}

func (o *offers) readable() bool { return o.resources != nil || o.templates != nil }

// Find returns what an operation of MCP is about: a tool, a prompt, or a resource by its URI. A resource need not be
// listed, for templates make more of them than any list and results refer to others: that the server has resources is
// enough here, and whether this one may be read is for the plan and for policy to say.
func (c *Catalogue) Find(tenant, op, server, name string) (*Tool, bool) {
	switch op {
	case CallTool:
		return c.Lookup(tenant, server, name)
	case GetPrompt:
		p, ok := c.offersOf(tenant, server).prompt[name]
		return p, ok && p.Unusable == ""
	case "completion/complete": // what it is about was looked at where it was read
		o := c.offersOf(tenant, server)
		return &Tool{Server: server, Name: name, schema: completion}, o.prompts != nil || o.readable()
	case "logging/setLevel":
		e := (*c.snapshot.Load())[tenant][server]
		return &Tool{Server: server, Name: name, schema: loggingLevel}, e != nil && e.server.Enabled
	case ReadResource:
		if !c.offersOf(tenant, server).readable() || !validURI(name) {
			return nil, false
		}
		return &Tool{Server: server, Name: name, schema: noArguments}, true
	}
	return nil, false
}

// noArguments is the schema of what takes none.
var noArguments = mustCompile(`{"type":"object","additionalProperties":false}`)

// completion is the schema of what completion/complete says (MCP 2025-11-25, completion).
var completion = mustCompile(`{"type":"object","required":["ref","argument"],"additionalProperties":false,"properties":{
	"ref":{"type":"object"},
	"argument":{"type":"object","required":["name","value"],"properties":{"name":{"type":"string"},"value":{"type":"string"}}},
	"context":{"type":"object"}}}`)

// loggingLevel is the schema of what logging/setLevel says.
var loggingLevel = mustCompile(`{"type":"object","required":["level"],"additionalProperties":false,"properties":{"level":{"type":"string"}}}`)

func mustCompile(text string) *schema {
	s, err := compileSchema([]byte(text), 8)
	if err != nil {
		panic(err)
	}
	return s
}

// declaring is what a server declares of itself, a raw object; nil when nobody knows.
type declaring []byte

// maybe says whether the server may have a capability: it declares it, or nobody knows.
func (d declaring) maybe(capability string) bool {
	v, _ := canon.Get(d, capability)
	return d == nil || canon.KindOf(v) == '{'
}

// declared asks what a server declares. It is asked each time, and after its tools: a server that has been started anew was met
// by then, and may declare something else.
func (c *Catalogue) declared(ctx context.Context, s *Server) (declaring, error) {
	raw, err := c.lister.List(ctx, *s, Capabilities)
	if errors.Is(err, ErrNotOffered) || err == nil && (len(raw) != 1 || canon.KindOf(raw[0]) != '{') {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what it declares: %w", err)
	}
	return declaring(raw[0]), nil
}

// beside are the methods that list what a server has beside tools, and the capability that each goes by.
var beside = [...]struct{ method, capability string }{{ListResources, "resources"}, {ListTemplates, "resources"}, {ListPrompts, "prompts"}}

// listOffers asks the server for all that it declares beside tools. What cannot even be shown is counted.
func (c *Catalogue) listOffers(ctx context.Context, s *Server) (o *offers, skipped int, err error) {
	has, err := c.declared(ctx, s)
	if err != nil {
		return nil, 0, err
	}
	o = &offers{tasks: has.tasks(), toolless: !has.maybe("tools")}
	for _, b := range beside {
		if !has.maybe(b.capability) {
			continue
		}
		method := b.method
		raw, err := c.lister.List(ctx, *s, method)
		if errors.Is(err, ErrNotOffered) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", method, err)
		}
		if len(raw) > c.config.MaxTools {
			return nil, 0, fmt.Errorf("%s: the server offers more than %d", method, c.config.MaxTools)
		}
		if method == ListPrompts {
			skipped += o.takePrompts(s, raw, c.config)
			continue
		}
		list, bad := readResources(s, raw, method == ListTemplates, c.config)
		skipped += bad
		if method == ListTemplates {
			o.templates = list
		} else {
			o.resources = list
		}
	}
	return o, skipped, nil
}

// readResources reads definitions. Of several with one URI the first is shown: which one is read is the server's to say
// anyway.
func readResources(s *Server, raw []json.RawMessage, templates bool, c Config) (list []*Resource, skipped int) {
	member := "uri"
	if templates {
		member = "uriTemplate"
	}
	list = []*Resource{}
	for _, r := range raw {
		uri, err := definition(r, member, c)
		if err != nil || !validURI(uri) {
			skipped++
			continue
		}
		list = append(list, &Resource{Server: s.Name, URI: uri, Template: templates, Raw: slices.Clone(r)})
	}
	slices.SortStableFunc(list, func(a, b *Resource) int { return strings.Compare(a.URI, b.URI) })
	all := len(list)
	list = slices.CompactFunc(list, func(a, b *Resource) bool { return a.URI == b.URI })
	return list, skipped + all - len(list)
}

// takePrompts reads prompts. Two of one name are unusable, as two tools are.
func (o *offers) takePrompts(s *Server, raw []json.RawMessage, c Config) (skipped int) {
	o.prompts, o.prompt = []*Tool{}, map[string]*Tool{}
	for _, r := range raw {
		p, err := parsePrompt(s, slices.Clone(r), c)
		if err != nil {
			skipped++
			continue
		}
		o.prompts = append(o.prompts, p)
	}
	slices.SortStableFunc(o.prompts, func(a, b *Tool) int { return strings.Compare(a.Name, b.Name) })
	for i, p := range o.prompts {
		if i > 0 && o.prompts[i-1].Name == p.Name {
			p.Unusable, o.prompts[i-1].Unusable = "the server lists two prompts of this name", "the server lists two prompts of this name"
		}
		o.prompt[p.Name] = p
	}
	return skipped
}

// definition checks one definition and returns the text that names it.
func definition(raw json.RawMessage, member string, c Config) (string, error) {
	if err := canon.Check(raw, canon.Limits{Bytes: c.MaxToolBytes, Depth: c.MaxSchemaDepth, Values: c.MaxToolBytes}); err != nil {
		return "", err
	}
	value, ok := canon.Get(raw, member)
	if !ok {
		return "", errNotText
	}
	return text(value, nil)
}

// validURI accepts a URI or a template as long as it can be shown: nothing here follows it.
func validURI(s string) bool {
	return len(s) <= maxURI && strings.Contains(s, ":") && visible(s) && !strings.Contains(s, " ")
}

// visible accepts text of which nothing is hidden from who reads it.
func visible(s string) bool {
	if s == "" || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar })
}

// parsePrompt reads a prompt. Its arguments are texts (MCP 2025-11-25, prompts/get), which makes the schema.
func parsePrompt(s *Server, raw json.RawMessage, c Config) (*Tool, error) {
	name, err := definition(raw, "name", c)
	if err != nil {
		return nil, err
	}
	if len(name) > maxPrompt || !visible(name) {
		return nil, errNotText
	}
	p := &Tool{Server: s.Name, Name: name, Raw: raw, State: Approved}
	for member, to := range map[string]*string{"title": &p.Title, "description": &p.Description} {
		if v, ok := canon.Get(raw, member); ok {
			if *to, err = text(v, nil); err != nil {
				return nil, err
			}
		}
	}
	if p.InputSchema, err = promptSchema(raw); err != nil {
		return nil, err
	}
	limits := canon.Limits{Bytes: c.MaxToolBytes, Depth: c.MaxSchemaDepth, Values: c.MaxToolBytes}
	if p.DefinitionHash, err = canon.Digest(raw, limits); err != nil {
		return nil, fmt.Errorf("hash prompt: %w", err)
	}
	p.compile(c)
	p.mirrors = nil
	p.def = policies.ToolDef{
		Server: p.Server, Name: p.Name, Op: "get_prompt", InputSchema: p.InputSchema, ReadOnly: true, Idempotent: true,
		Sensitivity: s.Sensitivity, Labels: s.Labels,
	}
	return p, nil
}

// promptSchema makes the JSON Schema of a prompt's arguments.
func promptSchema(raw []byte) (json.RawMessage, error) {
	var arguments []struct {
		Name     string `json:"name"`
		Required bool   `json:"required"`
	}
	if v, ok := canon.Get(raw, "arguments"); ok {
		if err := json.Unmarshal(v, &arguments); err != nil {
			return nil, fmt.Errorf("read the prompt's arguments: %w", err)
		}
	}
	schema := struct {
		Type       string                       `json:"type"`
		Properties map[string]map[string]string `json:"properties"`
		Required   []string                     `json:"required,omitempty"`
		Additional bool                         `json:"additionalProperties"`
	}{Type: "object", Properties: map[string]map[string]string{}}
	for _, a := range arguments {
		if _, twice := schema.Properties[a.Name]; twice || a.Name == "" {
			return nil, errors.New("a prompt's argument has no name or comes twice")
		}
		schema.Properties[a.Name] = map[string]string{"type": "string"}
		if a.Required {
			schema.Required = append(schema.Required, a.Name)
		}
	}
	return json.Marshal(schema)
}
