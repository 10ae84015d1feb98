package intent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"math"
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

// Claims is what a token says. All are required; times are unix seconds.
type Claims struct {
	Issuer       string      // iss
	Subject      string      // sub, the user
	Audience     string      // aud, one string
	ID           string      // jti
	Tenant       string      // tenant
	Agent        string      // agent
	KeyID        string      // cnf.kid, the credential that asked for the token and alone may show it
	PlanID       string      // plan_id
	PlanNonce    string      // plan_nonce, ties leaves shown with a proof to the plan
	PlanHash     merkle.Hash // plan_hash
	PlanRoot     merkle.Hash // plan_root
	PolicyDigest merkle.Hash // policy, the bundle in force at issue; recorded, never enforced here
	PlanSize     uint32      // plan_size
	IssuedAt     int64       // iat
	NotBefore    int64       // nbf
	Expires      int64       // exp
	PlanExpires  int64       // plan_exp
}

// Signer mints tokens with one key.
type Signer struct {
	Issuer, KeyID string
	Key           ed25519.PrivateKey
}

// Mint returns the compact JWS of c. The issuer is the signer's own, whatever c says.
func (s Signer) Mint(c Claims) (string, error) {
	c.Issuer = s.Issuer
	if len(s.Key) != ed25519.PrivateKeySize {
		return "", errors.New("mint token: signing key is not an Ed25519 private key")
	}
	if !validName(s.KeyID, maxName) {
		return "", errors.New("mint token: signing key has no usable id")
	}
	if err := c.check(); err != nil {
		return "", err
	}
	head := append(appendField([]byte(`{"alg":"`+tokenAlg+`"`), ",kid", s.KeyID), `,"typ":"`+tokenType+`"}`...)
	out := base64.RawURLEncoding.AppendEncode(make([]byte, 0, 1024), head)
	out = base64.RawURLEncoding.AppendEncode(append(out, '.'), c.appendJSON(nil))
	sig := ed25519.Sign(s.Key, out)
	out = base64.RawURLEncoding.AppendEncode(append(out, '.'), sig)
	if len(out) > maxToken {
		return "", refuse(TokenMalformed, "token would be longer than 4096 bytes", "use shorter ids")
	}
	return string(out), nil
}

// appendJSON writes the claims in canonical order.
func (c *Claims) appendJSON(dst []byte) []byte {
	number := func(key string, n int64) {
		dst = strconv.AppendInt(append(dst, key...), n, 10)
	}
	dst = appendField(append(dst, '{'), "agent", c.Agent)
	dst = appendField(dst, ",aud", c.Audience)
	dst = append(appendField(append(dst, `,"cnf":{`...), "kid", c.KeyID), '}')
	number(`,"exp":`, c.Expires)
	number(`,"iat":`, c.IssuedAt)
	dst = appendField(dst, ",iss", c.Issuer)
	dst = appendField(dst, ",jti", c.ID)
	number(`,"nbf":`, c.NotBefore)
	number(`,"plan_exp":`, c.PlanExpires)
	dst = appendField(dst, ",plan_hash", c.PlanHash.String())
	dst = appendField(dst, ",plan_id", c.PlanID)
	dst = appendField(dst, ",plan_nonce", c.PlanNonce)
	dst = appendField(dst, ",plan_root", c.PlanRoot.String())
	number(`,"plan_size":`, int64(c.PlanSize))
	dst = appendField(dst, ",policy", c.PolicyDigest.String())
	dst = appendField(dst, ",sub", c.Subject)
	return append(appendField(dst, ",tenant", c.Tenant), '}')
}

// check refuses claims that no token may carry, whoever signs it.
func (c *Claims) check() error {
	for _, s := range [...]string{c.Issuer, c.Subject, c.Audience, c.ID, c.Tenant, c.Agent, c.KeyID, c.PlanID, c.PlanNonce} {
		if !validName(s, maxText) {
			return refuse(TokenMalformed, "a text claim is empty, longer than 512 bytes or holds control characters", "")
		}
	}
	switch {
	case c.PlanSize == 0 || c.PlanSize > MaxSteps:
		return refuse(TokenMalformed, "plan_size is not 1 to 65536", "")
	case c.PlanRoot.IsZero() || c.PlanHash.IsZero():
		return refuse(TokenMalformed, "plan_root or plan_hash is zero", "")
	case c.IssuedAt <= 0 || c.NotBefore <= 0 || c.Expires > 1<<40:
		return refuse(TokenMalformed, "a time is out of range", "")
	case c.Expires <= c.IssuedAt || c.Expires <= c.NotBefore:
		return refuse(TokenLifetime, "token expires before it is valid", "")
	case c.Expires > c.PlanExpires:
		return refuse(TokenLifetime, "token outlives its plan", "")
	}
	return nil
}

