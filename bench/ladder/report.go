package ladder

import (
	"fmt"
	"io"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// Report is everything a run found.
type Report struct {
	rig.Report
	Policies int     `json:"policies"`
	Allocs   float64 `json:"allocs"` // heap objects a call of the whole gateway with receipts, over the bare proxy's
}

func report(r rig.Report) *Report {
	allocs := r.Median(func(x rig.Round) float64 { return x.Samples[receipts].Mallocs - x.Samples[bare].Mallocs })
	return &Report{Report: r, Policies: task.Policies, Allocs: allocs}
}

// Write prints the table and, last, the line for machines.
func (r *Report) Write(w io.Writer) error {
	b, err := r.Table("x bare", "the proxy's process")
	if err != nil {
		return err
	}
	b = fmt.Appendf(b, "ladder ratio_full=%.2f ratio_receipts=%.2f ratio_reverseproxy=%.2f allocs=%.1f ratio_filter=%.2f\n",
		r.Find(full).Ratio, r.Find(receipts).Ratio, r.Find(reverseProxy).Ratio, r.Allocs, r.Find(filter).Ratio)
	_, err = w.Write(b)
	return err
}
