package intent

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// ways is how many entries share a slot group: a new entry pushes out one of so many.
const ways = 8

// cache is a bounded, lock-free map from bytes to *T: a table of groups, found by a keyed hash and
// compared in full. It forgets whenever it likes and never grows. Entries are immutable.
type cache[T any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[entry[T]]
	mask  uint64 // number of groups - 1
	turn  atomic.Uint64
}

type entry[T any] struct {
	key   []byte
	value *T
}

// newCache makes room for at least entries values; none when entries is not positive.
func newCache[T any](entries int) *cache[T] {
	if entries <= 0 {
		return &cache[T]{}
	}
	groups := uint64(1) << bits.Len64(uint64(entries-1)/ways)
	return &cache[T]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[entry[T]], groups*ways), mask: groups - 1}
}

func (c *cache[T]) group(key []byte) []atomic.Pointer[entry[T]] {
	first := (maphash.Bytes(c.seed, key) & c.mask) * ways
	return c.slots[first : first+ways]
}

func (c *cache[T]) get(key []byte) *T {
	if len(c.slots) == 0 {
		return nil
	}
	group := c.group(key)
	for i := range group {
		if e := group[i].Load(); e != nil && bytes.Equal(e.key, key) {
			return e.value
		}
	}
	return nil
}

// put stores value under key, which the cache keeps: in its old place, in a free one, or in place of
// an entry chosen by turn.
func (c *cache[T]) put(key []byte, value *T) {
	if len(c.slots) == 0 {
		return
	}
	group := c.group(key)
	at := int(c.turn.Add(1) % ways)
	for i := range group {
		e := group[i].Load()
		if e != nil && bytes.Equal(e.key, key) {
			at = i
			break
		}
		if e == nil {
			at = i
		}
	}
	group[at].Store(&entry[T]{key: key, value: value})
}

// drop forgets key.
func (c *cache[T]) drop(key []byte) {
	if len(c.slots) == 0 {
		return
	}
	group := c.group(key)
	for i := range group {
		if e := group[i].Load(); e != nil && bytes.Equal(e.key, key) {
			group[i].CompareAndSwap(e, nil)
		}
	}
}
