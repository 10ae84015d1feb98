package policies

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies/manifest"
)

// Bounds of a bundle. A bundle is written by people and read at every start; these leave a wide margin over the largest
// we measure (10,000 policies, 3 MiB) and keep a hostile repository from filling memory.
const (
	maxBundleFiles = 4096
	maxBundleFile  = 4 << 20  // bytes of one file
	maxBundleBytes = 32 << 20 // bytes of all files
	maxBundleDepth = 16       // folders below the root
	maxBundleName  = 255      // bytes of a path
)

// Names with a meaning of their own inside a bundle. Everything else that is not *.cedar is an opaque section: it counts
// for the digest and is parsed by whoever owns it.
const (
	ManifestFile = "manifest.json" // what package manifest reads
	schemaFile   = "schema.cedarschema"
)

// SignatureFile may hold a signature over the bundle. It is no part of it: it neither counts for the digest nor is listed.
const SignatureFile = "bundle.sig"

//go:embed default
var defaultFiles embed.FS

// Bundle is one immutable revision of a tenant's policy, named by its digest.
type Bundle struct {
	manifest  manifest.Manifest // zero when there is none
	names     []string          // sorted
	files     map[string][]byte
	signature []byte // SignatureFile; not checked here
	digest    merkle.Hash
}

// NewBundle makes a bundle of files by name, as they come over a wire or out of a store. It is stricter than LoadBundle:
// a name that is no plain path below the root, or that begins with a dot anywhere, is refused. The bytes are taken over
// and must not be changed afterwards.
func NewBundle(files map[string][]byte) (*Bundle, error) {
	b := &Bundle{files: map[string][]byte{}}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := checkPlain(name); err != nil {
			return nil, fmt.Errorf("make bundle: %w", err)
		}
		data := files[name]
		if len(data) > maxBundleFile {
			return nil, fmt.Errorf("make bundle: %s: larger than %d bytes", name, maxBundleFile)
		}
		if err := b.add(name, data, &total); err != nil {
			return nil, fmt.Errorf("make bundle: %w", err)
		}
	}
	if err := b.seal(); err != nil {
		return nil, fmt.Errorf("make bundle: %w", err)
	}
	return b, nil
}

// checkPlain refuses what could leave the folder it is written to, or hide in it.
func checkPlain(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, '\\') {
		return fmt.Errorf("%.80q: want a relative path with slashes, without dots for folders", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return fmt.Errorf("%.80q: hidden files do not belong in a bundle", name)
		}
	}
	return checkName(name)
}

// add takes a file in, within the bounds.
func (b *Bundle) add(name string, data []byte, total *int) error {
	if strings.ContainsRune(name, '\\') {
		return fmt.Errorf("%.80q: want no backslash in a name: it is a separator elsewhere", name)
	}
	if *total += len(data); *total > maxBundleBytes {
		return fmt.Errorf("%s: the bundle is larger than %d bytes", name, maxBundleBytes)
	}
	if len(b.files) == maxBundleFiles {
		return fmt.Errorf("%s: the bundle has more than %d files", name, maxBundleFiles)
	}
	b.files[name] = data
	return nil
}

// LoadBundle reads a bundle from a folder. It reads every regular file but those whose path has an element that starts
// with a dot (a git checkout is a bundle), and refuses links, devices and whatever exceeds the bounds. It does not judge
// the policies: Compile does.
func LoadBundle(fsys fs.FS) (*Bundle, error) {
	if fsys == nil {
		return nil, errors.New("load bundle: no folder given")
	}
	b := &Bundle{files: map[string][]byte{}}
	total := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skip, err := skipEntry(name, d); skip || err != nil {
			return err
		}
		data, err := readBounded(fsys, name)
		if err != nil {
			return err
		}
		return b.add(name, data, &total)
	})
	if err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	if err := b.seal(); err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	return b, nil
}

// skipEntry tells folders and hidden files (skipped) from what a bundle may not hold (an error).
func skipEntry(name string, d fs.DirEntry) (bool, error) {
	if base := path.Base(name); name != "." && strings.HasPrefix(base, ".") {
		if d.IsDir() {
			return true, fs.SkipDir
		}
		return true, nil
	}
	if err := checkName(name); err != nil {
		return false, err
	}
	if d.IsDir() {
		return true, nil
	}
	if !d.Type().IsRegular() {
		return false, fmt.Errorf("%s: only regular files belong in a bundle, not links or devices", name)
	}
	return false, nil
}

