package upstream

import (
	"bytes"
	"context"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Capabilities is the raw object of what a server declares of itself as things stand, as the gateway itself sees it: what it said
// in the session at hand, or of the newer era what it says now. The error is ErrNoMethod when that is not to be had, which is no
// reason to take the server for one that has nothing.
func (c *Client) Capabilities(ctx context.Context, t *Target) ([]byte, error) {
	if t.Carrier != nil {
		return c.discovered(ctx, t)
	}
	p, fail := c.peer(t)
	if fail != nil {
		return nil, fail.named(t.Name, false)
	}
	w := who{principal: lister, capabilities: "{}"}
	kind, fail := c.era(ctx, p, t, w)
	if fail != nil {
		return nil, fail.named(t.Name, false)
	}
	if kind == modernEra {
		return c.discovered(ctx, t)
	}
	s, fail := c.session(ctx, p, t, w, kind)
	if fail == nil && s.id == "" && s.wire == nil && c.now().Sub(s.began) > c.config.SessionIdle { // no answer would tell that the server is another
		p.sessions.drop(s)
		s, fail = c.session(ctx, p, t, w, kind)
	}
	switch {
	case fail != nil:
		return nil, fail.named(t.Name, false)
	case s.declares == nil:
		return nil, ErrNoMethod
	}
	return s.declares, nil
}

// discovered asks a server of the newer era, or the connector of one.
func (c *Client) discovered(ctx context.Context, t *Target) ([]byte, error) {
	var reply Reply
	if err := c.Call(ctx, t, &Request{Method: "server/discover", Principal: lister}, &reply); err != nil {
		if fail, ok := err.(*Error); ok && t.Carrier == nil && fail.allowsLegacy() { //nolint:errorlint // as Call gives it
			return nil, ErrNoMethod // it lists tools and has no such method
		}
		return nil, err
	}
	declares := declared(reply.Result)
	if declares == nil {
		return nil, ErrNoMethod
	}
	return declares, nil
}

// maxDeclared bounds what is kept of what a server declares, in bytes.
const maxDeclared = 64 << 10

// declared is what the answer to initialize or server/discover says; nil when it says nothing that is understood.
func declared(result []byte) []byte {
	capabilities, ok := canon.Get(result, "capabilities")
	if !ok || canon.KindOf(capabilities) != '{' || len(capabilities) > maxDeclared {
		return nil
	}
	return bytes.Clone(capabilities)
}
