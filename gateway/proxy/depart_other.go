//go:build !linux

package proxy

import (
	"context"
	"net"
)

// watchDeparture notices nothing here: a call runs to its end whether or not its client still waits, and a stream learns
// of it when it next writes, at the latest with the next keep-alive comment.
func watchDeparture(net.Conn, context.CancelFunc) uint64 { return 0 }

func forgetDeparture(uint64) {}