// Token is a token whose signature and issuer were verified. It is valid for the Verifier that made
// it, which checks time and revocation again at each use.
type Token struct {
	claims Claims
	by     *Verifier
	pinned *keySet       // snapshot the key was found in
	keyEnd int64         // unix seconds, 0 = none
	epoch  atomic.Uint64 // revocations seen
	raw    []byte        // as shown, own copy
	policy string        // claims.PolicyDigest in hex, spelt once
}

// Claims returns a copy of what the token says.
func (t *Token) Claims() Claims { return t.claims }

// ID returns the token's jti.
func (t *Token) ID() string { return t.claims.ID }

// PlanID returns the id of the token's plan.
func (t *Token) PlanID() string { return t.claims.PlanID }

// PlanRoot returns the root under which the plan is held.
func (t *Token) PlanRoot() merkle.Hash { return t.claims.PlanRoot }

// tokenBuffers are the decoded parts of one token while it is read.
type tokenBuffers struct {
	head, body, sig []byte
}

var tokenPool = sync.Pool{New: func() any {
	return &tokenBuffers{head: make([]byte, 0, 256), body: make([]byte, 0, 1024), sig: make([]byte, 0, 96)}
}}

// open splits and decodes raw into its three parts and returns what was signed.
func (b *tokenBuffers) open(raw []byte) (signed []byte, err error) {
	first, last := bytes.IndexByte(raw, '.'), bytes.LastIndexByte(raw, '.')
	if len(raw) > maxToken || first < 0 || first == last {
		return nil, refuse(TokenMalformed, "token is not three parts of together at most 4096 bytes", "send the compact form: header.claims.signature")
	}
	var ok [3]bool
	b.head, ok[0] = decodeBase64(b.head[:0], raw[:first])
	b.body, ok[1] = decodeBase64(b.body[:0], raw[first+1:last])
	b.sig, ok[2] = decodeBase64(b.sig[:0], raw[last+1:])
	if !ok[0] || !ok[1] || !ok[2] {
		return nil, refuse(TokenMalformed, "a part is not base64url without padding", "")
	}
	limits := canon.Limits{Bytes: maxToken, Depth: 2, Values: 32}
	if canon.Check(b.head, limits) != nil || canon.Check(b.body, limits) != nil {
		return nil, refuse(TokenMalformed, "header or claims are not strict JSON", "names stand once, numbers are plain, nothing follows the object")
	}
	return raw[:last], nil
}

// readHeader checks typ and alg, which are fixed, and returns the key id. crit is refused like every
// other member: no extension is understood here, and none of jwk, jku or x5c is ever followed.
func readHeader(head []byte) (kid string, err error) {
	var typ, alg string
	err = members(head, "", func(key string, v []byte, at string) error {
		switch key {
		case "typ":
			return readText(&typ, v, at, maxName)
		case "alg":
			return readText(&alg, v, at, maxName)
		case "kid":
			return readText(&kid, v, at, maxName)
		}
		return invalid(at, "unknown header member", "")
	})
	switch {
	case err != nil:
		return "", refuse(TokenMalformed, "header is not {alg, kid, typ}", "extensions (crit) and keys inside the token are not accepted")
	case alg != tokenAlg:
		return "", refuse(TokenAlg, "alg is not "+tokenAlg, "")
	case typ != tokenType:
		return "", refuse(TokenType, "typ is not "+tokenType, "this may be a token for another purpose")
	case kid == "":
		return "", refuse(TokenMalformed, "header names no key", "")
	}
	return kid, nil
}

// claimReader collects the texts of a token in one buffer, so that they cost one allocation.
type claimReader struct {
	claims Claims
	seen   uint32
	buf    [maxToken]byte
	used   int
	texts  [9]struct {
		dst      *string
		from, to int
	}
	count int
}

var claimPool = sync.Pool{New: func() any { return new(claimReader) }}

