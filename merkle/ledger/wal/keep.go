package wal

import (
	"encoding/base32"
	"time"
)

// Keep says that what lies before an index of a tenant's ledger was given up, whether or not its segments, which others
// may need, are still there: whoever asks for it gets ErrPruned. It never goes back, and is said anew after each start by
// whoever keeps it.
func (l *Log) Keep(tenant string, first uint64) {
	l.view.Lock()
	defer l.view.Unlock()
	if l.index.floors == nil {
		l.index.floors = map[string]uint64{}
	}
	l.index.floors[tenant] = max(l.index.floors[tenant], first)
}

// First returns the index of the first record of a tenant that is kept; 0 for one without records.
func (l *Log) First(tenant string) uint64 {
	h, _ := l.holdingsOf(tenant)
	return h.first
}

// OldestOpen returns when the oldest call that is admitted and not settled was, false when there is none.
func (l *Log) OldestOpen() (time.Time, bool) {
	var oldest [26]byte
	l.uses.mu.RLock()
	for id := range l.uses.open {
		if oldest == ([26]byte{}) || string(id[:]) < string(oldest[:]) {
			oldest = id // ids sort by time
		}
	}
	l.uses.mu.RUnlock()
	if oldest == ([26]byte{}) {
		return time.Time{}, false
	}
	raw, err := crockford.DecodeString(string(oldest[:]))
	if err != nil {
		return time.Unix(0, 0), true // no time that an id names: nothing is old enough
	}
	ms := int64(raw[0])<<40 | int64(raw[1])<<32 | int64(raw[2])<<24 | int64(raw[3])<<16 | int64(raw[4])<<8 | int64(raw[5])
	return time.UnixMilli(ms), true
}

// crockford is the alphabet of record ids, see ledger.NewID.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)
