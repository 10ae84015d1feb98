package identity

import (
	"crypto/sha256"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/merkle/canon"
)

// maxJWT bounds a token, in bytes: it has to fit a header, of which servers take 8 KiB.
const maxJWT = 8 << 10

// AuthenticateJWT turns the JWT of a configured login into its Caller, an agent's for the user that the token names, or
// refuses with an error that is ErrUnauthenticated and carries its Reason. Signatures are remembered within bounds; times,
// logins, user and agent are looked at every time.
func (d *Directory) AuthenticateJWT(raw []byte, now time.Time) (Caller, error) {
	set := d.logins.Load()
	if set == nil || len(set.all) == 0 || len(raw) > maxJWT {
		return Caller{}, refusedJWT
	}
	sum := sha256.Sum256(raw)
	v := set.seen.Get(sum)
	if v == nil {
		var refusal *Refusal
		if v, refusal = set.verify(raw); refusal != nil {
			return Caller{}, refusal
		}
		set.seen.Put(sum, v) // expired ones too: saying so again should cost no signature check
	}
	if refusal := v.timely(now); refusal != nil {
		return Caller{}, refusal
	}
	w, refusal := d.visitor(v.by.Tenant, v.by.key, v.user, v.agent, v.last.Load())
	if refusal != nil {
		return Caller{}, refusal
	}
	v.last.Store(w)
	return Caller{w}, nil
}

// verify does all that depends only on the token and the logins.
func (s *logins) verify(raw []byte) (*visit, *Refusal) {
	m, err := jws.Open(raw, maxJWT)
	if err != nil || !plainHeader(m.Header()) {
		return nil, refusedJWT
	}
	by, refusal := s.choose(m.Payload())
	if refusal != nil {
		return nil, refusal
	}
	var key any = by.Secret
	if by.alg != jws.HS256 {
		kid, ok := jws.Text(m.Header(), "kid")
		if key = s.keys[by][kid]; !ok || key == nil {
			return nil, refusedJWTKey
		}
	}
	if err := m.Verify(by.alg, key); err != nil {
		return nil, refusedJWTSignature
	}
	return by.read(m.Payload())
}

// plainHeader wants a token that says to be a JWT or nothing, so that no other signed object passes for one, and that
// brings no key.
func plainHeader(header []byte) bool {
	if _, ok := canon.Get(header, "jwk"); ok {
		return false
	}
	if _, ok := canon.Get(header, "typ"); !ok {
		return true
	}
	typ, ok := jws.Text(header, "typ")
	typ = strings.TrimPrefix(lower(typ), "application/")
	return ok && (typ == "jwt" || typ == "at+jwt")
}

// choose finds the one login of issuer and audience, before anything is believed. A token for two logins is for none: it
// would be anybody's choice which organisation it opens.
func (s *logins) choose(payload []byte) (by *login, refusal *Refusal) {
	iss, ok := jws.Text(payload, "iss")
	if !ok {
		return nil, refusedJWTIssuer
	}
	refusal = refusedJWTIssuer
	for _, l := range s.all {
		if l.Issuer != iss {
			continue
		}
		refusal = refusedJWTAudience
		if !slices.Contains(jws.Texts(payload, "aud"), l.Audience) {
			continue
		}
		if by != nil {
			return nil, refusal
		}
		by = l
	}
	if by == nil {
		return nil, refusal
	}
	return by, nil
}

// visit is a token whose signature was good: what it says.
type visit struct {
	by            *login
	user, agent   string // as the token names them
	exp, nbf, iat int64  // s since 1970
	last          atomic.Pointer[who]
}

// read takes the claims that count.
func (l *login) read(payload []byte) (*visit, *Refusal) {
	v := &visit{by: l, agent: l.Agent}
	var exp, iat bool
	v.exp, exp = jws.Moment(payload, "exp", math.Floor)
	v.iat, iat = jws.Moment(payload, "iat", math.Floor)
	v.nbf = v.iat
	if !exp || !iat {
		return nil, refusedJWTClaims
	}
	if _, there := canon.Get(payload, "nbf"); there {
		nbf, ok := jws.Moment(payload, "nbf", math.Ceil)
		if !ok {
			return nil, refusedJWTClaims
		}
		v.nbf = nbf
	}
	user, ok := jws.Text(payload, l.UserClaim)
	if !ok || user == "" || l.UserClaim == "email" && unverified(payload) {
		return nil, refusedJWTClaims
	}
	v.user = user
	if _, there := canon.Get(payload, l.AgentClaim); there && l.AgentClaim != "" {
		v.agent, _ = jws.Text(payload, l.AgentClaim)
	}
	if v.agent == "" {
		return nil, refusedJWTClaims
	}
	return v, nil
}

// unverified: an issuer that lets people type any email says so here; some write the word true in quotes.
func unverified(payload []byte) bool {
	raw, ok := canon.Get(payload, "email_verified")
	return ok && string(raw) != "true" && string(raw) != `"true"`
}

// timely looks at the clock. Expiry has no leeway.
func (v *visit) timely(now time.Time) *Refusal {
	at, leeway := now.Unix(), int64(v.by.Leeway/time.Second)
	switch {
	case at >= v.exp, at >= v.iat+int64(v.by.MaxAge/time.Second):
		return refusedJWTExpired
	case at+leeway < v.nbf, at+leeway < v.iat:
		return refusedJWTEarly
	}
	return nil
}

// lower folds A to Z only: what Unicode folds beyond that are other people's letters.
func lower(s string) string {
	if !slices.ContainsFunc([]byte(s), func(c byte) bool { return 'A' <= c && c <= 'Z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
