package identity

import (
	"context"
	"slices"
	"strings"
	"time"
)

// AuthenticateHolder makes the Caller that an intent token shown alone stands for, as of now: the key it was made for, or
// the login, must still be good, and agent and user be active and belong to it as they did. Every failure is
// ErrUnauthenticated with its Reason. The caller must have verified the token: nothing else proves that anybody is there.
func (d *Directory) AuthenticateHolder(tenant, agent, user, keyID string, now time.Time) (Caller, error) {
	name, isLogin := strings.CutPrefix(keyID, loginPrefix)
	if isLogin {
		return d.loginHolder(tenant, agent, user, name)
	}
	id := []byte(textID(keyID))
	if !isKeyID(id) || keyID != "key_"+string(id) {
		return Caller{}, refusedMalformed
	}
	e, known := d.snapshot.Load().find(id)
	switch {
	case !known:
		return Caller{}, refusedUnknown
	case e.refusal != nil:
		return Caller{}, e.refusal
	case e.expires != 0 && now.UnixNano() >= e.expires:
		return Caller{}, refusedExpired
	case e.who == nil:
		return Caller{}, refusedUncertain
	case e.who.kind != Runtime || e.who.tenant != tenant || e.who.agent != agent || e.who.user != user:
		return Caller{}, refusedHolder
	}
	return Caller{e.who}, nil
}

// loginHolder is AuthenticateHolder for what was asked for under a login. The login's agent may be another one by now.
func (d *Directory) loginHolder(tenant, agent, user, name string) (Caller, error) {
	set := d.logins.Load()
	if set == nil || set.names[name] == nil || set.names[name].Tenant != tenant {
		return Caller{}, refusedLogin
	}
	by, wanted := set.names[name], agent
	if by.AgentClaim == "" {
		wanted = by.Agent
	}
	w, refusal := d.visitor(by.Tenant, by.key, user, wanted, nil)
	switch {
	case refusal != nil:
		return Caller{}, refusal
	case w.agent != agent || w.user != user:
		return Caller{}, refusedHolder
	}
	return Caller{w}, nil
}

// visitor is the agent of a tenant, for a user of it; either may be named by id, the user by email, the agent by name; the
// user "" is the agent's owner. last is what the same names came to before, nil when nothing is known: it comes back while
// nothing changed.
func (d *Directory) visitor(tenant, key, user, agent string, last *who) (*who, *Refusal) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := d.tenants[tenant]
	switch {
	case t == nil:
		return nil, refusedOrg
	case t.uncertain:
		return nil, refusedUncertain
	case t.org.Status != Active:
		return nil, refusedOrg
	}
	a := t.program(agent, last)
	if a == nil {
		return nil, refusedNoAgent
	}
	if user == "" {
		user = a.Owner
	}
	u := t.person(user)
	if u == nil {
		return nil, refusedNoUser
	}
	if refusal := t.apart(u, a); refusal != nil {
		return nil, refusal
	}
	described := t.entities[a.ID]
	if last != nil && last.entity == described && last.user == u.ID {
		return last, nil
	}
	return &who{
		tenant: t.org.Tenant, user: u.ID, agent: a.ID, key: key, kind: Runtime, mode: Live, entity: described,
		session: a.ID + "/" + u.ID + "/" + key, // no key's session has two slashes
	}, nil
}

// apart is why a user and an agent may not act together; nil when they may.
func (t *tenantRows) apart(u *User, a *Agent) *Refusal {
	switch {
	case u.Status != Active:
		return refusedUser
	case a.Status != Active:
		return refusedAgent
	case !t.userActs(a.Owner):
		return refusedOwner
	case t.entities[a.ID] == nil:
		return refusedUncertain
	}
	return nil
}

// person finds a user by id, removed ones too, or by email.
func (t *tenantRows) person(text string) *User {
	if strings.HasPrefix(text, "usr_") {
		if u := t.users[text]; u != nil {
			return &u.value
		}
		return nil
	}
	return t.byEmail(text)
}

// byEmail finds the user with an email who is not removed. Letters A to Z are taken for small ones unless that leaves two.
func (t *tenantRows) byEmail(email string) *User {
	ids := t.emails[lower(email)]
	if email == "" || len(ids) == 0 {
		return nil
	}
	if len(ids) == 1 {
		return &t.users[ids[0]].value
	}
	for _, id := range ids {
		if u := &t.users[id].value; u.Email == email {
			return u
		}
	}
	return nil
}

// index keeps emails in step with a user's row: before and after the change, nil for none.
func (t *tenantRows) index(before, after *User) {
	if before != nil && before.Email != "" {
		key := lower(before.Email)
		if t.emails[key] = slices.DeleteFunc(slices.Clone(t.emails[key]), func(id string) bool { return id == before.ID }); len(t.emails[key]) == 0 {
			delete(t.emails, key)
		}
	}
	if after != nil && after.Email != "" && after.Ended.IsZero() {
		key := lower(after.Email)
		t.emails[key] = append(slices.Clone(t.emails[key]), after.ID)
	}
}

// program finds an agent by id, revoked ones too, or by the name it alone has.
func (t *tenantRows) program(text string, last *who) *Agent {
	if strings.HasPrefix(text, "agt_") {
		if a := t.agents[text]; a != nil {
			return &a.value
		}
		return nil
	}
	named := func(a *Agent) bool { return a.Name == text && a.Ended.IsZero() }
	if last != nil {
		if a := t.agents[last.agent]; a != nil && named(&a.value) {
			return &a.value
		}
	}
	for _, a := range t.agents {
		if named(&a.value) {
			return &a.value
		}
	}
	return nil
}

// UserByEmail returns the person with an email who is not removed. Letters A to Z are taken for small ones unless two
// people differ by nothing else.
func (d *Directory) UserByEmail(ctx context.Context, tenant, email string) (user User, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		u := t.byEmail(email)
		if u == nil {
			return ErrNotFound
		}
		user = u.copy()
		return nil
	})
	return user, doing("user by email", err)
}
