package stages

import (
	"context"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Retry finds the kept answer of a retry that carries the Idempotency-Key of an answered call. The call goes on through
// the row all the same: who may not call any more is not given the answer again either. A token that is shown is judged
// first, so that one that is no longer good takes no place among the answers.
type Retry struct {
	Answers  *pipeline.Answers
	Verifier *intent.Verifier
}

// Name is "retry".
func (Retry) Name() string { return "retry" }

// Check claims the key for the call, or marks the call as one that was answered before.
func (s Retry) Check(_ context.Context, c *pipeline.Call) error {
	if c.Retry == "" || c.Trial || c.Action == "discover" || c.Action == "list_tools" {
		return nil // what has no effect takes no place from what has, and a decision is asked for as things stand
	}
	if len(c.Shown.Token) > 0 {
		if _, err := s.Verifier.Token(c.Shown.Token, c.Started); err != nil {
			return refused(err)
		}
	}
	return s.Answers.Claim(c, c.Started)
}
