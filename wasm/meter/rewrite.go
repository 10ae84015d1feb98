package meter

import "github.com/gatewright/gatewright/wasm/scan"

// A function is a body being rewritten.
type function struct {
	m     *module
	s     *measure
	src   []byte // the module
	out   code
	left  uint32 // the local that holds what fuel is left
	keep  bool   // fuel stays in left between calls: the function has loops
	deep  int32  // units of depth it takes while it runs; 0: it calls nothing and is not counted
	below uint32 // the local that holds the depth that is left for what it calls
}

// function writes the body that was measured.
func (m *module) function() {
	s := &m.measure
	f := &function{m: m, s: s, src: m.src, out: m.scratch[:0], keep: len(s.weights) > 1}
	f.left = uint32(s.body.Locals)
	f.below = f.left + 1
	if s.calls {
		f.deep = 1 + int32((s.body.Locals+s.values)/unitSlots)
		s.weights[0] += weightFrame * int64(f.deep)
	}
	f.write()
	m.out[scan.CodeSection].body.sized(f.out)
	m.scratch = f.out
}

func (f *function) write() {
	f.locals()
	f.enter()
	if f.wrapped() {
		f.m.openBlock(&f.out, f.s.body.Results)
	}
	at := f.s.body.First
	for i := range f.s.edits {
		e := &f.s.edits[i]
		f.out.raw(f.src[at:e.start]...)
		f.edit(e)
		at = e.end
	}
	f.out.raw(f.src[at:f.s.body.End]...)
	if f.wrapped() {
		f.leave()
		f.out.op(scan.OpEnd)
	}
}

// locals declares the function's own and, behind them, the meter's.
func (f *function) locals() {
	groups := []byte{1, i64}
	if f.deep > 0 {
		groups = []byte{1, i64, 1, i32}
	}
	f.out.u32(uint32(f.s.body.Groups + len(groups)/2))
	f.out.raw(f.src[f.s.body.Declared.Start:f.s.body.Declared.End]...)
	f.out.raw(groups...)
}

// wrapped tells that the body stands in a block, so that there is one way out.
func (f *function) wrapped() bool { return f.keep || f.deep > 0 }

// enter charges for what is outside of loops and counts the frame.
func (f *function) enter() {
	f.out.with(scan.OpGlobalGet, f.m.fuel())
	f.charge(f.s.weights[0])
	if f.deep == 0 {
		return
	}
	f.out.with(scan.OpGlobalGet, f.m.depth())
	f.out.i32(f.deep)
	f.out.op(scan.OpI32Sub)
	f.out.with(scan.OpLocalTee, f.below)
	f.out.with(scan.OpGlobalSet, f.m.depth())
	f.out.with(scan.OpLocalGet, f.below)
	f.out.i32(0)
	f.out.op(scan.OpI32LtS)
	f.out.raw(byte(scan.OpIf), scan.BlockEmpty)
	f.out.op(scan.OpUnreachable, scan.OpEnd)
}

// leave stands behind the block: its results lie on the stack. The depth comes from the local and not from the global,
// which what was called has just written: processors wait for that.
func (f *function) leave() {
	f.store()
	if f.deep > 0 {
		f.out.with(scan.OpLocalGet, f.below)
		f.out.i32(f.deep)
		f.out.op(scan.OpI32Add)
		f.out.with(scan.OpGlobalSet, f.m.depth())
	}
}

// charge takes w from the fuel on the stack and keeps the rest, asking for more when it is below zero.
func (f *function) charge(w int64) {
	f.out.i64(w)
	f.out.op(scan.OpI64Sub)
	if f.keep {
		f.m.settle(&f.out, f.left, scan.OpLocalSet, f.left)
		return
	}
	f.m.settle(&f.out, f.left, scan.OpGlobalSet, f.m.fuel())
}

// settle keeps the fuel on the stack in the local left, and where set and at say; below zero what refuel answers is kept.
func (m *module) settle(out *code, left uint32, set op, at uint32) {
	out.with(scan.OpLocalTee, left)
	if set == scan.OpGlobalSet {
		out.with(set, at)
		out.with(scan.OpLocalGet, left)
	}
	out.i64(0)
	out.op(scan.OpI64LtS)
	out.raw(byte(scan.OpIf), scan.BlockEmpty)
	out.with(scan.OpLocalGet, left)
	out.with(scan.OpCall, m.refuel())
	out.with(set, at)
	out.op(scan.OpEnd)
}

// store and load bring the fuel from the local to the global and back, where the function keeps it.
func (f *function) store() {
	if f.keep {
		f.out.with(scan.OpLocalGet, f.left)
		f.out.with(scan.OpGlobalSet, f.m.fuel())
	}
}

