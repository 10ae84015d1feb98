package server

import (
	"context"
	"errors"
	"strings"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/retention"
)

// openRetention makes the keeper of what is kept, and tells the ledger what was given up.
func (g *Gateway) openRetention(ctx context.Context) error {
	var err error
	g.keeper, err = retention.Open(ctx, retention.Deps{
		Store: g.store, Log: g.ledger, Tiles: g.published, Vault: g.vault, People: g.hasSubject, Owner: g.ownerOf,
		Now: g.o.Now, Rand: g.o.Rand, Logger: g.o.Log, Retention: g.o.Config.Ledger.Retention,
	})
	return err
}

// hasSubject tells whether an organisation has a person or an agent of an id.
func (g *Gateway) hasSubject(ctx context.Context, tenant, id string) (bool, error) {
	var err error
	if strings.HasPrefix(id, "agt_") {
		_, err = g.people.Agent(ctx, tenant, id)
	} else {
		_, err = g.people.User(ctx, tenant, id)
	}
	if errors.Is(err, identity.ErrNotFound) || errors.Is(err, identity.ErrInvalid) {
		return false, nil
	}
	return err == nil, err
}

// ownerOf is who answers for an agent: what it sends is sealed under that person.
func (g *Gateway) ownerOf(ctx context.Context, tenant, id string) (string, error) {
	if !strings.HasPrefix(id, "agt_") {
		return "", nil
	}
	a, err := g.people.Agent(ctx, tenant, id)
	if errors.Is(err, identity.ErrNotFound) || errors.Is(err, identity.ErrInvalid) {
		return "", nil
	}
	return a.Owner, err
}

func (g *Gateway) retentionGauges() []control.Gauge {
	counter := func(name, help string, value func() uint64) control.Gauge {
		return control.Gauge{Name: "gatewright_ledger_" + name + "_total", Help: help, Counter: true, Value: func() float64 { return float64(value()) }}
	}
	return []control.Gauge{
		counter("pruned_records", "Records given up since the start.", func() uint64 { return g.keeper.Last().Total }),
		counter("pruned_segments", "Segment files removed since the start.", func() uint64 { return g.keeper.Last().Segments }),
		{Name: "gatewright_ledger_prune_failed", Help: "1 while the last pruning failed.", Value: func() float64 {
			if g.keeper.Last().Err != nil {
				return 1
			}
			return 0
		}},
		counter("heartbeats", "Heartbeat records written.", g.pulse.written.Load),
	}
}
