package stages

import (
	"context"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Retry gives the kept answer to a retry that carries the Idempotency-Key of an answered call.
type Retry struct{ Answers *pipeline.Answers }

// Name is "retry".
func (Retry) Name() string { return "retry" }

// Check claims the key, or ends the walk with the kept answer.
func (s Retry) Check(_ context.Context, c *pipeline.Call) error {
	if c.Retry == "" {
		return nil
	}
	return s.Answers.Claim(c, c.Started)
}
