package control

import (
	"context"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/sinks"
)

// Sinks are the receivers that the ledger's events go to; sinks.Set is one.
type Sinks interface {
	States() []sinks.State
}

// noSinks stands in for a gateway without any.
type noSinks struct{}

func (noSinks) States() []sinks.State { return nil }

// sink is one as answered. No path, query or secret of its address is in it.
type sink struct {
	Name        string     `json:"name"`
	Type        string     `json:"type" enum:"syslog,otlp,webhook"`
	Tenant      string     `json:"tenant" doc:"whose events it gets; _all: everybody's"`
	Address     string     `json:"address" doc:"scheme, host and port"`
	Kinds       []string   `json:"kinds" nullable:"false" doc:"kinds of record it gets; none: all"`
	Lag         uint64     `json:"lag" doc:"records of the ledger that it has not got past"`
	Sent        uint64     `json:"sent" doc:"events delivered since the start"`
	Failed      uint64     `json:"failed" doc:"attempts that failed since the start"`
	Lost        uint64     `json:"lost" doc:"times that records were left out, pruned before they were delivered or passed over, since the start"`
	Rejected    uint64     `json:"rejected" doc:"events that the receiver took and refused for good, since the start"`
	Unread      uint64     `json:"unread" doc:"batches that were delivered with an answer that cannot be read, since the start"`
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Cursor      string     `json:"cursor" doc:"place in the log up to which everything was delivered"`
}

func (m *mounting) sinks() {
	all := m.api.deps.Sinks
	handle(m, "list-sinks", func(_ context.Context, c *call, in *listing) (*paged[sink], error) {
		mine := slices.DeleteFunc(slices.Clone(all.States()), func(s sinks.State) bool {
			return c.caller.Tenant() != pipeline.InstanceTenant && s.Tenant != c.caller.Tenant()
		})
		return paginate(c, *in, mine, func(s *sinks.State) string { return s.Name }, shapeSink)
	})
}

func shapeSink(s *sinks.State) sink {
	return sink{
		Name: s.Name, Type: s.Type, Tenant: s.Tenant, Address: s.Address, Kinds: append([]string{}, s.Kinds...),
		Lag: s.Lag, Sent: s.Sent, Failed: s.Failed, Lost: s.Lost, Rejected: s.Rejected, Unread: s.Unread, LastError: clip(s.LastError, clipText),
		LastErrorAt: timeOrNil(s.LastErrorAt), LastSuccess: timeOrNil(s.LastSuccess), Cursor: s.Cursor,
	}
}
