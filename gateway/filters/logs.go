package filters

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Bounds of what is kept of a filter's lines.
const (
	maxLineBytes = 1 << 10
	maxRings     = 4096 // filters with lines, of all tenants; more than that write into nothing
)

var levels = [...]string{"debug", "info", "warn", "error"}

// logs keeps the last lines of each filter, in memory alone: they may hold what calls held.
type logs struct {
	size  int
	mu    sync.Mutex // guards rings
	rings map[[2]string]*ring
}

// ring is one filter's lines, the oldest overwritten.
type ring struct {
	mu    sync.Mutex // guards what follows
	lines []Line
	next  uint64 // number of the next line, from 1
}

func newLogs(size int) *logs { return &logs{size: size, rings: map[[2]string]*ring{}} }

func (l *logs) ring(tenant, name string) *ring {
	key := [2]string{tenant, name}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rings[key]
	if r == nil && len(l.rings) < maxRings {
		r = &ring{next: 1}
		l.rings[key] = r
	}
	return r
}

// add keeps a line. Many calls may write at once.
func (l *logs) add(tenant, name string, version uint64, level int, text string, now time.Time) {
	r := l.ring(tenant, name)
	if r == nil {
		return
	}
	line := Line{Time: now, Level: levels[min(max(level, 0), 3)], Version: version, Text: plain(text)}
	r.mu.Lock()
	defer r.mu.Unlock()
	line.Number = r.next
	if len(r.lines) < l.size {
		r.lines = append(r.lines, line)
	} else {
		r.lines[(r.next-1)%uint64(l.size)] = line //nolint:gosec // a configured bound
	}
	r.next++
}

// plain is a line without what a terminal would obey.
func plain(text string) string {
	if len(text) > maxLineBytes {
		text = text[:maxLineBytes]
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		quoted := strconv.QuoteToGraphic(text)
		return quoted[1 : len(quoted)-1]
	}
	return strings.Clone(text)
}

// last lists the newest lines, oldest first, at most n of them.
func (r *ring) last(n int) []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := uint64(len(r.lines))
	count := min(uint64(max(n, 0)), size) //nolint:gosec // not negative
	var out []Line
	for i := r.next - count; i < r.next; i++ {
		out = append(out, r.lines[(i-1)%size])
	}
	return out
}

// Logs returns the newest lines of one filter, oldest first, at most n of them. Lines are in memory alone: a restart forgets
// them. The filter's name must be one of the tenant's.
func (s *Service) Logs(ctx context.Context, tenant, name string, n int) ([]Line, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, err = b.find(name, 0)
	if err != nil {
		for _, r := range b.rejected { // what it wrote while it was judged
			if r.Name == name {
				err = nil
			}
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r := s.logs.ring(tenant, name)
	if r == nil {
		return nil, nil
	}
	return r.last(n), nil
}

// Each tells what every filter of every tenant did since the start. Built-in ones are among them.
func (s *Service) Each(tell func(tenant, name string, shadow bool, st Stats)) {
	s.mu.Lock()
	all := make(map[totalKey]Stats, len(s.totals)+len(s.units))
	for key, st := range s.totals {
		all[key] = st
	}
	units := make(map[*unit]string, len(s.units))
	for u, tenant := range s.units {
		units[u] = tenant
	}
	s.mu.Unlock()
	for u, tenant := range units {
		key := totalKey{tenant, u.key.name, u.key.shadow}
		all[key] = u.stats().plus(all[key])
	}
	for key, st := range all {
		tell(key.tenant, key.name, key.shadow, st)
	}
}
