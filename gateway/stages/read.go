package stages

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Read has the dialect parse the body, strictly and once. It comes after identify, so that a caller without a valid
// credential is told nothing but that, whatever the body says.
type Read struct{}

// Name is "read".
func (Read) Name() string { return "read" }

// Check fills the fields of the call that the body determines.
func (Read) Check(ctx context.Context, c *pipeline.Call) error {
	if c.Read == nil {
		return errors.New("read: the dialect gave no reader")
	}
	if err := c.Read(ctx, c); err != nil {
		return err
	}
	if c.Op == "" || c.Action == "" {
		return errors.New("read: the dialect named no operation")
	}
	return nil
}
