// Package linear is the memory of a filter's instances: bounded for all instances of a tenant together, with what else the
// owner of the Budget counts against it, and put back to an image after each call at the price of what the call touched.
//
// On Linux a memory is a mapping of its own at a fixed address. Behind its length no page can be read or written, so that
// an engine that forgot a bound would fault instead of reading a neighbour. Elsewhere it is a slice.
package linear

import (
	"errors"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

var (
	// ErrBudget says that what is held under one Budget would grow beyond it.
	ErrBudget = errors.New("its tenant's memory is used up")
	// ErrSystem says that the operating system gave no memory.
	ErrSystem = errors.New("no memory from the operating system")
)

// Budget bounds the memory of many instances together, and of what else is taken from it. Many goroutines may use it at once.
type Budget struct {
	most int64
	used atomic.Int64
}

// NewBudget returns a budget of that many bytes.
func NewBudget(most int64) *Budget { return &Budget{most: most} }

// Used is how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }

// Most is how many bytes there are.
func (b *Budget) Most() int64 { return b.most }

// Take takes n bytes, which are not negative, for what is no Memory, and reports whether there were as many. Give must follow.
func (b *Budget) Take(n int64) bool { return b.take(n) }

// Give gives back n bytes that were taken.
func (b *Budget) Give(n int64) { b.take(-n) }

// take takes n bytes, or gives them back when n is negative. A nil budget has no end.
func (b *Budget) take(n int64) bool {
	if b == nil || n == 0 {
		return true
	}
	if b.used.Add(n) > b.most && n > 0 {
		b.used.Add(-n)
		return false
	}
	return true
}

// Memory is the memory of one instance, which is what asks the engine for it: give it to WithMemoryAllocator for one
// instance. One goroutine uses it at a time.
type Memory struct {
	budget *Budget
	taken  int64  // from the budget
	room   []byte // the whole reservation; its first open bytes can be used
	open   int
	bytes  []byte // the guest's
	back   int    // not negative: what the next Reallocate is to shorten it to
	image  *Image // what Restore puts back
	shelf  *Shelf // where it goes when it is freed; nil when it is given back to the system
	kept   bool   // it lies there
	scan   scan
}

var (
	_ experimental.MemoryAllocator = (*Memory)(nil)
	_ experimental.LinearMemory    = (*Memory)(nil)
)

// New reserves a memory of at most most bytes, and takes the first of them from the budget: what an instance begins with.
// Free must follow. Its errors are ErrBudget and ErrSystem.
func New(b *Budget, first, most int) (*Memory, error) {
	if !b.take(int64(first)) {
		return nil, ErrBudget
	}
	m := &Memory{budget: b, taken: int64(first), back: -1}
	if err := m.reserve(most); err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// Allocate is what the engine calls for a new instance.
func (m *Memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate makes the memory size bytes long. It panics with ErrBudget or ErrSystem: a guest that was told of it would
// judge the same input differently on a busier day.
func (m *Memory) Reallocate(size uint64) []byte {
	if m.back >= 0 {
		m.bytes, m.back = m.bytes[:m.back], -1
		return m.bytes
	}
	if more := int64(size) - m.taken; more > 0 {
		if !m.budget.take(more) {
			panic(ErrBudget)
		}
		m.taken += more
	}
	if err := m.extend(int(size)); err != nil {
		panic(err)
	}
	return m.bytes
}

// Size is the memory's length in bytes.
func (m *Memory) Size() int { return len(m.bytes) }

// Shrink undoes growth: what is behind size is zero again, and given back to the budget. grow is the engine's way to make
// the memory larger by a page. The engine takes over whatever slice Reallocate answers, a shorter one too, and so forgets
// what it had: the caller looks at the engine's own length afterwards.
func (m *Memory) Shrink(size int, grow func(pages uint32) (uint32, bool)) bool {
	if size > len(m.bytes) || !m.forget(size) {
		return false
	}
	m.back = size
	_, ok := grow(1)
	ok = ok && m.back < 0
	m.back = -1
	if ok {
		m.budget.take(int64(size) - m.taken)
		m.taken = int64(size)
	}
	return ok
}

// Free is what the engine calls when the instance is closed. It may be called again.
func (m *Memory) Free() {
	if m.kept || m.shelf != nil && m.shelf.put(m) {
		return
	}
	m.free()
}

func (m *Memory) free() {
	m.release()
	m.budget.take(-m.taken)
	m.taken, m.bytes, m.room, m.open, m.image = 0, nil, nil, 0, nil
}
