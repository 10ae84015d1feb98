package stages

import (
	"context"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Retry gives the kept answer to a retry that carries the Idempotency-Key of an answered call. A token that is shown must
// still be valid: who may not call any more is not given the answer again either.
type Retry struct {
	Answers  *pipeline.Answers
	Verifier *intent.Verifier
}

// Name is "retry".
func (Retry) Name() string { return "retry" }

// Check claims the key, or ends the walk with the kept answer.
func (s Retry) Check(_ context.Context, c *pipeline.Call) error {
	if c.Retry == "" || c.Action == "discover" || c.Action == "list_tools" {
		return nil // what has no effect takes no place from what has
	}
	if len(c.Shown.Token) > 0 {
		if _, err := s.Verifier.Token(c.Shown.Token, c.Started); err != nil {
			return refused(err)
		}
	}
	return s.Answers.Claim(c, c.Started)
}
