package proxy

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// departures are the connections that are watched: one epoll and one goroutine for the whole process, which costs a
// connection two system calls in its life, and a call nothing.
type departures struct {
	epoll *os.File
	raw   syscall.RawConn

	mu   sync.Mutex // guards what follows
	last uint64
	gone map[uint64]context.CancelFunc
}

// watching starts the watcher with the first connection. nil: the machine has no room for it, and nothing is noticed.
var watching = sync.OnceValue(func() *departures {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	// An epoll can itself be waited for by Go's poller, so that no thread is blocked in it.
	d := &departures{epoll: os.NewFile(uintptr(fd), "departures"), gone: map[uint64]context.CancelFunc{}}
	if d.raw, err = d.epoll.SyscallConn(); err != nil {
		_ = d.epoll.Close()
		return nil
	}
	go d.run()
	return d
})

// watchDeparture has gone called when the peer of raw leaves, or leaves what was sent unacknowledged for silent. It returns the number to forget it by, 0 when the
// connection cannot be watched.
func watchDeparture(raw net.Conn, silent time.Duration, gone context.CancelFunc) uint64 {
	s, ok := raw.(syscall.Conn)
	if !ok {
		return 0
	}
	rc, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	d := watching()
	if d == nil {
		return 0
	}
	d.mu.Lock()
	d.last++
	id := d.last
	d.gone[id] = gone
	d.mu.Unlock()
	// The number stands in the event where epoll's users keep a descriptor, so that an event of one that was closed, and
	// its descriptor given to another, is nobody's. Closing the socket takes it out of the epoll.
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))} //nolint:gosec // two halves
	var added error
	err = rc.Control(func(fd uintptr) {
		added = d.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &event) })
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silent/time.Millisecond)) // not TCP: no such wait
	})
	if err != nil || added != nil {
		forgetDeparture(id)
		return 0
	}
	return id
}

func forgetDeparture(id uint64) {
	if id == 0 {
		return
	}
	d := watching()
	d.mu.Lock()
	delete(d.gone, id)
	d.mu.Unlock()
}

// run tells of those who have left, for as long as the process lives.
func (d *departures) run() {
	events := make([]unix.EpollEvent, 128)
	for {
		var n int
		var waited error
		err := d.raw.Read(func(fd uintptr) bool {
			for {
				n, waited = unix.EpollWait(int(fd), events, 0)
				if waited != unix.EINTR {
					return n != 0
				}
			}
		})
		if err != nil || waited != nil {
			return
		}
		for i := range n {
			id := uint64(uint32(events[i].Fd)) | uint64(uint32(events[i].Pad))<<32 //nolint:gosec // two halves
			d.mu.Lock()
			gone := d.gone[id]
			delete(d.gone, id)
			d.mu.Unlock()
			if gone != nil {
				gone()
			}
		}
	}
}
