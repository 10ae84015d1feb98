package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/stdio"
)

// place names a tenant's server.
type place struct{ tenant, name string }

// connectors are the processes that reach servers, by the server they reach. The set is fixed at start: command lines come
// from the configuration alone.
type connectors struct {
	all  map[place]*plugins.Connector
	ours map[place]string // the kind of those that are this same binary
	// unfit are those that cannot be started as they are configured, and why: the others are served all the same.
	unfit map[place]error
	paths map[place][]string // what of a host's file system an error of theirs may name
	ears  map[place]*ears
	log   *slog.Logger
	// live is set when catalogue and policies stand: who runs before is read with all other servers.
	live atomic.Bool
	wg   sync.WaitGroup // refreshes on the way
}

// openConnectors starts a process for each server that is reached by one. It does not wait for them: a server that is down
// must not keep the others from being served.
func (g *Gateway) openConnectors(ctx context.Context) error {
	g.connectors = &connectors{all: map[place]*plugins.Connector{}, ours: map[place]string{}, unfit: map[place]error{}, paths: map[place][]string{}, ears: map[place]*ears{}, log: g.o.Log}
	if g.demoRuns() {
		if err := g.addConnector(ctx, place{demoTenant, demoServerName}, g.builtinCommand(builtin.Demo, nil)); err != nil {
			return err
		}
	}
	for name, s := range g.o.Config.Servers {
		if s.URL == "" && len(s.Command) == 0 && s.Connector == "" {
			return fmt.Errorf("server %q has neither url nor command nor connector", name)
		}
		if !s.Process() || !g.tenantThere(ctx, s.Tenant) {
			continue
		}
		at := place{s.Tenant, name}
		cmd, err := g.command(s)
		if err == nil {
			err = g.addConnector(ctx, at, cmd)
		}
		if err != nil {
			g.connectors.unfit[at] = err
			g.o.Log.Error("a server's process cannot be started as it is configured; its calls are refused, the other servers are served", "server", name, "tenant", s.Tenant, "error", err)
		}
	}
	return nil
}

// tenantThere says whether a server has somebody to serve: a process of an organisation that is misspelt, or not made yet,
// would run and hold secrets where nobody sees it.
func (g *Gateway) tenantThere(ctx context.Context, tenant string) bool {
	_, err := g.people.Org(ctx, tenant)
	return err == nil || g.o.Config.Mode == "development" && tenant == demoTenant
}

// demoRuns says whether the built-in demo server is started.
func (g *Gateway) demoRuns() bool {
	_, taken := g.o.Config.Servers[demoServerName]
	return g.o.Config.Mode == "development" && g.o.Config.Demo.Server && !taken
}

func (g *Gateway) addConnector(ctx context.Context, at place, cmd plugins.Command) error {
	cmd.Name = at.name
	c := g.o.Config.Connectors
	conf := plugins.DefaultConfig()
	conf.StartTimeout, conf.StopTimeout, conf.PingEvery, conf.PingTimeout = c.StartTimeout, c.StopTimeout, c.PingEvery, c.PingTimeout
	conf.BackoffMin, conf.BackoffMax, conf.MaxCrashes, conf.CrashWindow, conf.BreakFor = c.BackoffMin, c.BackoffMax, c.MaxCrashes, c.CrashWindow, c.BreakFor
	conf.DrainTimeout, conf.Processes = c.DrainTimeout, c.Processes
	conf.InFlight, conf.Memory, conf.Files, conf.LinesPerSecond, conf.LogLines = c.InFlight, int64(c.Memory), c.Files, c.LinesPerSecond, c.LogLines
	conf.MaxMessage = int(g.o.Config.Upstream.MaxReply) + frameRoom
	p, err := plugins.New(plugins.Options{
		Config: conf, Tenant: at.tenant, Command: cmd, Logger: g.o.Log, Now: g.o.Now,
		OnChange: func(s plugins.State) { g.connectorChanged(ctx, at, s) },
	})
	if err != nil {
		return err
	}
	g.connectors.all[at], g.connectors.paths[at] = p, []string{cmd.Path, cmd.Dir}
	g.connectors.ears[at] = &ears{most: int32(max(1, c.InFlight/4))} //nolint:gosec // a few thousand at most
	if len(g.o.Self) > 0 && cmd.Path == g.o.Self[0] {
		g.connectors.ours[at] = cmd.Args[len(cmd.Args)-1]
	}
	return nil
}

