package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/plugins/openapi"
)

// The parts of one floor do not know each other; what they need of one another is handed over here.

// lister reads a server's tools for the catalogue.
type lister struct{ g *Gateway }

// List asks the server itself.
func (l lister) List(ctx context.Context, s catalogue.Server, method string) (list []json.RawMessage, err error) {
	t, err := l.target(ctx, s)
	if err != nil {
		return nil, err
	}
	if method == catalogue.Capabilities {
		var declared []byte
		declared, err = l.g.client.Capabilities(ctx, t)
		list = []json.RawMessage{declared}
	} else {
		list, err = l.g.client.List(ctx, t, &upstream.Request{Method: method})
	}
	if errors.Is(err, upstream.ErrNoMethod) {
		return nil, catalogue.ErrNotOffered
	}
	return list, err
}

// target is the server as the gateway itself reaches it.
func (l lister) target(ctx context.Context, s catalogue.Server) (*upstream.Target, error) {
	t, err := l.g.target(ctx, s)
	if err != nil {
		return nil, err
	}
	return l.g.asLister(ctx, s, t)
}

// target says how to reach a server. Its credential is taken out of the vault for this one request, and wiped after.
func (g *Gateway) target(ctx context.Context, s catalogue.Server) (*upstream.Target, error) {
	t := &upstream.Target{Tenant: s.Tenant, Name: s.Name, URL: s.URL, Era: s.Era, AllowPrivate: s.AllowPrivate, Pins: s.PublicKeys, TakesCallers: s.TakesCallers}
	t.Carrier = g.connectors.carrier(s.Tenant, s.Name)
	if s.Process && t.Carrier == nil {
		return nil, catalogue.ErrUnknown
	}
	if s.Auth != (catalogue.Auth{}) {
		return g.tokens(ctx, s, t)
	}
	if s.Credential == "" {
		return t, nil
	}
	var value string
	header, prefix := s.Header, s.Prefix // s itself would move to the heap, in calls without a credential too
	err := g.vault.Use(ctx, s.Tenant, s.Credential, func(secret []byte) error {
		value = prefix + string(secret)
		return nil
	})
	if errors.Is(err, vault.ErrNotFound) {
		return nil, fmt.Errorf("credential of server %s: the vault has no secret %q; put it there (PUT /api/v1/secrets/%s): %w", s.Name, s.Credential, s.Credential, vault.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("credential of server %s: %w", s.Name, err)
	}
	t.Headers = func(add func(name, value string)) { add(header, value) }
	return t, nil
}

// servers finds upstreams for the line.
type servers struct{ g *Gateway }

// Target finds a tenant's server that is enabled, with what it is to be shown.
func (s servers) Target(ctx context.Context, tenant, name string) (*upstream.Target, error) {
	server, ok := s.g.tools.Server(tenant, name)
	if !ok || !server.Enabled {
		return nil, catalogue.ErrUnknown
	}
	return s.g.target(ctx, server)
}

// listened is what the hub needs of servers.
type listened struct{ g *Gateway }

// Listen hears a server that is enabled.
func (l listened) Listen(ctx context.Context, tenant, name string, by upstream.Subject, s *upstream.Subscription) error {
	t, err := servers(l).Target(ctx, tenant, name)
	switch {
	case err != nil:
	case by == upstream.Subject{}:
		if server, ok := l.g.tools.Server(tenant, name); ok {
			t, err = l.g.asLister(ctx, server, t)
		}
	case t.As != nil:
		t, err = t.As(ctx, by)
	}
	if err != nil {
		return err
	}
	return l.g.client.Listen(ctx, t, s)
}

// Refresh lists what a server offers anew.
func (l listened) Refresh(ctx context.Context, tenant, name string) error {
	return l.g.tools.Refresh(ctx, tenant, name)
}

// planTools tells the register of plans about tools.
type planTools struct{ g *Gateway }

// Lookup finds a tool's schema and the check of its arguments.
func (p planTools) Lookup(tenant, op, server, tool string) (merkle.Hash, func(args []byte) error, bool) {
	t, ok := p.g.tools.Find(tenant, op, server, tool)
	if !ok {
		return merkle.Hash{}, nil, false
	}
	return t.SchemaHash, t.CheckArgs, true
}

func upstreamConfig(u config.Upstream, maxTools int) upstream.Config {
	return upstream.Config{
		ConnectTimeout: u.ConnectTimeout, Timeout: u.Timeout, QueueTimeout: u.QueueTimeout, IdleTimeout: u.IdleTimeout,
		MaxConnections: u.MaxConnections, MaxResponse: int(u.MaxReply), MaxDepth: u.JSONDepth, MaxValues: u.JSONValues,
		MaxEvents: u.MaxEvents, MaxTools: maxTools, MaxPages: u.MaxPages, MaxSessions: u.MaxSessions, SessionIdle: u.SessionIdle,
		MaxInterim: u.MaxInterim, MaxInterimBytes: int(u.MaxInterimBytes), MaxAsks: u.MaxAsks, AnswerTimeout: u.AnswerTimeout,
		MaxStreams:   u.MaxStreams,
		MaxUpstreams: u.MaxUpstreams, Failures: u.Failures, OpenFor: u.OpenFor, RootCAFile: u.RootCAFile,
	}
}

// openCatalogue opens the client for upstreams and, on it, the catalogue with the servers of the configuration.
func (g *Gateway) openCatalogue(ctx context.Context) error {
	u, c := g.o.Config.Upstream, g.o.Config.Catalogue
	var err error
	o := upstream.Options{Config: upstreamConfig(u, c.MaxTools), Now: g.o.Now, Reach: servers{g}.Target}
	if g.client, err = upstream.New(o); err != nil {
		return err
	}
	cc := catalogue.Config{
		MaxServers: c.MaxServers, MaxTools: c.MaxTools, MaxToolBytes: int(c.MaxTool), MaxSchemaBytes: int(c.MaxSchema),
		MaxSchemaDepth: c.SchemaDepth, RefreshTimeout: c.RefreshTimeout, RefreshEvery: c.RefreshEvery,
		AllowPrivate: u.AllowPrivate || g.o.Config.Mode == "development", Pin: c.Pin, MaxResultDepth: u.JSONDepth,
	}
	for name, s := range g.o.Config.Servers {
		f := catalogue.Fixed{
			Tenant: s.Tenant, Name: name, URL: s.URL, Era: s.Era, AllowPrivate: s.AllowPrivate || u.AllowPrivate,
			Labels: s.Labels, Sensitivity: int64(s.Sensitivity), Process: s.Process(),
			TakesCallers: s.CallerCredentials, PublicKeys: s.PublicKeys,
		}
		if s.Pin != "auto" {
			f.Pin = s.Pin
		}
		if s.OAuthTokens() {
			f.Auth = catalogue.Auth{
				Kind: s.Auth, Issuer: s.AuthIssuer, ClientID: s.ClientID, ClientSecret: s.ClientSecret, ClientKey: s.ClientKey,
				Scopes: strings.Join(s.AuthScopes, " "), Audience: s.AuthAudience,
			}
		}
		if s.Credential != "" {
			f.Credential, f.Header, f.Prefix = s.Credential, s.Header, s.Prefix
			if f.Header == "Authorization" && f.Prefix == "" {
				f.Prefix = "Bearer "
			}
			if s.OpenAPI != "" { // its process puts the credential where the document says
				f.Header, f.Prefix = openapi.CredentialHeader, ""
			}
		}
		cc.Servers = append(cc.Servers, f)
	}
	if g.demoRuns() {
		cc.Servers = append(cc.Servers, catalogue.Fixed{Tenant: demoTenant, Name: demoServerName, Process: true, Pin: catalogue.PinOwn})
	}
	if g.tools, err = catalogue.Open(ctx, cc, g.store, lister{g}, g.o.Now); err != nil {
		return err
	}
	g.tools.OnPins(g.recordPins)
	g.tools.OnChange(func(tenant string) {
		g.bundles.Retool(context.Background(), tenant)
		g.hub.Changed(tenant)
	})
	return nil
}

// refreshTools reads every server's tools anew. A server that does not answer keeps its last good list.
func (g *Gateway) refreshTools(ctx context.Context) {
	for _, s := range g.tools.RefreshAll(ctx) {
		h, _ := g.tools.Health(s.Tenant, s.Name)
		if h.Err != "" && !g.connectors.starting(s.Tenant, s.Name) { // its tools are read when it runs, and may have been meanwhile
			g.o.Log.Warn("a server did not list its tools; its last good list stays", "tenant", s.Tenant, "server", s.Name, "error", h.Err)
		}
	}
}
