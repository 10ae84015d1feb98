package bundles

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// What a change is, as its record says.
const (
	opLoad     = "load"     // a source brought it, and it is enforced
	opPush     = "push"     // somebody handed it in; nothing else changes
	opActivate = "activate" // it is enforced or tried, see mode
	opRollback = "rollback" // the one before is enforced again
	opWithdraw = "withdraw" // what was tried is tried no more
	opAmend    = "amend"    // the enforced one with one file changed is enforced in its place
	opFailed   = "failed"   // the change that the record before announced was not made
)

// changeTime is what record and store may take: a disk that is slower is broken.
const changeTime = 30 * time.Second

// maxListed bounds the file names in a record, in bytes; a record has to fit its leaf.
const maxListed = 16 << 10

// maxSignature bounds what stays in memory of a revision beside its row, in bytes: some hundred signatures.
const maxSignature = 16 << 10

// change is a change on its way.
type change struct {
	op     string
	by     Actor
	bundle *policies.Bundle // that is enforced, tried or handed in
	number uint64
	row    stateRow     // as it is to be
	rev    *revisionRow // that comes with it; nil when it is there already

	enforced, staged *policies.Bundle // as they are to be
	engines          bool             // whether what is in force changes
	engine, beside   *policies.Engine
	ready            Ready // the enforced one's filters; nil: they are in force already
}

// apply makes a change: the record, the store, the engines, in this order. What fails before the engines changes nothing.
// book.change is held.
func (s *Service) apply(ctx context.Context, b *book, c *change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.engines {
		var err error
		if c.ready, err = s.prepare(ctx, b, c.enforced); err != nil {
			return err
		}
		defer c.drop()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime) // done or not, whoever still waits for it
	defer cancel()
	if c.rev != nil {
		var err error
		if c.rev.Files, c.rev.Bytes, err = s.putFiles(ctx, b.tenant, c.bundle); err != nil {
			return err
		}
		c.rev.Count = len(c.rev.Files)
	}
	if err := s.record(ctx, b, c, c.op); err != nil {
		return fmt.Errorf("record the change: %w", err)
	}
	if err := s.keep(ctx, b.tenant, c.row, c.rev); err != nil {
		if err := s.record(ctx, b, c, opFailed); err != nil {
			s.deps.Log.Error("a change of policies was announced and not made, and that is not on record", "tenant", b.tenant, "op", c.op, "revision", c.number, "error", err)
		}
		return err
	}
	s.mu.Lock()
	if c.rev != nil {
		kept := *c.rev
		kept.Files = nil
		b.revs = append(slices.Clone(b.revs), kept)
	}
	b.row, b.lost = c.row, ""
	s.changes++
	if c.engines {
		b.enforced, b.staged, b.waiting, b.untried = c.enforced, c.staged, false, ""
		s.swap(b, c.engine, c.beside, c.row.mode(), c.enforced, c.ready)
		c.ready = nil
	}
	s.mu.Unlock()
	if c.engines && !c.engine.Permits() {
		s.deps.Log.Warn("no policy of the bundle permits anything, and so everything is refused; a bundle begins with a copy of policies/default", "tenant", b.tenant, "revision", c.number)
	}
	return nil
}

