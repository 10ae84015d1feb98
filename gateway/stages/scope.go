package stages

import (
	"context"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Scope holds an access token to the scopes that its authorization server's settings want for the operation. It stands before
// anything that could answer, kept answers included. Callers with other credentials pass: what they may do is for policy alone.
type Scope struct{}

// Name is "scope".
func (Scope) Name() string { return "scope" }

// Check refuses a token that lacks a scope, and names all that are needed.
func (Scope) Check(_ context.Context, c *pipeline.Call) error {
	t := c.Caller.Token()
	if t == nil {
		return nil
	}
	if scopes := t.Lacks(c.Op, c.Server, c.Name); len(scopes) > 0 {
		d := pipeline.Deny(pipeline.InsufficientScope, "")
		d.Scopes = scopes
		return d
	}
	return nil
}
