// Package merkle holds RFC 6962 (and RFC 9162) hash trees: leaf and node hashes, trees that keep all their nodes,
// frontiers that keep only the right edge, and the verification of inclusion and consistency proofs.
//
// The package is pure: no clock, no disk, no randomness, and nothing but the standard library. Verification allocates
// nothing on success. Three rules keep it safe against hostile proofs:
//
//   - leaves and inner nodes are hashed with different prefixes, so a node can never pass as a leaf;
//   - the tree size is an argument that the caller takes from something signed, never from the proof itself;
//   - a proof has exactly one right length for an index and a size, and any other length is refused before hashing.
package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// HashSize is the length of a Hash in bytes.
const HashSize = sha256.Size

// Prefixes of RFC 6962, section 2.1: they separate the two uses of SHA-256.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// ErrHashText refuses a text that is not exactly 64 lower-case hexadecimal digits.
var ErrHashText = errors.New("merkle: hash is not 64 lower-case hexadecimal digits")

// Hash is a SHA-256 value: a leaf, a node or a root.
type Hash [HashSize]byte

// String returns the hash as 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero value, which no known input hashes to and which stands for "absent".
func (h Hash) IsZero() bool { return h == Hash{} }

// AppendText appends the 64 lower-case hexadecimal digits of h to b.
func (h Hash) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, h[:]), nil }

// MarshalText returns the 64 lower-case hexadecimal digits of h.
func (h Hash) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// UnmarshalText reads what MarshalText writes and nothing else: upper-case digits, blanks and other lengths are refused,
// so that one hash has one spelling. On error h is unchanged.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*HashSize {
		return fmt.Errorf("%w: %d bytes", ErrHashText, len(text))
	}
	var out Hash
	for i := range out {
		hi, lo := nibbles[text[2*i]], nibbles[text[2*i+1]]
		if hi|lo > 0x0f {
			return fmt.Errorf("%w: at byte %d", ErrHashText, 2*i)
		}
		out[i] = hi<<4 | lo
	}
	*h = out
	return nil
}

// IsHashText reports whether UnmarshalText would read a text, for those who do not need the hash.
func IsHashText(text []byte) bool {
	if len(text) != 2*HashSize {
		return false
	}
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	seen, good := uint64(0), uint64(highs)
	for ; len(text) > 0; text = text[8:] {
		x := binary.LittleEndian.Uint64(text)
		seen |= x
		// Below 0x80 no sum carries into the next byte, and a byte's high bit says that it is not below a bound.
		digit := (x + (0x80-'0')*ones) &^ (x + (0x80-'9'-1)*ones)
		letter := (x + (0x80-'a')*ones) &^ (x + (0x80-'f'-1)*ones)
		good &= digit | letter
	}
	return seen&highs == 0 && good == highs
}

// ParseHash reads a hash from its 64 lower-case hexadecimal digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if err := h.UnmarshalText([]byte(s)); err != nil {
		return Hash{}, err
	}
	return h, nil
}

// nibbles has the values of the lower-case hexadecimal digits, and 0xff for every other byte.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()

// LeafHash returns SHA-256(0x00 || data), the hash of a leaf. It does not allocate: the compiler keeps the digest on the
// stack.
func LeafHash(data []byte) (h Hash) {
	d := sha256.New()
	d.Write([]byte{leafPrefix})
	d.Write(data)
	d.Sum(h[:0])
	return h
}

// NodeHash returns SHA-256(0x01 || left || right), the hash of an inner node.
func NodeHash(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = nodePrefix
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

// EmptyRoot returns SHA-256 of the empty string, the root of a tree without leaves.
func EmptyRoot() Hash { return sha256.Sum256(nil) }
