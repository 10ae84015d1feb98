package ledger

import (
	"encoding/binary"
	"slices"
)

// The text of a receipt is most of what making one costs, so it is encoded twelve bits at a time. What it writes is what
// encoding/base64 writes (RFC 4648, section 5, without padding); reading stays with that package.

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// base64Pairs holds the two characters of each twelve bits, the first in the low byte.
var base64Pairs = makeBase64Pairs()

func makeBase64Pairs() *[1 << 12]uint16 {
	pairs := new([1 << 12]uint16)
	for i := range pairs {
		pairs[i] = uint16(base64URL[i>>6]) | uint16(base64URL[i&63])<<8
	}
	return pairs
}

// appendBase64 appends the text of raw.
func appendBase64(dst, raw []byte) []byte {
	whole := len(raw) / 3
	dst = slices.Grow(dst, receiptText.EncodedLen(len(raw)))
	out := dst[len(dst) : len(dst)+4*whole]
	pairs := base64Pairs
	for ; len(raw) >= 8 && len(out) >= 8; raw, out = raw[6:], out[8:] { // eight bytes are read, six are used
		v := binary.BigEndian.Uint64(raw)
		binary.LittleEndian.PutUint64(out, uint64(pairs[v>>52])|uint64(pairs[v>>40&4095])<<16|
			uint64(pairs[v>>28&4095])<<32|uint64(pairs[v>>16&4095])<<48)
	}
	return receiptText.AppendEncode(dst[:len(dst)+4*whole-len(out)], raw)
}
