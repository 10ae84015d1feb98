package mcp

import (
	"fmt"
	"io"

	"github.com/gatewright/gatewright/bench/rig"
)

// Report is everything a run found.
type Report struct {
	rig.Report
	RatioBare       float64 `json:"ratio_bare"`        // CPU of an enforced call to a server over HTTP, with receipts, by clients of the era that costs more, over the bare proxy's
	ConnectorUS     float64 `json:"connector_us"`      // CPU of a connector at both ends, as the reference machine would take it
	ConnectorVsGRPC float64 `json:"connector_vs_grpc"` // over a bare stream's
	StreamKBIdle    float64 `json:"stream_kb_idle"`    // KiB of the gateway's memory for each idle stream of events
}

func report(r rig.Report) *Report {
	return &Report{
		Report: r, RatioBare: max(r.Find(native).Ratio, r.Find(olderNative).Ratio), ConnectorUS: r.Scaled(r.Find(hop).CPU), ConnectorVsGRPC: r.Find(hop).Ratio,
	}
}

// Write prints the table and, last, the line for machines.
func (r *Report) Write(w io.Writer) error {
	b, err := r.Table("ratio", "the proxy's or the host's process and its connector's")
	if err != nil {
		return err
	}
	b = fmt.Appendf(b, "mcp ratio_bare=%.2f connector_us=%.1f connector_vs_grpc=%.2f stream_kb_idle=%.1f sha256_us=%.2f\n",
		r.RatioBare, r.ConnectorUS, r.ConnectorVsGRPC, r.StreamKBIdle, r.SHA256)
	_, err = w.Write(b)
	return err
}
