package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
)

var b64 = base64.RawURLEncoding

// issuer is somebody whose JWTs a test configures. It signs whatever it is given.
type issuer struct {
	login identity.Login
	sign  func(msg []byte) []byte
	head  map[string]any
}

var (
	issuerEd  = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
	issuerEC  = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	issuerRSA = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	hmacKey   = []byte("a shared secret of at least 32 bytes")
)

func jwkSet(keys ...map[string]any) []byte {
	b, _ := json.Marshal(map[string]any{"keys": keys})
	return b
}

func edJWK(kid string) map[string]any {
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64.EncodeToString(issuerEd().Public().(ed25519.PublicKey))}
}

func rsaJWK(kid string, k *rsa.PrivateKey) map[string]any {
	return map[string]any{"kty": "RSA", "kid": kid, "n": b64.EncodeToString(k.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
}

func ecJWK(kid string) map[string]any {
	point, _ := issuerEC().PublicKey.Bytes()
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:])}
}

// newIssuer is one for the agent Bot of acme.
func newIssuer(alg string) *issuer {
	i := &issuer{
		login: identity.Login{Name: "corp", Tenant: "acme", Issuer: "https://idp.example", Audience: "gatewright", Algorithm: alg, Agent: "Bot"},
		head:  map[string]any{"alg": alg, "typ": "JWT", "kid": "k1"},
	}
	sum := func(msg []byte) []byte { s := sha256.Sum256(msg); return s[:] }
	switch alg {
	case "EdDSA":
		i.login.JWKS, i.sign = jwkSet(edJWK("k1"), rsaJWK("other", issuerRSA())), func(msg []byte) []byte { return ed25519.Sign(issuerEd(), msg) }
	case "ES256":
		i.login.JWKS, i.sign = jwkSet(ecJWK("k1")), func(msg []byte) []byte {
			r, s, _ := ecdsa.Sign(rand.Reader, issuerEC(), sum(msg))
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case "RS256":
		i.login.JWKS, i.sign = jwkSet(rsaJWK("k1", issuerRSA())), func(msg []byte) []byte {
			sig, _ := rsa.SignPKCS1v15(rand.Reader, issuerRSA(), crypto.SHA256, sum(msg))
			return sig
		}
	case "HS256":
		i.login.Secret, i.sign = hmacKey, hs256(hmacKey)
	}
	return i
}

func hs256(secret []byte) func([]byte) []byte {
	return func(msg []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(msg)
		return h.Sum(nil)
	}
}

// claims are good ones, changed as asked; nil takes a claim out.
func claims(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://idp.example", "aud": "gatewright", "email": "ada@example.org",
		"iat": start.Unix(), "exp": start.Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (i *issuer) token(change map[string]any) string {
	return i.raw(encode(i.head), encode(claims(change)))
}

func encode(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// raw signs any text.
func (i *issuer) raw(header, payload string) string {
	msg := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	return msg + "." + b64.EncodeToString(i.sign([]byte(msg)))
}

func (h *house) refusedJWT(what, token string, reason identity.Reason) {
	h.Helper()
	for range 2 { // the second time from what is remembered
		c, err := h.AuthenticateJWT([]byte(token), h.now)
		if !errors.Is(err, identity.ErrUnauthenticated) || identity.ReasonOf(err) != reason || c.Valid() {
			h.Errorf("%s: got %v, want %s", what, err, reason)
		}
	}
}

func (h *house) acceptedJWT(token string) identity.Caller {
	h.Helper()
	c, err := h.AuthenticateJWT([]byte(token), h.now)
	h.must(err)
	return c
}

func TestAHostileJWTIsRefused(t *testing.T) {
	h := build(t)
	i := newIssuer("EdDSA")
	good := i.token(nil)
	h.refusedJWT("without any login", good, identity.JWTMalformed)
	h.must(h.SetLogins([]identity.Login{i.login}))
	h.acceptedJWT(good)

	head, body, sig := encode(i.head), encode(claims(nil)), good[strings.LastIndexByte(good, '.'):]
	with := func(name string, v any) string {
		m := maps.Clone(i.head)
		m[name] = v
		if v == nil {
			delete(m, name)
		}
		return i.raw(encode(m), body)
	}
	for what, token := range map[string]string{
		"empty": "", "two parts": good[:strings.LastIndexByte(good, '.')], "four parts": good + ".e30", "no signature": strings.TrimSuffix(good, sig) + ".",
		"padded": good + "=", "with a line end": strings.Replace(good, ".", ".\n", 1), "with a blank": good + " ", "in standard base64": strings.ReplaceAll(good, "-", "+") + "+",
		"with loose trailing bits": strings.TrimSuffix(good, sig) + looser(sig),
		"header twice alg":         i.raw(`{"alg":"EdDSA","alg":"EdDSA","kid":"k1"}`, body), "payload twice email": i.raw(head, strings.Replace(body, `"email"`, `"email":"x@y.z","email"`, 1)),
		"payload escaped twin": i.raw(head, strings.Replace(body, `"email"`, `"\u0065mail":"x@y.z","email"`, 1)), "header array": i.raw(`["EdDSA"]`, body), "payload text": i.raw(head, `"x"`),
		"two documents": i.raw(head, body+body), "huge": i.raw(head, strings.Replace(body, "{", `{"x":"`+strings.Repeat("a", 9000)+`",`, 1)),
		"deep":        i.raw(head, strings.Replace(body, "{", `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+",", 1)),
		"huge header": with("x", strings.Repeat("a", 3000)),
		"another typ": with("typ", "intent+jwt"), "a proof": with("typ", "dpop+jwt"), "typ no text": with("typ", 1), "typ null": i.raw(`{"alg":"EdDSA","kid":"k1","typ":null}`, body),
		"crit": with("crit", []string{"exp"}), "empty crit": with("crit", []string{}), "b64": with("b64", false), "cty": with("cty", "JWT"), "zip": with("zip", "DEF"),
		"its own key": with("jwk", edJWK("k1")), "a key's address": with("jku", "https://evil.example"), "certificates": with("x5c", []string{"AA"}), "a certificate's address": with("x5u", "https://evil.example"),
	} {
		h.refusedJWT(what, token, identity.JWTMalformed)
	}
	for what, token := range map[string]string{"unknown kid": with("kid", "k2"), "no kid": with("kid", nil), "kid of another kind": with("kid", "other"), "kid no text": with("kid", 1)} {
		h.refusedJWT(what, token, identity.JWTKey)
	}
	hs := *i
	hs.sign = hs256(issuerEd().Public().(ed25519.PublicKey))
	unsigned := b64.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`)) + "." + b64.EncodeToString([]byte(body))
	for what, token := range map[string]string{
		"none": unsigned + "." + b64.EncodeToString([]byte("x")), "HS256 with the public key": hs.raw(`{"alg":"HS256","kid":"k1"}`, body), "another alg's name": with("alg", "ES256"), "no alg": with("alg", nil),
		"another's signature": i.raw(head, body) + "AA", "another payload": strings.Split(good, ".")[0] + "." + b64.EncodeToString([]byte(encode(claims(map[string]any{"email": "bea@example.org"})))) + sig,
		"zero signature": strings.TrimSuffix(good, sig) + "." + b64.EncodeToString(make([]byte, 64)),
	} {
		h.refusedJWT(what, token, identity.JWTSignature)
	}
}

// looser is a base64 text with the same bytes but other trailing bits.
func looser(sig string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, sig[len(sig)-1])
	return sig[:len(sig)-1] + string(alphabet[last^1])
}

func TestAJWTsClaimsAreHeldToTheLogin(t *testing.T) {
	h := build(t)
	i := newIssuer("EdDSA")
	i.login.MaxAge, i.login.Leeway = 2*time.Hour, 30*time.Second
	h.must(h.SetLogins([]identity.Login{i.login}))
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	type m = map[string]any
	for what, c := range map[string]struct {
		change m
		reason identity.Reason
	}{
		"no iss": {m{"iss": nil}, identity.JWTIssuer}, "iss with a slash": {m{"iss": "https://idp.example/"}, identity.JWTIssuer}, "iss list": {m{"iss": []string{"https://idp.example"}}, identity.JWTIssuer},
		"no aud": {m{"aud": nil}, identity.JWTAudience}, "another aud": {m{"aud": "else"}, identity.JWTAudience}, "aud list without": {m{"aud": []string{"a", "b"}}, identity.JWTAudience},
		"aud list of other things": {m{"aud": []any{"gatewright", 1}}, identity.JWTAudience}, "aud object": {m{"aud": m{"gatewright": 1}}, identity.JWTAudience}, "empty aud": {m{"aud": []string{}}, identity.JWTAudience},
		"no exp": {m{"exp": nil}, identity.JWTClaims}, "exp text": {m{"exp": "9999999999"}, identity.JWTClaims}, "exp huge": {m{"exp": 1e300}, identity.JWTClaims}, "exp negative": {m{"exp": -1}, identity.JWTClaims},
		"no iat": {m{"iat": nil}, identity.JWTClaims}, "nbf text": {m{"nbf": "0"}, identity.JWTClaims}, "nbf null": {m{"nbf": json.RawMessage("null")}, identity.JWTClaims},
		"expired": {m{"exp": at(0)}, identity.JWTExpired}, "expired in part of a second": {m{"exp": float64(at(0)) + 0.75}, identity.JWTExpired}, "too old": {m{"iat": at(-2 * time.Hour), "exp": at(time.Hour)}, identity.JWTExpired},
		"not yet": {m{"nbf": at(31 * time.Second)}, identity.JWTEarly}, "from the future": {m{"iat": at(31 * time.Second)}, identity.JWTEarly},
		"no email": {m{"email": nil}, identity.JWTClaims}, "email list": {m{"email": []string{"ada@example.org"}}, identity.JWTClaims}, "empty email": {m{"email": ""}, identity.JWTClaims},
		"unverified": {m{"email_verified": false}, identity.JWTClaims}, "unverified in words": {m{"email_verified": "false"}, identity.JWTClaims}, "verified by number": {m{"email_verified": 1}, identity.JWTClaims},
		"nobody": {m{"email": "eve@example.org"}, identity.UserUnknown}, "look-alike": {m{"email": "ada@example.orɡ"}, identity.UserUnknown}, "unknown id": {m{"email": "usr_00000000000000000000000000"}, identity.UserUnknown},
		"another tenant's id": {m{"email": h.other.admin.ID}, identity.UserUnknown},
	} {
		h.refusedJWT(what, i.token(c.change), c.reason)
	}
	for what, change := range map[string]m{
		"plain": nil, "aud list": {"aud": []string{"else", "gatewright"}}, "nbf within leeway": {"nbf": at(30 * time.Second)}, "iat within leeway": {"iat": at(30 * time.Second)}, "nearly too old": {"iat": at(time.Second - 2*time.Hour)},
		"verified": {"email_verified": true}, "verified in words": {"email_verified": "true"}, "capitals": {"email": "Ada@Example.ORG"}, "by id": {"email": h.acme.admin.ID}, "fractions": {"iat": float64(start.Unix()) - 0.5, "exp": float64(at(time.Hour)) + 0.5},
	} {
		c, err := h.AuthenticateJWT([]byte(i.token(change)), h.now)
		if err != nil || c.User() != h.acme.admin.ID {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestATokenIsAnHourOldAtMostUnlessTheLoginSaysOtherwise: its exp, years ahead, does not lengthen that.
func TestATokenIsAnHourOldAtMostUnlessTheLoginSaysOtherwise(t *testing.T) {
	h := build(t)
	i := newIssuer("EdDSA")
	token := func(age time.Duration) string {
		return i.token(map[string]any{"iat": start.Add(-age).Unix(), "exp": start.AddDate(3, 0, 0).Unix()})
	}
	for _, c := range []struct{ set, most time.Duration }{{0, time.Hour}, {24 * time.Hour, 24 * time.Hour}, {time.Second, time.Second}} {
		i.login.MaxAge = c.set
		h.must(h.SetLogins([]identity.Login{i.login}))
		h.acceptedJWT(token(c.most - time.Second))
		h.refusedJWT(c.most.String(), token(c.most), identity.JWTExpired)
	}
}

func TestEveryAlgorithmIsFixedByItsLogin(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256", "RS256", "HS256"} {
		h := build(t)
		i := newIssuer(alg)
		h.must(h.SetLogins([]identity.Login{i.login}))
		h.acceptedJWT(i.token(nil))
		for _, other := range []string{"EdDSA", "ES256", "RS256", "HS256"} {
			if other != alg {
				h.refusedJWT(other+" to "+alg, newIssuer(other).token(nil), identity.JWTSignature)
			}
		}
		broken := []byte(i.token(nil))
		broken[len(broken)-10] ^= 1
		if c, err := h.AuthenticateJWT(broken, h.now); err == nil || c.Valid() {
			t.Errorf("%s: a broken signature passes", alg)
		}
	}
}

func TestAJWTsCallerIsTheAgentForTheUser(t *testing.T) {
	h, ctx := build(t), t.Context()
	bea, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleViewer, Email: "bea@example.org"})
	h.must(err)
	i := newIssuer("EdDSA")
	i.login.AgentClaim, i.login.Agent, i.login.UserClaim = "azp", "", "sub"
	h.must(h.SetLogins([]identity.Login{i.login}))
	h.refusedJWT("no agent", i.token(map[string]any{"sub": bea.ID}), identity.JWTClaims)
	h.refusedJWT("agent no text", i.token(map[string]any{"sub": bea.ID, "azp": 7}), identity.JWTClaims)
	h.refusedJWT("unknown agent", i.token(map[string]any{"sub": bea.ID, "azp": "bot"}), identity.AgentUnknown)
	h.refusedJWT("another tenant's agent", i.token(map[string]any{"sub": bea.ID, "azp": h.other.agent.ID}), identity.AgentUnknown)

	token := i.token(map[string]any{"sub": bea.ID, "azp": "Bot"})
	c := h.acceptedJWT(token)
	if c.Tenant() != "acme" || c.User() != bea.ID || c.Agent() != h.acme.agent.ID || c.KeyID() != "login:corp" || c.Kind() != identity.Runtime || c.Role() != "" || c.Mode() != identity.Live {
		t.Fatalf("caller %s %s %s %s", c.Tenant(), c.User(), c.Agent(), c.KeyID())
	}
	if c.Principal() != h.accepted(h.acme.text).Principal() {
		t.Error("the agent is another principal than with its key")
	}
	ada := h.acceptedJWT(i.token(map[string]any{"sub": "ada@example.org", "azp": h.acme.agent.ID}))
	if ada.Session() == c.Session() || c.Session() == h.accepted(h.acme.text).Session() {
		t.Error("two people share a session")
	}
	if again := h.acceptedJWT(token); again != c {
		t.Error("the same token has two callers")
	}
	raw := []byte(token)
	if n := testing.AllocsPerRun(100, func() { _, _ = h.AuthenticateJWT(raw, h.now) }); n > 0 {
		t.Errorf("%v allocations for a token seen before", n)
	}
}

func TestAVerifiedJWTIsLookedAtAgainEveryTime(t *testing.T) {
	h, ctx := build(t), t.Context()
	bea, err := h.CreateUser(ctx, "acme", identity.NewUser{Name: "Bea", Role: identity.RoleAdmin, Email: "bea@example.org"})
	h.must(err)
	i := newIssuer("EdDSA")
	h.must(h.SetLogins([]identity.Login{i.login}))
	token := i.token(map[string]any{"email": "bea@example.org"})
	h.acceptedJWT(token)

	h.must(h.SetUserStatus(ctx, "acme", bea.ID, identity.Suspended))
	h.refusedJWT("suspended user", token, identity.UserInactive)
	h.must(h.SetUserStatus(ctx, "acme", bea.ID, identity.Active))
	h.must(h.SetAgentStatus(ctx, "acme", h.acme.agent.ID, identity.Suspended))
	h.refusedJWT("suspended agent", token, identity.AgentInactive)
	h.must(h.SetAgentStatus(ctx, "acme", h.acme.agent.ID, identity.Active))
	h.must(h.SetUserStatus(ctx, "acme", h.acme.admin.ID, identity.Suspended))
	h.refusedJWT("suspended owner", token, identity.OwnerInactive)
	h.must(h.SetUserStatus(ctx, "acme", h.acme.admin.ID, identity.Active))
	h.must(h.SuspendOrg(ctx, "acme"))
	h.refusedJWT("suspended organisation", token, identity.OrgInactive)
	h.must(h.SetOrgStatus(ctx, "acme", identity.Active))
	before := h.acceptedJWT(token)
	h.must(h.SetTrust(ctx, "acme", h.acme.agent.ID, 7))
	if c := h.acceptedJWT(token); c.Trust() != 7 || before.Trust() != 500 {
		t.Errorf("trust %d, before %d", c.Trust(), before.Trust())
	}

	h.must(h.SetAgentStatus(ctx, "acme", h.acme.agent.ID, identity.Revoked))
	h.refusedJWT("revoked agent", token, identity.AgentUnknown)
	second, err := h.CreateAgent(ctx, "acme", identity.NewAgent{Name: "Bot", Owner: h.acme.admin.ID})
	h.must(err)
	if c := h.acceptedJWT(token); c.Agent() != second.ID {
		t.Error("the name still means the agent that is gone")
	}
	h.must(h.RemoveUser(ctx, "acme", bea.ID))
	h.refusedJWT("removed user", token, identity.UserUnknown)
	h.now = start.Add(time.Hour)
	h.refusedJWT("after its end", token, identity.JWTExpired)
	h.now = start
	h.must(h.SetLogins(nil))
	h.refusedJWT("after its login went", token, identity.JWTMalformed)
}

func TestATokenForTwoLoginsIsForNone(t *testing.T) {
	h := build(t)
	i, j := newIssuer("EdDSA"), newIssuer("EdDSA")
	j.login.Name, j.login.Tenant, j.login.Audience = "two", "other", "elsewhere"
	h.must(h.SetLogins([]identity.Login{i.login, j.login}))
	if c := h.acceptedJWT(i.token(map[string]any{"aud": "elsewhere"})); c.Tenant() != "other" || c.User() != h.other.admin.ID {
		t.Errorf("%s of %s", c.User(), c.Tenant())
	}
	h.refusedJWT("both audiences", i.token(map[string]any{"aud": []string{"gatewright", "elsewhere"}}), identity.JWTAudience)
}

func TestABadLoginIsRefusedAndTheOldOnesStay(t *testing.T) {
	h := build(t)
	good := newIssuer("EdDSA")
	h.must(h.SetLogins([]identity.Login{good.login}))
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	private := edJWK("k1")
	private["d"] = b64.EncodeToString(issuerEd().Seed())
	small := edJWK("k1")
	small["x"] = b64.EncodeToString(append([]byte{1}, make([]byte, 31)...))
	use := edJWK("k1")
	use["use"] = "enc"
	keys := func(alg string, set []byte) func(*identity.Login) {
		return func(l *identity.Login) { l.Algorithm, l.JWKS = alg, set }
	}
	for what, change := range map[string]func(*identity.Login){
		"no name": func(l *identity.Login) { l.Name = "" }, "name with a colon": func(l *identity.Login) { l.Name = "a:b" }, "name with a slash": func(l *identity.Login) { l.Name = "a/b" },
		"no tenant": func(l *identity.Login) { l.Tenant = "" }, "the gateway's tenant": func(l *identity.Login) { l.Tenant = "_instance" },
		"no issuer": func(l *identity.Login) { l.Issuer = "" }, "no audience": func(l *identity.Login) { l.Audience = "" }, "issuer with a line end": func(l *identity.Login) { l.Issuer = "a\nb" },
		"alg none": func(l *identity.Login) { l.Algorithm = "none" }, "no alg": func(l *identity.Login) { l.Algorithm = "" }, "alg in small letters": func(l *identity.Login) { l.Algorithm = "eddsa" },
		"secret beside keys": func(l *identity.Login) { l.Secret = hmacKey }, "HS256 with keys": func(l *identity.Login) { l.Algorithm = "HS256" }, "no keys": func(l *identity.Login) { l.JWKS = nil },
		"short secret": func(l *identity.Login) { l.Algorithm, l.JWKS, l.Secret = "HS256", nil, hmacKey[:31] },
		"no agent":     func(l *identity.Login) { l.Agent = "" }, "age below zero": func(l *identity.Login) { l.MaxAge = -1 }, "age without end": func(l *identity.Login) { l.MaxAge = 24*time.Hour + 1 },
		"age below a second": func(l *identity.Login) { l.MaxAge = time.Second - 1 },
		"leeway below zero":  func(l *identity.Login) { l.Leeway = -1 }, "wide leeway": func(l *identity.Login) { l.Leeway = time.Hour },
		"keys no JSON": keys("EdDSA", []byte("{")), "keys twice": keys("EdDSA", []byte(`{"keys":[],"keys":[]}`)), "keys no list": keys("EdDSA", []byte(`{"keys":{}}`)), "no such key": keys("ES256", jwkSet(edJWK("k1"))),
		"a private key": keys("EdDSA", jwkSet(private)), "a shared secret": keys("EdDSA", jwkSet(edJWK("k1"), map[string]any{"kty": "oct", "k": "AAAA"})), "a weak RSA key": keys("RS256", jwkSet(rsaJWK("k1", weak))),
		"no kid": keys("EdDSA", jwkSet(edJWK(""))), "one kid twice": keys("EdDSA", jwkSet(edJWK("k1"), edJWK("k1"))), "a key of small order": keys("EdDSA", jwkSet(small)), "a key for encryption": keys("EdDSA", jwkSet(use)),
	} {
		l := newIssuer("EdDSA").login
		change(&l)
		if err := h.SetLogins([]identity.Login{l}); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	same := good.login
	same.Name = "second"
	h.want(h.SetLogins([]identity.Login{good.login, same}), identity.ErrExists)
	h.want(h.SetLogins(make([]identity.Login, 300)), identity.ErrInvalid)
	h.acceptedJWT(good.token(nil))
	hs := newIssuer("HS256").login
	if got := fmt.Sprintf("%v %+v %#v", hs, hs, &hs); strings.Contains(got, "shared") || strings.Contains(got, "97 32") {
		t.Errorf("a login shows its secret: %s", got)
	}
}

func TestRememberedTokensAreBounded(t *testing.T) {
	h := build(t)
	i := newIssuer("HS256")
	h.must(h.SetLogins([]identity.Login{i.login}))
	first := i.token(nil)
	h.acceptedJWT(first)
	for n := range 10_000 {
		h.acceptedJWT(i.token(map[string]any{"jti": fmt.Sprint(n)}))
	}
	if n := h.Visits(); n > 8192 {
		t.Errorf("%d tokens are remembered", n)
	}
	h.acceptedJWT(first)
}

func FuzzAuthenticateJWT(f *testing.F) {
	h := build(f)
	i := newIssuer("EdDSA")
	h.must(h.SetLogins([]identity.Login{i.login}))
	good := i.token(nil)
	f.Add(good)
	f.Add(good + "=")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := h.AuthenticateJWT([]byte(token), h.now)
		if (err == nil) != c.Valid() {
			t.Fatal("an error with a caller, or neither")
		}
		if err == nil && token != good {
			t.Fatalf("%q passes, which nobody signed", token)
		}
	})
}
