package corpus

// bounds ask for more than there is.
func bounds() []Case {
	function := functype(nil, nil)
	over := func(name, about string, change func(*guest)) Case {
		return of("limit-"+name, about, Check, limit, "", shape(change))
	}
	many := func(n int, b []byte) [][]byte {
		all := make([][]byte, n)
		for i := range all {
			all[i] = b
		}
		return all
	}
	return []Case{
		over("functions", "10,001 functions", func(g *guest) { g.fns = append(g.fns, make([]fn, 10_000)...) }),
		raw("limit-functions-100k", "100,000 empty functions", Check, limit, "", cat([]byte(magic), section(1, op(1), function),
			section(3, uleb(100_000), make([]byte, 100_000)), section(10, uleb(100_000), times(100_000, sized(body(0, nil)))))),
		over("types", "1,001 types", func(g *guest) { g.types = many(1001, function) }),
		over("parameters", "a function of 1,000 parameters", func(g *guest) { g.types = [][]byte{functype(times(1000, op(i64)), nil)} }),
		over("results", "a function of 1,000 results", func(g *guest) { g.types = [][]byte{functype(nil, times(1000, op(i64)))} }),
		over("globals", "1,001 globals", func(g *guest) { g.globals = many(1001, mutable(0)) }),
		over("exports", "1,001 exports", func(g *guest) { g.exports = many(1001, export("x", 0, 0)) }),
		over("imports", "1,001 imports", func(g *guest) {
			g.types = [][]byte{function}
			for range 1001 {
				g.imports = append(g.imports, gwLog)
			}
		}),
		over("locals", "1,001 locals", func(g *guest) { g.fns[2].locals = 1001 }),
		over("body", "a body of 65 KiB", func(g *guest) { g.fns[2].code = cat(times(65<<10, op(1)), never) }),
		over("nesting", "100,000 blocks within each other", func(g *guest) {
			g.fns[2].code = cat(times(15_000, op(0x02, 0x40)), times(15_000, end), never)
		}),
		over("nesting-of-ifs", "257 ifs within each other", func(g *guest) {
			g.fns[2].code = cat(times(257, get(0), op(0x04, 0x40)), times(257, end), never)
		}),
		over("table-entries", "a table of 65,537 entries", func(g *guest) { g.table = cat(op(0x70, 0), uleb(1<<16+1)) }),
		raw("limit-tables", "100 tables", Check, limit, "", cat([]byte(magic), section(4, uleb(100), times(100, op(0x70, 0, 1))))),
		raw("limit-memories", "two memories", Check, limit, "", cat([]byte(magic), section(5, op(2, 0, 1, 0, 1)))),
		over("pages", "a memory of 257 pages", func(g *guest) { g.pages = 257 }),
		over("segments", "1,001 data segments", func(g *guest) { g.data = many(1001, active(1024, "x")) }),
		over("element-entries", "65,537 entries of element segments", func(g *guest) {
			g.table = op(0x70, 0, 1)
			g.elems = many(700, cat(op(1, 0), uleb(100), make([]byte, 100)))
		}),
	}
}

