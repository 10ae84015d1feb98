package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"
)

// NewAgent is what an agent is made of.
type NewAgent struct {
	Name      string            // nobody else's in the organisation that is not revoked; 1 to 128 bytes
	Owner     string            // an active user of the organisation
	Teams     []string          // at most 32
	TalksTo   []string          // servers it is confined to, at most 256; empty means no confinement
	Labels    []string          // at most 32
	PublicKey ed25519.PublicKey // optional; no other agent's
	Status    Status            // empty means Active; Pending has to be activated before it may act
}

// CreateAgent registers an agent.
func (d *Directory) CreateAgent(ctx context.Context, tenant string, n NewAgent) (Agent, error) {
	agent, err := d.newAgent(n)
	if err != nil {
		return Agent{}, doing("create agent", err)
	}
	err = d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		drop, live := surplus(t.agents, func(a *Agent) time.Time { return a.Ended })
		if live >= d.config.MaxAgents {
			return nil, fmt.Errorf("%d agents: %w", live, ErrLimit)
		}
		for _, a := range t.agents {
			if a.value.Name == n.Name && a.value.Ended.IsZero() {
				return nil, fmt.Errorf("an agent with this name: %w", ErrExists)
			}
		}
		if err := t.checkNewPublicKey(agent.PublicKey); err != nil {
			return nil, err
		}
		if err := t.checkOwner(n.Owner); err != nil {
			return nil, err
		}
		return d.saveAgent(ctx, t, agent, 0, drop...)
	})
	if err != nil {
		return Agent{}, doing("create agent", err)
	}
	return agent.copy(), nil
}

// newAgent checks what can be checked without the tenant.
func (d *Directory) newAgent(n NewAgent) (agent Agent, err error) {
	agent = Agent{
		Name: n.Name, Owner: n.Owner, PublicKey: bytes.Clone(n.PublicKey), Trust: initialTrust, Status: n.Status, Created: d.now().UTC(),
	}
	if agent.Status == "" {
		agent.Status = Active
	}
	if agent.Status != Active && agent.Status != Pending {
		return agent, fmt.Errorf("a new agent is active or pending: %w", ErrInvalid)
	}
	if err := checkName("name", n.Name); err != nil {
		return agent, err
	}
	if n.PublicKey != nil {
		if err := checkPublicKey(n.PublicKey); err != nil {
			return agent, err
		}
	}
	if agent.Teams, err = words("teams", n.Teams, maxTeams); err != nil {
		return agent, err
	}
	if agent.TalksTo, err = words("talks_to", n.TalksTo, maxTalks); err != nil {
		return agent, err
	}
	if agent.Labels, err = words("labels", n.Labels, maxLabels); err != nil {
		return agent, err
	}
	agent.ID, err = newID("agt_", d.now(), d.rand)
	return agent, err
}

// Agent returns one agent, revoked ones too.
func (d *Directory) Agent(ctx context.Context, tenant, id string) (agent Agent, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		a, err := found(t.agents, id)
		if err == nil {
			agent = a.value.copy()
		}
		return err
	})
	return agent, doing("agent", err)
}

// Agents lists agents, revoked ones too, oldest first.
func (d *Directory) Agents(ctx context.Context, tenant string) (agents []Agent, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		agents = list(t.agents)
		for i := range agents {
			agents[i] = agents[i].copy()
		}
		return nil
	})
	return agents, doing("agents", err)
}

// SetAgentStatus activates, suspends or revokes an agent. Revoked is final; revoking twice is nil.
func (d *Directory) SetAgentStatus(ctx context.Context, tenant, id string, status Status) error {
	if status != Active && status != Suspended && status != Revoked {
		return doing("set agent status", fmt.Errorf("only active, suspended and revoked: %w", ErrInvalid))
	}
	if a, err := d.Agent(ctx, tenant, id); err == nil && a.Status == Revoked && status == Revoked {
		return nil
	}
	return doing("set agent status", d.editAgent(ctx, tenant, id, func(_ *tenantRows, a *Agent) error {
		a.Status = status
		if status == Revoked {
			a.Ended = d.now().UTC()
		}
		return nil
	}))
}