func checkName(name string) error {
	switch {
	case len(name) > maxBundleName:
		return fmt.Errorf("%.40q...: the path is longer than %d bytes", name, maxBundleName)
	case strings.Count(name, "/") >= maxBundleDepth:
		return fmt.Errorf("%q: nested more than %d folders deep", name, maxBundleDepth)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%q: control characters in a file name", name)
	}
	return nil
}

// readBounded reads one file and stops at the bound, whatever size the file system claims.
func readBounded(fsys fs.FS, name string) (data []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, maxBundleFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxBundleFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxBundleFile)
	}
	return data, nil
}

// seal checks the manifest and computes the digest: the RFC 6962 root over one leaf per file, sorted by name.
func (b *Bundle) seal() error {
	b.signature = b.files[SignatureFile]
	delete(b.files, SignatureFile)
	policies, folded := 0, map[string]string{}
	for name := range b.files {
		b.names = append(b.names, name)
		if strings.HasSuffix(name, ".cedar") {
			policies++
		}
	}
	if policies == 0 {
		return errors.New("no *.cedar file: an empty bundle would deny everything without saying so")
	}
	slices.Sort(b.names)
	for _, name := range b.names {
		low := strings.ToLower(name)
		if other := folded[low]; other != "" {
			return fmt.Errorf("%q and %q differ in case alone: on some disks they are one file", other, name)
		}
		folded[low] = name
	}
	if err := b.readManifest(); err != nil {
		return fmt.Errorf("%s: %w", ManifestFile, err)
	}
	leaves := make([]merkle.Hash, len(b.names))
	for i, name := range b.names {
		// No name holds a control character, so the two line feeds make the leaf unambiguous.
		leaf := append([]byte("gatewright/bundle-file/v1\n"+name+"\n"), b.files[name]...)
		leaves[i] = merkle.LeafHash(leaf)
	}
	b.digest = merkle.NewTree(leaves).Root()
	return nil
}

// readManifest reads the manifest and holds its list of templates against the files.
func (b *Bundle) readManifest() error {
	data, ok := b.files[ManifestFile]
	if !ok {
		return nil
	}
	m, err := manifest.Parse(data)
	if err != nil {
		return err
	}
	b.manifest = *m
	if m.Templates == nil {
		return nil
	}
	for _, name := range m.Templates {
		if _, ok := b.files[name]; !ok || !isTemplate(name) {
			return fmt.Errorf("templates: there is no template file %.80q", name)
		}
	}
	for _, name := range b.names {
		if isTemplate(name) && !slices.Contains(m.Templates, name) {
			return fmt.Errorf("templates: %q is not in the list", name)
		}
	}
	return nil
}

// loadDefault reads the embedded files once.
var loadDefault = sync.OnceValues(func() (*Bundle, error) {
	sub, err := fs.Sub(defaultFiles, "default")
	if err != nil {
		return nil, err
	}
	return LoadBundle(sub)
})

// Default is the bundle that ships with the gateway: discovery is open to active callers, work needs a signed plan.
func Default() *Bundle {
	b, err := loadDefault()
	if err != nil { // The files are part of the binary: a test compiles them.
		panic(fmt.Sprintf("embedded default bundle: %v", err))
	}
	return b
}

// Digest names the bundle: equal file names and contents, equal digest.
func (b *Bundle) Digest() merkle.Hash { return b.digest }

// Name is what the manifest calls the bundle, or "".
func (b *Bundle) Name() string { return b.manifest.Name }

// Manifest is what manifest.json says; its zero value when there is none. It must not be changed.
func (b *Bundle) Manifest() manifest.Manifest { return b.manifest }

// Signature is what came in SignatureFile, nil when there was none. It says nothing until somebody checks it.
func (b *Bundle) Signature() []byte { return slices.Clone(b.signature) }

// Files lists the names of the bundle's files, sorted.
func (b *Bundle) Files() []string { return slices.Clone(b.names) }

// File returns a copy of one file's bytes.
func (b *Bundle) File(name string) ([]byte, bool) {
	data, ok := b.files[name]
	return slices.Clone(data), ok
}
