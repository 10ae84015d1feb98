package identity

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
)

// shards is how many maps the keys are spread over: a change copies only the maps it touches.
const shards = 256

// snapshot is all that Authenticate looks at. It is immutable; a change makes the next one.
type snapshot struct{ shards [shards]map[string]*entry }

// entry is one key. It is immutable.
type entry struct {
	mac     [32]byte
	expires int64    // ns since 1970, 0 for no end
	refusal *Refusal // why the right secret is refused all the same; nil when it is not
	who     *who     // nil with a refusal
}

// shardOf uses two of an id's random characters.
func shardOf[T string | []byte](id T) byte {
	return crockfordValue[id[keyIDLen-1]]<<5 ^ crockfordValue[id[keyIDLen-2]]
}

func (s *snapshot) find(id []byte) (*entry, bool) {
	e, ok := s.shards[shardOf(id)][string(id)]
	return e, ok
}

// with is the snapshot after a change; a nil entry takes the key out.
func (s *snapshot) with(changes map[string]*entry) *snapshot {
	next, copied := *s, [shards]bool{}
	for id, e := range changes {
		i := shardOf(id)
		if !copied[i] {
			copied[i] = true
			if next.shards[i] = maps.Clone(next.shards[i]); next.shards[i] == nil {
				next.shards[i] = map[string]*entry{}
			}
		}
		if e == nil {
			delete(next.shards[i], id)
		} else {
			next.shards[i][id] = e
		}
	}
	return &next
}

// entryOf says what Authenticate will answer for a key.
func (t *tenantRows) entryOf(k *keyRow) *entry {
	e := &entry{refusal: t.refuse(k)}
	copy(e.mac[:], k.MAC)
	if !k.Expires.IsZero() {
		e.expires = k.Expires.UnixNano()
	}
	if e.refusal != nil {
		return e
	}
	w := &who{tenant: t.org.Tenant, key: k.ID, kind: k.Kind, mode: k.Mode, agent: k.Agent, user: k.User, entity: t.entities[k.Holder()]}
	w.session = k.Agent + "/" + k.ID
	switch {
	case w.entity == nil || len(k.MAC) != len(e.mac):
		e.refusal = refusedUncertain
		return e
	case k.Kind == Runtime:
		w.user = t.agents[k.Agent].value.Owner
	default:
		w.role = t.users[k.User].value.Role
	}
	e.who = w
	return e
}

// refuse looks from the whole to the part. Whatever is not known to be active is refused.
func (t *tenantRows) refuse(k *keyRow) *Refusal {
	switch {
	case t.uncertain:
		return refusedUncertain
	case t.org.Status != Active:
		return refusedOrg
	case !k.Ended.IsZero():
		return refusedRevoked
	case k.Kind == Admin:
		if !t.userActs(k.User) {
			return refusedUser
		}
		return nil
	case k.Kind != Runtime:
		return refusedUncertain
	}
	a := t.agents[k.Agent]
	if a == nil || a.value.Status != Active {
		return refusedAgent
	}
	if !t.userActs(a.value.Owner) {
		return refusedOwner
	}
	return nil
}

func (t *tenantRows) userActs(id string) bool {
	u := t.users[id]
	return u != nil && u.value.Status == Active
}

// describe makes the entity of a holder, an agent or a user; the other is nil.
func (t *tenantRows) describe(id string, a *Agent, u *User) (*entity, error) {
	p := policies.Principal{ID: id, Tenant: t.org.Tenant}
	if a != nil {
		p.Kind, p.Owner, p.Trust, p.Status = "Agent", a.Owner, a.Trust, string(a.Status)
		p.Teams, p.Labels, p.TalksTo = a.Teams, a.Labels, a.TalksTo
	} else {
		p.Kind, p.Trust, p.Status = "User", MaxTrust, string(u.Status)
		p.Teams, p.Roles = u.Teams, []string{string(u.Role)}
	}
	e, err := newEntity(p)
	if err == nil && a != nil && len(a.PublicKey) > 0 {
		e.proof = intent.KeyThumbprint(a.PublicKey)
	}
	return e, err
}

// newEntity hashes a principal. Its JSON has every member, empty ones too, so that it says what was known to be absent.
func newEntity(p policies.Principal) (*entity, error) {
	plain, err := json.Marshal(map[string]any{
		"id": p.ID, "kind": p.Kind, "labels": full(p.Labels), "owner": p.Owner, "roles": full(p.Roles), "status": p.Status,
		"talks_to": full(p.TalksTo), "teams": full(p.Teams), "tenant": p.Tenant, "trust": p.Trust,
	})
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", p.ID, err)
	}
	text, err := canon.AppendCanonical(nil, plain, canon.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", p.ID, err)
	}
	digest, err := canon.Digest(text, canon.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", p.ID, err)
	}
	return &entity{principal: p, json: slices.Clip(text), digest: merkle.Hash(digest)}, nil
}

func full(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
