package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// demoTenant is the tenant that development mode makes, and demoServerName its built-in server.
const (
	demoTenant     = "demo"
	demoServerName = "demo"
)

// firstTenant makes what is there before anybody can manage the gateway: in development the tenant "demo" with an
// agent, working keys and the demo server; in production the gateway's own admin, whose key is shown once.
func (g *Gateway) firstTenant(ctx context.Context) error {
	g.connectors.live.Store(true)
	if g.o.Config.Mode == "production" {
		return g.firstAdmin(ctx)
	}
	seeded, err := g.people.Bootstrap(ctx, demoTenant, identity.Seed{
		OrgName: "Demo", Admin: "Demo admin", Agent: "demo-agent", Mode: identity.Test, Reissue: true,
	})
	if err != nil {
		return err
	}
	if err := g.awaitDemo(ctx); err != nil {
		return err
	}
	if err := g.openTenants(ctx); err != nil {
		return err
	}
	return g.writeDemoEnv(seeded)
}

func (g *Gateway) firstAdmin(ctx context.Context) error {
	seeded, err := g.people.Bootstrap(ctx, store.Instance, identity.Seed{OrgName: "Gateway", Admin: "First admin", Mode: identity.Live})
	if err != nil {
		return err
	}
	if err := g.openTenants(ctx); err != nil {
		return err
	}
	if seeded.AdminKey != "" {
		fmt.Fprintf(g.o.Out, "first management key, shown this once: %s\n", seeded.AdminKey)
		fmt.Fprintln(g.o.Out, "it makes organisations, which have agents and servers: gatewright organisation create ID")
	}
	return nil
}

// openTenants reads the tools of every tenant's servers and puts its policies in force. A bundle that is wrong in itself
// ends the start of a tenant that had none before. One that only names tools which a tenant does not have (a server is down, renamed a tool, or is not
// there yet) is waited for: that tenant is refused everything until it compiles, and the others are served.
func (g *Gateway) openTenants(ctx context.Context) error {
	g.configuredServers(ctx)
	orgs, err := g.people.Orgs(ctx, store.Instance)
	if err != nil {
		return fmt.Errorf("list organisations: %w", err)
	}
	g.refreshTools(ctx)
	for _, o := range orgs {
		if err := g.bundles.start(ctx, o.Tenant); err != nil {
			return fmt.Errorf("policies of %s: %w", o.Tenant, err)
		}
	}
	return nil
}

// namesUnknownTools says whether nothing else is wrong with a bundle than tools that are not known.
func namesUnknownTools(err error) bool {
	var ps policies.Problems
	if !errors.As(err, &ps) {
		return false
	}
	for _, p := range ps {
		unknown := strings.Contains(p.Msg, "unrecognized action") && strings.Contains(p.Msg, "___")
		if !unknown && !strings.Contains(p.Msg, "unable to find an applicable action") {
			return false
		}
	}
	return len(ps) > 0
}

// directory is the identity directory as the control port uses it: a new organisation gets its policies at once.
type directory struct {
	*identity.Directory
	bundles *revisions
	gone    func(pipeline.Holder) // told of those who may do less than before
}

// gone ends what goes on for those who may not go on: calls that are held for them, and, once they are judged anew, streams on
// which they listen.
func (g *Gateway) gone(who pipeline.Holder) {
	g.rounds.EndHeld(who)
	g.hub.Changed(who.Tenant)
}

// RevokeKey ends what goes on under the key, too.
func (d directory) RevokeKey(ctx context.Context, tenant, id string) error {
	defer d.gone(pipeline.Holder{Tenant: tenant, Key: id}) // also after a fault: it may have come about
	return d.Directory.RevokeKey(ctx, tenant, id)
}

// SetAgentStatus ends what goes on for an agent that is not active any more.
func (d directory) SetAgentStatus(ctx context.Context, tenant, id string, status identity.Status) error {
	if status != identity.Active {
		defer d.gone(pipeline.Holder{Tenant: tenant, Agent: id})
	}
	return d.Directory.SetAgentStatus(ctx, tenant, id, status)
}

