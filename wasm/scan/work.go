package scan

import "slices"

// What makes engines slow beyond the length of a function, in units of Limits.MaxWork. They compile in the square of
// the basic blocks, in blocks times locals, and where branches meet in the square of the locals that are used from there
// on, times half the branches, at the head of a loop times the loops around. Measured, see TestWhatPassesCompilesInTime
// of package meter.
const (
	workPerBlock  = 100
	workPerTarget = 330 // a label of a br_table
	blocksPerLoop = 4   // with what the meter adds to it
)

// A meeting is where branches meet.
type meeting struct{ at, ways int }

// meet notes what meets where a block ends or a loop begins.
func (w *walker) meet(f frame) {
	c := &w.code
	switch {
	case f.op == OpLoop:
		c.meetings = append(c.meetings, meeting{f.start, (f.branches + 1) * f.loops})
	case f.op == OpIf || f.op == OpElse:
		c.meetings = append(c.meetings, meeting{w.at(), f.branches + 2})
	case f.branches > 0:
		c.meetings = append(c.meetings, meeting{w.at(), f.branches})
	}
}

// spend adds what the function costs to the work of the module.
func (w *walker) spend() {
	c := &w.code
	n := int64(c.blocks)*int64(2*c.blocks+c.body.Locals+workPerBlock) + workPerTarget*int64(c.targets)
	slices.Sort(c.lastUse)
	for _, m := range c.meetings {
		before, _ := slices.BinarySearch(c.lastUse, m.at)
		later := int64(len(c.lastUse) - before)
		n += later * later * int64(m.ways) / 2
	}
	w.report.Work += int(n)
	w.within(c.body.First, int64(w.report.Work), &ofWork)
}
