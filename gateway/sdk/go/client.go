// Package gatewright is the client of a Gatewright gateway for agents and tools written in Go.
//
// An agent declares what it will do and gets a plan, takes a token for it, and shows the token with each
// call; every answer names its ledger record and carries a receipt that anybody can verify offline:
//
//	c, err := gatewright.New(gatewright.Config{URL: url, Key: key})
//	plan, err := c.Plan(ctx, []byte(`{"goal":"...","steps":[{"server":"files","tool":"read","args":{"path":"/a"}}]}`))
//	token, err := c.Token(ctx, plan.ID, 0)
//	result, err := c.Call(ctx, gatewright.Call{Server: "files", Tool: "read", Args: args, Token: token.Token})
//	verified, err := gatewright.VerifyReceipt(result.Receipt, keys)
//
// A refusal is an *Error with the gateway's reason code and record id. Answers are bounded, read
// strictly, and never followed elsewhere: the key goes to the address given and to no other. A Client is
// safe for concurrent use. The package needs nothing but the standard library and package merkle.
package gatewright

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of what is read from a gateway that misbehaves, or from something that is no gateway.
const (
	defaultMaxReply = 8 << 20 // the gateway's own bound on an upstream's answer is 4 MiB by default
	defaultTimeout  = time.Minute
	maxReplyDepth   = 64
	maxReplyValues  = 1 << 20
	maxText         = 2048 // bytes of a message, hint or id taken from an error
)

// Config says where a gateway is and who calls.
type Config struct {
	// URL is the gateway's address, scheme://host:port without a path: the data port for New, the control
	// port for NewAdmin.
	URL string
	// Key is the API key (ak_...): a runtime key for New, a management key for NewAdmin.
	Key string
	// AllowPlaintext permits http:// beyond this machine. Default false. Danger: the key and every
	// argument then travel readable.
	AllowPlaintext bool
	// MaxReply bounds an answer in bytes. Default 8 MiB.
	MaxReply int64
	// Timeout bounds one request with its answer. Default one minute; the context may be shorter.
	Timeout time.Duration
	// Roots vouch for the gateway's certificate in place of the system's authorities. Default: the system's.
	Roots *x509.CertPool
	// Transport is how requests are sent; it brings its own Roots. Default: a transport of its own.
	Transport http.RoundTripper
}

// endpoint sends requests to one address under one key. The key is held in a closure so that printing a
// client prints no key.
type endpoint struct {
	base     string
	sign     func(h http.Header)
	redact   func(s string) string
	http     *http.Client
	maxReply int64
}

func newEndpoint(c Config) (*endpoint, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("gateway address: want scheme://host:port") // not quoted: it may hold a password
	}
	if u.Scheme == "http" && !c.AllowPlaintext && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("gateway address %s: plaintext beyond this machine would show the key; use https", u.Host)
	}
	if c.Key == "" || strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("API key: want ak_live_... or ak_test_..., have something else or nothing")
	}
	e := &endpoint{base: u.Scheme + "://" + u.Host, maxReply: c.MaxReply}
	e.sign = func(h http.Header) { h.Set("Authorization", "Bearer "+c.Key) }
	e.redact = func(s string) string { return strings.ReplaceAll(s, c.Key, "[key]") }
	if e.maxReply <= 0 {
		e.maxReply = defaultMaxReply
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	transport := c.Transport
	if transport == nil {
		transport = newTransport(c.Roots)
	} else if c.Roots != nil {
		return nil, errors.New("gateway client: roots and a transport are both given")
	}
	e.http = &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return e, nil
}

func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots},
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        60 * time.Second, // below the gateway's 75 s, so that this side closes first
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 512 << 10, // a receipt carries a record of up to 64 KiB in base64
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// reply is an answer whose body was read whole within its bound.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request. Its error is ErrUnreachable or ErrAnswer, or the context's; whether a status
// means a refusal is the caller's to judge.
func (e *endpoint) send(ctx context.Context, method, path string, body []byte, head func(http.Header)) (*reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	e.sign(req.Header)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatewright-sdk-go/"+Version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if head != nil {
		head(req.Header)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, e.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, e.maxReply+1))
	if err != nil {
		return nil, e.unreachable(ctx, err)
	}
	if int64(len(b)) > e.maxReply {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrAnswer, e.maxReply)
	}
	return &reply{status: resp.StatusCode, header: resp.Header, body: b}, nil
}

func (e *endpoint) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", e.base, context.Cause(ctx))
	}
	if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
		return fmt.Errorf("%w: %w: %s", ErrUnreachable, ErrUntrusted, clean(e.redact(err.Error())))
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, clean(e.redact(err.Error())))
}

// do sends in as JSON (nil: no body) and reads a success's body into out (nil: not read).
func (e *endpoint) do(ctx context.Context, method, path string, in, out any) (*reply, error) {
	var body []byte
	if raw, ok := in.(json.RawMessage); ok {
		body = raw
	} else if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = b
	}
	r, err := e.send(ctx, method, path, body, nil)
	if err != nil {
		return nil, err
	}
	if r.status < 200 || r.status > 299 {
		return nil, e.refusal(r)
	}
	if out == nil {
		return r, nil
	}
	return r, r.decode(out)
}

// decode reads the body as strict JSON. Members it does not know are passed over: a newer gateway may say
// more.
func (r *reply) decode(out any) error {
	if err := checkReply(r.body); err != nil {
		return err
	}
	if err := json.Unmarshal(r.body, out); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

func checkReply(b []byte) error {
	if err := canon.Check(b, canon.Limits{Bytes: len(b), Depth: maxReplyDepth, Values: maxReplyValues}); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}
