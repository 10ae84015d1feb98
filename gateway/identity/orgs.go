package identity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gatewright/gatewright/store"
)

// CreateOrg makes an organisation with nobody in it. Tenant names are never given twice, since organisations do not go.
func (d *Directory) CreateOrg(ctx context.Context, tenant, name string) (Org, error) {
	if tenant == store.Instance {
		return Org{}, fmt.Errorf("create organisation: this name is the gateway's own: %w", ErrInvalid)
	}
	return d.createOrg(ctx, tenant, name)
}

func (d *Directory) createOrg(ctx context.Context, tenant, name string) (Org, error) {
	if err := store.CheckTenant(tenant); err != nil {
		return Org{}, fmt.Errorf("create organisation: tenant must match [a-z0-9][a-z0-9-]{0,62}: %w", ErrInvalid)
	}
	if err := checkName("name", name); err != nil {
		return Org{}, fmt.Errorf("create organisation: %w", err)
	}
	d.writer.Lock()
	defer d.writer.Unlock()
	if d.tenants[tenant] != nil {
		return Org{}, fmt.Errorf("create organisation %s: %w", tenant, ErrExists)
	}
	count := len(d.tenants)
	if d.tenants[store.Instance] != nil {
		count--
	}
	if tenant != store.Instance && count >= d.config.MaxOrganisations {
		return Org{}, fmt.Errorf("create organisation: %d exist: %w", d.config.MaxOrganisations, ErrLimit)
	}
	org := Org{Tenant: tenant, Name: name, Status: Active, Created: d.now().UTC()}
	saved, err := save(ctx, d, store.Instance, orgTable, tenant, org, 0)
	if err != nil {
		_ = d.heal(context.WithoutCancel(ctx), tenant)
		return Org{}, fmt.Errorf("create organisation %s: %w", tenant, err)
	}
	d.install(tenant, newTenant(org, saved.version))
	return org, nil
}

// Org returns the tenant's own organisation.
func (d *Directory) Org(ctx context.Context, tenant string) (org Org, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error { org = t.org; return nil })
	return org, err
}

// Orgs lists what the tenant may see: its own organisation, or all of them for the instance.
func (d *Directory) Orgs(ctx context.Context, tenant string) ([]Org, error) {
	if tenant != store.Instance {
		org, err := d.Org(ctx, tenant)
		return []Org{org}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make([]Org, 0, len(d.tenants))
	for _, name := range slices.Sorted(maps.Keys(d.tenants)) {
		all = append(all, d.tenants[name].org)
	}
	return all, nil
}

// SuspendOrg refuses all keys of an organisation from now on. The instance cannot be suspended: nobody could undo it.
func (d *Directory) SuspendOrg(ctx context.Context, tenant string) error {
	return d.SetOrgStatus(ctx, tenant, Suspended)
}

// SetOrgStatus makes an organisation active or suspended.
func (d *Directory) SetOrgStatus(ctx context.Context, tenant string, status Status) error {
	if status != Active && status != Suspended || tenant == store.Instance {
		return fmt.Errorf("set organisation status: only active and suspended, and not of the gateway's own: %w", ErrInvalid)
	}
	err := d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		if t.org.Status == status {
			return nil, nil
		}
		org := t.org
		org.Status = status
		saved, err := save(ctx, d, store.Instance, orgTable, tenant, org, t.orgVersion)
		if err != nil {
			return nil, err
		}
		return func() map[string]*entry {
			t.org, t.orgVersion = org, saved.version
			return t.entries(anyKey)
		}, nil
	})
	return doing("set organisation status", err)
}

// Teams lists the teams that users and agents of the tenant are in.
func (d *Directory) Teams(ctx context.Context, tenant string) (teams []string, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		seen := map[string]bool{}
		for _, u := range t.users {
			for _, team := range u.value.Teams {
				seen[team] = true
			}
		}
		for _, a := range t.agents {
			for _, team := range a.value.Teams {
				seen[team] = true
			}
		}
		teams = slices.Sorted(maps.Keys(seen))
		return nil
	})
	return teams, err
}

// doing says what was being done when err is not nil.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%s: %w", what, ErrNotFound) // in the same words, whatever was not found
	}
	return fmt.Errorf("%s: %w", what, err)
}
