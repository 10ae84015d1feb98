// Package bundles keeps each tenant's policies as numbered revisions, and says which one is in force.
//
// A revision is a bundle as it was handed in: its files stand in the store by their digests and never change. What is in
// force is one row beside them: the revision that is enforced, the one that is tried beside it (shadow or canary), and
// those that were enforced before, for the way back.
//
// Every change goes the same way: the bundle is judged (its names, its signature, its policies against the tenant's tools),
// a ledger record says what is about to happen, the row is kept, and only then the engines are swapped, all at once. What
// fails before the row is kept changes nothing. After a crash between record and row the ledger names an intention, and
// what the row says is in force. A bundle that breaks, whatever it came from, leaves the last good one in force and
// raises an alarm.
package bundles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on. Their texts end with what to do.
var (
	// ErrNotFound: the tenant has no such revision; those of others are not found in the same words.
	ErrNotFound = errors.New("there is no such revision")
	// ErrRefused: the bundle is not one, or its policies do not compile against the tenant's tools.
	ErrRefused = errors.New("bundle refused")
	// ErrFilters: its filters are not there, or do not start. It is ErrRefused too.
	ErrFilters = errors.New("filters are not ready")
	// ErrUnsigned: the configuration names keys, and none of them signed the bundle.
	ErrUnsigned = errors.New("bundle is not signed")
	// ErrOld: a signed bundle of a version that was overtaken, or of none.
	ErrOld = errors.New("bundle is not newer")
	// ErrState: there is nothing to be done: nothing to go back to, nothing to try it beside.
	ErrState = errors.New("not possible now")
	// ErrDamaged: what the store holds of a revision is not what was put there.
	ErrDamaged = errors.New("damaged in the store")
)

// Where bundles come from.
const (
	BuiltIn = "built-in" // what ships with the gateway
	Folder  = "folder"
	Git     = "git"
	API     = "api"
)

// Source says where a revision came from.
type Source struct {
	Kind   string `json:"kind"`
	Commit string `json:"commit,omitempty"` // of git, hex
}

// Actor is who asks for a change. The zero value is the gateway itself, following a source.
type Actor struct{ User, Key string }

// States of a revision.
const (
	Enforced = "enforced"
	Shadow   = "shadow"
	Canary   = "canary"
	Idle     = "idle"
)

// Revision is a bundle in a tenant's history.
type Revision struct {
	Number   uint64 // from 1
	Digest   merkle.Hash
	Name     string // as its manifest has it
	Version  uint64 // as its manifest has it; 0 when it has none
	Files    int
	Bytes    int
	By       Actor
	Time     time.Time
	Source   Source
	SignedBy string // name of the key that signed it; "" when no signature was asked for
	State    string
	Percent  int    // of a canary
	Problem  string // why it cannot be read any more

	// Moves is what it changes of the filters that are in force, in the answer of Push, or what it changed, in those of Activate and
	// Rollback; Reordered, that it changes their order. Warning, of Push alone, is why Activate will refuse it as things are.
	Moves     []manifest.Move
	Reordered bool
	Warning   string
}

// Config bounds the revisions.
type Config struct {
	// History is how many revisions of a tenant are kept, 2 to 10000, besides those in force and on the way back. Default
	// 100. A bundle that is given up stays in the ledger by its digest alone.
	History int
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config { return Config{History: 100} }

// maxHistory bounds what a tenant's rows take in memory: about 300 bytes a revision.
const maxHistory = 10_000

// Deps are what the revisions work with. All but Keys are required.
type Deps struct {
	Store store.Store
	// Record makes a ledger record durable; it fills in who wrote it and when.
	Record func(ctx context.Context, r *ledger.Record) error
	// Tools are the tenant's tools as they are now.
	Tools func(tenant string) []policies.ToolDef
	// Keys are those of which one has to sign a tenant's bundles; none: no signature is asked for.
	Keys    func(tenant string) ledger.VerifierKeys
	Engines *policies.Set
	// Filters makes ready what manifests say of filters. Nil: they are not looked at.
	Filters Filters
	Now     func() time.Time
	Log     *slog.Logger
}

// Filters is who owns what a bundle's manifest says of filters.
type Filters interface {
	// Check refuses a bundle whose filters this tenant cannot have. Its error says what to do.
	Check(ctx context.Context, tenant string, b *policies.Bundle) error
	// Prepare makes a bundle's filters ready. It is called for one bundle of a tenant at a time.
	Prepare(ctx context.Context, tenant string, b *policies.Bundle) (Ready, error)
}

// Ready is a bundle's filters, before they are in force. One of its methods must be called, once. Neither blocks.
type Ready interface {
	Swap() // puts them in force
	Drop() // gives them up
}

// Service keeps the revisions of all tenants. It is safe for concurrent use.
type Service struct {
	cfg  Config
	deps Deps

	mu      sync.RWMutex // guards what follows and the books' fields; never held over a disk or a compilation
	books   map[string]*book
	changes uint64
	refused uint64
}

// book is one tenant's revisions. change serializes what is done to it over disk and ledger, and is taken before
// Service.mu, never after. The fields are written under both, so either suffices to read them.
type book struct {
	change sync.Mutex
	tenant string

	open     bool
	row      stateRow
	revs     []revisionRow // by number, without their files
	enforced *policies.Bundle
	staged   *policies.Bundle
	filtered *policies.Bundle // whose filters are in force
	waiting  bool             // the enforced one does not compile against the tools that there are: nothing is in force
	lost     string           // why what is in force cannot be read, so that nothing is; or ""
	pending  *offer
	alarm    string
	untried  string // why what is staged is not tried as it should be, or ""
}

// offer is a bundle that came from a source and does not compile yet.
type offer struct {
	bundle *policies.Bundle
	source Source
}

// Stats are plain counts.
type Stats struct {
	Revisions, Alarms, Waiting int
	Changes, Refused           uint64
}

// New makes a service that knows no tenant yet: Open does.
func New(cfg Config, deps Deps) (*Service, error) {
	if cfg.History < 2 || cfg.History > maxHistory {
		return nil, fmt.Errorf("bundles: history %d: want 2 to %d", cfg.History, maxHistory)
	}
	if deps.Store == nil || deps.Record == nil || deps.Tools == nil || deps.Engines == nil || deps.Now == nil || deps.Log == nil {
		return nil, errors.New("bundles: a dependency is missing")
	}
	if deps.Keys == nil {
		deps.Keys = func(string) ledger.VerifierKeys { return nil }
	}
	return &Service{cfg: cfg, deps: deps, books: map[string]*book{}}, nil
}

// lock finds a tenant's book and takes it for a change. The book is opened if nobody has yet.
func (s *Service) lock(ctx context.Context, tenant string) (*book, error) {
	s.mu.Lock()
	b := s.books[tenant]
	if b == nil {
		b = &book{tenant: tenant}
		s.books[tenant] = b
	}
	s.mu.Unlock()
	b.change.Lock()
	if b.open {
		return b, nil
	}
	if err := s.load(ctx, b); err != nil {
		b.change.Unlock()
		return nil, fmt.Errorf("open bundles of %s: %w", tenant, err)
	}
	return b, nil
}

// Open puts in force again what the store says is. It tells whether the tenant has anything in force, or waiting for its
// tools; a tenant without a revision has nothing. An error is a fault of the store.
func (s *Service) Open(ctx context.Context, tenant string) (bool, error) {
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return false, err
	}
	defer b.change.Unlock()
	return b.enforced != nil || b.lost != "", nil
}

