package server

import (
	"context"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/bearer"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/upstream"
)

// openBearers makes the gateway the resource server of the authorization servers that are trusted.
func (g *Gateway) openBearers(context.Context) error {
	c := g.o.Config
	if len(c.AuthorizationServers) == 0 {
		return nil
	}
	resource := c.Proxy.PublicURL
	if resource == "" {
		resource = g.URL()
	}
	var list []bearer.Server
	for _, name := range slices.Sorted(maps.Keys(c.AuthorizationServers)) {
		list = append(list, trusted(name, c.AuthorizationServers[name], c))
	}
	set, err := bearer.New(bearer.Options{
		Resource: resource, Now: g.o.Now, Log: g.o.Log,
		Transport: func(allowPrivate bool) (http.RoundTripper, error) {
			return upstream.Transport(upstreamConfig(c.Upstream, c.Catalogue.MaxTools), nil, allowPrivate)
		},
	}, list)
	if err != nil {
		return g.misconfigured(err)
	}
	g.bearers = set
	g.people.SetBearers(set)
	g.protected = &proxy.Protected{Resource: resource, Issuers: set.Issuers(), Scopes: set.Scopes(), All: set.AllScopes()}
	return nil
}

// openClientCertificates tells the directory which agent each client's certificate is.
func (g *Gateway) openClientCertificates(context.Context) error {
	c := g.o.Config
	if c.Proxy.ClientCA == "" {
		if len(c.ClientCertificates) > 0 {
			g.o.Log.Warn("client certificates open nothing while client_ca in proxy is not set")
		}
		return nil
	}
	var list []identity.ClientCertificate
	for _, name := range slices.Sorted(maps.Keys(c.ClientCertificates)) {
		s := c.ClientCertificates[name]
		one := identity.ClientCertificate{Name: name, Tenant: s.Tenant, Agent: s.Agent, SAN: s.SAN}
		if s.SPKI != "" {
			one.SPKI, _ = hex.DecodeString(s.SPKI) // the configuration has checked it
		}
		list = append(list, one)
	}
	if err := g.people.SetCertificates(list, c.Proxy.ClientCertRequired); err != nil {
		return g.misconfigured(err)
	}
	return nil
}

func trusted(name string, s config.AuthorizationServer, c config.Config) bearer.Server {
	out := bearer.Server{
		Name: name, Tenant: s.Tenant, Issuer: s.Issuer, JWKS: s.JWKSURL, AllowPrivate: s.AllowPrivate, Algorithms: s.Algorithms, Types: s.Types,
		Audiences: s.Audiences, Claims: pairs(s.Claims), AgentClaim: s.AgentClaim, Agents: pairs(s.Agents), Agent: s.Agent, UserClaim: s.UserClaim,
		Scopes: s.Scopes, Hidden: !s.Advertise, MaxAge: s.MaxAge, Leeway: c.Intent.Leeway, Refresh: s.Refresh, Stale: s.Stale,
	}
	for what, scopes := range pairs(s.Operations) {
		op, place, _ := strings.Cut(what, " ")
		on, tool, _ := strings.Cut(strings.TrimSpace(place), "/")
		out.Operations = append(out.Operations, bearer.Need{Op: op, Server: on, Name: tool, Scopes: strings.Fields(scopes)})
	}
	return out
}

// pairs reads NAME=VALUE; nil of none. The configuration has checked them.
func pairs(list []string) map[string]string {
	var m map[string]string
	for _, text := range list {
		if m == nil {
			m = map[string]string{}
		}
		name, value, _ := strings.Cut(text, "=")
		m[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return m
}

// bearerGauges count what was fetched from authorization servers.
func (g *Gateway) bearerGauges() []control.Gauge {
	if g.bearers == nil {
		return nil
	}
	counter := func(name, help string, value func() uint64) control.Gauge {
		return control.Gauge{Name: "gatewright_" + name + "_total", Help: help, Counter: true, Value: func() float64 { return float64(value()) }}
	}
	return []control.Gauge{
		counter("jwks_fetches", "Times that keys of authorization servers were fetched.", func() uint64 { return g.bearers.Stats().Fetches }),
		counter("jwks_failures", "Of those, the ones that brought none.", func() uint64 { return g.bearers.Stats().Failures }),
	}
}

// agentSessions shows the data port's sessions to the control port.
type agentSessions struct{ g *Gateway }

// List gives an agent's open sessions.
func (a agentSessions) List(tenant, agent string) (list []control.Session) {
	for _, s := range a.g.sessions.List(tenant, agent, a.g.o.Now()) {
		list = append(list, control.Session{Name: s.Name, Key: s.Key, Path: s.Path, Begun: s.Begun.UTC(), Used: s.Used.UTC()})
	}
	return list
}

// Revoke ends them.
func (a agentSessions) Revoke(tenant, agent, name string) int {
	return a.g.sessions.Revoke(tenant, agent, name)
}
