package connector

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Handshake is what tells a connector that the gateway started it.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "GATEWRIGHT_CONNECTOR",
	MagicCookieValue: "b0b1c4d6-exchange-v1",
}

// PluginName is the plugin's name in go-plugin's set.
const PluginName = "connector"

// Plugin is the go-plugin side of a connector, for both ends. The gateway's is the zero Plugin: dispensed, it is
// the *grpc.ClientConn for Open.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	service *service // nil on the gateway's side
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// GRPCServer registers the connector's service.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.service == nil {
		return fmt.Errorf("plugin %s has no server", PluginName)
	}
	s.RegisterService(&serviceDesc, p.service)
	return nil
}

// GRPCClient returns conn.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// How long a connector waits before it ends of itself.
const (
	awaitHost  = time.Minute            // for the gateway's stream; the gateway itself waits less
	awaitCalls = 2 * time.Second        // for calls under way when told to stop
	awaitEnds  = 500 * time.Millisecond // for them again once their contexts have ended, and for the gateway
)

// Exit codes of Serve.
const (
	exitDone    = 0 // told to end
	exitFailed  = 1 // the server ended, or no gateway came
	exitByHand  = 2 // not started by the gateway
	byHandUsage = "%s is a Gatewright connector: name it in a server block of gateway.hcl, or try it with `gatewright connector check -- %s`\n"
)

// Serve is the whole life of a connector: it serves s to the gateway that started the process until that ends,
// SIGTERM comes or an Ender has ended, and returns the code to exit with. Started by hand it says so in one line.
//
// From the first call on os.Stdout and os.Stderr are both the process's standard error, which the gateway keeps as
// the connector's log.
func Serve(i Info, s Server) int {
	if os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, byHandUsage, filepath.Base(os.Args[0]), os.Args[0])
		return exitByHand
	}
	l := &life{service: newService(i.clean(), s), grpc: make(chan *grpc.Server, 1), over: make(chan struct{})}
	stderr := os.Stderr
	l.service.onOpen = func() { os.Stdout, os.Stderr = stderr, stderr } // go-plugin put pipes there
	code := make(chan int, 1)
	go func() { code <- l.watch(s) }()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         plugin.PluginSet{PluginName: &Plugin{service: l.service}},
		GRPCServer:      l.newServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: stderr}),
	})
	close(l.over)
	return <-code
}

// life is one run of Serve.
type life struct {
	service *service
	grpc    chan *grpc.Server // holds one
	over    chan struct{}     // closed when gRPC serves no more
}

func (l *life) newServer(opts []grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append(opts, grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(maxFrame), grpc.MaxSendMsgSize(maxFrame))...)
	l.grpc <- s
	return s
}

// watch waits for a reason to end, ends gRPC and returns the exit code.
func (l *life) watch(s Server) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	var gone <-chan struct{}
	ender, _ := s.(Ender)
	if ender != nil {
		gone = ender.Done()
	}
	timer := time.NewTimer(awaitHost)
	defer timer.Stop()
	began := l.service.began
	code := exitDone
	for waiting := true; waiting; {
		waiting = false
		select {
		case <-began:
			began, waiting = nil, true
			timer.Stop()
		case <-l.over: // go-plugin's own way to end a plugin, or it could not begin
			if began != nil {
				code = exitFailed
			}
		case <-l.service.ended:
		case <-term:
			l.finish()
		case <-gone:
			fmt.Fprintln(os.Stderr, "connector: the server ended:", ender.Err())
			code = exitFailed
			l.finish()
		case <-timer.C:
			fmt.Fprintln(os.Stderr, "connector: the gateway opened no stream")
			code = exitFailed
		}
	}
	select {
	case server := <-l.grpc:
		server.Stop()
	case <-l.over:
	}
	return code
}

// finish winds the calls up and lets the gateway close its side first.
func (l *life) finish() {
	h := l.service.wind()
	if h == nil {
		return
	}
	idle := h.drain(true)
	if !await(idle, awaitCalls) {
		h.cancel()
		await(idle, awaitEnds)
	}
	await(l.service.ended, awaitEnds)
}

// await waits for a channel, but not longer than d.
func await(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
