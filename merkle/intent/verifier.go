package intent

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// VerifierConfig says whose tokens are believed, for whom, and for how long.
type VerifierConfig struct {
	// Audience is the one aud accepted: this installation's name. Empty refuses every token.
	Audience string
	// Keys are the pinned issuers. nil refuses every token.
	Keys *Keys
	// CacheEntries bounds the verified tokens remembered, about 2.5 KiB each; 0 verifies every time,
	// at some 80 µs. The same number divided by 16 bounds remembered refusals and parsed leaves.
	CacheEntries int
	// Leeway is how far an issuer's clock may run ahead of ours: nbf and iat up to so much in the
	// future pass. Expiry has no leeway.
	Leeway time.Duration
	// MaxLifetime bounds exp - iat, whoever signed. Zero refuses every token.
	MaxLifetime time.Duration
}

// Verifier turns tokens into Grants. It is safe for concurrent use; its memory is bounded by its
// configuration and by the number of revocations that still matter.
type Verifier struct {
	audience string
	keys     *Keys
	leeway   int64 // seconds
	lifetime int64 // seconds
	tokens   *cache[Token]
	refused  *cache[refusal]
	leaves   *cache[Leaf]
	revoked  revocations
	seed     maphash.Seed
}

// refusal remembers why a token can never pass under one set of pinned keys.
type refusal struct {
	err    *Error
	pinned *keySet
}

// NewVerifier makes a verifier with empty caches.
func NewVerifier(c VerifierConfig) *Verifier {
	if c.Keys == nil {
		c.Keys = NewKeys()
	}
	return &Verifier{
		seed:     maphash.MakeSeed(),
		audience: c.Audience, keys: c.Keys,
		leeway: int64(c.Leeway / time.Second), lifetime: int64(c.MaxLifetime / time.Second),
		tokens: newCache[Token](c.CacheEntries), refused: newCache[refusal](c.CacheEntries / 16), leaves: newCache[Leaf](c.CacheEntries / 16),
		revoked: revocations{tokens: map[string]int64{}, plans: map[merkle.Hash]int64{}},
	}
}

// Token verifies a compact JWS: strict form, fixed algorithm, pinned issuer and key, signature,
// audience, times, revocation. A token seen before costs a hash and a comparison of its bytes; time,
// pinned keys and revocation are looked at every time. raw is not kept.
func (v *Verifier) Token(raw []byte, now time.Time) (*Token, error) {
	pinned, at := v.keys.snapshot.Load(), now.Unix()
	if t := v.tokens.get(raw); t != nil && t.pinned == pinned {
		if err := t.current(at); err != nil {
			return nil, err
		}
		return t, nil
	}
	if r := v.refused.get(raw); r != nil && r.pinned == pinned {
		return nil, r.err
	}
	t, err := v.read(raw, pinned)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && len(raw) <= maxToken {
			v.refused.put(bytes.Clone(raw), &refusal{err: e, pinned: pinned})
		}
		return nil, err
	}
	v.revoked.prune(at)
	t.epoch.Store(v.revoked.epoch.Load() - 1) // makes current look
	v.tokens.put(t.raw, t)                    // expired ones too: saying so again should cost no signature check
	if err := t.current(at); err != nil {
		return nil, err
	}
	return t, nil
}

// read does all that depends only on the token and the pinned keys.
func (v *Verifier) read(raw []byte, pinned *keySet) (*Token, error) {
	b := tokenPool.Get().(*tokenBuffers)
	defer tokenPool.Put(b)
	signed, err := b.open(raw, maxToken)
	if err != nil {
		return nil, err
	}
	kid, err := readHeader(b.head, tokenType)
	if err != nil {
		return nil, err
	}
	c, err := readClaims(b.body)
	if err != nil {
		return nil, err
	}
	key, err := pinned.find(c.Issuer, kid)
	if err != nil {
		return nil, err
	}
	if !verifySignature(key.key, signed, b.sig) {
		return nil, errSignature()
	}
	if err := v.judge(&c); err != nil {
		return nil, err
	}
	return &Token{claims: c, by: v, pinned: pinned, keyEnd: key.notAfter, raw: bytes.Clone(raw), policy: c.PolicyDigest.String()}, nil
}

// find returns the key an issuer may sign with.
func (s *keySet) find(issuer, kid string) (pinnedKey, error) {
	ids, ok := s.issuers[issuer]
	if !ok {
		return pinnedKey{}, refuse(TokenIssuer, "issuer is not pinned", "")
	}
	key, ok := ids[kid]
	if !ok {
		return pinnedKey{}, refuse(TokenKey, "the issuer has no such key", "it may have been rotated out; ask for a new token")
	}
	return key, nil
}

