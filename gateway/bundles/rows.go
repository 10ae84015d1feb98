package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// revisionRow is a revision as kept. Its files stand apart, by their digests, so that revisions share what they have in
// common.
type revisionRow struct {
	Number    uint64            `json:"number"`
	Digest    merkle.Hash       `json:"digest"` // of the bundle
	Name      string            `json:"name,omitempty"`
	Version   uint64            `json:"version,omitempty"`
	Files     map[string]string `json:"files,omitempty"` // name to SHA-256, hex; nil in memory
	Count     int               `json:"count"`
	Bytes     int               `json:"bytes"`
	Signature []byte            `json:"signature,omitempty"`
	SignedBy  string            `json:"signed_by,omitempty"`
	User      string            `json:"user,omitempty"`
	Key       string            `json:"key,omitempty"`
	Source    Source            `json:"source"`
	Time      int64             `json:"time"` // unix seconds

	problem string // why the row cannot be read
}

// stateRow says what is in force. Zero revision numbers mean none.
type stateRow struct {
	Next     uint64      `json:"next"` // the number of the next revision
	Enforced uint64      `json:"enforced,omitempty"`
	Staged   uint64      `json:"staged,omitempty"`
	Shadow   bool        `json:"shadow,omitempty"`
	Canary   int         `json:"canary,omitempty"`
	Past     []uint64    `json:"past,omitempty"`    // enforced before, oldest first
	Manual   bool        `json:"manual,omitempty"`  // a person put it in force, not a source
	Offered  merkle.Hash `json:"offered,omitzero"`  // what the source last had, taken or overruled since
	Version  uint64      `json:"version,omitempty"` // the highest of any bundle taken in
	Filters  []string    `json:"filters,omitempty"` // that the enforced one enforces, by name: for when it cannot be read
}

func (r stateRow) mode() policies.Mode { return policies.Mode{Shadow: r.Shadow, Canary: r.Canary} }

// The tables. fileTable holds files' bytes as they are, by SHA-256.
var (
	revisionTable = store.Table[revisionRow]{Name: "bundle_revisions", Version: 1}
	stateTable    = store.Table[stateRow]{Name: "bundle_state", Version: 1}
)

const (
	fileTable = "bundle_files"
	stateKey  = "state"
	maxPast   = 32 // how far the way back goes

	// One transaction's share of a large bundle's files: half of what the store takes.
	chunkBytes = store.MaxTxnBytes / 2
	chunkFiles = store.MaxTxnWrites / 2
)

func revisionKey(number uint64) string { return fmt.Sprintf("%020d", number) }

// load reads a tenant's rows and puts in force what they say. One revision that cannot be read is shown as such. If it was
// in force, or the state row cannot be read, nothing is, until a person says what is to be or exactly what was comes again.
func (s *Service) load(ctx context.Context, b *book) error {
	var row stateRow
	var revs []revisionRow
	var stateErr error
	err := s.deps.Store.View(ctx, b.tenant, func(tx store.Txn) error {
		var err error
		if revs, err = scanRevisions(tx); err != nil {
			return err
		}
		row, _, stateErr = stateTable.Get(tx, stateKey)
		return nil
	})
	if err != nil {
		return err
	}
	fresh := errors.Is(stateErr, store.ErrNotFound) && len(revs) == 0
	s.mu.Lock()
	b.row, b.revs, b.open = row, revs, true
	s.mu.Unlock()
	switch {
	case fresh:
		return nil
	case stateErr != nil:
		s.recoverState(ctx, b)
		s.lost(b, "which revision is in force cannot be read from the store: "+stateErr.Error())
		return nil
	}
	return s.resume(ctx, b)
}