// SetUserStatus ends what goes on for a user who is not active any more.
func (d directory) SetUserStatus(ctx context.Context, tenant, id string, status identity.Status) error {
	if status != identity.Active {
		defer d.gone(pipeline.Holder{Tenant: tenant, User: id})
	}
	return d.Directory.SetUserStatus(ctx, tenant, id, status)
}

// RemoveUser ends what goes on for the user.
func (d directory) RemoveUser(ctx context.Context, tenant, id string) error {
	defer d.gone(pipeline.Holder{Tenant: tenant, User: id})
	return d.Directory.RemoveUser(ctx, tenant, id)
}

// SetOrgStatus ends what goes on in an organisation that is not active any more.
func (d directory) SetOrgStatus(ctx context.Context, tenant string, status identity.Status) error {
	if status != identity.Active {
		defer d.gone(pipeline.Holder{Tenant: tenant})
	}
	return d.Directory.SetOrgStatus(ctx, tenant, status)
}

// CreateOrg makes an organisation and puts its bundle in force. Without one everything would be refused to it.
func (d directory) CreateOrg(ctx context.Context, tenant, name string) (identity.Org, error) {
	org, err := d.Directory.CreateOrg(ctx, tenant, name)
	if err != nil {
		return org, err
	}
	if err := d.bundles.start(ctx, tenant); err != nil {
		return org, fmt.Errorf("put policies in force: %w", err)
	}
	return org, nil
}

// serverList is the catalogue as the control port uses it: the tools of a server that is added or changed are read at once, and
// with one that is removed, the connections and sessions that were kept for it go too.
type serverList struct {
	*catalogue.Catalogue
	client *upstream.Client
	tokens *oauth.Broker
	look   func(ctx context.Context, tenant, name string)
}

// AddServer adds the server and looks at it.
func (l serverList) AddServer(ctx context.Context, tenant string, s catalogue.Server) error {
	if err := l.Catalogue.AddServer(ctx, tenant, s); err != nil {
		return err
	}
	l.look(ctx, tenant, s.Name)
	return nil
}

// UpdateServer changes the server and looks at it.
func (l serverList) UpdateServer(ctx context.Context, tenant string, s catalogue.Server) error {
	before, _ := l.Server(tenant, s.Name)
	if err := l.Catalogue.UpdateServer(ctx, tenant, s); err != nil {
		return err
	}
	if now, ok := l.Server(tenant, s.Name); ok && settings(now) != settings(before) && before.Auth != (catalogue.Auth{}) {
		if err := l.tokens.Forget(ctx, tenant, s.Name); err != nil {
			return err
		}
	}
	l.look(ctx, tenant, s.Name)
	return nil
}

// How long the first look at a server may take, and how much of that whoever added it waits for. What comes later stands in the
// server's health.
const (
	firstLook = 5 * time.Second
	firstWait = time.Second
)

// look reads the tools of a server that is new or has changed. That it does not answer, or stands where the gateway must not go, is
// for its health and the log: it is kept all the same.
func (g *Gateway) look(ctx context.Context, tenant, name string) {
	if s, ok := g.tools.Server(tenant, name); !ok || !s.Enabled || g.closing.Load() {
		return
	}
	seen := make(chan struct{})
	g.connectors.wg.Go(func() {
		defer close(seen)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(firstLook, g.o.Config.Catalogue.RefreshTimeout))
		defer cancel()
		if err := g.tools.Refresh(ctx, tenant, name); err != nil && !g.closing.Load() {
			g.o.Log.Warn("a server that was added or changed did not list its tools", "tenant", tenant, "server", name, "error", err)
		}
	})
	enough := time.NewTimer(firstWait)
	defer enough.Stop()
	select {
	case <-seen:
	case <-enough.C:
	case <-ctx.Done():
	}
}

// RemoveServer takes the server out of the catalogue and forgets it.
func (l serverList) RemoveServer(ctx context.Context, tenant, name string) error {
	if err := l.Catalogue.RemoveServer(ctx, tenant, name); err != nil {
		return err
	}
	l.client.Forget(tenant, name)
	return l.tokens.Forget(ctx, tenant, name)
}

