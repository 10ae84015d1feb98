package vault

import "sync"

// cache keeps up to kept values; a full one lets go of any. A value read before a drop is not kept after it.
type cache[T any] struct {
	mu     sync.RWMutex
	values map[place]T
	round  uint64 // counts drops
}

// get also returns the round, to be given to put with what was read meanwhile.
func (c *cache[T]) get(at place) (value T, round uint64, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	value, ok = c.values[at]
	return value, c.round, ok
}

func (c *cache[T]) put(at place, value T, round uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if round != c.round {
		return
	}
	if c.values == nil {
		c.values = map[place]T{}
	}
	for other := range c.values {
		if len(c.values) < kept {
			break
		}
		delete(c.values, other)
	}
	c.values[at] = value
}

func (c *cache[T]) drop(at place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	delete(c.values, at)
}

func (c *cache[T]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	clear(c.values)
}
