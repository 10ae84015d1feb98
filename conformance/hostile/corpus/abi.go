package corpus

import (
	"fmt"
	"strings"
)

// traps end in every function that the host calls.
func traps() []Case {
	alloc := func(code []byte) guest { return shape(func(g *guest) { g.fns[1].code = code }) }
	initial := func(code []byte) guest {
		return sound().with(fn{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, code: code})
	}
	chunk := func(code []byte) guest {
		return sound().with(judge("gw_on_response", answer(1024, len(lets))), fn{export: "gw_on_chunk", params: []byte{i32, i32, i32}, results: []byte{i64}, code: code})
	}
	stops := func(name, about string, g guest) Case { return of("trap-"+name, about, Decide, fault, "", g) }
	return []Case{
		of("trap-alloc", "gw_alloc gives up", Decide, gaveUp, "", alloc(unreachable)),
		of("trap-alloc-endless", "gw_alloc never ends", Decide, fuel, "", alloc(cat(spin, num(1)))),
		of("trap-init", "gw_init gives up", Init, gaveUp, "", initial(unreachable)),
		of("trap-init-endless", "gw_init never ends", Init, fuel, "", initial(cat(spin, num(0)))),
		of("trap-init-recursion", "gw_init calls itself", Init, depth, "", initial(cat(get(0), get(1), call(firstOwn)))),
		of("trap-init-refuses", "gw_init does not want its configuration", Init, refused, "", initial(num(-1))),
		of("trap-init-grows", "gw_init grows memory to all there is", Init, fuel, "", initial(cat(loop(grow(255), drop), num(0)))),
		of("trap-response", "gw_on_response gives up", Respond, gaveUp, "", sound().with(judge("gw_on_response", unreachable))),
		of("trap-response-endless", "gw_on_response never ends", Respond, fuel, "", sound().with(judge("gw_on_response", spin, never))),
		of("trap-response-pointer", "gw_on_response answers from outside memory", Respond, pointer, "", sound().with(judge("gw_on_response", long(-1)))),
		of("trap-chunk", "gw_on_chunk gives up", Chunk, gaveUp, "", chunk(unreachable)),
		of("trap-chunk-endless", "gw_on_chunk never ends", Chunk, fuel, "", chunk(cat(spin, never))),
		of("trap-chunk-pointer", "gw_on_chunk answers from outside memory", Chunk, pointer, "", chunk(long(-1))),
		of("trap-unreachable", "gw_decide gives up", Decide, gaveUp, "", filter(1, unreachable)),
		stops("zero", "divides by zero", filter(1, num(1), num(0), op(0x6d, 0x1a), never)),
		stops("overflow", "divides the least number by -1", filter(1, num(-1<<31), num(-1), op(0x6d, 0x1a), never)),
		stops("conversion", "makes an integer of what is no number", filter(1, num(0), op(0xb7), num(0), op(0xb7, 0xa3, 0xaa, 0x1a), never)),
		stops("null", "calls an empty entry of a table", table(filter(1, num(0), op(0x11, 0, 0), never))),
		stops("table-end", "calls an entry beyond a table", table(filter(1, num(-1), op(0x11, 0, 0), never))),
		stops("signature", "calls a function by another type than its own", func() guest {
			g := table(filter(1, num(0), op(0x11, 1, 0), drop, never))
			g.fns[2].code = cat(num(1), num(0), op(0x11, 1, 0), drop, never)
			g.elems = [][]byte{cat(op(0), num(0), end, op(1, 0))}
			return g
		}()),
	}
}

