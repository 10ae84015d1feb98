//go:build !linux || !(amd64 || arm64)

package linear

// scan is nothing here: nobody can be asked which pages were written.
type scan struct{}

// mapped is never made here: images are copied.
type mapped struct{}

func mapImage([]byte) *mapped            { return nil }
func (*mapped) pages() bool              { return false }
func (*mapped) held() int                { return 0 }
func (*mapped) close()                   {}
func (*Memory) lay(*mapped) bool         { return false }
func (*Memory) rub(*mapped) bool         { return false }
func (m *Memory) release()               {}
func (m *Memory) reserve(most int) error { return nil }

// extend makes the memory size bytes long; what is new is zero.
func (m *Memory) extend(size int) error {
	if size > len(m.room) {
		grown := make([]byte, size)
		copy(grown, m.bytes)
		m.room = grown
	}
	m.bytes = m.room[:size]
	return nil
}

// forget makes what is behind size zero.
func (m *Memory) forget(size int) bool {
	clear(m.bytes[size:])
	return true
}
