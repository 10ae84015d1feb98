package bearer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Reason is why a token is refused, for the ledger and never for the caller.
type Reason string

// The closed list. Each is an error.
const (
	Malformed Reason = "jwt_malformed"
	Type      Reason = "jwt_type" // not an access token, or one of a type that is not taken
	Issuer    Reason = "jwt_issuer"
	Algorithm Reason = "jwt_algorithm"
	Key       Reason = "jwt_key" // the issuer has no such key, or its keys are not known
	Signature Reason = "jwt_signature"
	Claims    Reason = "jwt_claims"
	Unmapped  Reason = "jwt_unmapped" // it stands for no agent here
	Audience  Reason = "jwt_audience"
	Expired   Reason = "jwt_expired"
	Early     Reason = "jwt_early"
	Bound     Reason = "jwt_bound" // bound to a key that was not shown
)

// Error is the reason.
func (r Reason) Error() string { return "bearer token refused: " + string(r) }

// maxToken bounds a token, in bytes: it has to fit a header, of which servers take 8 KiB.
const maxToken = 8 << 10

// Token is an access token whose signature was good. Only Verify makes one. It is immutable but for Mapped.
type Token struct {
	server *server
	alg    jws.Algorithm
	kid    string
	key    any

	client, agent, user string
	scopes, audience    []string
	exp, nbf, iat       int64  // s since 1970
	bound               string // x5t#S256; "" for none
	other               bool   // bound in a way that nobody here can check

	// Mapped is for the directory: whom it found the token to be for.
	Mapped atomic.Value
}

// Server names the authorization server of the settings.
func (t *Token) Server() string { return t.server.Name }

// Tenant is the organisation whose agents the server's tokens are for.
func (t *Token) Tenant() string { return t.server.Tenant }

// Agent is the id or the name of the agent.
func (t *Token) Agent() string { return t.agent }

// User is the person's id or email, "" for the agent's owner.
func (t *Token) User() string { return t.user }

// Knows tells whether a token calls itself one of these servers'. It is believed nothing else.
func (s *Set) Knows(raw []byte) bool {
	if s == nil || len(raw) > maxToken {
		return false
	}
	m, err := jws.Open(raw, maxToken)
	if err != nil {
		return false
	}
	iss, _ := jws.Text(m.Payload(), "iss")
	return len(s.servers[iss]) > 0
}

// Shown is a token with the request that it came with.
type Shown struct {
	Raw         []byte
	Path        string // of the request
	Certificate []byte // of the client, DER; nil for none
}

// Verify checks a token, or refuses it with a Reason. Signatures are remembered within bounds; the issuer's key, times,
// audience and what the token is bound to are looked at every time.
func (s *Set) Verify(ctx context.Context, shown Shown, now time.Time) (*Token, error) {
	sum := sha256.Sum256(shown.Raw)
	t := s.seen.Get(sum)
	if t == nil || !same(t.server.keys.find(ctx, t.alg, t.kid), t.key) {
		var err error
		if t, err = s.verify(ctx, shown.Raw); err != nil {
			return nil, err
		}
		s.seen.Put(sum, t) // expired ones too: saying so again should cost no signature check
	}
	switch {
	case !t.isFor(s.resource, shown.Path):
		return nil, Audience
	case t.other || t.bound != "" && t.bound != thumbprint(shown.Certificate):
		return nil, Bound
	}
	if err := t.timely(now); err != nil {
		return nil, err
	}
	return t, nil
}

// verify does all that depends only on the token and the settings.
func (s *Set) verify(ctx context.Context, raw []byte) (*Token, error) {
	m, err := jws.Open(raw, maxToken)
	if err != nil {
		return nil, Malformed
	}
	if _, ok := canon.Get(m.Header(), "jwk"); ok {
		return nil, Malformed
	}
	by := s.choose(m.Payload())
	if by == nil {
		return nil, Issuer
	}
	if !by.takes(m) {
		return nil, Type
	}
	said, _ := jws.Text(m.Header(), "alg")
	if !slices.Contains(by.Algorithms, said) {
		return nil, Algorithm
	}
	kid, _ := jws.Text(m.Header(), "kid")
	alg := jws.Algorithm(said)
	key := by.keys.find(ctx, alg, kid)
	if key == nil {
		return nil, Key
	}
	if err := m.Verify(alg, key); err != nil {
		return nil, Signature
	}
	t := &Token{server: by, alg: alg, kid: kid, key: key}
	if err := t.read(m.Payload()); err != nil {
		return nil, err
	}
	return t, nil
}

// choose finds the one server whose issuer and claims these are. A token for two is for none: it would be anybody's choice which
// organisation it opens.
func (s *Set) choose(payload []byte) (by *server) {
	iss, _ := jws.Text(payload, "iss")
	for _, x := range s.servers[iss] {
		if !x.says(payload) {
			continue
		}
		if by != nil {
			return nil
		}
		by = x
	}
	return by
}

func (s *server) says(payload []byte) bool {
	for name, want := range s.Claims {
		if said, ok := jws.Text(payload, name); !ok || said != want {
			return false
		}
	}
	return true
}

// takes holds typ against the settings, and refuses an ID token, which says who signed in and opens nothing.
func (s *server) takes(m *jws.Message) bool {
	for _, name := range []string{"nonce", "at_hash", "c_hash"} {
		if _, ok := canon.Get(m.Payload(), name); ok {
			return false
		}
	}
	typ, _ := jws.Text(m.Header(), "typ")
	if len(typ) > maxText {
		return false
	}
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return slices.ContainsFunc(s.Types, func(want string) bool { return strings.ToLower(want) == typ })
}