// scanRevisions reads every row, and what cannot be read as a row with a problem.
func scanRevisions(tx store.Txn) ([]revisionRow, error) {
	var keys []string
	if err := tx.Scan(revisionTable.Name, "", func(key string, _ store.Value) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		return nil, err
	}
	var out []revisionRow
	for _, key := range keys {
		n, err := strconv.ParseUint(key, 10, 64)
		if err != nil || key != revisionKey(n) {
			return nil, fmt.Errorf("revision %.30q: %w", key, ErrDamaged)
		}
		r, _, err := revisionTable.Get(tx, key)
		if err == nil && r.Number != n {
			err = ErrDamaged
		}
		if err != nil {
			r = revisionRow{Number: n, problem: err.Error()}
		}
		r.Files = nil
		out = append(out, r)
	}
	return out, nil
}

// recoverState makes a state row of which no number is given twice and no version goes down. Which filters were enforced nobody
// knows; all that any revision enforces may have been.
func (s *Service) recoverState(ctx context.Context, b *book) {
	row := stateRow{Next: 1}
	for _, r := range b.revs {
		row.Next, row.Version = max(row.Next, r.Number+1), max(row.Version, r.Version)
		if bundle, err := s.read(ctx, b.tenant, r.Number); err == nil {
			row.Filters = append(row.Filters, enforcedFilters(bundle)...)
		}
	}
	slices.Sort(row.Filters)
	row.Filters = slices.Compact(row.Filters)
	s.mu.Lock()
	b.row = row
	s.mu.Unlock()
}

// resume compiles what the state row names.
func (s *Service) resume(ctx context.Context, b *book) error {
	row := b.row
	if row.Enforced == 0 {
		return nil
	}
	bundle, err := s.read(ctx, b.tenant, row.Enforced)
	if errors.Is(err, ErrDamaged) {
		s.lose(b, err)
		return nil
	}
	if err != nil {
		return err
	}
	var staged *policies.Bundle
	if row.Staged != 0 {
		if staged, err = s.read(ctx, b.tenant, row.Staged); errors.Is(err, ErrDamaged) {
			return s.withdrawDamaged(ctx, b, bundle, err)
		} else if err != nil {
			return err
		}
	}
	row.Filters = enforcedFilters(bundle) // rows of older versions do not say
	s.hold(b, row, bundle, staged)
	s.compileHeld(ctx, b)
	return nil
}

// hold takes in memory what the row names.
func (s *Service) hold(b *book, row stateRow, enforced, staged *policies.Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.row, b.enforced, b.staged = row, enforced, staged
}

// read loads a revision's files. Whatever is not exactly what was handed in is ErrDamaged.
func (s *Service) read(ctx context.Context, tenant string, number uint64) (*policies.Bundle, error) {
	var files map[string][]byte
	var row revisionRow
	err := s.deps.Store.View(ctx, tenant, func(tx store.Txn) (err error) {
		files = map[string][]byte{}
		if row, _, err = revisionTable.Get(tx, revisionKey(number)); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		for name, digest := range row.Files {
			v, err := tx.Get(fileTable, digest)
			if errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("%w: file %.80q is gone", ErrDamaged, name)
			}
			if err != nil {
				return err
			}
			if digestOf(v.Data) != digest {
				return fmt.Errorf("%w: file %.80q is another", ErrDamaged, name)
			}
			files[name] = v.Data
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("revision %d: %w", number, err)
	}
	if len(row.Signature) > 0 {
		files[policies.SignatureFile] = row.Signature
	}
	bundle, err := policies.NewBundle(files)
	if err != nil {
		return nil, fmt.Errorf("revision %d: %w: %w", number, ErrDamaged, err)
	}
	if bundle.Digest() != row.Digest || row.Number != number {
		return nil, fmt.Errorf("revision %d: %w: its digest is another", number, ErrDamaged)
	}
	return bundle, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// putFiles keeps a bundle's files, those that are not there yet. What a failure leaves behind is of no revision, and is
// swept with the next one that is given up.
func (s *Service) putFiles(ctx context.Context, tenant string, b *policies.Bundle) (files map[string]string, bytes int, err error) {
	files = map[string]string{}
	var chunk [][]byte
	size := 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		err := s.deps.Store.Update(ctx, tenant, func(tx store.Txn) error { return putAll(tx, chunk) })
		chunk, size = nil, 0
		return err
	}
	for _, name := range b.Files() {
		data, _ := b.File(name)
		files[name], bytes = digestOf(data), bytes+len(data)
		if size+len(data) > chunkBytes || len(chunk) == chunkFiles {
			if err := flush(); err != nil {
				return nil, 0, fmt.Errorf("keep files: %w", err)
			}
		}
		chunk, size = append(chunk, data), size+len(data)
	}
	if err := flush(); err != nil {
		return nil, 0, fmt.Errorf("keep files: %w", err)
	}
	return files, bytes, nil
}

func putAll(tx store.Txn, chunk [][]byte) error {
	for _, data := range chunk {
		key := digestOf(data)
		if v, err := tx.Get(fileTable, key); err == nil && digestOf(v.Data) == key {
			continue
		}
		if _, err := tx.Put(fileTable, key, data, store.AnyVersion); err != nil {
			return err
		}
	}
	return nil
}

// keep makes a change of state durable, with the revision that comes with it, if any. When the store cannot say whether
// it did, the row is read again.
func (s *Service) keep(ctx context.Context, tenant string, row stateRow, rev *revisionRow) error {
	err := s.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		if rev != nil {
			if _, err := revisionTable.Put(tx, revisionKey(rev.Number), *rev, store.AnyVersion); err != nil {
				return err
			}
		}
		_, err := stateTable.Put(tx, stateKey, row, store.AnyVersion)
		return err
	})
	if err == nil {
		return nil
	}
	var got stateRow
	look := s.deps.Store.View(context.WithoutCancel(ctx), tenant, func(tx store.Txn) (err error) {
		got, _, err = stateTable.Get(tx, stateKey)
		return err
	})
	if look == nil && same(got, row) {
		return nil
	}
	return fmt.Errorf("keep: %w", err)
}

