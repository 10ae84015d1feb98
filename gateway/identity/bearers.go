package identity

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/bearer"
)

// oauthPrefix begins the key id of who shows an access token. It is no key's and no login's, so AuthenticateHolder refuses it: an
// intent token that such a caller took is shown beside an access token and never alone, where it would outlive that and its scopes.
const oauthPrefix = "oauth:"

// SetBearers replaces the authorization servers whose access tokens are taken, with all that was verified of them.
func (d *Directory) SetBearers(set *bearer.Set) { d.bearers.Store(set) }

// AuthenticateToken turns an access token of a trusted authorization server into the Caller of the agent that it is mapped to,
// and every other JWT as AuthenticateJWT does. It may wait for the server's keys. The state of organisation, agent and user is
// looked at every time.
func (d *Directory) AuthenticateToken(ctx context.Context, shown bearer.Shown, now time.Time) (Caller, error) {
	set := d.bearers.Load()
	if !set.Knows(shown.Raw) {
		return d.AuthenticateJWT(shown.Raw, now)
	}
	t, err := set.Verify(ctx, shown, now)
	if err != nil {
		reason, ok := errors.AsType[bearer.Reason](err)
		if !ok {
			return Caller{}, refusedJWT
		}
		return Caller{}, &Refusal{Reason(reason)}
	}
	last, _ := t.Mapped.Load().(*who)
	w, refusal := d.visitor(t.Tenant(), oauthPrefix+t.Server(), t.User(), t.Agent(), last)
	if refusal != nil {
		return Caller{}, refusal
	}
	if w != last {
		w.token = t
		t.Mapped.Store(w)
	}
	return Caller{w}, nil
}
