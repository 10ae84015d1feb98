package policies_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

func TestABundleOutOfBoundsIsRefused(t *testing.T) {
	good := fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}}
	if _, err := policies.LoadBundle(good); err != nil {
		t.Fatalf("the good bundle is refused: %v", err)
	}
	many := fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}}
	for i := range 4096 {
		many[fmt.Sprintf("f%d", i)] = &fstest.MapFile{}
	}
	big := make([]byte, 4<<20)
	total := fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}}
	for i := range 8 {
		total[fmt.Sprintf("f%d", i)] = &fstest.MapFile{Data: big}
	}
	cases := map[string]fs.FS{
		"no folder":       nil,
		"empty":           fstest.MapFS{},
		"no policy":       fstest.MapFS{"schema.cedarschema": {Data: []byte("entity A;")}},
		"too many files":  many,
		"a file too big":  fstest.MapFS{"p.cedar": {Data: append(big, ' ')}},
		"too big in sum":  total,
		"too deep":        fstest.MapFS{strings.Repeat("d/", 16) + "p.cedar": {Data: []byte(allowAll)}},
		"a name too long": fstest.MapFS{strings.Repeat("n", 250) + ".cedar": {Data: []byte(allowAll)}},
		"a backslash":     fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, `a\b.cedar`: {Data: []byte(allowAll)}},
		"a name with LF":  fstest.MapFS{"a\nb.cedar": {Data: []byte(allowAll)}},
		"not UTF-8 name":  fstest.MapFS{"a\xff.cedar": {Data: []byte(allowAll)}},
		"a link":          fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "l": {Mode: fs.ModeSymlink}},
		"a device":        fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "l": {Mode: fs.ModeDevice}},
		"newer manifest":  fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "manifest.json": {Data: []byte(`{"format":2}`)}},
		"no format":       fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "manifest.json": {Data: []byte(`{}`)}},
		"twice a key":     fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "manifest.json": {Data: []byte(`{"format":1,"format":1}`)}},
		"broken manifest": fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "manifest.json": {Data: []byte(`{"format":`)}},
		"format a word":   fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "manifest.json": {Data: []byte(`{"format":"1"}`)}},
		"a missing root":  os.DirFS("/does/not/exist"),
	}
	for name, fsys := range cases {
		if b, err := policies.LoadBundle(fsys); err == nil || b != nil {
			t.Errorf("%s: loaded", name)
		}
	}
}

func TestALinkOutOfTheFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.cedar"), []byte(allowAll), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.LoadBundle(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "q.cedar")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	if _, err := policies.LoadBundle(os.DirFS(dir)); err == nil {
		t.Error("a link is followed")
	}
}

func TestTheDigestNamesTheContents(t *testing.T) {
	load := func(files map[string]string) string {
		m := fstest.MapFS{}
		for name, text := range files {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		b, err := policies.LoadBundle(m)
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest().String()
	}
	base := load(map[string]string{"p.cedar": allowAll, "filters/a.wasm": "x"})
	if base != load(map[string]string{"filters/a.wasm": "x", "p.cedar": allowAll}) {
		t.Error("the digest depends on the order")
	}
	// Files whose path has an element that starts with a dot do not belong to the bundle.
	if base != load(map[string]string{"filters/a.wasm": "x", "p.cedar": allowAll, ".git/HEAD": "x", "filters/.b": "y"}) {
		t.Error("hidden files count")
	}
	seen := map[string]bool{base: true}
	for _, other := range []map[string]string{
		{"p.cedar": allowAll + " ", "filters/a.wasm": "x"},
		{"p.cedar": allowAll, "filters/a.wasm": "y"},
		{"p.cedar": allowAll, "filters/b.wasm": "x"},
		{"p.cedar": allowAll},
		{"p.cedar": allowAll, "filters/a.wasm": "x", "empty": ""},
		{"q.cedar": allowAll, "filters/a.wasm": "x"},
	} {
		d := load(other)
		if seen[d] {
			t.Errorf("%v: the digest is not its own", other)
		}
		seen[d] = true
	}
}

func TestABundleGivesItsFilesBack(t *testing.T) {
	b := policies.Default()
	if b.Name() != "gatewright-default" || !slices.IsSorted(b.Files()) || !slices.Contains(b.Files(), "work.cedar") {
		t.Errorf("%q %q", b.Name(), b.Files())
	}
	data, ok := b.File("work.cedar")
	if !ok || len(data) == 0 {
		t.Fatal("no file")
	}
	data[0] ^= 1
	if again, _ := b.File("work.cedar"); again[0] == data[0] {
		t.Error("the bundle can be changed through what it gives out")
	}
	if _, ok := b.File("../work.cedar"); ok {
		t.Error("a file outside")
	}
}
