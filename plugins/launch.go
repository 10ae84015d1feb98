package plugins

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/gatewright/gatewright/plugins/connector"
)

const (
	maxHeaderList = 16 << 10 // bytes of gRPC's own headers; ours are a few hundred
	maxFaultText  = 200      // bytes of go-plugin's message in an error of ours
)

// launch starts one process and brings it to where it takes calls. When ctx
// ends before that, or anything fails, nothing of it is left.
func (c *Connector) launch(ctx context.Context) (serving, error) {
	o := &c.options
	late := fmt.Errorf("not ready within %s", o.Config.StartTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, o.Config.StartTimeout, late)
	defer cancel()
	p := newProcess(o.Command, o.Config, c.journal)
	unhook := context.AfterFunc(ctx, func() { p.kill(context.Cause(ctx)) })
	in, err := c.connect(ctx, p)
	if err == nil && !unhook() {
		err = errors.Join(context.Cause(ctx), in.close())
	}
	if err != nil {
		unhook()
		return nil, p.discard(err)
	}
	// A process with the right to may have raised its own bounds meanwhile.
	if err := limit(p.pid(), o.Config.Files); err != nil {
		p.kill(err)
	}
	go in.health(o.Config)
	return in, nil
}

// discard ends a process that came to nothing and says why it did.
func (p *process) discard(err error) error {
	p.kill(nil)
	p.mu.Lock()
	begun := p.begun
	p.mu.Unlock()
	if !begun {
		return errors.Join(err, p.release())
	}
	<-p.exited
	return errors.Join(p.startFault(err), p.release())
}

// handshakeForm is what go-plugin's handshake looks like, so far that its
// complaints about one hold nothing that might be a secret.
var handshakeForm = regexp.MustCompile(`^[0-9]{1,9}\|[0-9]{1,9}\|[a-z]{0,8}\|[^|]*\|(grpc|netrpc)\|`)

// startFault makes sense of a failed start, once nothing of the process is
// left. What it printed is not repeated; the journal has it.
func (p *process) startFault(err error) error {
	p.mu.Lock()
	line, known := p.line, p.cause != nil || p.err != nil
	formed := p.whole && handshakeForm.MatchString(line)
	byUs := p.outcome != nil && p.outcome.Error() == "signal: killed"
	p.mu.Unlock()
	switch {
	case known:
		return p.fault()
	case line != "" && !formed:
		p.journal.keep(p.pid(), "on stdout: "+printable([]byte(strings.TrimSpace(line[:min(len(line), maxLogLine)]))))
		return errors.New("the first line on its stdout is not a connector's handshake")
	case !byUs:
		return p.fault()
	}
	return err
}

// connect does what go-plugin's client does, but for what a connector does not
// use: the broker, which a hostile process could flood, and the wait without
// end when it is killed.
func (c *Connector) connect(ctx context.Context, p *process) (*instance, error) {
	o := &c.options
	conf := &plugin.ClientConfig{
		HandshakeConfig:  connector.Handshake,
		Plugins:          plugin.PluginSet{connector.PluginName: &connector.Plugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     o.Config.StartTimeout + time.Minute, // ours comes first
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: o.SocketDir},
		Logger:           pluginLog(c.log),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p.env, p.dir = cmd.Env, dir
			return p, nil
		},
	}
	addr, err := plugin.NewClient(conf).Start()
	if err != nil {
		return nil, handshakeFault(err)
	}
	if conf.TLSConfig == nil || conf.TLSConfig.RootCAs == nil {
		return nil, errors.New("its handshake has no certificate")
	}
	conn, err := dial(addr, conf.TLSConfig)
	if err != nil {
		return nil, err
	}
	session, err := connector.Open(ctx, conn, connector.Bounds{MaxFrame: o.Config.MaxMessage, InFlight: o.Config.InFlight})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	in := &instance{process: p, config: o.Config, conn: conn, session: session, ended: make(chan struct{}), healthy: make(chan struct{})}
	// Both sides are connected: from here on there is no socket to be left.
	if err := p.release(); err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

// handshakeFault shortens go-plugin's explanations.
func handshakeFault(err error) error {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("handshake: %s", printable([]byte(first[:min(len(first), maxFaultText)])))
}

// dial connects once to the process: a connection that breaks ends the session,
// and nobody else may take its place.
func dial(addr net.Addr, conf *tls.Config) (*grpc.ClientConn, error) {
	conf = conf.Clone()
	conf.MinVersion = tls.VersionTLS13
	var dialed atomic.Bool
	once := func(ctx context.Context, _ string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, net.ErrClosed
		}
		var d net.Dialer
		return d.DialContext(ctx, addr.Network(), addr.String())
	}
	conn, err := grpc.NewClient("passthrough:///connector",
		grpc.WithContextDialer(once),
		grpc.WithTransportCredentials(credentials.NewTLS(conf)),
		grpc.WithMaxHeaderListSize(maxHeaderList),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: time.Hour}), // the start's own timeout comes first
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDisableHealthCheck(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// pluginLog gives what go-plugin has to warn of to our log.
func pluginLog(log *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: logWriter{log}, DisableTime: true})
}

type logWriter struct{ log *slog.Logger }

// Write takes one event of hclog.
func (w logWriter) Write(b []byte) (int, error) {
	w.log.Debug("go-plugin says", slog.String("line", printable(b[:min(len(b), maxLogLine)])))
	return len(b), nil
}
