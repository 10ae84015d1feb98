// Package export writes a part of one tenant's ledger into a file that stands for itself, and verifies such a file
// without a gateway, a network or trust in whoever kept it.
//
// An export is a ZIP archive with, in this order:
//
//	report.pdf      format pdf: a report for people
//	records.jsonl   always: one record a line, {"index":N,"leaf":RECORD} with the record's exact bytes
//	records.csv     format csv: the same records as a table
//	opened.jsonl    of a subject's export: the sealed questions and arguments, opened
//	...             format ai-identity: what package rechain makes
//	readme.txt      always: what this is, in words
//	checkpoint      the tenant's checkpoint that everything is proved against (C2SP tlog-checkpoint)
//	proof           which records they are, and the multiproof that leads from them to the checkpoint's root
//	manifest.json   what this is, canonical JSON: who asked for what and when, and the SHA-256 of each file above
//	manifest.sig    a C2SP signed note over the manifest's hash, by the key that signs the ledger's checkpoints
//
// What is proved to whoever pinned the instance's key: every record stands, byte for byte and at its index, in the tree
// that the instance signed; the CSV says what the records say; the gateway vouches for the rest of the manifest. That no
// record which matches the filter was left out is the gateway's word, unless the export is one run of records without a
// filter: a multiproof says what is there and not what is missing. Package absence proves that something is missing.
//
// Memory is bounded whatever the size: 16 bytes for each run of records that belong together, a page of records, and 64
// hashes. Writer and verifier read each file once, from front to back.
package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Bounds of an export.
const (
	// DefaultLimit is how many records an export holds at most when Options name no other bound.
	DefaultLimit = 1_000_000
	// MaxLimit is the largest bound: 16 MB of memory when no two records lie beside each other.
	MaxLimit = 10_000_000
	// MaxRechained bounds an export as AI Identity's: readers of that form hold all of it in memory.
	MaxRechained = 100_000
	// page is how many records are read at a time.
	page = 512
	// maxIndex is the largest integer that every JSON reader keeps: 2^53-1.
	maxIndex = 1<<53 - 1
)

// Errors that callers branch on.
var (
	// ErrLimit: more records match than an export may hold.
	ErrLimit = errors.New("too many records for one export")
	// ErrOptions: the options make no export.
	ErrOptions = errors.New("export options are not valid")
	// ErrExport is an export that is malformed, was changed, or that no pinned key vouches for.
	ErrExport = errors.New("export does not verify")
)

// Format is what an export holds beside the records themselves.
type Format string

// The formats.
const (
	JSONL      Format = "jsonl"
	CSV        Format = "csv"
	PDF        Format = "pdf"
	AIIdentity Format = "ai-identity"
)

// Valid reports whether f is one of the formats.
func (f Format) Valid() bool { return f == JSONL || f == CSV || f == PDF || f == AIIdentity }

// Source is the ledger that is exported. Its answers about one index never change.
type Source interface {
	// Checkpoint returns the tenant's published checkpoint, a signed note.
	Checkpoint(tenant string) ([]byte, error)
	// Scan returns up to n records in order from an index on, at least one unless from is the tenant's size.
	Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error)
	// Subtrees returns the hashes of the complete subtrees of the tenant's tree, as large as the checkpoint's or larger.
	Subtrees(tenant string) (merkle.Subtree, error)
}

// Finder is a Source that finds records by an index of its own. It returns up to n of the records in [from, to) that
// match, in order, and where the search goes on: to, when it has seen everything.
type Finder interface {
	Find(ctx context.Context, tenant string, f *Filter, from, to uint64, n int) (found []wal.Entry, next uint64, err error)
}

// Keeper is a Source that does not keep every record for ever. It returns the index of a tenant's first record that is kept.
type Keeper interface {
	First(ctx context.Context, tenant string) (uint64, error)
}

