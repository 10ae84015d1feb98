package canon

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
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

// keyTable holds the positions of an object's keys, once it has more than pairwise. The zero value is no table.
type keyTable struct {
	slots []uint32 // position + 1, or 0; a power of two of them, open addressing, at most half full
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

// key reads the key whose content starts at i, and returns it with the position behind its closing quote.
func (s *scanner) key(i int) (key, int) {
	if b := s.b; len(b)-i >= 8 {
		// Most keys have less than eight bytes, end in the first word, and are their own fingerprint.
		x := binary.LittleEndian.Uint64(b[i:])
		if m := special(x); m != 0 {
			shift := bits.TrailingZeros64(m) &^ 7
			n := shift >> 3
			if x &= 1<<shift - 1; b[i+n] == '"' && x&highs == 0 {
				return key{print: x | uint64(n)<<56, start: uint32(i), end: uint32(i + n)}, i + n + 1
			}
		}
	}
	end, escaped := s.str(i)
	if end < 0 {
		return key{}, -1
	}
	k := key{start: uint32(i), end: uint32(end - 1)}
	if escaped {
		k.end |= escapedBit
	}
	k.print = s.fingerprint(k)
	return k, end
}

// isNew reports whether k is not among keys.
func (s *scanner) isNew(keys []key, k key) bool {
	for i := range keys {
		if keys[i].print == k.print && s.same(keys[i], k) {
			return false
		}
	}
	return true
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

// insert notes k, which the caller appends to keys, in the table and reports false when keys has it already. It gives k, and
// on the first call all keys, a fingerprint that cannot be foreseen.
func (s *scanner) insert(t *keyTable, keys []key, k *key) bool {
	if t.slots == nil {
		for i := range keys {
			keys[i].print = s.seededPrint(keys[i])
		}
	}
	if 2*(len(keys)+1) > len(t.slots) {
		s.grow(t, keys)
	}
	k.print = s.seededPrint(*k)
	mask := uint64(len(t.slots) - 1)
	i := k.print & mask
	for ; t.slots[i] != 0; i = (i + 1) & mask {
		if old := keys[t.slots[i]-1]; old.print == k.print && s.same(old, *k) {
			return false
		}
	}
	t.slots[i] = uint32(len(keys) + 1)
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

// grow gives the table at least twice the slots, reusing those of a finished object. Clearing is bounded by the new size,
// not by what an earlier object needed.
func (s *scanner) grow(t *keyTable, keys []key) {
	size := 128 // the first power of two that pairwise keys fill to less than a quarter
	for size < 4*len(keys) {
		size *= 2
	}
	if old := s.spare; cap(old) >= size {
		s.spare = nil
		t.slots = old[:size]
		clear(t.slots)
	} else {
		t.slots = make([]uint32, size)
	}
	mask := uint64(size - 1)
	for pos, k := range keys {
		i := k.print & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = uint32(pos + 1)
	}
}

// release keeps the table of an object that has ended for the next one.
func (s *scanner) release(t keyTable) {
	if cap(t.slots) > cap(s.spare) {
		s.spare = t.slots
	}
}
