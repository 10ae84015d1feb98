package scan

// Dialect is the contract between a module and its host.
type Dialect string

// The dialects.
const (
	GW       Dialect = "gw"        // gw_decide, shown JSON
	GWFlat   Dialect = "gw-flat"   // gw_decide, shown the flat form
	HTTPWasm Dialect = "http-wasm" // handle_request and handle_response of http_handler
	OPA      Dialect = "opa"       // policies compiled by opa build -t wasm
)

// Class says how much a module asks of the host before it runs.
type Class string

// The classes.
const (
	SmallClass Class = "small" // within Small
	LargeClass Class = "large" // over one of its bounds: slow to compile and to start
)

// Kind says what is imported or exported.
type Kind string

// The kinds of externals.
const (
	Function Kind = "function"
	Table    Kind = "table"
	Memory   Kind = "memory"
	Global   Kind = "global"
)

// Import is one import of the module.
type Import struct {
	Module, Name string
	Kind         Kind   // Function, or Memory for env.memory
	Signature    string // of a function, as "(i32,i32)->(i64)"
}

// Export is one export of the module.
type Export struct {
	Name      string
	Kind      Kind
	Signature string // of a function, as "(i32,i32)->(i64)"
}

// Report tells what is in a module.
type Report struct {
	Dialect Dialect // empty with Limits.AnyDialect when the module is of none
	Class   Class
	Large   string // what put it into the large class first, as "1203 data segments"

	Imports []Import
	Exports []Export

	Size      int // bytes of the module
	Types     int
	Functions int   // of the module's own
	Tables    int   // tables
	Mutable   []int // the indexes of globals that can change
	Globals   int
	Elements  int // element segments
	Entries   int // of element segments
	Segments  int // data segments
	Data      int // bytes of data segments
	Body      int // bytes of the largest function
	Locals    int // of the function that has most
	Nesting   int // blocks within blocks, the most
	Targets   int // labels of br_table
	Work      int // see Limits.MaxWork

	HasMemory bool   // and if so:
	Imported  bool   // it is the import env.memory
	MinPages  uint32 // what an instance starts with
	MaxPages  uint32 // what it can grow to, after clipping

	Start  bool // instantiating runs a function of the module
	Tabled bool // its code changes tables, drops segments or makes references: an instance must not be used twice
}
