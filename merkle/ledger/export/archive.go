package export

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// archive writes the files of an export one after another and hashes them on the way. It writes no times, so that the
// same records make the same bytes.
type archive struct {
	ctx   context.Context //nolint:containedctx // lives as long as the one export
	zip   *zip.Writer
	files []FileHash
	open  io.Writer
	sum   hash.Hash
}

// create ends the file before and begins another.
func (a *archive) create(name string) (io.Writer, error) {
	a.end()
	w, err := a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", name, err)
	}
	a.files = append(a.files, FileHash{Name: name})
	a.open, a.sum = w, sha256.New()
	return a, nil
}

// Write implements io.Writer for the open file. It ends with the context, so that nobody compresses for a reader who left.
func (a *archive) Write(b []byte) (int, error) {
	if a.ctx.Err() != nil {
		return 0, context.Cause(a.ctx)
	}
	n, err := a.open.Write(b)
	a.sum.Write(b[:n])
	a.files[len(a.files)-1].Size += int64(n)
	return n, err
}

func (a *archive) end() {
	if a.sum != nil {
		a.files[len(a.files)-1].SHA256 = merkle.Hash(a.sum.Sum(nil))
		a.sum = nil
	}
}

func (a *archive) put(name string, content []byte) error {
	w, err := a.create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	return err
}

// OnCommit is Options.Commit for what is known only after Prepare.
func (e *Export) OnCommit(fn func(ctx context.Context, manifest []byte) error) { e.opt.Commit = fn }

// Write writes the archive and returns its manifest. It ends early with the context; half an archive has no manifest and
// no directory, and nobody takes it for a whole one.
func (e *Export) Write(ctx context.Context, w io.Writer) (*Manifest, error) {
	a := &archive{ctx: ctx, zip: zip.NewWriter(w)}
	m, err := e.write(ctx, a)
	if err == nil {
		err = a.zip.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("write export: %w", err)
	}
	return m, nil
}

func (e *Export) write(ctx context.Context, a *archive) (*Manifest, error) {
	for _, part := range []func(context.Context, *archive) error{e.report, e.records, e.table, e.opened, e.extra, e.readme} {
		if err := part(ctx, a); err != nil {
			return nil, err
		}
	}
	if err := a.put(fileCheckpoint, e.note); err != nil {
		return nil, err
	}
	if err := e.proof(a); err != nil {
		return nil, err
	}
	a.end()
	return e.seal(ctx, a)
}

func (e *Export) proof(a *archive) error {
	subtree, err := e.src.Subtrees(e.opt.Tenant)
	if err != nil {
		return fmt.Errorf("read the tree: %w", err)
	}
	w, err := a.create(fileProof)
	if err != nil {
		return err
	}
	return writeProof(w, e.checkpoint.Size, e.runs, subtree)
}

// seal writes manifest and signature. The ledger hears of the manifest in between.
func (e *Export) seal(ctx context.Context, a *archive) (*Manifest, error) {
	m, err := e.manifest(a.files)
	if err != nil {
		return nil, err
	}
	raw, err := m.encode()
	if err != nil {
		return nil, err
	}
	if err := a.put(fileManifest, raw); err != nil {
		return nil, err
	}
	if e.opt.Commit != nil {
		if err := e.opt.Commit(ctx, raw); err != nil {
			return nil, fmt.Errorf("commit to the manifest: %w", err)
		}
	}
	signed, err := sign(m.Origin, raw, m.At, e.opt.Signers)
	if err != nil {
		return nil, err
	}
	return m, a.put(fileSignature, signed)
}

func (e *Export) manifest(files []FileHash) (*Manifest, error) {
	m := &Manifest{
		Version: formatVersion, Format: e.opt.Format, Origin: e.checkpoint.Origin, Tenant: e.opt.Tenant,
		Instance: instanceOf(e.checkpoint.Origin), Filter: e.opt.Filter, Kept: e.about.Kept, Count: e.about.Count,
		Checkpoint: Anchor{e.checkpoint.Size, e.checkpoint.Root}, Files: append([]FileHash(nil), files...),
		By: e.opt.By, At: e.opt.Now.UTC(),
	}
	if m.Count > 0 {
		m.First, m.Last = &e.about.First, &e.about.Last
	}
	return m, m.check()
}

// instanceOf is the last part of a log's origin.
func instanceOf(origin string) string {
	for i := len(origin) - 1; i >= 0; i-- {
		if origin[i] == '/' {
			return origin[i+1:]
		}
	}
	return ""
}

func (e *Export) report(_ context.Context, a *archive) error {
	if e.opt.Format != PDF {
		return nil
	}
	w, err := a.create(fileReport)
	if err != nil {
		return err
	}
	if err := e.opt.Report(w, &e.about); err != nil {
		return fmt.Errorf("make report: %w", err)
	}
	return nil
}

func (e *Export) records(ctx context.Context, a *archive) error {
	w, err := a.create(fileRecords)
	if err != nil {
		return err
	}
	var line []byte
	return e.each(ctx, func(en *wal.Entry, r *ledger.Record) error {
		if r.Tenant != e.opt.Tenant || !e.opt.Filter.Matches(r) {
			return fmt.Errorf("record %d is not one that was found", en.Index)
		}
		line = AppendLine(line[:0], en.Index, en.Data)
		_, err := w.Write(line)
		return err
	})
}

func (e *Export) table(ctx context.Context, a *archive) error {
	if e.opt.Format != CSV {
		return nil
	}
	w, err := a.create(fileCSV)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, csvHead); err != nil {
		return err
	}
	var row []byte
	return e.each(ctx, func(en *wal.Entry, r *ledger.Record) error {
		row = appendRow(row[:0], en.Index, merkle.LeafHash(en.Data), r)
		_, err := w.Write(row)
		return err
	})
}

// readme says in words what lies in the archive. A format with files of its own says it itself.
func (e *Export) readme(_ context.Context, a *archive) error {
	if e.opt.Extra != nil {
		return nil
	}
	w, err := a.create(fileReadme)
	if err != nil {
		return err
	}
	about := &e.about
	_, err = fmt.Fprintf(w, `%d records of the ledger %s,
exported %s from its checkpoint of %d records.

  records.jsonl    the records, one a line, byte for byte as the ledger holds them
`, about.Count, about.Origin, about.Now.UTC().Format("2006-01-02 15:04:05 UTC"), about.Checkpoint.Size)
	for i := 0; err == nil && i < len(a.files); i++ {
		if says, ok := described[a.files[i].Name]; ok {
			_, err = fmt.Fprintf(w, "  %-16s %s\n", a.files[i].Name, says)
		}
	}
	if err == nil {
		_, err = io.WriteString(w, readmeEnd)
	}
	return err
}

// described says what files that not every export holds are.
var described = map[string]string{
	fileCSV:    "the same records as a table",
	fileReport: "the same records as a report for people",
	fileOpened: "the sealed questions and arguments, opened",
}

const readmeEnd = `  checkpoint       what the ledger's key signed: the size and the root of its tree
  proof            that each record stands in that tree
  manifest.json    who asked for what and when, and the SHA-256 of each file
  manifest.sig     the gateway's signature over the manifest

Whoever has the gateway's public key, as its operator gave it, verifies all of it without a network:

  gatewright verify --key ledger.pub EXPORT.zip
`

func (e *Export) extra(ctx context.Context, a *archive) error {
	if e.opt.Extra == nil {
		return nil
	}
	each := func(fn func(*wal.Entry, *ledger.Record) error) error { return e.each(ctx, fn) }
	return e.opt.Extra.Files(ctx, &e.about, each, a.create)
}
