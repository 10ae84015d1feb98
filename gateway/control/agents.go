package control

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
)

// agent is an agent as answered; revoked ones stay listed with their end.
type agent struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Owner     string     `json:"owner" doc:"the user who answers for it"`
	Teams     []string   `json:"teams" nullable:"false"`
	TalksTo   []string   `json:"talks_to" nullable:"false" doc:"servers it is confined to; empty means no confinement"`
	Labels    []string   `json:"labels" nullable:"false"`
	PublicKey string     `json:"public_key,omitempty" doc:"Ed25519, base64url without padding"`
	Trust     int64      `json:"trust" doc:"0 to 1000"`
	Status    string     `json:"status" enum:"active,pending,suspended,revoked"`
	Created   time.Time  `json:"created"`
	Ended     *time.Time `json:"ended,omitempty"`
}

type agentOut struct{ Body agent }

type agentPath struct {
	ID string `path:"id" pattern:"^agt_[0-9a-z]{1,32}$" maxLength:"36"`
}

type createAgentIn struct {
	Body struct {
		Name      string   `json:"name" minLength:"1" maxLength:"128"`
		Owner     string   `json:"owner,omitempty" pattern:"^usr_[0-9a-z]{1,32}$" doc:"default: the caller"`
		Teams     []string `json:"teams,omitempty" maxItems:"32" nullable:"false"`
		TalksTo   []string `json:"talks_to,omitempty" maxItems:"256" nullable:"false"`
		Labels    []string `json:"labels,omitempty" maxItems:"32" nullable:"false"`
		PublicKey string   `json:"public_key,omitempty" minLength:"43" maxLength:"64" doc:"Ed25519: 43 characters of base64url without padding, or 64 of hex"`
	}
}

// setAgentStatusIn: pending is where an agent begins and never where it is put.
type setAgentStatusIn struct {
	ID   string `path:"id" pattern:"^agt_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Status string `json:"status" enum:"active,suspended,revoked"`
	}
}

type setAgentOwnerIn struct {
	ID   string `path:"id" pattern:"^agt_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Owner string `json:"owner" pattern:"^usr_[0-9a-z]{1,32}$" doc:"an active user of the organisation"`
	}
}

type rotateAgentKeyIn struct {
	ID   string `path:"id" pattern:"^agt_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		PublicKey string `json:"public_key" minLength:"43" maxLength:"64" doc:"Ed25519: 43 characters of base64url without padding, or 64 of hex"`
	}
}

func (m *mounting) agents() {
	handle(m, "list-agents", func(ctx context.Context, c *call, in *listing) (*paged[agent], error) {
		all, err := m.api.deps.Directory.Agents(ctx, c.caller.Tenant())
		if err != nil {
			return nil, err
		}
		return paginate(c, *in, all, func(a *identity.Agent) string { return a.ID }, shapeAgent)
	})
	handle(m, "create-agent", m.api.createAgent)
	handle(m, "get-agent", func(ctx context.Context, c *call, in *agentPath) (*agentOut, error) {
		return m.api.readAgent(ctx, c, in.ID)
	})
	handle(m, "set-agent-status", func(ctx context.Context, c *call, in *setAgentStatusIn) (*agentOut, error) {
		c.note("status", in.Body.Status)
		if err := m.api.deps.Directory.SetAgentStatus(ctx, c.caller.Tenant(), in.ID, identity.Status(in.Body.Status)); err != nil {
			return nil, err
		}
		return m.api.readAgent(ctx, c, in.ID)
	})
	handle(m, "set-agent-owner", func(ctx context.Context, c *call, in *setAgentOwnerIn) (*agentOut, error) {
		c.note("owner", in.Body.Owner)
		if err := m.api.deps.Directory.SetAgentOwner(ctx, c.caller.Tenant(), in.ID, in.Body.Owner); err != nil {
			return nil, err
		}
		return m.api.readAgent(ctx, c, in.ID)
	})
	handle(m, "rotate-agent-key", m.api.rotateAgentKey)
}

// createAgent registers an agent that its caller answers for, unless another user is named.
func (a *API) createAgent(ctx context.Context, c *call, in *createAgentIn) (*agentOut, error) {
	public, err := publicKey(in.Body.PublicKey)
	if err != nil {
		return nil, err
	}
	owner := in.Body.Owner
	if owner == "" {
		owner = c.caller.User()
	}
	c.note("owner", owner)
	agent, err := a.deps.Directory.CreateAgent(ctx, c.caller.Tenant(), identity.NewAgent{
		Name: in.Body.Name, Owner: owner, Teams: in.Body.Teams, TalksTo: in.Body.TalksTo, Labels: in.Body.Labels, PublicKey: public,
	})
	if err != nil {
		return nil, err
	}
	c.target = agent.ID
	return &agentOut{Body: shapeAgent(&agent)}, nil
}

func (a *API) readAgent(ctx context.Context, c *call, id string) (*agentOut, error) {
	agent, err := a.deps.Directory.Agent(ctx, c.caller.Tenant(), id)
	if err != nil {
		return nil, err
	}
	return &agentOut{Body: shapeAgent(&agent)}, nil
}

func (a *API) rotateAgentKey(ctx context.Context, c *call, in *rotateAgentKeyIn) (*agentOut, error) {
	public, err := publicKey(in.Body.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := a.owned(ctx, c, in.ID); err != nil {
		return nil, err
	}
	if err := a.deps.Directory.RotateAgentKey(ctx, c.caller.Tenant(), in.ID, public); err != nil {
		return nil, err
	}
	return a.readAgent(ctx, c, in.ID)
}

// owned holds a Member to the agents it answers for; above that, any agent of the tenant will do.
func (a *API) owned(ctx context.Context, c *call, agentID string) error {
	agent, err := a.deps.Directory.Agent(ctx, c.caller.Tenant(), agentID)
	if err != nil {
		return err
	}
	if c.caller.Role() == identity.RoleMember && (c.caller.User() == "" || agent.Owner != c.caller.User()) {
		return refuse(http.StatusForbidden, "role_denied", "a Member may do this for its own agents only", "ask the agent's owner, a Manager or an Admin")
	}
	return nil
}

// publicKey reads a key as sent, in base64url as this API answers or in hex as ArmorIQ's clients show it; empty is none.
func publicKey(text string) (ed25519.PublicKey, error) {
	if text == "" {
		return nil, nil
	}
	decode := base64.RawURLEncoding.Strict().DecodeString
	if len(text) == hex.EncodedLen(ed25519.PublicKeySize) { // no 32 bytes are that long in base64url
		decode = hex.DecodeString
	}
	raw, err := decode(text)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, refuse(http.StatusUnprocessableEntity, "request_invalid", "public_key is not 32 bytes in base64url without padding (43 characters) or in hex (64)", "")
	}
	return raw, nil
}

func shapeAgent(a *identity.Agent) agent {
	out := agent{
		ID: a.ID, Name: a.Name, Owner: a.Owner, Teams: strs(a.Teams), TalksTo: strs(a.TalksTo), Labels: strs(a.Labels),
		Trust: a.Trust, Status: string(a.Status), Created: a.Created, Ended: moment(a.Ended),
	}
	if len(a.PublicKey) > 0 {
		out.PublicKey = base64.RawURLEncoding.EncodeToString(a.PublicKey)
	}
	return out
}
