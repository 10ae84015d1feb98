// Package identity knows the organisations, people, agents and API keys of a gateway, and turns a key as shown into a
// Caller: the proof of who calls, for which tenant.
//
// The rows are kept in a store.Store, each tenant's behind its own fence; only the list of organisations lies with the
// instance. All of it also stands in memory, because Authenticate is on every call's way and asks no disk. A change is
// durable first, then published to Authenticate, then answered: a revocation that returned nil has reached every later
// call. A change whose commit failed is read back before anything else happens; while that is not possible the tenant's
// keys are refused, since nobody can tell what is in force.
//
// Every read and write names its tenant first, and another tenant's id is ErrNotFound in the same words as an unknown one.
package identity

import (
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	ErrNotFound  = store.ErrNotFound // no such tenant, user, agent or key in this tenant
	ErrConflict  = store.ErrConflict // somebody else changed the row; read again
	ErrInvalid   = errors.New("invalid")
	ErrExists    = errors.New("already exists")
	ErrLimit     = errors.New("limit reached")
	ErrLastAdmin = errors.New("the last active admin of an organisation cannot be removed, suspended or given another role")
	ErrFinal     = errors.New("revoked and removed are final")
	ErrPepper    = errors.New("the key pepper is not the one this data folder was made with")
)

// Kind is which ports a key opens. Runtime keys belong to agents, admin keys to users; neither opens what the other does.
type Kind string

// The kinds.
const (
	Runtime Kind = "runtime"
	Admin   Kind = "admin"
)

// Mode is what a key says about its own purpose. Both work alike; scanners and people tell them apart by their text.
type Mode string

// The modes.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// Role is what a user may do in the organisation. Agents have none.
type Role string

// The four roles, from the most to the least.
const (
	RoleAdmin   Role = "Admin"   // everything, keys of others included
	RoleManager Role = "Manager" // agents, runtime keys, plans, revocations
	RoleMember  Role = "Member"  // own agents
	RoleViewer  Role = "Viewer"  // reading
)

// Status is whether an entity may act. Only Active does; the others differ in what can become of them.
type Status string

// The statuses.
const (
	Active    Status = "active"
	Pending   Status = "pending"   // registered, not yet let in (agents)
	Suspended Status = "suspended" // may become active again
	Revoked   Status = "revoked"   // final; for a user: removed
)

// Org is an organisation. Its tenant name is its id.
type Org struct {
	Tenant  string
	Name    string
	Status  Status
	Created time.Time
}

// User is a person of an organisation.
type User struct {
	ID      string // usr_...
	Name    string
	Email   string // may be empty
	Role    Role
	Teams   []string // sorted
	Status  Status
	Created time.Time
	Ended   time.Time // when removed
}

// Agent is a program that calls tools and models for its owner.
type Agent struct {
	ID        string // agt_...
	Name      string
	Owner     string            // usr_..., the person who answers for it; when that person may not act, neither may the agent
	Teams     []string          // sorted
	TalksTo   []string          // servers it is confined to, sorted; empty means no confinement
	Labels    []string          // sorted
	PublicKey ed25519.PublicKey // nil when it has none
	Trust     int64             // 0 to 1000
	Status    Status
	Created   time.Time
	Ended     time.Time // when revoked
}

// Key describes an API key; its secret was shown once and is not kept.
type Key struct {
	ID      string // key_...
	Name    string
	Kind    Kind
	Mode    Mode
	Agent   string // holder of a runtime key
	User    string // holder of an admin key
	Created time.Time
	Expires time.Time // zero: no end
	Ended   time.Time // when revoked
}

// Holder is the agent or user the key belongs to.
func (k Key) Holder() string {
	if k.Kind == Runtime {
		return k.Agent
	}
	return k.User
}

// MaxTrust is the most an agent can be trusted; new agents stand in the middle, people are not scored and have all of it.
const (
	MaxTrust     = 1000
	initialTrust = 500
)
