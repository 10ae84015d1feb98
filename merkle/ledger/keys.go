package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// algEd25519 is the key type of Ed25519 in C2SP signed-note.
const algEd25519 = 1

// Bounds of a pinned key file.
const (
	maxKeys    = 4096
	maxKeyName = 255
)

// ErrKey is a public key or key file that cannot be used.
var ErrKey = errors.New("verifier key is not valid")

// VerifierKey is an Ed25519 public key under a name, as C2SP signed-note writes it:
// name+hash+base64(0x01 || key). The zero value verifies nothing.
type VerifierKey struct {
	Name string
	Hash uint32 // first four bytes of SHA-256(name || "\n" || 0x01 || key)
	Key  ed25519.PublicKey
}

// VerifierKeys are the pinned keys of the instances a verifier trusts.
type VerifierKeys []VerifierKey

// NewVerifierKey names a public key.
func NewVerifierKey(name string, key ed25519.PublicKey) (VerifierKey, error) {
	if len(key) != ed25519.PublicKeySize {
		return VerifierKey{}, fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	if !validKeyName(name) {
		return VerifierKey{}, fmt.Errorf("%w: name %q", ErrKey, clip(name))
	}
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{algEd25519})
	h.Write(key)
	return VerifierKey{Name: name, Hash: binary.BigEndian.Uint32(h.Sum(nil)), Key: bytes.Clone(key)}, nil
}

// validKeyName: signed-note forbids spaces and plus signs in a name.
func validKeyName(name string) bool {
	return name != "" && len(name) <= maxKeyName && utf8.ValidString(name) &&
		!strings.ContainsRune(name, '+') && strings.IndexFunc(name, unicode.IsSpace) < 0
}

// ParseVerifierKey reads one key text and checks its hash.
func ParseVerifierKey(text string) (VerifierKey, error) {
	name, rest, _ := strings.Cut(text, "+")
	sum, enc, ok := strings.Cut(rest, "+")
	if !ok || len(sum) != 8 {
		return VerifierKey{}, fmt.Errorf("%w: want name+hash+base64", ErrKey)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(enc)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algEd25519 {
		return VerifierKey{}, fmt.Errorf("%w: not an Ed25519 key", ErrKey)
	}
	k, err := NewVerifierKey(name, raw[1:])
	if err != nil {
		return VerifierKey{}, err
	}
	if want, err := strconv.ParseUint(sum, 16, 32); err != nil || uint32(want) != k.Hash {
		return VerifierKey{}, fmt.Errorf("%w: hash does not match", ErrKey)
	}
	return k, nil
}

// ParseVerifierKeys reads a file of pinned keys: one per line, empty lines and lines from # on left out.
// A file without a key is refused: it would verify nothing.
func ParseVerifierKeys(file []byte) (VerifierKeys, error) {
	var keys VerifierKeys
	for n, line := range strings.Split(string(file), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseVerifierKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		if keys = append(keys, k); len(keys) > maxKeys {
			return nil, fmt.Errorf("%w: more than %d keys", ErrKey, maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key in file", ErrKey)
	}
	return keys, nil
}

// String returns the key in the form ParseVerifierKey reads.
func (k VerifierKey) String() string {
	raw := append([]byte{algEd25519}, k.Key...)
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.Hash, base64.StdEncoding.EncodeToString(raw))
}

// verify reports whether any pinned key of that name and hash made the signature.
func (ks VerifierKeys) verify(name string, hash uint32, message, sig []byte) bool {
	for i := range ks {
		k := &ks[i]
		if k.Hash == hash && k.Name == name && len(k.Key) == ed25519.PublicKeySize &&
			ed25519.Verify(k.Key, message, sig) {
			return true
		}
	}
	return false
}
