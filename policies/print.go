package policies

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// printer hashes the contents of an Ask under a key that never leaves the process. Every string and list goes in with
// its length, so that two different Asks never write the same bytes.
type printer struct{ h maphash.Hash }

func (p *printer) num(n int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // bits, not a value
	_, _ = p.h.Write(b[:])                         // never fails
}

func (p *printer) str(s string) {
	p.num(int64(len(s)))
	_, _ = p.h.WriteString(s)
}

func (p *printer) list(l []string) {
	p.num(int64(len(l)))
	for _, s := range l {
		p.str(s)
	}
}

func (p *printer) bool(b bool) {
	if b {
		p.num(1)
	} else {
		p.num(0)
	}
}

// time is the instant: the same moment in another zone is the same fact.
func (p *printer) time(t time.Time) {
	p.num(t.Unix())
	p.num(int64(t.Nanosecond()))
}

func (p *printer) addr(a netip.Addr) {
	b := a.As16()
	p.num(int64(a.BitLen())) // tells 1.2.3.4 from ::ffff:1.2.3.4, and both from none
	_, _ = p.h.Write(b[:])
	p.str(a.Zone())
}

// printPrincipal hashes everything a principal holds.
func printPrincipal(seed maphash.Seed, who *Principal) uint64 {
	var p printer
	p.h.SetSeed(seed)
	p.str(who.Kind)
	p.str(who.ID)
	p.str(who.Tenant)
	p.str(who.Owner)
	p.list(who.Teams)
	p.list(who.Roles)
	p.list(who.Labels)
	p.list(who.TalksTo)
	p.num(who.Trust)
	p.str(who.Status)
	return p.h.Sum64()
}

// printAsk hashes everything an Ask holds, given the print of its principal.
func printAsk(seed maphash.Seed, a *Ask, principal uint64) uint64 {
	var p printer
	p.h.SetSeed(seed)
	p.num(int64(principal)) //nolint:gosec // bits, not a value
	p.str(a.User)
	p.str(a.Action)
	p.str(a.Server)
	p.str(a.Tool)
	p.bool(a.Args == nil)
	p.num(int64(len(a.Args)))
	_, _ = p.h.Write(a.Args)
	p.bool(a.ArgsKnown)
	p.bool(a.Plan.InPlan)
	p.str(a.Plan.ID)
	p.num(int64(a.Plan.Step))
	p.num(int64(a.Plan.Steps))
	p.num(int64(a.Plan.Done))
	p.time(a.Plan.Expires)
	p.str(a.Plan.BundleAtIssue)
	p.addr(a.IP)
	p.bool(a.TLS)
	p.time(a.Now)
	p.list(a.Labels)
	return p.h.Sum64()
}