func same(a, b stateRow) bool {
	if !slices.Equal(a.Past, b.Past) || !slices.Equal(a.Filters, b.Filters) {
		return false
	}
	return a.Next == b.Next && a.Enforced == b.Enforced && a.Staged == b.Staged && a.Shadow == b.Shadow && a.Canary == b.Canary &&
		a.Manual == b.Manual && a.Offered == b.Offered && a.Version == b.Version
}

// prune gives up the oldest revisions above the bound, and the files that no revision has any more.
func (s *Service) prune(ctx context.Context, b *book) error {
	over := len(b.revs) - s.cfg.History
	if over <= 0 {
		return nil
	}
	gone := map[uint64]bool{}
	for _, r := range b.revs {
		if len(gone) == over {
			break
		}
		if n := r.Number; n != b.row.Enforced && n != b.row.Staged && !slices.Contains(b.row.Past, n) {
			gone[n] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := s.deps.Store.Update(ctx, b.tenant, func(tx store.Txn) error { return forget(tx, gone) }); err != nil {
		return fmt.Errorf("give up old revisions: %w", err)
	}
	s.mu.Lock()
	b.revs = slices.DeleteFunc(slices.Clone(b.revs), func(r revisionRow) bool { return gone[r.Number] })
	s.mu.Unlock()
	return nil
}

// forget deletes rows and what they alone refer to. While one row cannot be read no file is deleted: it may be its.
func forget(tx store.Txn, gone map[uint64]bool) error {
	for n := range gone {
		if err := tx.Delete(revisionTable.Name, revisionKey(n), store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	used := map[string]bool{}
	if err := revisionTable.Scan(tx, "", func(_ string, r revisionRow, _ uint64) error {
		for _, digest := range r.Files {
			used[digest] = true
		}
		return nil
	}); err != nil {
		return nil //nolint:nilerr // the rows go all the same, and the files wait
	}
	var stray []string
	if err := tx.Scan(fileTable, "", func(key string, _ store.Value) error {
		if !used[key] && len(stray) < chunkFiles {
			stray = append(stray, key)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, key := range stray {
		if err := tx.Delete(fileTable, key, store.AnyVersion); err != nil {
			return err
		}
	}
	return nil
}
