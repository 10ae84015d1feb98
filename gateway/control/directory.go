package control

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
)

// Directory is what this port needs of the organisations, people, agents and keys. The tenant is an argument of every
// method; an id of another tenant is identity.ErrNotFound. What returned nil is durable and in force.
type Directory interface {
	Authenticator
	Organisations
	Users
	UserChanges
	Agents
	AgentChanges
	Keys
}

var _ Directory = (*identity.Directory)(nil)

// Authenticator turns a raw key into a caller, or refuses with one outward answer whatever the reason.
type Authenticator interface {
	Authenticate(key []byte, now time.Time) (identity.Caller, error)
}

// Organisations are the tenants. Orgs shows the gateway's own tenant all of them, and everybody else its own.
type Organisations interface {
	CreateOrg(ctx context.Context, tenant, name string) (identity.Org, error)
	Org(ctx context.Context, tenant string) (identity.Org, error)
	Orgs(ctx context.Context, tenant string) ([]identity.Org, error)
	SetOrgStatus(ctx context.Context, tenant string, status identity.Status) error
}

// Users are people with a role.
type Users interface {
	CreateUser(ctx context.Context, tenant string, n identity.NewUser) (identity.User, error)
	User(ctx context.Context, tenant, id string) (identity.User, error)
	Users(ctx context.Context, tenant string) ([]identity.User, error)
}

// UserChanges are what may become of a user. The last active admin stays: identity.ErrLastAdmin.
type UserChanges interface {
	SetRole(ctx context.Context, tenant, id string, role identity.Role) error
	SetUserStatus(ctx context.Context, tenant, id string, status identity.Status) error
	RemoveUser(ctx context.Context, tenant, id string) error
}

// Agents are programs with an owner.
type Agents interface {
	CreateAgent(ctx context.Context, tenant string, n identity.NewAgent) (identity.Agent, error)
	Agent(ctx context.Context, tenant, id string) (identity.Agent, error)
	Agents(ctx context.Context, tenant string) ([]identity.Agent, error)
}

// AgentChanges are what may become of an agent.
type AgentChanges interface {
	SetAgentStatus(ctx context.Context, tenant, id string, status identity.Status) error
	SetAgentOwner(ctx context.Context, tenant, id, owner string) error
	RotateAgentKey(ctx context.Context, tenant, id string, key ed25519.PublicKey) error
}

// Keys are API keys. The text of a new one is returned once.
type Keys interface {
	CreateKey(ctx context.Context, tenant string, n identity.NewKey) (identity.Key, string, error)
	Key(ctx context.Context, tenant, id string) (identity.Key, error)
	Keys(ctx context.Context, tenant string) ([]identity.Key, error)
	RevokeKey(ctx context.Context, tenant, id string) error
}
