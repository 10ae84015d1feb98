package meter

// A function is a body being rewritten.
type function struct {
	m     *module
	s     *scan
	out   code
	left  uint32 // the local that holds what fuel is left
	keep  bool   // fuel stays in left between calls: the function has loops
	deep  int32  // units of depth it takes while it runs; 0: it calls nothing and is not counted
	below uint32 // the local that holds the depth that is left for what it calls
}

func (m *module) readCode(r *reader) {
	own := m.funcs[m.nImp:]
	if n := r.count(m.o.MaxFunctions, "bodies"); n != len(own) {
		r.fail(ErrMalformed, "%d bodies for %d functions", n, len(own))
	}
	p := &m.out[codeSection]
	for ; p.n < len(own) && r.ok(); p.n++ {
		p.body.sized(m.function(r, own[p.n]))
	}
}

// function reads a body and returns it rewritten.
func (m *module) function(r *reader, typ uint32) code {
	at := r.p
	size := r.u32()
	if int64(size) > int64(m.o.MaxBody) {
		r.failAt(at, ErrLimit, "a function of %d bytes, at most %d are taken", size, m.o.MaxBody)
	}
	s := m.scan(r.window(size, "a function"), m.types[typ])
	if !r.ok() {
		return nil
	}
	f := &function{m: m, s: s, left: uint32(s.locals), below: uint32(s.locals) + 1, keep: len(s.weights) > 1}
	if s.calls {
		f.deep = 1 + int32((s.locals+s.values)/unitSlots)
		s.weights[0] += weightFrame * int64(f.deep)
	}
	f.write(typ)
	return f.out
}

func (f *function) write(typ uint32) {
	f.out = make(code, 0, 2*(f.s.r.end-f.s.first)+64)
	f.locals()
	f.enter()
	if f.wrapped() {
		f.m.openBlock(&f.out, typ)
	}
	at := f.s.first
	for i := range f.s.edits {
		e := &f.s.edits[i]
		f.out.raw(f.s.r.b[at:e.start]...)
		f.edit(e)
		at = e.end
	}
	f.out.raw(f.s.r.b[at:f.s.r.end]...)
	if f.wrapped() {
		f.leave()
		f.out.op(opEnd)
	}
}

// locals declares the function's own and, behind them, the meter's.
func (f *function) locals() {
	groups := []byte{1, i64}
	if f.deep > 0 {
		groups = []byte{1, i64, 1, i32}
	}
	f.out.u32(uint32(f.s.groups + len(groups)/2))
	f.out.raw(f.s.declared...)
	f.out.raw(groups...)
}

// wrapped tells that the body stands in a block, so that there is one way out.
func (f *function) wrapped() bool { return f.keep || f.deep > 0 }

// enter charges for what is outside of loops and counts the frame.
func (f *function) enter() {
	f.out.with(opGlobalGet, f.m.fuel())
	f.charge(f.s.weights[0])
	if f.deep == 0 {
		return
	}
	f.out.with(opGlobalGet, f.m.depth())
	f.out.i32(f.deep)
	f.out.op(opI32Sub)
	f.out.with(opLocalTee, f.below)
	f.out.with(opGlobalSet, f.m.depth())
	f.out.with(opLocalGet, f.below)
	f.out.i32(0)
	f.out.op(opI32LtS)
	f.out.raw(byte(opIf), blockEmpty)
	f.out.op(opUnreachable, opEnd)
}

// leave stands behind the block: its results lie on the stack. The depth comes from the local and not from the global,
// which what was called has just written: processors wait for that.
func (f *function) leave() {
	f.store()
	if f.deep > 0 {
		f.out.with(opLocalGet, f.below)
		f.out.i32(f.deep)
		f.out.op(opI32Add)
		f.out.with(opGlobalSet, f.m.depth())
	}
}

// charge takes w from the fuel on the stack and keeps the rest, asking for more when it is below zero.
func (f *function) charge(w int64) {
	f.out.i64(w)
	f.out.op(opI64Sub)
	if f.keep {
		f.m.settle(&f.out, f.left, opLocalSet, f.left)
		return
	}
	f.m.settle(&f.out, f.left, opGlobalSet, f.m.fuel())
}

