package policies

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

func cedarString(s string) types.String { return types.String(s) }

// workContext is the type in the schema that a tool's own context extends.
const workContext = "WorkContext"

// vocabulary is the schema of one tenant: the gateway's words, the bundle's additions, one action per tool.
type vocabulary struct {
	base    *ast.Schema
	fixed   *resolved.Schema // without the tools
	full    *resolved.Schema // with them
	parents map[types.EntityUID][]types.EntityUID
}

// newVocabulary reads the schema. The engine builds entities and contexts itself, so a bundle may add words (entity types,
// enumerations, types, action groups), but not change the gateway's.
func newVocabulary(b *Bundle) (*vocabulary, error) {
	own, err := parseSchema(Default().files[schemaFile])
	if err != nil {
		return nil, err
	}
	text, has := b.files[schemaFile]
	if has && !bytes.Equal(text, Default().files[schemaFile]) {
		more, err := parseSchema(text)
		if err != nil {
			return nil, err
		}
		if err := addWords(own, more); err != nil {
			return nil, err
		}
	}
	v := &vocabulary{base: own}
	if v.fixed, err = resolved.Resolve(own); err != nil {
		return nil, Problems{{File: schemaFile, Msg: err.Error()}}
	}
	return v, nil
}

func parseSchema(text []byte) (*ast.Schema, error) {
	if p := checkText(schemaFile, string(text)); p != nil {
		return nil, Problems{*p}
	}
	var s schema.Schema
	s.SetFilename(schemaFile)
	if err := s.UnmarshalCedar(text); err != nil {
		return nil, Problems{schemaProblem(err)}
	}
	return s.AST(), nil
}

// schemaProblem takes the position cedar-go puts in front of a schema error apart.
func schemaProblem(err error) Problem {
	p := Problem{File: schemaFile, Msg: err.Error()}
	rest, ok := strings.CutPrefix(p.Msg, schemaFile+":")
	if !ok {
		return p
	}
	if n, _ := fmt.Sscanf(rest, "%d:%d:", &p.Line, &p.Column); n == 2 {
		p.Msg = strings.TrimSpace(strings.SplitN(rest, ":", 3)[2])
	}
	return p
}

func addWords(own, more *ast.Schema) error {
	if len(more.Namespaces) > 0 {
		return Problems{{File: schemaFile, Msg: "namespaces are not supported", Hint: "declare the types at the top level"}}
	}
	for id, a := range more.Actions {
		if a.AppliesTo != nil {
			return Problems{{File: schemaFile, Msg: fmt.Sprintf("action %q applies to something", id),
				Hint: "the gateway asks only about its own actions; a bundle may add groups, without appliesTo"}}
		}
	}
	if err := takeScores(own, more); err != nil {
		return err
	}
	err := errors.Join(
		add("entity type", own.Entities, more.Entities), add("enumeration", own.Enums, more.Enums),
		add("type", own.CommonTypes, more.CommonTypes), add("action", own.Actions, more.Actions))
	if err != nil {
		return Problems{{File: schemaFile, Msg: err.Error(), Hint: "keep only your own additions, or the gateway's schema unchanged"}}
	}
	return nil
}

// scoresType is the one type of the gateway's that a bundle fills in: it names the scores that its filters give.
const scoresType = "Scores"

// maxScores bounds the scores of a bundle.
const maxScores = 64

// takeScores fills Scores in, and leaves it out of what else the bundle adds. Scores are optional integers: a filter may
// give none, and a policy has to say what then.
func takeScores(own, more *ast.Schema) error {
	given, has := more.CommonTypes[scoresType]
	if !has {
		return nil
	}
	rec, ok := given.Type.(ast.RecordType)
	if !ok || len(rec) > maxScores {
		return Problems{{File: schemaFile, Msg: fmt.Sprintf("type Scores is not a record of at most %d scores", maxScores), Hint: "as type Scores = { injection?: Long };"}}
	}
	for _, name := range slices.Sorted(maps.Keys(rec)) {
		if _, long := rec[name].Type.(ast.LongType); !long && fmt.Sprint(rec[name].Type) != "Long" || !rec[name].Optional || !scoreName(string(name)) {
			return Problems{{File: schemaFile, Msg: fmt.Sprintf("score %q is not an optional integer named with a-z, 0-9 and _", name), Hint: "as type Scores = { injection?: Long };"}}
		}
	}
	own.CommonTypes[scoresType] = given
	more.CommonTypes = maps.Clone(more.CommonTypes)
	delete(more.CommonTypes, scoresType)
	return nil
}

// scoreName accepts what a filter can name a score.
func scoreName(s string) bool {
	return len(s) <= maxScoreName && s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// maxScoreName is the longest name of a score, in bytes.
const maxScoreName = 64

func add[K ~string, V any](what string, own, more map[K]V) error {
	for _, k := range slices.Sorted(maps.Keys(more)) {
		if _, taken := own[k]; taken {
			return fmt.Errorf("%s %q is the gateway's own", what, k)
		}
		own[k] = more[k]
	}
	return nil
}

// actionUID names an action entity.
func actionUID(id string) types.EntityUID {
	return types.NewEntityUID("Action", types.String(id))
}

// withTools declares one action per tool inside its operation.
func (v *vocabulary) withTools(tools []*tool) (*ast.Schema, error) {
	s := *v.base
	s.Actions = maps.Clone(v.base.Actions)
	work, ok := v.base.CommonTypes[workContext].Type.(ast.RecordType)
	if !ok {
		return nil, fmt.Errorf("%s: %s is missing", schemaFile, workContext)
	}
	for _, t := range tools {
		ctx := maps.Clone(work)
		ctx["input"] = ast.Attribute{Type: t.input.cedar()}
		applies := *v.base.Actions[types.String(t.op)].AppliesTo
		applies.Context = ctx
		s.Actions[t.action.ID] = ast.Action{
			Parents:   []ast.ParentRef{ast.ParentRefFromID(types.String(t.op))},
			AppliesTo: &applies,
		}
	}
	return &s, nil
}

// addTools declares the tools and resolves the whole.
func (v *vocabulary) addTools(tools []*tool) error {
	s, err := v.withTools(tools)
	if err != nil {
		return err
	}
	if v.full, err = resolved.Resolve(s); err != nil {
		return Problems{{File: schemaFile, Msg: err.Error()}}
	}
	v.parents = map[types.EntityUID][]types.EntityUID{}
	for uid := range v.full.Actions {
		v.parents[uid] = v.ancestors(uid)
	}
	return nil
}

// ancestors lists every group an action is in, directly or not.
func (v *vocabulary) ancestors(uid types.EntityUID) []types.EntityUID {
	var out []types.EntityUID
	todo := []types.EntityUID{uid}
	for len(todo) > 0 {
		next := v.full.Actions[todo[0]].Entity.Parents
		todo = todo[1:]
		for p := range next.All() {
			if !slices.Contains(out, p) {
				out = append(out, p)
				todo = append(todo, p)
			}
		}
	}
	return out
}

// resourceTypes lists what an action of the gateway's own is asked about; nil for a group or an unknown action.
func (v *vocabulary) resourceTypes(action string) []types.EntityType {
	a, ok := v.fixed.Actions[actionUID(action)]
	if !ok || a.AppliesTo == nil {
		return nil
	}
	return a.AppliesTo.Resources
}
