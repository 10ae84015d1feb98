package filters

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/wasm/build"
	builtin "github.com/gatewright/gatewright/wasm/filters"
)

// Upload takes a module in as the next version of its name, if it passes every stage. The same bytes with the same config and
// vectors, or with none, are the version that they were before, and count as no upload. Errors are ErrInvalid, a *RateError, ErrQuota, ErrExists, a
// *Rejection, ErrUnavailable, or a fault of store or ledger. progress may be nil.
func (s *Service) Upload(ctx context.Context, tenant string, by Actor, u Upload, progress func(Step)) (Version, error) {
	if !s.deps.Judge.Bounded() && !s.cfg.InProcess {
		return Version{}, fmt.Errorf("%w: nothing bounds a compilation on this system (run the gateway on Linux)", ErrUnavailable)
	}
	uncount, err := s.rate(tenant)
	if err != nil {
		return Version{}, err
	}
	if err := u.Validate(); err != nil {
		return Version{}, err
	}
	with, err := given(u)
	if err != nil {
		return Version{}, err
	}
	n := &intake{Service: s, tenant: tenant, by: by, upload: u, with: with, digest: merkle.Hash(sha256.Sum256(u.Module))}
	known, ok, err := n.before(ctx)
	if ok {
		uncount()
	}
	if n.mended {
		s.deps.Bundles.Retool(context.WithoutCancel(ctx), tenant)
	}
	if ok || err != nil {
		return known, err
	}
	said := func(level int, text string) { s.logs.Add(tenant, u.Name, 0, level, text, s.deps.Now()) }
	report, err := s.deps.Judge.Try(ctx, tenant, u, said, progress)
	if full, ok := errors.AsType[*build.Error](err); ok && full.Bound == build.Busy {
		uncount()
	}
	if _, rejected := errors.AsType[*Rejection](err); err != nil && !rejected {
		return Version{}, err
	}
	v, err := n.after(ctx, report, err, progress)
	if err == nil {
		s.deps.Bundles.Retool(context.WithoutCancel(ctx), tenant)
	}
	return v, err
}

// ownName refuses the name of a filter that comes with the gateway, in force or not: in lists, logs and records one would be taken
// for the other. One that had its name before goes on without new versions. What mends it is not asked: while it is damaged,
// everything of its tenant is refused.
func (s *Service) ownName(name string) error {
	names := builtin.Names()
	for _, b := range s.deps.BuiltIn {
		names = append(names, b.Name)
	}
	if !slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("%w: name %q is that of a filter that comes with the gateway (give yours another name, such as my-%s)", ErrInvalid, name, name)
}

// intake is an upload on its way.
type intake struct {
	*Service
	tenant string
	by     Actor
	upload Upload
	with   string // names config and vectors
	digest merkle.Hash
	mended bool // these bytes took the place of damaged ones
}

// before looks whether there is anything to judge. Nothing is locked while that is done.
func (n *intake) before(ctx context.Context) (known Version, ok bool, err error) {
	b, err := n.lock(ctx, n.tenant)
	if err != nil {
		return Version{}, false, err
	}
	defer b.unlock()
	row, ok, err := b.again(n.upload, n.digest, n.with)
	switch {
	case err != nil:
		return Version{}, false, err
	case ok:
		err := n.mend(ctx, row)
		return n.shown(n.tenant, row), err == nil, err
	}
	return Version{}, false, n.room(b, n.upload)
}

// mend puts a version's bytes into the store again, if they are not what they were: the same were just handed in.
func (n *intake) mend(ctx context.Context, row versionRow) error {
	if _, err := n.module(ctx, n.tenant, row); !errors.Is(err, ErrDamaged) {
		return err
	}
	if err := n.putModule(ctx, n.tenant, n.digest, n.upload.Module); err != nil {
		return err
	}
	n.mended = true
	n.deps.Log.Info("a damaged module was mended with the same bytes", "tenant", n.tenant, "filter", row.Name, "version", row.Number)
	return nil
}

