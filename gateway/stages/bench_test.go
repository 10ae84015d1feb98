package stages_test

import (
	"context"
	"slices"
	"testing"

	life "github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// nowhere is a ledger that keeps nothing, so that the row alone is timed.
type nowhere struct{}

func (nowhere) Append(_ context.Context, r *ledger.Record) (wal.Mark, error) {
	return wal.Mark{Tenant: r.Tenant}, nil
}

func (nowhere) Admit(_ context.Context, r *ledger.Record, _ wal.Use) (wal.Mark, error) {
	return wal.Mark{Tenant: r.Tenant}, nil
}

func (nowhere) Settle(_ context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	return wal.Mark{Tenant: r.Tenant}, append(receipt, "receipt"...), nil
}

// BenchmarkLine takes one planned call with an open argument through the whole row, without disk and upstream: without
// the filter stage, with it for a tenant that has no filters, and with a filter that lets everything pass.
func BenchmarkLine(b *testing.B) {
	b.Run("row", func(b *testing.B) { benchmarkLine(b, nil) })
	b.Run("row+none", func(b *testing.B) { benchmarkLine(b, &stages.Filter{Filters: always{}}) })
	b.Run("row+passing", func(b *testing.B) {
		benchmarkLine(b, &stages.Filter{Filters: always{life.NewSet(life.Place(passing{}, nil))}})
	})
}

func benchmarkLine(b *testing.B, filter *stages.Filter) {
	w := newWorld(b)
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","where":{"path":{"open":true}},"uses":0}]}`)
	w.hold(p, "active")
	token := w.token(p, w.alice, nil)
	result := []byte(`{"content":[{"type":"text","text":"hello"}]}`)
	args := []byte(`{"path":"/a/b/c"}`)
	line, _ := w.line(forwarder(func(c *pipeline.Call) error {
		c.Reply = pipeline.Reply{Status: 200, Result: result}
		return nil
	}))
	line.Ledger = nowhere{}
	if filter != nil {
		line.Stages = slices.Insert(line.Stages, len(line.Stages)-1, pipeline.Stage(filter))
	}
	read := func(_ context.Context, c *pipeline.Call) error {
		c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/call", "call_tool", true, "files", "read", args, token
		return nil
	}
	key := []byte(w.aliceKey)
	c := new(pipeline.Call)
	b.ReportAllocs()
	for b.Loop() {
		c.Reset()
		c.Credential, c.Read, c.Route = key, read, "/mcp"
		line.Run(context.Background(), c)
		if c.Denial != nil {
			b.Fatal(c.Denial)
		}
	}
}
