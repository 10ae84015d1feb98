package plugins

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	maxLogLine   = 4 << 10 // bytes of one stderr line; the rest of it is cut
	burstSeconds = 5       // a connector may log this many seconds' worth at once
)

// Line is one line that a connector wrote on its standard error.
type Line struct {
	Time time.Time
	PID  int
	// Text is valid UTF-8 of printable characters, cut to 4 KiB.
	Text string
}

// journal is what a connector's processes say. Each line becomes one log event
// and is kept for a while, within bounds on length, rate and number. What is
// over the rate is counted and reported.
type journal struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex // guards what follows
	rate    float64    // lines per second
	tokens  float64
	filled  time.Time
	lines   []Line // a ring
	next    int    // where the next line goes once the ring is full
	most    int    // lines kept
	dropped int    // since the last line that was taken
	lost    uint64 // dropped ever
}

func newJournal(log *slog.Logger, c Config, now func() time.Time) *journal {
	rate := float64(c.LinesPerSecond)
	return &journal{log: log, now: now, rate: rate, tokens: rate * burstSeconds, filled: now(), most: c.LogLines}
}

// add takes a line. Logging goes on outside the lock: a slow log must not keep
// Logs waiting.
func (j *journal) add(pid int, raw []byte, cut bool) {
	dropped, ok := j.take()
	if !ok {
		return
	}
	if dropped > 0 {
		j.log.Warn("connector says too much", slog.Int("pid", pid), slog.Int("dropped", dropped))
	}
	text := printable(raw)
	j.keep(pid, text)
	j.log.Info("connector says", slog.Int("pid", pid), slog.String("line", text), slog.Bool("cut", cut))
}

// note keeps a line of ours about a process.
func (j *journal) note(pid int, text string) {
	j.keep(pid, text)
	j.log.Warn("connector was not ended cleanly", slog.Int("pid", pid), slog.String("line", text))
}

func (j *journal) keep(pid int, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := Line{Time: j.now(), PID: pid, Text: text}
	if len(j.lines) < j.most {
		j.lines = append(j.lines, line)
		return
	}
	j.lines[j.next] = line
	j.next = (j.next + 1) % j.most
}

// take spends one token of a bucket that refills with time. It returns how many
// lines were dropped since the last one that was taken.
func (j *journal) take() (dropped int, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	j.tokens = min(j.rate*burstSeconds, j.tokens+j.rate*now.Sub(j.filled).Seconds())
	j.filled = now
	if j.tokens < 1 {
		j.dropped++
		j.lost++
		return 0, false
	}
	j.tokens--
	dropped, j.dropped = j.dropped, 0
	return dropped, true
}

// last returns the last n lines, the oldest first.
func (j *journal) last(n int) []Line {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := append(append(make([]Line, 0, len(j.lines)), j.lines[j.next:]...), j.lines[:j.next]...)
	return all[len(all)-max(0, min(n, len(all))):]
}

// ended reports what was dropped and not reported yet.
func (j *journal) ended(pid int) {
	j.mu.Lock()
	dropped := j.dropped
	j.dropped = 0
	j.mu.Unlock()
	if dropped > 0 {
		j.log.Warn("connector says too much", slog.Int("pid", pid), slog.Int("dropped", dropped))
	}
}

// droppedEver returns how many lines were over the rate.
func (j *journal) droppedEver() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lost
}

// printable makes a line fit for a terminal.
func printable(raw []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, string(bytes.ToValidUTF8(bytes.TrimSuffix(raw, []byte("\r")), []byte("\ufffd"))))
}

// lineWriter cuts what one process writes into lines. It is used by one
// goroutine.
type lineWriter struct {
	journal *journal
	pid     int
	line    []byte
	cut     bool // the current line was longer than maxLogLine
}

// Write never fails.
func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		head, tail, ended := bytes.Cut(b, []byte("\n"))
		room := min(len(head), maxLogLine-len(w.line))
		w.line = append(w.line, head[:room]...)
		w.cut = w.cut || room < len(head)
		if ended {
			w.emit()
		}
		b = tail
	}
	return n, nil
}

func (w *lineWriter) emit() {
	w.journal.add(w.pid, w.line, w.cut)
	w.line, w.cut = w.line[:0], false
}

// flush ends an unfinished last line.
func (w *lineWriter) flush() {
	if len(w.line) > 0 {
		w.emit()
	}
	w.journal.ended(w.pid)
}
