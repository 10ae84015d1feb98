package wasm

import (
	"encoding/binary"
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

// weight is what the engine holds for a module beside its instances' linear memory, in bytes.
type weight struct {
	filter   int64 // as long as the module is loaded
	code     int64 // of that, for the native code; until it is there, what is taken to come
	instance int64 // for each instance
}

// What wazero 1.12 holds, in bytes, as Go's heap grows by it: TestTheWeightOfAModuleIsWhatItTakes looks at each of them. They
// are rounded up, as the allocator does. The dearest are those that a module has for a byte or two: locals, which stand there
// in runs, the entries of element segments, and data segments.
const (
	perFilter     = 32 << 10 // the engine's store, its host modules and what this package has
	perSlot       = 512      // of the pool
	perType       = 256
	perTypeByte   = 10 // a value's type takes 8
	perImport     = 512
	perFunction   = 304 // its code's place, its definition
	perLocal      = 9   // its type takes 8
	perGlobal     = 96
	perExport     = 144 // its name aside
	perEntry      = 41  // of element segments: an expression
	perElements   = 160 // an element segment
	perSegment    = 80  // a data segment, its bytes aside
	perNativeByte = 6   // of code: what a byte of wasm becomes, commonly 3 to 6

	perInstance      = 12 << 10 // its native stacks aside, which are looked at
	instanceImport   = 64       // where its function is
	instanceGlobal   = 112
	instanceTable    = 9  // an entry
	instanceEntry    = 34 // of element segments: a reference to a function
	instanceElements = 24
	instanceSegment  = 25
)

// The sections that weigh.
const (
	typeSection = iota + 1
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
)

// weigh reads how much of everything a metered module has. What is no module weighs something too: the engine refuses it.
func weigh(module []byte, slots int) weight {
	w := weight{filter: perFilter + perSlot*int64(slots), instance: perInstance}
	r := section{module[min(8, len(module)):]}
	for len(r.rest) > 0 {
		id := r.rest[0]
		r.rest = r.rest[1:]
		body := section{r.take(r.number())}
		w.add(id, int64(len(body.rest)), body)
	}
	w.filter += w.code
	return w
}

func (w *weight) add(id byte, size int64, s section) {
	n := min(s.number(), size) // each has at least a byte
	switch id {
	case typeSection:
		w.filter += n*perType + size*perTypeByte
	case importSection:
		w.filter, w.instance = w.filter+n*perImport+size, w.instance+n*instanceImport
	case functionSection:
		w.filter += n * perFunction
	case tableSection:
		w.instance += s.tables(n) * instanceTable
	case globalSection:
		w.filter, w.instance = w.filter+n*perGlobal+size, w.instance+n*instanceGlobal
	case exportSection:
		w.filter += n*perExport + size
	case elementSection: // an entry has at least a byte
		w.filter, w.instance = w.filter+n*perElements+size*perEntry, w.instance+n*instanceElements+size*instanceEntry
	case codeSection:
		w.code = size * perNativeByte
		w.filter += size + size/8 + s.locals(n)*perLocal
	case dataSection:
		w.filter, w.instance = w.filter+n*perSegment+size+size/8, w.instance+n*instanceSegment
	}
}

// section reads what is in a section. Behind its end all is zero.
type section struct{ rest []byte }

func (s *section) take(n int64) []byte {
	n = min(max(n, 0), int64(len(s.rest)))
	out := s.rest[:n]
	s.rest = s.rest[n:]
	return out
}

func (s *section) number() int64 {
	n, size := binary.Uvarint(s.rest)
	if size <= 0 {
		s.rest = nil
		return 0
	}
	s.rest = s.rest[size:]
	return int64(n & (1<<32 - 1)) // numbers of modules have 32 bits
}

// tables adds up with how many entries n tables begin.
func (s *section) tables(n int64) (entries int64) {
	for ; n > 0 && len(s.rest) > 0; n-- {
		s.take(1) // what it holds
		bounded := len(s.rest) > 0 && s.rest[0]&1 != 0
		s.take(1)
		entries += s.number()
		if bounded {
			s.number()
		}
	}
	return entries
}

// locals adds up the locals of n functions.
func (s *section) locals(n int64) (locals int64) {
	for ; n > 0 && len(s.rest) > 0; n-- {
		body := section{s.take(s.number())}
		for runs := body.number(); runs > 0 && len(body.rest) > 0; runs-- {
			locals += body.number()
			body.take(1) // their type
		}
	}
	return locals
}

// native is how many bytes of native code an instance runs on, with what the host enters its types of functions by, or false
// where the engine has another shape than this was written for: wazero tells nobody. What is read does not change once there is
// an instance.
func native(m api.Module) (size int64, ok bool) {
	at := reflect.ValueOf(m)
	for _, name := range [...]string{"Engine", "parent", "executables"} {
		if at = member(at, name); !at.IsValid() {
			return 0, false
		}
	}
	for _, name := range [...]string{"executable", "entryPreambles"} {
		code := member(at, name)
		if !code.IsValid() || code.Kind() != reflect.Slice {
			return 0, false
		}
		size += int64(code.Len())
	}
	return size, true
}

// member is a field of what v leads to, or the zero Value.
func member(v reflect.Value, name string) reflect.Value {
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v.FieldByName(name)
}
