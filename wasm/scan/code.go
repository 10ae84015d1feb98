package scan

// A frame is a block that is open.
type frame struct {
	op       Op
	carries  int // values that a branch to it carries
	loops    int // around what is in it
	branches int // to it
	start    int // in the module
}

// codes is the function that is being read. Its slices are used again for the next.
type codes struct {
	body     Body
	in       Instruction
	frames   []frame
	blocks   int
	targets  int
	lastUse  []int // of each local, in the module
	meetings []meeting
}

func (w *walker) readCode() {
	own := w.funcs[w.imported:]
	at := w.at()
	if n := w.count(&ofFunctions); w.ok() && n != len(own) {
		w.malformed(at, "%d bodies for %d functions", n, len(own))
	}
	w.tell(CodeSection, len(own))
	for i := 0; i < len(own) && w.ok(); i++ {
		w.readBody(own[i])
	}
}

// readBody reads a function: checks its form and every index. Types of values are left to the engine.
func (w *walker) readBody(typ uint32) {
	at := w.at()
	size := w.u32()
	if !w.within(at, int64(size), &ofBody) {
		return
	}
	w.report.Body = max(w.report.Body, int(size))
	around := w.enter(size, "function")
	w.begin(at, typ)
	for len(w.code.frames) > 0 && w.ok() {
		w.step()
	}
	w.leave(around)
	if w.ok() {
		w.spend()
	}
}

// begin reads the locals and sets up what the instructions are held against.
func (w *walker) begin(at int, typ uint32) {
	c, t := &w.code, &w.types[typ]
	c.body = Body{Span: Span{at, w.win.end}, Type: typ, Params: t.params, Results: t.results, Locals: len(t.params)}
	w.readLocals(&c.body)
	c.body.First = w.at()
	c.blocks, c.targets, c.meetings = 1, 0, c.meetings[:0]
	if cap(c.lastUse) <= c.body.Locals {
		c.lastUse = make([]int, c.body.Locals+1) // at most MaxLocals
	}
	c.lastUse = c.lastUse[:c.body.Locals+1]
	clear(c.lastUse)
	c.frames = append(c.frames[:0], frame{op: OpBlock, carries: len(t.results)})
	w.report.Locals = max(w.report.Locals, c.body.Locals)
	if w.v != nil && w.ok() {
		w.v.Body(&c.body)
	}
}

func (w *walker) readLocals(b *Body) {
	b.Groups = w.count(&ofLocals)
	b.Declared.Start = w.at()
	for i := 0; i < b.Groups && w.ok(); i++ {
		at := w.at()
		n := w.u32()
		w.valueType()
		if !w.within(at, int64(b.Locals)+int64(n), &ofLocals) {
			return
		}
		b.Locals += int(n)
	}
	b.Declared.End = w.at()
}

func (w *walker) opcode() Op {
	at := w.at()
	c := w.u8()
	if c != byte(OpPrefix>>8) {
		return Op(c)
	}
	sub := w.u32()
	if sub > uint32(OpTableFill&0xff) {
		w.failAt(at, ErrUnsupported, hintMVP, "an unknown instruction 0xfc %d", sub)
		return OpNop
	}
	return OpPrefix + Op(sub)
}

// step reads one instruction.
func (w *walker) step() {
	in := &w.code.in
	in.Start, in.Index, in.In, in.Out = w.at(), 0, 0, 0
	in.Op = w.opcode()
	switch in.Op {
	case OpBlock, OpLoop, OpIf:
		w.open(in)
	case OpElse:
		w.otherwise(in)
	case OpEnd:
		w.close()
	case OpBr, OpBrIf:
		in.Index = w.label()
		w.code.blocks++
	case OpBrTable:
		w.branchTable(in)
	case OpCall:
		in.Index = w.index(len(w.funcs), "function")
	default:
		w.plain(in)
	}
	in.End, in.Open = w.at(), len(w.code.frames)
	if w.v != nil && w.ok() {
		w.v.Instruction(in)
	}
}

func (w *walker) open(in *Instruction) {
	c := &w.code
	in.In, in.Out = w.blockType()
	if !w.within(in.Start, int64(len(c.frames)), &ofNesting) {
		return
	}
	w.report.Nesting = max(w.report.Nesting, len(c.frames))
	c.blocks++
	f := frame{op: in.Op, carries: in.Out, loops: c.frames[len(c.frames)-1].loops, start: in.Start}
	switch in.Op {
	case OpIf:
		c.blocks++
	case OpLoop:
		c.blocks += blocksPerLoop - 1
		f.loops++
		f.carries = in.In
	}
	c.frames = append(c.frames, f)
}

// blockType returns how many values a block takes and gives.
func (w *walker) blockType() (in, out int) {
	at := w.at()
	c := w.u8()
	switch {
	case !w.ok() || c == BlockEmpty:
		return 0, 0
	case typeName(c) != "":
		return 0, 1
	case c == v128:
		w.failAt(at, ErrUnsupported, hintSIMD, "a block of type v128 (SIMD)")
		return 0, 0
	}
	w.p--
	i := w.signed(33)
	if i < 0 || i >= int64(len(w.types)) {
		w.malformed(at, "a block of type %d of %d", i, len(w.types))
		return 0, 0
	}
	t := &w.types[i]
	return len(t.params), len(t.results)
}

