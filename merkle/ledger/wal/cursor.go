package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Errors of following.
var (
	// ErrCursor: the cursor is no place between two records of this log.
	ErrCursor = errors.New("cursor is not of this log")
	// ErrGap: what the cursor names was pruned. It comes as a *GapError.
	ErrGap = errors.New("records were pruned")
)

// GapError says that records a follower was to get next are no longer there. Following goes on at First; what lies
// between is lost to that follower, and only it can say so to its people.
type GapError struct{ Asked, First Cursor }

func (e *GapError) Error() string {
	return fmt.Sprintf("%s: cursor %s lies before the first kept record at %s", ErrGap, e.Asked, e.First)
}

func (e *GapError) Unwrap() error { return ErrGap }

// Cursor is a place between two records of the log. Zero is its beginning. Cursors of one log are comparable with ==
// only as far as equality means the same place.
type Cursor struct{ at place }

// String is the cursor's text form, SEGMENT:OFFSET in decimal; ParseCursor reads it.
func (c Cursor) String() string {
	return strconv.FormatUint(c.at.segment, 10) + ":" + strconv.FormatInt(c.at.off, 10)
}

// ParseCursor reads a cursor's text form. It reports ErrCursor for any other text.
func ParseCursor(text string) (Cursor, error) {
	segment, off, _ := strings.Cut(text, ":")
	var c Cursor
	var bad, worse error
	c.at.segment, bad = strconv.ParseUint(segment, 10, 63)
	c.at.off, worse = strconv.ParseInt(off, 10, 63)
	if bad != nil || worse != nil || c.at.off < 0 || c.String() != text {
		return Cursor{}, fmt.Errorf("%w: %q is not SEGMENT:OFFSET", ErrCursor, text[:min(len(text), 64)])
	}
	return c, nil
}

// MarshalText is String.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCursor.
func (c *Cursor) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCursor(string(text))
	return err
}

// SegmentStart is the place before the first record of the cursor's segment: where to begin again when an end that was
// noted is no longer there, as a power cut can leave a log that is not synced.
func (c Cursor) SegmentStart() Cursor { return Cursor{place{segment: c.at.segment}} }

// Before tells whether c lies before other.
func (c Cursor) Before(other Cursor) bool { return c.at.before(other.at) }

func (p place) before(q place) bool {
	return p.segment < q.segment || p.segment == q.segment && p.off < q.off
}

// Tip returns the durable end of the log, and how many records all tenants have up to there, pruned ones included.
func (l *Log) Tip() (Cursor, uint64) {
	f := l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	return Cursor{f.tip}, f.total
}

// clockSlack is how far the clock may have gone back for Since to stay exact.
const clockSlack = time.Minute

// Since returns a place before every record that was written at that time or later, at the start of a segment. It reads
// the headers of the segments after it and nothing else, so that it costs no more than what lies behind the place.
func (l *Log) Since(ctx context.Context, at time.Time) (Cursor, error) {
	first, err := l.firstSegment()
	if err != nil {
		return Cursor{}, fmt.Errorf("find a time: %w", err)
	}
	tip, _ := l.Tip()
	for n := tip.at.segment; n > first; n-- {
		if ctx.Err() != nil {
			return Cursor{}, context.Cause(ctx)
		}
		created, ok, err := l.createdAt(n)
		if err != nil {
			return Cursor{}, fmt.Errorf("find a time: %w", err)
		}
		if ok && created.Before(at.Add(-clockSlack)) {
			return Cursor{place{segment: n}}, nil
		}
	}
	return Cursor{place{segment: first}}, nil
}

// createdAt reads when the first record of a segment was written; false when it has none.
func (l *Log) createdAt(number uint64) (time.Time, bool, error) {
	f, err := l.opt.FS.Open(segmentName(l.opt.Dir, number), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, err
	}
	defer func() { _ = f.Close() }() // only read
	var b [headerBytes]byte
	if n, err := f.ReadAt(b[:], 0); n < headerBytes {
		return time.Time{}, false, err
	}
	if b == [headerBytes]byte{} {
		return time.Time{}, false, nil
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return time.Time{}, false, fmt.Errorf("segment %d: %w", number, err)
	}
	return time.UnixMicro(int64(h.created)), true, nil
}

// firstSegment is the number of the first segment that is still there.
func (l *Log) firstSegment() (uint64, error) {
	names, err := l.opt.FS.List(filepath.Join(l.opt.Dir, walDir))
	if err != nil {
		return 0, fmt.Errorf("list segments: %w", err)
	}
	first, found := uint64(0), false
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		n, err := strconv.ParseUint(digits, 10, 63)
		if ok && err == nil && (!found || n < first) {
			first, found = n, true
		}
	}
	return first, nil
}

// locate checks a cursor against the log as it stands.
func (l *Log) locate(c Cursor) (place, error) {
	first, err := l.firstSegment()
	if err != nil {
		return place{}, err
	}
	tip, _ := l.Tip()
	switch {
	case c.at.segment < first:
		return place{}, &GapError{Asked: c, First: Cursor{place{segment: first}}}
	case c == tip, c.at.off == 0 && c.at.segment <= tip.at.segment:
		return c.at, nil
	case tip.at.before(c.at):
		return place{}, fmt.Errorf("%w: %s lies beyond its end %s", ErrCursor, c, tip)
	}
	p := past{log: l}
	defer p.close()
	on, err := p.isBoundary(c.at, tip.at)
	if err == nil && !on {
		err = fmt.Errorf("%w: %s is inside a record", ErrCursor, c)
	}
	return c.at, err
}
