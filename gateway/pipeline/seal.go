package pipeline

import (
	"context"
	"encoding/base64"
)

// Sealer seals what the gateway hands to clients and takes back: a text opens for the tenant, the purpose and what it was bound to,
// and nothing else, while the key that it is sealed under lives. ring.Ring is one.
type Sealer interface {
	Seal(ctx context.Context, tenant, purpose string, bound, plain []byte) (string, error)
	Open(ctx context.Context, tenant, purpose string, bound []byte, text string) ([]byte, bool)
	// Opens says of a text that was sealed here whether its key still opens.
	Opens(ctx context.Context, tenant, text string) bool
}

// roundSeal is what states of calls that go on are sealed for.
const roundSeal = "round"

func (r *Rounds) seal(c *Call, random []byte) (string, error) {
	if r.Seals == nil {
		return base64.RawURLEncoding.EncodeToString(random), nil
	}
	return r.Seals.Seal(context.Background(), c.Caller.Tenant(), roundSeal, []byte(c.Caller.Session()+"\n"+continued(c)), random)
}

// genuine refuses a state before anything is looked up by it: one that was made up, is another caller's or another call's, or is
// sealed under a key that has ended.
func (r *Rounds) genuine(c *Call, state string) bool {
	if r.Seals == nil {
		return true
	}
	_, ok := r.Seals.Open(context.Background(), c.Caller.Tenant(), roundSeal, []byte(c.Caller.Session()+"\n"+continued(c)), state)
	return ok
}
