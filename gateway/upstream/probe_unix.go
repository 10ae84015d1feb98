//go:build unix

package upstream

import (
	"net"
	"syscall"
)

// probe looks whether an idle connection has ended or has bytes nobody asked
// for, without reading them. Either makes it unfit for another request.
type probe struct {
	raw   syscall.RawConn
	check func(fd uintptr) bool // bound once, so that a probe allocates nothing
	state *probeState
}

type probeState struct {
	buf   [1]byte
	quiet bool
}

func newProbe(c net.Conn) probe {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return probe{}
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return probe{}
	}
	state := &probeState{}
	return probe{raw: raw, state: state, check: func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), state.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		state.quiet = err == syscall.EAGAIN
		return true
	}}
}

// quiet reports that the connection is open and silent.
func (p *probe) quiet() bool {
	if p.raw == nil {
		return true
	}
	p.state.quiet = false
	return p.raw.Read(p.check) == nil && p.state.quiet
}
