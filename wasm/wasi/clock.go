package wasi

import "encoding/binary"

// The clocks that there are.
const (
	realtime  = 0
	monotonic = 1
)

// started is what the monotonic clock shows when a call begins, in nanoseconds: Go's runtime does not take zero for a time.
const started = 1_000_000

// longest is the most that a guest can sleep in one call, in nanoseconds: 146 years.
const longest = 1 << 62

// clock reads a clock in nanoseconds.
func (g *guest) clock(id uint64) (uint64, bool) {
	switch id {
	case realtime:
		now := int64(0) // while the guest is set up
		if c := g.host.Call(); c != nil {
			now = c.Now
		}
		return uint64(now)*1_000_000 + g.slept, true
	case monotonic:
		return started + g.slept, true
	}
	return 0, false
}

// clockTime is clock_time_get(id, precision, to).
func clockTime(g *guest, a []uint64) errno {
	to := g.bytes(low(a[2]), 8)
	now, ok := g.clock(low(a[0]))
	if !ok {
		return inval
	}
	binary.LittleEndian.PutUint64(to, now)
	return success
}

// Layout of what poll_oneoff reads and writes, in bytes.
const (
	subscription = 48
	atTag        = 8
	atClock      = 16
	atTimeout    = 24
	atFlags      = 40
	event        = 32
	atErrno      = 8
	atType       = 10

	mostPolled = 64 // subscriptions of one call
	absolute   = 1  // flag of a timeout
)

// poll is poll_oneoff(subscriptions, events, count, to). Files are never ready: they are not there. When there are none, the
// clock goes on to the first timeout.
func poll(g *guest, a []uint64) errno {
	count := low(a[2])
	if count < 1 || count > mostPolled {
		return inval
	}
	g.host.Charge(int64(count) * 20)
	in, out, to := g.bytes(low(a[0]), count*subscription), g.bytes(low(a[1]), count*event), g.bytes(low(a[3]), 4)
	in = append([]byte(nil), in...) // the guest may have both at one place
	due, files := g.due(in)
	n := 0
	for s := in; len(s) > 0; s = s[subscription:] {
		if isFile := s[atTag] != 0; isFile != files || !isFile && g.wait(s) > due {
			continue
		}
		answer(out[n*event:(n+1)*event], s)
		n++
	}
	g.slept = min(g.slept+due, longest)
	binary.LittleEndian.PutUint32(to, uint32(n))
	return success
}

// due is how long the first timeout is off, or 0 and true when any subscription is of a file.
func (g *guest) due(subscriptions []byte) (first uint64, files bool) {
	first = longest
	for s := subscriptions; len(s) > 0; s = s[subscription:] {
		if s[atTag] != 0 {
			return 0, true
		}
		first = min(first, g.wait(s))
	}
	return first, false
}

// wait is how long a timeout is off, in nanoseconds.
func (g *guest) wait(s []byte) uint64 {
	timeout := binary.LittleEndian.Uint64(s[atTimeout:])
	if binary.LittleEndian.Uint16(s[atFlags:])&absolute == 0 {
		return min(timeout, longest)
	}
	now, _ := g.clock(uint64(binary.LittleEndian.Uint32(s[atClock:])))
	if timeout <= now {
		return 0
	}
	return min(timeout-now, longest)
}

// answer writes the event of a subscription.
func answer(to, s []byte) {
	clear(to)
	copy(to, s[:8]) // the guest's own mark
	to[atType] = s[atTag]
	if s[atTag] != 0 {
		to[atErrno] = byte(badf)
	}
}
