package identity

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/store"
)

// Login is an issuer whose JWTs let people of one organisation act through its agents. What a token may be is fixed here;
// the token only has to agree.
type Login struct {
	Name     string // of the login, in records and key ids as "login:NAME"; [a-z0-9][a-z0-9._-]{0,62}
	Tenant   string // the organisation it opens
	Issuer   string // iss, exactly
	Audience string // one of aud, exactly

	Algorithm string // EdDSA, ES256, RS256 or HS256
	JWKS      []byte // the issuer's public keys (RFC 7517), each with a kid; for all but HS256
	Secret    []byte // for HS256, 32 bytes or more

	// UserClaim names the claim that says who it is: the id or the email of an active user. Default "email". An email
	// that the token calls unverified is nobody's.
	UserClaim string
	// AgentClaim names the claim with the id or the name of the agent. Danger: whoever issues the tokens chooses among
	// all agents of the organisation.
	AgentClaim string
	// Agent is the id or the name of the agent of tokens without that claim; empty refuses them.
	Agent string

	MaxAge time.Duration // how long after iat a token is taken, whatever exp says; 1s to 24h, 0 means 1h
	Leeway time.Duration // how far the issuer's clock may run ahead: nbf and iat; at most 5m. Expiry has none
}

// Format keeps the secret out of logs: every verb prints the name.
func (l Login) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "login "+l.Name) }

// Bounds of logins.
const (
	maxLogins     = 256
	maxLoginText  = 512 // bytes of an issuer or an audience
	defaultMaxAge = time.Hour
	longestAge    = 24 * time.Hour
	longestLeeway = 5 * time.Minute
	loginPrefix   = "login:"
)

// login is one as it is used.
type login struct {
	Login
	alg jws.Algorithm
	key string // "login:NAME"
}

// logins are all of them with what they have verified. SetLogins replaces both together.
type logins struct {
	all   []*login
	keys  map[*login]jws.KeySet // none for HS256
	names map[string]*login
	seen  *jws.Memory[visit]
}

// SetLogins replaces the logins: from then on only tokens of these are taken, those verified before included. An error
// leaves what there was.
func (d *Directory) SetLogins(list []Login) error {
	if len(list) > maxLogins {
		return fmt.Errorf("logins: %d given, at most %d: %w", len(list), maxLogins, ErrInvalid)
	}
	next := &logins{keys: map[*login]jws.KeySet{}, names: map[string]*login{}, seen: jws.NewMemory[visit]()}
	for _, l := range list {
		if err := next.add(l); err != nil {
			return fmt.Errorf("login %q: %w", l.Name, err)
		}
	}
	d.logins.Store(next)
	return nil
}

func (s *logins) add(l Login) error {
	if l.UserClaim == "" {
		l.UserClaim = "email"
	}
	if l.MaxAge == 0 {
		l.MaxAge = defaultMaxAge
	}
	if err := l.check(); err != nil {
		return err
	}
	for _, other := range s.all {
		if other.Name == l.Name || other.Issuer == l.Issuer && other.Audience == l.Audience {
			return fmt.Errorf("there is one of that name, or of that issuer and audience: %w", ErrExists)
		}
	}
	made := &login{Login: l, alg: jws.Algorithm(l.Algorithm), key: loginPrefix + l.Name}
	made.Secret = append([]byte(nil), l.Secret...)
	if made.alg != jws.HS256 {
		keys, err := readKeys(l.JWKS, made.alg)
		if err != nil {
			return err
		}
		s.keys[made] = keys
	}
	s.all, s.names[l.Name] = append(s.all, made), made
	return nil
}

func readKeys(set []byte, alg jws.Algorithm) (jws.KeySet, error) {
	keys, err := jws.ReadKeys(set, alg)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w: %w", ErrInvalid, err)
	}
	for kid, key := range keys {
		if public, ok := key.(ed25519.PublicKey); ok {
			if err := checkPublicKey(public); err != nil {
				return nil, fmt.Errorf("jwks: kid %q: %w", kid, err)
			}
		}
	}
	return keys, nil
}

// check wants every choice made, and none made twice.
func (l *Login) check() error {
	invalid := func(why string) error { return fmt.Errorf("%s: %w", why, ErrInvalid) }
	alg := jws.Algorithm(l.Algorithm)
	switch {
	case !isWord(l.Name) || strings.ContainsAny(l.Name, ":/"):
		return invalid("name must match [a-z0-9][a-z0-9._-]{0,62}")
	case store.CheckTenant(l.Tenant) != nil || l.Tenant == store.Instance:
		return invalid("tenant must name an organisation")
	case !plain(l.Issuer) || !plain(l.Audience):
		return invalid("issuer and audience must be printable text of 1 to 512 bytes")
	case !alg.Known():
		return invalid("algorithm must be EdDSA, ES256, RS256 or HS256")
	case (alg == jws.HS256) != (len(l.Secret) > 0) || (alg == jws.HS256) == (len(l.JWKS) > 0):
		return invalid("HS256 takes a secret, every other algorithm a jwks")
	case alg == jws.HS256 && jws.CheckSecret(l.Secret) != nil:
		return invalid("secret must have at least 32 bytes")
	case !plain(l.UserClaim), l.AgentClaim != "" && !plain(l.AgentClaim), l.Agent != "" && checkName("agent", l.Agent) != nil:
		return invalid("user_claim, agent_claim and agent must be printable text")
	case l.AgentClaim == "" && l.Agent == "":
		return invalid("agent_claim or agent: a person acts through an agent here")
	case l.MaxAge < time.Second || l.MaxAge > longestAge:
		return invalid("max_age must be 1s to 24h")
	case l.Leeway < 0 || l.Leeway > longestLeeway:
		return invalid("leeway must be 0 to 5m")
	}
	return nil
}

// plain tells whether it is text that a record can show as it is.
func plain(s string) bool {
	return s != "" && len(s) <= maxLoginText && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
