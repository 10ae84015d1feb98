//go:build !linux

package proxy

import (
	"context"
	"net"
	"time"
)

// watchDeparture notices nothing here: a call runs to its end whether or not its client still waits, and a stream learns
// of it when it next writes, at the latest with the next keep-alive comment.
func watchDeparture(net.Conn, time.Duration, context.CancelFunc) uint64 { return 0 }

func forgetDeparture(uint64) {}
