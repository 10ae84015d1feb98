package openapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// api calls one operation.
type api struct {
	base      *url.URL // its path, escaped and without a slash at the end, is in Opaque
	transport http.RoundTripper
	limits    Limits
	op        *operation
}

// maxTarget bounds path and query together: what servers take at the least (RFC 9110, 4.1).
const maxTarget = 8000

// call is the tool. What of the arguments cannot be written safely is told to the agent; nothing was sent then.
func (a *api) call(ctx context.Context, args []byte) (connector.Reply, error) {
	credential, _ := ctx.Value(credentialKey{}).(string)
	req, err := a.request(args, credential)
	if err != nil {
		return connector.Failed("the call was not made: " + err.Error()), nil
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	res, err := a.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return connector.Reply{}, failure(ctx, err, sent.Load())
	}
	defer res.Body.Close()
	reply, err := a.reply(res, credential)
	if err != nil {
		return connector.Reply{}, failure(ctx, err, true)
	}
	return reply, nil
}

// failure says why there is no answer, in words of ours: an error of the transport may hold the address with its query, and so the
// credential.
func failure(ctx context.Context, err error, sent bool) error {
	f, ok := errors.AsType[*connector.Failure](err)
	switch {
	case ok:
		return &connector.Failure{Kind: f.Kind, Detail: f.Detail, Sent: f.Sent || sent}
	case timedOut(ctx, err):
		return &connector.Failure{Kind: connector.Timeout, Detail: "the API did not answer in time", Sent: sent}
	case ctx.Err() != nil:
		return &connector.Failure{Kind: connector.Canceled, Detail: "the call was canceled", Sent: sent}
	}
	return &connector.Failure{Kind: connector.Unreachable, Detail: "the API cannot be reached, or broke the connection", Sent: sent}
}

// timedOut tells a time limit, ours or the transport's, from other ends.
func timedOut(ctx context.Context, err error) bool {
	late, ok := errors.AsType[net.Error](err)
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || ctx.Err() == nil && ok && late.Timeout()
}

// target is what arguments make of a request.
type target struct {
	path    map[string]string
	query   []string
	header  http.Header
	cookies []string
	body    []byte
	kind    string // of the body; empty: there is none
}

// request writes the request.
func (a *api) request(args []byte, credential string) (*http.Request, error) {
	t := target{path: map[string]string{}, header: http.Header{"Accept": {"application/json, text/plain;q=0.9, */*;q=0.1"}, "Accept-Encoding": {"identity"}, "User-Agent": {"gatewright"}}}
	if err := a.place(&t, args); err != nil {
		return nil, err
	}
	if len(t.cookies) > 0 {
		all := strings.Join(t.cookies, "; ")
		if err := headerText(all); err != nil {
			return nil, fmt.Errorf("the cookies: %w", err)
		}
		t.header.Set("Cookie", all)
	}
	if s := a.op.scheme; s != nil {
		value, err := s.value(credential)
		switch {
		case err != nil:
			return nil, err
		case s.in == inQuery:
			t.query = append(t.query, escape(s.name)+"="+escape(value))
		default:
			t.header[s.name] = []string{value}
		}
	}
	path, err := a.op.template.fill(t.path)
	if err != nil {
		return nil, err
	}
	full := a.base.Opaque + path
	if len(t.query) > 0 {
		full += "?" + strings.Join(t.query, "&")
	}
	if len(full) > maxTarget {
		return nil, fmt.Errorf("its path and query would be longer than %d bytes", maxTarget)
	}
	return a.compose(full, &t)
}

// compose makes the request, and makes sure that the library sends the very target that was written here.
func (a *api) compose(full string, t *target) (*http.Request, error) {
	var content io.Reader
	if t.kind != "" {
		content = strings.NewReader(string(t.body))
		t.header.Set("Content-Type", t.kind)
	}
	text := a.base.Scheme + "://" + a.base.Host + full
	req, err := http.NewRequest(strings.ToUpper(a.op.method), text, content) //nolint:noctx // call gives it one
	if err != nil || req.URL.RequestURI() != full || req.URL.Host != a.base.Host || req.URL.User != nil {
		return nil, errors.New("its target cannot be written exactly")
	}
	req.Header = t.header
	return req, nil
}

// place puts each argument where it belongs.
func (a *api) place(t *target, args []byte) error {
	values := map[string][]byte{}
	err := canon.Each(args, func(key, value []byte) error {
		values[string(key)] = value
		return nil
	})
	if err != nil {
		return errors.New("the arguments are not an object")
	}
	for _, p := range a.op.params {
		raw, ok := values[p.arg]
		delete(values, p.arg)
		if err := p.put(t, raw, ok); err != nil {
			return fmt.Errorf("the argument %q: %w", p.arg, err)
		}
	}
	if b := a.op.body; b != nil {
		raw, ok := values[bodyArgument]
		delete(values, bodyArgument)
		switch {
		case !ok && b.required:
			return fmt.Errorf("the argument %q is required", bodyArgument)
		case ok:
			if t.body, t.kind, err = b.write(raw); err != nil {
				return fmt.Errorf("the argument %q: %w", bodyArgument, err)
			}
		}
	}
	for name := range values {
		return fmt.Errorf("there is no argument %.80q", name)
	}
	return nil
}

// put writes one argument into its place.
func (p *param) put(t *target, raw []byte, given bool) error {
	var v argument
	ok := false
	if given {
		var err error
		if v, ok, err = p.read(raw); err != nil {
			return err
		}
	}
	if !ok {
		if p.required {
			return errors.New("it is required")
		}
		return nil
	}
	switch p.in {
	case inPath:
		return p.putPath(t, v)
	case inQuery:
		s, err := p.query(v)
		t.query = append(t.query, s)
		return err
	case inHeader:
		s, err := p.header(v)
		t.header[p.name] = []string{s}
		return err
	default:
		t.cookies = append(t.cookies, p.name+"="+escape(v.text))
		return nil
	}
}

func (p *param) putPath(t *target, v argument) error {
	if err := v.each(pathText); err != nil {
		return err
	}
	if p.style == "label" && p.explode && v.kind != scalars {
		if err := v.each(labelText); err != nil {
			return err
		}
	}
	s := p.expand(v, escape)
	if s == "" || v.kind == scalars && v.text == "" {
		return errors.New("it is empty, and the path would lead elsewhere")
	}
	t.path[p.name] = s
	return nil
}
