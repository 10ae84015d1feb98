package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
)

// Catalogue is what this port needs of the servers and tools.
type Catalogue interface {
	ServerChanges
	ServerViews
	ToolPins
}

var _ Catalogue = (*catalogue.Catalogue)(nil)

// ServerChanges are durable and in force when they return nil. Refresh keeps the last good tools on error.
type ServerChanges interface {
	AddServer(ctx context.Context, tenant string, s catalogue.Server) error
	UpdateServer(ctx context.Context, tenant string, s catalogue.Server) error
	RemoveServer(ctx context.Context, tenant, name string) error
	Refresh(ctx context.Context, tenant, server string) error
}

// ServerViews are of the snapshot in force.
type ServerViews interface {
	Servers(tenant string) []catalogue.Server
	Server(tenant, name string) (catalogue.Server, bool)
	Tools(tenant, server string) []*catalogue.Tool
	Health(tenant, server string) (catalogue.Health, bool)
}

// server is an MCP server as answered, with how the last listings of its tools went.
type server struct {
	Name         string   `json:"name"`
	URL          string   `json:"url"`
	Era          string   `json:"era" enum:"auto,legacy,modern,sse"`
	Credential   string   `json:"credential,omitempty" doc:"name of the secret in the vault that goes with each call"`
	Header       string   `json:"header,omitempty" doc:"header that carries it"`
	Prefix       string   `json:"prefix,omitempty" doc:"what stands before it there"`
	Auth         *Auth    `json:"auth,omitempty" doc:"how the gateway comes to tokens for it"`
	Enabled      bool     `json:"enabled"`
	AllowPrivate bool     `json:"allow_private" doc:"may stand on loopback or private addresses"`
	PublicKeys   []string `json:"public_keys" nullable:"false" doc:"public keys of which its TLS chain must hold one"`
	Labels       []string `json:"labels" nullable:"false"`
	Sensitivity  int64    `json:"sensitivity"`
	Fixed        bool     `json:"fixed" doc:"from the configuration file; changed there only"`
	Health       health   `json:"health"`
}

type health struct {
	LastTry  *time.Time `json:"last_try,omitempty"`
	LastGood *time.Time `json:"last_good,omitempty"`
	Failures int        `json:"failures" doc:"in a row"`
	Error    string     `json:"error,omitempty" doc:"of the last try"`
	Tools    int        `json:"tools" doc:"that may be called"`
	Unusable int        `json:"unusable" doc:"that are shown and not called"`
	Waiting  int        `json:"quarantined" doc:"whose definition is new, changed or rejected: not called, and not shown to agents"`
	Skipped  int        `json:"skipped" doc:"definitions too broken to be shown"`
}

// Settings are what a caller may choose of a server. It is exported because huma passes over embedded types that are not.
type Settings struct {
	URL          string   `json:"url" minLength:"8" maxLength:"2048" doc:"its MCP endpoint"`
	Era          string   `json:"era,omitempty" enum:"auto,legacy,modern,sse"`
	Credential   string   `json:"credential,omitempty" maxLength:"63"`
	Header       string   `json:"header,omitempty" maxLength:"128"`
	Prefix       string   `json:"prefix,omitempty" maxLength:"64"`
	Auth         *Auth    `json:"auth,omitempty" doc:"how the gateway comes to tokens for it, instead of a credential"`
	AllowPrivate bool     `json:"allow_private,omitempty" doc:"refused unless the gateway's configuration allows it"`
	PublicKeys   []string `json:"public_keys,omitempty" maxItems:"8" nullable:"false" doc:"public keys of which its TLS chain must hold one: sha256/ and the base64 of the SHA-256 of the SubjectPublicKeyInfo"`
	Labels       []string `json:"labels,omitempty" maxItems:"32" nullable:"false"`
	Sensitivity  int64    `json:"sensitivity,omitempty" minimum:"0" maximum:"1000"`
	Disabled     bool     `json:"disabled,omitempty" doc:"keep it, but forward nothing to it"`
}

type serverOut struct{ Body server }

type serverPath struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
}

// addServerIn: where a name leads is judged when it is dialed, not here.
type addServerIn struct {
	Body struct {
		Name string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
		Settings
	}
}

type updateServerIn struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
	Body Settings
}

// tool is a tool as its server describes it. State is why it is not called; a quarantined one may be unusable besides.
type tool struct {
	Server      string          `json:"server"`
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty" doc:"as the server says; not to be trusted"`
	State       string          `json:"state" enum:"usable,unusable,quarantined" doc:"only a usable tool is called and shown to agents; a quarantined one waits for a decision about its pin"`
	Why         string          `json:"why,omitempty" doc:"why it is not usable"`
	Schema      string          `json:"schema_hash" doc:"SHA-256 of the input schema's canonical form, hex; a plan's step names it"`
	Definition  string          `json:"definition_hash" doc:"SHA-256 of the whole definition's canonical form, hex"`
	InputSchema json.RawMessage `json:"input_schema,omitempty"`
}

