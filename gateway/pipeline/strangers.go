package pipeline

import (
	"context"
	"net/netip"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// MaxSources bounds how many addresses are told apart between two records. What comes from further addresses is
// counted under "other", so that a flood from many sources cannot grow memory or the ledger.
const MaxSources = 1024

// Strangers counts refusals of callers who could not be identified and writes them, aggregated, to the instance's own
// chain: one record per source and flush, whatever the number of attempts.
type Strangers struct {
	mu     sync.Mutex
	counts map[source]*tally
}

type source struct {
	addr netip.Addr // zero: "other"
	code Code
	why  string // of a closed list
}

type tally struct {
	n           uint64
	first, last int64 // unix microseconds
}

// Note counts one refusal.
func (s *Strangers) Note(addr netip.Addr, code Code, at time.Time) { s.NoteWhy(addr, code, "", at) }

// NoteWhy counts one refusal by its exact reason, which is a word of a closed list. No caller is told it.
func (s *Strangers) NoteWhy(addr netip.Addr, code Code, why string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[source]*tally{}
	}
	if at.UnixMicro() < 0 { // a clock this wrong must not make a record that cannot be written, and hold all others up
		at = time.UnixMicro(0)
	}
	k := source{addr.Unmap(), code, why}
	t := s.counts[k]
	if t == nil {
		if len(s.counts) >= MaxSources {
			k.addr = netip.Addr{}
			t = s.counts[k]
		}
		if t == nil {
			t = &tally{first: at.UnixMicro()}
			s.counts[k] = t
		}
	}
	t.n++
	t.last = at.UnixMicro()
}

// Flush writes what was counted since the last flush. On an error the counts that were not written are kept.
func (s *Strangers) Flush(ctx context.Context, l *Line) error {
	s.mu.Lock()
	counts := s.counts
	s.counts = nil
	s.mu.Unlock()
	keys := make([]source, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return counts[keys[i]].first < counts[keys[j]].first })
	for i, k := range keys {
		if err := s.write(ctx, l, k, counts[k]); err != nil {
			s.restore(keys[i:], counts)
			return err
		}
	}
	return nil
}

func (s *Strangers) write(ctx context.Context, l *Line, k source, t *tally) error {
	addr := "other"
	if k.addr.IsValid() {
		addr = k.addr.String()
	}
	c := &Call{}
	r, err := l.record(c, ledger.Refused)
	if err != nil {
		return err
	}
	r.Tenant, r.Addr, r.Verdict, r.Code, r.Detail = InstanceTenant, addr, "deny", string(k.code), k.why
	b := append([]byte(nil), `{"count":`...)
	b = strconv.AppendUint(b, t.n, 10)
	b = append(b, `,"first":`...)
	b = strconv.AppendInt(b, t.first, 10)
	b = append(b, `,"last":`...)
	b = strconv.AppendInt(b, t.last, 10)
	r.Body = append(b, '}')
	_, err = l.Ledger.Append(ctx, r)
	return err
}

// restore puts back counts that could not be written, added to what came in meanwhile.
func (s *Strangers) restore(keys []source, counts map[source]*tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[source]*tally{}
	}
	for _, k := range keys {
		if t := s.counts[k]; t != nil {
			t.n += counts[k].n
			t.first = counts[k].first
		} else {
			s.counts[k] = counts[k]
		}
	}
}

// InstanceTenant owns the chain of what belongs to no tenant: strangers' refusals, starts and stops.
const InstanceTenant = "_instance"
