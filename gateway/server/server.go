// Package server is the gateway put together: it opens the data folder, builds every part, puts the stages in their
// row, and serves both ports until it is told to stop. What a part does is written in the part.
package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/bearer"
	"github.com/gatewright/gatewright/gateway/identity/device"
	"github.com/gatewright/gatewright/gateway/identity/ring"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/gateway/sinks"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store/badger"
)

// Options is what a gateway needs beside its configuration.
type Options struct {
	Config  config.Config
	Version string
	Self    []string  // the command that starts this binary, for the connectors it holds itself
	Out     io.Writer // what people and scripts read: where it serves, and the ready line
	Log     *slog.Logger
	Now     func() time.Time
	Since   func(time.Time) time.Duration // time.Since, where Now is time.Now; nil: by Now
	Rand    io.Reader
}

// Gateway is a running gateway.
type Gateway struct {
	o         Options
	dir       *datadir.Dir
	store     *badger.Store
	ledger    *wal.Log
	published *publish.Publisher
	people    *identity.Directory
	vault     *vault.Vault
	tools     *catalogue.Catalogue
	plans     *plans.Register
	unfollow  func() // ends the register's following
	sinks     *sinks.Set
	keeper    *retention.Keeper
	pulse     pulse
	client    *upstream.Client
	oauth     *oauth.Broker

	identityKey *ecdsa.PrivateKey // signs what is said about agents to authorization servers
	bundles     *revisions
	keys        *keys
	witness     *witnessing
	line        *pipeline.Line
	rounds      pipeline.Rounds
	flips       *stages.Flips
	proxy       *proxy.Server
	control     *control.API
	hub         *mcp.Hub // of clients that listen; its fields are set before the data port opens

	verifier   *intent.Verifier
	issuers    *intent.Keys
	strange    *pipeline.Strangers
	certs      []*control.Certificate
	dataTLS    *tls.Config // nil: plaintext
	adminTLS   *tls.Config
	web        *http.Server
	approvals  *approvals.Register
	terms      *terms.Keeper
	usage      *usage.Register
	devices    *device.Desk
	proofs     *identity.Proofs
	bearers    *bearer.Set
	seals      *ring.Ring
	sessions   *mcp.Sessions
	protected  *proxy.Protected // nil: no authorization server is trusted
	sources    *stages.Limiter  // of both the line and what needs no credential
	filters    *tenantFilters
	force      *inForce
	connectors *connectors
	data       net.Listener
	admin      net.Listener
	draining   atomic.Bool
	closing    atomic.Bool
	serving    atomic.Bool
	hangup     chan os.Signal
}

// Run starts a gateway, says where it serves, and serves until ctx ends; then it lets running calls finish and closes
// everything. It returns nil after a clean stop.
func Run(ctx context.Context, o Options) error {
	g, err := Start(ctx, o)
	if err != nil {
		return err
	}
	g.announce()
	err = g.Serve(ctx)
	return errors.Join(err, g.Close())
}

// Start builds a gateway up to its open ports without serving them yet. Whatever fails, what was opened before is
// closed again.
func Start(ctx context.Context, o Options) (*Gateway, error) {
	g := &Gateway{o: o, hub: new(mcp.Hub), pulse: pulse{since: o.Now(), said: map[string]uint64{}}, hangup: make(chan os.Signal, 1)}
	signal.Notify(g.hangup, syscall.SIGHUP) // before anybody hears that it is there: by default it ends the process
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"data folder", g.openData}, {"keys", g.openKeys}, {"certificates", g.loadCertificates},
		{"store", g.openStore}, {"ports", g.openPorts},
		{"identity", g.openIdentity}, {"logins", g.openLogins}, {"authorization servers", g.openBearers}, {"client certificates", g.openClientCertificates}, {"witness", g.openWitness}, {"ledger and plans", g.openLedger}, {"retention", g.openRetention}, {"sinks", g.openSinks}, {"approvals and terms", g.openApprovals}, {"connectors", g.openConnectors}, {"oauth", g.openOAuth}, {"catalogue", g.openCatalogue},
		{"policies", g.openPolicies}, {"filters", g.openFilters}, {"line", g.buildLine}, {"control", g.buildControl}, {"first tenant", g.firstTenant}, {"sinks", g.warnOfSinks},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			if _, ok := errors.AsType[*configError](err); !ok { // that one begins with its place
				err = fmt.Errorf("%s: %w", s.what, err)
			}
			return nil, errors.Join(err, g.Close())
		}
	}
	if err := g.dir.Ready(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Line is the line that calls walk, for those who measure it.
func (g *Gateway) Line() *pipeline.Line { return g.line }

// URL is where the data port serves.
func (g *Gateway) URL() string { return scheme(g.o.Config.Proxy.TLSCert) + reachable(g.data.Addr()) }

// ControlURL is where the control port serves.
func (g *Gateway) ControlURL() string {
	return scheme(g.o.Config.Control.TLSCert) + reachable(g.admin.Addr())
}

// VerifierKey is the key that receipts and checkpoints are verified with.
func (g *Gateway) VerifierKey() ledger.VerifierKey { return g.ledger.VerifierKey() }

// reachable is the address to call from this machine: that of a port open on every address is the loopback one.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return a.String()
}