// pointers hand the host what does not lie in the guest's memory, or what is something else.
func pointers() []Case {
	alloc := func(name, about string, stage Stage, kind string, code ...[]byte) Case {
		return of("alloc-"+name, about, stage, kind, "", shape(func(g *guest) { g.pages = 1; g.fns[1].code = cat(code...) }))
	}
	answers := func(name, about, kind string, code ...[]byte) Case {
		return of("answer-"+name, about, Decide, kind, "", filter(1, code...))
	}
	outside := func(name, about string, code ...[]byte) Case {
		return of("outside-"+name, about, Decide, memory, "", filter(1, cat(code...), never))
	}
	segment := func(name, about string, change func(*guest)) Case {
		return of("segment-"+name, about, Load, "", "instantiate", shape(change))
	}
	moving := func() guest { // another place on each call within one decision, and in each decision
		g := sound()
		g.globals = [][]byte{mutable(4096)}
		g.fns[1].code = cat(readGlobal(0), num(8), op(0x6a), writeGlobal(0), readGlobal(0))
		return g
	}
	return []Case{
		alloc("nothing", "gw_alloc gives nothing", Decide, input, num(0)),
		alloc("end", "gw_alloc gives the end of memory", Decide, pointer, num(1<<16)),
		alloc("too-little", "gw_alloc gives room that ends with memory too early", Decide, pointer, num(1<<16-10)),
		alloc("negative", "gw_alloc gives a negative address", Decide, pointer, num(-16)),
		alloc("wraps", "gw_alloc gives an address from which the input wraps around", Decide, pointer, num(-1)),
		alloc("over-verdict", "gw_alloc has the input written over the verdict", Decide, verdict, num(1024)),
		alloc("grows", "gw_alloc grows memory and gives what is new", Passed, "", grow(1), num(16), op(0x74)),
		alloc("decides", "gw_alloc calls gw_decide and throws its verdict away", Passed, "", num(64), num(64), call(2), drop, num(32<<10)),
		alloc("fuel", "gw_alloc spends what gw_decide was to have", Decide, fuel, loop(num(0), drop), num(64)),
		of("alloc-moves", "gw_alloc gives another place for each call", Passed, "", "", moving()),
		answers("beyond", "a verdict that ends beyond memory", pointer, answer(65530, 18)),
		answers("wraps", "a verdict whose end wraps around", pointer, long(-1)),
		answers("negative", "a verdict at a negative address", pointer, long(-1<<32|18)),
		answers("4-gib", "a verdict of 2^32-1 bytes", pointer, long(1<<32-1)),
		answers("behind-memory", "a verdict in memory that was asked for and not given", pointer, grow(-1), drop, answer(1<<20, 18)),
		answers("whole-memory", "all of memory as a verdict", verdict, answer(0, 1<<16)),
		answers("input", "the input as its own verdict", verdict, get(0), op(0xad), long(32), op(0x86), get(1), op(0xad, 0x84)),
		answers("empty", "a verdict of no bytes", verdict, answer(1024, 0)),
		outside("read", "reads behind memory", read32(1<<16-3), drop),
		outside("read-far", "reads at an offset of 2^32-1 from an address of 2^32-1", num(-1), op(0x28, 0), huge, drop),
		outside("write", "writes behind memory", write32(1<<16, 1)),
		outside("write-64", "writes eight bytes of which one is behind memory", num(1<<16-7), long(1), op(0x37, 0, 0)),
		outside("fill", "fills to 2^32-1", fill(0, -1)),
		outside("copy", "copies from behind memory", move(0, 1<<16-8, 9)),
		outside("init", "copies data from behind a segment", num(0), num(0), num(1), op(0xfc, 10, 0, 0), num(0), num(1<<16), num(1), op(0xfc, 10, 0, 0)),
		segment("data-past-memory", "data behind memory", func(g *guest) { g.data = [][]byte{active(3<<16, lets)} }),
		segment("data-negative", "data at a negative address", func(g *guest) { g.data = [][]byte{active(-1, lets)} }),
		of("segment-elements-past-table", "entries behind a table, which the engine leaves out", Passed, "", "", shape(func(g *guest) {
			*g = table(*g)
			g.elems = [][]byte{cat(op(0), num(3), end, op(2, 0, 0))}
		})),
	}
}

