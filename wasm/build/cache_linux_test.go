package build_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/wasm/build"
)

// made compiles a module and returns the file of its entry.
func made(t *testing.T, c *build.Compiler, dir string, j build.Job) string {
	t.Helper()
	before := entries(t, dir)
	a, err := c.Compile(t.Context(), j)
	if err != nil || a.Cached || a.Unsaved != nil || a.CPU <= 0 || a.Peak <= 0 {
		t.Fatalf("made %+v, %v", a.Usage, err)
	}
	for _, e := range entries(t, dir) {
		if !strings.Contains(strings.Join(before, " "), e) {
			return filepath.Join(dir, e)
		}
	}
	t.Fatal("nothing was kept")
	return ""
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestForgedEntriesAreCompiledAgain: whatever is done to an entry, it is not loaded; and the next is sound again.
func TestForgedEntriesAreCompiledAgain(t *testing.T) {
	dir := t.TempDir()
	keep := func(o *build.Options) { o.Dir = dir }
	c := open(t, keep)
	mine, other := job(small(1)), job(small(2))
	path, theirs := made(t, c, dir, mine), made(t, c, dir, other)
	sound, foreign := read(t, path), read(t, theirs)
	flip := func(at int) []byte {
		b := bytes.Clone(sound)
		b[at] ^= 1
		return b
	}
	forged := map[string][]byte{
		"the magic":             flip(0),
		"the version":           flip(6),
		"the seal":              flip(8),
		"the seal's last byte":  flip(39),
		"the slot":              flip(40),
		"the code's head":       flip(72),
		"the code's middle":     flip(len(sound) / 2),
		"the last byte":         flip(len(sound) - 1),
		"a byte less":           sound[:len(sound)-1],
		"half of it":            sound[:len(sound)/2],
		"a head only":           sound[:72],
		"less than a head":      sound[:71],
		"nothing":               nil,
		"a byte more":           append(bytes.Clone(sound), 0),
		"another's entry":       foreign,
		"another's code":        append(bytes.Clone(sound[:72]), foreign[72:]...),
		"another's code, slot":  append(bytes.Clone(sound[:40]), foreign[40:]...),
		"code without any seal": sound[72:],
	}
	for name, b := range forged {
		t.Run(name, func(t *testing.T) {
			write(t, path, b)
			before := c.Stats()
			a, err := c.Compile(t.Context(), mine)
			after := c.Stats()
			if err != nil || a.Cached || after.Refused != before.Refused+1 || after.Compiled != before.Compiled+1 {
				t.Fatalf("cached %v, %v, %+v", a.Cached, err, after)
			}
			if !bytes.Equal(a.Code(), sound[72:]) || !bytes.Equal(read(t, path), sound) {
				t.Error("it was not put right")
			}
		})
	}
	if a, err := c.Compile(t.Context(), mine); err != nil || !a.Cached {
		t.Errorf("the sound entry: cached %v, %v", a.Cached, err)
	}
}

// TestEntriesOfAnotherKeyAreRefused, and those for other limits of memory are others.
func TestEntriesOfAnotherKeyAreRefused(t *testing.T) {
	dir := t.TempDir()
	j := job(small(1))
	made(t, open(t, func(o *build.Options) { o.Dir = dir }), dir, j)
	c := open(t, func(o *build.Options) { o.Dir, o.Key = dir, bytes.Repeat([]byte{8}, 32) })
	if a, err := c.Compile(t.Context(), j); err != nil || a.Cached || c.Stats().Refused != 1 {
		t.Errorf("cached %v, %v, %+v", a.Cached, err, c.Stats())
	}
	j.Pages++
	if a, err := c.Compile(t.Context(), j); err != nil || a.Cached || c.Stats().Refused != 1 {
		t.Errorf("other pages: cached %v, %v, %+v", a.Cached, err, c.Stats())
	}
}

// TestTheCacheOutlivesTheProcess, and a link or a pipe in an entry's place is not followed, nor waited for.
func TestTheCacheOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	keep := func(o *build.Options) { o.Dir = dir }
	path := made(t, open(t, keep), dir, job(small(1)))
	c := open(t, keep)
	if a, err := c.Compile(t.Context(), job(small(1))); err != nil || !a.Cached {
		t.Fatalf("cached %v, %v", a.Cached, err)
	}
	elsewhere := filepath.Join(t.TempDir(), "entry")
	if err := os.Rename(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Compile(t.Context(), job(small(1))); err != nil || a.Cached || c.Stats().Refused != 1 {
		t.Fatalf("a link: cached %v, %v", a.Cached, err)
	}
	if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Compile(t.Context(), job(small(1))); err != nil || a.Cached || c.Stats().Refused != 2 {
		t.Fatalf("a pipe: cached %v, %v", a.Cached, err)
	}
}

func TestTheFolderIsNobodyElses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "deep")
	made(t, open(t, func(o *build.Options) { o.Dir = dir }), dir, job(small(1)))
	for _, want := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o700}, {filepath.Join(dir, entries(t, dir)[0]), 0o600}} {
		if info, err := os.Stat(want.path); err != nil || info.Mode().Perm() != want.mode {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // that is what is being mended
		t.Fatal(err)
	}
	open(t, func(o *build.Options) { o.Dir = dir })
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("an open folder stays %v, %v", info.Mode(), err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := build.New(build.Options{Dir: link, Key: key}); err == nil {
		t.Error("a link for a folder was taken")
	}
}

// TestWhatWasBeingWrittenIsCleaned at the next start.
func TestWhatWasBeingWrittenIsCleaned(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "00ff.sealed.part"), []byte("half"))
	write(t, filepath.Join(dir, "notes.txt"), []byte("somebody's"))
	open(t, func(o *build.Options) { o.Dir = dir })
	if left := entries(t, dir); len(left) != 1 || left[0] != "notes.txt" {
		t.Errorf("left: %q", left)
	}
}

