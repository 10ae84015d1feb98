// Package jws opens compact JSON Web Signatures (RFC 7515) strictly, and reads the keys they are checked with.
//
// What two readers could understand differently is refused before anything is believed: another number of parts, base64
// that is not in its one spelling, JSON with equal keys, and every header that would bring a key of its own or change
// what is signed. The algorithm and the key are the caller's; a header only has to agree with them.
package jws

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Algorithm is how a message is signed.
type Algorithm string

// The algorithms there are. One that is not here, "none" above all, verifies nothing.
const (
	EdDSA Algorithm = "EdDSA"
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
	HS256 Algorithm = "HS256"
)

// Known tells whether it is one of the five.
func (a Algorithm) Known() bool { return a.Public() || a == HS256 }

// Public tells whether it signs with a key that its verifiers cannot sign with.
func (a Algorithm) Public() bool { return slices.Contains([]Algorithm{EdDSA, ES256, RS256, PS256}, a) }

// Errors of a message.
var (
	ErrMalformed = errors.New("not a strict compact JWS")
	ErrAlgorithm = errors.New("signed with another algorithm")
	ErrSignature = errors.New("signature does not verify")
)

// Bounds of a header: real ones have four members and below 300 bytes.
const (
	maxHeader       = 2 << 10
	maxHeaderValues = 64
	maxDepth        = 16   // of a payload; claims seen nest four deep
	maxValues       = 4096 // of a payload: a token with all of a person's groups has some hundred
)

// forbidden are the header members that bring a key, point to one, or change what the rest means.
var forbidden = []string{"b64", "crit", "cty", "enc", "jku", "x5c", "x5u", "zip"}

// Message is an opened JWS. Nothing in it is to be believed until Verify returned nil; header and payload are JSON objects
// that canon.Check accepted.
type Message struct {
	header, payload []byte
	text            string
}

// Open reads the form of a message of at most most bytes. Its errors are ErrMalformed and quote nothing of it.
func Open(raw []byte, most int) (*Message, error) {
	if len(raw) > most {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, most)
	}
	parts := strings.Split(string(raw), ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: %d parts", ErrMalformed, len(parts))
	}
	header, err := object(parts[0], canon.Limits{Bytes: maxHeader, Depth: 4, Values: maxHeaderValues})
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	payload, err := object(parts[1], canon.Limits{Bytes: most, Depth: maxDepth, Values: maxValues})
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if sig, ok := decode(parts[2]); !ok || len(sig) == 0 {
		return nil, fmt.Errorf("signature: %w", ErrMalformed)
	}
	for _, name := range forbidden {
		if _, ok := canon.Get(header, name); ok {
			return nil, fmt.Errorf("%w: header has %s", ErrMalformed, name)
		}
	}
	return &Message{header, payload, string(raw)}, nil
}

// Header is the protected header. It must not be changed.
func (m *Message) Header() []byte { return m.header }

// Payload is what was signed. It must not be changed.
func (m *Message) Payload() []byte { return m.payload }

// Verify checks the signature: an ed25519.PublicKey, *ecdsa.PublicKey, *rsa.PublicKey or, for HS256, the secret's bytes.
func (m *Message) Verify(alg Algorithm, key any) error {
	if !alg.Known() {
		return ErrAlgorithm
	}
	if said, _ := Text(m.header, "alg"); said != string(alg) {
		return ErrAlgorithm
	}
	signed, err := jose.ParseSignedCompact(m.text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return ErrMalformed
	}
	if _, err := signed.Verify(key); err != nil {
		return ErrSignature
	}
	return nil
}

// Text reads a member that is a string.
func Text(object []byte, name string) (string, bool) {
	raw, ok := canon.Get(object, name)
	if !ok || canon.KindOf(raw) != '"' {
		return "", false
	}
	text, err := canon.Unquote(raw)
	return text, err == nil
}

func object(part string, l canon.Limits) ([]byte, error) {
	b, ok := decode(part)
	if !ok || canon.KindOf(b) != '{' || canon.Check(b, l) != nil {
		return nil, ErrMalformed
	}
	return b, nil
}

// decode takes the one spelling of base64url without padding. The library's decoder passes over line ends, so they are
// looked for first.
func decode(part string) ([]byte, bool) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return b, err == nil
}
