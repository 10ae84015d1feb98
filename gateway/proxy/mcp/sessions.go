package mcp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// SessionState is an open session as admins see it. Its name is none of its id, with which nobody but its client may act.
type SessionState struct {
	Name        string
	Agent, Key  string
	Path        string
	Begun, Used time.Time
}

// sessionSeal is what ids of sessions are sealed for.
const sessionSeal = "session"

func sessionBound(c *pipeline.Call, path string) []byte {
	return []byte(c.Caller.Session() + "\n" + path)
}

func (k *Sessions) seal(c *pipeline.Call, path string, random []byte) (string, error) {
	if k.Seals == nil {
		return base64.RawURLEncoding.EncodeToString(random), nil
	}
	return k.Seals.Seal(context.Background(), c.Caller.Tenant(), sessionSeal, sessionBound(c, path), random)
}

// lives says whether the key that an id is sealed under still opens. That the id is one that was sealed here is known by finding
// its session.
func (k *Sessions) lives(c *pipeline.Call, id string) bool {
	return k.Seals == nil || k.Seals.Opens(context.Background(), c.Caller.Tenant(), id)
}

// ended says whether a session's time is over; whoever listens uses it. k.mu is held.
func (k *Sessions) ended(s *session, now time.Time) bool {
	return now.Sub(s.used) > or(k.Idle, 30*time.Minute) && s.stream() == nil || now.Sub(s.begun) > or(k.Life, 24*time.Hour)
}

func (s *session) name() string {
	sum := sha256.Sum256([]byte(s.id))
	return hex.EncodeToString(sum[:8])
}

// List gives an agent's open sessions, the oldest first.
func (k *Sessions) List(tenant, agent string, now time.Time) []SessionState {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []SessionState{}
	for _, s := range k.open {
		if s.tenant == tenant && s.agent == agent && !k.ended(s, now) {
			list = append(list, SessionState{Name: s.name(), Agent: s.agent, Key: s.key, Path: s.route, Begun: s.begun, Used: s.used})
		}
	}
	slices.SortFunc(list, func(a, b SessionState) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.Name, b.Name)) })
	return list
}

// Revoke ends an agent's session of a name, or all of them when it is "", and says how many. What its client was being asked is
// answered for it, and its next request is told that there is no such session.
func (k *Sessions) Revoke(tenant, agent, name string) (ended int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.open {
		if s.tenant == tenant && s.agent == agent && (name == "" || s.name() == name) {
			k.drop(s)
			ended++
		}
	}
	return ended
}
