package meter

import "math"

// valueType reads the type of a value.
func (r *reader) valueType() byte {
	at := r.p
	t := r.u8()
	if valueTypes[t] != "" {
		return t
	}
	if t == v128 {
		r.failAt(at, ErrUnsupported, "a value of type v128 (SIMD)")
	}
	r.failAt(at, ErrUnsupported, "a value of type %#x", t)
	return i32
}

func (r *reader) refType() byte {
	at := r.p
	t := r.u8()
	if t != funcref && t != externref {
		r.failAt(at, ErrUnsupported, "a reference of type %#x", t)
		return funcref
	}
	return t
}

func (m *module) readType(r *reader, out *code) {
	at := r.p
	if form := r.u8(); form != formFunc {
		r.failAt(at, ErrUnsupported, "a type of form %#x", form)
	}
	t := funcType{m.valueTypes(r, "parameters"), m.valueTypes(r, "results")}
	m.types = append(m.types, t)
	out.raw(formFunc)
	out.sized(t.params)
	out.sized(t.results)
}

func (m *module) valueTypes(r *reader, what string) []byte {
	n := r.count(m.o.MaxArity, what)
	at := r.p
	for range n {
		r.valueType()
	}
	if !r.ok() {
		return nil
	}
	return r.b[at:r.p:r.p]
}

// readImport takes functions alone: a memory, table or global from elsewhere could not be bounded here.
func (m *module) readImport(r *reader, out *code) {
	at := r.p
	mod, name := r.name("the module of an import"), r.name("the name of an import")
	if mod == ImportModule {
		r.failAt(at, ErrUnsupported, "an import from %.64q, which is the meter's own", mod)
	}
	kind := r.u8()
	if kind != 0 {
		r.failAt(at, ErrUnsupported, "the import %.64q.%.64q is no function", mod, name)
	}
	t := r.index(len(m.types), "type")
	if !r.ok() {
		return
	}
	m.funcs = append(m.funcs, t)
	m.nImp++
	m.report.Imports = append(m.report.Imports, Import{mod, name, Function, m.types[t].signature()})
	out.name(mod)
	out.name(name)
	out.raw(kind)
	out.u32(t)
}

func (m *module) readFunction(r *reader, out *code) {
	t := r.index(len(m.types), "type")
	m.funcs = append(m.funcs, t)
	out.u32(t)
}

// limits reads a minimum and a maximum, which may be missing.
func (r *reader) limits(what string) (lo, hi uint32, bounded bool) {
	at := r.p
	flags := r.u8()
	if flags > 1 {
		r.failAt(at, ErrUnsupported, "a %s that is shared, of 64 bits or of odd pages (%#x)", what, flags)
		return 0, 0, false
	}
	lo, hi, bounded = r.u32(), math.MaxUint32, flags == 1
	if bounded {
		hi = r.u32()
	}
	if lo > hi {
		r.failAt(at, ErrMalformed, "a %s of at least %d and at most %d", what, lo, hi)
	}
	return lo, hi, bounded
}

// clipped writes limits with a maximum of at most most.
func (r *reader) clipped(what string, most uint32, out *code) (lo, hi uint32) {
	at := r.p
	lo, hi, _ = r.limits(what)
	if lo > most {
		r.failAt(at, ErrLimit, "a %s of at least %d, at most %d are taken", what, lo, most)
	}
	hi = min(hi, most)
	out.raw(1)
	out.u32(lo)
	out.u32(hi)
	return lo, hi
}

func (m *module) readTable(r *reader, out *code) {
	t := r.refType()
	m.tables = append(m.tables, t)
	out.raw(t)
	r.clipped("table", uint32(m.o.MaxTableEntries), out)
}

// pagesOfFormat is how many pages 32 bits can address; a declared maximum over it is malformed.
const pagesOfFormat = 1 << 16

func (m *module) readMemory(r *reader, out *code) {
	peek := *r
	if lo, hi, bounded := peek.limits("memory"); lo > pagesOfFormat || bounded && hi > pagesOfFormat {
		r.fail(ErrMalformed, "a memory of more than %d pages", pagesOfFormat)
	}
	m.pages, m.report.HasMemory = true, true
	m.report.MinPages, m.report.MaxPages = r.clipped("memory", m.o.MaxPages, out)
}

func (m *module) readGlobal(r *reader, out *code) {
	t := r.valueType()
	at := r.p
	mutable := r.u8()
	if mutable > 1 {
		r.failAt(at, ErrMalformed, "a global of mutability %d", mutable)
	}
	m.nGlob++
	out.raw(t, mutable)
	m.constant(r, out)
}

// constant copies the expression that gives a first value: one instruction and end. A global.get could only name an
// imported global, and there are none.
func (m *module) constant(r *reader, out *code) {
	at := r.p
	o := op(r.u8())
	out.op(o)
	switch o {
	case opI32Const:
		out.signed(r.signed(32))
	case opI64Const:
		out.signed(r.signed(64))
	case opF32Const:
		out.raw(r.bytes(4)...)
	case opF64Const:
		out.raw(r.bytes(8)...)
	case opRefNull:
		out.raw(r.refType())
	case opRefFunc:
		out.u32(m.reference(r))
	default:
		r.failAt(at, ErrUnsupported, "a constant by instruction %#x", o)
	}
	if at = r.p; op(r.u8()) != opEnd {
		r.failAt(at, ErrUnsupported, "a constant of more than one instruction")
	}
	out.op(opEnd)
}

