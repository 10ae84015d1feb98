package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Session is a session that an older client of an agent has open. Its name is none of its id.
type Session struct {
	Name  string    `json:"session"`
	Key   string    `json:"key"`
	Path  string    `json:"path"`
	Begun time.Time `json:"begun"`
	Used  time.Time `json:"used"`
}

// Sessions lists those of an agent.
func (a *Admin) Sessions(ctx context.Context, agent string) ([]Session, error) {
	var out struct{ Items []Session }
	err := a.change(ctx, http.MethodGet, "/api/v1/agents/"+url.PathEscape(agent)+"/sessions", nil, &out)
	return out.Items, err
}

// EndSessions ends an agent's session of a name, or all of them for "", and says how many.
func (a *Admin) EndSessions(ctx context.Context, agent, session string) (int, error) {
	var out struct{ Revoked int }
	path := "/api/v1/agents/" + url.PathEscape(agent) + "/sessions"
	if session != "" {
		path += "?" + url.Values{"session": {session}}.Encode()
	}
	err := a.change(ctx, http.MethodDelete, path, nil, &out)
	return out.Revoked, err
}

// Seal is a key that seals the organisation's session ids, cursors and states.
type Seal struct {
	ID   uint32     `json:"id"`
	Made time.Time  `json:"made"`
	Ends *time.Time `json:"ends,omitempty"` // when it opens nothing any more; nil: it is the one that seals
}

// Seals lists the keys that are live.
func (a *Admin) Seals(ctx context.Context) ([]Seal, error) {
	var out struct{ Items []Seal }
	err := a.change(ctx, http.MethodGet, "/api/v1/seals", nil, &out)
	return out.Items, err
}

// RotateSeals makes a new key, which seals from now on; the one before opens until its life ends. With atOnce all that was sealed
// before ends now.
func (a *Admin) RotateSeals(ctx context.Context, atOnce bool) ([]Seal, error) {
	var out struct{ Items []Seal }
	err := a.change(ctx, http.MethodPost, "/api/v1/seals/rotate", map[string]any{"at_once": atOnce}, &out)
	return out.Items, err
}
