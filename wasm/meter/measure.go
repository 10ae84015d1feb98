package meter

import "github.com/gatewright/gatewright/wasm/scan"

// An edit is an instruction that is not copied as it is.
type edit struct {
	op         op
	start, end int    // its bytes in the module
	index      uint32 // of the function that is called or referred to; of the region that a loop begins; a label
	level      int    // blocks around it
	split      bool   // of a loop and its end, see frame
	labels     [2]int // of a br_table, in measure.labels
}

// A frame is a block that is open.
type frame struct {
	region  int // the innermost loop around what is in it, or 0: the function
	carries int // values that a branch to it carries

	split  bool // a loop that is rewritten as function.splitLoop says
	splits int  // of the loops around what is in it, those that are split
}

// measure is a function being read: the weights of its regions and its edits. Its slices are used again for the next.
type measure struct {
	body    scan.Body
	frames  []frame
	weights []int64 // of the function's entry, then of each loop
	edits   []edit
	labels  code
	calls   bool
	values  int // that instructions make
}

// Body implements scan.Visitor.
func (m *module) Body(b *scan.Body) {
	s := &m.measure
	*s = measure{
		body: *b, frames: append(s.frames[:0], frame{carries: len(b.Results)}), weights: append(s.weights[:0], weightEntry),
		edits: s.edits[:0], labels: s.labels[:0],
	}
	s.add(int64(b.Locals+len(b.Results)) / 2)
}

// Instruction implements scan.Visitor.
func (m *module) Instruction(in *scan.Instruction) {
	s := &m.measure
	e := edit{op: in.Op, start: in.Start, end: in.End, index: in.Index, level: s.level()}
	keep := edited(e.op)
	switch e.op {
	case scan.OpBlock, scan.OpLoop, scan.OpIf:
		s.open(&e, in)
	case scan.OpElse:
	case scan.OpEnd:
		keep = s.close()
	case scan.OpBr, scan.OpBrIf:
		keep = s.branch(&e)
	case scan.OpBrTable:
		keep = s.table(&e, in)
	case scan.OpCall:
		s.call(int(e.index) < m.imported)
	default:
		s.plain(e.op, m.weight(e.op))
	}
	if keep {
		s.edits = append(s.edits, e)
	}
	if in.Open == 0 && in.End == s.body.End { // else the body does not end where its size says, and the walk fails next
		m.function()
	}
}

// edited tells which instructions are never copied as they are.
func edited(o op) bool {
	switch o {
	case scan.OpLoop, scan.OpCall, scan.OpCallIndirect, scan.OpRefFunc, scan.OpReturn, scan.OpMemoryGrow,
		scan.OpMemoryInit, scan.OpMemoryCopy, scan.OpMemoryFill, scan.OpTableInit, scan.OpTableCopy, scan.OpTableGrow, scan.OpTableFill:
		return true
	}
	return false
}

// add weighs what belongs to the region that is open.
func (s *measure) add(w int64) { s.weights[s.frames[len(s.frames)-1].region] += w }

// level is how many blocks are around, the added ones included.
func (s *measure) level() int {
	n := len(s.frames) - 1
	return n + splitLabels*s.frames[n].splits
}

func (s *measure) open(e *edit, in *scan.Instruction) {
	around := s.frames[len(s.frames)-1]
	f := frame{region: around.region, carries: in.Out, splits: around.splits}
	if e.op == scan.OpIf {
		s.add(1)
	}
	if e.op == scan.OpLoop {
		f.carries, f.region = in.In, len(s.weights)
		e.index = uint32(f.region)
		if f.split = in.In == 0; f.split {
			e.split = true
			f.splits++
		}
		s.weights = append(s.weights, weightLoop)
	}
	s.frames = append(s.frames, f)
	s.add(int64(in.In+in.Out) / 2)
}

// close ends a block and tells whether it is a loop that is split.
func (s *measure) close() bool {
	f := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	return f.split
}

// label returns a label as it will be, how many values a branch to it carries, and whether it has moved.
func (s *measure) label(i uint32) (label uint32, carries int, moved bool) {
	top := len(s.frames) - 1
	to := &s.frames[top-int(i)]
	added := splitLabels * (s.frames[top].splits - to.splits)
	if to.split {
		added += splitWithin
	}
	return i + uint32(added), to.carries, added > 0
}

func (s *measure) branch(e *edit) (moved bool) {
	label, carries, moved := s.label(e.index)
	e.index = label
	s.add(int64(carries)/2 + 1)
	return moved
}

func (s *measure) table(e *edit, in *scan.Instruction) (moved bool) {
	e.labels[0] = len(s.labels)
	s.labels.u32(uint32(len(in.Labels) - 1))
	most := 0
	for _, i := range in.Labels {
		label, carries, m := s.label(i)
		s.labels.u32(label)
		most, moved = max(most, carries), moved || m
	}
	e.labels[1] = len(s.labels)
	s.add(int64(most)/2 + weightBranchTable)
	return moved
}

func (s *measure) call(host bool) {
	s.calls = true
	s.values++
	if host {
		s.add(weightCallHost)
		return
	}
	s.add(weightCall)
}

// plain weighs an instruction that neither opens nor ends nor calls by index.
func (s *measure) plain(o op, w int64) {
	s.add(w)
	if o == scan.OpCallIndirect {
		s.calls = true
	}
	if w > 0 || o >= scan.OpI32Const && o <= scan.OpF64Const {
		s.values++
	}
}
