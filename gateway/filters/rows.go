package filters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/store"
)

// versionRow is a version as kept. The module's bytes stand apart, by their digest.
type versionRow struct {
	Name     string          `json:"name"`
	Number   uint64          `json:"number"`
	Digest   merkle.Hash     `json:"digest"`
	Size     int             `json:"size"`
	Dialect  string          `json:"dialect"`
	Class    string          `json:"class"`
	Memory   int             `json:"memory,omitempty"`
	Fuel     int64           `json:"fuel,omitempty"`
	Response bool            `json:"response,omitempty"`
	Config   json.RawMessage `json:"config,omitempty"`
	Vectors  []Vector        `json:"vectors,omitempty"` // nil in memory
	User     string          `json:"user,omitempty"`
	Key      string          `json:"key,omitempty"`
	Time     int64           `json:"time"`  // unix seconds
	Given    string          `json:"given"` // SHA-256 over config and vectors, hex

	tested int   // how many vectors it has, also where they are not in memory
	beside int64 // bytes of config and vectors
}

// slim is the row as it is held in memory: without its vectors.
func (r versionRow) slim() versionRow {
	r.tested, r.beside, r.Vectors = len(r.Vectors), beside(r.Config, r.Vectors), nil
	return r
}

// beside is how many bytes are kept of a version beside its module.
func beside(config json.RawMessage, vectors []Vector) int64 {
	if len(vectors) == 0 {
		return int64(len(config))
	}
	text, _ := json.Marshal(vectors) // they came as JSON
	return int64(len(config) + len(text))
}

func (r *versionRow) key() string { return versionKey(r.Name, r.Number) }

// nameRow is what is kept of a name.
type nameRow struct {
	Next uint64 `json:"next"`           // the number of the next version
	Past []past `json:"past,omitempty"` // that were enforced before, oldest first
}

// floorRow is what is left of names that have no version any more, one for all of them.
type floorRow struct {
	Next uint64 `json:"next"` // no name begins with a lower number
}

// floorKey is that of the one row.
const floorKey = "floor"

// past is an entry that was enforced, and where it stood: from 1, and 0 in rows that do not say.
type past struct {
	manifest.Filter
	Position int  `json:"position,omitempty"`
	Moved    bool `json:"moved,omitempty"` // by the change that came after
}

// rejectRow is a module that did not pass, by its digest.
type rejectRow struct {
	Name      string      `json:"name"`
	Digest    merkle.Hash `json:"digest"`
	Size      int         `json:"size"`
	User      string      `json:"user,omitempty"`
	Key       string      `json:"key,omitempty"`
	Time      int64       `json:"time"`
	Rejection Rejection   `json:"rejection"`
}

// The tables. moduleTable holds modules' bytes as they are, in pieces.
var (
	versionTable = store.Table[versionRow]{Name: "filter_versions", Version: 1}
	nameTable    = store.Table[nameRow]{Name: "filter_names", Version: 1}
	floorTable   = store.Table[floorRow]{Name: "filter_floor", Version: 1}
	rejectTable  = store.Table[rejectRow]{Name: "filter_rejected", Version: 1}
)

const (
	moduleTable = "filter_modules"
	pieceBytes  = 1 << 20
	maxPast     = 32  // how far the way back goes
	maxRejected = 100 // rejections of a tenant that are remembered
)

func versionKey(name string, number uint64) string { return fmt.Sprintf("%s/%020d", name, number) }
func pieceKey(digest string, i int) string         { return fmt.Sprintf("%s/%04d", digest, i) }

// given names what came with a module.
func given(u Upload) (string, error) {
	text, err := json.Marshal(struct {
		Config  json.RawMessage
		Vectors []Vector
	}{u.Config, u.Vectors})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// book is what a tenant uploaded. change serializes what is done to it, and is taken before Service.mu, never after. The
// fields are written under both, so either suffices to read them; maps and lists are replaced and never changed.
type book struct {
	loading sync.Mutex    // serializes the first reading of the rows
	change  chan struct{} // a lock the wait for which a context can end

	open     bool
	versions map[string][]versionRow // by name, by number
	names    map[string]nameRow      // that have versions
	floor    uint64                  // as in floorRow
	rejected map[merkle.Hash]rejectRow
	torn     bool // rows cannot be read: modules are theirs that no version seems to be of

	// Under Service.mu alone.
	pinned map[string]int // versions, by key, that bundles name which are on their way into force
	going  string         // the version that is being deleted
}

// opened finds a tenant's book, with its rows read. It waits for no change: a bundle that is put in force asks it, and may be
// what a change waits for.
func (s *Service) opened(ctx context.Context, tenant string) (*book, error) {
	if err := store.CheckTenant(tenant); err != nil {
		return nil, err
	}
	s.mu.Lock()
	b := s.books[tenant]
	if b == nil {
		b = &book{change: make(chan struct{}, 1)}
		s.books[tenant] = b
	}
	open := b.open
	s.mu.Unlock()
	if open {
		return b, nil
	}
	b.loading.Lock()
	defer b.loading.Unlock()
	if b.open {
		return b, nil
	}
	if err := s.loadBook(ctx, tenant, b); err != nil {
		return nil, fmt.Errorf("open filters of %s: %w", tenant, err)
	}
	return b, nil
}

// lock is opened for a change; unlock must follow.
func (s *Service) lock(ctx context.Context, tenant string) (*book, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, err
	}
	select {
	case b.change <- struct{}{}:
		return b, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("filters of %s: %w", tenant, context.Cause(ctx))
	}
}

