package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/device"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/proxy/armoriq"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
)

// openLogins tells the directory whose JWTs sign people in.
func (g *Gateway) openLogins(context.Context) error {
	var list []identity.Login
	for name, l := range g.o.Config.Logins {
		in := identity.Login{
			Name: name, Tenant: l.Tenant, Issuer: l.Issuer, Audience: l.Audience, Algorithm: l.Algorithm,
			UserClaim: l.UserClaim, AgentClaim: l.AgentClaim, Agent: l.Agent, MaxAge: l.MaxAge, Leeway: g.o.Config.Intent.Leeway,
		}
		setting, file, into := "jwks_file", l.JWKSFile, &in.JWKS
		if file == "" {
			setting, file, into = "secret_file", l.SecretFile, &in.Secret
		}
		b, err := readSetting(setting, file)
		if err != nil {
			return g.misconfigured(fmt.Errorf("login %q: %w", name, err))
		}
		*into = b
		list = append(list, in)
	}
	g.proofs = identity.NewProofs(proofAge, proofEntries)
	if err := g.people.SetLogins(list); err != nil {
		return g.misconfigured(err)
	}
	return nil
}

// misconfigured is a mistake in the configuration that shows only when what it names is opened.
func (g *Gateway) misconfigured(err error) error {
	if file := g.o.Config.File; file != "" {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return &configError{err}
}

// readSetting reads the file that a setting names.
func readSetting(setting, file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		return b, nil
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if dir, bad := os.Getwd(); bad == nil && !filepath.IsAbs(file) {
		return nil, fmt.Errorf("%s %q: %w (it is looked for from the gateway's working folder, %s)", setting, file, err, dir)
	}
	return nil, fmt.Errorf("%s %q: %w", setting, file, err)
}

// A proof of possession is made for one request: a minute allows for clocks, and so many are remembered for that long.
const (
	proofAge     = time.Minute
	proofEntries = 1 << 17
)

// openApprovals opens what people decide: calls that are held, terms that are proposed, programs that sign in.
func (g *Gateway) openApprovals(ctx context.Context) error {
	c := g.o.Config.Approvals
	ac := approvals.DefaultConfig()
	ac.Required, ac.TTL, ac.Separate, ac.MaxOpen, ac.MaxAll, ac.Keep = c.Required, c.TTL, c.Separate, c.MaxOpen, c.MaxAll, c.Keep
	ac.Approver = c.Approver
	ac.Limits = map[string]string{"admin": c.AdminLimit, "manager": c.ManagerLimit, "member": c.MemberLimit}
	var err error
	g.approvals, err = approvals.Open(ctx, ac, approvals.Deps{Store: g.store, Ledger: g.ledger, Directory: approvers{g.people}, Now: g.o.Now, Rand: g.o.Rand})
	if err != nil {
		return err
	}
	if g.terms, err = terms.Open(ctx, terms.DefaultConfig(), terms.Deps{Store: g.store, Ledger: g.ledger, Now: g.o.Now, Rand: g.o.Rand}); err != nil {
		return err
	}
	if g.usage, err = usage.New(usage.DefaultConfig(), g.store, g.o.Now, g.o.Rand); err != nil {
		return err
	}
	g.devices, err = device.New(device.DefaultConfig(), g.o.Now, g.o.Rand)
	return err
}

// approvers is the directory as approvals look people up in it, at the moment of a decision.
type approvers struct{ people *identity.Directory }

// Role is the role of an active user.
func (a approvers) Role(ctx context.Context, tenant, user string) (string, error) {
	u, err := a.people.User(ctx, tenant, user)
	switch {
	case errors.Is(err, identity.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case u.Status != identity.Active:
		return "", nil
	}
	return strings.ToLower(string(u.Role)), nil
}

// Owner is who answers for an agent.
func (a approvers) Owner(ctx context.Context, tenant, agent string) (string, error) {
	found, err := a.people.Agent(ctx, tenant, agent)
	if errors.Is(err, identity.ErrNotFound) {
		return "", nil
	}
	return found.Owner, err
}

// overlays is what a tenant's profile lays over its bundle. One that cannot be read hides nothing here: each call is
// refused for it.
func (g *Gateway) overlays(tenant string) []*policies.Overlay {
	t, err := g.terms.Of(tenant, nil)
	if err != nil || t == nil {
		return nil
	}
	return t.Overlays
}

// armoriq is the dialect of ArmorIQ's clients.
func (g *Gateway) armoriq() *armoriq.Dialect {
	c := g.o.Config
	return &armoriq.Dialect{
		Line: g.line, Verifier: g.verifier, JSON: requestLimits(c.Proxy), Version: g.o.Version, Now: g.o.Now, Rand: g.o.Rand,
		Signer:   intent.Signer{Issuer: c.Intent.Issuer, KeyID: intentKeyID, Key: g.keys.intent},
		Settings: armoriq.Settings{Arguments: c.ArmorIQ.Arguments, Uses: c.ArmorIQ.Uses, Answers: c.ArmorIQ.Answers, TokenTTL: c.Intent.TokenTTL},
		Parts: armoriq.Parts{
			Catalogue: g.tools, Plans: g.plans, Policies: g.force, Terms: g.terms,
			Desk: g.desk(),
		},
	}
}

func (g *Gateway) desk() armoriq.Desk {
	a := g.o.Config.Approvals
	return armoriq.Desk{
		People: g.people, Approvals: g.approvals, Proposals: g.terms, Usage: g.usage, Devices: g.devices, Sources: stages.Sources{Limiter: g.sources},
		Limits: map[string]string{"admin": a.AdminLimit, "manager": a.ManagerLimit, "member": a.MemberLimit, "viewer": "0"},
	}
}

// words gives the addresses under /mcp that are ArmorIQ's words to that dialect, and all others to MCP.
type words struct {
	mcp     *mcp.Dialect
	armoriq *armoriq.Dialect
}

// Serve answers one request under /mcp.
func (w words) Serve(x *proxy.Exchange) {
	if armoriq.Serves(x.Path) {
		w.armoriq.Serve(x)
		return
	}
	w.mcp.Serve(x)
}