// verdicts are answers that are none.
func verdicts() []Case {
	bad := func(name, about, text string) Case {
		return of("verdict-"+name, about, Decide, verdict, "", says(text))
	}
	labels := strings.TrimSuffix(strings.Repeat(`"a",`, 33), ",")
	scores := make([]string, 17)
	for i := range scores {
		scores[i] = fmt.Sprintf(`"s%d":1`, i)
	}
	return []Case{
		bad("not-utf8", "bytes that are no UTF-8 within a string", "{\"verdict\":\"deny\",\"message\":\"\xff\xc0\x80\"}"),
		bad("surrogate", "half of a surrogate pair", `{"verdict":"deny","message":"\ud800"}`),
		bad("escape", "control characters of a terminal", `{"verdict":"deny","message":"\u001b[2J"}`),
		bad("nul", "a zero byte", "{\"verdict\":\"deny\",\"message\":\"a\x00b\"}"),
		bad("twice", "a verdict twice", `{"verdict":"deny","verdict":"pass"}`),
		bad("case", "a member of another case", `{"Verdict":"pass"}`),
		bad("member", "a member that is not known", `{"verdict":"pass","admin":true}`),
		bad("kind", "a verdict that is not known", `{"verdict":"allow"}`),
		bad("list", "a list", `["pass"]`),
		bad("text", "no JSON", `pass`),
		bad("cut", "half of a verdict", `{"verdict":"pass"`),
		bad("two", "two verdicts", `{"verdict":"pass"}{"verdict":"deny"}`),
		bad("deep", "60,000 lists within each other", `{"verdict":"rewrite","arguments":{"a":`+strings.Repeat("[", 60_000)+strings.Repeat("]", 60_000)+`}}`),
		bad("deep-unclosed", "60,000 lists that nobody closes", strings.Repeat("[", 60_000)),
		bad("large", "a message of 1 MiB", `{"verdict":"deny","message":"`+strings.Repeat("x", 1<<20-2000)+`"}`),
		bad("over-its-bound", "blanks up to 20 KiB", `{"verdict":"pass"`+strings.Repeat(" ", 20<<10)+`}`),
		bad("labels", "33 labels", `{"verdict":"pass","labels":[`+labels+`]}`),
		bad("label", "a label with a line break", `{"verdict":"pass","labels":["a\nb"]}`),
		bad("scores", "17 scores", `{"verdict":"pass","scores":{`+strings.Join(scores, ",")+`}}`),
		bad("score", "a score of 10^400", `{"verdict":"pass","scores":{"a":1`+strings.Repeat("0", 400)+`}}`),
		bad("score-float", "a score of 1e999", `{"verdict":"pass","scores":{"a":1e999}}`),
		bad("number", "a number of 10,000 digits in the arguments", `{"verdict":"rewrite","arguments":{"a":1`+strings.Repeat("0", 10_000)+`}}`),
		bad("rewrite-nothing", "a rewrite without a body", `{"verdict":"rewrite"}`),
		bad("rewrite-a-list", "arguments that are no object", `{"verdict":"rewrite","arguments":[]}`),
		bad("rewrite-twice", "arguments with a key twice", `{"verdict":"rewrite","arguments":{"a":1,"a":2}}`),
		bad("rewrite-result", "a result in place of arguments", `{"verdict":"rewrite","result":{}}`),
		bad("pass-with-body", "arguments beside a pass", `{"verdict":"pass","arguments":{}}`),
		of("verdict-grows", "a verdict that is longer on each call", Passed, "", "", grows()),
		of("verdict-over-input", "a verdict that is written where the input lay", Passed, "", "", overInput()),
	}
}

// grows keeps a count in memory and answers with that many blanks at its end.
func grows() guest {
	g := says(lets + strings.Repeat(" ", 8))
	g.fns[2].code = cat(num(8192), read32(8192), num(1), op(0x6a), tee(2), op(0x36, 2, 0),
		get(2), num(int32(len(lets)-1)), op(0x6a, 0xad), long(1024<<32), op(0x84))
	return g
}

// overInput copies its verdict over the input.
func overInput() guest {
	g := sound()
	g.fns[2].code = cat(get(0), num(1024), num(int32(len(lets))), op(0xfc, 10, 0, 0), get(0), op(0xad), long(32), op(0x86), long(int64(len(lets))), op(0x84))
	return g
}

var gwLog = host{module: "gw", name: "log", params: []byte{i32, i32, i32}}