// Requester is who asked for an export: ids, never names or addresses.
type Requester struct {
	User   string `json:"user,omitempty"`
	Key    string `json:"key,omitempty"`
	Record string `json:"record,omitempty"` // the ledger record of the request
}

// Opener opens what lies sealed beside a record. Opened.State says why there is nothing; an error ends the export.
type Opener interface {
	Open(ctx context.Context, r *ledger.Record) (Opened, error)
}

// Each calls fn with every entry of an export in order.
type Each func(fn func(e *wal.Entry, r *ledger.Record) error) error

// Extra makes the files that a format adds. Package rechain is the only one so far.
type Extra interface {
	// Files writes each file into what create gives for its name, one after another. Each may be called as often as a file
	// needs.
	Files(ctx context.Context, about *About, each Each, create func(name string) (io.Writer, error)) error
}

// Options say what to export. Tenant, Format, Signers and Now are required.
type Options struct {
	Tenant string
	Format Format
	Filter Filter
	Limit  int       // records; 0 is DefaultLimit, and AIIdentity takes MaxRechained at most
	By     Requester // who asked
	Now    time.Time
	// Signers sign the manifest: the keys that sign the ledger's checkpoints, under the same names.
	Signers []ledger.NoteSigner
	// Opener, when set, opens what is sealed beside each record. For a subject's own data; see Filter.Subject.
	Opener Opener
	// Extra makes the files of format ai-identity, which needs it.
	Extra Extra
	// Report makes report.pdf, for format pdf, which needs it.
	Report func(w io.Writer, about *About) error
	// Commit is told the manifest before it is signed, so that the ledger can hold its digest before anybody holds the
	// export. Without its consent the export stays without a signature, and nobody can verify it.
	Commit func(ctx context.Context, manifest []byte) error
}

func (o *Options) check() error {
	switch {
	case !ledger.ValidTenant(o.Tenant):
		return fmt.Errorf("%w: tenant %q", ErrOptions, o.Tenant)
	case !o.Format.Valid():
		return fmt.Errorf("%w: format %q", ErrOptions, o.Format)
	case o.Limit < 0 || o.Limit > MaxLimit:
		return fmt.Errorf("%w: a limit of %d records, at most %d", ErrOptions, o.Limit, MaxLimit)
	case len(o.Signers) == 0:
		return fmt.Errorf("%w: nobody signs", ErrOptions)
	case o.Now.IsZero():
		return fmt.Errorf("%w: no time", ErrOptions)
	case (o.Format == AIIdentity) != (o.Extra != nil) || (o.Format == PDF) != (o.Report != nil):
		return fmt.Errorf("%w: format %s and its maker do not fit", ErrOptions, o.Format)
	}
	return o.Filter.Check()
}

// Export is a selection of records that is ready to be written.
type Export struct {
	src        Source
	opt        Options
	checkpoint ledger.Checkpoint
	note       []byte // the checkpoint, signed
	runs       []Run
	about      About
}

// Run is a run of records without a gap, both ends included.
type Run struct{ First, Last uint64 }

// Prepare finds the records. Nothing is written before they are known, so that whoever asked can be told about ErrLimit
// and about a ledger without a checkpoint instead of being sent half an archive.
func Prepare(ctx context.Context, src Source, o Options) (*Export, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Format == AIIdentity {
		o.Limit = min(o.Limit, MaxRechained)
	}
	note, err := src.Checkpoint(o.Tenant)
	if err != nil {
		return nil, fmt.Errorf("prepare export: checkpoint: %w", err)
	}
	c, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return nil, fmt.Errorf("prepare export: %w", err)
	}
	if c.Size > maxIndex {
		return nil, fmt.Errorf("prepare export: %w: %d records", ledger.ErrCheckpoint, c.Size)
	}
	e := &Export{src: src, opt: o, checkpoint: c, note: note}
	if err := e.find(ctx); err != nil {
		return nil, fmt.Errorf("prepare export: %w", err)
	}
	return e, nil
}

// About is what the export will say, and what its report shows.
func (e *Export) About() *About { return &e.about }

