package corpus

import "fmt"

const sixteenMiB = 256 // pages, the most a filter has by default

// endless are filters that never end by themselves, each by other means. Every one must be stopped by its fuel or its
// depth, at less than the price of its units, and without holding up anybody.
func endless() []Case {
	cases := append(spins(), storms()...)
	cases = append(cases, recursions()...)
	for i := range cases {
		cases[i].Endless = true
	}
	return cases
}

func endlessly(name, about string, g guest) Case {
	return of("endless-"+name, about, Decide, fuel, "", g)
}

// spins are loops.
func spins() []Case {
	next := cat(get(2), num(1664525), op(0x6c), num(1013904223), op(0x6a)) // a step of an own generator
	f64s := func(code ...[]byte) guest {                                   // a loop over two locals of type f64
		g := filter(1)
		g.fns[2].code = cat(call(firstOwn), never)
		return g.with(fn{code: nil}).typed(loop(code...))
	}
	tiny := cat(op(0x44), []byte{1, 0, 0, 0, 0, 0, 0, 0}) // the smallest number there is
	return []Case{
		endlessly("loop", "a loop of nothing", filter(1, spin, never)),
		endlessly("division", "a loop of divisions", filter(1, loop(get(2), num(7), op(0x6a), tee(2), num(3), op(0x6e), drop), never)),
		endlessly("division-64", "a loop of slow divisions of 64 bits", filter(1, loop(times(8, long(-1), get(2), op(0xac), long(3), op(0x84), op(0x7f), drop)), never)),
		endlessly("float-division", "a loop of divisions and roots of numbers below the normal range", f64s(op(0x20, 0), tiny, op(0xa3), tiny, op(0xa2), op(0x9f), op(0x21, 0))),
		endlessly("subnormal", "a loop of products below the normal range", f64s(times(16, tiny, op(0x44), []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, op(0xa2, 0x21, 0)))),
		endlessly("truncation", "a loop of conversions that saturate", f64s(times(16, op(0x20, 0, 0xfc, 7, 0xb9, 0x21, 0)))),
		endlessly("rounding", "a loop of rounding", f64s(times(16, op(0x20, 0, 0x9b, 0x9c, 0x9d, 0x9e, 0x21, 0)))),
		endlessly("loads", "loads over 16 MiB that miss the cache", filter(sixteenMiB, loop(next, get(3), op(0x6a), tee(2), num(0xfffff8), op(0x71, 0x28, 2, 0), set(3)), never)),
		endlessly("loads-over-pages", "loads over 16 MiB, each on two pages", filter(sixteenMiB, loop(next, get(3), op(0x6a), tee(2), num(0xffe000), op(0x71), num(0xffc), op(0x72, 0x29, 0, 0, 0xa7), set(3)), never)),
		endlessly("loads-declared-small", "loads over all of 1 MiB, which are cheap", filter(16, loop(next, get(3), op(0x6a), tee(2), num(0xffff8), op(0x71, 0x28, 2, 0), set(3)), never)),
		endlessly("stores", "stores over 16 MiB that miss the cache", filter(sixteenMiB, loop(next, tee(2), num(0xfffff8), op(0x71), get(2), op(0x36, 2, 0)), never)),
		endlessly("globals", "a loop that writes a global", func() guest {
			g := filter(1, loop(times(20, readGlobal(0), num(1), op(0x6a), writeGlobal(0))), never)
			g.globals = [][]byte{mutable(0)}
			return g
		}()),
		endlessly("br-table", "a loop of a table of 1,000 labels to one place", filter(1, loop(block(get(2), op(0x0e), uleb(1000), make([]byte, 1000), op(0)), get(2), num(1), op(0x6a), set(2)), never)),
		endlessly("br-table-back", "a table of labels that all go back to a loop", filter(1, op(0x03, 0x40), get(2), num(1), op(0x6a), tee(2), op(0x0e), uleb(100), make([]byte, 100), op(0, 0x0b), never)),
		endlessly("loop-with-values", "a loop that carries values, which the meter writes in another way", func() guest {
			g := filter(1)
			g.types = [][]byte{functype([]byte{i32, i32}, nil)}
			g.fns[2].code = cat(num(1), num(2), op(0x03, 0), num(1), op(0x6a, 0x0c, 0, 0x0b), never)
			return g
		}()),
		endlessly("loops-without-work", "a loop around 200 loops that end at once", filter(1, loop(times(200, op(0x03, 0x40, 0x0b))), never)),
		endlessly("skipped", "a loop that jumps over all that is in it", filter(1, loop(block(op(0x0c, 0), times(50, num(1), num(0), op(0x6d), drop))), never)),
		endlessly("select", "a loop of selects", filter(1, loop(times(100, get(2), get(3), get(0), op(0x1b), set(2))), never)),
		endlessly("memory-size", "a loop that asks for the size of memory", filter(1, loop(times(50, op(0x3f, 0, 0x1a))), never)),
	}
}

