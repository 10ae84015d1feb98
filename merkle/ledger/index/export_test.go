package index

import "hash/crc32"

// Summed is a file with sums that are right, so that a fuzzer comes past them.
func Summed(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) < headBytes+sumBytes {
		return b
	}
	h, _, err := parseHead(b[:headBytes])
	whole := headBytes + h.directory + sumBytes
	if err != nil || whole > len(b) {
		return b
	}
	le.PutUint32(b[96:], crc32.Checksum(b[whole:], castagnoli))
	le.PutUint32(b[whole-sumBytes:], crc32.Checksum(b[:whole-sumBytes], castagnoli))
	return b
}

// Places of a file's parts from its end, given its rows: the lists, and the first block's agents and kinds.
func ListsAt(b []byte, rows int) int  { return BlocksAt(b, rows) - 4*rows }
func AgentsAt(b []byte, rows int) int { return BlocksAt(b, rows) + colAgent.at() }
func KindsAt(b []byte, rows int) int  { return BlocksAt(b, rows) + colKind.at() }
func BlocksAt(b []byte, rows int) int {
	return len(b) - (rows+blockRows-1)/blockRows*blockBytes
}
