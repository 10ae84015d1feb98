package export

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Report says what Verify found. It means something only without an error beside it.
type Report struct {
	Manifest Manifest
	SignedBy string // name of the key
	Records  uint64 // each in the tree that the checkpoint signs
	Unknown  uint64 // records of a kind this version does not know; proved like all
	Opened   uint64 // records whose sealed question and arguments are shown and match
	// Complete says that no record between the indices asked for is missing. A filter by anything else than indices
	// leaves it false: then only the gateway's word says that nothing was left out. So do records that were pruned.
	Complete bool
	// Unbroken says that no record is missing from the first one that is there to the end of what was asked for.
	Unbroken bool
	Pruned   uint64   // indices asked for whose records are no longer kept, says the gateway: those below Manifest.Kept
	Notes    []string // what is not proved
}

// Is reports whether a file is an export, by its beginning: the head of an archive whose first file one of ours is.
func Is(head []byte) bool {
	const nameAt = 30 // of a local file header
	if !bytes.HasPrefix(head, []byte("PK\x03\x04")) || len(head) < nameAt {
		return false
	}
	name := head[nameAt:]
	return bytes.HasPrefix(name, []byte(fileRecords)) || bytes.HasPrefix(name, []byte(fileReport))
}

// Verify checks an export offline: that a pinned key of the instance signed the manifest and the checkpoint, that every
// file is the one the manifest binds, and that each record stands at its index in the checkpoint's tree, belongs to the
// tenant and matches the filter. ErrExport wraps what is wrong with it.
func Verify(ctx context.Context, archive io.ReaderAt, size int64, keys ledger.VerifierKeys) (Report, error) {
	z, err := zip.NewReader(archive, size)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrExport, err)
	}
	v := &verifier{ctx: ctx, keys: keys, files: map[string]*zip.File{}}
	if err := v.list(z); err != nil {
		return Report{}, err
	}
	for _, step := range []func() error{v.manifest, v.hashes, v.checkpoint, v.records} {
		if err := step(); err != nil {
			return v.rep, err
		}
	}
	v.conclude()
	return v.rep, nil
}

type verifier struct {
	ctx   context.Context //nolint:containedctx // lives as long as the one verification
	keys  ledger.VerifierKeys
	names []string // in the order of the archive
	files map[string]*zip.File
	root  merkle.Hash
	rep   Report
}

// list takes the archive's directory; a name that is there twice could show one reader another file.
func (v *verifier) list(z *zip.Reader) error {
	if len(z.File) > maxFiles || z.Comment != "" {
		return fmt.Errorf("%w: %d files in the archive", ErrExport, len(z.File))
	}
	for _, f := range z.File {
		if v.files[f.Name] != nil {
			return fmt.Errorf("%w: %q is in the archive twice", ErrExport, f.Name)
		}
		v.files[f.Name] = f
		v.names = append(v.names, f.Name)
	}
	if n := len(v.names); n < 2 || v.names[n-2] != fileManifest || v.names[n-1] != fileSignature {
		return fmt.Errorf("%w: no manifest with a signature at the end: the archive was not finished", ErrExport)
	}
	return nil
}

func (v *verifier) manifest() error {
	raw, err := v.small(fileManifest)
	if err != nil {
		return err
	}
	signed, err := v.small(fileSignature)
	if err != nil {
		return err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return err
	}
	if v.rep.SignedBy, err = verifySignature(m, raw, signed, v.keys); err != nil {
		return err
	}
	v.rep.Manifest = *m
	var bound []string
	for _, f := range m.Files {
		bound = append(bound, f.Name)
	}
	if !slices.Equal(bound, v.names[:len(v.names)-2]) {
		return fmt.Errorf("%w: the archive holds %q and the manifest names %q", ErrExport, v.names[:len(v.names)-2], bound)
	}
	return fits(m.Format, bound)
}

