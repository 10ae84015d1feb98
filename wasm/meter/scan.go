package meter

import "slices"

// An edit is an instruction that is not copied as it is.
type edit struct {
	op         op
	start, end int    // its bytes in the module
	index      uint32 // of the function that is called or referred to; of the region that a loop begins; a label
	level      int    // blocks around it
	split      bool   // of a loop and its end, see frame
	labels     code   // of a br_table
}

// A frame is a block that is open.
type frame struct {
	op      op
	region  int // the innermost loop around what is in it, or 0: the function
	carries int // values that a branch to it carries

	split  bool // a loop that is rewritten as function.split says
	splits int  // of the loops around what is in it, those that are split

	loops    int // around what is in it
	branches int // to it
	start    int // in the module
}

// scan reads the body of a function: checks its form and every index, weighs its regions and lists its edits. Types of
// values are left to the engine.
type scan struct {
	m        *module
	r        *reader
	typ      funcType
	groups   int // of locals
	declared []byte
	locals   int // parameters included
	first    int // where the instructions begin
	frames   []frame
	weights  []int64 // of the function's entry, then of each loop
	edits    []edit
	calls    bool
	values   int // that instructions make
	blocks   int
	targets  int
	lastUse  []int // of each local, in the module
	meetings []meeting
}

func (m *module) scan(r *reader, typ funcType) *scan {
	s := &scan{m: m, r: r, typ: typ, locals: len(typ.params), weights: []int64{weightEntry}}
	s.readLocals()
	s.add(int64(s.locals+len(typ.results)) / 2)
	s.first, s.lastUse = r.p, make([]int, max(s.locals, 1))
	s.frames = append(s.frames, frame{op: opBlock, carries: len(typ.results)})
	for len(s.frames) > 0 && r.ok() {
		s.step()
	}
	r.finish("a function")
	s.spend()
	return s
}

func (s *scan) readLocals() {
	s.groups = s.r.count(s.m.o.MaxLocals, "groups of locals")
	at := s.r.p
	for i := 0; i < s.groups && s.r.ok(); i++ {
		n := s.r.u32()
		s.r.valueType()
		if left := s.m.o.MaxLocals - s.locals; int64(n) > int64(left) {
			s.r.failAt(at, ErrLimit, "more than %d locals in a function", s.m.o.MaxLocals)
			return
		}
		s.locals += int(n)
	}
	s.declared = s.r.b[at:s.r.p]
}

// add weighs what belongs to the region that is open.
func (s *scan) add(w int64) {
	region := 0
	if n := len(s.frames); n > 0 {
		region = s.frames[n-1].region
	}
	s.weights[region] += w
}

// What makes engines slow beyond the length of a function, in units of Options.MaxWork. They compile in the square of
// the basic blocks, in blocks times locals, and where branches meet in the square of the locals that are used from there
// on, times half the branches, at the head of a loop times the loops around. Measured, see TestWhatPassesCompilesInTime.
const (
	workPerBlock  = 100
	workPerTarget = 330 // a label of a br_table
	blocksPerLoop = 4   // with what the meter adds to it
)

// A meeting is where branches meet.
type meeting struct{ at, ways int }

// meet notes what meets where a block ends or a loop begins.
func (s *scan) meet(f frame) {
	switch {
	case f.op == opLoop:
		s.meetings = append(s.meetings, meeting{f.start, (f.branches + 1) * f.loops})
	case f.op == opIf || f.op == opElse:
		s.meetings = append(s.meetings, meeting{s.r.p, f.branches + 2})
	case f.branches > 0:
		s.meetings = append(s.meetings, meeting{s.r.p, f.branches})
	}
}

// spend adds what the function costs to the work of the module.
func (s *scan) spend() {
	s.work(s.blocks*(2*s.blocks+s.locals+workPerBlock) + workPerTarget*s.targets)
	slices.Sort(s.lastUse)
	for _, m := range s.meetings {
		before, _ := slices.BinarySearch(s.lastUse, m.at)
		later := len(s.lastUse) - before
		s.work(later * later * m.ways / 2)
	}
}

