package pipeline

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// ErrSealed says that what lies beside a record does not open under this key.
var ErrSealed = errors.New("what is sealed beside the record does not open")

// SubjectOf is whose key the bytes beside a record are sealed under: the person the call was made for, or else the agent.
func SubjectOf(r *ledger.Record) string {
	if r.User != "" {
		return r.User
	}
	return r.Agent
}

// Unseal opens what sealAsk put beside a record: the call's arguments and the question that policy answered, canonical
// JSON. Both are the caller's to drop. Whether the record commits to them is for the caller to check.
func Unseal(aead cipher.AEAD, r *ledger.Record) (args, ask []byte, err error) {
	args, ask, _, err = UnsealInto(nil, aead, r)
	return args, ask, err
}

// UnsealInto is Unseal for who opens many: it writes over buf, which may be nil, and returns the buffer for the next time.
// Args and ask lie in it.
func UnsealInto(buf []byte, aead cipher.AEAD, r *ledger.Record) (args, ask, next []byte, err error) {
	n := aead.NonceSize()
	if len(r.Side) < n {
		return nil, nil, buf, ErrSealed
	}
	plain, err := aead.Open(buf[:0], r.Side[:n], r.Side[n:], []byte(r.ID))
	if err != nil {
		return nil, nil, buf, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	if len(plain) < 4 || uint64(binary.BigEndian.Uint32(plain)) > uint64(len(plain)-4) {
		return nil, nil, plain, fmt.Errorf("%w: its lengths do not fit", ErrSealed)
	}
	args, ask = plain[4:4+binary.BigEndian.Uint32(plain)], plain[4+binary.BigEndian.Uint32(plain):]
	return args, ask, plain, nil
}
