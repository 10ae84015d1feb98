package build

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/gatewright/gatewright/wasm/meter"
)

// Metered is a module that package meter has bounded. Kept in the cache it is
//
//	SHA-256 of Module | how many names, and each name behind its length, as varints | Module
//
// under a name that tells the module as it was given, meter.Version and all options.
type Metered struct {
	// Module is what meter.Rewrite returned.
	Module []byte
	// State is the Report's.
	State []string

	digest [32]byte // of Module; zero when nobody has counted it yet
	name   name     // under which it is to be kept
	fresh  bool     // it is not there yet
}

func rewrite(module []byte, o meter.Options) (Metered, error) {
	metered, report, err := meter.Rewrite(module, o)
	return Metered{Module: metered, State: report.State}, err
}

// meter looks into the cache first. What is refused is never kept.
func (c *Compiler) meter(module []byte, digest [32]byte, o meter.Options) (Metered, error) {
	n := meteredName(digest, meter.Version, o)
	if b, ok := c.cache.open(meterMagic, n, sha256.Size); ok {
		if m, ok := parseMetered(b); ok {
			return m, nil
		}
		c.cache.refuse(n)
	}
	m, err := rewrite(module, o)
	if err != nil {
		return Metered{}, err
	}
	m.digest, m.name, m.fresh = sha256.Sum256(m.Module), n, true
	return m, nil
}

// keep puts a metered module that has compiled into the cache. Others would only take its room.
func (c *Compiler) keep(m Metered) {
	if m.fresh && c.cache.keep(meterMagic, m.name, m.head(), m.Module) != nil {
		c.counts.unsaved.Add(1)
	}
}

// meteredName is a digest of all that the rewriting depends on. The options go in whole, by the names of their fields, so that
// one that is added is in it.
func meteredName(digest [32]byte, version int, o meter.Options) name {
	h := sha256.New()
	fmt.Fprintf(h, "%s%d\n%+v\n", meterMagic, version, o.Filled())
	h.Write(digest[:])
	return name(h.Sum(nil))
}

// head is what stands before the module.
func (m *Metered) head() []byte {
	b := binary.AppendUvarint(m.digest[:len(m.digest):len(m.digest)], uint64(len(m.State)))
	for _, s := range m.State {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

// parseMetered reads the body of an entry, which has at least a digest.
func parseMetered(b []byte) (m Metered, ok bool) {
	m.digest = [32]byte(b[:sha256.Size])
	r := reader{b: b[sha256.Size:]}
	for n := r.number(); n > 0 && !r.bad; n-- {
		m.State = append(m.State, string(r.bytes(r.number())))
	}
	m.Module = r.b
	return m, !r.bad
}
