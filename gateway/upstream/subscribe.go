package upstream

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/merkle/canon"
)

// agreement is the object of a subscription's resources (MCP 2026-07-28, subscriptions).
func agreement(uris []string) []byte {
	b := []byte(`{"resourceSubscriptions":[`)
	for i, u := range uris {
		if i > 0 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, u)
	}
	return append(b, "]}"...)
}

// subscribe has an older server's session watch what the subscription says and nothing else, and tells the peer what of it the
// server agreed to.
func (e *ear) subscribe(ctx context.Context, s *session) error {
	if e.sub.Resources == nil {
		return nil
	}
	s.watching.Lock()
	defer s.watching.Unlock()
	want := map[string]bool{}
	var agreed []string
	for _, u := range e.sub.Resources {
		want[u] = true
		ok := s.watched[u]
		if !ok {
			var err error
			if ok, err = e.watch(ctx, "resources/subscribe", u); err != nil {
				return err
			}
		}
		if ok {
			if s.watched == nil {
				s.watched = map[string]bool{}
			}
			s.watched[u] = true
			agreed = append(agreed, u)
		}
	}
	for u := range s.watched {
		if !want[u] {
			delete(s.watched, u)
			if _, err := e.watch(ctx, "resources/unsubscribe", u); err != nil {
				return err
			}
		}
	}
	params := append(append([]byte(`{"notifications":`), agreement(agreed)...), '}')
	if err := notify(e.sub.Peer, "notifications/subscriptions/acknowledged", params); err != nil {
		return fault(Canceled, "the caller refused what the server agreed to")
	}
	return nil
}

// watch asks for one resource to be watched, or not any more.
func (e *ear) watch(ctx context.Context, method, uri string) (agreed bool, err error) {
	var reply Reply
	params := append(canon.AppendString([]byte(`{"uri":`), uri), '}')
	err = e.c.Call(ctx, e.t, &Request{Method: method, Params: params, Principal: e.sub.Principal, Peer: e.sub.Peer}, &reply)
	if fail, ok := errors.AsType[*Error](err); ok && !fail.passing() && fail.Kind != Canceled {
		return false, nil
	}
	return reply.Error == nil, err
}
