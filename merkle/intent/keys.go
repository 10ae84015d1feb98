package intent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of pinned keys. A rotation needs two per issuer; JWKS documents of real issuers stay below 10 KiB.
const (
	maxIssuers    = 1024
	maxKeys       = 64 // per issuer
	maxJWKS       = 64 << 10
	maxIssuerText = 512
)

// Keys are the pinned issuers: which key ids may sign for which issuer, until when. What a token says
// about its own key is only ever looked up here. Reads take one snapshot without a lock.
type Keys struct {
	mu       sync.Mutex // held while a new snapshot is built
	snapshot atomic.Pointer[keySet]
}

type keySet struct {
	issuers map[string]map[string]pinnedKey
}

type pinnedKey struct {
	issuer, id string
	key        ed25519.PublicKey
	notAfter   int64 // unix seconds; 0 = no end
}

// NewKeys returns an empty set, under which every token is refused.
func NewKeys() *Keys {
	k := new(Keys)
	k.snapshot.Store(&keySet{issuers: map[string]map[string]pinnedKey{}})
	return k
}

// Add pins a key. After notAfter (if not zero) tokens signed with it are refused, however long they
// would live. A key id that is pinned with another key is refused: rotation means a new id.
func (k *Keys) Add(issuer, id string, key ed25519.PublicKey, notAfter time.Time) error {
	p := pinnedKey{issuer: issuer, id: id, key: bytes.Clone(key)}
	if !notAfter.IsZero() {
		p.notAfter = notAfter.Unix()
	}
	return k.addAll([]pinnedKey{p})
}

func (k *Keys) addAll(add []pinnedKey) error {
	for i := range add {
		if err := add[i].check(); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.snapshot.Load().clone()
	for _, p := range add {
		ids := next.issuers[p.issuer]
		if ids == nil {
			ids = make(map[string]pinnedKey)
			next.issuers[p.issuer] = ids
		}
		if have, ok := ids[p.id]; ok && !bytes.Equal(have.key, p.key) {
			return fmt.Errorf("pin key %q: id is pinned with another key", p.id)
		}
		ids[p.id] = p
		if len(ids) > maxKeys || len(next.issuers) > maxIssuers {
			return errors.New("pin key: more than 64 keys of one issuer, or 1024 issuers")
		}
	}
	k.snapshot.Store(next)
	return nil
}

// Remove unpins a key; tokens it signed are refused from now on, cached or not.
func (k *Keys) Remove(issuer, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.snapshot.Load().clone()
	delete(next.issuers[issuer], id)
	if len(next.issuers[issuer]) == 0 {
		delete(next.issuers, issuer)
	}
	k.snapshot.Store(next)
}

func (s *keySet) clone() *keySet {
	next := &keySet{issuers: make(map[string]map[string]pinnedKey, len(s.issuers))}
	for issuer, ids := range s.issuers {
		next.issuers[issuer] = maps.Clone(ids)
	}
	return next
}

func (p *pinnedKey) check() error {
	switch {
	case !validName(p.issuer, maxIssuerText):
		return errors.New("pin key: issuer must be 1 to 512 bytes without control characters")
	case !validName(p.id, maxName):
		return errors.New("pin key: key id must be 1 to 128 bytes without control characters")
	case len(p.key) != ed25519.PublicKeySize:
		return fmt.Errorf("pin key %q: an Ed25519 key has 32 bytes, not %d", p.id, len(p.key))
	case weakKey(p.key):
		return fmt.Errorf("pin key %q: anybody can sign for this key (small order or not canonical)", p.id)
	}
	return nil
}

// smallOrder are the y coordinates of the points of small order, sign bit cleared: under such a key a
// signature made without any secret verifies (crypto/ed25519 accepts it, as RFC 8032 allows).
// The last two are not canonical encodings and fall under the check for those too.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func weakKey(key []byte) bool {
	y := bytes.Clone(key)
	y[31] &= 0x7f
	if slices.Contains(smallOrder[:], hex.EncodeToString(y)) {
		return true
	}
	// Not canonical: y is 2^255-19 or more.
	if y[31] != 0x7f || y[0] < 0xed {
		return false
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return false
		}
	}
	return true
}

// AddJWKS pins the Ed25519 keys of a JWK set (RFC 7517, RFC 8037) for issuer. Public keys of other
// kinds are passed over, as RFC 7517 section 5 asks. A set that holds a secret (a private part or a
// symmetric key), doubled key ids or a key without one is refused whole.
func (k *Keys) AddJWKS(issuer string, jwks []byte) error {
	if err := canon.Check(jwks, canon.Limits{Bytes: maxJWKS, Depth: 8, Values: 4096}); err != nil {
		return fmt.Errorf("read JWKS: %w", err)
	}
	list, ok := canon.Get(trim(jwks), "keys")
	if !ok {
		return errors.New("read JWKS: no member \"keys\"")
	}
	var add []pinnedKey
	seen := make(map[string]bool)
	err := elements(list, "/keys", maxKeys, func(v []byte, at string) error {
		key, id, err := parseJWK(v, at)
		if err != nil {
			return err
		}
		if id != "" && seen[id] {
			return invalid(at+"/kid", "key id stands twice", "")
		}
		seen[id] = true
		if key != nil {
			add = append(add, pinnedKey{issuer: issuer, id: id, key: key})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read JWKS: %w", err)
	}
	if len(add) == 0 {
		return errors.New("read JWKS: no Ed25519 signing key in it")
	}
	return k.addAll(add)
}

// parseJWK returns the key, or nil for a public key of another kind or use.
func parseJWK(raw []byte, at string) (ed25519.PublicKey, string, error) {
	text := make(map[string]string)
	err := members(raw, at, func(key string, v []byte, at string) error {
		switch key {
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth":
			return invalid(at, "is secret and has no place in a public key set", "")
		case "kty", "crv", "x", "kid", "alg", "use":
			var s string
			err := readText(&s, v, at, maxIssuerText)
			text[key] = s
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, "", err
	case text["kty"] == "oct":
		return nil, "", invalid(at, "is a symmetric key and has no place in a public key set", "")
	case text["kty"] != "OKP" || text["crv"] != "Ed25519":
		return nil, text["kid"], nil
	case has(text, "use", "sig"), has(text, "alg", "EdDSA") && has(text, "alg", "Ed25519"): // RFC 9864 renames the algorithm
		return nil, text["kid"], nil
	case text["kid"] == "":
		return nil, "", invalid(at, "has no kid", "")
	}
	key, ok := decodeBase64(nil, []byte(text["x"]))
	if !ok || len(key) != ed25519.PublicKeySize {
		return nil, "", invalid(at+"/x", "is not 32 bytes in base64url without padding", "")
	}
	return key, text["kid"], nil
}

// has tells whether a member is present with another value than the one that may be used.
func has(text map[string]string, key, wanted string) bool {
	v, ok := text[key]
	return ok && v != wanted
}

// JWKS returns the issuer's keys as a JWK set, ascending by key id; an unknown issuer has none.
func (k *Keys) JWKS(issuer string) []byte {
	ids := k.snapshot.Load().issuers[issuer]
	out := []byte(`{"keys":[`)
	for i, id := range slices.Sorted(maps.Keys(ids)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"alg":"EdDSA","crv":"Ed25519"`...)
		out = appendField(out, ",kid", id)
		out = append(out, `,"kty":"OKP","use":"sig"`...)
		out = append(appendField(out, ",x", base64.RawURLEncoding.EncodeToString(ids[id].key)), '}')
	}
	return append(out, `]}`...)
}
