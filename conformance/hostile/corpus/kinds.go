package corpus

// kinds use what filters may not: proposals, imports, exports and state that cannot be put back.
func kinds() []Case {
	const refuse = unsupported
	with := func(name, about string, kind string, code ...[]byte) Case {
		return of("kind-"+name, about, Check, kind, "", filter(1, cat(code...), never))
	}
	return []Case{
		with("simd", "a vector instruction", refuse, op(0xfd, 12), make([]byte, 16), drop),
		with("atomic", "an atomic instruction", refuse, op(0xfe, 3, 0)),
		with("tail-call", "a tail call, which would not count as an open call", refuse, get(0), get(1), op(0x12, 2)),
		with("indirect-tail-call", "an indirect tail call", refuse, get(0), get(1), num(0), op(0x13, 0, 0)),
		with("exception", "throw, which would jump over the meter", refuse, op(0x08, 0)),
		with("try", "a block that catches traps", refuse, op(0x06, 0x40, 0x0b)),
		with("gc", "a struct", refuse, op(0xfb, 0, 0)),
		with("unknown", "an opcode that does not exist", refuse, op(0x27)),
		with("last-prefix", "a prefixed opcode of 2^31", refuse, op(0xfc, 0x80, 0x80, 0x80, 0x80, 8)),
		of("kind-shared-memory", "a shared memory", Check, refuse, "", shape(func(g *guest) { g.pages, g.memory = 0, op(3, 1, 2) })),
		of("kind-memory64", "a memory of 64 bits", Check, refuse, "", shape(func(g *guest) { g.pages, g.memory = 0, op(4, 1) })),
		of("kind-constant-sum", "a global that is computed", Check, refuse, "", shape(func(g *guest) {
			g.globals = [][]byte{cat(op(i32, 0), num(1), num(2), op(0x6a, 0x0b))}
		})),
		of("kind-start", "a start function that never ends", Check, refuse, "start function", shape(func(g *guest) {
			*g = g.with(fn{code: spin})
			g.start = firstOwn + 1
		})),
		of("kind-table-set", "changes a table, which no reset puts back", Check, refuse, "table.set", table(filter(1, num(0), op(0xd0, 0x70), op(0x26, 0), answer(0, 0)))),
		of("kind-table-fill", "table.fill", Check, refuse, "table.fill", table(filter(1, num(0), op(0xd0, 0x70), num(1), op(0xfc, 17, 0), never))),
		of("kind-table-grow", "table.grow", Check, refuse, "table.grow", table(filter(1, op(0xd0, 0x70), num(1), op(0xfc, 15, 0), drop, never))),
		of("kind-table-copy", "table.copy", Check, refuse, "table.copy", table(filter(1, num(0), num(0), num(1), op(0xfc, 14, 0, 0), never))),
		of("kind-data-drop", "drops a data segment, which no reset puts back", Check, refuse, "data.drop", shape(func(g *guest) {
			g.fns[2].code = cat(op(0xfc, 9, 0), never)
			g.count = true
		})),
		imports("unknown", "a function that nobody has", host{module: "env", name: "system", params: nil, results: nil}),
		imports("unknown-of-gw", "a function that the host does not have", host{module: "gw", name: "exec", params: []byte{i32}, results: nil}),
		imports("mistyped", "gw.log with pointers of 64 bits", host{module: "gw", name: "log", params: []byte{i32, i64, i64}, results: nil}),
		imports("mistyped-result", "gw.log with a result", host{module: "gw", name: "log", params: []byte{i32, i32, i32}, results: []byte{i32}}),
		of("import-refuel", "the meter's own function, to hand itself fuel", Check, refuse, "meter", shape(func(g *guest) {
			g.imports = []host{{module: "gw_internal", name: "refuel", params: []byte{i64}, results: []byte{i64}}}
			g.fns[2].code = cat(long(1<<40), call(0), drop, never)
		})),
		of("import-memory", "a memory of somebody else", Check, refuse, "", foreign(2, 0, 1)),
		of("import-global", "a global of somebody else", Check, refuse, "", foreign(3, i32, 1)),
		of("import-table", "a table of somebody else", Check, refuse, "", foreign(1, 0x70, 0, 1)),
		of("export-fuel", "an export with the name of the meter's fuel", Check, refuse, "__fuel", named("__fuel")),
		of("export-depth", "an export with the name of the meter's depth", Check, refuse, "__depth", named("__depth")),
		of("export-state", "an export with a name of the state that is put back", Check, refuse, "__state", named("__state0")),
		of("export-twice", "two exports of one name", Check, malformed, "gw_alloc", shape(func(g *guest) { g.exports = [][]byte{export("gw_alloc", 0, 1)} })),
		of("export-nothing", "an export of a function that is not there", Check, malformed, "", shape(func(g *guest) { g.exports = [][]byte{export("x", 0, 99)} })),
		of("abi-none", "none of the ABI", Load, "", "gw_abi_1", guest{pages: 1}),
		of("abi-no-memory", "a memory that is not exported", Load, "", "memory", shape(func(g *guest) { g.noMemory = true })),
		of("abi-memory-is-a-function", "a function exported as memory", Load, "", "memory", shape(func(g *guest) {
			g.noMemory, g.exports = true, [][]byte{export("memory", 0, 0)}
		})),
		of("abi-no-alloc", "no gw_alloc", Load, "", "gw_alloc", shape(func(g *guest) { g.fns[1].export = "" })),
		of("abi-decide-mistyped", "gw_decide with parameters of 64 bits", Load, "", "gw_decide", shape(func(g *guest) { g.fns[2].params = []byte{i64, i64} })),
		of("abi-response-mistyped", "gw_on_response without a result", Load, "", "gw_on_response", sound().with(fn{export: "gw_on_response", params: []byte{i32, i32}})),
		of("abi-decide-is-log", "gw_decide that is the host's own gw.log", Load, "", "gw_decide", shape(func(g *guest) {
			g.imports = []host{gwLog}
			g.fns[2].export = ""
			g.exports = [][]byte{export("gw_decide", 0, 0)}
		})),
	}
}

// shape is a sound filter that was changed.
func shape(change func(*guest)) guest {
	g := sound()
	change(&g)
	return g
}

func named(name string) guest {
	return shape(func(g *guest) { g.exports = [][]byte{export(name, 0, 0)} })
}

// table gives a filter a table of four functions, all null.
func table(g guest) guest {
	g.table = op(0x70, 0, 4)
	return g
}

func imports(name, about string, h host) Case {
	return of("import-"+name, about, Load, "", "", shape(func(g *guest) { g.imports = []host{h} }))
}

// foreign imports what is no function.
func foreign(what ...byte) guest {
	return shape(func(g *guest) {
		g.imports = []host{{module: "env", name: "x", what: what}}
		if what[0] == 2 {
			g.pages = 0
		}
	})
}
