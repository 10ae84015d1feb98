package bearer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/jws"
)

// Bounds of fetching. Anybody may send a token with a made-up kid, so what that costs the issuer is bounded here.
const (
	fetchWithin = 5 * time.Second  // one fetch, its discovery included; who needs the keys waits as long
	fetchEvery  = 10 * time.Second // between two fetches from one issuer, whatever is asked for
	absentFor   = time.Minute      // a kid that was not there is not looked for again
	maxAbsent   = 256              // kids remembered as absent; more are bounded by fetchEvery alone
)

// source is one issuer's keys: fetched by one at a time, kept, and fetched again when they are old or a token names one that
// is not there.
type source struct {
	server *Server
	way    http.RoundTripper
	now    func() time.Time
	log    *slog.Logger

	have              atomic.Pointer[keySet] // nil until the first came
	fetches, failures atomic.Uint64

	mu     sync.Mutex
	flight chan struct{}        // guarded by mu; closed when the fetch that runs has ended
	tried  time.Time            // guarded by mu; when the last fetch began
	absent map[string]time.Time // guarded by mu
}

// keySet is immutable.
type keySet struct {
	keys map[jws.Algorithm]jws.KeySet
	at   time.Time
}

func newSource(s *Server, way http.RoundTripper, o Options) *source {
	return &source{server: s, way: way, now: o.Now, log: o.Log, absent: map[string]time.Time{}}
}

// find returns a key of the issuer; nil when it has none such, or its keys are not known.
func (s *source) find(ctx context.Context, alg jws.Algorithm, kid string) any {
	set := s.usable()
	if set == nil {
		s.await(ctx) // if none may begin, the last may have ended just now
		if set = s.usable(); set == nil {
			return nil
		}
	}
	if key := set.keys[alg][kid]; key != nil {
		return key
	}
	if kid == "" || s.isAbsent(kid) {
		return nil
	}
	looked := s.await(ctx)
	if set = s.usable(); set == nil {
		return nil
	}
	key := set.keys[alg][kid]
	if key == nil && looked {
		s.noteAbsent(kid)
	}
	return key
}

// usable is what there is, while it may be used; old ones are being fetched again meanwhile.
func (s *source) usable() *keySet {
	set := s.have.Load()
	if set == nil {
		return nil
	}
	age := s.now().Sub(set.at)
	if age > s.server.Refresh {
		s.fetch()
	}
	if age > s.server.Refresh+s.server.Stale {
		return nil
	}
	return set
}

// await waits for a fetch; false when none may begin, or ctx has ended.
func (s *source) await(ctx context.Context) bool {
	over := s.fetch()
	if over == nil {
		return false
	}
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetch begins a fetch, or joins the one that runs; nil when the last one is too fresh.
func (s *source) fetch() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	now := s.now()
	if !s.tried.IsZero() && now.Sub(s.tried) < fetchEvery {
		return nil
	}
	s.tried = now
	over := make(chan struct{})
	s.flight = over
	go s.run(over)
	return over
}

// run is one fetch. It outlives whoever began it: others wait for it too.
func (s *source) run(over chan struct{}) {
	defer func() {
		s.mu.Lock()
		s.flight = nil
		s.mu.Unlock()
		close(over)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
	defer cancel()
	s.fetches.Add(1)
	keys, err := s.read(ctx)
	if err != nil {
		s.failures.Add(1)
		s.log.Warn("keys of an authorization server not fetched: its tokens are refused once the ones at hand are too old", "server", s.server.Name, "error", err)
		return
	}
	s.have.Store(&keySet{keys, s.now()})
}

// same tells whether two public keys are one.
func same(a, b any) bool {
	k, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func (s *source) isAbsent(kid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.absent[kid]
	return ok && s.now().Sub(at) < absentFor
}

func (s *source) noteAbsent(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.absent) >= maxAbsent {
		clear(s.absent)
	}
	s.absent[kid] = s.now()
}

// read fetches the set and takes the keys of the algorithms that are allowed.
func (s *source) read(ctx context.Context) (map[jws.Algorithm]jws.KeySet, error) {
	address := s.server.JWKS
	if address == "" {
		var err error
		if address, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	body, err := s.get(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("its keys: %w", err)
	}
	all, n := map[jws.Algorithm]jws.KeySet{}, 0
	for _, name := range s.server.Algorithms {
		alg := jws.Algorithm(name)
		set, err := jws.ReadKeys(body, alg)
		if errors.Is(err, jws.ErrNoKey) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[alg], n = set, n+len(set)
	}
	if n == 0 {
		return nil, jws.ErrNoKey
	}
	return all, nil
}
