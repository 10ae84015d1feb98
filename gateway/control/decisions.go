package control

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies/compare"
)

// decisionPage is how many records are read at a time.
const decisionPage = 1000

// lostUnasked is the record of a call that was refused before policy was asked.
const lostUnasked compare.Lost = "it was refused before policy was asked"

// decisions reads an organisation's records of decisions, at most limit of them, newest first: what was admitted, and then
// what was refused. They are opened by whoever reads the batches.
func (a *API) decisions(ctx context.Context, tenant string, f *decisionFilter, limit int) iter.Seq2[compare.Batch, error] {
	o := a.opening(ctx, tenant)
	return func(yield func(compare.Batch, error) bool) {
		left := mostOf(limit)
		for _, kind := range decided {
			for entries, err := range a.recordsOf(ctx, tenant, f, kind) {
				if err != nil {
					yield(nil, err)
					return
				}
				entries = entries[:min(left, len(entries))]
				if left -= len(entries); len(entries) > 0 && !yield(sealed{o, entries}, nil) || left == 0 {
					return
				}
			}
		}
	}
}

// decided are the kinds of records that hold decisions, in the order in which they are read.
var decided = []ledger.Kind{ledger.Admitted, ledger.Refused}

// mostOf is how many records a limit allows.
func mostOf(limit int) int {
	if limit <= 0 || limit > maxReplayed {
		return defaultReplayed
	}
	return limit
}

// query asks for the records of one kind.
func (f *decisionFilter) query(kind ledger.Kind) index.Query {
	q := index.Query{Kind: kind.String(), Agent: f.Agent, User: f.User, Server: f.Server, Tool: f.Tool}
	if f.Since != nil {
		q.From = f.Since.UnixMicro()
	}
	if f.Until != nil {
		q.To = f.Until.UnixMicro()
	}
	return q
}

// countDecisions is how many records decisions reads, for who wants to know how far it is; 0 when that cannot be told.
func (a *API) countDecisions(ctx context.Context, tenant string, f *decisionFilter, limit int) (n uint64) {
	for _, kind := range decided {
		counts, err := a.deps.Ledger.Count(ctx, tenant, f.query(kind))
		if err != nil {
			return 0 // whatever it is, reading them says so
		}
		n += counts.Total
	}
	return min(n, uint64(mostOf(limit))) //nolint:gosec // positive
}

// recordsOf pages through the records of one kind.
func (a *API) recordsOf(ctx context.Context, tenant string, f *decisionFilter, kind ledger.Kind) iter.Seq2[[]wal.Entry, error] {
	q := f.query(kind)
	q.Limit = decisionPage
	return func(yield func([]wal.Entry, error) bool) {
		for {
			page, err := a.deps.Ledger.Query(ctx, tenant, q)
			switch {
			case errors.Is(err, wal.ErrTenant), errors.Is(err, wal.ErrPruned): // there is nothing, or nothing any more
				return
			case err != nil:
				yield(nil, fmt.Errorf("read ledger: %w", err))
				return
			}
			if !yield(page.Entries, nil) || page.Next == (index.Cursor{}) {
				return
			}
			q.Cursor = page.Next
		}
	}
}

// sealed is records of decisions that were read together.
type sealed struct {
	*opening
	entries []wal.Entry
}

// Len implements compare.Batch.
func (s sealed) Len() int { return len(s.entries) }

// Read implements compare.Batch.
func (s sealed) Read(i int, p *compare.Parser) (compare.RecordedAsk, error) {
	w := benchOf(p)
	r, err := w.skim.Record(s.entries[i].Data)
	if err != nil {
		return compare.RecordedAsk{}, fmt.Errorf("read record %d: %w", s.entries[i].Index, err)
	}
	r.Side = s.entries[i].Side
	return s.question(r, p)
}

// bench is what one reader of records uses again for each.
type bench struct {
	skim   ledger.Skimmer
	plain  []byte // what was sealed, opened
	salted []byte
	bundle merkle.Hash // of the record before, and its text
	digest string
}

// benchOf returns the bench of whoever reads with this parser.
func benchOf(p *compare.Parser) *bench {
	w, ok := p.Scratch.(*bench)
	if !ok {
		w = &bench{skim: ledger.Skimmer{Words: true, Decision: true}, digest: merkle.Hash{}.String()}
		p.Scratch = w
	}
	return w
}

