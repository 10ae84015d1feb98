package identity

import (
	"fmt"
	"io"
)

// A key reads ak_MODE_ID_SECRET: MODE is live or test, ID the 26 characters after key_ of its id, SECRET 43 characters
// of [0-9A-Za-z], 256 bits. Every key has the same length, so that anything else is refused before it is looked at.
const (
	keyPrefixLen = len("ak_live_")
	keyIDLen     = 26
	keySecretLen = 43
	keyTextLen   = keyPrefixLen + keyIDLen + 1 + keySecretLen
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// parseKey finds the id in a key's text, or tells that it is no key. There is exactly one spelling of every key.
func parseKey(text []byte) (id []byte, ok bool) {
	if len(text) != keyTextLen {
		return nil, false
	}
	if mode := string(text[:keyPrefixLen]); mode != "ak_live_" && mode != "ak_test_" {
		return nil, false
	}
	id, secret := text[keyPrefixLen:keyPrefixLen+keyIDLen], text[keyPrefixLen+keyIDLen+1:]
	if text[keyPrefixLen+keyIDLen] != '_' {
		return nil, false
	}
	if !isKeyID(id) {
		return nil, false
	}
	for _, c := range secret {
		if c < '0' || c > 'z' || c > '9' && c < 'A' || c > 'Z' && c < 'a' {
			return nil, false
		}
	}
	return id, true
}

// isKeyID tells whether it could be the part of a key's id that stands in its text.
func isKeyID(id []byte) bool {
	if len(id) != keyIDLen {
		return false
	}
	for _, c := range id {
		if crockfordValue[c] == 0 {
			return false
		}
	}
	return true
}

// writeKey makes the text of a new key.
func writeKey(mode Mode, id string, rand io.Reader) ([]byte, error) {
	text := make([]byte, 0, keyTextLen)
	text = append(append(append(text, "ak_"...), mode...), '_')
	text = append(append(text, id[len(id)-keyIDLen:]...), '_')
	return appendSecret(text, rand)
}

// appendSecret draws characters without bias: bytes of 248 (4 * 62) and above are thrown away, 3 % of them, so 128 are
// enough but for a broken source.
func appendSecret(text []byte, rand io.Reader) ([]byte, error) {
	var draw [128]byte
	defer clear(draw[:])
	if _, err := io.ReadFull(rand, draw[:]); err != nil {
		return nil, fmt.Errorf("draw a secret: %w", err)
	}
	for _, b := range draw {
		if b < 248 {
			text = append(text, base62[b%62])
		}
		if len(text) == keyTextLen {
			return text, nil
		}
	}
	return nil, fmt.Errorf("draw a secret: the source of randomness is broken")
}
