package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/bearer"
	"github.com/gatewright/gatewright/store"
)

// The tables. Organisations and the check of the pepper lie with the instance, the rest behind each tenant's fence.
var (
	orgTable   = store.Table[Org]{Name: "organisations", Version: 1}
	userTable  = store.Table[User]{Name: "users", Version: 1}
	agentTable = store.Table[Agent]{Name: "agents", Version: 1}
	keyTable   = store.Table[keyRow]{Name: "keys", Version: 1}
	metaTable  = store.Table[[]byte]{Name: "identity", Version: 1}
)

// keyRow is a key as kept: the keyed hash of its text instead of the text.
type keyRow struct {
	Key
	MAC []byte
}

// healTime bounds the reading back of a tenant after a failed commit.
const healTime = 5 * time.Second

// dropAtOnce is how many surplus rows one change deletes, far below what a transaction may write.
const dropAtOnce = 100

// Directory is the open register of identities. It is safe for concurrent use.
type Directory struct {
	config Config
	store  store.Store
	now    func() time.Time
	rand   io.Reader
	macs   *sync.Pool

	snapshot atomic.Pointer[snapshot]
	logins   atomic.Pointer[logins]       // nil until SetLogins
	bearers  atomic.Pointer[bearer.Set]   // nil until SetBearers
	certs    atomic.Pointer[certificates] // nil until SetCertificates

	writer  sync.Mutex // held over a change: check, commit, publish. Whoever holds it may read tenants without mu
	mu      sync.RWMutex
	tenants map[string]*tenantRows // guarded by mu, and changed only under writer too
}

// tenantRows is one organisation in memory.
type tenantRows struct {
	org        Org
	orgVersion uint64
	users      map[string]*row[User]
	agents     map[string]*row[Agent]
	keys       map[string]*row[keyRow]
	entities   map[string]*entity  // by holder
	emails     map[string][]string // users who are not removed, by email in small letters
	uncertain  bool                // what the store holds is not known
}

// row is a value with the version it has in the store. Both are replaced together, never changed.
type row[T any] struct {
	value   T
	version uint64
}

// Open reads everything into memory. The pepper, 32 bytes, keys the hashes of all API keys; another than the first one
// is ErrPepper, since it would silently refuse every key.
func Open(ctx context.Context, c Config, s store.Store, pepper []byte, now func() time.Time, rand io.Reader) (*Directory, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	if len(pepper) != sha256.Size {
		return nil, fmt.Errorf("open directory: the pepper has %d bytes, want %d: %w", len(pepper), sha256.Size, ErrInvalid)
	}
	pepper = bytes.Clone(pepper)
	d := &Directory{config: c, store: s, now: now, rand: rand, macs: newMACs(pepper), tenants: map[string]*tenantRows{}}
	d.snapshot.Store(&snapshot{})
	if err := checkPepper(ctx, s, pepper); err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	names, err := d.readNames(ctx)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	for _, name := range names {
		t, err := d.read(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("open directory: organisation %s: %w", name, err)
		}
		d.install(name, t)
	}
	return d, nil
}

// checkPepper compares the pepper with the one the folder was made with, or notes it.
func checkPepper(ctx context.Context, s store.Store, pepper []byte) error {
	h := hmac.New(sha256.New, pepper)
	h.Write([]byte("gatewright/identity/pepper/v1"))
	want := h.Sum(nil)
	return s.Update(ctx, store.Instance, func(tx store.Txn) error {
		got, _, err := metaTable.Get(tx, "pepper")
		if errors.Is(err, store.ErrNotFound) {
			_, err = metaTable.Put(tx, "pepper", want, 0)
			return err
		}
		if err == nil && !hmac.Equal(got, want) {
			return ErrPepper
		}
		return err
	})
}

func (d *Directory) readNames(ctx context.Context) (names []string, err error) {
	err = d.store.View(ctx, store.Instance, func(tx store.Txn) error {
		return orgTable.Scan(tx, "", func(name string, _ Org, _ uint64) error {
			names = append(names, name)
			return nil
		})
	})
	return names, err
}

