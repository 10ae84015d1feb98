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

// Load drives a server from a number of connections in a closed loop: each sends the next request when it has read the
// answer to the last.
type Load struct {
	requests []Request
	conns    []*loadConn
}

// Result is one run of a load.
type Result struct {
	Calls   int
	Failed  int
	Failure string        // the first one
	Elapsed time.Duration // to the last answer
	P50     time.Duration // of a closed loop: at saturation this is queueing, not added latency
	P99     time.Duration
}

type loadConn struct {
	conn  net.Conn
	in    *bufio.Reader
	next  int
	times []time.Duration
	fail  error
}

// answerTimeout bounds the wait for one answer.
const answerTimeout = 20 * time.Second

// Dial opens the connections.
func Dial(ctx context.Context, addr string, conns int, requests []Request) (*Load, error) {
	if conns < 1 || len(requests) == 0 {
		return nil, errors.New("dial: no connections or no requests")
	}
	l := &Load{requests: requests}
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

// Run sends for a while and returns when every answer is read. A failed connection sends no more.
func (l *Load) Run(ctx context.Context, d time.Duration) Result {
	start := time.Now()
	until := start.Add(d)
	var all sync.WaitGroup
	for _, c := range l.conns {
		all.Go(func() { c.run(ctx, l.requests, until) })
	}
	all.Wait()
	out := Result{Elapsed: time.Since(start)}
	var times []time.Duration
	for _, c := range l.conns {
		times = append(times, c.times...)
		if c.fail != nil {
			out.Failed++
			if out.Failure == "" {
				out.Failure = c.fail.Error()
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

func (c *loadConn) run(ctx context.Context, requests []Request, until time.Time) {
	c.times = c.times[:0]
	if c.times == nil {
		c.times = make([]time.Duration, 0, 1<<14)
	}
	if c.fail == nil {
		c.fail = c.conn.SetDeadline(until.Add(answerTimeout))
	}
	for began := time.Now(); c.fail == nil && ctx.Err() == nil && began.Before(until); {
		r := &requests[c.next%len(requests)]
		c.next++
		if c.fail = c.exchange(r); c.fail != nil {
			return
		}
		now := time.Now()
		c.times = append(c.times, now.Sub(began))
		began = now
	}
}

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