// record writes what is about to happen.
func (s *Service) record(ctx context.Context, b *book, c *change, op string) error {
	body := struct {
		Op       string   `json:"op"`
		Of       string   `json:"of,omitempty"` // the failed one
		Revision uint64   `json:"revision"`
		Mode     string   `json:"mode,omitempty"`
		Percent  int      `json:"percent,omitempty"`
		Digest   string   `json:"digest"`
		Replaces string   `json:"replaces,omitempty"`
		Name     string   `json:"name,omitempty"`
		Version  uint64   `json:"version,omitempty"`
		Source   *Source  `json:"source,omitempty"`
		SignedBy string   `json:"signed_by,omitempty"`
		Files    []string `json:"files,omitempty"`
	}{Op: op, Revision: c.number, Digest: c.bundle.Digest().String(), Name: c.bundle.Name(), Version: c.bundle.Manifest().Version}
	if op == opFailed {
		body.Of = c.op
	}
	switch {
	case !c.engines:
	case c.row.Staged != c.number:
		body.Mode = "enforce"
		if b.enforced != nil && b.enforced.Digest() != c.bundle.Digest() {
			body.Replaces = b.enforced.Digest().String()
		}
	case c.row.Shadow:
		body.Mode = Shadow
	default:
		body.Mode, body.Percent = Canary, c.row.Canary
	}
	rev := c.rev
	if rev == nil {
		rev = b.find(c.number)
	}
	if rev != nil {
		body.Source, body.SignedBy = &rev.Source, rev.SignedBy
	}
	if c.rev != nil {
		body.Files = listed(c.bundle)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("describe the bundle: %w", err)
	}
	return s.deps.Record(ctx, &ledger.Record{
		Tenant: b.tenant, Kind: ledger.Bundle, Step: -1, Bundle: c.bundle.Digest(), Verdict: "allow", User: c.by.User, Key: c.by.Key, Body: text,
	})
}

// listed names a bundle's files as far as a record has room; the digest stands for all.
func listed(b *policies.Bundle) []string {
	files, room := b.Files(), maxListed
	for i, name := range files {
		if room -= len(name) + 3; room < 0 {
			return files[:i]
		}
	}
	return files
}

// compile judges a bundle against the tenant's tools.
func (s *Service) compile(tenant string, b *policies.Bundle) (*policies.Engine, error) {
	e, err := policies.Compile(b, s.deps.Tools(tenant))
	if err != nil {
		return nil, fmt.Errorf("%w: compile bundle: %w", ErrRefused, err)
	}
	return e, nil
}