func (f *function) load() {
	if f.keep {
		f.out.with(scan.OpGlobalGet, f.m.fuel())
		f.out.with(scan.OpLocalSet, f.left)
	}
}

func (f *function) edit(e *edit) {
	switch e.op {
	case scan.OpLoop:
		f.loop(e)
	case scan.OpEnd:
		f.joinLoop()
	case scan.OpBr, scan.OpBrIf:
		f.out.with(e.op, e.index)
	case scan.OpBrTable:
		f.out.op(scan.OpBrTable)
		f.out.raw(f.s.labels[e.labels[0]:e.labels[1]]...)
	case scan.OpReturn:
		if f.wrapped() {
			f.out.with(scan.OpBr, uint32(e.level))
			return
		}
		f.copy(e)
	case scan.OpRefFunc:
		f.out.with(scan.OpRefFunc, f.m.moved(e.index))
	case scan.OpCall:
		f.call(f.m.moved(e.index))
	case scan.OpCallIndirect:
		f.store()
		f.copy(e)
		f.load()
	case scan.OpMemoryCopy, scan.OpMemoryFill:
		f.call(f.m.helper(e.op))
	default:
		f.call(f.m.helper(e.op))
		f.copy(e)
	}
}

// loop opens a loop and charges for one turn of it. A loop that takes values is charged at its head; a loop that takes
// none is split.
func (f *function) loop(e *edit) {
	w := f.s.weights[e.index]
	if e.split {
		f.splitLoop(e, w)
		return
	}
	f.copy(e)
	f.out.with(scan.OpLocalGet, f.left)
	f.charge(w)
}

// splitLoop writes a loop as two, so that the call for fuel stands outside of the one that is hot. Within it, the call
// would cost registers in each turn; with the body where the fuel suffices, each turn costs a comparison and a
// subtraction, which processors do beside the rest. T is the type of the loop:
//
//	block T
//	  loop T
//	    if left < w { left = refuel(left - w) + w }
//	    loop T
//	      if left >= w
//	        left -= w
//	        block T
//	          the body
//	        end
//	        br to the end of the first block
//	      end
//	      br to the first loop
//	    end
//	  end
//	end
//
// The innermost block holds the body to its results, as its loop did.
func (f *function) splitLoop(e *edit, w int64) {
	typ := f.src[e.start+1 : e.end]
	f.open(scan.OpBlock, typ)
	f.open(scan.OpLoop, typ)
	f.compare(w, scan.OpI64LtS)
	f.open(scan.OpIf, []byte{scan.BlockEmpty})
	f.less(w)
	f.out.with(scan.OpCall, f.m.refuel())
	f.out.i64(w)
	f.out.op(scan.OpI64Add)
	f.out.with(scan.OpLocalSet, f.left)
	f.out.op(scan.OpEnd)
	f.open(scan.OpLoop, typ)
	f.compare(w, scan.OpI64GeS)
	f.open(scan.OpIf, []byte{scan.BlockEmpty})
	f.less(w)
	f.out.with(scan.OpLocalSet, f.left)
	f.open(scan.OpBlock, typ)
}

// Labels of a loop that is split, seen from its body: all, and those within the loop that goes round.
const (
	splitLabels = 4
	splitWithin = 2
)

// joinLoop ends what splitLoop opened.
func (f *function) joinLoop() {
	f.out.op(scan.OpEnd)
	f.out.with(scan.OpBr, 3)
	f.out.op(scan.OpEnd)
	f.out.with(scan.OpBr, 1)
	f.out.op(scan.OpEnd, scan.OpEnd, scan.OpEnd)
}

func (f *function) open(o op, typ []byte) {
	f.out.op(o)
	f.out.raw(typ...)
}

// compare holds what is left against w.
func (f *function) compare(w int64, how op) {
	f.out.with(scan.OpLocalGet, f.left)
	f.out.i64(w)
	f.out.op(how)
}

// less puts what is left without w on the stack.
func (f *function) less(w int64) {
	f.out.with(scan.OpLocalGet, f.left)
	f.out.i64(w)
	f.out.op(scan.OpI64Sub)
}

func (f *function) copy(e *edit) { f.out.raw(f.src[e.start:e.end]...) }

func (f *function) call(index uint32) {
	f.store()
	f.out.with(scan.OpCall, index)
	f.load()
}

// openBlock opens a block that gives results.
func (m *module) openBlock(out *code, results []byte) {
	out.op(scan.OpBlock)
	switch len(results) {
	case 0:
		out.raw(scan.BlockEmpty)
	case 1:
		out.raw(results[0])
	default:
		out.signed(int64(m.typeIndex(nil, results)))
	}
}
