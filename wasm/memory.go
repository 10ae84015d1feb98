package wasm

import (
	"sync"

	"github.com/tetratelabs/wazero/experimental"
)

// keepMemory is the largest memory, in bytes, that is kept for another instance.
const keepMemory = 1 << 20

// memories are the linear memories of a filter's instances. Those of instances that are gone are used again: an instance
// that grew is thrown away after the call, and making its memory anew would cost more than all the rest.
type memories struct {
	mu   sync.Mutex
	free [][]byte // empty, and zero up to their capacity
	most int      // how many are kept
}

var _ experimental.MemoryAllocator = (*memories)(nil)

// Allocate is what the engine calls for a new instance.
func (m *memories) Allocate(_, most uint64) experimental.LinearMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &linear{owner: m, most: most}
	if last := len(m.free) - 1; last >= 0 {
		l.bytes = m.free[last]
		m.free = m.free[:last]
	}
	return l
}

// linear is one memory: bytes up to its length are the guest's, those behind it are zero.
type linear struct {
	owner *memories
	bytes []byte
	most  uint64
}

// Reallocate makes the memory size bytes long. The engine never asks for less than before.
func (l *linear) Reallocate(size uint64) []byte {
	if size > l.most {
		return nil
	}
	if have := uint64(cap(l.bytes)); size > have {
		grown := make([]byte, size, min(max(size, 2*have), l.most))
		copy(grown, l.bytes)
		l.bytes = grown
	}
	l.bytes = l.bytes[:size]
	return l.bytes
}

// Free is what the engine calls when the instance is closed.
func (l *linear) Free() {
	bytes := l.bytes
	l.bytes = nil
	if cap(bytes) > keepMemory {
		return
	}
	clear(bytes)
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	if len(l.owner.free) < l.owner.most {
		l.owner.free = append(l.owner.free, bytes[:0])
	}
}
