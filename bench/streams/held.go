package streams

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/bench/task"
)

// openWithin bounds how long a stream may take to open.
const openWithin = 30 * time.Second

// opening is how many streams are opened at a time.
const opening = 32

// held is a stream of events of which no more was read than its first event.
type held struct{ conn net.Conn }

// listen is the request of a stream on which next to nothing is said.
func (s *stand) listen() []byte { return s.pass.Listen(s.gate.Addr) }

// talk is the request of a call whose server goes on saying how far it is.
func (s *stand) talk() []byte {
	return s.pass.Request(s.gate.Addr, 3, task.Change{Note: talkative, Hears: true}).Wire
}

// hold opens n streams more, and keeps them.
func (s *stand) hold(ctx context.Context, n int, wire func() []byte) error {
	var mu sync.Mutex // guards s.held and errs
	var errs []error
	var wg sync.WaitGroup
	todo := make(chan struct{})
	for range min(n, opening) {
		wg.Go(func() {
			for range todo {
				h, err := open(ctx, s.gate.Addr, wire())
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					s.held = append(s.held, h)
				}
				mu.Unlock()
			}
		})
	}
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	wg.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d streams were not opened, the first: %w", len(errs), n, errs[0])
	}
	return nil
}

// open opens a stream and reads its first event.
func open(ctx context.Context, addr string, wire []byte) (_ *held, err error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { // a reader that reads nothing shall soon have no room
		var failed error
		return errors.Join(c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		}), failed)
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(openWithin)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 2<<10), &http.Request{Method: http.MethodPost}) //nolint:bodyclose // a stream that is held
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		text := make([]byte, 500)
		n, _ := resp.Body.Read(text)
		return nil, fmt.Errorf("open a stream: HTTP %d, %s: %s", resp.StatusCode, kind, text[:n])
	}
	first := bufio.NewReaderSize(resp.Body, 1<<10)
	for { // up to the first that says something
		line, err := first.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("read the first event: %w", err)
		}
		if strings.HasPrefix(line, "data:") {
			return &held{conn}, nil
		}
	}
}

// open counts the streams that are.
func (s *stand) open() int { return len(s.held) }

// drop leaves all streams.
func (s *stand) drop() error {
	var errs []error
	for _, h := range s.held {
		errs = append(errs, h.conn.Close())
	}
	s.held = nil
	return errors.Join(errs...)
}
