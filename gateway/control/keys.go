package control

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
)

// key describes an API key without the key itself, of which only a keyed hash is kept.
type key struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Kind    string     `json:"kind" enum:"runtime,admin"`
	Mode    string     `json:"mode" enum:"live,test"`
	Agent   string     `json:"agent,omitempty"`
	User    string     `json:"user,omitempty"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty"`
	Ended   *time.Time `json:"ended,omitempty" doc:"when it was revoked"`
}

// keyShown is a new key with its secret: the only answer that ever holds one.
type keyShown struct {
	Key    key    `json:"key"`
	Secret string `json:"secret" doc:"the key itself, shown this once"`
}

type keyShownOut struct{ Body keyShown }

type keyPath struct {
	ID string `path:"id" pattern:"^key_[0-9a-z]{1,32}$" maxLength:"36"`
}

// createKeyIn makes runtime keys only: the kind is the route's, not the body's, so that the route table decides who may.
type createKeyIn struct {
	Body struct {
		Agent   string     `json:"agent" pattern:"^agt_[0-9a-z]{1,32}$" doc:"the agent that will hold it"`
		Name    string     `json:"name" minLength:"1" maxLength:"128"`
		Mode    string     `json:"mode,omitempty" enum:"live,test" doc:"default live"`
		Expires *time.Time `json:"expires,omitempty" doc:"default: as configured"`
	}
}

type createManagementKeyIn struct {
	ID   string `path:"id" pattern:"^usr_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Name    string     `json:"name" minLength:"1" maxLength:"128"`
		Mode    string     `json:"mode,omitempty" enum:"live,test" doc:"default live"`
		Expires *time.Time `json:"expires,omitempty" doc:"default: as configured"`
	}
}

func (m *mounting) keys() {
	handle(m, "list-keys", func(ctx context.Context, c *call, in *listing) (*paged[key], error) {
		all, err := m.api.deps.Directory.Keys(ctx, c.caller.Tenant())
		if err != nil {
			return nil, err
		}
		if all, err = m.api.ownKeys(ctx, c, all); err != nil {
			return nil, err
		}
		return paginate(c, *in, all, func(k *identity.Key) string { return k.ID }, shapeKey)
	})
	handle(m, "create-key", func(ctx context.Context, c *call, in *createKeyIn) (*keyShownOut, error) {
		c.note("agent", in.Body.Agent)
		if err := m.api.owned(ctx, c, in.Body.Agent); err != nil {
			return nil, err
		}
		return m.api.createKey(ctx, c, identity.NewKey{Kind: identity.Runtime, Agent: in.Body.Agent, Name: in.Body.Name}, in.Body.Mode, in.Body.Expires)
	})
	handle(m, "create-management-key", func(ctx context.Context, c *call, in *createManagementKeyIn) (*keyShownOut, error) {
		c.note("user", in.ID)
		return m.api.createKey(ctx, c, identity.NewKey{Kind: identity.Admin, User: in.ID, Name: in.Body.Name}, in.Body.Mode, in.Body.Expires)
	})
	handle(m, "revoke-key", func(ctx context.Context, c *call, in *keyPath) (*none, error) {
		return nil, m.api.revokeKey(ctx, c, in.ID)
	})
}

// ownKeys narrows a Member's list to its own keys and those of the agents it owns.
func (a *API) ownKeys(ctx context.Context, c *call, all []identity.Key) ([]identity.Key, error) {
	if c.caller.Role() != identity.RoleMember {
		return all, nil
	}
	agents, err := a.deps.Directory.Agents(ctx, c.caller.Tenant())
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{c.caller.User(): true}
	for i := range agents {
		if agents[i].Owner == c.caller.User() {
			mine[agents[i].ID] = true
		}
	}
	delete(mine, "")
	return slices.DeleteFunc(slices.Clone(all), func(k identity.Key) bool { return !mine[k.Holder()] }), nil
}

// createKey makes a key and answers with its text, which nothing in this process keeps.
func (a *API) createKey(ctx context.Context, c *call, wish identity.NewKey, mode string, expires *time.Time) (*keyShownOut, error) {
	wish.Mode = identity.Mode(mode)
	if expires != nil {
		wish.Expires = *expires
	}
	made, secret, err := a.deps.Directory.CreateKey(ctx, c.caller.Tenant(), wish)
	if err != nil {
		return nil, err
	}
	c.target = made.ID
	c.note("kind", string(made.Kind))
	return &keyShownOut{Body: keyShown{shapeKey(&made), secret}}, nil
}

// revokeKey is the one place where a row of the route table does not decide alone: whoever could revoke any management
// key could lock the admins out, so below Admin it must be one's own; and a Member reaches the keys of its own agents.
func (a *API) revokeKey(ctx context.Context, c *call, id string) error {
	k, err := a.deps.Directory.Key(ctx, c.caller.Tenant(), id)
	if err != nil {
		return err
	}
	c.note("kind", string(k.Kind))
	switch {
	case k.Kind == identity.Runtime:
		if err := a.owned(ctx, c, k.Agent); err != nil {
			return err
		}
	case c.caller.Role() != identity.RoleAdmin && (c.caller.User() == "" || k.User != c.caller.User()):
		return refuse(http.StatusForbidden, "role_denied", "a management key of somebody else needs an Admin", "ask an Admin")
	}
	return a.deps.Directory.RevokeKey(ctx, c.caller.Tenant(), id)
}

func shapeKey(k *identity.Key) key {
	return key{
		ID: k.ID, Name: k.Name, Kind: string(k.Kind), Mode: string(k.Mode), Agent: k.Agent, User: k.User,
		Created: k.Created, Expires: moment(k.Expires), Ended: moment(k.Ended),
	}
}