func errSignature() error {
	return refuse(TokenSignature, "signature is not of the pinned key", "")
}

// verifySignature has the verdicts of crypto/ed25519 and no panic for odd lengths.
func verifySignature(key ed25519.PublicKey, msg, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize && ed25519.Verify(key, msg, sig)
}

// judge looks at what the signed claims say regardless of time.
func (v *Verifier) judge(c *Claims) error {
	if err := c.check(); err != nil {
		return err
	}
	if v.audience == "" || c.Audience != v.audience {
		return refuse(TokenAudience, "token is for another audience", "")
	}
	if c.Expires-c.IssuedAt > v.lifetime {
		return refuse(TokenLifetime, "token lives longer than this installation allows", "ask for a shorter one")
	}
	return nil
}

// current looks at what may change while a token is remembered; at is in unix seconds.
func (t *Token) current(at int64) error {
	c := &t.claims
	switch {
	case at >= c.Expires:
		return refuse(TokenExpired, "token has expired", "ask for a new one for the same plan")
	case t.keyEnd != 0 && at > t.keyEnd:
		return refuse(TokenKey, "the key that signed this token is past its last day", "ask for a new token")
	case c.NotBefore > at+t.by.leeway || c.IssuedAt > at+t.by.leeway:
		return refuse(TokenNotYet, "token is not valid yet", "clocks may differ")
	}
	if t.epoch.Load() == t.by.revoked.epoch.Load() {
		return nil
	}
	return t.recheck()
}

// recheck looks the token up among the revocations and notes how far it has seen.
func (t *Token) recheck() error {
	r := &t.by.revoked
	epoch := r.epoch.Load() // before the look-up: a revocation in between is looked for again
	if err := r.check(t); err != nil {
		if t.raw != nil {
			t.by.tokens.drop(t.raw)
			t.by.refused.put(t.raw, &refusal{err: err, pinned: t.pinned}) // showing it again costs no signature check
		}
		return err
	}
	t.epoch.Store(epoch)
	return nil
}

// Revoke refuses the token, and all that were derived from it, from now on. until is when it would expire; it is forgotten some time
// after. The zero time is never forgotten.
func (v *Verifier) Revoke(jti string, until time.Time) {
	r := &v.revoked
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[jti] = forgetAt(until)
	r.epoch.Add(1)
}

// RevokePlan refuses every token of the plan, and all that were re-anchored over it, from now on; until is when the plan expires.
func (v *Verifier) RevokePlan(root merkle.Hash, until time.Time) {
	r := &v.revoked
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plans[root] = forgetAt(until)
	r.epoch.Add(1)
}

// revocations are the tokens and plans that are void before their time. epoch rises with each, so
// that a remembered token looks here only after something changed.
type revocations struct {
	mu     sync.RWMutex
	tokens map[string]int64      // guarded by mu; unix seconds to forget at, 0 = never
	plans  map[merkle.Hash]int64 // guarded by mu
	next   int64                 // guarded by mu; next prune
	epoch  atomic.Uint64
}

// Revocations are kept a day past their use, in case the clock is set back; pruning once a minute
// keeps it off most cold verifications.
const (
	revokedMargin = 24 * 60 * 60
	pruneEvery    = 60
)

func forgetAt(until time.Time) int64 {
	if until.IsZero() {
		return 0
	}
	return until.Unix() + revokedMargin
}

func (r *revocations) check(t *Token) *Error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := &t.claims
	if _, ok := r.tokens[c.ID]; ok {
		return refuse(TokenRevoked, "token was revoked", "")
	}
	for _, p := range c.Parents {
		if _, ok := r.tokens[p]; ok {
			return refuse(TokenRevoked, "a token it was derived from was revoked", "")
		}
	}
	if _, ok := r.plans[c.PlanRoot]; ok {
		return refuse(PlanRevoked, "the token's plan was revoked", "")
	}
	for _, d := range t.led() {
		if _, ok := r.plans[d.claims.From.Root]; ok {
			return refuse(PlanRevoked, "a plan the token was re-anchored from was revoked", "")
		}
	}
	return nil
}

func (r *revocations) prune(at int64) {
	r.mu.RLock()
	due := at >= r.next
	r.mu.RUnlock()
	if !due {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = at + pruneEvery
	for k, t := range r.tokens {
		if t != 0 && at > t {
			delete(r.tokens, k)
		}
	}
	for k, t := range r.plans {
		if t != 0 && at > t {
			delete(r.plans, k)
		}
	}
}
