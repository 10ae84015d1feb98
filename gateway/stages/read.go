package stages

import (
	"bytes"
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
	return confined(c)
}

// confined keeps a caller whose credential is an intent token to what that token is for: the steps of its plan, and
// asking about them. Plans, further tokens and everything else want the credential that the token was asked for with.
func confined(c *pipeline.Call) error {
	head, _, isJWS := bytes.Cut(c.Credential, []byte("."))
	if !isJWS || !isIntent(head) || c.Action == "check_policy" {
		return nil
	}
	if !c.Plan {
		d := pipeline.Deny(pipeline.WrongKeyKind, "an intent token as the credential opens the steps of its plan and nothing else")
		d.Hint = "show the credential that the token was asked for with"
		return d.WithReason("token_alone")
	}
	if len(c.Shown.Token) > 0 && !bytes.Equal(c.Shown.Token, c.Credential) {
		return pipeline.Deny(pipeline.IntentInvalid, "the credential is one intent token and the call shows another").WithReason("token_alone")
	}
	return nil
}
