package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Names of the files that an export may hold.
const (
	fileReport     = "report.pdf"
	fileReadme     = "readme.txt"
	fileRecords    = "records.jsonl"
	fileCSV        = "records.csv"
	fileOpened     = "opened.jsonl"
	fileCheckpoint = "checkpoint"
	fileProof      = "proof"
	fileManifest   = "manifest.json"
	fileSignature  = "manifest.sig"
)

const (
	// formatVersion is the "v" member of a manifest.
	formatVersion = 1
	// maxManifest bounds a manifest and its signature in bytes, each.
	maxManifest = 64 << 10
	// maxFiles bounds the files of an archive.
	maxFiles = 24
	// noteContext begins what is signed, so that no signature over it can be taken for one over a checkpoint, whose second
	// line is a number, or over a batch of receipts.
	noteContext = "gatewright/export/v1\n"
)

// Manifest says what an export is. Its canonical JSON is what the ledger's key signs.
type Manifest struct {
	Version    int        `json:"v"`
	Format     Format     `json:"format"`
	Origin     string     `json:"origin"` // of the tenant's log: HOST/ledger/TENANT/INSTANCE
	Tenant     string     `json:"tenant"`
	Instance   string     `json:"instance"`
	Filter     Filter     `json:"filter"`              // as it was given
	Kept       uint64     `json:"kept_from,omitempty"` // the first record that was kept, when the filter asks for some before it
	Count      uint64     `json:"count"`
	First      *uint64    `json:"first,omitempty"` // index of the first record; absent without records
	Last       *uint64    `json:"last,omitempty"`
	Checkpoint Anchor     `json:"checkpoint"`
	Files      []FileHash `json:"files"` // in the order of the archive
	By         Requester  `json:"by"`
	At         time.Time  `json:"at"`
}

// Anchor is the tree that an export is proved against.
type Anchor struct {
	Size uint64      `json:"size"`
	Root merkle.Hash `json:"root"`
}

// FileHash binds a file of the archive.
type FileHash struct {
	Name   string      `json:"name"`
	Size   int64       `json:"size"` // bytes
	SHA256 merkle.Hash `json:"sha256"`
}

// encode returns the manifest's canonical JSON.
func (m *Manifest) encode() ([]byte, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	lim := canon.DefaultLimits()
	lim.Bytes = maxManifest
	out, err := canon.AppendCanonical(nil, raw, lim)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return out, nil
}

// parseManifest reads the canonical form and nothing else.
func parseManifest(raw []byte) (*Manifest, error) {
	lim := canon.DefaultLimits()
	lim.Bytes = maxManifest
	form, err := canon.AppendCanonical(nil, raw, lim)
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrExport, err)
	}
	if !bytes.Equal(form, raw) {
		return nil, fmt.Errorf("%w: the manifest is not in canonical form", ErrExport)
	}
	var version struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(raw, &version); err != nil || version.V != formatVersion {
		return nil, fmt.Errorf("%w: manifest version %d is not known", ErrExport, version.V)
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrExport, err)
	}
	// Decoding takes names in any case; what does not come out as it went in was spelled otherwise.
	if again, err := m.encode(); err != nil || !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("%w: the manifest has another spelling", ErrExport)
	}
	return &m, m.check()
}

// check refuses what no writer makes.
func (m *Manifest) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: manifest: %s", ErrExport, fmt.Sprintf(format, args...))
	}
	if err := m.Filter.Check(); err != nil {
		return bad("%v", err)
	}
	host, ok := strings.CutSuffix(m.Origin, ledger.Origin("", m.Tenant, m.Instance))
	switch {
	case !m.Format.Valid():
		return bad("format %q", m.Format)
	case !ledger.ValidTenant(m.Tenant) || m.Instance == "" || strings.Contains(m.Instance, "/") || !ok || host == "":
		return bad("origin %q is not that of tenant %q at instance %q", m.Origin, m.Tenant, m.Instance)
	case m.Checkpoint.Size > maxIndex || m.Kept > maxIndex || m.Count > m.Checkpoint.Size:
		return bad("%d records of %d", m.Count, m.Checkpoint.Size)
	case (m.First == nil) != (m.Count == 0) || (m.Last == nil) != (m.Count == 0):
		return bad("first and last do not fit %d records", m.Count)
	case m.Count > 0 && (*m.First > *m.Last || *m.Last >= m.Checkpoint.Size || *m.Last-*m.First < m.Count-1):
		return bad("%d records from %d to %d of %d", m.Count, *m.First, *m.Last, m.Checkpoint.Size)
	}
	return nil
}

// KeysFor are the keys that may sign for the log of that origin: a pinned key of one instance vouches for no other, and an
// instance whose ledger was restored keeps its key.
func KeysFor(keys ledger.VerifierKeys, origin string) ledger.VerifierKeys {
	var out ledger.VerifierKeys
	for _, k := range keys {
		if ledger.SignsFor(k.Name, origin) {
			out = append(out, k)
		}
	}
	return out
}

// OfInstance reports whether a record that names an instance may stand in the log of that origin. The log of an instance
// whose ledger was restored has a generation in its name; the records have none.
func OfInstance(instance, origin string) bool {
	host, _, _, ok := ledger.ParseOrigin(origin)
	return ok && ledger.SignsFor(ledger.Origin(host, ledger.InstanceTenant, instance), origin)
}

// noteText is what is signed: the context, the log's origin, and the manifest's SHA-256 in base64.
func noteText(origin string, manifest []byte) []byte {
	sum := sha256.Sum256(manifest)
	return []byte(noteContext + origin + "\n" + base64.StdEncoding.EncodeToString(sum[:]) + "\n")
}

// sign returns the signed note over a manifest.
func sign(origin string, manifest []byte, at time.Time, signers []ledger.NoteSigner) ([]byte, error) {
	text := noteText(origin, manifest)
	out := append(bytes.Clone(text), '\n')
	for _, s := range signers {
		sig, err := s.SignNote(text, at)
		if err != nil {
			return nil, fmt.Errorf("sign export as %q: %w", s.KeyName(), err)
		}
		out = ledger.AppendSignature(out, s.KeyName(), s.KeyHash(), sig)
	}
	return out, nil
}

// verifySignature checks that a key pinned under the instance's name signed this manifest, and returns the key's name.
func verifySignature(m *Manifest, manifest, signed []byte, keys ledger.VerifierKeys) (string, error) {
	var verifiers []note.Verifier
	for _, k := range classic(keys, m.Origin) {
		v, err := note.NewVerifier(k.String())
		if err != nil {
			return "", fmt.Errorf("%w: key %q: %w", ErrExport, k.Name, err)
		}
		verifiers = append(verifiers, v)
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return "", fmt.Errorf("%w: no pinned key of %q signed the manifest: %w", ErrExport, m.Origin, err)
	}
	if n.Text != string(noteText(m.Origin, manifest)) {
		return "", fmt.Errorf("%w: the signature is over another manifest", ErrExport)
	}
	return n.Sigs[0].Name, nil
}

// classic are the Ed25519 keys that may sign for an origin.
func classic(keys ledger.VerifierKeys, origin string) ledger.VerifierKeys {
	return slices.DeleteFunc(KeysFor(keys, origin), func(k ledger.VerifierKey) bool { return k.Type() != ledger.KeyEd25519 })
}
