package corpus

// Gluttons are filters that never break a rule: each call takes nearly all the fuel that a filter has by default, 4,000,000
// units, and passes. No breaker stops them, so a tenant of theirs takes what its quota lets it take.
func Gluttons() []Case {
	const lots = 3_000_000 // units, so that the rent of 16 MiB is within the budget as well
	next := cat(get(2), num(1664525), op(0x6c), num(1013904223), op(0x6a))
	eats := func(name, about string, pages int, perTurn int, code ...[]byte) Case {
		g := says(lets)
		g.pages = pages
		turns := int32(lots / perTurn)
		g.fns[2].code = cat(num(turns), set(4), op(0x03, 0x40), cat(code...), get(4), num(1), op(0x6b), tee(4), op(0x0d, 0, 0x0b), answer(1024, len(lets)))
		return of("glutton-"+name, about, Passed, "", "", g)
	}
	return []Case{
		eats("divisions", "divides until its fuel is nearly gone", 2, 30, get(2), num(7), op(0x6a), tee(2), num(3), op(0x6e), drop),
		eats("loads", "misses the cache until its fuel is nearly gone", sixteenMiB, 40, next, get(3), op(0x6a), tee(2), num(0xfffff8), op(0x71, 0x28, 2, 0), set(3)),
		eats("stores", "dirties pages until its fuel is nearly gone", sixteenMiB, 20, next, tee(2), num(0xfffff8), op(0x71), num(0x100000), op(0x72), get(2), op(0x36, 2, 0)),
		eats("grows", "grows and fills memory until its fuel is nearly gone", 2, 60_000, grow(1), drop, op(0x3f, 0), num(1), op(0x6b), num(16), op(0x74), num(1), num(1<<16), op(0xfc, 11, 0)),
	}
}
