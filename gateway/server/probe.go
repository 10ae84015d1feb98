package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins"
)

// Listing says which server to ask for its tools, outside a gateway.
type Listing struct {
	Config config.Config
	Name   string   // of a server in it
	Self   []string // this program, which runs the built-in connector
	// Env is what a program sees beside PATH and HOME, Credential what goes in the server's header. Both are secret.
	Env        []string
	Credential string
}

// ListTools starts or reaches one server as a gateway would, reads its tools as it sent them, and ends what it started.
func ListTools(ctx context.Context, l Listing) (_ []json.RawMessage, err error) {
	s, ok := l.Config.Servers[l.Name]
	if !ok {
		return nil, fmt.Errorf("no server %q", l.Name)
	}
	l.Config.Connectors.MaxCrashes = 1 // nobody waits here for a second try
	g := &Gateway{o: Options{Config: l.Config, Self: l.Self, Log: slog.New(slog.DiscardHandler), Now: time.Now}}
	g.connectors = &connectors{all: map[place]*plugins.Connector{}, ours: map[place]string{}, paths: map[place][]string{}, ears: map[place]*ears{}, log: g.o.Log}
	client, err := upstream.New(upstream.Options{Config: upstreamConfig(l.Config.Upstream, l.Config.Catalogue.MaxTools), Now: time.Now})
	if err != nil {
		return nil, fmt.Errorf("reach the server: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, l.Config.Catalogue.RefreshTimeout+l.Config.Connectors.StartTimeout)
	defer cancel()
	target := &upstream.Target{Tenant: s.Tenant, Name: l.Name, URL: s.URL, Era: s.Era, AllowPrivate: s.AllowPrivate || l.Config.Upstream.AllowPrivate}
	if s.URL == "" {
		target.Carrier, err = g.startOnce(ctx, place{s.Tenant, l.Name}, s, l.Env)
		defer func() { err = errors.Join(err, g.connectors.stop(context.WithoutCancel(ctx))) }()
		if err != nil {
			return nil, err
		}
	} else if l.Credential != "" {
		prefix := s.Prefix
		if prefix == "" && strings.EqualFold(s.Header, "Authorization") {
			prefix = "Bearer "
		}
		target.Headers = func(add func(name, value string)) { add(s.Header, prefix+l.Credential) }
	}
	return client.List(ctx, target, &upstream.Request{Method: "tools/list"})
}

// startOnce runs a server's process until the connectors are stopped.
func (g *Gateway) startOnce(ctx context.Context, at place, s config.Server, env []string) (upstream.Carrier, error) {
	s.PassEnv = slices.Clone(s.PassEnv)
	cmd, err := g.command(s)
	if err != nil {
		return nil, err
	}
	for _, v := range env { // the process sees these; what is named in pass_env is not taken from this program's environment
		name, _, _ := strings.Cut(v, "=")
		cmd.Env = append(cmd.Env, v)
		cmd.PassEnv = slices.DeleteFunc(cmd.PassEnv, func(n string) bool { return n == name })
	}
	if err := g.addConnector(ctx, at, cmd); err != nil {
		return nil, err
	}
	p := g.connectors.all[at]
	if err := p.Ready(ctx); err != nil {
		for _, line := range p.Logs(1) {
			err = fmt.Errorf("%w; it wrote: %s", err, without(line.Text, env))
		}
		return nil, err
	}
	return g.connectors.carrier(at.tenant, at.name), nil
}

// without takes the values of variables out of what a program wrote: it may have told what it was given.
func without(text string, env []string) string {
	for _, v := range env {
		if _, value, _ := strings.Cut(v, "="); len(value) > 3 {
			text = strings.ReplaceAll(text, value, "[secret]")
		}
	}
	return text
}