// Push takes a bundle in as a revision, without putting it in force: Activate does. The files must compile against the
// tenant's tools, and be signed if the configuration asks for it. What is a revision already stays that one.
func (s *Service) Push(ctx context.Context, tenant string, by Actor, files map[string][]byte) (Revision, error) {
	bundle, err := policies.NewBundle(files)
	if err != nil {
		return Revision{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := s.compile(tenant, bundle); err != nil { // before the lock: a rollback does not wait for it
		return Revision{}, s.refuse(err)
	}
	if err := s.checkFilters(ctx, tenant, bundle); err != nil {
		return Revision{}, s.refuse(err)
	}
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return Revision{}, err
	}
	defer b.change.Unlock()
	rev, err := s.newRevision(b, bundle, by, Source{Kind: API})
	if err != nil {
		return Revision{}, s.refuse(err)
	}
	if known := b.known(bundle.Digest()); known != nil && known.answers(rev) {
		if err := s.mend(ctx, b, known.Number, bundle); err != nil {
			return Revision{}, err
		}
		return s.pushed(b, known.Number, bundle)
	}
	c := &change{op: opPush, by: by, bundle: bundle, number: rev.Number, row: b.row, rev: rev}
	c.row.Next, c.row.Version = rev.Number+1, max(c.row.Version, rev.Version)
	if err := s.apply(ctx, b, c); err != nil {
		return Revision{}, err
	}
	s.tidy(ctx, b)
	return s.pushed(b, rev.Number, bundle)
}

// refuse counts a refusal.
func (s *Service) refuse(err error) error {
	s.mu.Lock()
	s.refused++
	s.mu.Unlock()
	return err
}

// newRevision makes the row of a bundle that may be taken in.
func (s *Service) newRevision(b *book, bundle *policies.Bundle, by Actor, from Source) (*revisionRow, error) {
	if len(bundle.Signature()) > maxSignature {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes (it holds signatures alone)", ErrRefused, policies.SignatureFile, maxSignature)
	}
	signer, required, err := s.signed(b.tenant, bundle, from)
	if err != nil {
		return nil, err
	}
	version := bundle.Manifest().Version
	if required {
		known := b.known(bundle.Digest())
		again := known != nil && known.Version == version || bundle.Digest() == b.meant()
		if err := newer(bundle, b.row.Version, again); err != nil {
			return nil, err
		}
	}
	return &revisionRow{
		Number: max(b.row.Next, 1), Digest: bundle.Digest(), Name: bundle.Name(), Version: version, Signature: bundle.Signature(), SignedBy: signer,
		User: by.User, Key: by.Key, Source: from, Time: s.deps.Now().Unix(),
	}, nil
}

// known finds the newest revision with a digest.
func (b *book) known(digest merkle.Hash) *revisionRow {
	for i := len(b.revs) - 1; i >= 0; i-- {
		if b.revs[i].problem == "" && b.revs[i].Digest == digest {
			return &b.revs[i]
		}
	}
	return nil
}

// answers tells whether this revision is the new one, too: where a signature is asked for, only under the same one.
func (r *revisionRow) answers(next *revisionRow) bool {
	return next.SignedBy == "" || bytes.Equal(r.Signature, next.Signature)
}

// Activate puts a revision in force. The zero mode enforces it; shadow and canary try it beside the one that is enforced,
// instead of what was tried before. It is judged again: tools and keys may have changed since it was handed in.
func (s *Service) Activate(ctx context.Context, tenant string, by Actor, number uint64, m policies.Mode) (Revision, error) {
	if m.Canary < 0 || m.Canary > 99 || m.Shadow && m.Canary != 0 {
		return Revision{}, fmt.Errorf("%w: a canary is 1 to 99 percent of the principals, and no shadow", ErrState)
	}
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return Revision{}, err
	}
	defer b.change.Unlock()
	r := b.find(number)
	if r == nil {
		return Revision{}, fmt.Errorf("revision %d: %w", number, ErrNotFound)
	}
	c, before := &change{op: opActivate, by: by, number: number, engines: true}, b.enforced
	if c.bundle, err = s.judged(ctx, b, r); err != nil {
		return Revision{}, s.refuse(err)
	}
	e, err := s.compile(tenant, c.bundle)
	if err != nil {
		return Revision{}, s.refuse(err)
	}
	if m == (policies.Mode{}) {
		if err := b.keepsFilters(c.bundle); err != nil {
			return Revision{}, s.refuse(err)
		}
		b.enforce(c, e)
	} else if err := s.try(b, c, e, m); err != nil {
		return Revision{}, err
	}
	c.row.Manual = true
	if err := s.apply(ctx, b, c); err != nil {
		return Revision{}, err
	}
	s.settled(b)
	return s.moved(tenant, number, before, c.bundle)
}

// judged reads a revision and checks its signature by the keys of today.
func (s *Service) judged(ctx context.Context, b *book, r *revisionRow) (*policies.Bundle, error) {
	bundle, err := s.read(ctx, b.tenant, r.Number)
	if err != nil {
		return nil, err
	}
	if _, _, err = s.signed(b.tenant, bundle, r.Source); err != nil {
		return nil, fmt.Errorf("revision %d: %w", r.Number, err)
	}
	return bundle, nil
}

// enforce makes the change one that enforces the bundle.
func (b *book) enforce(c *change, e *policies.Engine) {
	c.row = b.row
	if old := b.row.Enforced; old != 0 && old != c.number {
		c.row.Past = append(slices.DeleteFunc(slices.Clone(b.row.Past), func(n uint64) bool { return n == c.number }), old)
		c.row.Past = c.row.Past[max(0, len(c.row.Past)-maxPast):]
	}
	c.row.Enforced, c.row.Staged, c.row.Shadow, c.row.Canary = c.number, 0, false, 0
	c.row.Filters = enforcedFilters(c.bundle)
	c.enforced, c.engine = c.bundle, e
	c.engines = true
}

