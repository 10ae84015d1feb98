package identity

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// seen remembers proofs until nobody can show them again. Room is shared by what is free: a tenant has at most half as
// much as all leave free, an agent half of what its tenant may still have, a key half of what its agent may. So one tenant
// takes a third of everything at most, one agent a seventh, one key of one agent a fifteenth; n tenants that take all they can leave
// (2/3)^n of it to the others, and n agents or keys likewise of what their tenant or agent may have.
type seen struct {
	mu     sync.Mutex
	most   int
	names  map[[32]byte]struct{}    // guarded by mu
	due    map[int64][]seenProof    // guarded by mu, by the last second at which they would pass
	past   int64                    // guarded by mu: what was due before is forgotten
	shares map[seenHolder]*seenPart // guarded by mu
}

// minProofs is what it takes for one to be remembered, halved three times.
const minProofs = 16

// seenProof is what is forgotten together.
type seenProof struct {
	name  [32]byte
	parts [3]*seenPart
}

// seenHolder is whose a part is: a tenant, an agent, or a key by its thumbprint.
type seenHolder struct {
	kind         byte
	tenant, name string
}

type seenPart struct {
	of seenHolder
	n  int
}

func newSeen(entries int) seen {
	return seen{most: max(minProofs, entries), names: map[[32]byte]struct{}{}, due: map[int64][]seenProof{}, shares: map[seenHolder]*seenPart{}}
}

// remember refuses a proof that was there, and one that could have been forgotten because requests are judged as of
// when they began: last is the last second at which it would pass. When there is no room it refuses too: forgetting
// another would let that pass again.
func (s *seen) remember(who Caller, print, id string, last int64, now time.Time) error {
	p := seenProof{name: sha256.Sum256([]byte(print + "\x00" + id))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now.Unix())
	if _, ok := s.names[p.name]; ok {
		return ErrProofSeen
	}
	if last < s.past {
		return fmt.Errorf("%w: it was made at another time", ErrProof)
	}
	room := s.most - len(s.names)
	if room <= 0 {
		return ErrProofFull
	}
	for i, of := range seenHolders(who, print) {
		if of.kind == 0 {
			continue
		}
		if p.parts[i] = s.shares[of]; p.parts[i] == nil {
			p.parts[i] = &seenPart{of: of}
		}
		if room = room/2 - p.parts[i].n; room <= 0 {
			return fmt.Errorf("%w: of this %s", ErrProofFull, [...]string{"tenant", "agent", "key"}[i])
		}
	}
	s.keep(p, last)
	return nil
}

// seenHolders are tenant, agent and key, the first two only when the caller is known.
func seenHolders(who Caller, print string) (of [3]seenHolder) {
	if who.Valid() {
		of[0] = seenHolder{kind: 't', tenant: who.Tenant()}
		of[1] = seenHolder{kind: 'a', tenant: who.Tenant(), name: cmp.Or(who.Agent(), who.User())}
	}
	of[2] = seenHolder{kind: 'k', name: print}
	return of
}

// keep must be called under mu.
func (s *seen) keep(p seenProof, last int64) {
	s.names[p.name] = struct{}{}
	s.due[last] = append(s.due[last], p)
	for _, part := range p.parts {
		if part != nil {
			part.n++
			s.shares[part.of] = part
		}
	}
}

// forget throws out what would not pass at sec any more, once a second. It must be called under mu.
func (s *seen) forget(sec int64) {
	if sec <= s.past {
		return
	}
	s.past = sec
	for last, proofs := range s.due {
		if last >= sec {
			continue
		}
		delete(s.due, last)
		for i := range proofs {
			delete(s.names, proofs[i].name)
			s.leave(&proofs[i])
		}
	}
}

// leave must be called under mu.
func (s *seen) leave(p *seenProof) {
	for _, part := range p.parts {
		if part == nil {
			continue
		}
		if part.n--; part.n == 0 {
			delete(s.shares, part.of)
		}
	}
}