// after keeps what the judge found.
func (n *intake) after(ctx context.Context, report Report, judged error, progress func(Step)) (Version, error) {
	b, err := n.lock(context.WithoutCancel(ctx), n.tenant) // judged is judged
	if err != nil {
		return Version{}, err
	}
	defer b.unlock()
	u := n.upload
	if r, ok := errors.AsType[*Rejection](judged); ok {
		return Version{}, n.reject(ctx, n.tenant, b, n.by, u, r)
	}
	if row, ok, err := b.again(u, n.digest, n.with); err != nil || ok {
		return n.shown(n.tenant, row), err
	}
	if err := n.room(b, u); err != nil {
		return Version{}, err
	}
	begun := time.Now()
	row := versionRow{
		Name: u.Name, Number: max(b.names[u.Name].Next, b.floor, 1), Digest: n.digest, Size: len(u.Module), Dialect: report.Dialect, Class: report.Class,
		Memory: report.Memory, Fuel: report.Fuel, Response: report.Response, Config: u.Config, Vectors: u.Vectors, tested: len(u.Vectors),
		User: n.by.User, Key: n.by.Key, Time: n.deps.Now().Unix(), Given: n.with,
	}
	err = n.accept(ctx, n.tenant, b, n.by, row, u.Module)
	if progress != nil {
		progress(Step{Stage: Keep, OK: err == nil, Took: time.Since(begun), Detail: fmt.Sprintf("version %d", row.Number)})
	}
	if err != nil {
		return Version{}, err
	}
	return n.shown(n.tenant, row), nil
}

// again finds the version that an upload was before.
func (b *book) again(u Upload, digest merkle.Hash, with string) (versionRow, bool, error) {
	for _, r := range b.versions[u.Name] {
		if r.Digest != digest {
			continue
		}
		if r.Given == with || u.Config == nil && len(u.Vectors) == 0 {
			return r, true, nil
		}
		return r, false, fmt.Errorf("%w: version %d of %s is these bytes, with another config or other vectors (give a config with `gatewright filter activate --config`, or delete the version first)", ErrExists, r.Number, u.Name)
	}
	return versionRow{}, false, nil
}

// rate counts an upload, a good or a bad one: each costs a compilation or the attempt of one. uncount takes that back, for what
// cost neither: an upload that is known already, or that the gateway was too busy for. That gives nothing away: such a one was
// read and hashed, and those over the limit are read too; one that found the compiler busy was metered as well, at the one
// place of the judge's that was its tenant's turn. And each is counted until it is over, so that no more of them are under way
// than the limit allows. One that its sender withdrew, or that cannot be, stays counted: it may have taken a place in the
// judge's queue from somebody else.
func (s *Service) rate(tenant string) (uncount func(), err error) {
	now := s.deps.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(s.uploads[tenant], func(t time.Time) bool { return now.Sub(t) >= time.Hour })
	if len(list) >= s.cfg.Uploads {
		s.uploads[tenant] = list
		return nil, &RateError{After: time.Hour - now.Sub(list[0])}
	}
	s.uploads[tenant] = append(list, now)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		list := s.uploads[tenant]
		if i := slices.IndexFunc(list, now.Equal); i >= 0 { // else it is of an hour ago
			s.uploads[tenant] = slices.Delete(list, i, i+1)
		}
	}, nil
}

// room refuses what would be over a bound.
func (s *Service) room(b *book, u Upload) error {
	if _, kept := b.names[u.Name]; !kept || !b.torn { // else these may be the bytes of a row that cannot be read
		if err := s.ownName(u.Name); err != nil {
			return err
		}
	}
	_, has := b.versions[u.Name]
	switch {
	case !has && len(b.versions) >= s.cfg.Filters:
		return fmt.Errorf("%w: %d filters, and no more are allowed (filters.max_filters; `gatewright filter delete` gives one up)", ErrQuota, len(b.versions))
	case len(b.versions[u.Name]) >= s.cfg.Versions:
		return fmt.Errorf("%w: %d versions of %s, and no more are allowed (filters.max_versions; `gatewright filter delete %s N` gives one up)", ErrQuota, len(b.versions[u.Name]), u.Name, u.Name)
	case b.bytes()+int64(len(u.Module))+beside(u.Config, u.Vectors) > s.cfg.Bytes:
		return fmt.Errorf("%w: %d bytes of modules, configs and vectors are kept, %d more would be over %d (filters.max_bytes; `gatewright filter delete` gives versions up)", ErrQuota, b.bytes(), int64(len(u.Module))+beside(u.Config, u.Vectors), s.cfg.Bytes)
	}
	return nil
}

