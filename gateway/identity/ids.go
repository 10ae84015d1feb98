package identity

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// crockford is base32 without the letters i, l, o, u (Crockford), lower case, in ascending order of bytes.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// crockfordValue is a character's value plus one, 0 for one that is not in the alphabet.
var crockfordValue = func() (table [256]byte) {
	for i := range len(crockford) {
		table[crockford[i]] = byte(i + 1)
	}
	return table
}()

// newID makes prefix and 26 characters: 48 bit of milliseconds, then 80 random bits, so that ids sort by time.
func newID(prefix string, now time.Time, rand io.Reader) (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(rand, raw[6:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	ms := uint64(max(now.UnixMilli(), 0))
	raw[0], raw[1] = byte(ms>>40), byte(ms>>32)
	binary.BigEndian.PutUint32(raw[2:], uint32(ms))
	hi, lo := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	var text [26]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return prefix + string(text[:]), nil
}
