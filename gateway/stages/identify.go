// Package stages holds the stages of the line, one a file. A stage knows nothing of the others; their order is the row
// in the gateway's wiring and nowhere else.
package stages

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/bearer"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Authenticator turns an API key as shown into a Caller.
type Authenticator interface {
	Authenticate(key []byte, now time.Time) (identity.Caller, error)
}

// TokenAuthenticator turns a JWT of a configured login, or of an authorization server, into a Caller, or the holder that an
// intent token names, or a client's certificate; and holds a certificate against a credential beside it.
type TokenAuthenticator interface {
	AuthenticateCertificate(leaf *x509.Certificate, now time.Time) (identity.Caller, error)
	Fits(c identity.Caller, leaf *x509.Certificate, now time.Time) error
	AuthenticateToken(ctx context.Context, shown bearer.Shown, now time.Time) (identity.Caller, error)
	AuthenticateHolder(tenant, agent, user, keyID string, now time.Time) (identity.Caller, error)
}

// Identify proves who calls. Tenant, user and agent come from the credential alone; nothing in the body, the query or
// a header can name another. The source address is limited first, so that guessing keys costs the guesser.
type Identify struct {
	Directory Authenticator
	Tokens    TokenAuthenticator // nil: API keys are the only credential
	Verifier  *intent.Verifier   // of intent tokens that may be shown alone; nil takes none
	Sources   *Limiter           // per source address, before anything is looked up; nil limits nothing
}

// Name is "identify".
func (Identify) Name() string { return "identify" }

// Check fills c.Caller.
func (s Identify) Check(ctx context.Context, c *pipeline.Call) error {
	if wait, ok := (Sources{s.Sources}).Allow(c.Remote, c.Started); !ok {
		return limited("source address", wait)
	}
	if len(c.Credential) == 0 && c.Reveal != nil {
		c.Credential = c.Reveal()
	}
	if len(c.Credential) == 0 && c.Certificate == nil {
		return pipeline.Deny(pipeline.Unauthenticated, "")
	}
	caller, err := s.authenticate(ctx, c)
	if err != nil {
		return pipeline.Deny(pipeline.Unauthenticated, "").Because(err)
	}
	if !caller.Valid() {
		return pipeline.Deny(pipeline.Unauthenticated, "")
	}
	if s.Tokens != nil {
		if err := s.Tokens.Fits(caller, c.Certificate, c.Started); err != nil {
			return pipeline.Deny(pipeline.Unauthenticated, "").Because(err)
		}
	}
	if caller.Kind() != identity.Runtime {
		return pipeline.Deny(pipeline.WrongKeyKind, "")
	}
	c.Caller = caller
	return nil
}

func (s Identify) authenticate(ctx context.Context, c *pipeline.Call) (identity.Caller, error) {
	head, _, isJWS := bytes.Cut(c.Credential, []byte("."))
	switch {
	case len(c.Credential) == 0 && s.Tokens != nil:
		return s.Tokens.AuthenticateCertificate(c.Certificate, c.Started)
	case !isJWS || s.Tokens == nil:
		return s.Directory.Authenticate(c.Credential, c.Started)
	case s.Verifier != nil && isIntent(head):
		c.Alone = true
		return s.holder(c.Credential, c.Started)
	}
	return s.Tokens.AuthenticateToken(ctx, bearer.Shown{Raw: c.Credential, Path: c.Path, Certificate: raw(c.Certificate)}, c.Started)
}

// raw is a certificate as a token may be bound to it.
func raw(leaf *x509.Certificate) []byte {
	if leaf == nil {
		return nil
	}
	return leaf.Raw
}

// isIntent says whether the JWS calls itself an intent token. It is believed nothing else before its signature.
func isIntent(head []byte) bool {
	var buf [256]byte
	if base64.RawURLEncoding.DecodedLen(len(head)) > len(buf) {
		return false
	}
	n, err := base64.RawURLEncoding.Decode(buf[:], head)
	return err == nil && bytes.Contains(buf[:n], []byte(`"intent+jwt"`))
}

var (
	errNotAlone = errors.New("this intent token is not a credential: it is shown beside one")
	errBound    = errors.New("a token bound to a key is no credential")
)

// holder is who an intent token stands for that may be shown alone, as that agent, user and key are now.
func (s Identify) holder(token []byte, now time.Time) (identity.Caller, error) {
	t, err := s.Verifier.Token(token, now)
	if err != nil {
		return identity.Caller{}, err
	}
	switch c := t.Claims(); {
	case !c.Alone:
		return identity.Caller{}, errNotAlone
	case c.Thumbprint != "":
		return identity.Caller{}, errBound
	default:
		return s.Tokens.AuthenticateHolder(c.Tenant, c.Agent, c.Subject, c.KeyID, now)
	}
}
