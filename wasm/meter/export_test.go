package meter

// WorkOf is what compiling a module is estimated to cost beyond its size.
func WorkOf(b []byte, o Options) int {
	o.MaxWork = 1 << 60
	m := newModule(o.filled())
	if err := m.read(b); err != nil {
		panic(err)
	}
	return m.work
}
