package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/wasm/meter"
)

// statePrefix begins the names under which openState exports globals. A module's own exports may not contain it.
const statePrefix = "__state"

// Numbers of the binary format that openState reads.
const (
	sectionGlobal = 6
	sectionExport = 7
	sectionCode   = 10
	exportGlobal  = 3
	isMutable     = 1
)

var errModule = errors.New("the metered module cannot be read")

// openState exports every mutable global of a metered module and returns their names, so that an instance can be put back
// to an earlier state. It refuses modules that change what cannot be put back. Package meter has checked the module:
// anything unexpected here is a fault, not an attack.
func openState(module []byte) (open []byte, names []string, err error) {
	const header = 8
	if len(module) < header {
		return nil, nil, errModule
	}
	open = append(open, module[:header]...)
	var entries []byte
	for r := (reader{b: module[header:]}); len(r.b) > 0; {
		id := r.byte()
		body := r.bytes(r.uint())
		switch id {
		case sectionGlobal:
			entries, names = exports(body)
		case sectionExport:
			if bytes.Contains(body, []byte(statePrefix)) {
				return nil, nil, fmt.Errorf("the name of an export contains %q", statePrefix)
			}
			body = extend(body, entries, len(names))
		case sectionCode:
			if err := fixed(body); err != nil {
				return nil, nil, err
			}
		}
		if r.bad {
			return nil, nil, errModule
		}
		open = append(binary.AppendUvarint(append(open, id), uint64(len(body))), body...)
	}
	return open, names, nil
}

// exports returns an export of each mutable global of a global section. Imported globals, which would shift the indexes,
// are refused by package meter.
func exports(section []byte) (entries []byte, names []string) {
	r := reader{b: section}
	count := r.uint()
	for i := range count {
		r.byte() // the type
		if r.byte() == isMutable {
			name := statePrefix + strconv.Itoa(i)
			names = append(names, name)
			entries = append(binary.AppendUvarint(entries, uint64(len(name))), name...)
			entries = binary.AppendUvarint(append(entries, exportGlobal), uint64(i))
		}
		for op := r.byte(); op != opEnd && !r.bad; op = r.byte() {
			r.immediates(op)
		}
	}
	return entries, names
}

// extend adds count entries to a section that is one vector.
func extend(section, entries []byte, count int) []byte {
	r := reader{b: section}
	out := binary.AppendUvarint(nil, uint64(r.uint()+count))
	return append(append(out, r.b...), entries...)
}

// fixed refuses code that changes tables or drops segments: no compiler of the languages filters are written in emits
// that, and the engine offers no way to undo it.
func fixed(section []byte) error {
	r := reader{b: section}
	for count := r.uint(); count > 0; count-- {
		body := reader{b: r.bytes(r.uint())}
		for groups := body.uint(); groups > 0; groups-- {
			body.uint()
			body.byte()
		}
		for len(body.b) > 0 {
			if what := body.immediates(body.byte()); what != "" {
				return fmt.Errorf("it uses %s, which a filter may not", what)
			}
		}
		if body.bad || r.bad {
			return errModule
		}
	}
	return nil
}

// Opcodes with immediates, and where ranges of them end.
const (
	opBlock, opIf          = 0x02, 0x04
	opEnd                  = 0x0b
	opBranch, opBranchIf   = 0x0c, 0x0d
	opTable                = 0x0e
	opCall, opCallIndirect = 0x10, 0x11
	opSelectTyped          = 0x1c
	opLocal, opTableSet    = 0x20, 0x26
	opLoad, opStore        = 0x28, 0x3e
	opSize, opI64          = 0x3f, 0x42
	opF32, opF64           = 0x43, 0x44
	opNull, opFunc         = 0xd0, 0xd2
	opPrefix               = 0xfc
)

// prefixed are the opcodes behind opPrefix that have immediates: how many, and the name of what cannot be undone.
var prefixed = map[int]struct {
	count int
	undo  string
}{
	8: {2, ""}, 9: {1, "data.drop"}, 10: {2, ""}, 11: {1, ""}, 12: {2, "table.init"}, 13: {1, "elem.drop"},
	14: {2, "table.copy"}, 15: {1, "table.grow"}, 16: {1, ""}, 17: {1, "table.fill"},
}

// immediates steps over what follows an opcode, and names it when its effect cannot be undone.
func (r *reader) immediates(op byte) (undo string) {
	switch {
	case op == opTable:
		for n := r.uint() + 1; n > 0 && !r.bad; n-- {
			r.skip()
		}
	case op == opCallIndirect, op >= opLoad && op <= opStore:
		r.skip()
		r.skip()
	case op == opSelectTyped:
		r.bytes(r.uint())
	case op == opF32:
		r.bytes(4)
	case op == opF64:
		r.bytes(8)
	case op == opPrefix:
		p := prefixed[r.uint()]
		for range p.count {
			r.skip()
		}
		return p.undo
	case op >= opBlock && op <= opIf, op == opBranch, op == opBranchIf, op == opCall, op >= opLocal && op <= opTableSet,
		op >= opSize && op <= opI64, op == opNull, op == opFunc:
		r.skip()
	}
	if op == opTableSet {
		return "table.set"
	}
	return ""
}

// reader takes a module apart. Behind its end it is bad, and everything reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	head := r.b[:n:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// uint reads an unsigned LEB128 number of 32 bits.
func (r *reader) uint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<32-1 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// skip steps over a LEB128 number of any kind.
func (r *reader) skip() {
	for r.byte() >= 0x80 {
	}
}

// The names package meter gives what it injects.
const (
	exportFuel  = meter.FuelGlobal
	exportDepth = meter.DepthGlobal
)