// SetAgentOwner lets another active user answer for an agent.
func (d *Directory) SetAgentOwner(ctx context.Context, tenant, id, owner string) error {
	return doing("set agent owner", d.editAgent(ctx, tenant, id, func(t *tenantRows, a *Agent) error {
		a.Owner = owner
		return t.checkOwner(owner)
	}))
}

// SetTrust says how far an agent is trusted, 0 to MaxTrust.
func (d *Directory) SetTrust(ctx context.Context, tenant, id string, trust int64) error {
	if trust < 0 || trust > MaxTrust {
		return doing("set trust", fmt.Errorf("trust must be 0 to %d: %w", MaxTrust, ErrInvalid))
	}
	return doing("set trust", d.editAgent(ctx, tenant, id, func(_ *tenantRows, a *Agent) error {
		a.Trust = trust
		return nil
	}))
}

// RotateAgentKey replaces an agent's Ed25519 public key.
func (d *Directory) RotateAgentKey(ctx context.Context, tenant, id string, key ed25519.PublicKey) error {
	if err := checkPublicKey(key); err != nil {
		return doing("rotate agent key", err)
	}
	return doing("rotate agent key", d.editAgent(ctx, tenant, id, func(t *tenantRows, a *Agent) error {
		a.PublicKey = bytes.Clone(key)
		return t.checkNewPublicKey(key)
	}))
}

// editAgent changes one agent that is not revoked.
func (d *Directory) editAgent(ctx context.Context, tenant, id string, edit func(*tenantRows, *Agent) error) error {
	return d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		a, err := found(t.agents, id)
		if err != nil {
			return nil, err
		}
		if a.value.Status == Revoked {
			return nil, ErrFinal
		}
		next := a.value.copy()
		if err := edit(t, &next); err != nil {
			return nil, err
		}
		return d.saveAgent(ctx, t, next, a.version)
	})
}

// saveAgent commits one agent and returns how to apply it to its keys.
func (d *Directory) saveAgent(ctx context.Context, t *tenantRows, agent Agent, at uint64, drop ...string) (func() map[string]*entry, error) {
	described, err := t.describe(agent.ID, &agent, nil)
	if err != nil {
		return nil, err
	}
	saved, err := save(ctx, d, t.org.Tenant, agentTable, agent.ID, agent, at, drop...)
	if err != nil {
		return nil, err
	}
	return func() map[string]*entry {
		for _, old := range drop {
			delete(t.agents, old)
			delete(t.entities, old)
		}
		t.agents[agent.ID], t.entities[agent.ID] = saved, described
		return t.entries(func(k *keyRow) bool { return k.Agent == agent.ID })
	}, nil
}

// checkNewPublicKey refuses a key that any agent of the tenant has, revoked ones too: a key that was taken away from one
// must not come back under another name.
func (t *tenantRows) checkNewPublicKey(key ed25519.PublicKey) error {
	if key == nil {
		return nil
	}
	for _, a := range t.agents {
		if bytes.Equal(a.value.PublicKey, key) {
			return fmt.Errorf("an agent with this public key: %w", ErrExists)
		}
	}
	return nil
}

func (t *tenantRows) checkOwner(id string) error {
	if !t.userActs(id) {
		return fmt.Errorf("owner must be an active user of the organisation: %w", ErrInvalid)
	}
	return nil
}

func (a Agent) copy() Agent {
	a.Teams, a.TalksTo, a.Labels = slices.Clone(a.Teams), slices.Clone(a.TalksTo), slices.Clone(a.Labels)
	a.PublicKey = bytes.Clone(a.PublicKey)
	return a
}
