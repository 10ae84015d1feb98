package meter

import (
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/wasm/scan"
)

// encode adds what is the meter's own and writes the module.
func (m *module) encode() []byte {
	m.writeHelpers()
	m.addImport()
	m.addGlobals()
	m.addMemory()
	m.addStart()
	types := &m.out[scan.TypeSection]
	for _, t := range m.added {
		types.n++
		types.body.raw(t...)
	}
	size := len(scan.Magic)
	for i := range m.out {
		size += len(m.out[i].body) + 16
	}
	out := make(code, 0, size)
	out.raw([]byte(scan.Magic)...)
	for _, id := range scan.SectionOrder() {
		switch id {
		case scan.StartSection:
			m.writeStart(&out)
		case scan.DataCountSection:
			m.writeDataCount(&out)
		default:
			out.section(id, m.out[id].n, m.out[id].body)
		}
	}
	return out
}

func (m *module) addImport() {
	p := &m.out[scan.ImportSection]
	p.n++
	p.body.name(ImportModule)
	p.body.name(ImportName)
	p.body.raw(0)
	p.body.u32(m.typeIndex([]byte{i64}, []byte{i64}))
}

// addGlobals adds fuel and depth, and exports them and all globals that can change.
func (m *module) addGlobals() {
	p := &m.out[scan.GlobalSection]
	p.n += 2
	p.body.raw(i64, 1)
	p.body.i64(0)
	p.body.op(scan.OpEnd)
	p.body.raw(i32, 1)
	p.body.i32(int32(m.o.MaxDepth))
	p.body.op(scan.OpEnd)
	m.export(FuelGlobal, exportGlobal, m.fuel())
	m.export(DepthGlobal, exportGlobal, m.depth())
	for _, i := range m.report.Mutable {
		name := scan.StatePrefix + strconv.Itoa(i)
		m.report.State = append(m.report.State, name)
		m.export(name, exportGlobal, uint32(i))
	}
}

// addMemory exports a memory that was imported, unless the module does so itself.
func (m *module) addMemory() {
	if m.report.Imported && !slices.ContainsFunc(m.report.Exports, func(e Export) bool { return e.Kind == Memory }) {
		m.export(MemoryExport, exportMemory, 0)
	}
}

// addStart exports the start function where the engine is not to run it.
func (m *module) addStart() {
	start := &m.out[scan.StartSection]
	if !m.o.ExportStart || start.n == 0 {
		return
	}
	e := &m.out[scan.ExportSection]
	e.n++
	e.body.name(StartExport)
	e.body.raw(exportFunction)
	e.body.raw(start.body...)
	start.n = 0
}

// Kinds of exports in the format.
const (
	exportFunction = 0
	exportMemory   = 2
	exportGlobal   = 3
)

func (m *module) export(name string, kind byte, index uint32) {
	e := &m.out[scan.ExportSection]
	e.n++
	e.body.name(name)
	e.body.raw(kind)
	e.body.u32(index)
}

// writeStart writes the start section, which is an index and has no count.
func (m *module) writeStart(out *code) {
	if m.out[scan.StartSection].n == 0 {
		return
	}
	out.raw(byte(scan.StartSection))
	out.sized(m.out[scan.StartSection].body)
}

// writeDataCount writes the data count section, which is nothing but the count.
func (m *module) writeDataCount(out *code) {
	if m.segments < 0 {
		return
	}
	var n code
	n.u32(uint32(m.segments))
	out.raw(byte(scan.DataCountSection))
	out.sized(n)
}