// bombs are small and valid, and would keep a compiler busy for minutes or fill the machine's memory. What passes the
// limits must compile in time.
func bombs() []Case {
	compiles := func(name, about string, stage Stage, locals int, code ...[]byte) Case {
		kind := ""
		if stage == Check {
			kind = limit
		}
		return of("bomb-"+name, about, stage, kind, "", sound().with(fn{params: []byte{i32}, locals: locals, code: cat(code...)}))
	}
	copies := func(n int, f fn) guest {
		g := sound()
		for range n {
			g.fns = append(g.fns, f)
		}
		return g
	}
	moveOne := func(i int) []byte { return cat(get(1+(i*7)%990), set(1+(i*3)%990)) }
	ifs := func(n int) (code []byte) {
		for i := range n {
			code = append(code, when(get(0), moveOne(i))...)
		}
		return code
	}
	loops := func(n int) (code []byte) {
		for i := range n {
			code = append(code, cat(op(0x03, 0x40), moveOne(i), get(0), op(0x0d, 0, 0x0b))...)
		}
		return code
	}
	nested := func(n int) (code []byte) {
		for i := range n {
			code = cat(op(0x03, 0x40), code, moveOne(i), get(0), op(0x0d, 0, 0x0b))
		}
		return code
	}
	labels := func(n, times int) (code []byte) {
		for range times {
			code = append(code, block(get(0), op(0x0e), uleb(n), make([]byte, n), op(0))...)
		}
		return code
	}
	out := func(n int) (code []byte) {
		for i := range n {
			code = append(code, cat(get(0), op(0x0d, 0), moveOne(i))...)
		}
		return block(code)
	}
	return []Case{
		compiles("ifs-over-locals", "5,000 ifs over 990 locals", Check, 990, ifs(5000)),
		compiles("loops-over-locals", "4,000 loops over 990 locals", Check, 990, loops(4000)),
		compiles("nested-loops", "250 loops within each other over 990 locals", Check, 990, nested(250)),
		compiles("br-tables", "49 tables of 200 labels", Passed, 1, labels(200, 49)),
		compiles("br-table-of-9000", "one table of 9,000 labels to one place", Passed, 1, labels(9000, 1)),
		compiles("br-table-of-60000", "one table of 60,000 labels to one place", Check, 1, labels(60_000, 1)),
		compiles("branches-out", "4,000 branches to one place over 990 locals", Passed, 990, out(4000)),
		of("bomb-br-tables-everywhere", "20 functions of tables of 60,000 labels", Check, limit, "", copies(15, fn{params: []byte{i32}, code: labels(60_000, 1)})),
		of("bomb-ifs-everywhere", "100 functions of 3,000 ifs", Check, limit, "", copies(24, fn{params: []byte{i32}, locals: 998, code: ifs(3000)})),
		of("bomb-small-functions", "9,900 functions with a loop each", Passed, "", "", copies(9900, fn{params: []byte{i32}, code: loops(1)[0:0]}).loops()),
		of("bomb-many-locals", "4,000 functions of 998 locals", Passed, "", "", copies(4000, fn{locals: 998})),
		of("bomb-straight", "900 KB of additions", Passed, "", "", copies(15, fn{code: cat(num(1), times(20_000, num(3), op(0x6a)), drop)})),
		of("bomb-loads", "600 KB of loads, each with a check", Passed, "", "", copies(10, fn{code: cat(num(1), times(20_000, op(0x28, 0, 0)), drop)})),
		of("bomb-calls", "600 KB of calls", Passed, "", "", copies(10, fn{code: times(30_000, call(0))})),
		of("bomb-grows", "bulk instructions, each of which the meter makes longer", Passed, "", "", copies(4, fn{code: cat(num(0), times(20_000, op(0x40, 0)), drop)})),
		of("bomb-values", "a stack of 60,000 values", Passed, "", "", copies(1, fn{code: cat(times(20_000, num(1)), times(20_000, drop))})),
		of("bomb-wide-blocks", "blocks that carry 60 values", Passed, "", "", wide(copies(0, fn{}))),
	}
}

// loops gives each function behind the ABI's a loop.
func (g guest) loops() guest {
	for i := firstOwn; i < len(g.fns); i++ {
		g.fns[i].code = cat(op(0x03, 0x40), get(0), op(0x0d, 0, 0x0b))
	}
	return g
}

// wide has a function whose blocks take and give 60 values.
func wide(g guest) guest {
	values := times(60, op(i32))
	g.types = [][]byte{functype(values, values)}
	code := times(60, num(1))
	for range 200 {
		code = append(code, cat(op(0x02, 0), end)...)
	}
	return g.with(fn{code: cat(code, times(60, drop))})
}