func (b *book) unlock() { <-b.change }

// loadBook reads a tenant's rows, and forgets modules that no version is of: what a crash left behind. A row that cannot be read is
// passed over: a bundle that names its version is refused until the same bytes are uploaded, and the other filters go on. Then no
// module is forgotten, for it may be that row's.
func (s *Service) loadBook(ctx context.Context, tenant string, b *book) error {
	versions, rows, rejected := map[string][]versionRow{}, map[string]nameRow{}, map[merkle.Hash]rejectRow{}
	next := map[string]uint64{} // above each number that a version has, readable or not
	var floor floorRow
	var damaged []string
	err := s.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		clear(versions)
		var err error
		if damaged, err = eachRow(tx, versionTable, func(key string, r versionRow) bool {
			if key != versionKey(r.Name, r.Number) {
				return false
			}
			versions[r.Name] = append(versions[r.Name], r.slim())
			next[r.Name] = r.Number + 1
			return true
		}); err != nil {
			return err
		}
		for _, key := range damaged {
			name, number, _ := strings.Cut(key, "/")
			n, _ := strconv.ParseUint(number, 10, 64) // what is no number was never given
			next[name] = max(next[name], n+1)
		}
		bad, err := eachRow(tx, nameTable, func(key string, r nameRow) bool { rows[key] = r; return true })
		if err != nil {
			return err
		}
		damaged = append(damaged, bad...)
		if floor, _, err = floorTable.Get(tx, floorKey); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		bad, err = eachRow(tx, rejectTable, func(_ string, r rejectRow) bool { rejected[r.Digest] = r; return true })
		damaged = append(damaged, bad...)
		return err
	})
	if err != nil {
		return err
	}
	for name, n := range next {
		row := rows[name]
		row.Next = max(row.Next, n)
		rows[name] = row
	}
	if len(damaged) > 0 {
		s.deps.Log.Error("rows of filters cannot be read (upload what is missing again)", "tenant", tenant, "rows", damaged)
	} else if err := s.sweep(ctx, tenant, versions, ""); err != nil {
		s.deps.Log.Warn("modules of no filter are still kept", "tenant", tenant, "error", err)
	}
	s.mu.Lock()
	b.open, b.versions, b.names, b.rejected, b.floor, b.torn = true, versions, rows, rejected, floor.Next, len(damaged) > 0
	s.mu.Unlock()
	return nil
}

// eachRow shows the rows of a table, and lists the keys of those that cannot be read or are not taken.
func eachRow[T any](tx store.Txn, of store.Table[T], take func(key string, row T) bool) (damaged []string, err error) {
	var keys []string
	if err := tx.Scan(of.Name, "", func(key string, _ store.Value) error { keys = append(keys, key); return nil }); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if row, _, err := of.Get(tx, key); err != nil || !take(key, row) {
			damaged = append(damaged, key)
		}
	}
	return damaged, nil
}

// sweep deletes the bytes of modules that no version is of; of one alone, where its digest is given.
func (s *Service) sweep(ctx context.Context, tenant string, versions map[string][]versionRow, only string) error {
	used := map[string]bool{}
	for _, list := range versions {
		for _, r := range list {
			used[r.Digest.String()] = true
		}
	}
	return s.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		var stray []string
		if err := tx.Scan(moduleTable, "", func(key string, _ store.Value) error {
			if digest, _, _ := strings.Cut(key, "/"); !used[digest] && (only == "" || only == digest) && len(stray) < store.MaxTxnWrites/2 {
				stray = append(stray, key)
			}
			return nil
		}); err != nil {
			return err
		}
		for _, key := range stray {
			if err := tx.Delete(moduleTable, key, store.AnyVersion); err != nil {
				return err
			}
		}
		return nil
	})
}

