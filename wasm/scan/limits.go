package scan

import "cmp"

// Limits bounds what a module may be. A zero stands for what Small says.
type Limits struct {
	MaxPages        uint32 // memory, in pages of 64 KiB; a larger declared maximum is clipped, a larger minimum refused
	MaxDepth        int    // units of call depth that package meter grants; 1024
	AllowStart      bool   // take modules with a start function; the host must be ready to refuel while it instantiates
	ExportStart     bool   // take start functions of dialects that have them; package meter exports them, and no engine runs them
	AllowTables     bool   // take code that changes tables, drops segments or makes references to functions; the host must not use an instance twice
	AnyDialect      bool   // take whatever functions are imported and exported, as tests and tools do
	MaxModule       int    // bytes of the module
	MaxFunctions    int    // functions of the module's own
	MaxBody         int    // bytes of one function
	MaxLocals       int    // locals of one function, parameters included
	MaxArity        int    // parameters, and results, of one type
	MaxNesting      int    // blocks within blocks
	MaxTargets      int    // labels of br_table, of all functions together
	MaxWork         int    // what compiling may cost beyond what its size costs, in about 10 ns of CPU, see workPerBlock
	MaxEntities     int    // types, imports, globals and exports, of each
	MaxSegments     int    // element and data segments, of each
	MaxTables       int    // tables
	MaxTableEntries int    // entries of a table, and of all element segments; clipped or refused as memory is
	MaxData         int    // bytes of all data segments
}

// Small are the limits that filters in C, Rust, AssemblyScript and Rego keep by far.
func Small() Limits {
	return Limits{
		MaxPages: 256, MaxDepth: 1024, MaxModule: 1 << 20, MaxFunctions: 10_000, MaxBody: 64 << 10, MaxLocals: 1_000, MaxArity: 64,
		MaxNesting: 256, MaxTargets: 10_000, MaxWork: 100_000_000, MaxEntities: 1_000, MaxSegments: 1_000, MaxTables: 1,
		MaxTableEntries: 1 << 16, MaxData: 1 << 20,
	}
}

// Large are the limits for modules that carry a runtime of their own: what Go makes of a filter for wasip1 has 3 to 7 MB,
// 40,000 data segments and functions with a thousand labels. What is within them can take long to compile: whoever
// compiles it bounds that too.
func Large() Limits {
	l := Small()
	l.MaxPages, l.MaxModule, l.MaxFunctions, l.MaxBody, l.MaxNesting = 512, 8<<20, 20_000, 512<<10, 4_096
	l.MaxTargets, l.MaxWork, l.MaxSegments, l.MaxData = 400_000, 250_000_000, 100_000, 8<<20
	return l
}

// Filled puts defaults where zeros stand.
func (l Limits) Filled() Limits {
	s := Small()
	l.MaxPages = min(cmp.Or(l.MaxPages, s.MaxPages), pagesOfFormat)
	l.MaxDepth = cmp.Or(l.MaxDepth, s.MaxDepth)
	l.MaxModule = cmp.Or(l.MaxModule, s.MaxModule)
	l.MaxFunctions = cmp.Or(l.MaxFunctions, s.MaxFunctions)
	l.MaxBody = cmp.Or(l.MaxBody, s.MaxBody)
	l.MaxLocals = cmp.Or(l.MaxLocals, s.MaxLocals)
	l.MaxArity = cmp.Or(l.MaxArity, s.MaxArity)
	l.MaxNesting = cmp.Or(l.MaxNesting, s.MaxNesting)
	l.MaxTargets = cmp.Or(l.MaxTargets, s.MaxTargets)
	l.MaxWork = cmp.Or(l.MaxWork, s.MaxWork)
	l.MaxEntities = cmp.Or(l.MaxEntities, s.MaxEntities)
	l.MaxSegments = cmp.Or(l.MaxSegments, s.MaxSegments)
	l.MaxTables = cmp.Or(l.MaxTables, s.MaxTables)
	l.MaxTableEntries = cmp.Or(l.MaxTableEntries, s.MaxTableEntries)
	l.MaxData = cmp.Or(l.MaxData, s.MaxData)
	return l
}

// pagesOfFormat is how many pages 32 bits can address; a declared maximum over it is malformed.
const pagesOfFormat = 1 << 16