// accept keeps a version: its bytes, the record, the row, in this order.
func (s *Service) accept(ctx context.Context, tenant string, b *book, by Actor, row versionRow, module []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	if err := s.putModule(ctx, tenant, row.Digest, module); err != nil {
		return err
	}
	e := event{Op: opUpload, Name: row.Name, Version: row.Number, Digest: DigestText(row.Digest), Size: row.Size, Dialect: row.Dialect, Class: row.Class, Vectors: len(row.Vectors)}
	if err := s.record(ctx, tenant, by, e, "allow"); err != nil {
		return err
	}
	name := b.names[row.Name]
	name.Next = row.Number + 1
	err := s.keep(ctx, tenant, func(tx store.Txn) error {
		if err := rejectTableForget(tx, row.Digest); err != nil {
			return err
		}
		if _, err := versionTable.Put(tx, versionKey(row.Name, row.Number), row, store.AnyVersion); err != nil {
			return err
		}
		_, err := nameTable.Put(tx, row.Name, name, store.AnyVersion)
		return err
	}, func(tx store.Txn) bool {
		got, _, err := versionTable.Get(tx, versionKey(row.Name, row.Number))
		return err == nil && got.Digest == row.Digest
	})
	if err != nil {
		return s.failed(ctx, tenant, by, e, err)
	}
	s.mu.Lock()
	b.versions, b.names, b.rejected = maps.Clone(b.versions), maps.Clone(b.names), maps.Clone(b.rejected)
	b.versions[row.Name] = append(slices.Clone(b.versions[row.Name]), row.slim())
	b.names[row.Name] = name
	delete(b.rejected, row.Digest)
	s.mu.Unlock()
	return nil
}

func rejectTableForget(tx store.Txn, digest merkle.Hash) error {
	err := tx.Delete(rejectTable.Name, digest.String(), store.AnyVersion)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// reject remembers a module that did not pass, and returns why.
func (s *Service) reject(ctx context.Context, tenant string, b *book, by Actor, u Upload, why *Rejection) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	why.Reason, why.Hint = clip(why.Reason), clip(why.Hint)
	row := rejectRow{
		Name: u.Name, Digest: merkle.Hash(sha256.Sum256(u.Module)), Size: len(u.Module), User: by.User, Key: by.Key,
		Time: s.deps.Now().Unix(), Rejection: *why,
	}
	e := event{Op: opReject, Name: u.Name, Digest: DigestText(row.Digest), Size: row.Size, Stage: why.Stage, Reason: why.Reason, Offset: why.Offset}
	if err := s.record(ctx, tenant, by, e, "deny"); err != nil {
		return errors.Join(why, err)
	}
	for _, list := range b.versions {
		if slices.ContainsFunc(list, func(r versionRow) bool { return r.Digest == row.Digest }) {
			return why // as another filter, with other vectors, it passed: what is in force does not end by a bad vector
		}
	}
	gone := b.oldRejections()
	err := s.keep(ctx, tenant, func(tx store.Txn) error {
		for _, d := range gone {
			if err := rejectTableForget(tx, d); err != nil {
				return err
			}
		}
		_, err := rejectTable.Put(tx, row.Digest.String(), row, store.AnyVersion)
		return err
	}, nil)
	if err != nil {
		return errors.Join(why, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(b.rejected)
	for _, d := range gone {
		delete(next, d)
	}
	next[row.Digest] = row
	b.rejected = next
	return why
}

// oldRejections are those that have to go for another one.
func (b *book) oldRejections() []merkle.Hash {
	over := len(b.rejected) + 1 - maxRejected
	if over <= 0 {
		return nil
	}
	rows := slices.SortedFunc(maps.Values(b.rejected), func(x, y rejectRow) int { return cmp.Compare(x.Time, y.Time) })
	var out []merkle.Hash
	for _, r := range rows[:over] {
		out = append(out, r.Digest)
	}
	return out
}

// clip bounds a text that goes on record.
func clip(text string) string {
	if len(text) > 512 {
		return text[:512] + "..."
	}
	return text
}
