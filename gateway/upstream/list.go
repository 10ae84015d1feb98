package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/gatewright/gatewright/merkle/canon"
)

// lister is the principal of the gateway's own requests. Callers' principals
// are ids and cannot be this.
const lister = "\x00gatewright"

// listMembers names the array in the result of each method that lists.
var listMembers = map[string]string{
	"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources",
	"resources/templates/list": "resourceTemplates", "tasks/list": "tasks",
}

// ErrNoMethod says that the server does not have the method asked for.
var ErrNoMethod = errors.New("the server has no such method")

// codeNoMethod is JSON-RPC 2.0's "Method not found".
const codeNoMethod = -32601

// List returns everything that a method lists, such as prompts/list, all pages,
// as the server sent it. Of r it takes who asks, _meta and the peer; an
// empty principal stands for the gateway itself. A listing that is over a bound
// (Config.MaxTools, MaxPages) or repeats a cursor fails as a whole: half a
// catalogue would look like removed tools. The error is ErrNoMethod when the
// server does not have the method.
func (c *Client) List(ctx context.Context, t *Target, r *Request) ([]json.RawMessage, error) {
	l := listing{config: &c.config, member: listMembers[r.Method]}
	if l.member == "" {
		return nil, fault(Invalid, "this method lists nothing").named(t.Name, false)
	}
	page := Request{Method: r.Method, Principal: r.Principal, Meta: r.Meta, Peer: r.Peer}
	if page.Principal == "" {
		page.Principal = lister
	}
	var reply Reply
	var cursor []byte
	for range c.config.MaxPages {
		if cursor != nil {
			page.Params = append(append([]byte(`{"cursor":`), cursor...), '}')
		}
		if err := c.Call(ctx, t, &page, &reply); err != nil {
			return nil, err
		}
		if errorCode(reply.Error) == codeNoMethod {
			return nil, ErrNoMethod
		}
		next, fail := l.take(&reply)
		if fail != nil {
			return nil, fail.named(t.Name, true)
		}
		if next == nil {
			return l.items, nil
		}
		if bytes.Equal(next, cursor) {
			return nil, malformed("the list repeats a cursor").named(t.Name, true)
		}
		cursor = next
	}
	return nil, fault(TooLarge, "the list has too many pages").named(t.Name, true)
}

// listing is what was listed so far.
type listing struct {
	config *Config
	member string
	items  []json.RawMessage
}

// take appends one page's items and returns the raw cursor of the next, or nil
// at the end.
func (l *listing) take(reply *Reply) (next []byte, _ *Error) {
	if reply.Result == nil {
		return nil, malformed("the upstream refused to list its " + l.member)
	}
	array, ok := canon.Get(reply.Result, l.member)
	if !ok || canon.KindOf(array) != '[' {
		return nil, malformed("the list holds no " + l.member)
	}
	var fail *Error
	_ = canon.EachElement(array, func(_ int, value []byte) error { // checked JSON: cannot fail
		switch {
		case canon.KindOf(value) != '{':
			fail = malformed("the list holds something that is no object")
		case len(l.items) >= l.config.MaxTools:
			fail = fault(TooLarge, "the server offers too many "+l.member)
		default:
			l.items = append(l.items, bytes.Clone(value))
		}
		return nil
	})
	if fail != nil {
		return nil, fail
	}
	cursor, ok := canon.Get(reply.Result, "nextCursor")
	switch {
	case !ok || canon.KindOf(cursor) == 'n':
		return nil, nil
	case canon.KindOf(cursor) != '"':
		return nil, malformed("the list's cursor is not a string")
	}
	return bytes.Clone(cursor), nil
}