// reference reads the index of a function that becomes a value. An imported one is refused: called through a table it
// would cost what call_indirect costs, whatever the host does in it.
func (m *module) reference(r *reader) uint32 {
	at := r.p
	f := r.index(len(m.funcs), "function")
	if r.ok() && int(f) < m.nImp {
		r.failAt(at, ErrUnsupported, "a reference to the imported function %d", f)
	}
	return m.moved(f)
}

func (m *module) readExport(r *reader, out *code) {
	at := r.p
	name := r.name("the name of an export")
	if name == FuelGlobal || name == DepthGlobal {
		r.failAt(at, ErrUnsupported, "an export %q, which is the meter's own", name)
	}
	for i := range m.report.Exports {
		if m.report.Exports[i].Name == name {
			r.failAt(at, ErrMalformed, "a second export %.64q", name)
		}
	}
	e := Export{Name: name}
	kind, i := r.u8(), uint32(0)
	switch kind {
	case 0:
		i = r.index(len(m.funcs), "function")
		if r.ok() {
			e.Kind, e.Signature = Function, m.types[m.funcs[i]].signature()
		}
		i = m.moved(i)
	case 1:
		e.Kind, i = Table, r.index(len(m.tables), "table")
	case 2:
		e.Kind, i = Memory, r.index(m.memories(), "memory")
	case 3:
		e.Kind, i = Global, r.index(m.nGlob, "global")
	default:
		r.failAt(at, ErrUnsupported, "an export of kind %d", kind)
	}
	m.report.Exports = append(m.report.Exports, e)
	out.name(name)
	out.raw(kind)
	out.u32(i)
}

func (m *module) memories() int {
	if m.pages {
		return 1
	}
	return 0
}

func (m *module) readStart(r *reader) {
	if !m.o.AllowStart {
		r.fail(ErrUnsupported, "a start function")
	}
	m.report.Start = true
	m.out[startSection].body.u32(m.moved(r.index(len(m.funcs), "function")))
}

// Flags of element segments.
const (
	elemPassive  = 1 // or declared
	elemExplicit = 2 // names its table; with elemPassive: declared
	elemExprs    = 4 // entries are expressions
)

func (m *module) readElements(r *reader, out *code) {
	at := r.p
	flags := r.u32()
	if flags > elemPassive|elemExplicit|elemExprs {
		r.failAt(at, ErrMalformed, "an element segment of kind %d", flags)
	}
	m.nElem++
	out.u32(flags)
	if flags&elemPassive == 0 {
		table := uint32(0)
		if flags&elemExplicit != 0 {
			table = r.index(len(m.tables), "table")
			out.u32(table)
		} else if len(m.tables) == 0 {
			r.failAt(at, ErrMalformed, "an element segment without a table")
		}
		m.constant(r, out)
	}
	if flags&(elemPassive|elemExplicit) != 0 {
		out.raw(m.elementType(r, flags))
	}
	m.entries(r, out, flags&elemExprs != 0)
}

// elementType is a kind, which can only be 0 (functions), or a type.
func (m *module) elementType(r *reader, flags uint32) byte {
	if flags&elemExprs != 0 {
		return r.refType()
	}
	at := r.p
	kind := r.u8()
	if kind != 0 {
		r.failAt(at, ErrMalformed, "elements of kind %d", kind)
	}
	return kind
}

func (m *module) entries(r *reader, out *code, exprs bool) {
	n := r.count(m.o.MaxTableEntries-m.nEntry, "entries of element segments")
	m.nEntry += n
	out.u32(uint32(n))
	for i := 0; i < n && r.ok(); i++ {
		if exprs {
			m.constant(r, out)
			continue
		}
		out.u32(m.reference(r))
	}
}

func (m *module) readData(r *reader) {
	left := m.o.MaxData
	m.each(r, dataSection, m.o.MaxSegments, "data segments", func(r *reader, out *code) {
		left -= m.dataSegment(r, out, left)
	})
}

// dataSegment reads one segment of at most left bytes and returns how many it has.
func (m *module) dataSegment(r *reader, out *code, left int) int {
	at := r.p
	flags := r.u32()
	out.u32(flags)
	if flags > 2 {
		r.failAt(at, ErrMalformed, "a data segment of kind %d", flags)
	}
	if flags == 2 {
		out.u32(r.index(m.memories(), "memory"))
	}
	if flags != 1 {
		if !m.pages {
			r.failAt(at, ErrMalformed, "a data segment without a memory")
		}
		m.constant(r, out)
	}
	at = r.p
	n := r.u32()
	if int64(n) > int64(left) {
		r.failAt(at, ErrLimit, "more than %d bytes of data", m.o.MaxData)
		return 0
	}
	out.sized(r.bytes(n))
	return int(n)
}