// putModule keeps a module's bytes. What a failure leaves behind is of no version, and is swept.
func (s *Service) putModule(ctx context.Context, tenant string, digest merkle.Hash, module []byte) error {
	var pieces [][]byte
	for piece := range slices.Chunk(module, pieceBytes) {
		pieces = append(pieces, piece)
	}
	err := s.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		for i, piece := range pieces {
			if _, err := tx.Put(moduleTable, pieceKey(digest.String(), i), piece, store.AnyVersion); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep module: %w", err)
	}
	return nil
}

// module reads a module's bytes. Whatever is not exactly what was handed in is ErrDamaged.
func (s *Service) module(ctx context.Context, tenant string, r versionRow) ([]byte, error) {
	var module []byte
	err := s.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		module = make([]byte, 0, r.Size)
		for i := 0; len(module) < r.Size; i++ {
			v, err := tx.Get(moduleTable, pieceKey(r.Digest.String(), i))
			if errors.Is(err, store.ErrNotFound) || err == nil && len(v.Data) == 0 {
				return ErrDamaged
			}
			if err != nil {
				return err
			}
			module = append(module, v.Data...)
		}
		return nil
	})
	if err == nil && merkle.Hash(sha256.Sum256(module)) != r.Digest {
		err = ErrDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("module of filter %s, version %d: %w (upload it again)", r.Name, r.Number, err)
	}
	return module, nil
}

// keep makes a change of rows durable. When the store cannot say whether it did, look tells by reading again.
func (s *Service) keep(ctx context.Context, tenant string, write func(store.Txn) error, look func(store.Txn) bool) error {
	err := s.deps.Store.Update(ctx, tenant, write)
	if err == nil {
		return nil
	}
	there := false
	if look != nil {
		_ = s.deps.Store.View(context.WithoutCancel(ctx), tenant, func(tx store.Txn) error { there = look(tx); return nil }) // what cannot be read is not there
	}
	if there {
		return nil
	}
	return fmt.Errorf("keep: %w", err)
}

// find returns the version of a name, the newest for number 0.
func (b *book) find(name string, number uint64) (versionRow, error) {
	list := b.versions[name]
	if len(list) == 0 {
		return versionRow{}, fmt.Errorf("filter %.80q: %w (`gatewright filter list` shows those that there are, `gatewright filter push` uploads one)", name, ErrNotFound)
	}
	if number == 0 {
		return list[len(list)-1], nil
	}
	for _, r := range list {
		if r.Number == number {
			return r, nil
		}
	}
	return versionRow{}, fmt.Errorf("filter %s, version %d: %w (the newest is %d)", name, number, ErrNotFound, list[len(list)-1].Number)
}

// named finds what an entry of a manifest means.
func (b *book) named(f manifest.Filter) (versionRow, error) {
	for _, r := range b.versions[f.Name] {
		if DigestText(r.Digest) == f.Digest {
			return r, nil
		}
	}
	for _, r := range b.rejected {
		if DigestText(r.Digest) == f.Digest {
			return versionRow{}, fmt.Errorf("filter %s: its module %s was rejected: %w", f.Name, f.Digest, &r.Rejection)
		}
	}
	for name, list := range b.versions {
		for _, r := range list {
			if DigestText(r.Digest) == f.Digest {
				return versionRow{}, fmt.Errorf("filter %s: %w with the digest %s; it was uploaded as %s (call it so in manifest.json)", f.Name, ErrNotFound, f.Digest, name)
			}
		}
	}
	return versionRow{}, fmt.Errorf("filter %s: %w with the digest %s (upload the module with `gatewright filter push %s FILE` before a bundle names it)", f.Name, ErrNotFound, f.Digest, f.Name)
}

// bytes is what the tenant's versions take: modules, of which equal ones count once, configs and vectors.
func (b *book) bytes() int64 {
	seen, sum := map[merkle.Hash]bool{}, int64(0)
	for _, list := range b.versions {
		for _, r := range list {
			sum += r.beside
			if !seen[r.Digest] {
				seen[r.Digest] = true
				sum += int64(r.Size)
			}
		}
	}
	return sum
}

func (r versionRow) version(state State) Version {
	return Version{
		Name: r.Name, Number: r.Number, State: state, Digest: r.Digest, Size: r.Size, Dialect: r.Dialect, Class: r.Class, Memory: r.Memory,
		Fuel: r.Fuel, Response: r.Response, Config: r.Config, By: Actor{r.User, r.Key}, Time: time.Unix(r.Time, 0).UTC(), Tested: r.tested,
	}
}
