package intent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// A token is a compact JWS (RFC 7515) with exactly the header members alg, kid and typ, and exactly
// the claims of Claims. Unknown members are refused on purpose: a later version may restrict with a
// claim that an older reader would pass over.
const (
	tokenType = "intent+jwt"
	tokenAlg  = "EdDSA"
	maxToken  = 4096 // bytes; a token of ours has about 1,000, and servers bound headers near 16 KiB
	maxText   = 512  // bytes of any claim
)

// Signer mints tokens and deltas with one key.
type Signer struct {
	Issuer, KeyID string
	Key           ed25519.PrivateKey
}

// Mint returns the compact JWS of c. The issuer is the signer's own, whatever c says.
func (s Signer) Mint(c Claims) (string, error) {
	c.Issuer = s.Issuer
	if err := s.check(); err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	if err := c.check(); err != nil {
		return "", err
	}
	out := s.sign(make([]byte, 0, 1024), tokenType, c.appendJSON(nil))
	if len(out) > maxToken {
		return "", refuse(TokenMalformed, "token would be longer than 4096 bytes", "use shorter ids, or cover fewer steps")
	}
	return string(out), nil
}

// check refuses a signer that cannot sign.
func (s *Signer) check() error {
	if len(s.Key) != ed25519.PrivateKeySize {
		return errors.New("signing key is not an Ed25519 private key")
	}
	if !validName(s.KeyID, maxName) {
		return errors.New("signing key has no usable id")
	}
	return nil
}

// sign appends the compact JWS of a type to dst, which is empty.
func (s *Signer) sign(dst []byte, typ string, body []byte) []byte {
	head := append(appendField([]byte(`{"alg":"`+tokenAlg+`"`), ",kid", s.KeyID), `,"typ":"`+typ+`"}`...)
	out := base64.RawURLEncoding.AppendEncode(dst, head)
	out = base64.RawURLEncoding.AppendEncode(append(out, '.'), body)
	sig := ed25519.Sign(s.Key, out)
	return base64.RawURLEncoding.AppendEncode(append(out, '.'), sig)
}

// Token is a token whose signature and issuer were verified. It is valid for the Verifier that made
// it, which checks time and revocation again at each use.
type Token struct {
	claims Claims
	by     *Verifier
	pinned *keySet                   // snapshot the key was found in
	keyEnd int64                     // unix seconds, 0 = none
	epoch  atomic.Uint64             // revocations seen
	raw    []byte                    // as shown, own copy; nil when re-anchored
	policy string                    // claims.PolicyDigest in hex, spelt once
	way    *anchoring                // how it came to its plan, nil when it was issued for it
	ahead  atomic.Pointer[anchoring] // where it was led last, so that asking again costs nothing
}

// Claims returns a copy of what the token says.
func (t *Token) Claims() Claims { return t.claims.clone() }

// ID returns the token's jti.
func (t *Token) ID() string { return t.claims.ID }

// PlanID returns the id of the token's plan.
func (t *Token) PlanID() string { return t.claims.PlanID }

// PlanRoot returns the root under which the plan is held.
func (t *Token) PlanRoot() merkle.Hash { return t.claims.PlanRoot }

// Thumbprint returns the thumbprint of the key whose holder may show the token, "" when it was issued to
// a credential.
func (t *Token) Thumbprint() string { return t.claims.Thumbprint }

// Alone tells whether the token may be shown as the only credential.
func (t *Token) Alone() bool { return t.claims.Alone }

// tokenBuffers are the decoded parts of one token while it is read.
type tokenBuffers struct {
	head, body, sig []byte
}

var tokenPool = sync.Pool{New: func() any {
	return &tokenBuffers{head: make([]byte, 0, 256), body: make([]byte, 0, 1024), sig: make([]byte, 0, 96)}
}}

// open splits and decodes raw, of at most limit bytes, into its three parts and returns what was signed.
func (b *tokenBuffers) open(raw []byte, limit int) (signed []byte, err error) {
	first, last := bytes.IndexByte(raw, '.'), bytes.LastIndexByte(raw, '.')
	if len(raw) > limit || first < 0 || first == last {
		return nil, refuse(TokenMalformed, "not three parts of together at most "+strconv.Itoa(limit)+" bytes", "send the compact form: header.claims.signature")
	}
	var ok [3]bool
	b.head, ok[0] = decodeBase64(b.head[:0], raw[:first])
	b.body, ok[1] = decodeBase64(b.body[:0], raw[first+1:last])
	b.sig, ok[2] = decodeBase64(b.sig[:0], raw[last+1:])
	if !ok[0] || !ok[1] || !ok[2] {
		return nil, refuse(TokenMalformed, "a part is not base64url without padding", "")
	}
	limits := canon.Limits{Bytes: limit, Depth: 2, Values: limit}
	if canon.Check(b.head, limits) != nil || canon.Check(b.body, limits) != nil {
		return nil, refuse(TokenMalformed, "header or claims are not strict JSON", "names stand once, numbers are plain, nothing follows the object")
	}
	return raw[:last], nil
}

// readHeader checks alg, which is fixed, and typ, which is to be want, and returns the key id. crit is refused like every
// other member: no extension is understood here, and none of jwk, jku or x5c is ever followed.
func readHeader(head []byte, want string) (kid string, err error) {
	var typ, alg string
	err = canon.Each(head, func(key, v []byte) error {
		switch string(key) {
		case "typ":
			return readText(&typ, v, "", maxName)
		case "alg":
			return readText(&alg, v, "", maxName)
		case "kid":
			return readText(&kid, v, "", maxName)
		}
		return errClaim
	})
	switch {
	case err != nil:
		return "", refuse(TokenMalformed, "header is not {alg, kid, typ}", "extensions (crit) and keys inside the token are not accepted")
	case alg != tokenAlg:
		return "", refuse(TokenAlg, "alg is not "+tokenAlg, "")
	case typ != want:
		return "", refuse(TokenType, "typ is not "+want, "this may be a token for another purpose")
	case kid == "":
		return "", refuse(TokenMalformed, "header names no key", "")
	}
	return kid, nil
}
