package index

import "crypto/sha256"

// Summed is a file with digest and MAC that are right, so that a fuzzer comes past them.
func Summed(b []byte, key *Key) []byte {
	b = append([]byte(nil), b...)
	if len(b) < headBytes+macBytes {
		return b
	}
	h, _, err := parseHead(b[:headBytes])
	whole := headBytes + h.directory + macBytes
	if err != nil || whole > len(b) {
		return b
	}
	sum := sha256.Sum256(b[whole:])
	copy(b[bodyAt:], sum[:])
	copy(b[whole-macBytes:], key.mac(b[:whole-macBytes]))
	return b
}

// Places of a file's parts from its end, given its rows: the lists, and the first block's agents and kinds.
func ListsAt(b []byte, rows int) int  { return BlocksAt(b, rows) - 4*rows }
func AgentsAt(b []byte, rows int) int { return BlocksAt(b, rows) + colAgent.at() }
func KindsAt(b []byte, rows int) int  { return BlocksAt(b, rows) + colKind.at() }
func BlocksAt(b []byte, rows int) int {
	return len(b) - (rows+blockRows-1)/blockRows*blockBytes
}
