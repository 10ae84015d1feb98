package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
)

const maxReadyLine = 512 // bytes; a loopback URL fits many times

type ready struct {
	url string
	err error
}

// announcement is a child's stdout. Its first line must be "ready URL"; all
// that follows is discarded, so that a chatty child neither blocks nor grows
// the gateway.
type announcement struct {
	result chan ready // holds one; written once
	line   []byte
	seen   bool
}

// Write takes the child's output. It is called from one goroutine.
func (a *announcement) Write(b []byte) (int, error) {
	if a.seen {
		return len(b), nil
	}
	head, _, ended := bytes.Cut(b, []byte("\n"))
	switch {
	case len(a.line)+len(head) > maxReadyLine:
		a.announce(ready{err: fmt.Errorf("the ready line is longer than %d bytes", maxReadyLine)})
	case ended:
		u, err := parseReady(string(append(a.line, head...)))
		a.announce(ready{u, err})
	default:
		a.line = append(a.line, head...)
	}
	return len(b), nil
}

func (a *announcement) announce(r ready) {
	a.seen, a.line = true, nil
	a.result <- r
}

// parseReady accepts "ready http://LOOPBACK:PORT/PATH". A child may not point
// the gateway anywhere else.
func parseReady(line string) (string, error) {
	text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\r"), "ready ")
	if !ok {
		return "", errors.New("the first line of stdout is not a ready line")
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("the ready line holds no URL")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "http" || ip == nil || !ip.IsLoopback() || u.Port() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the ready line's URL is not of the form http://LOOPBACK:PORT/PATH")
	}
	return u.String(), nil
}

// lineLog is a child's stderr: each line becomes one log event, within a bound
// on length and rate. What is over the rate is counted and reported.
type lineLog struct {
	log    *slog.Logger
	now    func() time.Time
	rate   float64 // lines per second
	tokens float64
	filled time.Time

	line    []byte
	cut     bool // the current line was longer than maxLogLine
	dropped int
}

func newLineLog(log *slog.Logger, perSecond int, now func() time.Time) *lineLog {
	rate := float64(perSecond)
	return &lineLog{log: log, now: now, rate: rate, tokens: rate * burstSeconds, filled: now()}
}

// Write takes the child's output. It is called from one goroutine.
func (l *lineLog) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		head, tail, ended := bytes.Cut(b, []byte("\n"))
		room := min(len(head), maxLogLine-len(l.line))
		l.line = append(l.line, head[:room]...)
		l.cut = l.cut || room < len(head)
		if ended {
			l.emit()
		}
		b = tail
	}
	return n, nil
}

// flush logs an unfinished last line and what was dropped.
func (l *lineLog) flush() {
	if len(l.line) > 0 {
		l.emit()
	}
	l.reportDropped()
}

func (l *lineLog) emit() {
	if l.take() {
		l.reportDropped()
		l.log.Info("child says", slog.String("line", string(bytes.ToValidUTF8(l.line, []byte("\ufffd")))), slog.Bool("cut", l.cut))
	} else {
		l.dropped++
	}
	l.line, l.cut = l.line[:0], false
}

func (l *lineLog) reportDropped() {
	if l.dropped > 0 {
		l.log.Warn("child says too much", slog.Int("dropped", l.dropped))
		l.dropped = 0
	}
}

// take spends one token of a bucket that refills with time.
func (l *lineLog) take() bool {
	now := l.now()
	l.tokens = min(l.rate*burstSeconds, l.tokens+l.rate*now.Sub(l.filled).Seconds())
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
