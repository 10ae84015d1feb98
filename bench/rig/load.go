package rig

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Request is one prepared HTTP/1.1 request and what the body of a good answer begins with.
type Request struct {
	Wire []byte
	Want []byte
}

// Loader drives something that answers calls, in a closed loop: each of a number of callers makes the next call when the
// last one is answered.
type Loader interface {
	// Run calls for a while and returns when every answer is there. A caller whose call failed makes no more.
	Run(ctx context.Context, d time.Duration) error
	// Result is what came of the last run. It is apart from Run so that putting it together is not measured.
	Result() (Result, error)
	Close() error
}

// Result is one run of a load.
type Result struct {
	Calls   int           `json:"calls"`
	Failed  int           `json:"failed"`            // callers
	Failure string        `json:"failure,omitempty"` // of the first of them
	Elapsed time.Duration `json:"elapsed"`           // to the last answer
	P50     time.Duration `json:"p50"`               // of a closed loop: at saturation this is queueing, not added latency
	P99     time.Duration `json:"p99"`
}

// answerTimeout bounds the wait for one answer.
const answerTimeout = 20 * time.Second

// callers are those who call at once.
type callers struct {
	all     []caller
	elapsed time.Duration
}

type caller struct {
	times []time.Duration // of its calls
	fail  error
}

func newCallers(n int) *callers {
	c := &callers{all: make([]caller, n)}
	for i := range c.all {
		c.all[i].times = make([]time.Duration, 0, 1<<14)
	}
	return c
}

// run has caller i make the calls that the i-th function makes.
func (c *callers) run(ctx context.Context, d time.Duration, call func(i int) error) {
	start := time.Now()
	late := start.Add(d)
	var all sync.WaitGroup
	for i := range c.all {
		all.Go(func() { c.all[i].until(ctx, late, func() error { return call(i) }) })
	}
	all.Wait()
	c.elapsed = time.Since(start)
}

// until calls again and again until it is late or a call fails.
func (c *caller) until(ctx context.Context, late time.Time, call func() error) {
	c.times = c.times[:0]
	for began := time.Now(); c.fail == nil && ctx.Err() == nil && began.Before(late); {
		if c.fail = call(); c.fail != nil {
			return
		}
		now := time.Now()
		c.times = append(c.times, now.Sub(began))
		began = now
	}
}

func (c *callers) result() Result {
	out := Result{Elapsed: c.elapsed}
	var times []time.Duration
	for _, one := range c.all {
		times = append(times, one.times...)
		if one.fail != nil {
			out.Failed++
			if out.Failure == "" {
				out.Failure = one.fail.Error()
			}
		}
	}
	out.Calls = len(times)
	if len(times) > 0 {
		slices.Sort(times)
		out.P50, out.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	return out
}

// Load drives an HTTP server from a number of connections.
type Load struct {
	requests []Request
	conns    []*loadConn
	callers  *callers
}

var _ Loader = (*Load)(nil)

type loadConn struct {
	conn net.Conn
	in   *bufio.Reader
	next int
}

// Dial opens the connections.
func Dial(ctx context.Context, addr string, conns int, requests []Request) (*Load, error) {
	if conns < 1 || len(requests) == 0 {
		return nil, errors.New("dial: no connections or no requests")
	}
	l := &Load{requests: requests, callers: newCallers(conns)}
	var d net.Dialer
	for i := range conns {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("dial: %w", err), l.Close())
		}
		l.conns = append(l.conns, &loadConn{conn: c, in: bufio.NewReaderSize(c, 32<<10), next: i})
	}
	return l, nil
}

// Close closes the connections.
func (l *Load) Close() error {
	var errs []error
	for _, c := range l.conns {
		errs = append(errs, c.conn.Close())
	}
	return errors.Join(errs...)
}

// Run sends for a while and returns when every answer is read.
func (l *Load) Run(ctx context.Context, d time.Duration) error {
	late := time.Now().Add(d + answerTimeout)
	for _, c := range l.conns {
		if err := c.conn.SetDeadline(late); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	l.callers.run(ctx, d, func(i int) error {
		c := l.conns[i]
		r := &l.requests[c.next%len(l.requests)]
		c.next++
		return c.exchange(r)
	})
	return ctx.Err()
}

// Result is what came of the last run.
func (l *Load) Result() (Result, error) { return l.callers.result(), nil }

// exchange sends one request and reads its answer, which must be a 200 with the wanted beginning.
func (c *loadConn) exchange(r *Request) error {
	if _, err := c.conn.Write(r.Wire); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	status, length, err := c.head()
	if err != nil {
		return err
	}
	n := min(length, len(r.Want))
	begin, err := c.in.Peek(n)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if status != 200 || !bytes.Equal(begin, r.Want) {
		body, _ := c.in.Peek(min(length, c.in.Size()))
		return fmt.Errorf("HTTP %d: %.300s", status, body)
	}
	_, err = c.in.Discard(length)
	return err
}

// head reads the status line and the headers. Only answers with a length are taken.
func (c *loadConn) head() (status, length int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, fmt.Errorf("read answer: %w", err)
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("status line %.40q", line)
	}
	status, err = strconv.Atoi(string(line[9:12]))
	length = -1
	for err == nil {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, 0, fmt.Errorf("read head: %w", err)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && line[0]|0x20 == 'c' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
		}
	}
	if err == nil && length < 0 {
		err = errors.New("the answer has no length")
	}
	return status, length, err
}
