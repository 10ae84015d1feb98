package corpus

import (
	"fmt"
	"strings"
)

var huge = []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // 2^32-1

// oneFunction is a module of one function, or of its beginning, with that after the head of its body.
func oneFunction(code ...[]byte) []byte {
	return cat([]byte(magic), section(1, op(1), functype(nil, nil)), section(3, op(1, 0)), section(10, op(1), sized(cat(code...))))
}

// counts announce what is not there: a reader that believes them allocates gigabytes for a dozen bytes.
func counts() []Case {
	var cases []Case
	names := []string{1: "types", "imports", "functions", "tables", "memories", "globals", "exports", "start", "elements", "codes", "data"}
	for id := 1; id <= 11; id++ {
		if id == 8 {
			continue // has no count
		}
		module := cat([]byte(magic), section(byte(id), huge))
		cases = append(cases, raw("count-"+names[id], fmt.Sprintf("%d bytes that announce 2^32-1 %s", len(module), names[id]), Check, "", "", module))
	}
	one := func(name, about string, module []byte) {
		cases = append(cases, raw("count-"+name, fmt.Sprintf("%d bytes that announce %s", len(module), about), Check, "", "", module))
	}
	in := func(id byte, content ...[]byte) []byte { return cat([]byte(magic), section(id, content...)) }
	one("imports-256-mi", "2^28-1 imports", in(2, op(0xff, 0xff, 0xff, 0x7f)))
	one("imports-of-the-size", "as many imports as the section has bytes", in(2, uleb(1<<16), make([]byte, 1<<16)))
	one("parameters", "2^32-1 parameters", in(1, op(1, 0x60), huge))
	one("results", "2^32-1 results", in(1, op(1, 0x60, 0), huge))
	one("name", "a name of 2^32-1 bytes", in(2, op(1), huge))
	one("section", "a section of 2^32-1 bytes", cat([]byte(magic), op(1), huge))
	one("custom-name", "a custom section's name of 2^32-1 bytes", in(0, huge))
	one("table", "a table of 2^32-1 entries", in(4, op(1, 0x70, 0), huge))
	one("table-100-million", "a table of 10^8 entries", in(4, op(1, 0x70, 0), uleb(100_000_000)))
	one("pages", "a memory of 2^32-1 pages", in(5, op(1, 0), huge))
	one("element-entries", "2^32-1 entries of an element segment", in(9, op(1, 1, 0), huge))
	one("element-expressions", "2^32-1 expressions of an element segment", in(9, op(1, 5, 0x70), huge))
	one("data-bytes", "2^32-1 bytes of data", in(11, op(1, 1), huge))
	one("data-count", "2^32-1 data segments", in(12, huge))
	one("body", "a body of 2^32-1 bytes", cat([]byte(magic), section(1, op(1), functype(nil, nil)), section(3, op(1, 0)), section(10, op(1), huge)))
	one("groups-of-locals", "2^32-1 groups of locals", oneFunction(huge))
	one("locals", "2^32-1 locals", oneFunction(op(1), huge, op(i32), end))
	one("locals-50-million", "50 million locals", oneFunction(op(1), uleb(50_000_000), op(i32), end))
	one("locals-that-wrap", "2^31 locals twice", oneFunction(op(2), uleb(1<<31), op(i32), uleb(1<<31), op(i64), end))
	one("labels", "2^32-1 labels of a br_table", oneFunction(op(0), num(0), op(0x0e), huge))
	one("select", "2^32-1 types of a select", oneFunction(op(0, 0x1c), huge))
	return cases
}

// sound is a filter that passes everything: what is put around it is what is tried.
func sound() guest { return says(lets) }

const (
	lets  = `{"verdict":"pass"}`
	tells = `{"verdict":"deny","reason":"leaked"}`
)

