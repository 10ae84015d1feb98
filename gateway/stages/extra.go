package stages

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

// opExtra is the operation that filters are told when they see what a client's own _meta has for the server.
const opExtra = "request_meta"

// checkExtra has what of the client's own _meta goes to the server pass the filters, as arguments of an operation of its own. They
// may refuse it, change the values and take members out.
func (s *Filter) checkExtra(ctx context.Context, c *pipeline.Call) error {
	if c.Extra == nil {
		return nil
	}
	set, err := s.set(ctx, c)
	if set == nil || err != nil {
		return err
	}
	w := s.take(c, abi.Request)
	defer s.put(w)
	w.extra, w.shown.Op, w.shown.Body = true, opExtra, c.Extra
	for i := range set.Units {
		if err := w.meet(ctx, &set.Units[i]); err != nil {
			return err
		}
	}
	if w.rewrote == "" {
		return nil
	}
	if c.Filtered != "" {
		c.Filtered += "; "
	}
	c.Extra, c.Filtered = dense(w.shown.Body), c.Filtered+"_meta rewritten by "+w.rewrote
	return nil
}

// dense is a checked object without blanks between its members.
func dense(object []byte) []byte {
	b := append(make([]byte, 0, len(object)), '{')
	_ = canon.Each(object, func(key, value []byte) error { // checked JSON: cannot fail
		b = append(append(canon.AppendString(comma(b), string(key)), ':'), value...)
		return nil
	})
	return append(b, '}')
}

// checkRewrittenExtra lets a filter add nothing: what a server takes for its client's own is its client's own.
func (s *Filter) checkRewrittenExtra(c *pipeline.Call, u FilterUnit, extra []byte) error {
	if err := gate(extra, s.Arguments); err != nil {
		return broken(u, fmt.Errorf("rewrote _meta: %w", err))
	}
	return canon.Each(extra, func(key, _ []byte) error {
		if _, ok := canon.Get(c.Extra, string(key)); !ok {
			return broken(u, errors.New("added a member to _meta"))
		}
		return nil
	})
}

// metaOf is the _meta that the server is sent: what was judged of the client's own, and what need not be.
func metaOf(c *pipeline.Call) []byte {
	switch {
	case len(c.Extra) <= len("{}"):
		return c.Meta
	case c.Meta == nil:
		return c.Extra
	}
	b := make([]byte, 0, len(c.Meta)+len(c.Extra))
	b = append(append(b, c.Meta[:len(c.Meta)-1]...), ',')
	return append(b, c.Extra[1:]...)
}