// otherwise turns an if into its else.
func (w *walker) otherwise(in *Instruction) {
	f := &w.code.frames[len(w.code.frames)-1]
	if f.op != OpIf {
		w.malformed(in.Start, "an else without an if")
	}
	f.op = OpElse
	w.code.blocks++
}

// close ends a block.
func (w *walker) close() {
	c := &w.code
	f := c.frames[len(c.frames)-1]
	c.frames = c.frames[:len(c.frames)-1]
	w.meet(f)
}

// label reads a label.
func (w *walker) label() uint32 {
	c := &w.code
	i := w.index(len(c.frames), "label")
	if w.ok() {
		c.frames[len(c.frames)-1-int(i)].branches++
	}
	return i
}

func (w *walker) branchTable(in *Instruction) {
	at := w.at()
	n := w.count(&ofTargets)
	w.report.Targets += n
	if !w.within(at, int64(w.report.Targets), &ofTargets) {
		return
	}
	w.code.targets += n
	in.Labels = in.Labels[:0]
	for i := 0; i <= n && w.ok(); i++ {
		l := w.label()
		if w.v != nil {
			in.Labels = append(in.Labels, l)
		}
	}
}

// plain reads the operands of an instruction that neither opens nor ends nor calls by index.
func (w *walker) plain(in *Instruction) {
	switch o := in.Op; {
	case o >= OpLocalGet && o <= OpLocalTee:
		in.Index = w.index(w.code.body.Locals, "local")
		w.code.lastUse[in.Index] = w.at()
	case o == OpGlobalGet || o == OpGlobalSet:
		in.Index = w.index(w.report.Globals, "global")
	case o >= OpFirstLoad && o <= OpLastStore:
		w.memoryOperand()
	case o == OpMemorySize || o == OpMemoryGrow:
		w.memoryIndex()
	case o == OpI32Const:
		w.signed(32)
	case o == OpI64Const:
		w.signed(64)
	case o == OpF32Const:
		w.take(4)
	case o == OpF64Const:
		w.take(8)
	case o >= OpI32Eqz && o <= OpLastNumeric, o >= OpFirstSat && o <= OpLastSat:
	case o == OpUnreachable || o == OpReturn:
		w.code.blocks++
	case o == OpNop || o == OpDrop || o == OpSelect || o == OpRefIsNull:
	default:
		w.rare(in)
	}
}

// rare reads the operands of what compilers seldom write, and refuses what is not known.
func (w *walker) rare(in *Instruction) {
	switch in.Op {
	case OpCallIndirect:
		in.Index = w.index(len(w.types), "type")
		w.tableIndex()
	case OpSelectTyped:
		w.valueTypes("types of a select")
	case OpTableGet, OpTableSize:
		w.tableIndex()
	case OpRefNull:
		w.refType()
	case OpMemoryInit:
		w.segment(w.segments, "data segment")
		w.memoryIndex()
	case OpMemoryCopy:
		w.memoryIndex()
		w.memoryIndex()
	case OpMemoryFill:
		w.memoryIndex()
	case OpRefFunc, OpTableSet, OpTableInit, OpElemDrop, OpTableCopy, OpTableGrow, OpTableFill, OpDataDrop:
		w.change(in)
	default:
		what, hint := refusal(in.Op)
		w.failAt(in.Start, ErrUnsupported, hint, "%s (%#x)", what, byte(in.Op))
	}
}

// change reads what changes a table or drops a segment, and ref.func: the engine keeps something for each one that runs, until
// the instance is gone.
func (w *walker) change(in *Instruction) {
	w.report.Tabled = true
	switch in.Op {
	case OpRefFunc:
		in.Index = w.ownFunction()
	case OpTableInit:
		w.segment(w.report.Elements, "element segment")
		w.tableIndex()
	case OpElemDrop:
		w.segment(w.report.Elements, "element segment")
	case OpDataDrop:
		w.segment(w.segments, "data segment")
	case OpTableCopy:
		w.tableIndex()
		w.tableIndex()
	default:
		w.tableIndex()
	}
	if !w.l.AllowTables {
		w.failAt(in.Start, ErrUnsupported, hintTab, "the instruction %s, whose effect outlasts the call", changes(in.Op))
	}
}

func (w *walker) tableIndex() { w.index(w.tables, "table") }

// memoryIndex reads the index of the memory, which can only be 0.
func (w *walker) memoryIndex() { w.index(w.memories(), "memory") }

// segment reads the index of a segment; of data there are -1 where the data count section is missing.
func (w *walker) segment(n int, what string) { w.index(max(n, 0), what) }

// memoryOperand reads alignment and offset. Larger alignments are of SIMD or name another memory.
func (w *walker) memoryOperand() {
	at := w.at()
	if align := w.u32(); align > 3 {
		w.failAt(at, ErrUnsupported, "build without SIMD and without multi-memory", "an alignment of 2^%d, or a second memory", align)
	}
	w.u32()
	if !w.report.HasMemory {
		w.malformed(at, "a load or store without a memory")
	}
}
