package proxy_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// TestASilentPeerIsGivenUpByTheKernel after the time to write and 15 s: the option stands on the port's own sockets.
func TestASilentPeerIsGivenUpByTheKernel(t *testing.T) {
	h := moor(t, false, func(c *proxy.Config) { c.WriteTimeout = 7 * time.Second }, func(x *proxy.Exchange) { x.JSON(200, nil) })
	c := h.dial()
	c.say(t, unary)
	c.response(t)
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	far, _ := strconv.Atoi(port)
	found := false
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		fd, err := strconv.Atoi(e.Name())
		if err != nil || !strings.HasPrefix(link, "socket:") {
			continue
		}
		peer, err := unix.Getpeername(fd)
		if in, ok := peer.(*unix.SockaddrInet4); err == nil && ok && in.Port == far {
			ms, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			found = true
			if err != nil || ms != 22_000 {
				t.Errorf("%d ms, %v", ms, err)
			}
		}
	}
	if !found {
		t.Error("the port's socket was not found")
	}
}
