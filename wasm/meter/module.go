package meter

import (
	"slices"
	"strings"
)

// sectionID is the number a section has in the format.
type sectionID byte

const (
	customSection sectionID = iota
	typeSection
	importSection
	functionSection
	tableSection
	memorySection
	globalSection
	exportSection
	startSection
	elementSection
	codeSection
	dataSection
	dataCountSection
	tagSection
)

// sectionOrder is the order in which sections must come, and in which they are written.
var sectionOrder = []sectionID{
	typeSection, importSection, functionSection, tableSection, memorySection, globalSection, exportSection,
	startSection, elementSection, dataCountSection, codeSection, dataSection,
}

var sectionNames = [...]string{
	"custom section", "type section", "import section", "function section", "table section", "memory section",
	"global section", "export section", "start section", "element section", "code section", "data section",
	"data count section",
}

const magic = "\x00asm\x01\x00\x00\x00"

// A module is what was read so far, each section already as it will be written.
type module struct {
	o      Options
	types  []funcType
	added  []code   // types that the rewriting needs
	funcs  []uint32 // the type of each function, imported ones first
	nImp   int      // imported functions
	tables []byte   // the type of each table's entries
	pages  bool     // there is a memory
	nGlob  int
	nElem  int // element segments
	nEntry int // entries of element segments
	work   int // of compiling, see scan.work
	nData  int // data segments by the data count section; -1: there is none
	seen   [tagSection]bool
	out    [tagSection]part
	help   helpers
	report Report
}

// part is a section being written: its elements, and how many.
type part struct {
	n    int
	body code
}

// funcType is the type of a function; the slices alias the module.
type funcType struct{ params, results []byte }

func newModule(o Options) *module { return &module{o: o, nData: -1} }

// refuel is the index of the imported function that is added behind the module's own imports, so that functions of the
// module move up by one.
func (m *module) refuel() uint32 { return uint32(m.nImp) }

// moved is the new index of a function.
func (m *module) moved(i uint32) uint32 {
	if int(i) < m.nImp {
		return i
	}
	return i + 1
}

func (m *module) fuel() uint32  { return uint32(m.nGlob) }
func (m *module) depth() uint32 { return uint32(m.nGlob) + 1 }

// read walks the sections in their order.
func (m *module) read(b []byte) error {
	r := newReader(b)
	if len(b) > m.o.MaxModule {
		r.fail(ErrLimit, "%d bytes, at most %d are taken", len(b), m.o.MaxModule)
	}
	if string(r.bytes(uint32(len(magic)))) != magic {
		r.failAt(0, ErrMalformed, "not a core module of version 1")
	}
	rank := -1
	for r.more() {
		rank = m.section(r, rank)
	}
	m.complete(r)
	return r.err()
}

// section reads one section and returns its rank, which must be over the one before.
func (m *module) section(r *reader, rank int) int {
	at := r.p
	id := sectionID(r.u8())
	if id >= tagSection {
		r.failAt(at, ErrUnsupported, "a section of kind %d", id)
		return rank
	}
	what := sectionNames[id]
	w := r.window(r.u32(), what)
	if id == customSection {
		w.name("the name of a custom section")
		return rank
	}
	next := slices.Index(sectionOrder, id)
	if next <= rank {
		r.failAt(at, ErrMalformed, "the %s is out of order", what)
	}
	m.seen[id] = true
	m.parse(id, w)
	w.finish("the " + what)
	return next
}

func (m *module) parse(id sectionID, r *reader) {
	switch id {
	case typeSection:
		m.each(r, id, m.o.MaxEntities, "types", m.readType)
	case importSection:
		m.each(r, id, m.o.MaxEntities, "imports", m.readImport)
	case functionSection:
		m.each(r, id, m.o.MaxFunctions, "functions", m.readFunction)
	case tableSection:
		m.each(r, id, m.o.MaxTables, "tables", m.readTable)
	case memorySection:
		m.each(r, id, 1, "memories", m.readMemory)
	case globalSection:
		m.each(r, id, m.o.MaxEntities, "globals", m.readGlobal)
	case exportSection:
		m.each(r, id, m.o.MaxEntities, "exports", m.readExport)
	case startSection:
		m.readStart(r)
	case elementSection:
		m.each(r, id, m.o.MaxSegments, "element segments", m.readElements)
	case dataCountSection:
		m.nData = int(r.u32())
	case codeSection:
		m.readCode(r)
	case dataSection:
		m.readData(r)
	case customSection, tagSection: // not reached: section keeps them away
	}
}

// each reads the elements of a section, which next writes to the section's part.
func (m *module) each(r *reader, id sectionID, limit int, what string, next func(r *reader, out *code)) {
	p := &m.out[id]
	for n := r.count(limit, what); p.n < n && r.ok(); p.n++ {
		next(r, &p.body)
	}
}

// complete checks what sections promise each other.
func (m *module) complete(r *reader) {
	own := len(m.funcs) - m.nImp
	if own > 0 && !m.seen[codeSection] {
		r.fail(ErrMalformed, "%d functions have no code", own)
	}
	if m.nData >= 0 && m.nData != m.out[dataSection].n {
		r.fail(ErrMalformed, "%d data segments, %d announced", m.out[dataSection].n, m.nData)
	}
	m.report.Functions = own
}

// signature writes a type as "(i32,i32)->(i64)".
func (t funcType) signature() string {
	return "(" + typeNames(t.params) + ")->(" + typeNames(t.results) + ")"
}

func typeNames(types []byte) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = valueTypes[t]
	}
	return strings.Join(names, ",")
}

// valueTypes are the types of values that are taken.
var valueTypes = map[byte]string{
	i32: "i32", i64: "i64", 0x7d: "f32", 0x7c: "f64", funcref: "funcref", externref: "externref",
}

const (
	i32       byte = 0x7f
	i64       byte = 0x7e
	v128      byte = 0x7b
	funcref   byte = 0x70
	externref byte = 0x6f
	formFunc  byte = 0x60
)