// find walks the records up to the checkpoint and notes where those that match lie.
func (e *Export) find(ctx context.Context) error {
	from, to := e.opt.Filter.span(e.checkpoint.Size)
	if f := &e.opt.Filter; f.To > e.checkpoint.Size || f.From > 0 && f.From >= e.checkpoint.Size {
		return fmt.Errorf("%w: records from %d to %d; the published checkpoint is of %d", ErrOptions, f.From, f.To, e.checkpoint.Size)
	}
	e.about = newAbout(e)
	if k, ok := e.src.(Keeper); ok {
		first, err := k.First(ctx, e.opt.Tenant)
		if err != nil {
			return err
		}
		if first >= to && from < to {
			return fmt.Errorf("%w: of records %d to %d none is kept; the first that is has index %d", wal.ErrPruned, from, to-1, first)
		}
		if first > from {
			e.about.Kept, from = first, first
		}
	}
	for from < to {
		found, next, err := e.look(ctx, from, to)
		if err != nil {
			return err
		}
		for i := range found {
			r, err := found[i].Record()
			if err != nil {
				return fmt.Errorf("record %d: %w", found[i].Index, err)
			}
			if e.about.Count == uint64(e.opt.Limit) {
				return fmt.Errorf("%w: more than %d match", ErrLimit, e.opt.Limit)
			}
			e.add(found[i].Index)
			e.about.add(found[i].Index, &r)
		}
		if next <= from || next > to {
			return fmt.Errorf("search from %d to %d went on at %d", from, to, next)
		}
		from = next
	}
	return nil
}

func (e *Export) add(index uint64) {
	if last := len(e.runs) - 1; last >= 0 && e.runs[last].Last+1 == index {
		e.runs[last].Last = index
		return
	}
	e.runs = append(e.runs, Run{index, index})
}

// look returns matching records from an index on, and where to go on.
func (e *Export) look(ctx context.Context, from, to uint64) ([]wal.Entry, uint64, error) {
	if f, ok := e.src.(Finder); ok {
		return f.Find(ctx, e.opt.Tenant, &e.opt.Filter, from, to, page)
	}
	entries, err := scan(ctx, e.src, e.opt.Tenant, from, to)
	if err != nil {
		return nil, 0, err
	}
	found := entries[:0]
	next := from + uint64(len(entries))
	for i := range entries {
		r, err := entries[i].Record()
		if err != nil {
			return nil, 0, fmt.Errorf("record %d: %w", entries[i].Index, err)
		}
		if e.opt.Filter.Matches(&r) {
			found = append(found, entries[i])
		}
	}
	return found, next, nil
}

// scan reads a page of [from, to): at least one record, each at its place.
func scan(ctx context.Context, src Source, tenant string, from, to uint64) ([]wal.Entry, error) {
	entries, err := src.Scan(ctx, tenant, from, int(min(page, to-from)))
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 || uint64(len(entries)) > to-from {
		return nil, fmt.Errorf("%d records from %d to %d", len(entries), from, to)
	}
	for i := range entries {
		if entries[i].Index != from+uint64(i) {
			return nil, fmt.Errorf("record %d in place of %d", entries[i].Index, from+uint64(i))
		}
	}
	return entries, nil
}

// each gives every entry of the export in order, parsed.
func (e *Export) each(ctx context.Context, fn func(en *wal.Entry, r *ledger.Record) error) error {
	for _, run := range e.runs {
		for from := run.First; from <= run.Last; {
			entries, err := scan(ctx, e.src, e.opt.Tenant, from, run.Last+1)
			if err != nil {
				return err
			}
			for i := range entries {
				r, err := entries[i].Record()
				if err != nil {
					return fmt.Errorf("record %d: %w", entries[i].Index, err)
				}
				if err := fn(&entries[i], &r); err != nil {
					return err
				}
			}
			from += uint64(len(entries))
		}
	}
	return nil
}