// typed gives the last function a local of type f64 in place of those it has.
func (g guest) typed(code []byte) guest {
	last := &g.fns[len(g.fns)-1]
	last.locals, last.code, last.float = 0, code, true
	return g
}

// storms are instructions that do much at once.
func storms() []Case {
	random := func(mask int32) []byte {
		return cat(get(2), num(1664525), op(0x6c), num(1013904223), op(0x6a), tee(2), num(mask), op(0x71))
	}
	start := func() guest {
		g := filter(sixteenMiB, loop(num(0), num(0), num(900_000), op(0xfc, 8, 0, 0)), never)
		g.data, g.count = [][]byte{cat(op(1), str(string(make([]byte, 900_000))))}, true
		return g
	}
	return []Case{
		endlessly("fill", "fills 16 MiB again and again", filter(sixteenMiB, loop(fill(0, sixteenMiB<<16)), never)),
		endlessly("fill-without-loop", "1,500 fills of 16 MiB without a loop", filter(sixteenMiB, times(1500, fill(0, sixteenMiB<<16)), never)),
		endlessly("fill-of-nothing", "fills of no byte", filter(1, loop(times(100, fill(0, 0))), never)),
		endlessly("fill-of-pages", "fills of a byte on another page each", filter(sixteenMiB, loop(random(0xfff000), num(1), num(1), op(0xfc, 11, 0)), never)),
		endlessly("copy", "copies 8 MiB again and again", filter(sixteenMiB, loop(move(0, 8<<20, 8<<20)), never)),
		endlessly("copy-backwards", "copies 15 MiB onto itself, a page further", filter(sixteenMiB, loop(move(4096, 0, 15<<20)), never)),
		endlessly("copy-by-one", "copies 1 MiB onto itself, a byte further", filter(17, loop(move(1, 0, 1<<20)), never)),
		endlessly("init", "copies 900 KB of data into memory again and again", start()),
		endlessly("grow", "grows by a page until it may not, and goes on", filter(1, loop(grow(1), drop), never)),
		endlessly("grow-by-nothing", "grows by nothing", filter(sixteenMiB, loop(grow(0), drop), never)),
		endlessly("grow-by-all", "grows by 2^32-1 pages", filter(1, loop(grow(-1), drop), never)),
		endlessly("grow-and-touch", "grows by a page and fills it", filter(1, loop(grow(1), drop, op(0x3f, 0), num(1), op(0x6b), num(16), op(0x74), num(1), num(1<<16), op(0xfc, 11, 0)), never)),
	}
}

// recursions never come back. Those that stay shallow are stopped by fuel, the others by depth.
func recursions() []Case {
	deep := func(name, about string, g guest) Case { return of("recursion-"+name, about, Decide, depth, "", g) }
	indirect := func(g guest, functions ...int) guest {
		g.table = cat(op(0x70, 0), uleb(len(functions)))
		entries := uleb(len(functions))
		for _, f := range functions {
			entries = append(entries, uleb(f)...)
		}
		g.elems = [][]byte{cat(op(0), num(0), end, entries)}
		return g
	}
	wide := filter(1, call(firstOwn), never).with(fn{locals: 900, code: cat(times(400, num(1)), call(firstOwn), times(400, drop))})
	return []Case{
		endlessly("exponential", "60 functions, each calling the next twice, without a loop", exponential(60)),
		endlessly("exponential-indirect", "the same through a table", indirectly(60)),
		endlessly("exponential-results", "the same with results that are used", exponentialResults(60)),
		deep("direct", "calls itself", filter(1, get(0), get(1), call(2))),
		deep("mutual", "two functions that call each other", filter(1, call(firstOwn), never).with(fn{code: call(firstOwn + 1)}, fn{code: call(firstOwn)})),
		deep("indirect", "calls itself through a table", indirect(filter(1, get(0), get(1), num(0), op(0x11, 2, 0)), 2)),
		deep("wide", "calls itself with 900 locals and 400 values in each frame", wide),
		deep("of-the-abi", "gw_decide calls gw_decide with what gw_alloc gave", filter(1, num(64), call(1), num(64), call(2))),
	}
}

