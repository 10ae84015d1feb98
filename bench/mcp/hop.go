package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/connector"
)

// connectorVerb is the hidden argument that makes the binary a connector.
const connectorVerb = "bench-connector"

// IsConnector says whether the arguments after the program's name ask for a connector.
func IsConnector(args []string) bool { return len(args) == 1 && args[0] == connectorVerb }

// ServeConnector is the connector's main: it answers as the stub over HTTP does, and the load of the hop alone.
func ServeConnector() int {
	answers, err := task.Stub().Answers()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench connector:", err)
		return 1
	}
	s := &server{answers: map[string][]byte{}, reply: newReply()}
	for method, result := range answers {
		s.answers[method] = []byte(result)
	}
	return connector.Serve(connector.Info{Name: "bench", Version: "1"}, s)
}

func connectorCommand(self []string) []string {
	return append(append([]string(nil), self...), connectorVerb)
}

// server costs as little as can be.
type server struct {
	answers map[string][]byte // results by method
	reply   []byte            // of the hop
}

var _ connector.Server = (*server)(nil)

// Call answers one request.
func (s *server) Call(_ context.Context, r *connector.Request) (connector.Reply, error) {
	if r.Principal == hopPrincipal {
		if r.Name == probeName {
			return connector.Reply{Result: digest(payload(r))}, nil
		}
		return connector.Reply{Result: s.reply}, nil
	}
	result := s.answers[r.Method]
	if result == nil || r.Method == "tools/call" && r.Name != task.Tool {
		return connector.Reply{Error: []byte(`{"code":-32601,"message":"no request that this stub knows"}`)}, nil
	}
	return connector.Reply{Result: result}, nil
}

// host calls a connector as the gateway does.
type host struct {
	connector *plugins.Connector
	request   *connector.Request
	want      []byte
}

// serveHop is the role of a process that calls its connector.
func serveHop(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s hostSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	command := connectorCommand(s.Self)
	c, err := plugins.New(plugins.Options{
		Config: plugins.DefaultConfig(), Tenant: "bench", Command: plugins.Command{Name: hop, Path: command[0], Args: command[1:]},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Now: time.Now, SocketDir: s.Dir,
	})
	if err != nil {
		return rig.Serving{}, err
	}
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		return c.Stop(ctx)
	}
	if err := c.Ready(ctx); err != nil {
		return rig.Serving{}, errors.Join(err, stop())
	}
	h := &host{connector: c, request: newRequest(callName), want: newReply()}
	return rig.Serving{Stop: stop, Probe: h.probe, Call: h.call}, nil
}

// stopWithin bounds the end of a connector that is measured no more.
const stopWithin = 10 * time.Second

func (h *host) call(ctx context.Context) error {
	got, err := h.ask(ctx, h.request)
	if err == nil && !bytes.Equal(got, h.want) {
		err = fmt.Errorf("answered %.80q", got)
	}
	return err
}

func (h *host) ask(ctx context.Context, r *connector.Request) ([]byte, error) {
	var reply connector.Reply
	if err := h.connector.Call(ctx, r, &reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, fmt.Errorf("answered with the error %.80q", reply.Error)
	}
	return reply.Result, nil
}

// probe has every byte of a request come back as its digest, and an answer's as it is.
func (h *host) probe(ctx context.Context) error {
	r := newRequest(probeName)
	got, err := h.ask(ctx, r)
	if err != nil {
		return err
	}
	if want := digest(payload(r)); !bytes.Equal(got, want) {
		return fmt.Errorf("the probe is answered %q, want %q", got, want)
	}
	return h.call(ctx)
}