// frameRoom is what a message may hold beside a reply of the largest size.
const frameRoom = 64 << 10

// connectorChanged reads a server's tools each time its process is ready: a new process may offer others.
func (g *Gateway) connectorChanged(ctx context.Context, at place, s plugins.State) {
	if s != plugins.Running || g.closing.Load() || !g.connectors.live.Load() {
		return
	}
	g.connectors.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.o.Config.Catalogue.RefreshTimeout)
		defer cancel()
		if err := g.tools.Refresh(ctx, at.tenant, at.name); err != nil && !g.closing.Load() {
			g.o.Log.Error("a connector's tools cannot be read", "tenant", at.tenant, "server", at.name, "error", err)
		}
	})
}

// command says what process reaches a server, if one does.
func (g *Gateway) command(s config.Server) (plugins.Command, error) {
	env := plugins.Command{Env: s.Env, PassEnv: s.PassEnv, Dir: s.Dir}
	pin, err := hex.DecodeString(s.SHA256)
	if err != nil {
		return env, fmt.Errorf("sha256: %w", err)
	}
	switch {
	case s.OpenAPI != "":
		return g.openapiCommand(s)
	case s.Connector != "":
		path, err := program(s.Connector)
		env.Path, env.Args, env.SHA256 = path, s.Args, pin
		return env, err
	case len(s.Command) > 0:
		return g.stdioCommand(s, pin)
	case s.Via == "connector":
		conf, err := json.Marshal(httpConnector{URL: s.URL, Era: s.Era, PublicKeys: s.PublicKeys, AllowPrivate: s.AllowPrivate || g.o.Config.Upstream.AllowPrivate, Upstream: g.o.Config.Upstream})
		return g.builtinCommand(builtin.HTTP, conf), err
	}
	return env, errors.New("it needs no process")
}

// stdioCommand runs the MCP server below a process of ours that speaks to it over its standard input and output.
func (g *Gateway) stdioCommand(s config.Server, pin []byte) (plugins.Command, error) {
	path, err := program(s.Command[0])
	if err != nil {
		return plugins.Command{}, err
	}
	conf, err := json.Marshal(stdio.Config{
		StartTimeout: g.o.Config.Connectors.StartTimeout * 5 / 6, InFlight: g.o.Config.Connectors.InFlight,
		Path: path, Args: s.Command[1:], Env: s.Env, PassEnv: append([]string{"PATH", "HOME"}, s.PassEnv...), Dir: s.Dir, SHA256: pin, Era: s.Era,
		MaxMessage: int(g.o.Config.Upstream.MaxReply), JSONDepth: g.o.Config.Upstream.JSONDepth, JSONValues: g.o.Config.Upstream.JSONValues,
	})
	cmd := g.builtinCommand(builtin.Stdio, conf)
	cmd.PassEnv = append([]string{"PATH", "HOME"}, s.PassEnv...)
	return cmd, err
}

// program finds a program once, at start, so that a later change of PATH or folder cannot make it another.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		return "", fmt.Errorf("find the program: %w (write ./%s if the one of this folder is meant)", err, name)
	}
	if err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	return path, nil
}

// builtinCommand runs this same binary again as one of the connectors it holds.
func (g *Gateway) builtinCommand(kind string, conf []byte) plugins.Command {
	if len(g.o.Self) == 0 {
		return plugins.Command{Name: kind} // without a program it is refused with a reason
	}
	cmd := plugins.Command{Path: g.o.Self[0], Args: append(append([]string(nil), g.o.Self[1:]...), builtin.Verb, kind)}
	if conf != nil {
		cmd.Env = []string{builtin.ConfigVariable + "=" + string(conf)}
	}
	return cmd
}

