package meter

// encode adds what is the meter's own and writes the module.
func (m *module) encode() []byte {
	m.writeHelpers()
	m.addImport()
	m.addGlobals()
	types := &m.out[typeSection]
	for _, t := range m.added {
		types.n++
		types.body.raw(t...)
	}
	size := len(magic)
	for i := range m.out {
		size += len(m.out[i].body) + 16
	}
	out := make(code, 0, size)
	out.raw([]byte(magic)...)
	for _, id := range sectionOrder {
		switch id {
		case startSection:
			m.writeStart(&out)
		case dataCountSection:
			m.writeDataCount(&out)
		default:
			out.section(id, m.out[id].n, m.out[id].body)
		}
	}
	return out
}

func (m *module) addImport() {
	p := &m.out[importSection]
	p.n++
	p.body.name(ImportModule)
	p.body.name(ImportName)
	p.body.raw(0)
	p.body.u32(m.typeIndex([]byte{i64}, []byte{i64}))
}

func (m *module) addGlobals() {
	p := &m.out[globalSection]
	p.n += 2
	p.body.raw(i64, 1)
	p.body.i64(0)
	p.body.op(opEnd)
	p.body.raw(i32, 1)
	p.body.i32(int32(m.o.MaxDepth))
	p.body.op(opEnd)
	e := &m.out[exportSection]
	e.n += 2
	e.body.name(FuelGlobal)
	e.body.raw(3)
	e.body.u32(m.fuel())
	e.body.name(DepthGlobal)
	e.body.raw(3)
	e.body.u32(m.depth())
}

// writeStart writes the start section, which is an index and has no count.
func (m *module) writeStart(out *code) {
	if !m.seen[startSection] {
		return
	}
	out.raw(byte(startSection))
	out.sized(m.out[startSection].body)
}

// writeDataCount writes the data count section, which is nothing but the count.
func (m *module) writeDataCount(out *code) {
	if m.nData < 0 {
		return
	}
	var n code
	n.u32(uint32(m.nData))
	out.raw(byte(dataCountSection))
	out.sized(n)
}