// strangeAgent warns of an agent in the configuration that its organisation does not have: who is to be it has no access until then.
func (g *Gateway) strangeAgent(ctx context.Context, tenant, agent string, where ...any) {
	agents, err := g.people.Agents(ctx, tenant)
	if err != nil || slices.ContainsFunc(agents, func(a identity.Agent) bool { return a.ID == agent || a.Name == agent }) {
		return
	}
	g.o.Log.Warn("an agent that the configuration names does not exist; whoever is to be it is refused until it does (gatewright agent create), or its name is misspelt",
		append(where, "tenant", tenant, "agent", agent)...)
}

// configuredServers warns of configured servers and logins whose tenant does not exist yet: nobody can reach them until it
// does, or its name is misspelt.
func (g *Gateway) configuredServers(ctx context.Context) {
	for name, l := range g.o.Config.Logins {
		if _, err := g.people.Org(ctx, l.Tenant); err != nil {
			g.o.Log.Warn("a login belongs to an organisation that does not exist; nobody can sign in with it until it does, or its name is misspelt", "login", name, "tenant", l.Tenant)
		}
	}
	for name, s := range g.o.Config.AuthorizationServers {
		if _, err := g.people.Org(ctx, s.Tenant); err != nil {
			g.o.Log.Warn("an authorization server is trusted by an organisation that does not exist; its tokens open nothing until it does, or its name is misspelt", "authorization_server", name, "tenant", s.Tenant)
			continue
		}
		for client, agent := range pairs(s.Agents) {
			g.strangeAgent(ctx, s.Tenant, agent, "authorization_server", name, "client", client)
		}
	}
	for name, s := range g.o.Config.ClientCertificates {
		g.strangeAgent(ctx, s.Tenant, s.Agent, "client_certificate", name)
	}
	for name, s := range g.o.Config.Servers {
		if _, err := g.people.Org(ctx, s.Tenant); err != nil {
			g.o.Log.Warn("a configured server belongs to an organisation that does not exist; nobody can reach it, and its process, if it has one, is started only after a restart with the organisation there", "server", name, "tenant", s.Tenant)
		}
	}
}

// writeDemoEnv writes what a client needs to try the gateway, for the owner's eyes only, before the ready line.
func (g *Gateway) writeDemoEnv(s identity.Seeded) error {
	var b strings.Builder
	for _, v := range [][2]string{
		{"GATEWRIGHT_URL", g.URL()}, {"GATEWRIGHT_CONTROL_URL", g.ControlURL()},
		{"GATEWRIGHT_API_KEY", s.RuntimeKey}, {"GATEWRIGHT_ADMIN_KEY", s.AdminKey},
		{"BACKEND_ENDPOINT", g.URL()}, {"PROXY_ENDPOINT", g.URL()}, {"IAP_ENDPOINT", g.URL()},
		{"ARMORIQ_API_KEY", s.RuntimeKey}, {"USER_ID", s.User.ID}, {"AGENT_ID", s.Agent.ID},
		{"ARMORIQ_DASHBOARD_URL", g.URL()}, // where its command line lets people sign in
	} {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], v[1])
	}
	return g.dir.WriteFile("demo.env", []byte(b.String()), 0o600)
}

// announce tells people where the gateway serves and scripts that it does: the last line is the contract.
func (g *Gateway) announce() {
	if g.o.Config.Mode == "development" {
		env := g.dir.Join("demo.env")
		fmt.Fprintf(g.o.Out, `Gatewright %s, development mode: a demo tenant with working keys. Try it from another terminal:

  . %s
  gatewright plan --tool demo/calculate --arg 'expression=6*7'   # declare what you will do; prints the plan's id
  export GATEWRIGHT_INTENT=$(gatewright token PLAN_ID)
  gatewright call demo/calculate --arg 'expression=6*7'          # allowed: it is the plan's step
  gatewright call demo/calculate --arg 'expression=6*8'           # refused: it is not

`, g.o.Version, env)
	}
	fmt.Fprintf(g.o.Out, "gatewright ready listen=%s control=%s\n", g.URL(), g.ControlURL())
}