func (s *scan) work(n int) {
	if s.m.work += n; s.m.work > s.m.o.MaxWork {
		s.r.failAt(s.first, ErrLimit, "compiling takes too long: too many blocks, branches, loops or locals in one function")
	}
}

func (s *scan) opcode() op {
	at := s.r.p
	c := s.r.u8()
	if c != byte(opPrefix>>8) {
		return op(c)
	}
	sub := s.r.u32()
	if sub > uint32(opTableFill&0xff) {
		s.r.failAt(at, ErrUnsupported, "an unknown instruction 0xfc %d", sub)
		return opNop
	}
	return opPrefix + op(sub)
}

func (s *scan) step() {
	e := edit{start: s.r.p, level: s.level()}
	e.op = s.opcode()
	keep := edited(e.op)
	switch e.op {
	case opBlock, opLoop, opIf:
		s.open(&e)
	case opElse:
		s.otherwise(&e)
	case opEnd:
		e.split = s.close()
		keep = e.split
	case opBr, opBrIf:
		keep = s.branch(&e)
	case opBrTable:
		keep = s.table(&e)
	case opCall:
		s.call(&e)
	default:
		s.plain(&e)
	}
	if e.op == opReturn || e.op == opUnreachable {
		s.blocks++
	}
	e.end = s.r.p
	if keep {
		s.edits = append(s.edits, e)
	}
}

// level is how many blocks are around, the added ones included.
func (s *scan) level() int {
	n := len(s.frames) - 1
	return n + splitLabels*s.frames[n].splits
}

// edited tells which instructions are never copied as they are.
func edited(o op) bool {
	switch o {
	case opLoop, opCall, opCallIndirect, opRefFunc, opReturn, opMemoryGrow,
		opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableGrow, opTableFill:
		return true
	}
	return false
}

func (s *scan) open(e *edit) {
	in, out := s.blockType()
	if len(s.frames) > s.m.o.MaxNesting {
		s.r.failAt(e.start, ErrLimit, "more than %d blocks within each other", s.m.o.MaxNesting)
	}
	s.blocks++
	around := s.frames[len(s.frames)-1]
	f := frame{op: e.op, region: around.region, carries: out, splits: around.splits, loops: around.loops, start: e.start}
	if e.op == opIf {
		s.blocks++
		s.add(1)
	}
	if e.op == opLoop {
		s.blocks += blocksPerLoop - 1
		f.loops++
		f.carries, f.region = in, len(s.weights)
		e.index = uint32(f.region)
		if f.split = in == 0; f.split {
			e.split = true
			f.splits++
		}
		s.weights = append(s.weights, weightLoop)
	}
	s.frames = append(s.frames, f)
	s.add(int64(in+out) / 2)
}

// close ends a block and tells whether it is a loop that is split.
func (s *scan) close() bool {
	f := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	s.meet(f)
	return f.split
}

// blockType returns how many values a block takes and gives.
func (s *scan) blockType() (in, out int) {
	at := s.r.p
	c := s.r.u8()
	if c == blockEmpty {
		return 0, 0
	}
	if valueTypes[c] != "" {
		return 0, 1
	}
	s.r.p = at
	if c == v128 {
		s.r.valueType()
	}
	i := s.r.signed(33)
	if i < 0 || i >= int64(len(s.m.types)) {
		s.r.failAt(at, ErrMalformed, "a block of type %d of %d", i, len(s.m.types))
		return 0, 0
	}
	t := s.m.types[i]
	return len(t.params), len(t.results)
}

// otherwise turns an if into its else.
func (s *scan) otherwise(e *edit) {
	f := &s.frames[len(s.frames)-1]
	if f.op != opIf {
		s.r.failAt(e.start, ErrMalformed, "an else without an if")
	}
	f.op = opElse
	s.blocks++
}

// label reads a label and returns it as it will be, how many values a branch to it carries, and whether it has moved.
func (s *scan) label() (label uint32, carries int, moved bool) {
	i := s.r.index(len(s.frames), "label")
	if !s.r.ok() {
		return 0, 0, false
	}
	top := len(s.frames) - 1
	to := &s.frames[top-int(i)]
	to.branches++
	added := splitLabels * (s.frames[top].splits - to.splits)
	if to.split {
		added += splitWithin
	}
	return i + uint32(added), to.carries, added > 0
}

