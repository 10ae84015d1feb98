package control

import (
	"context"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/device"
)

// Devices is the desk where programs without a key sign in, as far as people decide about them here.
type Devices interface {
	Look(userCode string) (device.View, error)
	Approve(userCode string, g device.Grant) error
	Deny(userCode, tenant string) error
}

var _ Devices = (*device.Desk)(nil)

// noDevices stands in for a gateway where no program signs in.
type noDevices struct{}

func (noDevices) Look(string) (device.View, error)   { return device.View{}, device.ErrUnknown }
func (noDevices) Approve(string, device.Grant) error { return device.ErrUnknown }
func (noDevices) Deny(string, string) error          { return device.ErrUnknown }

// deviceCode is a sign-in as answered. What is granted is for the program alone.
type deviceCode struct {
	Code    string    `json:"code" doc:"as the program shows it"`
	State   string    `json:"state" enum:"pending,approved,denied"`
	Source  string    `json:"source,omitempty" doc:"address the program asked from: approve none but your own"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Agent   string    `json:"agent,omitempty" doc:"the agent whose key the program gets"`
	Key     string    `json:"key,omitempty" doc:"id of that key"`
}

type deviceCodeOut struct{ Body deviceCode }

type deviceCodePath struct {
	Code string `path:"code" pattern:"^[B-Z]{4}-[B-Z]{4}$" maxLength:"9"`
}

type approveDeviceIn struct {
	Code string `path:"code" pattern:"^[B-Z]{4}-[B-Z]{4}$" maxLength:"9"`
	Body struct {
		Agent string `json:"agent,omitempty" pattern:"^agt_[0-9a-z]{1,32}$" doc:"an agent there is; default: a new one"`
		Name  string `json:"name,omitempty" minLength:"1" maxLength:"128" doc:"of the new agent, which the caller answers for; default: named for the code"`
	}
}

func (m *mounting) devices() {
	handle(m, "get-device-code", func(_ context.Context, c *call, in *deviceCodePath) (*deviceCodeOut, error) {
		return m.api.readDevice(c, in.Code)
	})
	handle(m, "approve-device-code", m.api.approveDevice)
	handle(m, "deny-device-code", func(_ context.Context, c *call, in *deviceCodePath) (*deviceCodeOut, error) {
		if _, err := m.api.readDevice(c, in.Code); err != nil {
			return nil, err
		}
		if err := m.api.deps.Devices.Deny(in.Code, c.caller.Tenant()); err != nil {
			return nil, err
		}
		return m.api.readDevice(c, in.Code)
	})
}

// readDevice shows a sign-in to anybody who was told its code, until somebody decides: then it is that tenant's.
func (a *API) readDevice(c *call, code string) (*deviceCodeOut, error) {
	v, err := a.deps.Devices.Look(code)
	switch {
	case err != nil:
		return nil, err
	case v.Tenant != "" && v.Tenant != c.caller.Tenant():
		return nil, device.ErrUnknown
	}
	out := &deviceCodeOut{Body: deviceCode{
		Code: v.User, State: string(v.State), Created: v.Created.UTC(), Expires: v.Expires.UTC(), Agent: v.Agent, Key: v.Key,
	}}
	if v.Source.IsValid() {
		out.Body.Source = v.Source.String()
	}
	return out, nil
}

// approveDevice makes a key and hands it to the desk, which gives it to the program and to nobody else. What was made is
// taken back when the desk no longer takes it.
func (a *API) approveDevice(ctx context.Context, c *call, in *approveDeviceIn) (*deviceCodeOut, error) {
	if in.Body.Agent != "" && in.Body.Name != "" {
		return nil, refuse(http.StatusUnprocessableEntity, "request_invalid", "agent names one there is, name a new one: give one of them", "")
	}
	seen, err := a.readDevice(c, in.Code)
	switch {
	case err != nil:
		return nil, err
	case seen.Body.State != string(device.Pending):
		return nil, device.ErrDecided
	}
	agent, fresh, err := a.deviceAgent(ctx, c, in)
	if err != nil {
		return nil, err
	}
	if err := a.grantDevice(ctx, c, in.Code, &agent); err != nil {
		if fresh {
			a.takeBack(c, "agent", agent.ID, a.deps.Directory.SetAgentStatus(ctx, c.caller.Tenant(), agent.ID, identity.Revoked))
		}
		return nil, err
	}
	return a.readDevice(c, in.Code)
}

// deviceAgent is the agent whose key the program gets: one that the caller may make keys for, or a new one, which takes
// the roles that create-agent takes.
func (a *API) deviceAgent(ctx context.Context, c *call, in *approveDeviceIn) (agent identity.Agent, fresh bool, err error) {
	if in.Body.Agent != "" {
		c.note("agent", in.Body.Agent)
		if err := a.owned(ctx, c, in.Body.Agent); err != nil {
			return agent, false, err
		}
		agent, err = a.deps.Directory.Agent(ctx, c.caller.Tenant(), in.Body.Agent)
		return agent, false, err
	}
	if create, ok := routeOf("create-agent"); !ok || permitted(create, c.caller) != nil {
		return agent, false, refuse(http.StatusForbidden, "role_denied", "a new agent needs a Manager or an Admin", "name an agent of your own, or ask one of them")
	}
	name := in.Body.Name
	if name == "" {
		name = "device " + in.Code
	}
	agent, err = a.deps.Directory.CreateAgent(ctx, c.caller.Tenant(), identity.NewAgent{Name: name, Owner: c.caller.User()})
	c.note("agent", agent.ID)
	return agent, err == nil, err
}

func (a *API) grantDevice(ctx context.Context, c *call, code string, agent *identity.Agent) error {
	tenant := c.caller.Tenant()
	owner, err := a.deps.Directory.User(ctx, tenant, agent.Owner)
	if err != nil {
		return err
	}
	key, text, err := a.deps.Directory.CreateKey(ctx, tenant, identity.NewKey{Kind: identity.Runtime, Agent: agent.ID, Name: "device " + code})
	if err != nil {
		return err
	}
	c.note("key", key.ID)
	err = a.deps.Devices.Approve(code, device.Grant{Secret: text, Key: key.ID, Tenant: tenant, User: owner.ID, Email: owner.Email, Agent: agent.ID})
	if err != nil {
		a.takeBack(c, "key", key.ID, a.deps.Directory.RevokeKey(ctx, tenant, key.ID))
	}
	return err
}

// takeBack says when what nobody got stays behind all the same.
func (a *API) takeBack(c *call, what, id string, err error) {
	c.note("taken_back", id)
	if err != nil {
		a.log.Error("device sign-in left something behind", "record", c.id, what, id, "error", err)
	}
}