// try makes the change one that tries the bundle beside the one that is enforced.
func (s *Service) try(b *book, c *change, e *policies.Engine, m policies.Mode) error {
	standing := s.deps.Engines.For(b.tenant)
	switch {
	case b.enforced == nil || b.waiting || standing == nil:
		return fmt.Errorf("%w: no revision is enforced that this one could be tried beside (enforce one first: activate it without --shadow and --canary)", ErrState)
	case b.row.Enforced == c.number:
		return fmt.Errorf("%w: revision %d is the one that is enforced (push the change first, and try its number)", ErrState, c.number)
	}
	if err := sameFilters(b.enforced, c.bundle); err != nil {
		return s.refuse(err)
	}
	c.row = b.row
	c.row.Staged, c.row.Shadow, c.row.Canary = c.number, m.Shadow, m.Canary
	c.enforced, c.staged, c.engine, c.beside = b.enforced, c.bundle, standing, e
	return nil
}

// settled ends what a person's word has overruled: the alarm, and a bundle that waits for tools.
func (s *Service) settled(b *book) {
	s.mu.Lock()
	b.pending = nil
	s.mu.Unlock()
	s.Alarmed(b.tenant, "")
}

// tidy gives up old revisions. A failure costs room and nothing else, and is tried again with the next one.
func (s *Service) tidy(ctx context.Context, b *book) {
	if err := s.prune(context.WithoutCancel(ctx), b); err != nil {
		s.deps.Log.Warn("old revisions of policies are still kept", "tenant", b.tenant, "error", err)
	}
}

// lose has everything refused, for what is in force cannot be read. No other revision takes its place by itself: it may permit
// what this one was there to forbid, or pass calls by a filter that this one enforces.
func (s *Service) lose(b *book, why error) {
	text := fmt.Sprintf("%v; it is the revision in force", why)
	if len(b.row.Filters) > 0 {
		text += " and enforces the filters " + strings.Join(b.row.Filters, ", ")
	}
	s.lost(b, text)
}

// lost notes why nothing is in force, until a person says what is to be, or a source brings exactly what was.
func (s *Service) lost(b *book, text string) {
	text += "; everything is refused until the same files come again or another revision is activated (`gatewright policy push` and `activate N`; `gatewright policy history` lists them)"
	s.mu.Lock()
	b.lost = text
	s.mu.Unlock()
	s.Alarmed(b.tenant, text)
}

// meant is the digest of what is to be enforced, also where its revision cannot be read; zero when nobody knows.
func (b *book) meant() merkle.Hash {
	if r := b.find(b.row.Enforced); r != nil && r.problem == "" {
		return r.Digest
	}
	if b.row.Manual {
		return merkle.Hash{}
	}
	return b.row.Offered // the source brought it, and nobody said otherwise since
}

// mend puts the files of a revision into the store again, if they are not what they were: somebody has just handed them in.
func (s *Service) mend(ctx context.Context, b *book, number uint64, bundle *policies.Bundle) error {
	if _, err := s.read(ctx, b.tenant, number); !errors.Is(err, ErrDamaged) {
		return err
	}
	if _, _, err := s.putFiles(ctx, b.tenant, bundle); err != nil {
		return err
	}
	if _, err := s.read(ctx, b.tenant, number); err != nil {
		return err
	}
	s.deps.Log.Info("a damaged revision of policies was mended with the same files", "tenant", b.tenant, "revision", number)
	return nil
}

// withdrawDamaged goes on without the revision that was being tried.
func (s *Service) withdrawDamaged(ctx context.Context, b *book, enforced *policies.Bundle, why error) error {
	c := &change{op: opWithdraw, bundle: enforced, number: b.row.Enforced, row: b.row}
	c.row.Staged, c.row.Shadow, c.row.Canary = 0, false, 0
	if err := s.apply(ctx, b, c); err != nil {
		return err
	}
	s.hold(b, c.row, enforced, nil)
	s.compileHeld(ctx, b)
	s.Alarmed(b.tenant, fmt.Sprintf("%v; it was being tried, and is not any more", why))
	return nil
}
