package jws

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatewright/gatewright/merkle/canon"
)

// ErrKeys refuses a key set.
var ErrKeys = errors.New("not a usable key set")

// ErrNoKey is an ErrKeys of a set that is in order, and holds no key of the algorithm.
var ErrNoKey = fmt.Errorf("%w: no key for the algorithm in it", ErrKeys)

// Bounds of a key set. Issuers publish two to ten keys; a certificate chain beside each is 8 KiB at most.
const (
	maxKeySet     = 256 << 10
	maxKeys       = 64
	maxKeyID      = 256
	minRSA        = 2048 // bits
	maxRSA        = 8192 // bits; beyond that one signature costs more than a request is worth
	minSecret     = 32   // bytes: HMAC-SHA-256 is as strong as its output (RFC 7518, 3.2)
	maxSecret     = 4096
	maxKeySetDeep = 8
)

// KeySet are an issuer's public keys of one algorithm, by key id.
type KeySet map[string]any

// ReadKeys reads a JWK set (RFC 7517) and takes the keys that sign with alg. Others are passed over. A set
// that holds a secret, or a key that would serve and is weak, without an id or has another's id, is refused whole.
func ReadKeys(set []byte, alg Algorithm) (KeySet, error) {
	if err := canon.Check(set, canon.Limits{Bytes: maxKeySet, Depth: maxKeySetDeep, Values: maxValues}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	list, ok := canon.Get(set, "keys")
	if !ok || canon.KindOf(list) != '[' {
		return nil, fmt.Errorf("%w: no array named keys", ErrKeys)
	}
	keys := KeySet{}
	err := canon.EachElement(list, func(i int, raw []byte) error {
		if i >= maxKeys {
			return fmt.Errorf("%w: more than %d keys", ErrKeys, maxKeys)
		}
		if err := keys.take(raw, alg); err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, fmt.Errorf("%w (%s)", ErrNoKey, alg)
	}
	return keys, nil
}

// take adds one key of a set, or passes it over.
func (k KeySet) take(raw []byte, alg Algorithm) error {
	if canon.KindOf(raw) != '{' {
		return fmt.Errorf("%w: not an object", ErrKeys)
	}
	for _, secret := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if _, ok := canon.Get(raw, secret); ok {
			return fmt.Errorf("%w: a secret stands in it", ErrKeys)
		}
	}
	if !serves(raw, alg) {
		return nil
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("%w: the key does not parse", ErrKeys)
	}
	if key.KeyID == "" || len(key.KeyID) > maxKeyID {
		return fmt.Errorf("%w: a key needs a kid of at most %d bytes", ErrKeys, maxKeyID)
	}
	if k[key.KeyID] != nil {
		return fmt.Errorf("%w: kid %q is there twice", ErrKeys, key.KeyID)
	}
	if err := strong(key.Key, alg); err != nil {
		return err
	}
	k[key.KeyID] = key.Key
	return nil
}

// serves tells whether a key of a set says that it signs with alg.
func serves(raw []byte, alg Algorithm) bool {
	want := map[Algorithm][2]string{EdDSA: {"OKP", "Ed25519"}, ES256: {"EC", "P-256"}, RS256: {"RSA", ""}, PS256: {"RSA", ""}}[alg]
	kty, _ := Text(raw, "kty")
	crv, _ := Text(raw, "crv")
	if want[0] == "" || kty != want[0] || crv != want[1] {
		return false
	}
	if use, ok := canon.Get(raw, "use"); ok && string(use) != `"sig"` {
		return false
	}
	said, ok := canon.Get(raw, "alg")
	return !ok || string(said) == `"`+string(alg)+`"`
}

func strong(key any, alg Algorithm) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		if alg == EdDSA && len(k) == ed25519.PublicKeySize {
			return nil
		}
	case *ecdsa.PublicKey:
		if alg == ES256 && k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); (alg == RS256 || alg == PS256) && n >= minRSA && n <= maxRSA && k.E >= 3 && k.E&1 == 1 {
			return nil
		}
	}
	return fmt.Errorf("%w: too weak, too large, or no key for %s", ErrKeys, alg)
}

// CheckSecret refuses an HS256 secret that is too short to be one.
func CheckSecret(secret []byte) error {
	if len(secret) < minSecret || len(secret) > maxSecret {
		return fmt.Errorf("%w: a secret has %d to %d bytes", ErrKeys, minSecret, maxSecret)
	}
	return nil
}
