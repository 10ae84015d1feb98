package device

import (
	"net/netip"
	"slices"
	"time"
)

// groups are what a sign-in counts against: its client, network and region.
type groups [3]*group

// Indices of groups. A region is what costs an effort to have several of: a /16, for IPv6 the /32 that a provider is
// given. It has no bound of its own, and only weighs when the desk is full.
const (
	client = iota
	network
	region
)

// group is guarded by its desk's mu.
type group struct {
	at place
	n  int // sign-ins
}

// place tells the unknown client from the unknown network.
type place struct {
	width  int
	prefix netip.Prefix
}

// groupsOf counts by prefixes: whoever has one IPv6 address has a /64 of them, and often a /48. Unknown addresses are all
// one client. It must be called under mu; what is new is not kept before somebody joins.
func (d *Desk) groupsOf(a netip.Addr) (of groups) {
	a = a.Unmap().WithZone("")
	bits := [...]int{32, 24, 16}
	if a.Is6() {
		bits = [...]int{64, 48, 32}
	}
	for i := range of {
		prefix, _ := a.Prefix(bits[i]) // of the zero Addr: the zero Prefix
		at := place{i, prefix}
		if of[i] = d.groups[at]; of[i] == nil {
			of[i] = &group{at: at}
		}
	}
	return of
}

// join must be called under mu.
func (d *Desk) join(of groups) {
	for _, g := range of {
		g.n++
		d.groups[g.at] = g
	}
}

// leave must be called under mu.
func (d *Desk) leave(of groups) {
	for _, g := range of {
		if g.n--; g.n == 0 {
			delete(d.groups, g.at)
		}
	}
}

// apart is the widest of the groups in which two are not together, -1 when they are of one client.
func (g groups) apart(h groups) int {
	for i := region; i >= client; i-- {
		if g[i] != h[i] {
			return i
		}
	}
	return -1
}

// room says whether there is room for a sign-in, and which other one has to go for it, nil for none. It must be called
// under mu.
func (d *Desk) room(s *signIn, now time.Time) (out *signIn, ok bool) {
	within := region + 1
	switch {
	case s.of[client].n >= d.config.PerSource:
		within = client
	case s.of[network].n >= d.config.PerNetwork:
		within = network
	case len(d.users) < d.config.Entries:
		return nil, true
	}
	var first rank
	for _, e := range d.users {
		if within <= region && e.of[within] != s.of[within] {
			continue
		}
		if r, gives := d.rank(e, s, now); gives && (out == nil || slices.Compare(r[:], first[:]) < 0) {
			out, first = e, r
		}
	}
	return out, out != nil
}

// rank is in which order sign-ins make room, the smallest first: by why, then those of the heaviest region, network and
// client, then the eldest.
type rank [5]int

// Why a sign-in makes room.
const (
	denied  = iota
	gone    // nobody polls for it
	lost    // it was approved, and nobody has polled for so long that nobody will
	heavy   // there are more from where it comes
	waiting // it has had its time
)

// rank ranks e for making room for s. It must be called under mu.
func (d *Desk) rank(e, s *signIn, now time.Time) (r rank, gives bool) {
	why, gives := d.yields(e, s, now)
	return rank{why, -e.of[region].n, -e.of[network].n, -e.of[client].n, int(e.view.Created.UnixNano())}, gives
}

// yields says why e makes room for s. A program that polls keeps its place, but for one from where there are fewer: at
// once when there are fewer even with that one, after Config.Patience otherwise, and then for the same client's too.
func (d *Desk) yields(e, s *signIn, now time.Time) (why int, ok bool) {
	quiet, most := now.Sub(e.polled), d.config.Quiet
	if e.polled.IsZero() {
		quiet, most = now.Sub(e.view.Created), d.config.Quiet/2
	}
	switch e.view.State {
	case Denied:
		return denied, true
	case Approved:
		return lost, quiet >= d.config.Patience
	case Pending:
	}
	patient := now.Sub(e.view.Created) >= d.config.Patience
	at := e.of.apart(s.of)
	if quiet >= most {
		return gone, true
	}
	if at < 0 {
		return waiting, patient
	}
	more := e.of[at].n - s.of[at].n
	if more > 1 {
		return heavy, true
	}
	return waiting, patient && more > 0
}
