package canon

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// Finding two equal keys. Up to pairwise keys of an object are compared with each other by a cheap fingerprint, which is
// faster than any table for the objects that occur. Beyond that a hash table takes over, with a seed that is random for
// each document, so that nobody can prepare keys that collide: n keys cost O(n), whatever they are.
const (
	inlineKeys = 64 // keys of all open objects that fit the stack, 16 bytes each
	pairwise   = 24 // 276 comparisons of one word at most
	shortKey   = 64 // bytes; a longer key is hashed with the seed even for its fingerprint, so that comparing stays cheap
)

// key is a key of an open object.
type key struct {
	print uint64 // equal keys have equal prints; the converse is checked on the bytes
	start uint32 // of the content, behind the opening quote
	end   uint32 // of the content; the top bit says that it has escapes
}

const escapedBit = 1 << 31

func (k key) escaped() bool { return k.end&escapedBit != 0 }

func (s *scanner) raw(k key) []byte { return s.b[k.start : k.end&^escapedBit] }

// keySet is the keys of one open object: s.keys from base on, and above pairwise keys a table of their positions.
type keySet struct {
	base  int
	slots []uint32 // position in the object + 1, or 0; open addressing, at most half full
}

// hasher is a random hash function, seeded when it is first needed.
type hasher struct {
	seed   maphash.Seed
	seeded bool
}

func (h *hasher) ready() maphash.Seed {
	if !h.seeded {
		h.seed, h.seeded = maphash.MakeSeed(), true
	}
	return h.seed
}

// addKey adds the key with the content b[start:end] and reports false when the object has it already.
func (s *scanner) addKey(seen *keySet, start, end int, escaped bool) bool {
	k := key{start: uint32(start), end: uint32(end)}
	if escaped {
		k.end |= escapedBit
	}
	keys := s.keys[seen.base:]
	if len(keys) >= pairwise {
		return s.addHashed(seen, k)
	}
	k.print = s.fingerprint(k)
	for i := range keys {
		if keys[i].print == k.print && s.same(keys[i], k) {
			return false
		}
	}
	s.keys = append(s.keys, k)
	return true
}

// dropKeys forgets the keys of an object that has ended.
func (s *scanner) dropKeys(seen *keySet) {
	s.keys = s.keys[:seen.base]
	if cap(seen.slots) > cap(s.spare) {
		s.spare = seen.slots
	}
}

// fingerprint returns a word that is equal for equal keys and mostly different otherwise.
func (s *scanner) fingerprint(k key) uint64 {
	b := s.raw(k)
	n := len(b)
	switch {
	case k.escaped() || n > shortKey:
		return s.slowPrint(k)
	case n >= 8:
		return mix(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:]), n)
	case len(s.b)-int(k.start) >= 8: // the word reaches behind the key, and stays in the document
		return binary.LittleEndian.Uint64(s.b[k.start:])&(1<<(8*n)-1) | uint64(n)<<56
	}
	return shortPrint(b)
}

func mix(head, tail uint64, n int) uint64 {
	return head ^ tail*0x9e3779b97f4a7c15 ^ uint64(n)<<57 // the golden ratio's odd multiplier: spreads low bits upwards
}

func shortPrint(b []byte) uint64 {
	var x uint64
	for i, c := range b {
		x |= uint64(c) << (8 * i)
	}
	return x | uint64(len(b))<<56
}

// slowPrint is fingerprint for keys that are long or have escapes.
func (s *scanner) slowPrint(k key) uint64 {
	var buf [shortKey]byte
	b := s.raw(k)
	if k.escaped() {
		b = appendUnescaped(buf[:0], b)
	}
	switch n := len(b); {
	case n > shortKey:
		return maphash.Bytes(s.hash.ready(), b)
	case n >= 8:
		return mix(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:]), n)
	}
	return shortPrint(b)
}

// same reports whether two keys are equal once decoded.
func (s *scanner) same(a, b key) bool {
	if !a.escaped() && !b.escaped() {
		return bytes.Equal(s.raw(a), s.raw(b))
	}
	var bufA, bufB [shortKey]byte
	return bytes.Equal(appendUnescaped(bufA[:0], s.raw(a)), appendUnescaped(bufB[:0], s.raw(b)))
}

// addHashed is addKey for an object with many keys.
func (s *scanner) addHashed(seen *keySet, k key) bool {
	if seen.slots == nil {
		keys := s.keys[seen.base:]
		for i := range keys {
			keys[i].print = s.seededPrint(keys[i])
		}
		s.rehash(seen, 4*pairwise)
	}
	k.print = s.seededPrint(k)
	keys := s.keys[seen.base:]
	mask := uint64(len(seen.slots) - 1)
	i := k.print & mask
	for ; seen.slots[i] != 0; i = (i + 1) & mask {
		if old := keys[seen.slots[i]-1]; old.print == k.print && s.same(old, k) {
			return false
		}
	}
	seen.slots[i] = uint32(len(keys) + 1)
	s.keys = append(s.keys, k)
	if 2*(len(keys)+1) > len(seen.slots) {
		s.rehash(seen, 2*len(seen.slots))
	}
	return true
}

// seededPrint is a fingerprint that cannot be foreseen.
func (s *scanner) seededPrint(k key) uint64 {
	var buf [shortKey]byte
	b := s.raw(k)
	if k.escaped() {
		b = appendUnescaped(buf[:0], b)
	}
	return maphash.Bytes(s.hash.ready(), b)
}

// rehash gives the set a table of at least n slots, reusing that of a finished object. Clearing is bounded by the new
// size, not by what an earlier object needed.
func (s *scanner) rehash(seen *keySet, n int) {
	size := 1
	for size < n {
		size *= 2
	}
	if old := s.spare; cap(old) >= size {
		s.spare = nil
		seen.slots = old[:size]
		clear(seen.slots)
	} else {
		seen.slots = make([]uint32, size)
	}
	mask := uint64(size - 1)
	for pos, k := range s.keys[seen.base:] {
		i := k.print & mask
		for seen.slots[i] != 0 {
			i = (i + 1) & mask
		}
		seen.slots[i] = uint32(pos + 1)
	}
}