// extraName is what the files of a format's own are called.
var extraName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}\.(json|pem|txt)$`)

// fits refuses files that the format does not have, or that are missing.
func fits(format Format, names []string) error {
	want := []string{fileRecords, fileCheckpoint, fileProof}
	switch format {
	case CSV:
		want = append(want, fileCSV)
	case PDF:
		want = append(want, fileReport)
	}
	for _, name := range want {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%w: %s is missing", ErrExport, name)
		}
	}
	for _, name := range names {
		if !slices.Contains(want, name) && name != fileOpened && name != fileReadme && (format != AIIdentity || !extraName.MatchString(name)) {
			return fmt.Errorf("%w: an export as %s has no file %q", ErrExport, format, name)
		}
	}
	return nil
}

// small reads a file that is held in memory.
func (v *verifier) small(name string) ([]byte, error) {
	f := v.files[name]
	if f == nil {
		return nil, fmt.Errorf("%w: %s is missing", ErrExport, name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrExport, name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrExport, name, err)
	case len(b) > maxManifest:
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrExport, name, maxManifest)
	}
	return b, nil
}

// hashes reads every file that the manifest binds.
func (v *verifier) hashes() error {
	for _, want := range v.rep.Manifest.Files {
		r, err := v.files[want.Name].Open()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrExport, want.Name, err)
		}
		h := sha256.New()
		n, err := io.Copy(h, &cancelled{v.ctx, io.LimitReader(r, want.Size+1)})
		_ = r.Close() // only read
		if v.ctx.Err() != nil {
			return context.Cause(v.ctx)
		}
		if err != nil || n != want.Size || merkle.Hash(h.Sum(nil)) != want.SHA256 {
			return fmt.Errorf("%w: %s is not the file that the manifest binds", ErrExport, want.Name)
		}
	}
	return nil
}

// cancelled is a reader that ends with a context.
type cancelled struct {
	ctx context.Context //nolint:containedctx // lives as long as the one read
	r   io.Reader
}

// Read implements io.Reader.
func (c *cancelled) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

func (v *verifier) checkpoint() error {
	m := &v.rep.Manifest
	signed, err := v.small(fileCheckpoint)
	if err != nil {
		return err
	}
	c, err := ledger.OpenCheckpoint(signed, classic(v.keys, m.Origin))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExport, err)
	}
	if c.Origin != m.Origin || c.Size != m.Checkpoint.Size || c.Root != m.Checkpoint.Root {
		return fmt.Errorf("%w: the checkpoint is of %d records of %q, the manifest says %d of %q", ErrExport, c.Size, c.Origin, m.Checkpoint.Size, m.Origin)
	}
	v.root = c.Root
	return nil
}

// opens opens a file of the archive; a file that is not there reads as nil.
func (v *verifier) opens(name string) (io.ReadCloser, error) {
	f := v.files[name]
	if f == nil {
		return nil, nil
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrExport, name, err)
	}
	return r, nil
}

// records walks records, proof, table and what was opened side by side.
func (v *verifier) records() error {
	var readers [5]io.ReadCloser
	for i, name := range [...]string{fileRecords, fileProof, fileProof, fileCSV, fileOpened} {
		r, err := v.opens(name)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		defer r.Close()
		readers[i] = r
	}
	w := &walk{v: v, m: &v.rep.Manifest, records: lines(readers[0], MaxLine)}
	var err error
	if w.proof, err = newProof(readers[1], readers[2], w.m.Checkpoint.Size); err != nil {
		return err
	}
	w.root = merkle.NewRooter(w.m.Checkpoint.Size, w.proof.node)
	if readers[3] != nil {
		w.table = bufio.NewReader(readers[3])
		if err := w.same([]byte(csvHead)); err != nil {
			return err
		}
	}
	if readers[4] != nil {
		if w.opened, err = newOpened(readers[4]); err != nil {
			return err
		}
	}
	return w.run()
}

// walk is the state of one pass over the records.
type walk struct {
	v       *verifier
	m       *Manifest
	records *bufio.Scanner
	proof   *proofReader
	root    *merkle.Rooter
	table   *bufio.Reader
	opened  *openedReader
	row     []byte
	got     []byte
	last    uint64
}

func (w *walk) run() error {
	for w.records.Scan() {
		if w.v.ctx.Err() != nil {
			return context.Cause(w.v.ctx)
		}
		if err := w.record(w.records.Bytes()); err != nil {
			return err
		}
	}
	if err := w.records.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrExport, fileRecords, err)
	}
	return w.end()
}

func (w *walk) record(line []byte) error {
	index, leaf, err := ParseLine(line)
	if err != nil {
		return err
	}
	switch want, more, err := w.proof.next(); {
	case err != nil:
		return err
	case !more || want != index:
		return fmt.Errorf("%w: record %d is not the next one that the proof is about", ErrExport, index)
	}
	r, err := ledger.ParseRecord(leaf)
	if err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrExport, index, err)
	}
	switch {
	case r.Tenant != w.m.Tenant, !OfInstance(r.Instance, w.m.Origin):
		return fmt.Errorf("%w: record %d is of tenant %q at instance %q", ErrExport, index, r.Tenant, r.Instance)
	case index < w.m.Filter.From, w.m.Filter.To != 0 && index >= w.m.Filter.To, !w.m.Filter.Matches(&r):
		return fmt.Errorf("%w: record %d does not match the filter", ErrExport, index)
	case index < w.m.Kept, w.v.rep.Records == 0 && (w.m.First == nil || *w.m.First != index):
		return fmt.Errorf("%w: record %d is not the first that the manifest names", ErrExport, index)
	}
	hash := merkle.LeafHash(leaf)
	if err := w.root.Leaf(index, hash); err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrExport, index, err)
	}
	return w.views(index, hash, &r)
}

// views holds what is shown beside a record to the record.
func (w *walk) views(index uint64, leaf merkle.Hash, r *ledger.Record) error {
	w.last = index
	w.v.rep.Records++
	if r.Kind == ledger.Unknown {
		w.v.rep.Unknown++
	}
	about, err := w.opened.check(index, r)
	if err != nil {
		return err
	}
	if about {
		w.v.rep.Opened++
	}
	if w.table == nil {
		return nil
	}
	w.row = appendRow(w.row[:0], index, leaf, r)
	return w.same(w.row)
}

// same demands that the table goes on with these bytes.
func (w *walk) same(want []byte) error {
	w.got = append(w.got[:0], want...)
	if _, err := io.ReadFull(w.table, w.got); err != nil || !bytes.Equal(w.got, want) {
		return fmt.Errorf("%w: %s does not say what the records say, behind %d records", ErrExport, fileCSV, w.v.rep.Records)
	}
	return nil
}

func (w *walk) end() error {
	n := w.v.rep.Records
	if _, more, err := w.proof.next(); err != nil || more || n != w.m.Count || n > 0 && w.last != *w.m.Last {
		return fmt.Errorf("%w: %d records, the last at %d; the manifest says %d", ErrExport, n, w.last, w.m.Count)
	}
	if n > 0 {
		root, err := w.root.Root()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrExport, err)
		}
		if root != w.v.root {
			return fmt.Errorf("%w: the records do not lead to the root of the checkpoint", ErrExport)
		}
	}
	if err := w.proof.end(); err != nil {
		return err
	}
	if err := w.opened.end(); err != nil {
		return err
	}
	if w.table != nil {
		if _, err := w.table.ReadByte(); err != io.EOF {
			return fmt.Errorf("%w: %s has more rows than there are records", ErrExport, fileCSV)
		}
	}
	return nil
}

// conclude says what was not proved.
func (v *verifier) conclude() {
	m := &v.rep.Manifest
	from, to := m.Filter.span(m.Checkpoint.Size)
	kept := min(max(from, m.Kept), to)
	v.rep.Pruned = kept - from
	v.rep.Unbroken = m.Filter.Everything() && m.Filter.To <= m.Checkpoint.Size && m.Count > 0 && m.Count == to-kept
	v.rep.Complete = v.rep.Unbroken && v.rep.Pruned == 0
	note := func(s string) { v.rep.Notes = append(v.rep.Notes, s) }
	if v.rep.Pruned > 0 {
		note(fmt.Sprintf("records %d to %d were asked for and no longer kept, says the gateway", from, kept-1))
	}
	if m.Filter.To > m.Checkpoint.Size {
		note(fmt.Sprintf("records up to %d were asked for; the checkpoint is of %d", m.Filter.To, m.Checkpoint.Size))
	}
	if !v.rep.Unbroken {
		note("that no other record matches the filter is the gateway's word, given by its signature; an absence proof shows that something is missing")
	}
	if m.Count == 0 {
		note("there are no records, so nothing leads to the checkpoint")
	}
	switch m.Format {
	case PDF:
		note("report.pdf is the file that the gateway made; the records themselves are proved")
	case AIIdentity:
		note("the re-chained view is the one that the gateway made; its own verifier checks it, and the records themselves are proved here")
	}
	if v.files[fileOpened] != nil {
		note("what was erased, or could not be opened, is marked by the gateway's word")
	}
}
