package identity

import (
	"context"
	"errors"
	"fmt"
)

// Seed is what a gateway needs before anybody can manage it.
type Seed struct {
	OrgName string // display name of the organisation, when it has to be made
	Admin   string // display name of its first admin
	Agent   string // display name of its first agent; empty makes none
	Mode    Mode   // of the keys
	// Reissue revokes the keys that earlier seeds made and makes new ones. Development does so at every start, because
	// demo.env must hold keys that work and no secret can be read back. Without it a key is made only where the holder
	// never had one.
	Reissue bool
}

// Seeded is what is there after Bootstrap. The key texts are empty when no key was made.
type Seeded struct {
	User       User
	Agent      Agent
	AdminKey   string
	RuntimeKey string
}

// seedKeyName marks the keys that Bootstrap made, so that it can take them back.
const seedKeyName = "bootstrap"

// Bootstrap makes sure that the tenant (the instance's own in production, a demo tenant in development) has an active
// admin and, when asked, an agent, each with a key. It can be repeated: what exists is left as it is, suspended
// organisations too, and an attempt that was cut short is finished by the next one.
func (d *Directory) Bootstrap(ctx context.Context, tenant string, seed Seed) (Seeded, error) {
	if _, err := d.createOrg(ctx, tenant, seed.OrgName); err != nil && !errors.Is(err, ErrExists) {
		return Seeded{}, fmt.Errorf("bootstrap %s: %w", tenant, err)
	}
	out, err := d.seedHolders(ctx, tenant, seed)
	if err != nil {
		return Seeded{}, fmt.Errorf("bootstrap %s: %w", tenant, err)
	}
	out.AdminKey, err = d.seedKey(ctx, tenant, seed, NewKey{Kind: Admin, User: out.User.ID})
	if err == nil && seed.Agent != "" {
		out.RuntimeKey, err = d.seedKey(ctx, tenant, seed, NewKey{Kind: Runtime, Agent: out.Agent.ID})
	}
	if err != nil {
		return Seeded{}, fmt.Errorf("bootstrap %s: %w", tenant, err)
	}
	return out, nil
}

// seedHolders finds or makes the admin and the agent.
func (d *Directory) seedHolders(ctx context.Context, tenant string, seed Seed) (out Seeded, err error) {
	users, err := d.Users(ctx, tenant)
	if err != nil {
		return out, err
	}
	for _, u := range users {
		if isActiveAdmin(&u) && (out.User.ID == "" || u.Name == seed.Admin && out.User.Name != seed.Admin) {
			out.User = u
		}
	}
	if out.User.ID == "" {
		if out.User, err = d.CreateUser(ctx, tenant, NewUser{Name: seed.Admin, Role: RoleAdmin}); err != nil {
			return out, err
		}
	}
	if seed.Agent == "" {
		return out, nil
	}
	agents, err := d.Agents(ctx, tenant)
	if err != nil {
		return out, err
	}
	for _, a := range agents {
		if a.Name == seed.Agent && a.Ended.IsZero() {
			out.Agent = a
			return out, nil
		}
	}
	out.Agent, err = d.CreateAgent(ctx, tenant, NewAgent{Name: seed.Agent, Owner: out.User.ID})
	return out, err
}

// seedKey makes the holder's key where the seed asks for one.
func (d *Directory) seedKey(ctx context.Context, tenant string, seed Seed, n NewKey) (string, error) {
	keys, err := d.Keys(ctx, tenant)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if k.Kind != n.Kind {
			continue
		}
		if !seed.Reissue {
			if k.Holder() == n.Agent+n.User {
				return "", nil
			}
			continue
		}
		if k.Name == seedKeyName && k.Ended.IsZero() {
			if err := d.RevokeKey(ctx, tenant, k.ID); err != nil {
				return "", err
			}
		}
	}
	n.Name, n.Mode = seedKeyName, seed.Mode
	_, text, err := d.CreateKey(ctx, tenant, n)
	return text, err
}
