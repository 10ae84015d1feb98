package armoriq

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// outer is the token object that their clients show and check: an Ed25519 signature over seven members in Python's
// canonical JSON. It grants nothing. JWT is the intent token of ours that does; their clients carry the object whole.
type outer struct {
	PlanHash  string          `json:"plan_hash"`
	IssuedAt  int64           `json:"issued_at"`
	ExpiresAt int64           `json:"expires_at"`
	Policy    json.RawMessage `json:"policy"`
	Identity  string          `json:"identity"`
	PublicKey string          `json:"public_key"`
	Version   string          `json:"version"`
	Signature string          `json:"signature"`
	JWT       string          `json:"jwt"`
}

const outerVersion = "1.0"

// sealOuter makes the object around an intent token. policy is the client's own JSON, {} when it gave none; numbers that
// its Python and JavaScript clients would print differently cannot be signed for both and are refused.
func (d *Dialect) sealOuter(jwt string, c intent.Claims, identity string, policy []byte) (outer, error) {
	if policy == nil {
		policy = []byte("{}")
	}
	o := outer{
		PlanHash: c.PlanHash.String(), IssuedAt: c.IssuedAt, ExpiresAt: c.Expires, Policy: policy, Identity: identity,
		PublicKey: d.publicKey(), Version: outerVersion, JWT: jwt,
	}
	signed, err := o.signed(d.JSON)
	if err != nil {
		return outer{}, malformed("/policy", err.Error())
	}
	o.Signature = hex.EncodeToString(ed25519.Sign(d.Signer.Key, signed))
	return o, nil
}

// signed is what the signature covers.
func (o *outer) signed(lim canon.Limits) ([]byte, error) {
	b, err := json.Marshal(map[string]any{
		"plan_hash": o.PlanHash, "issued_at": o.IssuedAt, "expires_at": o.ExpiresAt, "policy": o.Policy,
		"identity": o.Identity, "public_key": o.PublicKey, "version": o.Version,
	})
	if err != nil {
		return nil, fmt.Errorf("write the token: %w", err)
	}
	return canon.AppendPython(nil, b, lim)
}

func (d *Dialect) publicKey() string {
	return hex.EncodeToString(d.Signer.Key.Public().(ed25519.PublicKey))
}

// outers remembers which token objects were verified, so that showing one again costs no signature check.
type outers struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]string // to the JWT inside
}

const maxOuters = 4096

func (s *outers) get(k [sha256.Size]byte) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	jwt, ok := s.seen[k]
	return jwt, ok
}

func (s *outers) put(k [sha256.Size]byte, jwt string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil || len(s.seen) >= maxOuters {
		s.seen = make(map[[sha256.Size]byte]string)
	}
	s.seen[k] = jwt
}

// maxNested bounds answers within answers: a client wraps the token at most twice.
const maxNested = 3

// openToken finds the intent token in what a client shows as a token: the object, its compact form as a string, or the
// object inside of an answer of ours. An object whose signature is not of this gateway's key is refused, whatever key it
// carries, and so is one without an intent token inside. Nothing else in it is believed.
func (d *Dialect) openToken(raw []byte, at string) (jwt string, err error) {
	switch canon.KindOf(raw) {
	case '"':
		err := text(&jwt, 8192)(raw, at)
		return jwt, err
	case '{':
	default:
		return "", malformed(at, "must be a token")
	}
	if len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0 {
		return "", nil // {} stands for none in their clients
	}
	k := sha256.Sum256(raw)
	if jwt, ok := d.outers.get(k); ok {
		return jwt, nil
	}
	var o outer
	var inner []byte
	var plain string
	var issued, expires json.Number
	var policy []byte
	err = readObject(raw, at, fields{
		"token": object(&inner), "jwt": text(&o.JWT, 8192), "jwt_token": text(&plain, 8192), "plan_hash": text(&o.PlanHash, 128),
		"issued_at": number(&issued), "expires_at": number(&expires), "policy": value(&policy), "identity": text(&o.Identity, 1024),
		"public_key": text(&o.PublicKey, 128), "version": text(&o.Version, 16), "signature": text(&o.Signature, 256),
	})
	switch {
	case err != nil:
		return "", err
	case plain != "" && o.JWT != "" && plain != o.JWT:
		return "", malformed(at+"/jwt_token", "is another token than jwt")
	case inner != nil && strings.Count(at, "/") > maxNested:
		return "", malformed(at, "a token is not nested so deep")
	case inner != nil:
		jwt, err := d.openToken(inner, at+"/token")
		if beside := max(o.JWT, plain); err == nil && beside != "" && beside != jwt {
			return "", malformed(at+"/jwt_token", "is another token than the one in token")
		}
		return jwt, err
	case o.Signature == "" && o.PublicKey == "":
		return max(o.JWT, plain), nil // the one that is there
	}
	o.IssuedAt, _ = strconv.ParseInt(string(issued), 10, 64)   // what is no whole number is not what was signed
	o.ExpiresAt, _ = strconv.ParseInt(string(expires), 10, 64) // likewise
	o.Policy = policy
	if err := d.checkOuter(&o); err != nil {
		return "", err
	}
	d.outers.put(k, o.JWT)
	return o.JWT, nil
}