// TestWhatWasUsedLeastRecentlyMakesRoom.
func TestWhatWasUsedLeastRecentlyMakesRoom(t *testing.T) {
	dir := t.TempDir()
	c := open(t, func(o *build.Options) { o.Dir = dir })
	var paths []string
	var size int64
	for tag := range byte(4) {
		paths = append(paths, made(t, c, dir, job(small(tag))))
		old := time.Now().Add(-time.Hour + time.Duration(tag)*time.Minute)
		if err := os.Chtimes(paths[tag], old, old); err != nil {
			t.Fatal(err)
		}
		size += int64(len(read(t, paths[tag])))
	}
	c = open(t, func(o *build.Options) { o.Dir, o.CacheBytes = dir, size+10 })
	if a, err := c.Compile(t.Context(), job(small(0))); err != nil || !a.Cached { // used: no longer the oldest
		t.Fatal(a.Cached, err)
	}
	made(t, c, dir, job(small(9)))
	for i, gone := range []bool{false, true, false, false} {
		if _, err := os.Stat(paths[i]); (err != nil) != gone {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	if n := c.Stats().Evicted; n != 1 {
		t.Errorf("%d evicted", n)
	}
}

// TestAFullCacheStopsNobody: the code is good, only not kept.
func TestAFullCacheStopsNobody(t *testing.T) {
	gone, full := t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=4k"); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(full, 0) })
	} else {
		t.Log("no file system to fill:", err)
		full = ""
	}
	for name, o := range map[string]build.Options{"too small": {CacheBytes: 1, Dir: t.TempDir()}, "gone": {Dir: gone}, "full": {Dir: full}} {
		if o.Dir == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := open(t, func(p *build.Options) { p.CacheBytes, p.Dir = o.CacheBytes, o.Dir })
			if name == "gone" {
				if err := os.Remove(gone); err != nil {
					t.Fatal(err)
				}
			}
			r := wazero.NewRuntimeWithConfig(t.Context(), build.Config(pages).WithCompilationCache(c.Cache()))
			defer r.Close(t.Context())
			_, a, err := c.Load(t.Context(), r, job(module(500, 2, cat(number(1), set(1)))))
			if err != nil || a.Unsaved == nil || a.Cached || c.Stats().Unsaved != 1 {
				t.Fatalf("unsaved %v, %v", a.Unsaved, err)
			}
			if name != "gone" && len(entries(t, o.Dir)) != 0 {
				t.Errorf("left: %q", entries(t, o.Dir))
			}
		})
	}
}