// claimNames lists every claim; each must stand exactly once.
var claimNames = [...]string{
	"agent", "aud", "cnf", "exp", "iat", "iss", "jti", "nbf", "plan_exp", "plan_hash", "plan_id", "plan_nonce",
	"plan_root", "plan_size", "policy", "sub", "tenant",
}

// readClaims reads checked JSON. It believes nothing yet: the signature comes after, because the
// issuer among the claims says which key to ask.
func readClaims(body []byte) (Claims, error) {
	r := claimPool.Get().(*claimReader)
	defer claimPool.Put(r)
	r.claims, r.seen, r.used, r.count = Claims{}, 0, 0, 0
	malformed := refuse(TokenMalformed, "a claim is missing, unknown or of the wrong type", "")
	if canon.KindOf(body) != '{' || canon.Each(body, r.claim) != nil || r.seen != 1<<len(claimNames)-1 {
		return Claims{}, malformed
	}
	all := string(r.buf[:r.used])
	for _, t := range r.texts[:r.count] {
		*t.dst = all[t.from:t.to]
	}
	return r.claims, nil
}

var errClaim = refuse(TokenMalformed, "claim is unknown or of the wrong type", "")

func (r *claimReader) claim(key, v []byte) error {
	c := &r.claims
	ok := false
	switch string(key) {
	case "agent":
		ok = r.text(&c.Agent, v, 0)
	case "aud":
		ok = r.text(&c.Audience, v, 1)
	case "cnf":
		ok = r.confirmation(v)
	case "exp":
		ok = r.number(&c.Expires, v, 3)
	case "iat":
		ok = r.number(&c.IssuedAt, v, 4)
	case "iss":
		ok = r.text(&c.Issuer, v, 5)
	case "jti":
		ok = r.text(&c.ID, v, 6)
	case "nbf":
		ok = r.number(&c.NotBefore, v, 7)
	case "plan_exp":
		ok = r.number(&c.PlanExpires, v, 8)
	case "plan_hash":
		ok = r.hash(&c.PlanHash, v, 9)
	case "plan_id":
		ok = r.text(&c.PlanID, v, 10)
	case "plan_nonce":
		ok = r.text(&c.PlanNonce, v, 11)
	case "plan_root":
		ok = r.hash(&c.PlanRoot, v, 12)
	case "plan_size":
		var n int64
		ok = r.number(&n, v, 13) && n <= math.MaxUint32
		c.PlanSize = uint32(n) //nolint:gosec // bounded by the line before
	case "policy":
		ok = r.hash(&c.PolicyDigest, v, 14)
	case "sub":
		ok = r.text(&c.Subject, v, 15)
	case "tenant":
		ok = r.text(&c.Tenant, v, 16)
	}
	if !ok {
		return errClaim
	}
	return nil
}

// text notes a string claim; its bytes are decoded when they hold escapes.
func (r *claimReader) text(dst *string, raw []byte, bit int) bool {
	if canon.KindOf(raw) != '"' || r.count == len(r.texts) {
		return false
	}
	n := 0
	if s := raw[1 : len(raw)-1]; bytes.IndexByte(s, '\\') < 0 {
		n = copy(r.buf[r.used:], s)
	} else if decoded, err := canon.Unquote(raw); err == nil {
		n = copy(r.buf[r.used:], decoded)
	}
	t := &r.texts[r.count]
	t.dst, t.from, t.to = dst, r.used, r.used+n
	r.used += n
	r.count++
	r.seen |= 1 << bit
	return true
}

func (r *claimReader) number(dst *int64, raw []byte, bit int) bool {
	n, ok := plainInt(raw)
	*dst = n
	r.seen |= 1 << bit
	return ok
}

func (r *claimReader) hash(dst *merkle.Hash, raw []byte, bit int) bool {
	r.seen |= 1 << bit
	return canon.KindOf(raw) == '"' && dst.UnmarshalText(raw[1:len(raw)-1]) == nil
}

// confirmation reads {"kid": ...}, the only confirmation method there is so far (RFC 7800).
func (r *claimReader) confirmation(raw []byte) bool {
	n, kid := 0, []byte(nil)
	if canon.KindOf(raw) != '{' {
		return false
	}
	err := canon.Each(raw, func(key, v []byte) error {
		n++
		if string(key) == "kid" {
			kid = v
		}
		return nil
	})
	return err == nil && n == 1 && kid != nil && r.text(&r.claims.KeyID, kid, 2)
}
