package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Errors of proofs of possession. ErrProofFull is ours to mend, the rest is the caller's fault.
var (
	ErrProof     = errors.New("no valid proof of possession")
	ErrProofSeen = fmt.Errorf("%w: it was shown before", ErrProof)
	ErrProofFull = errors.New("too many proofs of possession are remembered")
)

// Bounds of a proof: real ones have below 600 bytes.
const (
	maxProof   = 2 << 10
	maxProofID = 256
)

// Proofs checks proofs of possession (RFC 9449, DPoP) and remembers them, so that none is good twice. What is remembered
// is shared out between tenants, their agents and the keys that signed: none of them fills it for the others, see seen.
type Proofs struct {
	maxAge time.Duration
	memory seen
}

// NewProofs takes proofs made at most maxAge ago, or ahead by a clock that differs, and remembers at most entries of
// them, some 250 bytes each.
func NewProofs(maxAge time.Duration, entries int) *Proofs {
	return &Proofs{maxAge: maxAge, memory: newSeen(entries)}
}

// Verify checks a proof for a request and the token shown with it, and returns the RFC 7638 thumbprint of the key that
// made it. method and the scheme, host and path of url are compared to the letter; what follows a "?" in url is not
// looked at, and must not be in the proof. It remembers the proofs of strangers too: where the thumbprint is known
// before, VerifyKey is the one to call.
func (p *Proofs) Verify(proof []byte, method, url string, token []byte, now time.Time) (thumbprint string, err error) {
	return p.verify(Caller{}, "", proof, method, url, token, now)
}

// VerifyKey is Verify for a proof that must be of the key with this thumbprint: one of another key costs no signature
// check and is not remembered. Callers it does not know have no share of what is remembered, and only their keys do:
// where somebody was authenticated, VerifyFor is the one to call.
func (p *Proofs) VerifyKey(want string, proof []byte, method, url string, token []byte, now time.Time) error {
	return p.VerifyFor(Caller{}, want, proof, method, url, token, now)
}

// VerifyFor is VerifyKey for a caller that was authenticated, whose tenant and agent remember the proof in their share.
// ErrProofFull says which share is full.
func (p *Proofs) VerifyFor(who Caller, want string, proof []byte, method, url string, token []byte, now time.Time) error {
	if want == "" {
		return fmt.Errorf("%w: no key to prove", ErrProof)
	}
	_, err := p.verify(who, want, proof, method, url, token, now)
	return err
}

func (p *Proofs) verify(who Caller, want string, proof []byte, method, url string, token []byte, now time.Time) (string, error) {
	m, err := jws.Open(proof, maxProof)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrProof, err)
	}
	key, err := proofKey(m.Header())
	if err != nil {
		return "", err
	}
	print := intent.KeyThumbprint(key)
	if print == "" {
		return "", fmt.Errorf("%w: anybody could sign for its key", ErrProof)
	}
	if want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(print)) != 1 {
		return "", fmt.Errorf("%w: of another key", ErrProof)
	}
	id, at, err := p.proves(m.Payload(), method, url, token, now)
	if err != nil {
		return "", err
	}
	if err := m.Verify(jws.EdDSA, key); err != nil {
		return "", fmt.Errorf("%w: %w", ErrProof, err)
	}
	if err := p.memory.remember(who, print, id, at+int64(p.maxAge/time.Second), now); err != nil {
		return "", err
	}
	return print, nil
}

// proofKey reads the header: exactly typ, alg and a public Ed25519 jwk.
func proofKey(header []byte) (ed25519.PublicKey, error) {
	refused := fmt.Errorf("%w: its header is not typ dpop+jwt, alg EdDSA and a public Ed25519 jwk", ErrProof)
	typ, _ := jws.Text(header, "typ")
	alg, _ := jws.Text(header, "alg")
	jwk, ok := canon.Get(header, "jwk")
	if !ok || typ != "dpop+jwt" || alg != string(jws.EdDSA) || !only(header, "typ", "alg", "jwk") || !only(jwk, "kty", "crv", "x", "kid", "alg", "use") {
		return nil, refused
	}
	kty, _ := jws.Text(jwk, "kty")
	crv, _ := jws.Text(jwk, "crv")
	x, _ := jws.Text(jwk, "x")
	if kty != "OKP" || crv != "Ed25519" || len(x) != base64.RawURLEncoding.EncodedLen(ed25519.PublicKeySize) {
		return nil, refused
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(x)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, refused
	}
	return key, nil
}

// proves compares what the proof says with the request, and returns its id and when it was made.
func (p *Proofs) proves(payload []byte, method, url string, token []byte, now time.Time) (id string, at int64, err error) {
	sum := sha256.Sum256(token)
	url, _, _ = strings.Cut(url, "?")
	for _, c := range [...][2]string{{"htm", method}, {"htu", url}, {"ath", base64.RawURLEncoding.EncodeToString(sum[:])}} {
		if said, ok := jws.Text(payload, c[0]); !ok || c[1] == "" || said != c[1] {
			return "", 0, fmt.Errorf("%w: %s is not this request's", ErrProof, c[0])
		}
	}
	id, ok := jws.Text(payload, "jti")
	if !ok || id == "" || len(id) > maxProofID {
		return "", 0, fmt.Errorf("%w: jti must have 1 to %d bytes", ErrProof, maxProofID)
	}
	at, ok = jws.Moment(payload, "iat", math.Floor)
	age := now.Unix() - at
	if most := int64(p.maxAge / time.Second); !ok || age > most || age < -most {
		return "", 0, fmt.Errorf("%w: it was made at another time", ErrProof)
	}
	return id, at, nil
}

// only tells whether an object has no members but these.
func only(object []byte, names ...string) bool {
	err := canon.Each(object, func(key, _ []byte) error {
		if slices.Contains(names, string(key)) {
			return nil
		}
		return canon.ErrShape
	})
	return err == nil
}
