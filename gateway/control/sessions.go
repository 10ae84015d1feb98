package control

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/ring"
)

// Session is an open session of an older client as admins see it. Its name is none of its id.
type Session struct {
	Name  string    `json:"session"`
	Key   string    `json:"key" doc:"key, login or authorization server that it was opened with"`
	Path  string    `json:"path"`
	Begun time.Time `json:"begun"`
	Used  time.Time `json:"used"`
}

// Sessions are those that are open on the data port.
type Sessions interface {
	// List gives an agent's, the oldest first.
	List(tenant, agent string) []Session
	// Revoke ends an agent's session of a name, all of them for "", and says how many.
	Revoke(tenant, agent, name string) int
}

// Seals are the keys under which each organisation's session ids, cursors and states are sealed; ring.Ring is one.
type Seals interface {
	Keys(ctx context.Context, tenant string) ([]ring.Key, error)
	Rotate(ctx context.Context, tenant string, atOnce bool) ([]ring.Key, error)
}

// noSessions stands in where nobody opens any.
type noSessions struct{}

func (noSessions) List(string, string) []Session     { return nil }
func (noSessions) Revoke(string, string, string) int { return 0 }

func (noSessions) Keys(context.Context, string) ([]ring.Key, error) { return nil, nil }
func (noSessions) Rotate(context.Context, string, bool) ([]ring.Key, error) {
	return nil, refuse(http.StatusNotFound, "not_found", "this gateway seals nothing", "ask one that serves agents")
}

type sessionsOut struct {
	Body struct {
		Items []Session `json:"items" nullable:"false"`
	}
}

type revokeSessionsIn struct {
	ID      string `path:"id" pattern:"^agt_[0-9a-z]{1,32}$" maxLength:"36"`
	Session string `query:"session" pattern:"^[0-9a-f]{16}$" maxLength:"16" doc:"default: all of them"`
}

type revokedOut struct {
	Body struct {
		Revoked int `json:"revoked"`
	}
}

// seal is a key as answered, without its secret.
type seal struct {
	ID   uint32     `json:"id"`
	Made time.Time  `json:"made"`
	Ends *time.Time `json:"ends,omitempty" doc:"when it opens nothing any more; absent: it is the one that seals"`
}

type sealsOut struct {
	Body struct {
		Items []seal `json:"items" nullable:"false"`
	}
}

type rotateSealsIn struct {
	Body struct {
		AtOnce bool `json:"at_once,omitempty" doc:"end every session, cursor and state of before now"`
	}
}

func (m *mounting) sessions() {
	deps := m.api.deps
	handle(m, "list-agent-sessions", func(ctx context.Context, c *call, in *agentPath) (*sessionsOut, error) {
		if _, err := deps.Directory.Agent(ctx, c.caller.Tenant(), in.ID); err != nil {
			return nil, err
		}
		out := &sessionsOut{}
		out.Body.Items = append([]Session{}, deps.Sessions.List(c.caller.Tenant(), in.ID)...)
		return out, nil
	})
	handle(m, "revoke-agent-sessions", func(ctx context.Context, c *call, in *revokeSessionsIn) (*revokedOut, error) {
		if _, err := deps.Directory.Agent(ctx, c.caller.Tenant(), in.ID); err != nil {
			return nil, err
		}
		c.target = in.ID
		c.note("session", in.Session)
		out := &revokedOut{}
		if out.Body.Revoked = deps.Sessions.Revoke(c.caller.Tenant(), in.ID, in.Session); in.Session != "" && out.Body.Revoked == 0 {
			return nil, refuse(http.StatusNotFound, "not_found", "this agent has no such session open", "list its sessions: one ends when it is not used, too")
		}
		return out, nil
	})
	handle(m, "list-seals", func(ctx context.Context, c *call, _ *struct{}) (*sealsOut, error) {
		keys, err := deps.Seals.Keys(ctx, c.caller.Tenant())
		return shapeSeals(keys, err)
	})
	handle(m, "rotate-seals", func(ctx context.Context, c *call, in *rotateSealsIn) (*sealsOut, error) {
		keys, err := deps.Seals.Rotate(ctx, c.caller.Tenant(), in.Body.AtOnce)
		if errors.Is(err, ring.ErrTwo) {
			return nil, refuse(http.StatusConflict, "conflict", "two keys are live, and a third would end what the older one sealed", "wait until the older one ends (list them), or end everything now with at_once")
		}
		return shapeSeals(keys, err)
	})
}

func shapeSeals(keys []ring.Key, err error) (*sealsOut, error) {
	if err != nil {
		return nil, err
	}
	out := &sealsOut{}
	out.Body.Items = []seal{}
	for _, k := range keys {
		out.Body.Items = append(out.Body.Items, seal{ID: k.ID, Made: k.Made, Ends: timeOrNil(k.Ends)})
	}
	return out, nil
}
