package gatewright

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Version is this client's version, sent to the gateway.
const Version = "0.1.0"

// ErrUnreachable is under every error where no answer came: no connection, a failed handshake, a timeout.
var ErrUnreachable = errors.New("gateway cannot be reached")

// ErrUntrusted is under those of them where somebody answered whose certificate no trusted authority vouches for.
var ErrUntrusted = errors.New("its certificate is not trusted")

// ErrAnswer is under every error where what came is no answer of a gateway: not strict JSON, too large, a
// redirect, a page of something else. The request may have had its effect.
var ErrAnswer = errors.New("answer is not a gateway's")

// Error is a refusal, or a failure of the server behind the gateway. Its text holds no key and no token.
type Error struct {
	Code       string        // reason from the gateway's closed list: "args_mismatch", "policy_denied", ...
	Message    string        // what was refused
	Hint       string        // what to do about it; may be empty
	Record     string        // id of the ledger record (rec_...); empty when there is none
	Receipt    string        // receipt of that record; may be empty
	Salt       string        // opens the digest of the arguments in the record, see Verified.CoversArguments
	Status     int           // HTTP status
	RPC        int           // JSON-RPC code of an MCP answer, 0 otherwise
	RetryAfter time.Duration // when the gateway asks to wait
}

// UpstreamError is the Code of an error that the server behind the gateway gave for itself.
const UpstreamError = "upstream_error"

func (e *Error) Error() string {
	text := e.Message
	if e.Code != "" {
		text = e.Code + ": " + text
	}
	if e.Record != "" {
		text += " (" + e.Record + ")"
	}
	return text
}

// refusalBody is the gateway's error object: {"code","message","hint","record"} on the data port, RFC 9457
// with the same extra members on the control port.
type refusalBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
	Hint    string `json:"hint"`
	Record  string `json:"record"`
	Fields  []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"fields"`
}

// refusal reads an answer that is not a success.
func (e *endpoint) refusal(r *reply) error {
	var b refusalBody
	if err := r.decode(&b); err != nil || b.Code == "" {
		return fmt.Errorf("%w: HTTP %d without a reason code", ErrAnswer, r.status)
	}
	text := b.Message
	if text == "" {
		text = b.Detail
	}
	for _, f := range b.Fields {
		text += fmt.Sprintf("; %s: %s", f.Location, f.Message)
	}
	return e.newError(r, Error{Code: b.Code, Message: text, Hint: b.Hint, Record: b.Record})
}

// rpcError is a JSON-RPC error object; data is ours when it has a reason.
type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (e *endpoint) rpcRefusal(r *reply, in *rpcError) error {
	var data struct {
		Reason  string `json:"reason"`
		Hint    string `json:"hint"`
		Record  string `json:"record"`
		Receipt string `json:"gatewright/receipt"`
	}
	if json.Unmarshal(in.Data, &data) != nil || data.Reason == "" {
		data.Reason, data.Hint = UpstreamError, ""
	}
	text := in.Message
	if i := strings.LastIndex(text, " ["+data.Reason); i > 0 { // reason, record and hint stand in the text too, for clients that show nothing else
		text = text[:i]
	}
	return e.newError(r, Error{Code: data.Reason, Message: text, Hint: data.Hint, Record: data.Record, Receipt: data.Receipt, RPC: in.Code})
}

// newError completes an error from the answer's headers and makes its texts fit for a terminal or a log.
func (e *endpoint) newError(r *reply, err Error) error {
	if err.Record == "" {
		err.Record = r.header.Get("Gatewright-Record")
	}
	if err.Receipt == "" {
		err.Receipt = r.header.Get("Gatewright-Receipt")
	}
	err.Salt = clean(r.header.Get("Gatewright-Salt"))
	err.Code, err.Record = clean(e.redact(err.Code)), clean(e.redact(err.Record))
	err.Message, err.Hint = clean(e.redact(err.Message)), clean(e.redact(err.Hint))
	err.Status = r.status
	if s, convErr := strconv.Atoi(r.header.Get("Retry-After")); convErr == nil && (r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable) {
		err.RetryAfter = waits(s)
	}
	return &err
}

// waits is how long a gateway asks to wait, in seconds, within reason.
func waits(seconds int) time.Duration {
	return time.Duration(min(max(seconds, 0), 86400)) * time.Second
}

// clean bounds text that came from outside and takes out what could move a cursor or forge a log line.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
}
