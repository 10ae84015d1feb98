package upstream

import (
	"context"
	"errors"
)

// Kind says in one word why an exchange with an upstream failed. The list is
// closed.
type Kind string

// The kinds of failure.
const (
	Unreachable    Kind = "unreachable"     // no connection, or it broke before the answer was complete
	Timeout        Kind = "timeout"         // our time limit passed
	Canceled       Kind = "canceled"        // the caller's context ended first
	TooLarge       Kind = "too_large"       // the answer is over a bound
	Malformed      Kind = "malformed"       // the answer breaks HTTP, JSON, JSON-RPC or MCP
	Redirect       Kind = "redirect"        // the upstream answered with a redirect; none is followed
	BlockedAddress Kind = "blocked_address" // the name leads where the gateway must not go
	Status         Kind = "status"          // an HTTP error without a JSON-RPC answer
	CircuitOpen    Kind = "circuit_open"    // too many failures lately; not tried
	Busy           Kind = "busy"            // no connection was free in time
	Invalid        Kind = "invalid"         // the request cannot be sent as it is; not tried
	Unproved       Kind = "no_credential"   // the gateway has no credential that the server takes
)

// Error is the one error type of this package's exchanges. Its text never
// holds credentials, addresses learned from DNS, or bytes an upstream sent.
type Error struct {
	Kind     Kind
	Upstream string // the server's name
	Detail   string
	// Code is the HTTP status for Status and Redirect, else 0.
	Code int
	// Sent tells that the request may have reached the upstream, so that it may
	// have taken effect.
	Sent bool
	err  error // the caller's context error, for errors.Is
	// gaveUp tells that we ended an exchange the upstream still works on.
	gaveUp bool
	// challenges are the WWW-Authenticate headers of a 401 or 403.
	challenges []string
	// brokeOff tells that a stream of events ended in its middle.
	brokeOff bool
}

func (e *Error) Error() string {
	return "upstream " + e.Upstream + ": " + string(e.Kind) + ": " + e.Detail
}

// Unwrap returns the context's error when that is what ended the exchange.
func (e *Error) Unwrap() error { return e.err }

// fault makes an Error without an upstream; whoever knows the name adds it.
func fault(kind Kind, detail string) *Error { return &Error{Kind: kind, Detail: detail} }

// named fills in the name and whether the request was sent.
func (e *Error) named(upstream string, sent bool) *Error {
	e.Upstream, e.Sent = upstream, e.Sent || sent
	return e
}

// canceled reports that ctx ended.
func canceled(ctx context.Context) *Error {
	err := ctx.Err()
	detail := "canceled by the caller"
	if errors.Is(err, context.DeadlineExceeded) {
		detail = "the caller's deadline passed"
	}
	return &Error{Kind: Canceled, Detail: detail, err: err}
}