type listToolsIn struct {
	Name   string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
}

func (m *mounting) servers() {
	handle(m, "list-servers", func(_ context.Context, c *call, in *listing) (*paged[server], error) {
		all := m.api.deps.Catalogue.Servers(c.caller.Tenant())
		return paginate(c, *in, all, func(s *catalogue.Server) string { return s.Name }, m.api.shapeServer)
	})
	handle(m, "add-server", func(ctx context.Context, c *call, in *addServerIn) (*serverOut, error) {
		c.target = in.Body.Name
		s := in.Body.server(in.Body.Name)
		c.note("host", hostOf(s.URL))
		if err := m.api.deps.Catalogue.AddServer(ctx, c.caller.Tenant(), s); err != nil {
			return nil, err
		}
		return m.api.readServer(c, s.Name)
	})
	handle(m, "get-server", func(_ context.Context, c *call, in *serverPath) (*serverOut, error) {
		return m.api.readServer(c, in.Name)
	})
	handle(m, "update-server", func(ctx context.Context, c *call, in *updateServerIn) (*serverOut, error) {
		c.note("host", hostOf(in.Body.URL))
		if err := m.api.deps.Catalogue.UpdateServer(ctx, c.caller.Tenant(), in.Body.server(in.Name)); err != nil {
			return nil, err
		}
		return m.api.readServer(c, in.Name)
	})
	handle(m, "remove-server", func(ctx context.Context, c *call, in *serverPath) (*none, error) {
		return nil, m.api.deps.Catalogue.RemoveServer(ctx, c.caller.Tenant(), in.Name)
	})
	handle(m, "refresh-server", m.api.refreshServer)
	handle(m, "list-tools", m.api.listTools)
}

func (w Settings) server(name string) catalogue.Server {
	return catalogue.Server{
		Name: name, URL: w.URL, Era: w.Era, Credential: w.Credential, Header: w.Header, Prefix: w.Prefix, Auth: w.Auth.auth(),
		Enabled: !w.Disabled, AllowPrivate: w.AllowPrivate, PublicKeys: w.PublicKeys, Labels: w.Labels, Sensitivity: w.Sensitivity,
	}
}

// hostOf is what a record says of a URL: its query may hold a credential.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

func (a *API) readServer(c *call, name string) (*serverOut, error) {
	s, ok := a.deps.Catalogue.Server(c.caller.Tenant(), name)
	if !ok {
		return nil, notFound()
	}
	return &serverOut{Body: a.shapeServer(&s)}, nil
}

// refreshServer tells why a server could not be asked: whoever manages servers has to mend it.
func (a *API) refreshServer(ctx context.Context, c *call, in *serverPath) (*serverOut, error) {
	err := a.deps.Catalogue.Refresh(ctx, c.caller.Tenant(), in.Name)
	switch {
	case errors.Is(err, catalogue.ErrUnknown):
		return nil, notFound()
	case err != nil:
		return nil, refuse(http.StatusBadGateway, "upstream_failed", clip(err.Error(), 300), "the tools known before stay in place")
	}
	return a.readServer(c, in.Name)
}

func (a *API) listTools(_ context.Context, c *call, in *listToolsIn) (*paged[tool], error) {
	if _, ok := a.deps.Catalogue.Server(c.caller.Tenant(), in.Name); !ok {
		return nil, notFound()
	}
	tools := a.deps.Catalogue.Tools(c.caller.Tenant(), in.Name)
	return paginate(c, listing{in.Limit, in.Cursor}, tools, func(t **catalogue.Tool) string { return (*t).Name }, shapeTool)
}

func shapeTool(p **catalogue.Tool) tool {
	t := *p
	out := tool{
		Server: t.Server, Name: t.Name, Title: t.Title, Description: t.Description, State: "usable", Why: t.Unusable,
		Schema: t.SchemaHash.String(), Definition: t.DefinitionHash.String(), InputSchema: t.InputSchema,
	}
	switch {
	case t.State != catalogue.Approved:
		out.State = "quarantined"
		out.Why = clip(strings.Join(append([]string{"its definition is " + string(t.State)}, t.Findings...), "; "), clipText)
	case t.Unusable != "":
		out.State = "unusable"
	}
	return out
}

func (a *API) shapeServer(s *catalogue.Server) server {
	h, _ := a.deps.Catalogue.Health(s.Tenant, s.Name)
	return server{
		Name: s.Name, URL: s.URL, Era: s.Era, Credential: s.Credential, Header: s.Header, Prefix: s.Prefix, Enabled: s.Enabled, Auth: shapeAuth(s.Auth),
		AllowPrivate: s.AllowPrivate, PublicKeys: strs(s.PublicKeys), Labels: strs(s.Labels), Sensitivity: s.Sensitivity, Fixed: s.Fixed,
		Health: health{moment(h.LastTry), moment(h.LastGood), h.Failures, clip(h.Err, 300), h.Tools, h.Unusable, h.Quarantined, h.Skipped},
	}
}
