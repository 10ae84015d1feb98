package tile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/gatewright/gatewright/merkle"
)

// MaxEntry is the largest entry in bytes: a bundle counts it in a uint16.
const MaxEntry = math.MaxUint16

// maxBundle is the largest bundle in bytes.
const maxBundle = Width * (2 + MaxEntry)

// ErrEntry refuses an entry that no bundle can hold.
var ErrEntry = errors.New("entry is too large for a bundle")

// AppendEntry appends an entry as it stands in a bundle: its length in two bytes, big-endian, then the bytes. The entry
// must be within MaxEntry.
func AppendEntry(dst, entry []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(entry))) //nolint:gosec // the caller's contract
	return append(dst, entry...)
}

// bundled is how many bytes entries take in a bundle.
func bundled(entries [][]byte) (n int) {
	for _, e := range entries {
		n += 2 + len(e)
	}
	return n
}

// ParseBundle takes a bundle of that many entries apart. The entries point into it.
func ParseBundle(b []byte, wide int) ([][]byte, error) {
	out := make([][]byte, 0, wide)
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) || len(out) == wide {
			return nil, fmt.Errorf("%w: a bundle does not end with an entry", ErrDamaged)
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		out, b = append(out, b[2:n:n]), b[n:]
	}
	if len(out) != wide {
		return nil, fmt.Errorf("%w: a bundle has %d entries, not %d", ErrDamaged, len(out), wide)
	}
	return out, nil
}

// cutBundle returns the first entries of a bundle, as a narrower bundle.
func cutBundle(b []byte, wide int) ([]byte, error) {
	end := 0
	for range wide {
		if len(b)-end < 2 || len(b)-end-2 < int(binary.BigEndian.Uint16(b[end:])) {
			return nil, fmt.Errorf("%w: a bundle is too short", ErrDamaged)
		}
		end += 2 + int(binary.BigEndian.Uint16(b[end:]))
	}
	return b[:end], nil
}

// appendHashes appends the bytes of a tile.
func appendHashes(dst []byte, hashes []merkle.Hash) []byte {
	for i := range hashes {
		dst = append(dst, hashes[i][:]...)
	}
	return dst
}

// parseHashes reads a tile of that many hashes.
func parseHashes(b []byte, wide int) ([]merkle.Hash, error) {
	if len(b) != wide*merkle.HashSize {
		return nil, fmt.Errorf("%w: a tile has %d bytes, not %d", ErrDamaged, len(b), wide*merkle.HashSize)
	}
	out := make([]merkle.Hash, wide)
	for i := range out {
		out[i] = merkle.Hash(b[i*merkle.HashSize:])
	}
	return out, nil
}
