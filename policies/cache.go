package policies

import (
	"hash/maphash"
	"sync/atomic"
)

// ways is the number of places an entry may stand in. One would let two busy callers push each other out forever.
const ways = 4

// cache keeps what is costly to build and cheap to lose. It holds at most 1<<maxBits entries and starts small, since every
// tenant has its own; it takes no lock on reading and answers only for the exact key. Two callers may build the same value
// at once: both values are good.
type cache[K comparable, V any] struct {
	seed    maphash.Seed
	maxBits int
	table   atomic.Pointer[cacheTable[K, V]]
}

type cacheTable[K comparable, V any] struct {
	slots     []atomic.Pointer[cacheEntry[K, V]]
	displaced atomic.Uint64 // entries pushed out since this table was made
}

type cacheEntry[K comparable, V any] struct {
	key   K
	value V
}

// minBits is the size of an empty cache: 64 entries, 512 bytes.
const minBits = 6

func newCache[K comparable, V any](maxBits int) *cache[K, V] {
	c := &cache[K, V]{seed: maphash.MakeSeed(), maxBits: maxBits}
	c.table.Store(newCacheTable[K, V](1 << min(minBits, maxBits)))
	return c
}

func newCacheTable[K comparable, V any](size int) *cacheTable[K, V] {
	return &cacheTable[K, V]{slots: make([]atomic.Pointer[cacheEntry[K, V]], size)}
}

// set gives the places of a key.
func (c *cache[K, V]) set(t *cacheTable[K, V], key K) []atomic.Pointer[cacheEntry[K, V]] {
	first := maphash.Comparable(c.seed, key) & uint64(len(t.slots)-1) &^ (ways - 1)
	return t.slots[first : first+ways]
}

func (c *cache[K, V]) get(key K) (v V, ok bool) {
	set := c.set(c.table.Load(), key)
	for i := range set {
		if e := set[i].Load(); e != nil && e.key == key {
			return e.value, true
		}
	}
	return v, false
}

// put stores the value and returns it. It takes the key's own place, else a free one, else another's.
func (c *cache[K, V]) put(key K, value V) V {
	t := c.table.Load()
	set := c.set(t, key)
	e := &cacheEntry[K, V]{key: key, value: value}
	at := -1
	for i := range set {
		old := set[i].Load()
		if old != nil && old.key == key {
			at = i
			break
		}
		if old == nil && at < 0 {
			at = i
		}
	}
	if at >= 0 {
		set[at].Store(e)
		return value
	}
	n := t.displaced.Add(1)
	set[n%ways].Store(e)
	c.grow(t, n)
	return value
}

// grow doubles a table that has lost a sixteenth of its size: keys that share their places would push each other out for
// ever. What is put into the old one meanwhile comes back when it is asked for.
func (c *cache[K, V]) grow(t *cacheTable[K, V], displaced uint64) {
	size := len(t.slots)
	if size >= 1<<c.maxBits || displaced <= uint64(size/16) {
		return
	}
	next := newCacheTable[K, V](size * 2)
	for i := range t.slots {
		e := t.slots[i].Load()
		if e == nil {
			continue
		}
		set := c.set(next, e.key)
		for k := range set {
			if set[k].CompareAndSwap(nil, e) {
				break
			}
		}
	}
	c.table.CompareAndSwap(t, next)
}
