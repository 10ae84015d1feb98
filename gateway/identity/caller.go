package identity

import (
	"github.com/gatewright/gatewright/gateway/identity/bearer"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
)

// Caller is the proof that a credential was shown and was good at that moment. Only Authenticate, AuthenticateJWT,
// AuthenticateToken, AuthenticateCertificate and AuthenticateHolder make one; the zero Caller is nobody. It is a pointer to what the snapshot holds, so it costs nothing to make or copy; a later revocation does not
// change it.
type Caller struct{ who *who }

// who is immutable.
type who struct {
	tenant, user, agent, key string
	session                  string
	kind                     Kind
	mode                     Mode
	role                     Role
	entity                   *entity
	token                    *bearer.Token // nil for other credentials
}

// entity is the holder as policy and the ledger see it: one a holder and snapshot, shared by its keys.
type entity struct {
	principal policies.Principal
	json      []byte // canonical
	digest    merkle.Hash
	proof     string // thumbprint of the agent's public key, empty for none
}

// Valid tells whether this is somebody.
func (c Caller) Valid() bool { return c.who != nil }

// Tenant is the organisation the key belongs to, empty for nobody.
func (c Caller) Tenant() string {
	if c.who == nil {
		return ""
	}
	return c.who.tenant
}

// User is the holder of a management key, the owner of the agent that holds a runtime key, or who signed in with a login.
func (c Caller) User() string {
	if c.who == nil {
		return ""
	}
	return c.who.user
}

// Agent is the holder of a runtime key; empty for a management key.
func (c Caller) Agent() string {
	if c.who == nil {
		return ""
	}
	return c.who.agent
}

// KeyID names the key, the login as "login:NAME", the authorization server as "oauth:NAME", or the certificate as "cert:NAME".
func (c Caller) KeyID() string {
	if c.who == nil {
		return ""
	}
	return c.who.key
}

// Token is the access token of an authorization server that was shown; nil for every other credential.
func (c Caller) Token() *bearer.Token {
	if c.who == nil {
		return nil
	}
	return c.who.token
}

// Session names the agent and its key together, or agent, user and login: upstreams keep a session for each.
func (c Caller) Session() string {
	if c.who == nil {
		return ""
	}
	return c.who.session
}

// Kind says which ports the key opens; empty for nobody.
func (c Caller) Kind() Kind {
	if c.who == nil {
		return ""
	}
	return c.who.kind
}

// Mode says whether the key calls itself live or test.
func (c Caller) Mode() Mode {
	if c.who == nil {
		return ""
	}
	return c.who.mode
}

// Role is the user's role for a management key. Agents have none, whatever their owner's role.
func (c Caller) Role() Role {
	if c.who == nil {
		return ""
	}
	return c.who.role
}

// Teams of the holder. The slice is shared: it must not be changed.
func (c Caller) Teams() []string {
	if c.who == nil {
		return nil
	}
	return c.who.entity.principal.Teams
}

// Trust of the holder, 0 to MaxTrust.
func (c Caller) Trust() int64 {
	if c.who == nil {
		return 0
	}
	return c.who.entity.principal.Trust
}

// Principal is the holder as policy sees it: the same pointer until the holder changes. It must not be changed.
func (c Caller) Principal() *policies.Principal {
	if c.who == nil {
		return nil
	}
	return &c.who.entity.principal
}

// Snapshot is the digest of Entity.
func (c Caller) Snapshot() merkle.Hash {
	if c.who == nil {
		return merkle.Hash{}
	}
	return c.who.entity.digest
}

// Entity is the principal as canonical JSON (RFC 8785), for the ledger to keep once by its digest. The slice is shared:
// it must not be changed.
func (c Caller) Entity() []byte {
	if c.who == nil {
		return nil
	}
	return c.who.entity.json
}

// Thumbprint is the RFC 7638 thumbprint of the agent's registered Ed25519 key, empty when it has none and for users.
func (c Caller) Thumbprint() string {
	if c.who == nil {
		return ""
	}
	return c.who.entity.proof
}
