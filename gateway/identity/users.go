package identity

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// NewUser is what a user is made of.
type NewUser struct {
	Name  string // shown to people; 1 to 128 bytes
	Email string // optional; nobody else's in the organisation, letters A to Z taken for small ones
	Role  Role
	Teams []string // at most 32
}

// CreateUser adds a person.
func (d *Directory) CreateUser(ctx context.Context, tenant string, n NewUser) (user User, err error) {
	user = User{Name: n.Name, Email: n.Email, Role: n.Role, Status: Active, Created: d.now().UTC()}
	if user.Teams, err = words("teams", n.Teams, maxTeams); err != nil {
		return User{}, doing("create user", err)
	}
	if err := firstError(checkName("name", n.Name), checkEmail(n.Email), checkRole(n.Role)); err != nil {
		return User{}, doing("create user", err)
	}
	if user.ID, err = newID("usr_", d.now(), d.rand); err != nil {
		return User{}, doing("create user", err)
	}
	err = d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		drop, live := surplus(t.users, func(u *User) time.Time { return u.Ended })
		if live >= d.config.MaxUsers {
			return nil, fmt.Errorf("%d users: %w", live, ErrLimit)
		}
		if n.Email != "" && len(t.emails[lower(n.Email)]) > 0 {
			return nil, fmt.Errorf("a user with this email: %w", ErrExists)
		}
		return d.saveUser(ctx, t, user, 0, drop...)
	})
	if err != nil {
		return User{}, doing("create user", err)
	}
	return user.copy(), nil
}

// User returns one person, removed ones too.
func (d *Directory) User(ctx context.Context, tenant, id string) (user User, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		u, err := found(t.users, id)
		if err == nil {
			user = u.value.copy()
		}
		return err
	})
	return user, doing("user", err)
}

// Users lists people, removed ones too, oldest first.
func (d *Directory) Users(ctx context.Context, tenant string) (users []User, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		users = list(t.users)
		for i := range users {
			users[i] = users[i].copy()
		}
		return nil
	})
	return users, doing("users", err)
}

// SetRole gives a person another role, also for keys in use. The last active admin keeps theirs.
func (d *Directory) SetRole(ctx context.Context, tenant, id string, role Role) error {
	if err := checkRole(role); err != nil {
		return doing("set role", err)
	}
	return doing("set role", d.editUser(ctx, tenant, id, func(u *User) { u.Role = role }))
}

// SetTeams puts a person into these teams and no others.
func (d *Directory) SetTeams(ctx context.Context, tenant, id string, teams []string) error {
	sorted, err := words("teams", teams, maxTeams)
	if err != nil {
		return doing("set teams", err)
	}
	return doing("set teams", d.editUser(ctx, tenant, id, func(u *User) { u.Teams = sorted }))
}

// SetUserStatus suspends a person, or lets them act again. Their keys and the agents they answer for follow.
func (d *Directory) SetUserStatus(ctx context.Context, tenant, id string, status Status) error {
	if status != Active && status != Suspended {
		return doing("set user status", fmt.Errorf("only active and suspended: %w", ErrInvalid))
	}
	return doing("set user status", d.editUser(ctx, tenant, id, func(u *User) { u.Status = status }))
}

// RemoveUser ends a person's place in the organisation for good. Their keys are refused, and their agents too until
// somebody else answers for them (SetAgentOwner). Removing twice is nil.
func (d *Directory) RemoveUser(ctx context.Context, tenant, id string) error {
	if u, err := d.User(ctx, tenant, id); err == nil && u.Status == Revoked {
		return nil
	}
	return doing("remove user", d.editUser(ctx, tenant, id, func(u *User) { u.Status, u.Ended = Revoked, d.now().UTC() }))
}

// editUser changes one person unless that leaves the organisation without an active admin.
func (d *Directory) editUser(ctx context.Context, tenant, id string, edit func(*User)) error {
	return d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		u, err := found(t.users, id)
		if err != nil {
			return nil, err
		}
		if u.value.Status == Revoked {
			return nil, ErrFinal
		}
		next := u.value.copy()
		edit(&next)
		if next.Role == u.value.Role && next.Status == u.value.Status && slices.Equal(next.Teams, u.value.Teams) {
			return nil, nil
		}
		if isActiveAdmin(&u.value) && !isActiveAdmin(&next) && t.activeAdmins() == 1 {
			return nil, ErrLastAdmin
		}
		return d.saveUser(ctx, t, next, u.version)
	})
}

// saveUser commits one person and returns how to apply it: to the person's own keys and to those of their agents.
func (d *Directory) saveUser(ctx context.Context, t *tenantRows, user User, at uint64, drop ...string) (func() map[string]*entry, error) {
	described, err := t.describe(user.ID, nil, &user)
	if err != nil {
		return nil, err
	}
	saved, err := save(ctx, d, t.org.Tenant, userTable, user.ID, user, at, drop...)
	if err != nil {
		return nil, err
	}
	return func() map[string]*entry {
		for _, old := range drop {
			delete(t.users, old)
			delete(t.entities, old)
		}
		if before := t.users[user.ID]; before != nil {
			t.index(&before.value, nil)
		}
		t.index(nil, &user)
		t.users[user.ID], t.entities[user.ID] = saved, described
		return t.entries(func(k *keyRow) bool {
			if k.Kind == Admin {
				return k.User == user.ID
			}
			a := t.agents[k.Agent]
			return a != nil && a.value.Owner == user.ID
		})
	}, nil
}

func isActiveAdmin(u *User) bool { return u.Role == RoleAdmin && u.Status == Active }

func (t *tenantRows) activeAdmins() (n int) {
	for _, u := range t.users {
		if isActiveAdmin(&u.value) {
			n++
		}
	}
	return n
}

func (u User) copy() User {
	u.Teams = slices.Clone(u.Teams)
	return u
}

func found[T any](rows map[string]*row[T], id string) (*row[T], error) {
	if r := rows[id]; r != nil {
		return r, nil
	}
	return nil, ErrNotFound
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
