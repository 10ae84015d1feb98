package jws

import (
	"strconv"
	"sync"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Texts reads a member that is a string or an array of strings, as aud is (RFC 7519, 4.1.3); nil when it is neither.
func Texts(object []byte, name string) []string {
	raw, ok := canon.Get(object, name)
	if !ok {
		return nil
	}
	if canon.KindOf(raw) == '"' {
		if one, err := canon.Unquote(raw); err == nil {
			return []string{one}
		}
		return nil
	}
	if canon.KindOf(raw) != '[' {
		return nil
	}
	var all []string
	err := canon.EachElement(raw, func(_ int, value []byte) error {
		one, err := canon.Unquote(value)
		all = append(all, one)
		return err
	})
	if err != nil {
		return nil
	}
	return all
}

// Moment reads a NumericDate (RFC 7519, 2), rounded to seconds.
func Moment(object []byte, name string, round func(float64) float64) (int64, bool) {
	raw, ok := canon.Get(object, name)
	if !ok || canon.KindOf(raw) != '0' {
		return 0, false
	}
	s, err := strconv.ParseFloat(string(raw), 64)
	const year9999 = 253402300799
	return int64(round(s)), err == nil && s >= 0 && s <= year9999
}

// Memory remembers what tokens said whose signature was good, by the digest of their text: two generations of maxMemory
// each, about 1 KiB an entry.
type Memory[T any] struct {
	mu       sync.Mutex
	now, old map[[32]byte]*T // guarded by mu
}

const maxMemory = 4096

// NewMemory makes an empty one.
func NewMemory[T any]() *Memory[T] {
	return &Memory[T]{now: map[[32]byte]*T{}, old: map[[32]byte]*T{}}
}

// Get returns what is remembered, or nil.
func (m *Memory[T]) Get(sum [32]byte) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.now[sum]; v != nil {
		return v
	}
	v := m.old[sum]
	if v != nil {
		m.keep(sum, v)
	}
	return v
}

// Put remembers v.
func (m *Memory[T]) Put(sum [32]byte, v *T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(sum, v)
}

// Len is how many are remembered.
func (m *Memory[T]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.now) + len(m.old)
}

// keep must be called under mu.
func (m *Memory[T]) keep(sum [32]byte, v *T) {
	if len(m.now) >= maxMemory {
		m.now, m.old = map[[32]byte]*T{}, m.now
	}
	m.now[sum] = v
}
