package policies

import (
	"hash/maphash"
	"sync/atomic"
)

// cache is a fixed number of slots, each holding the last value that fell into it. It never grows, takes no lock and
// answers only for the exact key; losing an entry costs a rebuild, nothing else.
type cache[K comparable, V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cached[K, V]]
}

type cached[K comparable, V any] struct {
	key   K
	value V
}

// newCache makes a cache of 1<<bits slots.
func newCache[K comparable, V any](bits int) *cache[K, V] {
	return &cache[K, V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cached[K, V]], 1<<bits)}
}

func (c *cache[K, V]) slot(key K) *atomic.Pointer[cached[K, V]] {
	return &c.slots[maphash.Comparable(c.seed, key)&uint64(len(c.slots)-1)]
}

// get returns the value of key, made by build when it is not there. Two callers may build the same value at once; both
// values are good.
func (c *cache[K, V]) get(key K, build func() V) V {
	s := c.slot(key)
	if e := s.Load(); e != nil && e.key == key {
		return e.value
	}
	e := &cached[K, V]{key: key, value: build()}
	s.Store(e)
	return e.value
}

// put replaces whatever stands in the key's slot.
func (c *cache[K, V]) put(key K, value V) { c.slot(key).Store(&cached[K, V]{key: key, value: value}) }
