package toolschema

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// Annotations that say what a declaration of the stub is for.
const (
	markPrincipal = "mcp_principal"
	markResource  = "mcp_resource"
	markContext   = "mcp_context"
	markAction    = "mcp_action"
)

// stub is the schema that tools are added to: one namespace that says who calls, what is called, what stands beside the
// input in every context, and which groups every tool's action is in.
type stub struct {
	home       string
	ns         ast.Namespace
	principals []ast.EntityTypeRef
	resources  []ast.EntityTypeRef
	contexts   map[string]ast.TypeRef
	groups     []ast.ParentRef
}

const stubHint = "a stub is one namespace with entity types marked @mcp_principal and @mcp_resource, as in toolschema.Stub"

func readStub(text []byte) (*stub, error) {
	if len(text) > maxBytes {
		return nil, fault("stub", stubHint, "longer than %d bytes", maxBytes)
	}
	var in schema.Schema
	in.SetFilename("stub")
	if err := in.UnmarshalCedar(text); err != nil {
		return nil, &Error{Msg: err.Error(), Hint: stubHint}
	}
	all := in.AST()
	if len(all.Namespaces) != 1 || len(all.Entities)+len(all.Enums)+len(all.Actions)+len(all.CommonTypes) > 0 {
		return nil, fault("stub", stubHint, "it must have one namespace and nothing beside it")
	}
	s := &stub{contexts: map[string]ast.TypeRef{}}
	for home, ns := range all.Namespaces {
		s.home, s.ns = string(home), ns
	}
	return s, s.read()
}

// read finds what is marked.
func (s *stub) read() error {
	for _, name := range s.entityNames() {
		notes := s.notes(name)
		if _, ok := notes[markPrincipal]; ok {
			s.principals = append(s.principals, ast.EntityTypeRef(name))
		}
		if _, ok := notes[markResource]; ok {
			s.resources = append(s.resources, ast.EntityTypeRef(name))
		}
		if err := s.context(name, notes); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.ns.CommonTypes)) {
		if err := s.context(name, s.ns.CommonTypes[name].Annotations); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.ns.Actions)) {
		if _, ok := s.ns.Actions[id].Annotations[markAction]; ok {
			s.groups = append(s.groups, ast.ParentRefFromID(id))
		}
	}
	if len(s.principals) == 0 || len(s.resources) == 0 {
		return fault("stub", stubHint, "no entity type is marked @%s, or none @%s", markPrincipal, markResource)
	}
	return nil
}

func (s *stub) entityNames() []ast.Ident {
	names := slices.AppendSeq(slices.Collect(maps.Keys(s.ns.Entities)), maps.Keys(s.ns.Enums))
	slices.Sort(names)
	return names
}

func (s *stub) notes(name ast.Ident) ast.Annotations {
	if e, ok := s.ns.Entities[name]; ok {
		return e.Annotations
	}
	return s.ns.Enums[name].Annotations
}

// context takes a type whose values stand in every tool's context, under the name that its mark gives.
func (s *stub) context(name ast.Ident, notes ast.Annotations) error {
	key, ok := notes[markContext]
	if !ok {
		return nil
	}
	where := "stub: type " + string(name)
	switch _, taken := s.contexts[string(key)]; {
	case key == "" || len(key) > maxName:
		return fault(where, `as in @mcp_context("session")`, "@%s does not say under which name it stands in the context", markContext)
	case key == "input" || key == "output":
		return fault(where, "choose another name", "%q is the tool's own in the context", string(key))
	case taken:
		return fault(where, "choose another name", "%q stands in the context already", string(key))
	}
	s.contexts[string(key)] = ast.TypeRef(name)
	return nil
}

// unmarked is the namespace without marks.
func (s *stub) unmarked() ast.Namespace {
	ns := s.ns
	ns.Entities, ns.Enums = maps.Clone(ns.Entities), maps.Clone(ns.Enums)
	ns.CommonTypes, ns.Actions = maps.Clone(ns.CommonTypes), maps.Clone(ns.Actions)
	for name, e := range ns.Entities {
		e.Annotations = without(e.Annotations, markPrincipal, markResource, markContext)
		ns.Entities[name] = e
	}
	for name, e := range ns.Enums {
		e.Annotations = without(e.Annotations, markPrincipal, markResource, markContext)
		ns.Enums[name] = e
	}
	for name, t := range ns.CommonTypes {
		t.Annotations = without(t.Annotations, markContext)
		ns.CommonTypes[name] = t
	}
	for id, a := range ns.Actions {
		a.Annotations = without(a.Annotations, markAction)
		ns.Actions[id] = a
	}
	return ns
}

func without(notes ast.Annotations, marks ...string) ast.Annotations {
	notes = maps.Clone(notes)
	for _, m := range marks {
		delete(notes, types.AnnotationKey(m))
	}
	if len(notes) == 0 {
		return nil
	}
	return notes
}

// Stub is a stub for the tools of a server behind this gateway: agents and users call, and the gateway's facts about the
// call stand beside the input as context.gateway. The namespace must be an identifier of Cedar.
func Stub(namespace string) ([]byte, error) {
	if err := checkName("namespace", "its name", namespace); err != nil {
		return nil, err
	}
	return []byte(strings.Replace(ownStub, "NAMESPACE", namespace, 1)), nil
}

const ownStub = `namespace NAMESPACE {
  @mcp_principal
  entity Agent = { trust: Long, labels: Set<String> };

  @mcp_principal
  entity User = { trust: Long, labels: Set<String> };

  @mcp_resource
  entity McpServer;

  @mcp_context("gateway")
  type GatewayContext = { now: datetime, ip: ipaddr, tls: Bool, trust: Long, inPlan: Bool, labels: Set<String> };

  @mcp_action
  action call_tool;
}
`