// forms break the binary format, or stretch it.
func forms() []Case {
	custom := func(name, content string) []byte { return section(0, str(name), []byte(content)) }
	before := func(b []byte) guest { g := sound(); g.before = b; return g }
	after := func(b []byte) guest { g := sound(); g.after = b; return g }
	whole := sound().bytes()
	bad := func(name, about, says string, module []byte) Case {
		return raw("form-"+name, about, Check, malformed, says, module)
	}
	return []Case{
		bad("empty", "no bytes at all", "", nil),
		bad("magic-only", "half of the magic number", "", []byte(magic)[:4]),
		bad("component", "the version number of a component", "", []byte("\x00asm\x0d\x00\x01\x00")),
		bad("cut", "a module without its last byte", "", whole[:len(whole)-1]),
		bad("trailing", "a zero behind the last section", "", cat(whole, op(0))),
		bad("trailing-in-section", "a byte too many in a section", "", cat([]byte(magic), section(1, op(1), functype(nil, nil), op(0)))),
		bad("out-of-order", "types behind functions", "", cat([]byte(magic), section(3, op(1, 0)), section(1, op(1), functype(nil, nil)))),
		bad("twice", "two type sections", "", cat([]byte(magic), section(1, op(1), functype(nil, nil)), section(1, op(1), functype(nil, nil)))),
		raw("form-unknown-section", "a section of kind 42", Check, unsupported, "", cat(whole, section(42, []byte("x")))),
		raw("form-tags", "a section of exception tags", Check, unsupported, "", cat([]byte(magic), section(13, op(1, 0, 0)))),
		bad("number-of-six-bytes", "a size of more bytes than 32 bits need", "", cat([]byte(magic), op(1, 0x84, 0x80, 0x80, 0x80, 0x80, 0), op(1), functype(nil, nil))),
		bad("number-over-32-bits", "a size with bits beyond the 32nd", "", cat([]byte(magic), op(1, 0x84, 0x80, 0x80, 0x80, 0x10), op(1), functype(nil, nil))),
		of("form-padded-numbers", "a size padded to five bytes, which is lawful", Passed, "", "", before(cat(op(0, 0x82, 0x80, 0x80, 0x80, 0), str("x")))),
		bad("name-not-utf8", "an export whose name is no UTF-8", "", func() []byte {
			g := sound()
			g.exports = [][]byte{export("\xff\xfe", 0, 0)}
			return g.bytes()
		}()),
		bad("custom-name-not-utf8", "a custom section whose name is no UTF-8", "", before(custom("\xc3\x28", "")).bytes()),
		of("form-name-bomb", "a name section that announces 2^32-1 names", Passed, "", "", after(custom("name", string(cat(op(1), sized(cat(huge, op(0))), op(2), sized(cat(huge, op(0), huge))))))),
		of("form-name-section-cut", "a name section that ends within a name", Passed, "", "", after(custom("name", "\x01\xff\x01"))),
		of("form-debug-bomb", "900 KB of debug sections", Passed, "", "", after(custom(".debug_info", strings.Repeat("\xff", 900<<10)))),
		of("form-custom-flood", "250,000 custom sections", Passed, "", "", after(times(250_000, op(0, 1, 0)))),
		bad("functions-without-code", "functions that have no code", "", cat([]byte(magic), section(1, op(1), functype(nil, nil)), section(3, op(1, 0)))),
		bad("code-without-functions", "code of no function", "", cat([]byte(magic), section(10, op(1), sized(body(0, nil))))),
		bad("data-count", "a data count that is not that of the data", "", cat([]byte(magic), section(5, op(1, 0, 1)), section(12, op(2)), section(11, op(1), active(0, "x")))),
		bad("end-too-few", "a body that ends within a block", "", oneFunction(op(0, 0x02, 0x40, 0x0b))),
		bad("end-too-many", "instructions behind the end of a body", "", oneFunction(op(0, 0x0b, 0x01, 0x0b))),
		raw("form-too-large", "a module of more than 1 MiB", Load, "", "at most 1048576", before(custom("x", strings.Repeat("x", 1<<20))).bytes()),
	}
}
