package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"sync"
	"time"
)

// Authenticate turns a raw API key into its Caller, or refuses with an error that is ErrUnauthenticated and carries its
// Reason. It reads memory only, allocates nothing, and answers an unknown id after the same work as a wrong secret. What
// the key's holder may or may not do is looked at only after the secret was right, so that nobody else learns of it.
func (d *Directory) Authenticate(key []byte, now time.Time) (Caller, error) {
	id, ok := parseKey(key)
	if !ok {
		return Caller{}, refusedMalformed
	}
	e, known := d.snapshot.Load().find(id)
	if !known {
		e = &nobody
	}
	m := d.macs.Get().(*mac)
	match := m.matches(key, &e.mac)
	d.macs.Put(m)
	switch {
	case !known:
		return Caller{}, refusedUnknown
	case !match:
		return Caller{}, refusedWrong
	case e.refusal != nil:
		return Caller{}, e.refusal
	case e.expires != 0 && now.UnixNano() >= e.expires:
		return Caller{}, refusedExpired
	case e.who == nil:
		return Caller{}, refusedUncertain
	}
	return Caller{e.who}, nil
}

// nobody stands in for an unknown key, so that the work is the same.
var nobody entry

// mac is a keyed hash in use by one goroutine. Reset restores the state after the pepper, which saves two of its blocks.
type mac struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

func newMACs(pepper []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, pepper)} }}
}

func (m *mac) of(text []byte) [sha256.Size]byte {
	m.hash.Reset()
	m.hash.Write(text)
	m.hash.Sum(m.sum[:0])
	return m.sum
}

// matches compares in constant time.
func (m *mac) matches(text []byte, want *[sha256.Size]byte) bool {
	got := m.of(text)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
