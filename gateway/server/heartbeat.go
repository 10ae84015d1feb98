package server

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// maxBeats bounds the ledgers that one heartbeat names, at about 170 bytes each: the rest is named by the next ones.
const maxBeats = 256

// pulse writes heartbeats: records in the instance's own chain that say that the gateway lives, and how long each
// organisation's ledger has become. A log whose end was cut shows silence where they would be, and a ledger whose end
// alone was cut is shorter than a heartbeat says.
type pulse struct {
	since   time.Time
	said    map[string]uint64 // size of each ledger when it was last named
	after   string            // the last tenant that was named; the next heartbeat goes on behind it
	written atomic.Uint64
}

// beat is a ledger as it stands.
type beat struct {
	Tenant string `json:"tenant"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
}

// beating writes heartbeats until ctx ends. It is apart from housekeeping, which may wait for a slow disk.
func (g *Gateway) beating(ctx context.Context) {
	if g.o.Config.Ledger.Heartbeat <= 0 {
		return
	}
	every := time.NewTicker(g.o.Config.Ledger.Heartbeat)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			if err := g.heartbeat(ctx); err != nil && ctx.Err() == nil {
				g.o.Log.Error("no heartbeat was written", "error", err)
			}
		}
	}
}

// heartbeat writes one.
func (g *Gateway) heartbeat(ctx context.Context) error {
	heads, err := g.ledger.Heads(ctx)
	if err != nil {
		return err
	}
	named, more := g.pulse.choose(heads)
	stats := g.ledger.Stats()
	_, total := g.ledger.Tip()
	body, err := json.Marshal(map[string]any{
		"boot": g.ledger.Boot(), "ledgers": named, "more": more, "open": stats.Open, "records": total,
		"uptime_seconds": int64(g.o.Now().Sub(g.pulse.since).Seconds()),
	})
	if err != nil {
		return err
	}
	r := &ledger.Record{Tenant: ledger.InstanceTenant, Kind: ledger.Heartbeat, Step: -1, Body: body}
	if err := g.write(ctx, r); err != nil {
		return err
	}
	g.pulse.take(named)
	return nil
}

// choose names the ledgers that grew since they were last named, in turn, and says how many of them are left for the
// next heartbeat. The instance's own grows with each heartbeat and is not named: their coming is its sign.
func (p *pulse) choose(heads []wal.Head) (named []beat, more int) {
	slices.SortFunc(heads, func(a, b wal.Head) int { return strings.Compare(a.Tenant, b.Tenant) })
	start, _ := slices.BinarySearchFunc(heads, p.after+"\x00", func(h wal.Head, name string) int { return strings.Compare(h.Tenant, name) })
	named = []beat{}
	for i := range heads {
		h := &heads[(start+i)%len(heads)]
		if h.Tenant == ledger.InstanceTenant || p.said[h.Tenant] == h.Tree.Size() {
			continue
		}
		if len(named) == maxBeats {
			more++
			continue
		}
		named = append(named, beat{h.Tenant, h.Tree.Size(), h.Tree.Root().String()})
	}
	return named, more
}

// take notes what a heartbeat that is on record has named.
func (p *pulse) take(named []beat) {
	for _, b := range named {
		p.said[b.Tenant], p.after = b.Size, b.Tenant
	}
	p.written.Add(1)
}
