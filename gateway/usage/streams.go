package usage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatewright/gatewright/store"
)

// streamRow is the stream of one key.
type streamRow struct {
	Generation string `json:"generation"`
	Reset      string `json:"reset,omitempty"` // id of the reset that began it
}

var streamTable = store.Table[streamRow]{Name: "usage_streams", Version: 1}

// Stream opens the key's stream, or resumes it, and returns its generation: a UUID.
func (r *Register) Stream(ctx context.Context, who Who) (string, error) {
	return r.stream(ctx, who, func(streamRow) (reset string, renew bool) { return "", false })
}

// Reset begins a new generation of the key's stream in place of that one. A reset whose effect has come already, or that
// is about a generation long gone, changes nothing. It returns the generation there is then.
func (r *Register) Reset(ctx context.Context, who Who, generation, reset string) (string, error) {
	if !validUUID(generation) || !validUUID(reset) {
		return "", fmt.Errorf("reset stream: %w: want UUIDs", ErrInvalid)
	}
	return r.stream(ctx, who, func(have streamRow) (string, bool) {
		return reset, same(have.Generation, generation) && !same(have.Reset, reset)
	})
}

// stream reads the key's stream and writes it where there was none, or where it is to be renewed.
func (r *Register) stream(ctx context.Context, who Who, change func(have streamRow) (reset string, renew bool)) (generation string, err error) {
	if err := who.check(); err != nil {
		return "", fmt.Errorf("usage stream: %w", err)
	}
	fresh, err := newUUID(r.rand)
	if err != nil {
		return "", fmt.Errorf("usage stream: %w", err)
	}
	err = r.store.Update(ctx, who.Tenant, func(tx store.Txn) error {
		have, err := readStream(tx, who)
		if err != nil {
			return err
		}
		reset, renew := change(have)
		if generation = have.Generation; generation != "" && !renew {
			return nil
		}
		generation = fresh
		_, err = streamTable.Put(tx, who.place(), streamRow{fresh, reset}, store.AnyVersion)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("usage stream: keep: %w", err)
	}
	return generation, nil
}

// place is the key's own: one key may be a login that several agents share.
func (w Who) place() string { return w.Agent + "/" + w.Key }

func readStream(tx store.Txn, who Who) (streamRow, error) {
	row, _, err := streamTable.Get(tx, who.place())
	if errors.Is(err, store.ErrNotFound) {
		return streamRow{}, nil
	}
	return row, err
}

// Snapshot is the whole of a row at a revision of its stream: models it does not name are gone from the row.
type Snapshot struct {
	Row
	Revision int64 // from 1
}

// Status is what became of a snapshot.
type Status string

// The clients know these three.
const (
	Applied    Status = "applied"
	Present    Status = "present"    // the row is at that revision already
	Superseded Status = "superseded" // the row is at a later one
)

// Batch keeps the snapshots of a stream, all or none, and tells what became of each. Snapshots of a generation replace
// rows of any before. ErrGeneration: the key's stream is at another generation.
func (r *Register) Batch(ctx context.Context, who Who, generation string, snapshots []Snapshot) ([]Status, error) {
	if err := who.check(); err != nil {
		return nil, fmt.Errorf("usage batch: %w", err)
	}
	if err := r.checkBatch(generation, snapshots); err != nil {
		return nil, fmt.Errorf("usage batch: %w", err)
	}
	out := make([]Status, len(snapshots))
	err := r.update(ctx, who, func(b *books) error {
		have, err := readStream(b.tx, who)
		if err != nil {
			return err
		}
		if !same(have.Generation, generation) {
			return ErrGeneration
		}
		for i := range snapshots {
			if out[i], err = b.replace(have.Generation, &snapshots[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("usage batch: %w", err)
	}
	return out, nil
}

func (r *Register) checkBatch(generation string, snapshots []Snapshot) error {
	if !validUUID(generation) {
		return fmt.Errorf("%w: the generation is no UUID", ErrInvalid)
	}
	rows := make([]Row, len(snapshots))
	for i, s := range snapshots {
		if s.Revision < 1 || s.Revision > 1<<53-1 || s.Date == "" {
			return fmt.Errorf("%w: snapshot %d: want a revision from 1 and a day", ErrInvalid, i)
		}
		rows[i] = s.Row
	}
	return r.check(rows)
}

// replace makes the row what the snapshot says, unless it is there already.
func (b *books) replace(generation string, s *Snapshot) (Status, error) {
	key, have, err := b.get(&s.Row)
	if err != nil {
		return "", err
	}
	if have.Generation == generation {
		switch {
		case have.Revision == s.Revision:
			return Present, nil
		case have.Revision > s.Revision:
			return Superseded, nil
		}
	}
	have.Generation, have.Revision, have.Models = generation, s.Revision, map[string]counts{}
	set(&have, &s.Row)
	return Applied, b.put(key, have)
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID(rand io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:], nil
}

// validUUID takes what the clients call a UUID: versions 1 to 8 of the variant of RFC 9562, in either case.
func validUUID(s string) bool {
	if len(s) != 36 || s[14] < '1' || s[14] > '8' || !strings.ContainsRune("89abAB", rune(s[19])) {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// same compares UUIDs, whose case does not matter.
func same(a, b string) bool { return strings.EqualFold(a, b) }