// Tenants lists those that are open.
func (s *Service) Tenants() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []string
	for name, b := range s.books {
		if b.open {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Current is the bundle that is enforced for a tenant.
func (s *Service) Current(tenant string) (*policies.Bundle, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := s.books[tenant]
	if b == nil || b.waiting || b.enforced == nil {
		return nil, false
	}
	return b.enforced, true
}

// Standing is what is enforced, also while it waits for its tools or its filters and nothing is in force.
func (s *Service) Standing(tenant string) (*policies.Bundle, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := s.books[tenant]
	if b == nil || b.enforced == nil {
		return nil, false
	}
	return b.enforced, true
}

// History lists a tenant's revisions, newest first.
func (s *Service) History(tenant string) []Revision {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := s.books[tenant]
	if b == nil {
		return nil
	}
	out := make([]Revision, 0, len(b.revs))
	for i := len(b.revs) - 1; i >= 0; i-- {
		out = append(out, b.revision(&b.revs[i]))
	}
	return out
}

// Revision finds one.
func (s *Service) Revision(tenant string, number uint64) (Revision, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.books[tenant]; b != nil {
		if r := b.find(number); r != nil {
			return b.revision(r), nil
		}
	}
	return Revision{}, fmt.Errorf("revision %d: %w", number, ErrNotFound)
}

// Bundle reads a revision's files and checks that they are what was handed in.
func (s *Service) Bundle(ctx context.Context, tenant string, number uint64) (*policies.Bundle, error) {
	if _, err := s.Revision(tenant, number); err != nil {
		return nil, err
	}
	return s.read(ctx, tenant, number)
}

// Alarm is what keeps a tenant from the bundle it is meant to have, or "".
func (s *Service) Alarm(tenant string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.books[tenant]; b != nil {
		return b.alarm
	}
	return ""
}

// Stats counts.
func (s *Service) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := Stats{Changes: s.changes, Refused: s.refused}
	for _, b := range s.books {
		out.Revisions += len(b.revs)
		if b.alarm != "" {
			out.Alarms++
		}
		if b.waiting {
			out.Waiting++
		}
	}
	return out
}

// Alarmed raises the alarm of a tenant whose source cannot be read, or ends it with "". The text is logged when it is
// new.
func (s *Service) Alarmed(tenant, text string) {
	s.mu.Lock()
	b := s.books[tenant]
	if b == nil {
		b = &book{tenant: tenant}
		s.books[tenant] = b
	}
	news := b.alarm != text
	b.alarm = text
	s.mu.Unlock()
	switch {
	case !news:
	case text == "":
		s.deps.Log.Info("policies are as they should be again", "tenant", tenant)
	default:
		s.deps.Log.Error("policies not taken; what was in force stays", "tenant", tenant, "error", text)
	}
}

func (b *book) find(number uint64) *revisionRow {
	i, ok := slices.BinarySearchFunc(b.revs, number, func(r revisionRow, n uint64) int {
		switch {
		case r.Number < n:
			return -1
		case r.Number > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &b.revs[i]
}

// revision shows a row with what it is now.
func (b *book) revision(r *revisionRow) Revision {
	out := Revision{
		Number: r.Number, Digest: r.Digest, Name: r.Name, Version: r.Version, Files: r.Count, Bytes: r.Bytes, By: Actor{r.User, r.Key},
		Time: time.Unix(r.Time, 0).UTC(), Source: r.Source, SignedBy: r.SignedBy, State: Idle, Problem: r.problem,
	}
	if r.Number == b.row.Staged && out.Problem == "" {
		out.Problem = b.untried
	}
	if r.Number == b.row.Enforced && out.Problem == "" {
		out.Problem = b.lost
	}
	switch {
	case r.Number == b.row.Enforced:
		out.State = Enforced
	case r.Number != b.row.Staged:
	case b.row.Shadow:
		out.State = Shadow
	default:
		out.State, out.Percent = Canary, b.row.Canary
	}
	return out
}
