// Package lines keeps the last lines that filters wrote, in memory alone: they may hold what calls held.
package lines

import (
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Line is what a filter wrote, or what was noted about it.
type Line struct {
	Number  uint64 // from 1, per filter
	Time    time.Time
	Level   string // debug, info, warn or error
	Version uint64 // 0 while it is being judged
	Text    string // at most 1 KiB; what is not printable is quoted
}

// Bounds of what is kept of a filter's lines.
const (
	maxLineBytes = 1 << 10
	maxRings     = 4096 // filters with lines, of all tenants; more than that write into nothing
)

var levels = [...]string{"debug", "info", "warn", "error"}

// Book keeps the last lines of each filter. It is safe for concurrent use.
type Book struct {
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

// New makes an empty book with room for size lines of each filter.
func New(size int) *Book { return &Book{size: size, rings: map[[2]string]*ring{}} }

func (l *Book) ring(tenant, name string) *ring {
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

// Add keeps a line: level 0 is debug, 1 info, 2 warning, 3 error.
func (l *Book) Add(tenant, name string, version uint64, level int, text string, now time.Time) {
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
		quoted = strings.ToValidUTF8(quoted[1:min(len(quoted)-1, maxLineBytes+1)], "") // no rune is cut
		return strings.Clone(quoted)
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

// Last returns the newest lines of a filter, oldest first, at most n of them.
func (l *Book) Last(tenant, name string, n int) []Line {
	l.mu.Lock()
	r := l.rings[[2]string{tenant, name}]
	l.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.last(n)
}
