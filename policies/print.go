package policies

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// printer writes the contents of an Ask in a form that two different Asks never share: every string and list goes in with
// its length. The print is a hash of it under a key that never leaves the process.
type printer []byte

// printSize holds an Ask of the usual size without growing on to the heap.
const printSize = 768

func (p printer) num(n int64) printer {
	return binary.LittleEndian.AppendUint64(p, uint64(n)) //nolint:gosec // bits, not a value
}

func (p printer) str(s string) printer { return append(p.num(int64(len(s))), s...) }

func (p printer) list(l []string) printer {
	p = p.num(int64(len(l)))
	for _, s := range l {
		p = p.str(s)
	}
	return p
}

func (p printer) bool(b bool) printer {
	if b {
		return append(p, 1)
	}
	return append(p, 0)
}

// time is the instant: the same moment in another zone is the same fact.
func (p printer) time(t time.Time) printer {
	return p.num(t.Unix()).num(int64(t.Nanosecond()))
}

func (p printer) addr(a netip.Addr) printer {
	b := a.As16()
	// The length tells 1.2.3.4 from ::ffff:1.2.3.4, and both from none.
	return append(p.num(int64(a.BitLen())), b[:]...).str(a.Zone())
}

// printPrincipal hashes everything a principal holds.
func printPrincipal(seed maphash.Seed, who *Principal) uint64 {
	p := printer(make([]byte, 0, printSize))
	p = p.str(who.Kind).str(who.ID).str(who.Tenant).str(who.Owner)
	p = p.list(who.Teams).list(who.Roles).list(who.Labels).list(who.TalksTo)
	p = p.num(who.Trust).str(who.Status)
	return maphash.Bytes(seed, p)
}

// counted tells whether the Ask has what quota, filters or people count: most have not.
func (a *Ask) counted() bool {
	s := &a.Session
	return s.Known || s.Calls != 0 || s.ThisTool != 0 || s.Labels != nil || a.Scores != nil || a.Approvals != 0
}

// printAsk hashes everything an Ask holds, given the print of its principal. The arguments, which may be large, go in by
// their own hash under the same key.
func printAsk(seed maphash.Seed, a *Ask, principal uint64) uint64 {
	p := printer(make([]byte, 0, printSize))
	p = p.num(int64(principal)).str(a.User).str(a.Action).str(a.Server).str(a.Tool) //nolint:gosec // bits, not a value
	p = p.bool(a.Args == nil).num(int64(len(a.Args)))
	p = p.num(int64(maphash.Bytes(seed, a.Args))).bool(a.ArgsKnown) //nolint:gosec // bits, not a value
	p = p.bool(a.Plan.InPlan).str(a.Plan.ID).num(int64(a.Plan.Step)).num(int64(a.Plan.Steps)).num(int64(a.Plan.Done))
	p = p.time(a.Plan.Expires).str(a.Plan.BundleAtIssue)
	p = p.addr(a.IP).bool(a.TLS).time(a.Now).list(a.Labels)
	if a.Local || a.Approved || len(a.Overlays) > 0 || a.counted() { // what most Asks lack costs them nothing
		p = p.bool(a.Local).bool(a.Approved).num(int64(a.Approvals))
		p = p.bool(a.Session.Known).num(a.Session.Calls).num(a.Session.ThisTool).list(a.Session.Labels)
		p = p.num(int64(len(a.Scores)))
		for _, s := range a.Scores {
			p = p.str(s.Name).num(s.Value)
		}
		for _, o := range a.Overlays {
			digest := o.Digest()
			p = append(p, digest[:]...)
		}
	}
	return maphash.Bytes(seed, p)
}