// settle keeps the fuel on the stack in the local left, and where set and at say; below zero what refuel answers is kept.
func (m *module) settle(out *code, left uint32, set op, at uint32) {
	out.with(opLocalTee, left)
	if set == opGlobalSet {
		out.with(set, at)
		out.with(opLocalGet, left)
	}
	out.i64(0)
	out.op(opI64LtS)
	out.raw(byte(opIf), blockEmpty)
	out.with(opLocalGet, left)
	out.with(opCall, m.refuel())
	out.with(set, at)
	out.op(opEnd)
}

// store and load bring the fuel from the local to the global and back, where the function keeps it.
func (f *function) store() {
	if f.keep {
		f.out.with(opLocalGet, f.left)
		f.out.with(opGlobalSet, f.m.fuel())
	}
}

func (f *function) load() {
	if f.keep {
		f.out.with(opGlobalGet, f.m.fuel())
		f.out.with(opLocalSet, f.left)
	}
}

func (f *function) edit(e *edit) {
	switch e.op {
	case opLoop:
		f.loop(e)
	case opEnd:
		f.joinLoop()
	case opBr, opBrIf:
		f.out.with(e.op, e.index)
	case opBrTable:
		f.out.op(opBrTable)
		f.out.raw(e.labels...)
	case opReturn:
		if f.wrapped() {
			f.out.with(opBr, uint32(e.level))
			return
		}
		f.copy(e)
	case opRefFunc:
		f.out.with(opRefFunc, e.index)
	case opCall:
		f.call(f.m.moved(e.index))
	case opCallIndirect:
		f.store()
		f.copy(e)
		f.load()
	case opMemoryCopy, opMemoryFill:
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
	f.out.with(opLocalGet, f.left)
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
	typ := f.s.r.b[e.start+1 : e.end]
	f.open(opBlock, typ)
	f.open(opLoop, typ)
	f.compare(w, opI64LtS)
	f.open(opIf, []byte{blockEmpty})
	f.less(w)
	f.out.with(opCall, f.m.refuel())
	f.out.i64(w)
	f.out.op(opI64Add)
	f.out.with(opLocalSet, f.left)
	f.out.op(opEnd)
	f.open(opLoop, typ)
	f.compare(w, opI64GeS)
	f.open(opIf, []byte{blockEmpty})
	f.less(w)
	f.out.with(opLocalSet, f.left)
	f.open(opBlock, typ)
}

// Labels of a loop that is split, seen from its body: all, and those within the loop that goes round.
const (
	splitLabels = 4
	splitWithin = 2
)

// joinLoop ends what splitLoop opened.
func (f *function) joinLoop() {
	f.out.op(opEnd)
	f.out.with(opBr, 3)
	f.out.op(opEnd)
	f.out.with(opBr, 1)
	f.out.op(opEnd, opEnd, opEnd)
}

func (f *function) open(o op, typ []byte) {
	f.out.op(o)
	f.out.raw(typ...)
}

// compare holds what is left against w.
func (f *function) compare(w int64, how op) {
	f.out.with(opLocalGet, f.left)
	f.out.i64(w)
	f.out.op(how)
}

// less puts what is left without w on the stack.
func (f *function) less(w int64) {
	f.out.with(opLocalGet, f.left)
	f.out.i64(w)
	f.out.op(opI64Sub)
}

func (f *function) copy(e *edit) { f.out.raw(f.s.r.b[e.start:e.end]...) }

func (f *function) call(index uint32) {
	f.store()
	f.out.with(opCall, index)
	f.load()
}

// openBlock opens a block that gives what functions of type typ give.
func (m *module) openBlock(out *code, typ uint32) {
	out.op(opBlock)
	switch results := m.types[typ].results; len(results) {
	case 0:
		out.raw(blockEmpty)
	case 1:
		out.raw(results[0])
	default:
		out.signed(int64(m.typeIndex(nil, results)))
	}
}
