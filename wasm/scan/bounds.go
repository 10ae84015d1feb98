package scan

// A bound is one of the numbers in Limits.
type bound struct {
	of   func(*Limits) int
	what string
	hint string
}

var (
	ofBytes     = bound{func(l *Limits) int { return l.MaxModule }, "bytes", "strip it (-s -w, wasm-opt -Oz --strip-debug), and leave out what it does not call"}
	ofFunctions = bound{func(l *Limits) int { return l.MaxFunctions }, "functions", "leave out libraries it hardly uses, and let the linker drop what is not called"}
	ofBody      = bound{func(l *Limits) int { return l.MaxBody }, "bytes in a function", "divide the function, or let the compiler inline less (-Os)"}
	ofLocals    = bound{func(l *Limits) int { return l.MaxLocals }, "locals in a function", "divide the function, or let the compiler inline less (-Os)"}
	ofArity     = bound{func(l *Limits) int { return l.MaxArity }, "values in a list of types", "pass many values in memory"}
	ofNesting   = bound{func(l *Limits) int { return l.MaxNesting }, "blocks within each other", "divide the function, or turn the largest switch into a table of data"}
	ofTargets   = bound{func(l *Limits) int { return l.MaxTargets }, "labels of br_table", "turn the largest switches into tables of data"}
	ofWork      = bound{func(l *Limits) int { return l.MaxWork }, "units of work to compile it", "divide the functions with most blocks, branches, loops and locals, or let the compiler inline less (-Os)"}
	ofTypes     = bound{func(l *Limits) int { return l.MaxEntities }, "types", "leave out what it does not call"}
	ofImports   = bound{func(l *Limits) int { return l.MaxEntities }, "imports", "import each function once, and only what it calls"}
	ofGlobals   = bound{func(l *Limits) int { return l.MaxEntities }, "globals", "keep state in memory"}
	ofExports   = bound{func(l *Limits) int { return l.MaxEntities }, "exports", "export only what the ABI asks for"}
	ofElements  = bound{func(l *Limits) int { return l.MaxSegments }, "element segments", "let the linker join them (wasm-opt --memory-packing)"}
	ofData      = bound{func(l *Limits) int { return l.MaxSegments }, "data segments", "let the linker join them (wasm-opt --memory-packing)"}
	ofDataBytes = bound{func(l *Limits) int { return l.MaxData }, "bytes of data", "leave large tables out, or hand them over as configuration"}
	ofTables    = bound{func(l *Limits) int { return l.MaxTables }, "tables", "build without reference types, so that the compiler makes one table"}
	ofEntries   = bound{func(l *Limits) int { return l.MaxTableEntries }, "entries of a table", "take the address of fewer functions"}
	ofEntriesIn = bound{func(l *Limits) int { return l.MaxTableEntries }, "entries of element segments", "take the address of fewer functions"}
	ofPages     = bound{func(l *Limits) int { return int(l.MaxPages) }, "pages of memory at least", "link it with a smaller stack and initial memory, or raise the memory of filters in gateway.hcl"}
	ofMemories  = bound{func(*Limits) int { return 1 }, "memories", "build without multi-memory"}
)

// within holds n against a bound, and notes what puts a module into the large class.
func (w *walker) within(at int, n int64, b *bound) bool {
	if n > int64(b.of(&w.l)) {
		w.failAt(at, ErrLimit, w.overHint(n, b), "%d %s, at most %d are taken", n, b.what, b.of(&w.l))
		return false
	}
	if n > int64(b.of(&w.small)) {
		w.enlarge(n, b)
	}
	return w.ok()
}

// overHint says whether the large class would take it.
func (w *walker) overHint(n int64, b *bound) string {
	if large := b.of(&w.large); n <= int64(large) {
		return b.hint + "; or have the large class allowed for it, which takes " + itoa(large)
	}
	return b.hint
}

// count reads how many elements follow. Each takes at least one byte, so a count over the bytes left is a lie.
func (w *walker) count(b *bound) int {
	at := w.at()
	n := w.u32()
	if left := w.win.end - w.at(); uint64(n) > uint64(left) {
		w.malformed(at, "%d %s announced in %d bytes", n, b.what, left)
		return 0
	}
	if !w.within(at, int64(n), b) {
		return 0
	}
	return int(n)
}
