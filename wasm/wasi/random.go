package wasi

import "encoding/binary"

// seed is where the random numbers of each call begin: nobody may take them for a secret.
const seed = 0x67_61_74_65_77_72_69_67 // "gatewrig"

// mostRandom is how many bytes one call fills at most.
const mostRandom = 64 << 10

// random is random_get(at, size). The generator is SplitMix64 (https://prng.di.unimi.it/splitmix64.c).
func random(g *guest, a []uint64) errno {
	size := low(a[1])
	if size > mostRandom {
		return inval
	}
	g.host.Charge(int64(size) / 8)
	to := g.bytes(low(a[0]), size)
	s := g.state
	var word [8]byte
	for len(to) > 0 {
		s.random += 0x9e3779b97f4a7c15
		z := s.random
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		to = to[copy(to, word[:]):]
	}
	return success
}
