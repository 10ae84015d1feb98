package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"slices"
	"strings"
)

const (
	pinPrefix = "sha256/" // the one form of pin, as curl and HPKP (RFC 7469) write it
	maxPins   = 8         // more than a key in use, its successor and two authorities is a mistake
)

// parsePins reads pins of the form sha256/BASE64: digests of public keys (SubjectPublicKeyInfo).
func parsePins(texts []string, a address) ([][sha256.Size]byte, *Error) {
	if len(texts) > 0 && !a.tls {
		return nil, fault(Invalid, "pins are of TLS keys, and the server's URL is http")
	}
	if len(texts) > maxPins {
		return nil, fault(Invalid, "too many pins")
	}
	pins := make([][sha256.Size]byte, len(texts))
	for i, text := range texts {
		encoded, ok := strings.CutPrefix(text, pinPrefix)
		digest, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(digest) != sha256.Size {
			return nil, fault(Invalid, "a pin is not sha256/ and the base64 of 32 bytes")
		}
		pins[i] = [sha256.Size]byte(digest)
	}
	return pins, nil
}

// pinned refuses a connection when no key of the chain is pinned. crypto/tls has verified the chain before; a key that is
// only shown beside it does not count.
func (p *peer) pinned(state tls.ConnectionState) error {
	for _, chain := range state.VerifiedChains {
		for _, cert := range chain {
			digest := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			if slices.Contains(p.pins, digest) {
				return nil
			}
		}
	}
	return fault(Unreachable, "the server's certificate is valid, but no key of its chain is pinned (a new key has to be among pins before it is used)")
}