// name is a bundle's digest as text.
func (w *bench) name(bundle merkle.Hash) string {
	if bundle != w.bundle {
		w.bundle, w.digest = bundle, bundle.String()
	}
	return w.digest
}

// opening opens what is sealed beside the records of one organisation. Each subject's key is looked up once.
type opening struct {
	ctx      context.Context //nolint:containedctx // of one request, within which it is used
	subjects Subjects
	tenant   string

	keys sync.Map // subject -> subjectKey
}

// subjectKey is a subject's, or why there is none.
type subjectKey struct {
	aead cipher.AEAD
	err  error
}

func (a *API) opening(ctx context.Context, tenant string) *opening {
	return &opening{ctx: ctx, subjects: a.deps.Subjects, tenant: tenant}
}

// key finds the key of a subject.
func (o *opening) key(subject string) (cipher.AEAD, error) {
	if k, ok := o.keys.Load(subject); ok {
		return k.(subjectKey).aead, k.(subjectKey).err
	}
	if o.subjects == nil {
		return nil, compare.LostUnsealed
	}
	aead, err := o.subjects.Lookup(o.ctx, o.tenant, subject)
	if errors.Is(err, vault.ErrNotFound) {
		err = compare.LostErased
	}
	if err == nil || errors.Is(err, compare.LostErased) {
		o.keys.Store(subject, subjectKey{aead, err})
	}
	return aead, err
}

// question opens the question of a call's record, for use until the parser's next one. A compare.Lost says why there is none.
func (o *opening) question(r *ledger.Record, p *compare.Parser) (compare.RecordedAsk, error) {
	verdict := verdictOf(r)
	switch {
	case len(r.Side) > 0:
	case verdict == "":
		return compare.RecordedAsk{}, lostUnasked
	default:
		return compare.RecordedAsk{}, compare.LostUnsealed
	}
	aead, err := o.key(pipeline.SubjectOf(r))
	if err != nil {
		return compare.RecordedAsk{}, err
	}
	w := benchOf(p)
	var args, text []byte
	args, text, w.plain, err = pipeline.UnsealInto(w.plain, aead, r)
	switch {
	case err != nil:
		return compare.RecordedAsk{}, compare.LostClosed
	case sha256.Sum256(text) != r.Ask:
		return compare.RecordedAsk{}, compare.LostChanged
	}
	ask, err := p.Parse(text, args)
	switch {
	case err != nil:
		return compare.RecordedAsk{}, compare.LostMalformed
	case !w.committed(&ask):
		return compare.RecordedAsk{}, compare.LostChanged
	case len(args) > 0 && canon.Check(args, replayLimits) != nil:
		return compare.RecordedAsk{}, compare.LostMalformed
	}
	ask.Record, ask.Verdict, ask.Policies, ask.Code, ask.Bundle = r.ID, verdict, r.Policies, r.Code, w.name(r.Bundle)
	return ask, nil
}

// replayLimits bound the arguments of a recorded call; they were held to the port's own bounds when it came.
var replayLimits = canon.Limits{Bytes: 64 << 20, Depth: 1000, Values: 10_000_000}

// noRequest is the digest of the arguments of an operation that takes none.
var noRequest = merkle.Hash{}.String()

// committed tells whether the question commits to its arguments: it holds their salted digest.
func (w *bench) committed(ask *compare.RecordedAsk) bool {
	if len(ask.Args) == 0 {
		return ask.Request == noRequest
	}
	var err error
	if w.salted, err = base64.RawURLEncoding.AppendDecode(w.salted[:0], []byte(ask.Salt)); err != nil {
		return false
	}
	w.salted = append(w.salted, ask.Args...)
	digest := sha256.Sum256(w.salted)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], digest[:])
	return string(text[:]) == ask.Request
}

// verdictOf is what policy answered, as far as its record says; "" when something else had the last word. The words are
// those of stages.Decide.
func verdictOf(r *ledger.Record) string {
	switch {
	case r.Kind == ledger.Admitted:
		return compare.Allow
	case r.Kind != ledger.Refused:
		return ""
	case strings.HasPrefix(r.Detail, "policy_denied"), strings.HasPrefix(r.Detail, "policy_error"):
		return compare.Deny
	case strings.HasPrefix(r.Detail, "held "):
		return compare.Hold
	}
	return ""
}
