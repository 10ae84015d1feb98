package ledger

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// idPrefix starts every record id; idLength counts the whole.
const (
	idPrefix = "rec_"
	idLength = len(idPrefix) + 26
)

// idAlphabet is Crockford's base 32 in lower case: its order is the order of the bytes, so ids sort by time.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

var rawPool = sync.Pool{New: func() any { return new([16]byte) }}

// NewID returns a fresh record id: 48 bits of unix milliseconds, then 80 random bits.
func NewID(now time.Time, rand io.Reader) (string, error) {
	raw := rawPool.Get().(*[16]byte)
	defer rawPool.Put(raw)
	binary.BigEndian.PutUint64(raw[:8], uint64(now.UnixMilli())<<16)
	if _, err := io.ReadFull(rand, raw[6:]); err != nil {
		return "", fmt.Errorf("make record id: %w", err)
	}
	var text [idLength]byte
	copy(text[:], idPrefix)
	idEncoding.Encode(text[len(idPrefix):], raw[:])
	return string(text[:]), nil
}

// inID tells which bytes the alphabet has.
var inID = func() (out [256]bool) {
	for _, c := range []byte(idAlphabet) {
		out[c] = true
	}
	return out
}()

// ValidID reports whether s has the form of a record id.
func ValidID(s string) bool { return isID(s) }

func isID[T string | []byte](s T) bool {
	if len(s) != idLength || string(s[:len(idPrefix)]) != idPrefix {
		return false
	}
	for i := len(idPrefix); i < idLength; i++ {
		if !inID[s[i]] {
			return false
		}
	}
	return true
}
