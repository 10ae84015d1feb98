package scan

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A walker reads a module and keeps what later parts of it name.
type walker struct {
	*reader
	l, small, large Limits
	v               Visitor // may be nil
	report          Report
	types           []funcType
	funcs           []uint32 // the type of each function, imported ones first
	imported        int      // of these
	tables          int
	segments        int // data segments by the data count section; -1: there is none
	seen            [endOfSections]bool
	exported        map[string]bool
	foreign         []string // exports that are imports
	importAt        []int    // where each import stands
	code            codes
}

func newWalker(r *reader, l Limits, v Visitor) *walker {
	return &walker{reader: r, l: l, small: Small(), large: Large(), v: v, segments: -1, exported: map[string]bool{}, report: Report{Class: SmallClass}}
}

// Walk reads a module that is all in memory and tells v of it. It judges as Scan does, with the same errors.
func Walk(module []byte, l Limits, v Visitor) (Report, error) {
	l = l.Filled()
	w := newWalker(fromMemory(module), l, v)
	return w.run()
}

// stream reads a module from src.
func stream(src io.Reader, l Limits) (Report, error) {
	l = l.Filled()
	return newWalker(fromStream(src), l, nil).run()
}

func (w *walker) run() (Report, error) {
	w.header()
	rank := -1
	for w.ok() && !w.ended() {
		rank = w.section(rank)
	}
	w.report.Size = w.at()
	if w.report.Class == LargeClass && w.report.Size > w.small.MaxModule {
		w.report.Large = strconv.Itoa(w.report.Size) + " bytes"
	}
	w.complete()
	w.judge()
	if w.err != nil {
		return Report{}, w.err
	}
	return w.report, nil
}

// header reads what each module begins with, and tells apart what authors upload in its place.
func (w *walker) header() {
	head := string(w.take(len(Magic)))
	hint := ""
	switch {
	case !w.ok() || head == Magic:
		return
	case head == "\x00asm\x0d\x00\x01\x00":
		hint = "it is a component: build a core module, for wasm32-unknown-unknown or wasip1 and not for wasip2"
	case strings.HasPrefix(head, "(module"):
		hint = "it is the text of a module: assemble it with wat2wasm"
	}
	w.failAt(0, ErrMalformed, hint, "not a core module of version 1")
}

// section reads one section and returns its rank, which must be over the one before.
func (w *walker) section(rank int) int {
	at := w.at()
	id := SectionID(w.u8())
	if id >= endOfSections {
		w.failSection(at, id)
		return rank
	}
	size := w.u32()
	if !w.within(at, int64(w.at())+int64(size), &ofBytes) {
		return rank
	}
	around := w.enter(size, sectionNames[id])
	if id == CustomSection {
		w.name("the name of a custom section")
		w.skip(uint32(max(w.win.end-w.at(), 0)))
		w.leave(around)
		return rank
	}
	next := slices.Index(sectionOrder, id)
	if next <= rank {
		w.malformed(at, "the %s is out of order", sectionNames[id])
	}
	w.parse(id)
	w.leave(around)
	return next
}

func (w *walker) failSection(at int, id SectionID) {
	if id == endOfSections {
		w.failAt(at, ErrUnsupported, hintEH, "a section of kind %d: tags of exceptions", id)
		return
	}
	w.failAt(at, ErrUnsupported, hintMVP, "a section of kind %d", id)
}

func (w *walker) parse(id SectionID) {
	if !w.ok() {
		return
	}
	w.seen[id] = true
	switch id {
	case TypeSection:
		w.report.Types = w.each(id, &ofTypes, w.readType)
	case ImportSection:
		w.each(id, &ofImports, w.readImport)
	case FunctionSection:
		w.each(id, &ofFunctions, w.readFunction)
	case TableSection:
		w.each(id, &ofTables, w.readTable)
	case MemorySection:
		w.each(id, &ofMemories, w.readMemory)
	case GlobalSection:
		w.each(id, &ofGlobals, w.readGlobal)
	case ExportSection:
		w.each(id, &ofExports, w.readExport)
	case StartSection:
		w.readStart()
	case ElementSection:
		w.each(id, &ofElements, w.readElements)
	case DataCountSection:
		w.segments = int(w.u32())
		w.tell(id, w.segments)
	case CodeSection:
		w.readCode()
	case DataSection:
		w.report.Segments = w.each(id, &ofData, w.readData)
	case CustomSection, endOfSections:
	}
}

// each reads the elements of a section and returns how many there are.
func (w *walker) each(id SectionID, b *bound, next func()) int {
	n := w.count(b)
	w.tell(id, n)
	for i := 0; i < n && w.ok(); i++ {
		next()
	}
	return n
}

// tell tells the visitor of a section.
func (w *walker) tell(id SectionID, n int) {
	if w.v != nil && w.ok() {
		w.v.Section(id, n, Span{w.at(), w.win.end})
	}
}

// function tells the visitor of a function that was named since start.
func (w *walker) function(start int, i uint32) {
	if w.v != nil && w.ok() {
		w.v.Function(Span{start, w.at()}, i)
	}
}

// complete checks what sections promise each other.
func (w *walker) complete() {
	own := len(w.funcs) - w.imported
	if own > 0 && !w.seen[CodeSection] {
		w.malformed(w.at(), "%d functions have no code", own)
	}
	if w.segments >= 0 && w.segments != w.report.Segments {
		w.malformed(w.at(), "%d data segments, %d announced", w.report.Segments, w.segments)
	}
	if w.report.Imported && w.exported["memory"] && !w.has("memory", Memory, "") {
		w.failAt(w.at(), ErrUnsupported, "give it another name", "the export \"memory\" of a module that imports its memory is something else")
	}
	w.report.Functions = own
	w.report.Tables = w.tables
}

// enlarge notes the first thing that puts the module into the large class.
func (w *walker) enlarge(n int64, b *bound) {
	if w.report.Class == SmallClass && w.ok() {
		w.report.Class, w.report.Large = LargeClass, fmt.Sprintf("%d %s", n, b.what)
	}
}