// read makes a tenant from the store.
func (d *Directory) read(ctx context.Context, name string) (*tenantRows, error) {
	t := newTenant(Org{}, 0)
	err := d.store.View(ctx, store.Instance, func(tx store.Txn) (err error) {
		t.org, t.orgVersion, err = orgTable.Get(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = d.store.View(ctx, name, func(tx store.Txn) error {
		if err := readTable(tx, userTable, t.users); err != nil {
			return err
		}
		if err := readTable(tx, agentTable, t.agents); err != nil {
			return err
		}
		return readTable(tx, keyTable, t.keys)
	})
	if err != nil {
		return nil, err
	}
	return t, t.describeAll()
}

func (t *tenantRows) describeAll() (err error) {
	for id, u := range t.users {
		if t.entities[id], err = t.describe(id, nil, &u.value); err != nil {
			return err
		}
		t.index(nil, &u.value)
	}
	for id, a := range t.agents {
		if t.entities[id], err = t.describe(id, &a.value, nil); err != nil {
			return err
		}
	}
	return nil
}

func newTenant(org Org, version uint64) *tenantRows {
	return &tenantRows{
		org: org, orgVersion: version, users: map[string]*row[User]{}, agents: map[string]*row[Agent]{},
		keys: map[string]*row[keyRow]{}, entities: map[string]*entity{}, emails: map[string][]string{},
	}
}

func readTable[T any](tx store.Txn, table store.Table[T], into map[string]*row[T]) error {
	return table.Scan(tx, "", func(id string, value T, version uint64) error {
		into[id] = &row[T]{value, version}
		return nil
	})
}

// install replaces a tenant in memory and publishes all its keys; nil takes it out.
func (d *Directory) install(name string, t *tenantRows) {
	d.mu.Lock()
	old := d.tenants[name]
	if t == nil {
		delete(d.tenants, name)
	} else {
		d.tenants[name] = t
	}
	d.mu.Unlock()
	changes := map[string]*entry{}
	if old != nil {
		for id := range old.keys {
			changes[textID(id)] = nil
		}
	}
	if t != nil {
		maps.Copy(changes, t.entries(anyKey))
	}
	d.snapshot.Store(d.snapshot.Load().with(changes))
}

// entries are the answers for the keys that which names.
func (t *tenantRows) entries(which func(*keyRow) bool) map[string]*entry {
	changes := map[string]*entry{}
	for id, k := range t.keys {
		if which(&k.value) {
			changes[textID(id)] = t.entryOf(&k.value)
		}
	}
	return changes
}

func anyKey(*keyRow) bool { return true }

// textID is the part of a key's id that stands in its text.
func textID(id string) string { return strings.TrimPrefix(id, "key_") }

// change makes one change: check under the writer's lock, commit, apply to memory, publish. apply returns the keys whose
// answer may be another now. A commit that failed may be on disk all the same, so the tenant is read back.
func (d *Directory) change(ctx context.Context, name string, commit func(t *tenantRows) (apply func() map[string]*entry, err error)) error {
	d.writer.Lock()
	defer d.writer.Unlock()
	t, err := d.certain(ctx, name)
	if err != nil {
		return err
	}
	apply, err := commit(t)
	if err != nil {
		if _, ok := errors.AsType[*commitError](err); ok {
			_ = d.heal(context.WithoutCancel(ctx), name) // when it fails too, the tenant is uncertain and refused
		}
		return err
	}
	if apply == nil {
		return nil // there was nothing to change
	}
	d.mu.Lock()
	changes := apply()
	d.mu.Unlock()
	d.snapshot.Store(d.snapshot.Load().with(changes))
	return nil
}

// certain finds a tenant, reading it back first when it is uncertain.
func (d *Directory) certain(ctx context.Context, name string) (*tenantRows, error) {
	t := d.tenants[name]
	if t == nil {
		return nil, ErrNotFound
	}
	if !t.uncertain {
		return t, nil
	}
	if err := d.heal(ctx, name); err != nil {
		return nil, fmt.Errorf("read organisation back: %w", err)
	}
	if t = d.tenants[name]; t == nil {
		return nil, ErrNotFound
	}
	return t, nil
}

// heal replaces memory by what the store holds. While that cannot be read, the tenant's keys are refused.
func (d *Directory) heal(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	t, err := d.read(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		d.install(name, nil)
		return nil
	case err == nil:
		d.install(name, t)
		return nil
	}
	if old := d.tenants[name]; old != nil {
		t = new(tenantRows)
		*t = *old
	} else {
		t = newTenant(Org{Tenant: name}, 0)
	}
	t.uncertain = true
	d.install(name, t)
	return err
}

// Heal reads back the tenants whose keys are refused because a commit failed and could not be read back. The wiring calls
// it every few seconds; without uncertain tenants it costs nothing.
func (d *Directory) Heal(ctx context.Context) error {
	var all error
	for _, name := range d.uncertain() {
		d.writer.Lock()
		_, err := d.certain(ctx, name)
		d.writer.Unlock()
		if err != nil && !errors.Is(err, ErrNotFound) {
			all = errors.Join(all, fmt.Errorf("organisation %s: %w", name, err))
		}
	}
	return all
}

func (d *Directory) uncertain() (names []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for name, t := range d.tenants {
		if t.uncertain {
			names = append(names, name)
		}
	}
	return names
}

// commitError marks an error of a commit, after which memory may be behind the store.
type commitError struct{ err error }

func (e *commitError) Error() string { return e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// save writes one row, expecting the version that memory holds, and returns it with its new one. Rows named in drop go.
func save[T any](ctx context.Context, d *Directory, tenant string, table store.Table[T], id string, value T, at uint64, drop ...string) (*row[T], error) {
	saved := &row[T]{value: value}
	err := d.store.Update(ctx, tenant, func(tx store.Txn) (err error) {
		for _, old := range drop {
			if err := table.Delete(tx, old, store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		saved.version, err = table.Put(tx, id, value, at)
		return err
	})
	if err != nil {
		return nil, &commitError{fmt.Errorf("save %s: %w", id, err)}
	}
	return saved, nil
}

// of returns a tenant's rows for reading; fn must copy what it keeps.
func (d *Directory) of(ctx context.Context, name string, fn func(t *tenantRows) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := d.tenants[name]
	if t == nil {
		return ErrNotFound
	}
	return fn(t)
}

// surplus names the rows that ended longest ago, beyond keepEnded: new rows push them out. ended is zero for a live row.
func surplus[T any](rows map[string]*row[T], ended func(*T) time.Time) (drop []string, live int) {
	at := map[string]time.Time{}
	for id, r := range rows {
		if t := ended(&r.value); !t.IsZero() {
			at[id] = t
		}
	}
	live = len(rows) - len(at)
	if len(at) <= keepEnded {
		return nil, live
	}
	drop = slices.SortedFunc(maps.Keys(at), func(a, b string) int { return at[a].Compare(at[b]) })
	return drop[:min(len(at)-keepEnded, dropAtOnce)], live
}

// list copies rows in the order of their ids, which is the order of their making.
func list[T any](rows map[string]*row[T]) []T {
	all := make([]T, 0, len(rows))
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		all = append(all, rows[id].value)
	}
	return all
}

// Stats are figures for the metrics page and readiness.
type Stats struct {
	Organisations, Users, Agents, Keys int
	Uncertain                          int // organisations whose keys are refused until Heal succeeds
}

// Stats counts.
func (d *Directory) Stats() Stats {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := Stats{Organisations: len(d.tenants)}
	for _, t := range d.tenants {
		s.Users, s.Agents, s.Keys = s.Users+len(t.users), s.Agents+len(t.agents), s.Keys+len(t.keys)
		if t.uncertain {
			s.Uncertain++
		}
	}
	return s
}
