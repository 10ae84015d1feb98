package policies

import (
	"fmt"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies/quick"
)

// What package quick says of the conditions of Cedar's own corpus is what cedar-go says, and of what fails it says nothing.
func TestTheCorpusOfCedarAtAGlance(t *testing.T) {
	files := corpus(t)
	names := corpusNames(t, files)
	var n glances
	step := 10
	if testing.Short() {
		step = 50
	}
	for i := 0; i < len(names); i += step {
		if err := n.file(files, names[i]); err != nil {
			t.Errorf("%s: %v", names[i], err)
		}
	}
	t.Logf("%d known, of which %d hold; %d unknown, of which %d fail", n.known, n.held, n.unknown, n.failed)
	if n.known == 0 || n.held == 0 || n.known == n.held || n.failed == 0 {
		t.Error("a corpus of which nothing is told tries nothing")
	}
}

type glances struct{ known, held, unknown, failed int }

// file tries the policies of one case.
func (n *glances) file(files map[string][]byte, name string) error {
	c, err := corpusCaseOf(files, name)
	if err != nil {
		return err
	}
	entities, err := corpusEntities(files[c.Schema], files[c.Entities])
	if err != nil {
		return err
	}
	list, err := cedar.NewPolicyListFromBytes("", files[c.Policies])
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := n.try((*ast.Policy)(p.AST()), entities, c.Requests); err != nil {
			return err
		}
	}
	return nil
}

// try asks about the conditions of one policy alone.
func (n *glances) try(p *ast.Policy, entities types.EntityMap, requests []corpusRequest) error {
	program := quick.Compile(p.Conditions, nil)
	if program == nil || len(p.Conditions) == 0 {
		return nil
	}
	bare := ast.Permit()
	bare.Conditions = p.Conditions
	policy := cedar.NewPolicyFromAST((*publicast.Policy)(bare))
	for i := range requests {
		q := requests[i].request()
		_, diag := cedar.Authorize(one{policy}, entities, q)
		holds, known := program.Run(&quick.Env{Principal: q.Principal, Action: q.Action, Resource: q.Resource, Entities: entities, Context: q.Context})
		failed := len(diag.Errors) > 0
		switch {
		case !known:
			n.unknown++
			if failed {
				n.failed++
			}
		case failed || holds != (len(diag.Reasons) > 0):
			return fmt.Errorf("%s\n%s: told %t, want %+v", policy.MarshalCedar(), requests[i].Description, holds, diag)
		default:
			n.known++
			if holds {
				n.held++
			}
		}
	}
	return nil
}
