package policies

import (
	"errors"
	"fmt"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Trees gives the syntax trees of the policies that are enforced, and then of those in shadow, for who studies a bundle.
// They must not be changed.
func (e *Engine) Trees() []*ast.Policy {
	if e == nil {
		return nil
	}
	var out []*ast.Policy
	for _, r := range e.rules {
		out = append(out, r.ast())
	}
	return append(out, e.beside.Trees()...)
}

// Knows tells why the Ask is about nothing that the engine knows: a tool that is gone, say, of which every call is refused.
// nil says that its policies are asked.
func (e *Engine) Knows(a *Ask) (err error) {
	if e == nil || a == nil || a.Principal == nil {
		return errors.New("no engine or no principal")
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("policy engine fault: %v", r)
		}
	}()
	_, err = e.target(a)
	return err
}
