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

// maxLineBytes bounds one line as it is shown.
const maxLineBytes = 1 << 10

var levels = [...]string{"debug", "info", "warn", "error"}

// Book keeps the last lines of each filter. It is safe for concurrent use.
type Book struct {
	size, most int

	mu    sync.Mutex                  // guards what follows
	rings map[string]map[string]*ring // by tenant and filter
	turn  uint64                      // counts uses
}

// ring is one filter's lines, the oldest overwritten.
type ring struct {
	mu    sync.Mutex // guards what follows
	lines []Line
	next  uint64 // number of the next line, from 1

	used uint64 // the turn when it was written to last; guarded by Book.mu
}

// New makes an empty book with room for size lines of each filter, and most filters of each tenant: beyond that the one that
// wrote least lately is forgotten.
func New(size, most int) *Book {
	return &Book{size: size, most: max(most, 1), rings: map[string]map[string]*ring{}}
}

// ring finds a filter's lines, or makes room for them.
func (l *Book) ring(tenant, name string) *ring {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.rings[tenant]
	if own == nil {
		own = map[string]*ring{}
		l.rings[tenant] = own
	}
	r := own[name]
	if r == nil {
		if len(own) >= l.most {
			delete(own, least(own))
		}
		r = &ring{next: 1}
		own[name] = r
	}
	l.turn++
	r.used = l.turn
	return r
}

// least is the filter that wrote least lately.
func least(own map[string]*ring) (name string) {
	for n, r := range own {
		if name == "" || r.used < own[name].used {
			name = n
		}
	}
	return name
}

// Forget drops a filter's lines.
func (l *Book) Forget(tenant, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.rings[tenant], name); len(l.rings[tenant]) == 0 {
		delete(l.rings, tenant)
	}
}

// Add keeps a line: level 0 is debug, 1 info, 2 warning, 3 error.
func (l *Book) Add(tenant, name string, version uint64, level int, text string, now time.Time) {
	r := l.ring(tenant, name)
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
	r := l.rings[tenant][name]
	l.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.last(n)
}
