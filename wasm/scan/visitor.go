package scan

import "slices"

// A Visitor is told what Walk finds, in the order of the bytes; of what it is told nothing may be used when Walk fails.
// What lies between is to be taken as it is. Package meter writes modules anew with it.
type Visitor interface {
	// Section begins a section, which spans s behind the count of its elements. Custom sections are not told of.
	Section(id SectionID, count int, s Span)
	// Limits stands in s for a table or a memory: at least lo and, clipped to the limits, at most hi. The memory that is
	// imported spans its whole import.
	Limits(k Kind, s Span, lo, hi uint32)
	// Function names the function i in s, anywhere but in code.
	Function(s Span, i uint32)
	// Body begins a function, whose instructions follow. It is used again for the next.
	Body(b *Body)
	// Instruction is told of each. It is used again for the next.
	Instruction(in *Instruction)
}

// Span is a run of bytes of the module, from Start up to End.
type Span struct{ Start, End int }

// Body is a function before its instructions.
type Body struct {
	Span
	Type     uint32
	Groups   int    // of locals
	Declared Span   // the groups
	Params   []byte // types of values
	Results  []byte
	Locals   int // parameters included
	First    int // where the instructions begin
}

// Instruction is one instruction with what it names.
type Instruction struct {
	Span
	Op      Op
	Index   uint32   // of what it names: a function, type, local, global or label
	Labels  []uint32 // of a br_table only, the last one included
	In, Out int      // values that a block takes and gives
	Open    int      // blocks around what follows, the function itself included; 0 when it has ended
}

// SectionID is the number a section has in the format.
type SectionID byte

// The sections.
const (
	CustomSection SectionID = iota
	TypeSection
	ImportSection
	FunctionSection
	TableSection
	MemorySection
	GlobalSection
	ExportSection
	StartSection
	ElementSection
	CodeSection
	DataSection
	DataCountSection
	endOfSections
)

// sectionOrder is the order in which sections must come.
var sectionOrder = []SectionID{
	TypeSection, ImportSection, FunctionSection, TableSection, MemorySection, GlobalSection, ExportSection,
	StartSection, ElementSection, DataCountSection, CodeSection, DataSection,
}

// SectionOrder returns the order in which sections must come.
func SectionOrder() []SectionID { return slices.Clone(sectionOrder) }

var sectionNames = [...]string{
	"custom section", "type section", "import section", "function section", "table section", "memory section",
	"global section", "export section", "start section", "element section", "code section", "data section",
	"data count section",
}

// Magic is what each module begins with.
const Magic = "\x00asm\x01\x00\x00\x00"
