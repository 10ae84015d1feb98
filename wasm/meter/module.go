package meter

import "github.com/gatewright/gatewright/wasm/scan"

// A module is what was read so far, each section already as it will be written. It sees the module as a scan.Visitor, and
// copies what lies between what it is told of.
type module struct {
	o        Options
	src      []byte
	types    int
	added    []code // types that the rewriting needs
	imported int    // functions
	funcs    int    // imported ones included
	globals  int
	pages    uint32 // what memory can grow to
	segments int    // by the data count section; -1: there is none
	section  scan.SectionID
	at, end  int // of the section, what is still to be copied
	out      [scan.DataCountSection + 1]part
	help     helpers
	measure  measure
	scratch  code // the last function
	report   Report
}

func newModule(src []byte, o Options) *module { return &module{o: o.Filled(), src: src, segments: -1} }

// part is a section being written: its elements, and how many.
type part struct {
	n    int
	body code
}

// The types of values that the meter needs.
const (
	i32      byte = 0x7f
	i64      byte = 0x7e
	formFunc byte = 0x60
)

// op is an opcode.
type op = scan.Op

// refuel is the index of the imported function that is added behind the module's own imports, so that functions of the
// module move up by one.
func (m *module) refuel() uint32 { return uint32(m.imported) }

// moved is the new index of a function.
func (m *module) moved(i uint32) uint32 {
	if int(i) < m.imported {
		return i
	}
	return i + 1
}

func (m *module) fuel() uint32  { return uint32(m.globals) }
func (m *module) depth() uint32 { return uint32(m.globals) + 1 }

// read walks the module.
func (m *module) read() error {
	l := m.o
	l.AnyDialect = true
	report, err := scan.Walk(m.src, l, m)
	if err != nil {
		return err
	}
	m.upTo(m.end)
	m.report.Report = report
	return nil
}

// upTo copies what lies before offset at and was not copied yet.
func (m *module) upTo(at int) *code {
	p := &m.out[m.section].body
	p.raw(m.src[m.at:at]...)
	m.at = at
	return p
}

// Section implements scan.Visitor.
func (m *module) Section(id scan.SectionID, count int, s scan.Span) {
	m.upTo(m.end)
	m.section, m.at, m.end = id, s.Start, s.End
	m.out[id].n += count
	switch id {
	case scan.TypeSection:
		m.types = count
	case scan.ImportSection:
		m.imported, m.funcs = count, count
	case scan.FunctionSection:
		m.funcs += count
	case scan.GlobalSection:
		m.globals = count
	case scan.DataCountSection:
		m.segments = count
	case scan.CodeSection:
		m.at = m.end // function writes it
	default:
	}
}

// Limits implements scan.Visitor: it clips the maximum. An imported memory becomes the module's own.
func (m *module) Limits(k scan.Kind, s scan.Span, lo, hi uint32) {
	out := m.upTo(s.Start)
	m.at = s.End
	if m.section == scan.ImportSection {
		m.out[m.section].n--
		m.imported--
		m.funcs--
		m.out[scan.MemorySection].n++
		out = &m.out[scan.MemorySection].body
	}
	out.raw(1)
	out.u32(lo)
	out.u32(hi)
	if k == scan.Memory {
		m.pages = hi
	}
}

// Function implements scan.Visitor.
func (m *module) Function(s scan.Span, i uint32) {
	m.upTo(s.Start).u32(m.moved(i))
	m.at = s.End
}
