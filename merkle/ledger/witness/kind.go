package witness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// errUnknownLog is a witness that was not told of the log.
var errUnknownLog = errors.New("it does not know the log (404)")

// statusError is an answer that the protocol has no meaning for.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// Kind says what sort of failure a Client's error is, in a few words that hold no address and nothing that the witness
// said: for those who may not see the error. Empty for nil.
func Kind(err error) string {
	status, answered := errors.AsType[statusError](err)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrBehind):
		return "it has seen a longer log"
	case errors.Is(err, ErrInconsistent):
		return "it has seen another history (422)"
	case errors.Is(err, errUnknownLog):
		return "it does not know the log (404)"
	case answered && status == http.StatusForbidden:
		return "it knows the log under another key (403)"
	case answered && status == http.StatusTooManyRequests:
		return "it is asked too often (429)"
	case answered:
		return "it refused: " + status.Error()
	case errors.Is(err, ErrAnswer), errors.Is(err, ErrRefused):
		return "its answer is not valid"
	}
	return unreached(err)
}

// unreached says why nobody answered.
func unreached(err error) string {
	timeout, isNet := errors.AsType[net.Error](err)
	_, dns := errors.AsType[*net.DNSError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, asked := errors.AsType[*url.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return "it did not answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refused the connection"
	case dns:
		return "its name cannot be resolved"
	case cert:
		return "its certificate is not trusted"
	case asked:
		return "it cannot be reached"
	}
	return "this gateway could not ask it"
}
