// Package stages holds the stages of the line, one a file. A stage knows nothing of the others; their order is the row
// in the gateway's wiring and nowhere else.
package stages

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Authenticator turns a credential as shown into a Caller.
type Authenticator interface {
	Authenticate(key []byte, now time.Time) (identity.Caller, error)
}

// Identify proves who calls. Tenant, user and agent come from the credential alone; nothing in the body, the query or
// a header can name another. The source address is limited first, so that guessing keys costs the guesser.
type Identify struct {
	Directory Authenticator
	Sources   *Limiter // per source address, before anything is looked up; nil limits nothing
}

// Name is "identify".
func (Identify) Name() string { return "identify" }

// Check fills c.Caller.
func (s Identify) Check(_ context.Context, c *pipeline.Call) error {
	if wait, ok := s.Sources.Allow(sourceKey(c.Remote), c.Started); !ok {
		return limited("source address", wait)
	}
	if len(c.Credential) == 0 {
		return pipeline.Deny(pipeline.Unauthenticated, "")
	}
	caller, err := s.Directory.Authenticate(c.Credential, c.Started)
	if err != nil {
		return pipeline.Deny(pipeline.Unauthenticated, "").Because(err)
	}
	if !caller.Valid() {
		return pipeline.Deny(pipeline.Unauthenticated, "")
	}
	if caller.Kind() != identity.Runtime {
		return pipeline.Deny(pipeline.WrongKeyKind, "")
	}
	c.Caller = caller
	return nil
}
