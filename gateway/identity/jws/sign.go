package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ErrPrivateKey is a key that nothing is signed with. It quotes nothing of it.
var ErrPrivateKey = errors.New("not a usable private key: want PKCS #8 in PEM, of Ed25519, P-256, or RSA with 2048 to 8192 bits")

// ReadPrivateKey reads a private key in PEM (PKCS #8, or what older tools write for RSA and EC).
func ReadPrivateKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, ErrPrivateKey
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, ErrPrivateKey
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, ErrPrivateKey
	}
	if _, err := algorithmOf(signer); err != nil {
		return nil, err
	}
	return signer, nil
}

func algorithmOf(key crypto.Signer) (Algorithm, error) {
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return EdDSA, nil
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return ES256, nil
		}
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= maxRSA {
			return RS256, nil
		}
	}
	return "", ErrPrivateKey
}

// SeededKey is the P-256 key that a seed of 32 bytes stands for. A seed that is no scalar of the curve, one of some four thousand
// million, stands for that of its hash.
func SeededKey(seed []byte) (*ecdsa.PrivateKey, error) {
	if len(seed) != sha256.Size {
		return nil, ErrPrivateKey
	}
	for range 4 {
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed); err == nil {
			return key, nil
		}
		sum := sha256.Sum256(seed)
		seed = sum[:]
	}
	return nil, ErrPrivateKey
}

// Sign makes a compact JWS of claims. The header names the key by its RFC 7638 thumbprint.
func Sign(key crypto.Signer, typ string, claims map[string]any) (string, error) {
	alg, err := algorithmOf(key)
	if err != nil {
		return "", err
	}
	id, err := Thumbprint(key)
	if err != nil {
		return "", err
	}
	o := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, o)
	if err != nil {
		return "", ErrPrivateKey
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("write claims: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", ErrPrivateKey
	}
	return signed.CompactSerialize()
}

// Thumbprint names a key's public half (RFC 7638).
func Thumbprint(key crypto.Signer) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", ErrPrivateKey
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// PublicSet is the JWK set of one key's public half, for those who check what it signs.
func PublicSet(key crypto.Signer) ([]byte, error) {
	alg, err := algorithmOf(key)
	if err != nil {
		return nil, err
	}
	id, err := Thumbprint(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: id, Algorithm: string(alg), Use: "sig"}}})
}