func scheme(cert string) string {
	if cert != "" {
		return "https://"
	}
	return "http://"
}

// Serve answers both ports until ctx ends, and then lets running calls finish.
func (g *Gateway) Serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var behind sync.WaitGroup // what works on the ledger
	defer behind.Wait()
	defer stop()
	failed := make(chan error, 2)
	var err error
	go func() { failed <- g.proxy.Serve(g.data, g.dataTLS) }()
	go func() {
		ln := g.admin
		if g.adminTLS != nil {
			ln = tls.NewListener(ln, g.adminTLS)
		}
		err := g.web.Serve(limit(ln, g.o.Config.Control.MaxConnections))
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		failed <- err
	}()
	g.serving.Store(true)
	go g.housekeeping(ctx)
	go g.refreshing(ctx)
	behind.Go(func() { g.beating(ctx) })
	behind.Go(func() { g.keeper.Run(ctx) })
	behind.Go(func() { g.bundles.watch(ctx) })
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	return errors.Join(err, g.drain())
}

// drain stops taking calls and waits for those that run, at most the grace of the configuration.
func (g *Gateway) drain() error {
	g.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), g.o.Config.ShutdownGrace)
	defer cancel()
	return errors.Join(g.rounds.Close(ctx), g.proxy.Shutdown(ctx), g.web.Shutdown(ctx))
}

// housekeeping does what follows the calls and never stands in their way.
func (g *Gateway) housekeeping(ctx context.Context) {
	flush := time.NewTicker(strangersEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.hangup:
			g.reloadCertificates()
			g.bundles.hangup()
		case <-flush.C:
			if err := g.strange.Flush(ctx, g.line); err != nil {
				g.o.Log.Error("strangers' refusals not recorded, kept for the next try", "error", err)
			}
			if err := g.people.Heal(ctx); err != nil {
				g.o.Log.Error("identity snapshot not certain", "error", err)
			}
		}
	}
}

// refreshing reads the servers' tools again and again. It is apart from housekeeping, which no slow server may hold up.
func (g *Gateway) refreshing(ctx context.Context) {
	every := time.NewTicker(g.o.Config.Catalogue.RefreshEvery)
	defer every.Stop()
	g.listExchanged(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			g.refreshTools(ctx)
		}
	}
}

// strangersEvery is how often refusals of unknown callers are written: often enough to follow an attack, seldom enough
// that a flood costs one record per source and period.
const strangersEvery = 10 * time.Second

// ready says why the gateway cannot serve, or nil.
func (g *Gateway) ready() error {
	if g.draining.Load() {
		return errors.New("draining")
	}
	if s := g.ledger.Stats(); !s.Ready {
		return fmt.Errorf("the ledger takes no records: %w", s.Err)
	}
	if err := g.store.Ready(); err != nil {
		return fmt.Errorf("the store takes no rows: %w", err)
	}
	return nil
}

// Close closes what Start opened, in reverse. It may be called on a gateway that never served.
func (g *Gateway) Close() error {
	var errs []error
	g.closing.Store(true)
	signal.Stop(g.hangup)
	if g.strange != nil && g.line != nil {
		errs = append(errs, within(closeGrace, func(ctx context.Context) error { return g.strange.Flush(ctx, g.line) }))
	}
	errs = append(errs, within(closeGrace, g.connectors.stop))
	errs = append(errs, within(closeGrace, g.rounds.Close))
	g.hub.Close()
	if g.client != nil {
		g.client.Close()
	}
	if g.sinks != nil {
		errs = append(errs, within(closeGrace, g.sinks.Close))
	}
	if g.unfollow != nil {
		g.unfollow()
	}
	if g.plans != nil {
		g.plans.Close()
	}
	if g.approvals != nil {
		g.approvals.Close()
	}
	errs = append(errs, within(closeGrace, g.filters.close))
	if g.ledger != nil {
		errs = append(errs, within(closeGrace, g.ledger.Close))
	}
	if g.published != nil {
		errs = append(errs, within(closeGrace, g.published.Close))
	}
	g.witness.close()
	for _, ln := range []net.Listener{g.data, g.admin} {
		if ln != nil {
			_ = ln.Close() // closed already when it served
		}
	}
	if g.store != nil {
		errs = append(errs, g.store.Close())
	}
	if g.dir != nil {
		errs = append(errs, g.dir.Close())
	}
	return errors.Join(errs...)
}

// closeGrace is what each part is given to close. Each has its own: a tool that hangs must not take the ledger's.
const closeGrace = 10 * time.Second

func within(d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return do(ctx)
}
