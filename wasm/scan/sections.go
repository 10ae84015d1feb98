package scan

func (w *walker) readType() {
	at := w.at()
	if form := w.u8(); form != formFunc {
		w.failAt(at, ErrUnsupported, hintGC, "a type of form %#x", form)
	}
	w.types = append(w.types, funcType{params: w.valueTypes("parameters"), results: w.valueTypes("results")})
}

// valueTypes reads a list of types of values.
func (w *walker) valueTypes(what string) []byte {
	b := ofArity
	b.what = what
	n := w.count(&b)
	if n == 0 {
		return nil
	}
	types := make([]byte, 0, n) // at most MaxArity
	for i := 0; i < n && w.ok(); i++ {
		types = append(types, w.valueType())
	}
	return types
}

// readImport takes functions, and the memory env.memory, which the host gives by making it the module's own. Any other
// memory, table or global from elsewhere could not be bounded here.
func (w *walker) readImport() {
	at := w.at()
	i := Import{Module: w.name("the module of an import"), Name: w.name("the name of an import"), Kind: Function}
	if i.Module == MeterModule {
		w.failAt(at, ErrUnsupported, "import nothing from "+MeterModule, "an import from %.64q, which is the meter's own", i.Module)
	}
	switch kind := w.u8(); {
	case kind == 0:
		t := w.index(len(w.types), "type")
		if w.ok() {
			w.funcs = append(w.funcs, t)
			w.imported++
			i.Signature = w.types[t].signature()
		}
	case kind == 2 && i.Module == "env" && i.Name == "memory":
		i.Kind = Memory
		w.report.Imported = true
		w.memory(at)
	default:
		w.failAt(at, ErrUnsupported, hintImport, "the import %.64q.%.64q is no function", i.Module, i.Name)
	}
	w.report.Imports = append(w.report.Imports, i)
	w.importAt = append(w.importAt, at)
	w.judgeImport(at, i)
}

func (w *walker) readFunction() { w.funcs = append(w.funcs, w.index(len(w.types), "type")) }

func (w *walker) readTable() {
	w.refType()
	w.tables++
	w.clipped(Table, w.at(), &ofEntries)
}

func (w *walker) readMemory() { w.memory(w.at()) }

// memory reads the limits of the one memory; what the visitor may write anew began at start.
func (w *walker) memory(start int) {
	if w.report.HasMemory {
		w.failAt(start, ErrLimit, ofMemories.hint, "2 memories, at most 1 are taken")
	}
	w.report.HasMemory = true
	w.report.MinPages, w.report.MaxPages = w.clipped(Memory, start, &ofPages)
}

// clipped reads limits and tells the visitor of them, who may write what began at start anew.
func (w *walker) clipped(k Kind, start int, b *bound) (lo, hi uint32) {
	at := w.at()
	lo, hi, bounded := w.limits(k)
	if k == Memory && (lo > pagesOfFormat || bounded && hi > pagesOfFormat) {
		w.malformed(at, "a memory of more than %d pages", pagesOfFormat)
	}
	w.within(at, int64(lo), b)
	hi = min(hi, uint32(b.of(&w.l)))
	if w.v != nil && w.ok() {
		w.v.Limits(k, Span{start, w.at()}, lo, hi)
	}
	return lo, hi
}

func (w *walker) readGlobal() {
	w.valueType()
	at := w.at()
	mutable := w.u8()
	if mutable > 1 {
		w.malformed(at, "a global of mutability %d", mutable)
	}
	if mutable == 1 {
		w.report.Mutable = append(w.report.Mutable, w.report.Globals)
	}
	w.report.Globals++
	w.constant()
}

// constant reads the expression that gives a first value: one instruction and end. A global.get could only name an
// imported global, and there are none.
func (w *walker) constant() {
	at := w.at()
	switch o := Op(w.u8()); o {
	case OpI32Const:
		w.signed(32)
	case OpI64Const:
		w.signed(64)
	case OpF32Const:
		w.take(4)
	case OpF64Const:
		w.take(8)
	case OpRefNull:
		w.refType()
	case OpRefFunc:
		w.reference()
	default:
		w.failAt(at, ErrUnsupported, hintMVP, "a constant by instruction %#x", uint16(o))
	}
	if at = w.at(); Op(w.u8()) != OpEnd {
		w.failAt(at, ErrUnsupported, "build without extended constant expressions and position-independent code (-fPIC)", "a constant of more than one instruction")
	}
}

