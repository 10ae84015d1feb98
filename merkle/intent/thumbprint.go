package intent

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
)

// KeyThumbprint returns the SHA-256 thumbprint (RFC 7638) of an Ed25519 key as a JWK (RFC 8037), in
// base64url: 43 characters. It is "", which no token names, for what is no key or one that anybody can
// sign for.
func KeyThumbprint(key ed25519.PublicKey) string {
	if len(key) != ed25519.PublicKeySize || weakKey(key) {
		return ""
	}
	jwk := append(make([]byte, 0, 96), `{"crv":"Ed25519","kty":"OKP","x":"`...)
	jwk = append(base64.RawURLEncoding.AppendEncode(jwk, key), `"}`...)
	sum := sha256.Sum256(jwk)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// validThumbprint tells whether text is one of the spellings KeyThumbprint makes.
func validThumbprint(text string) bool {
	var buf [sha256.Size + 3]byte
	sum, ok := decodeBase64(buf[:0], []byte(text))
	return ok && len(sum) == sha256.Size
}