func (d *Dialect) checkOuter(o *outer) error {
	refuse := func(text string) error {
		return pipeline.Deny("token_signature", text).WithReason("outer token: " + text)
	}
	signature, err := hex.DecodeString(o.Signature)
	if err != nil || len(signature) != ed25519.SignatureSize || o.Version != outerVersion {
		return refuse("the token object is not one of this gateway")
	}
	if !strings.EqualFold(o.PublicKey, d.publicKey()) {
		return refuse("the token object names a key that is not this gateway's")
	}
	signed, err := o.signed(d.JSON)
	if err != nil || !ed25519.Verify(d.Signer.Key.Public().(ed25519.PublicKey), signed, signature) {
		return refuse("the token object was changed after it was signed")
	}
	if o.JWT == "" {
		return refuse("the token object was stripped of its member \"jwt\": show it as it was issued")
	}
	claims, ok := peekClaims(o.JWT)
	if !ok || claims.hash != o.PlanHash || claims.expires != o.ExpiresAt {
		return refuse("the token object and the intent token in it are not of one piece")
	}
	return nil
}

// peeked are members of an intent token that was not verified: to hold against others, never to believe.
type peeked struct {
	id, plan, hash string
	expires        int64
}

func peekClaims(jwt string) (p peeked, ok bool) {
	_, rest, _ := strings.Cut(jwt, ".")
	payload, _, _ := strings.Cut(rest, ".")
	body, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return p, false
	}
	var c struct {
		JTI  string `json:"jti"`
		Plan string `json:"plan_id"`
		Hash string `json:"plan_hash"`
		Exp  int64  `json:"exp"`
	}
	if json.Unmarshal(body, &c) != nil {
		return p, false
	}
	return peeked{c.JTI, c.Plan, c.Hash, c.Exp}, true
}

// shown gathers the intent token from every place where a client may put one. Two that differ are refused: a gateway and
// a log that read different ones could be played against each other.
type shown struct {
	d   *Dialect
	jwt string
}

func (s *shown) at(raw []byte, at string) error {
	jwt, err := s.d.openToken(raw, at)
	if err != nil || jwt == "" {
		return err
	}
	if s.jwt != "" && s.jwt != jwt {
		return malformed(at, "shows another token than the rest of the request")
	}
	s.jwt = jwt
	return nil
}

// tokenAlone finds, in a request without any other credential that shows a step's proof, the token in the body that may
// be the credential. Whether it may is decided when it is verified.
func (r *request) tokenAlone() []byte {
	if !shownProof(&r.x.Head.CSRG) || r.route.method != post {
		return nil
	}
	body, err := r.checked()
	if err != nil {
		return nil
	}
	s := shown{d: r.Dialect}
	if err := readObject(body, "", fields{"token": s.at, "csrg_token": s.at, "intent_token": s.at}); err != nil || s.jwt == "" {
		return nil
	}
	return []byte(s.jwt)
}
