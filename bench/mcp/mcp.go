// Package mcp measures what a tool call costs: enforced by the whole gateway, to a server over HTTP and to one behind a
// connector, over a bare proxy; and the connector alone, over a bare gRPC stream. The CPU time of a connector is that of
// both its ends.
package mcp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/streams"
	"github.com/gatewright/gatewright/bench/task"
)

// Names of the rows.
const (
	bare           = "bare"
	native         = "native"
	connected      = "connector"
	olderNative    = "older"
	olderConnected = "older-connector"
	hop            = "hop"
	stream         = "grpc"
)

// Roles that are not the names of rows.
const (
	gatewayRole = "gateway"
	peerRole    = "grpc-peer"
)

// Roles are the children that the rows are made of.
func Roles() map[string]rig.Role {
	roles := map[string]rig.Role{
		rig.StubRole: rig.ServeStub, bare: task.ServeBare, gatewayRole: task.ServeGateway, hop: serveHop, stream: serveStream, peerRole: servePeer,
	}
	maps.Copy(roles, streams.Roles())
	return roles
}

// order is that of an even round: what is compared stands together.
func order() []string {
	return []string{olderConnected, connected, bare, native, olderNative, hop, stream}
}

// idleStreams is how many are opened for each of the load's connections, to find what one costs.
const idleStreams = 32

// stand is all rows with what is behind them.
type stand struct {
	bench rig.Bench
	up    *rig.Child
	dir   string
}

// Run starts the rows, measures them, and stops them.
func Run(ctx context.Context, o rig.Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mcp: %w", err)
		}
	}()
	if err := errors.Join(o.Check(), task.Check()); err != nil {
		return nil, err
	}
	s := &stand{bench: rig.Bench{Options: o, Order: order()}}
	if s.dir, err = os.MkdirTemp("", "gatewright-mcp-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	rounds, err := s.bench.Rounds(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.bench.Profiles(ctx, order()...); err != nil {
		return nil, err
	}
	r := report(s.bench.Report(rounds))
	r.StreamKBIdle, err = streams.IdleKB(ctx, o.Self, idleStreams*o.Conns)
	return r, err
}

func (s *stand) build(ctx context.Context) (err error) {
	if s.up, err = rig.Start(ctx, s.bench.Options.Self, rig.StubRole, task.Stub()); err != nil {
		return err
	}
	return errors.Join(s.buildCalls(ctx), s.buildHops(ctx))
}

// buildCalls starts the rows that are called over HTTP.
func (s *stand) buildCalls(ctx context.Context) error {
	o := &s.bench.Options
	plain, err := task.Start(ctx, o.Self, bare, task.Plain{Upstream: s.up.Addr}, task.Open)
	if err != nil {
		return err
	}
	s.add(plain.Row(rig.Row{Name: bare, Label: "bare fasthttp reverse proxy", Against: bare, Processes: 1}, o.Conns))
	over, err := task.Start(ctx, o.Self, gatewayRole, task.Gateway{Upstream: s.up.Addr, Dir: filepath.Join(s.dir, native), Receipts: true}, task.Receipt)
	if err != nil {
		return fmt.Errorf("%s: %w", native, err)
	}
	plain.Borrow(over)
	if err := s.addEras(ctx, over, native, olderNative, rig.Row{Label: "server over HTTP", Processes: 1}); err != nil {
		return err
	}
	through, err := task.Start(ctx, o.Self, gatewayRole, task.Gateway{Connector: connectorCommand(o.Self), Dir: filepath.Join(s.dir, connected), Receipts: true}, task.Receipt)
	if err != nil {
		return fmt.Errorf("%s: %w", connected, err)
	}
	return s.addEras(ctx, through, connected, olderConnected, rig.Row{Label: "server as a connector", Processes: 2})
}

// addEras adds a gateway's row for clients of the stateless era, and one for those with sessions.
func (s *stand) addEras(ctx context.Context, g *task.Subject, name, older string, r rig.Row) error {
	conns, what := s.bench.Options.Conns, r.Label
	r.Against = bare
	r.Name, r.Label = name, "enforced call, "+what
	s.add(g.Row(r, conns))
	if err := g.Probe(ctx); err != nil { // before it is believed what it says of sessions
		return fmt.Errorf("%s does not do its task: %w", name, err)
	}
	o, err := g.Older(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", older, err)
	}
	r.Name, r.Label = older, "  by a client with a session"
	s.add(o.Row(r, conns))
	return nil
}

// buildHops starts the rows that are only a way between two processes.
func (s *stand) buildHops(ctx context.Context) error {
	o := &s.bench.Options
	for _, r := range []rig.Row{
		{Name: hop, Label: "connector alone (over the bare stream)"},
		{Name: stream, Label: "bare gRPC stream with ids"},
	} {
		child, err := rig.Start(ctx, o.Self, r.Name, hostSettings{Self: o.Self, Dir: s.dir})
		if err != nil {
			return err
		}
		r.Against, r.Processes, r.Child, r.Probe = stream, 2, child, child.Probe
		r.Load = func(context.Context) (rig.Loader, error) { return child.Loader(o.Conns), nil }
		s.add(&r)
	}
	return nil
}

func (s *stand) add(r *rig.Row) { s.bench.Rows = append(s.bench.Rows, r) }

func (s *stand) close() error {
	err := s.bench.Close()
	if s.up != nil {
		err = errors.Join(err, s.up.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