// reference reads the index of a function that becomes a value outside of code.
func (w *walker) reference() {
	at := w.at()
	f := w.ownFunction()
	w.function(at, f)
}

// ownFunction reads the index of a function that becomes a value. An imported one is refused: called through a table it
// would cost what call_indirect costs, whatever the host does in it.
func (w *walker) ownFunction() uint32 {
	at := w.at()
	f := w.index(len(w.funcs), "function")
	if w.ok() && int(f) < w.imported {
		w.failAt(at, ErrUnsupported, "call the import from a function of the module's own, and take that one's address", "a reference to the imported function %d", f)
	}
	return f
}

func (w *walker) readExport() {
	at := w.at()
	e := Export{Name: w.name("the name of an export")}
	if reserved(e.Name) {
		w.failAt(at, ErrUnsupported, "give it another name", "an export %.64q, which is the meter's own", e.Name)
	}
	if w.exported[e.Name] {
		w.malformed(at, "a second export %.64q", e.Name)
	}
	if !w.ok() {
		return
	}
	w.exported[e.Name] = true
	kind, start := w.u8(), w.at()
	switch kind {
	case 0:
		e.Kind = Function
		i := w.index(len(w.funcs), "function")
		if w.ok() {
			e.Signature = w.types[w.funcs[i]].signature()
		}
		if int(i) < w.imported {
			w.foreign = append(w.foreign, e.Name)
		}
		w.function(start, i)
	case 1:
		e.Kind = Table
		w.index(w.tables, "table")
	case 2:
		e.Kind = Memory
		w.index(w.memories(), "memory")
	case 3:
		e.Kind = Global
		w.index(w.report.Globals, "global")
	default:
		w.failAt(at, ErrUnsupported, hintEH, "an export of kind %d", kind)
	}
	w.report.Exports = append(w.report.Exports, e)
	w.judgeExport(at, e)
}

func (w *walker) memories() int {
	if w.report.HasMemory {
		return 1
	}
	return 0
}

func (w *walker) readStart() {
	at := w.at()
	w.tell(StartSection, 1)
	w.report.Start = true
	w.judgeStart(at)
	w.function(at, w.index(len(w.funcs), "function"))
}

// Flags of element segments.
const (
	elemPassive  = 1 // or declared
	elemExplicit = 2 // names its table; with elemPassive: declared
	elemExprs    = 4 // entries are expressions
)

func (w *walker) readElements() {
	at := w.at()
	flags := w.u32()
	if flags > elemPassive|elemExplicit|elemExprs {
		w.malformed(at, "an element segment of kind %d", flags)
	}
	w.report.Elements++
	if flags&elemPassive == 0 {
		if flags&elemExplicit != 0 {
			w.index(w.tables, "table")
		} else if w.tables == 0 {
			w.malformed(at, "an element segment without a table")
		}
		w.constant()
	}
	if flags&(elemPassive|elemExplicit) != 0 {
		w.elementType(flags)
	}
	w.entries(flags&elemExprs != 0)
}

// elementType is a kind, which can only be 0 (functions), or a type.
func (w *walker) elementType(flags uint32) {
	if flags&elemExprs != 0 {
		w.refType()
		return
	}
	at := w.at()
	if kind := w.u8(); kind != 0 {
		w.malformed(at, "elements of kind %d", kind)
	}
}

func (w *walker) entries(exprs bool) {
	at := w.at()
	n := w.count(&ofEntriesIn)
	w.report.Entries += n
	w.within(at, int64(w.report.Entries), &ofEntriesIn)
	for i := 0; i < n && w.ok(); i++ {
		if exprs {
			w.constant()
		} else {
			w.reference()
		}
	}
}

// readData reads one data segment.
func (w *walker) readData() {
	at := w.at()
	flags := w.u32()
	if flags > 2 {
		w.malformed(at, "a data segment of kind %d", flags)
	}
	if flags == 2 {
		w.index(w.memories(), "memory")
	}
	if flags != 1 {
		if !w.report.HasMemory {
			w.malformed(at, "a data segment without a memory")
		}
		w.constant()
	}
	at = w.at()
	n := w.u32()
	if !w.within(at, int64(w.report.Data)+int64(n), &ofDataBytes) {
		return
	}
	w.report.Data += int(n)
	w.skip(n)
}