// read takes the claims that count.
func (t *Token) read(payload []byte) error {
	var exp, iat bool
	t.exp, exp = jws.Moment(payload, "exp", math.Floor)
	t.iat, iat = jws.Moment(payload, "iat", math.Floor)
	t.audience = jws.Texts(payload, "aud")
	if !exp || !iat || len(t.audience) == 0 {
		return Claims
	}
	t.nbf = t.iat
	if _, there := canon.Get(payload, "nbf"); there {
		var ok bool
		if t.nbf, ok = jws.Moment(payload, "nbf", math.Ceil); !ok {
			return Claims
		}
	}
	for _, name := range []string{"scope", "scp"} { // RFC 8693, 4.2; scp is what some write instead
		for _, text := range jws.Texts(payload, name) {
			t.scopes = append(t.scopes, strings.Fields(text)...)
		}
	}
	if err := t.readBinding(payload); err != nil {
		return err
	}
	return t.readWho(payload)
}

// readBinding reads cnf (RFC 7800). Members that are not known bind it to what nobody here can check.
func (t *Token) readBinding(payload []byte) error {
	cnf, ok := canon.Get(payload, "cnf")
	if !ok {
		return nil
	}
	if canon.KindOf(cnf) != '{' {
		return Claims
	}
	if t.bound, ok = jws.Text(cnf, "x5t#S256"); !ok || t.bound == "" {
		t.other = true
	}
	_ = canon.Each(cnf, func(name, _ []byte) error {
		t.other = t.other || string(name) != "x5t#S256"
		return nil
	})
	return nil
}

// readWho reads for which agent and person the token is. There is no default but what the settings name.
func (t *Token) readWho(payload []byte) error {
	s := t.server
	t.agent = s.Agent
	if s.AgentClaim != "" {
		client, ok := clientOf(payload, s.AgentClaim)
		switch {
		case !ok:
			return Claims
		case client != "" && s.Agents != nil:
			t.agent = s.Agents[client]
		case client != "":
			t.agent = client
		}
		t.client = client
	}
	if t.agent == "" {
		return Unmapped
	}
	if s.UserClaim == "" {
		return nil
	}
	var ok bool
	if t.user, ok = jws.Text(payload, s.UserClaim); !ok || t.user == "" || s.UserClaim == "email" && unverified(payload) {
		return Claims
	}
	return nil
}

// clientOf reads the claim that names the client, "" when it is absent; false when it is no text, or two claims differ.
func clientOf(payload []byte, claim string) (string, bool) {
	client, ok := text(payload, claim)
	if !ok || claim != "client_id" {
		return client, ok
	}
	azp, ok := text(payload, "azp") // what OpenID Connect calls it
	if !ok || client != "" && azp != "" && client != azp {
		return "", false
	}
	if client == "" {
		client = azp
	}
	return client, true
}

func text(payload []byte, name string) (string, bool) {
	if _, there := canon.Get(payload, name); !there {
		return "", true
	}
	said, ok := jws.Text(payload, name)
	return said, ok && said != ""
}

// unverified: an issuer that lets people type any email says so here; some write the word true in quotes.
func unverified(payload []byte) bool {
	raw, ok := canon.Get(payload, "email_verified")
	return ok && string(raw) != "true" && string(raw) != `"true"`
}

// isFor holds the audience against the address that was called (RFC 8707): a token for the gateway or for /mcp opens every
// path, one for /mcp/NAME that path alone.
func (t *Token) isFor(resource, path string) bool {
	for _, aud := range t.audience {
		if slices.Contains(t.server.Audiences, aud) {
			return true
		}
		rest, ok := strings.CutPrefix(aud, resource)
		if ok && resource != "" && (rest == "" || rest == "/" || rest == "/mcp" || rest == "/mcp/" || strings.HasPrefix(rest, "/mcp/") && rest == path) {
			return true
		}
	}
	return false
}

// timely looks at the clock. Expiry has no leeway.
func (t *Token) timely(now time.Time) error {
	at, leeway := now.Unix(), int64(t.server.Leeway/time.Second)
	switch {
	case at >= t.exp, at >= t.iat+int64(t.server.MaxAge/time.Second):
		return Expired
	case at+leeway < t.nbf, at+leeway < t.iat:
		return Early
	}
	return nil
}

// thumbprint is x5t#S256 (RFC 8705, 3.1) of a certificate; "" of none, which equals no binding.
func thumbprint(der []byte) string {
	if len(der) == 0 {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Lacks says which scopes an operation needs in all, when the token lacks one of them; nil when it has them. With them
// come the scopes that it has and the settings name, so that a client that asks for exactly these loses none.
func (t *Token) Lacks(op, on, name string) []string {
	need := slices.Clone(t.server.Scopes)
	for _, n := range t.server.Operations {
		if n.Op == op && (n.Server == "" || n.Server == on) && (n.Name == "" || n.Name == name) {
			need = append(need, n.Scopes...)
		}
	}
	if !slices.ContainsFunc(need, func(scope string) bool { return !slices.Contains(t.scopes, scope) }) {
		return nil
	}
	for _, scope := range t.scopes {
		if t.server.names(scope) {
			need = append(need, scope)
		}
	}
	slices.Sort(need)
	return slices.Compact(need)
}

func (s *server) names(scope string) bool {
	return slices.Contains(s.Scopes, scope) || slices.ContainsFunc(s.Operations, func(n Need) bool { return slices.Contains(n.Scopes, scope) })
}
