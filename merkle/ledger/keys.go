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

// KeyType is the first byte of a key's material in C2SP signed-note: what its signatures are.
type KeyType byte

// Key types that are known here.
const (
	KeyEd25519     KeyType = 0x01 // Ed25519 over the note's text: receipts and checkpoints
	KeyCosignature KeyType = 0x04 // Ed25519 over text and time: a witness's cosignature/v1
	KeyMLDSA44     KeyType = 0x06 // ML-DSA-44 over tree and time: a witness's cosignature
)

// mldsa44Size is the length of an ML-DSA-44 public key in bytes (FIPS 204).
const mldsa44Size = 1312

// Bounds of a pinned key file.
const (
	maxKeys    = 4096
	maxKeyName = 255
)

// ErrKey is a public key or key file that cannot be used.
var ErrKey = errors.New("verifier key is not valid")

// VerifierKey is a public key under a name, as C2SP signed-note writes it: name+hash+base64(type || key). The zero value
// verifies nothing.
type VerifierKey struct {
	Name string
	Hash uint32            // first four bytes of SHA-256(name || "\n" || type || key)
	Key  ed25519.PublicKey // of type 0x01; empty for a witness's key, which no receipt is believed under

	cosigner cosignerKey // of types 0x04 and 0x06
}

// cosignerKey is the public key of a witness.
type cosignerKey struct {
	typ    KeyType
	key    string // its bytes
	scheme Scheme // checks what the standard library cannot; nil otherwise
}

// usable tells whether signatures can be checked under the key at all.
func (c cosignerKey) usable() bool { return c.typ == KeyCosignature || c.scheme != nil }

func (c cosignerKey) verify(message, sig []byte) bool {
	switch {
	case c.typ == KeyCosignature:
		return len(c.key) == ed25519.PublicKeySize && ed25519.Verify(ed25519.PublicKey(c.key), message, sig)
	case c.scheme != nil && c.scheme.KeyType() == c.typ:
		return c.scheme.Verify([]byte(c.key), message, sig)
	}
	return false
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
	return VerifierKey{Name: name, Hash: keyHash(name, KeyEd25519, key), Key: bytes.Clone(key)}, nil
}

// NewWitnessKey names the public key of a witness: type 0x04 with 32 bytes, or type 0x06 with 1,312 bytes and, so that it
// verifies anything, the scheme for it.
func NewWitnessKey(name string, typ KeyType, key []byte, schemes ...Scheme) (VerifierKey, error) {
	want := map[KeyType]int{KeyCosignature: ed25519.PublicKeySize, KeyMLDSA44: mldsa44Size}[typ]
	if want == 0 || len(key) != want {
		return VerifierKey{}, fmt.Errorf("%w: %d bytes of type %#02x are no key of a witness", ErrKey, len(key), byte(typ))
	}
	if !validKeyName(name) {
		return VerifierKey{}, fmt.Errorf("%w: name %q", ErrKey, clip(name))
	}
	k := VerifierKey{Name: name, Hash: keyHash(name, typ, key), cosigner: cosignerKey{typ: typ, key: string(key)}}
	for _, s := range schemes {
		if s.KeyType() == typ {
			k.cosigner.scheme = s
		}
	}
	return k, nil
}

func keyHash(name string, typ KeyType, key []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{byte(typ)})
	h.Write(key)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Type says what the key's signatures are.
func (k VerifierKey) Type() KeyType {
	if k.cosigner.typ != 0 {
		return k.cosigner.typ
	}
	return KeyEd25519
}

// validKeyName: signed-note forbids spaces and plus signs in a name.
func validKeyName(name string) bool {
	return name != "" && len(name) <= maxKeyName && utf8.ValidString(name) &&
		!strings.ContainsRune(name, '+') && strings.IndexFunc(name, unicode.IsSpace) < 0
}

// ParseVerifierKey reads one key text of type 0x01 and checks its hash. Keys of witnesses are refused here, so that nobody
// pins one for receipts: ParseWitnessKey reads them.
func ParseVerifierKey(text string) (VerifierKey, error) {
	k, err := ParseKey(text)
	if err == nil && k.Type() != KeyEd25519 {
		return VerifierKey{}, fmt.Errorf("%w: not an Ed25519 key", ErrKey)
	}
	return k, err
}

// ParseWitnessKey reads one key text of type 0x04 or 0x06 and checks its hash. A key of type 0x06 verifies nothing unless
// its scheme is among schemes.
func ParseWitnessKey(text string, schemes ...Scheme) (VerifierKey, error) {
	k, err := ParseKey(text, schemes...)
	if err == nil && k.Type() == KeyEd25519 {
		return VerifierKey{}, fmt.Errorf("%w: type 0x01 is no key of a witness", ErrKey)
	}
	return k, err
}

// ParseKey reads one key text of any type known here, as a witness does for the logs that it watches.
func ParseKey(text string, schemes ...Scheme) (VerifierKey, error) {
	name, rest, _ := strings.Cut(text, "+")
	sum, enc, ok := strings.Cut(rest, "+")
	if !ok || len(sum) != 8 {
		return VerifierKey{}, fmt.Errorf("%w: want name+hash+base64", ErrKey)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(enc)
	if err != nil || len(raw) == 0 || strings.ContainsAny(enc, "\r\n") {
		return VerifierKey{}, fmt.Errorf("%w: malformed base64", ErrKey)
	}
	k := VerifierKey{}
	if KeyType(raw[0]) == KeyEd25519 {
		k, err = NewVerifierKey(name, raw[1:])
	} else {
		k, err = NewWitnessKey(name, KeyType(raw[0]), raw[1:], schemes...)
	}
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

// Bytes returns the public key itself, without its type.
func (k VerifierKey) Bytes() []byte {
	if k.cosigner.typ != 0 {
		return []byte(k.cosigner.key)
	}
	return bytes.Clone(k.Key)
}

// String returns the key in the form ParseKey reads.
func (k VerifierKey) String() string {
	raw := append([]byte{byte(k.Type())}, k.Bytes()...)
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.Hash, base64.StdEncoding.EncodeToString(raw))
}

// verify reports whether any pinned key of that name and hash made the signature.
func (ks VerifierKeys) verify(name string, hash uint32, message, sig []byte) bool {
	for i := range ks {
		k := &ks[i]
		if k.Hash == hash && k.Name == name && k.Type() == KeyEd25519 && len(k.Key) == ed25519.PublicKeySize &&
			ed25519.Verify(k.Key, message, sig) {
			return true
		}
	}
	return false
}