// logs write more than a log takes, or what is not theirs.
func logs() []Case {
	line := func(level, at, n int32) []byte { return cat(num(level), num(at), num(n), call(0)) }
	logging := func(code ...[]byte) guest {
		return shape(func(g *guest) {
			g.imports = []host{gwLog}
			g.fns[2].code = cat(code...)
		})
	}
	passes := answer(1024, len(lets))
	flood := of("log-flood", "writes lines for ever", Decide, fuel, "", logging(loop(line(1, 1024, 64)), never))
	large := of("log-of-memory", "writes 128 KiB lines for ever", Decide, fuel, "", logging(loop(line(1, 0, 2<<16)), never))
	none := of("log-of-nothing", "writes empty lines for ever", Decide, fuel, "", logging(loop(times(50, line(3, 0, 0))), never))
	flood.Endless, large.Endless, none.Endless = true, true, true
	in := func(name, about string, stage Stage, kind string, change func(*guest)) Case {
		return of("log-"+name, about, stage, kind, "", shape(func(g *guest) { g.imports = []host{gwLog}; change(g) }))
	}
	return []Case{
		flood, large, none,
		of("log-beyond", "a line behind memory", Decide, pointer, "", logging(line(1, 2<<16-1, 2), never)),
		of("log-wraps", "a line whose end wraps around", Decide, pointer, "", logging(line(1, -1, -1), never)),
		of("log-level", "a level that does not exist", Passed, "", "", logging(line(-1<<31, 1024, 8), line(1<<31-1, 1024, 8), passes)),
		of("log-terminal", "control characters and what is no UTF-8", Passed, "", "", shape(func(g *guest) {
			g.imports, g.data = []host{gwLog}, append(g.data, active(4096, "\x1b[2J\r\nfake=line\x00\xff\xfe"))
			g.fns[2].code = cat(line(1, 4096, 20), passes)
		})),
		in("within-alloc", "gw_alloc logs, so that the host is called while it calls", Passed, "", func(g *guest) {
			g.fns[1].code = cat(line(1, 1024, 8), num(32<<10))
		}),
		in("within-init", "gw_init logs for ever", Init, fuel, func(g *guest) {
			g.fns = append(g.fns, fn{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, code: cat(loop(line(1, 1024, 8)), num(0))})
		}),
		in("recursion", "logs while it calls itself", Decide, depth, func(g *guest) {
			g.fns[2].code = cat(line(0, 1024, 1), get(0), get(1), call(3))
		}),
		in("through-a-table", "has the host's function called through a table", Check, unsupported, func(g *guest) {
			g.table = op(0x70, 0, 1)
			g.elems = [][]byte{cat(op(0), num(0), end, op(1, 0))}
		}),
	}
}

// memories keep what one call showed for the next, or try to answer another thing each time. Each refuses with "leaked"
// when it has got hold of something.
func memories() []Case {
	keeps := func(name, about string, found, keep []byte) Case {
		g := says(lets)
		g.globals = [][]byte{mutable(0), mutable(7)}
		g.data = append(g.data, active(2048, tells))
		g.fns[2].code = cat(when(found, answer(2048, len(tells)), ret), keep, answer(1024, len(lets)))
		return of("keeps-"+name, about, Passed, "", "", g)
	}
	is := func(a []byte, n int32) []byte { return cat(a, num(n), op(0x46)) }
	isNot := func(a []byte, n int32) []byte { return cat(a, num(n), op(0x47)) }
	return []Case{
		keeps("in-memory", "a secret in memory", read32(4096), write32(4096, 1)),
		keeps("in-the-last-bytes", "a secret in the last bytes of memory", read32(2<<16-4), write32(2<<16-4, 1)),
		keeps("in-its-data", "a secret over its own data", isNot(read32(2048), 0x6576227b), write32(2048+3, 1)),
		keeps("between-data", "a secret between two pieces of data", read32(2000), write32(2000, 1)),
		keeps("the-input", "what lies where the input of the last call was longer", cat(read32(32<<10+1200), get(1), num(1000), op(0x49, 0x71)), nil),
		keeps("in-a-global", "a secret in a global", readGlobal(0), cat(num(1), writeGlobal(0))),
		keeps("in-another-global", "a secret in a global that was not zero", isNot(readGlobal(1), 7), cat(num(1), writeGlobal(1))),
		keeps("in-grown-memory", "a secret in memory that it has grown", is(op(0x3f, 0), 3), cat(grow(1), drop, write32(2<<16, 1))),
		keeps("in-memory-grown-again", "what was left in memory that another call grew", cat(grow(1), drop, read32(2<<16+64)), write32(2<<16+64, 1)),
		keeps("on-the-stack", "what is left in locals that it never set", cat(get(2), get(3), op(0x72)), cat(num(1), set(2), num(1), set(3))),
		keeps("grows-slowly", "memory that is one page larger on each call", is(op(0x3f, 0), 4), cat(grow(1), drop)),
		keeps("depth", "whether fewer calls may be open than before", num(0), times(100, call(0))),
		keeps("nan", "the bits of what is no number, which may be another's", num(0), cat(num(4096), num(0), op(0xb7), num(0), op(0xb7, 0xa3), op(0x39, 3, 0))),
	}
}