func (s *scan) branch(e *edit) (moved bool) {
	label, carries, moved := s.label()
	e.index = label
	s.blocks++
	s.add(int64(carries)/2 + 1)
	return moved
}

func (s *scan) table(e *edit) (moved bool) {
	n := s.r.count(s.m.o.MaxBody, "labels of a br_table")
	s.targets += n
	most := 0
	e.labels.u32(uint32(n))
	for i := 0; i <= n && s.r.ok(); i++ {
		label, carries, m := s.label()
		e.labels.u32(label)
		most, moved = max(most, carries), moved || m
	}
	s.add(int64(most)/2 + weightBranchTable)
	return moved
}

func (s *scan) call(e *edit) {
	e.index = s.r.index(len(s.m.funcs), "function")
	s.calls = true
	s.values++
	w := int64(weightCall)
	if int(e.index) < s.m.nImp {
		w = weightCallHost
	}
	s.add(w)
}

// plain reads the operands of an instruction that neither opens nor ends nor calls by index.
func (s *scan) plain(e *edit) {
	r, m := s.r, s.m
	switch o := e.op; {
	case o >= opLocalGet && o <= opLocalTee:
		i := r.index(s.locals, "local")
		s.lastUse[i] = r.p
	case o == opGlobalGet || o == opGlobalSet:
		r.index(m.nGlob, "global")
	case o >= opFirstLoad && o <= opLastStore:
		s.memoryOperand()
	case o == opMemorySize || o == opMemoryGrow:
		s.memory()
	case o == opI32Const:
		r.signed(32)
	case o == opI64Const:
		r.signed(64)
	case o == opF32Const:
		r.bytes(4)
	case o == opF64Const:
		r.bytes(8)
	case o >= opI32Eqz && o <= opLastNumeric, o >= opFirstSat && o <= opLastSat:
	case o == opUnreachable || o == opNop || o == opReturn || o == opDrop || o == opSelect || o == opRefIsNull:
	default:
		s.rare(e)
	}
	w := m.weight(e.op)
	s.add(w)
	if w > 0 || e.op >= opI32Const && e.op <= opF64Const {
		s.values++
	}
}

// rare reads the operands of what compilers seldom write, and refuses what is not known.
func (s *scan) rare(e *edit) {
	r, m := s.r, s.m
	switch o := e.op; o {
	case opCallIndirect:
		r.index(len(m.types), "type")
		s.tableIndex()
		s.calls = true
	case opSelectTyped:
		m.valueTypes(r, "types of a select")
	case opTableGet, opTableSet, opTableGrow, opTableSize, opTableFill:
		s.tableIndex()
	case opRefNull:
		r.refType()
	case opRefFunc:
		e.index = m.reference(r)
	case opMemoryInit:
		s.segment(m.nData, "data segment")
		s.memory()
	case opDataDrop:
		s.segment(m.nData, "data segment")
	case opMemoryCopy:
		s.memory()
		s.memory()
	case opMemoryFill:
		s.memory()
	case opTableInit:
		s.segment(m.nElem, "element segment")
		s.tableIndex()
	case opElemDrop:
		s.segment(m.nElem, "element segment")
	case opTableCopy:
		s.tableIndex()
		s.tableIndex()
	default:
		r.failAt(e.start, ErrUnsupported, "%s (%#x)", refusal(byte(o)), byte(o))
	}
}

func (s *scan) tableIndex() { s.r.index(len(s.m.tables), "table") }

// memory reads the index of the memory, which can only be 0.
func (s *scan) memory() { s.r.index(s.m.memories(), "memory") }

// segment reads the index of a segment; of data there are -1 where the data count section is missing.
func (s *scan) segment(n int, what string) { s.r.index(max(n, 0), what) }

// memoryOperand reads alignment and offset. Larger alignments are of SIMD or name another memory.
func (s *scan) memoryOperand() {
	at := s.r.p
	if align := s.r.u32(); align > 3 {
		s.r.failAt(at, ErrUnsupported, "an alignment of 2^%d, or a second memory", align)
	}
	s.r.u32()
	if !s.m.pages {
		s.r.fail(ErrMalformed, "a load or store without a memory")
	}
}
