package upstream

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/gatewright/gatewright/merkle/canon"
)

// lister is the principal of the gateway's own requests. Callers' principals
// are ids and cannot be this.
const lister = "\x00gatewright"

// ListTools returns every tool the server offers, all pages, as it sent them.
// A listing that is over a bound or repeats a cursor fails as a whole: half a
// catalogue would look like removed tools.
func (c *Client) ListTools(ctx context.Context, t *Target) ([]json.RawMessage, error) {
	var tools []json.RawMessage
	var reply Reply
	var cursor []byte
	for range c.config.MaxPages {
		r := Request{Method: "tools/list", Principal: lister}
		if cursor != nil {
			r.Params = append(append([]byte(`{"cursor":`), cursor...), '}')
		}
		if err := c.Call(ctx, t, &r, &reply); err != nil {
			return nil, err
		}
		next, fail := c.takePage(&reply, &tools)
		if fail != nil {
			return nil, fail.named(t.Name, true)
		}
		if next == nil {
			return tools, nil
		}
		if bytes.Equal(next, cursor) {
			return nil, malformed("the tool list repeats a cursor").named(t.Name, true)
		}
		cursor = next
	}
	return nil, fault(TooLarge, "the tool list has too many pages").named(t.Name, true)
}

// takePage appends one page's tools and returns the raw cursor of the next, or
// nil at the end.
func (c *Client) takePage(reply *Reply, tools *[]json.RawMessage) (next []byte, _ *Error) {
	if reply.Result == nil {
		return nil, malformed("the upstream refused to list its tools")
	}
	array, ok := canon.Get(reply.Result, "tools")
	if !ok || canon.KindOf(array) != '[' {
		return nil, malformed("the tool list holds no tools")
	}
	var fail *Error
	_ = canon.EachElement(array, func(_ int, value []byte) error { // checked JSON: cannot fail
		switch {
		case canon.KindOf(value) != '{':
			fail = malformed("the tool list holds something that is no tool")
		case len(*tools) >= c.config.MaxTools:
			fail = fault(TooLarge, "the server offers too many tools")
		default:
			*tools = append(*tools, bytes.Clone(value))
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
		return nil, malformed("the tool list's cursor is not a string")
	}
	return bytes.Clone(cursor), nil
}