// stop ends all processes at once.
func (c *connectors) stop(ctx context.Context) error {
	if c == nil {
		return nil
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(c.all))
	for _, p := range c.all {
		wg.Go(func() { errs <- p.Stop(ctx) })
	}
	wg.Wait()
	close(errs)
	c.wg.Wait()
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// carrier gives a server's process to the upstream client; nil when it is reached otherwise.
func (c *connectors) carrier(tenant, name string) upstream.Carrier {
	if c == nil {
		return nil
	}
	if c.unfit[place{tenant, name}] != nil {
		return unfit{}
	}
	if p := c.all[place{tenant, name}]; p != nil {
		return carrier{p, c.log, c.ours[place{tenant, name}], c.ears[place{tenant, name}]}
	}
	return nil
}

// starting says whether the server's process is on its way.
func (c *connectors) starting(tenant, name string) bool {
	p := c.all[place{tenant, name}]
	return p != nil && p.Stats().State == plugins.Starting
}

// unfit is the carrier of a server whose process cannot be started.
type unfit struct{}

// Carry refuses.
func (unfit) Carry(context.Context, *upstream.Target, *upstream.Request, *upstream.Reply) error {
	return &upstream.Error{Kind: upstream.Unreachable, Detail: "its process cannot be started as it is configured"}
}

// carrier is a connector as an upstream.
type carrier struct {
	c    *plugins.Connector
	log  *slog.Logger
	kind string // of one that is this same binary
	ears *ears
}

// ears counts those who listen to a process: they must leave most of its places to calls.
type ears struct {
	most int32
	now  atomic.Int32
}

func (e *ears) enter() bool {
	if e.now.Add(1) > e.most {
		e.now.Add(-1)
		return false
	}
	return true
}

// Carry sends the request through the process.
func (k carrier) Carry(ctx context.Context, t *upstream.Target, r *upstream.Request, reply *upstream.Reply) error {
	req := connector.Request{Method: r.Method, Name: r.Name, Principal: r.Principal, Params: r.Params, Arguments: r.Arguments, Meta: r.Meta}
	if r.Method == connector.MethodListen {
		if !k.ears.enter() {
			return &upstream.Error{Kind: upstream.Busy, Detail: "too many listen to this process; raise connectors.in_flight"}
		}
		defer k.ears.now.Add(-1)
	}
	add := func(name, value string) { req.Headers = append(req.Headers, [2]string{name, value}) }
	if t.Headers != nil {
		t.Headers(add)
	}
	if r.Mirror != nil {
		r.Mirror(add)
	}
	if r.Peer != nil {
		req.Notify = r.Peer.Notify
		req.Ask = func(ctx context.Context, method string, params []byte) (connector.Reply, error) {
			result, failure := r.Peer.Answer(ctx, method, params)
			return connector.Reply{Result: result, Error: failure}, nil
		}
	}
	var out connector.Reply
	if err := k.c.Call(ctx, &req, &out); err != nil {
		fault := carryFault(err, k.kind)
		k.log.Debug("a connector's call failed", "tenant", t.Tenant, "server", t.Name, "kind", fault.Kind, "detail", fault.Detail)
		return fault
	}
	reply.Result, reply.Error = out.Result, out.Error
	return nil
}

// connectorList shows the control port a tenant's processes.
type connectorList struct{ c *connectors }

// List returns them by name.
func (l connectorList) List(tenant string) []control.ConnectorView {
	var out []control.ConnectorView
	for at, p := range l.c.all {
		if at.tenant == tenant {
			v := connectorView(at.name, p.Stats())
			for _, path := range l.c.paths[at] {
				if path != "" { // viewers read this too, and the host's folders are not theirs
					v.LastError = strings.ReplaceAll(v.LastError, path, filepath.Base(path))
				}
			}
			out = append(out, v)
		}
	}
	for at, err := range l.c.unfit {
		if at.tenant == tenant {
			l.c.log.Debug("asked for a server that cannot be started", "server", at.name, "error", err)
			out = append(out, control.ConnectorView{Name: at.name, State: string(plugins.Broken), LastError: "it cannot be started as it is configured; the gateway's log says why"})
		}
	}
	slices.SortFunc(out, func(a, b control.ConnectorView) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func connectorView(name string, s plugins.Stats) control.ConnectorView {
	v := control.ConnectorView{
		Name: name, State: string(s.State), PID: s.PID, Program: s.Info.Name, Version: s.Info.Version, Since: s.Since,
		Starts: s.Starts, Crashes: s.Crashes, InFlight: s.InFlight, Pings: s.Pings,
	}
	if s.Err != nil {
		v.LastError = s.Err.Error()
	}
	return v
}

// Restart starts a new process and puts it in the place of the old one.
func (l connectorList) Restart(ctx context.Context, tenant, name string) error {
	if l.c.unfit[place{tenant, name}] != nil {
		return errors.New("it cannot be started as it is configured; mend gateway.hcl and start the gateway again")
	}
	p := l.c.all[place{tenant, name}]
	if p == nil {
		return control.ErrNoConnector
	}
	return p.Restart(ctx)
}

// Logs returns the newest lines a process wrote to its standard error.
func (l connectorList) Logs(tenant, name string, n int) ([]control.LogLine, bool) {
	p := l.c.all[place{tenant, name}]
	if p == nil {
		return nil, false
	}
	var out []control.LogLine
	for _, line := range p.Logs(n) {
		out = append(out, control.LogLine{Time: line.Time, Text: line.Text})
	}
	return out, true
}

// carryFaults gives each kind of a connector's failure its name and words as an upstream's. The words are ours: what a
// connector says of a failure may hold what its server said, credentials among it, and an upstream's error reaches the
// ledger and the caller.
var carryFaults = map[connector.Kind]upstream.Error{
	connector.Unreachable: {Kind: upstream.Unreachable, Detail: "the connector or its server is down"},
	connector.Timeout:     {Kind: upstream.Timeout, Detail: "the connector waited too long for its server"},
	connector.Malformed:   {Kind: upstream.Malformed, Detail: "the connector's server broke its protocol"},
	connector.TooLarge:    {Kind: upstream.TooLarge, Detail: "request or answer is over a bound of the connector"},
	connector.Refused:     {Kind: upstream.Status, Detail: "the connector or its server refused the request"},
	connector.Canceled:    {Kind: upstream.Canceled, Detail: "the call was canceled"},
	connector.Busy:        {Kind: upstream.Busy, Detail: "the connector had no room in time"},
	connector.Internal:    {Kind: upstream.Unreachable, Detail: "the connector has a fault"},
}

// carryFault translates. That a call had no effect is believed of our own connectors only.
func carryFault(err error, kind string) *upstream.Error {
	if own, ok := errors.AsType[*upstream.Error](err); ok { // of our own side, who heard what was said before the answer
		fault := *own
		fault.Sent = true
		return &fault
	}
	f, ok := errors.AsType[*connector.Failure](err)
	if !ok {
		return &upstream.Error{Kind: upstream.Unreachable, Detail: "the connector failed", Sent: true}
	}
	fault, ok := carryFaults[f.Kind]
	if !ok {
		fault = carryFaults[connector.Internal]
	}
	fault.Sent = f.Sent || f.Told() && kind == ""
	if word, detail, ok := strings.Cut(f.Detail, ": "); ok && (kind == builtin.HTTP || kind == builtin.OpenAPI) && f.Told() {
		if _, known := failureKinds[upstream.Kind(word)]; known {
			fault.Kind, fault.Detail = upstream.Kind(word), detail // as our own client found it, see httpFailure
			return &fault
		}
	}
	if kind == builtin.OpenAPI && f.Told() && f.Kind != connector.Internal {
		fault.Detail = f.Detail // words of ours: plugins/openapi says nothing that the API said, but a panic may
	}
	return &fault
}

// awaitDemo waits until the demo server is ready and its tools are known, so that the first call after the ready line works.
func (g *Gateway) awaitDemo(ctx context.Context) error {
	p := g.connectors.all[place{demoTenant, demoServerName}]
	if p == nil || !g.demoRuns() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.o.Config.Connectors.StartTimeout+time.Second)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		return fmt.Errorf("start the demo server: %w", err)
	}
	return g.tools.Refresh(ctx, demoTenant, demoServerName)
}