// exponential has n functions, each calling the next twice, and no loop.
func exponential(n int) guest {
	g := filter(1, call(firstOwn), never)
	for i := range n - 1 {
		g.fns = append(g.fns, fn{code: times(2, call(firstOwn+i+1))})
	}
	return g.with(fn{})
}

func exponentialResults(n int) guest {
	g := filter(1, num(1), call(firstOwn), op(0xac))
	for i := range n - 1 {
		g.fns = append(g.fns, fn{params: []byte{i32}, results: []byte{i32}, code: cat(get(0), call(firstOwn+i+1), get(0), call(firstOwn+i+1), op(0x6a))})
	}
	return g.with(fn{params: []byte{i32}, results: []byte{i32}, code: get(0)})
}

func indirectly(n int) guest {
	g := filter(1, num(0), op(0x11, 0, 0), never)
	entries := uleb(n)
	for i := range n {
		code := times(2, num(int32(i+1)), op(0x11, 0, 0))
		if i == n-1 {
			code = nil
		}
		g.fns = append(g.fns, fn{code: code})
		entries = append(entries, uleb(firstOwn+i)...)
	}
	g.table = cat(op(0x70, 0), uleb(n))
	g.elems = [][]byte{cat(op(0), num(0), end, entries)}
	return g
}

// tricks try to get around the meter, or to reach what it added.
func tricks() []Case {
	at := func(name, about string, code ...[]byte) Case {
		return of("trick-"+name, about, Check, malformed, "", filter(1, cat(code...), never))
	}
	invalid := func(name, about string, code ...[]byte) Case {
		return of("trick-"+name, about, Compile, "", "", filter(1, cat(code...)))
	}
	stopped := func(name, about string, code ...[]byte) Case {
		c := of("trick-"+name, about, Decide, fuel, "", filter(1, code...))
		c.Endless = true
		return c
	}
	var cases []Case
	for i, what := range []string{"the meter's fuel", "the meter's depth", "beyond the meter's globals"} {
		cases = append(cases, at(fmt.Sprintf("global-%d", i), "writes "+what, long(1<<40), writeGlobal(i)))
	}
	return append(cases,
		at("local", "writes the local in which the meter keeps fuel", num(0), set(6)),
		at("helper", "calls a function that the meter added", long(0), call(4)),
		at("label", "leaves by a label that the meter added", op(0x0c, 2)),
		at("label-in-loop", "leaves a loop by a label that the meter added", op(0x03, 0x40, 0x0c, 5, 0x0b)),
		at("type", "calls by a type that the meter added", num(0), op(0x11, 9, 0)),
		invalid("underflow", "takes values that nobody gave", op(0x1a, 0x1a), never),
		invalid("types", "adds an i32 to an i64", num(1), long(1), op(0x6a), drop, never),
		invalid("result", "leaves another result than its type says", num(1)),
		invalid("dead-types", "adds what is not there behind unreachable, to a value of another type", unreachable, long(1), op(0x6a), drop, never),
		of("trick-dead-code", "code behind unreachable, where values of any type are there", Decide, gaveUp, "", filter(1, unreachable, op(0x6a, 0x1a, 0x45, 0x1b), op(0x0e, 1, 0, 0))),
		of("trick-dead-loops", "300 loops and calls behind unreachable", Decide, gaveUp, "", filter(1, unreachable, times(300, loop(call(0))), never)),
		stopped("loop-in-dead-if", "a loop in the arm of an if whose other arm ends", get(1), op(0x04, 0x40), spin, op(0x05), unreachable, end, never),
		stopped("return-in-loop", "a loop that would return if it were another call", loop(when(get(0), op(0x01)), when(op(0x41, 0), never, ret)), never),
		stopped("loop-by-br-table", "goes back to the outer of two loops by a table", op(0x03, 0x40, 0x03, 0x40), num(1), op(0x0e, 1, 0, 1), end, end, never),
		stopped("loop-by-br-if", "goes back by a branch that is always taken", op(0x03, 0x40), num(1), op(0x0d, 0, 0x0b), never),
		stopped("two-loops", "two loops that take turns", op(0x03, 0x40, 0x02, 0x40, 0x03, 0x40), num(1), op(0x0d, 1), op(0x0c, 0, 0x0b, 0x0b, 0x0c, 0, 0x0b), never),
		stopped("deep-loop", "a loop within 250 blocks that goes back from the innermost", op(0x03, 0x40), times(250, op(0x02, 0x40)), op(0x0c), uleb(250), times(250, end), end, never),
		stopped("loop-of-result", "a loop that has a result and never gives it", op(0x03, i64, 0x0c, 0, 0x0b)),
	)
}
