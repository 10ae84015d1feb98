package git_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/bundles/git"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const policy = "permit (principal, action, resource);\n"

// repo is a repository made by git itself.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git makes the repositories of this test")
	}
	r := &repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	c := exec.CommandContext(r.t.Context(), "git", args...)
	c.Dir = r.dir
	c.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files and commits them.
func (r *repo) commit(pairs ...string) string {
	r.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		name := filepath.Join(r.dir, pairs[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(pairs[i+1]), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "c")
	return r.git("rev-parse", "HEAD")
}

func read(t *testing.T, c git.Config) (files []string, commit string, err error) {
	t.Helper()
	s, err := git.New(c)
	if err != nil {
		t.Fatal(err)
	}
	b, commit, err := s.Read(t.Context())
	if err != nil {
		return nil, "", err
	}
	head, err := s.Head(t.Context())
	if err != nil || head != commit {
		t.Errorf("head %s, read %s: %v", head, commit, err)
	}
	return b.Files(), commit, nil
}

// serve answers for the repository over http as git does.
func (r *repo) serve(change func(http.Handler) http.Handler) string {
	r.t.Helper()
	exe, err := exec.LookPath("git")
	if err != nil {
		r.t.Skip(err)
	}
	var h http.Handler = &cgi.Handler{Path: exe, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_0=true", "GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*"}}
	if change != nil {
		h = change(h)
	}
	s := httptest.NewServer(h)
	r.t.Cleanup(s.Close)
	return s.URL + "/.git"
}

func TestABundleIsReadFromACommit(t *testing.T) {
	r := newRepo(t)
	first := r.commit("policies/a.cedar", policy, "policies/tests/x.txtar", "x", ".hidden/y", "y", "other/z", "z")
	r.git("tag", "-a", "-m", "m", "v1")
	second := r.commit("policies/b.cedar", strings.Replace(policy, "permit", "forbid", 1), "policies/.hidden", "x")
	bare := filepath.Join(t.TempDir(), "bare.git")
	r.git("clone", "-q", "--bare", r.dir, bare)
	r.git("-C", bare, "repack", "-adq")
	for _, url := range []string{r.dir, "file://" + r.dir, bare, r.serve(nil)} {
		for name, c := range map[string]struct {
			cfg    git.Config
			commit string
			files  int
		}{
			"branch": {git.Config{}, second, 3}, "tag": {git.Config{Ref: "v1"}, first, 2}, "pinned": {git.Config{Commit: first}, first, 2}, "full name": {git.Config{Ref: "refs/heads/main"}, second, 3},
		} {
			c.cfg.URL, c.cfg.Path = url, "policies"
			files, commit, err := read(t, c.cfg)
			if err != nil || commit != c.commit || len(files) != c.files {
				t.Errorf("%s of %.20s: %v %s %v", name, url, files, commit, err)
			}
		}
		if files, _, err := read(t, git.Config{URL: url}); err != nil || len(files) != 4 { // hidden files passed over
			t.Errorf("root of %.20s: %v %v", url, files, err)
		}
	}
}

func TestWhatStandsForSomethingElseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make func(r *repo)
		says string
	}{
		"a link": {func(r *repo) {
			if err := os.Symlink("/etc/passwd", filepath.Join(r.dir, "l")); err != nil {
				r.t.Fatal(err)
			}
		}, "is a link"},
		"a hidden link": {func(r *repo) {
			if err := os.Symlink("/etc/passwd", filepath.Join(r.dir, ".l")); err != nil {
				r.t.Fatal(err)
			}
		}, "is a link"},
		"a submodule": {func(r *repo) { r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("a", 40)+",sub") }, "is a submodule"},
		"LFS": {func(r *repo) {
			r.write("a.cedar", "version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n")
		}, "Git LFS"},
		"a large file": {func(r *repo) { r.write("x", strings.Repeat("a", 4<<20+1)) }, "larger than"},
		"many files": {func(r *repo) {
			for i := range 4100 {
				r.write(fmt.Sprint("f/", i), "")
			}
		}, "more than 4096 files"},
		"case": {func(r *repo) { r.write("P.cedar", policy) }, "differ in case"},
		"no policies": {func(r *repo) {
			r.git("rm", "-q", "--cached", "p.cedar")
			_ = os.Remove(filepath.Join(r.dir, "p.cedar"))
		}, "no *.cedar"},
		"deep": {func(r *repo) { r.write(strings.Repeat("d/", 40)+"x", "") }, "deep"},
	} {
		r := newRepo(t)
		r.commit("p.cedar", policy)
		c.make(r)
		r.git("add", "--ignore-errors", "-A", "--", ".", ":!sub")
		r.git("commit", "-q", "-m", "c")
		if _, _, err := read(t, git.Config{URL: r.dir}); !errors.Is(err, git.ErrContent) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Git shows one of two files of a name, and reads a folder out of a path: what was looked at is not what would be loaded.
func TestAFolderThatGitDoesNotMakeIsRefused(t *testing.T) {
	r := newRepo(t)
	r.commit("p.cedar", policy, "q.cedar", strings.Replace(policy, "permit", "forbid", 1))
	entry := func(name, file string) string {
		id, err := hex.DecodeString(r.git("rev-parse", "HEAD:"+file))
		if err != nil {
			t.Fatal(err)
		}
		return "100644 " + name + "\x00" + string(id)
	}
	for name, tree := range map[string]string{
		"twice": entry("p.cedar", "q.cedar") + entry("p.cedar", "p.cedar"), "twice, apart": entry("p.cedar", "q.cedar") + entry("q.cedar", "q.cedar") + entry("p.cedar", "p.cedar"),
		"a path": entry("a/p.cedar", "p.cedar"), "a path out": entry("../x.cedar", "q.cedar") + entry("p.cedar", "p.cedar"),
	} {
		r.write(".git/tree", tree)
		commit := r.git("commit-tree", "-m", "x", r.git("hash-object", "-t", "tree", "-w", "--literally", ".git/tree"))
		if files, _, err := read(t, git.Config{URL: r.dir, Commit: commit}); !errors.Is(err, git.ErrContent) || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%s: %v %v", name, files, err)
		}
	}
}

// A file that is small on disk and large in memory is measured without being unpacked.
func TestALooseObjectIsMeasuredBeforeItIsUnpacked(t *testing.T) {
	r := newRepo(t)
	r.commit("p.cedar", policy)
	r.write("x", strings.Repeat("a", 64<<20))
	r.git("add", "x")
	r.git("commit", "-q", "-m", "x")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := read(t, git.Config{URL: r.dir})
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, git.ErrContent) || made > 16<<20 {
		t.Errorf("%v, after %d bytes", err, made)
	}
}

func (r *repo) write(name, text string) {
	r.t.Helper()
	name = filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		r.t.Fatal(err)
	}
}

func TestWhatIsNotThereIsAnErrorOfFetching(t *testing.T) {
	r := newRepo(t)
	r.commit("p.cedar", policy)
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	moved := r.serve(func(http.Handler) http.Handler { return http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound) })
	endless := r.serve(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			for q.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("0000", 1<<16))); err != nil {
					return
				}
			}
		})
	})
	for name, c := range map[string]git.Config{
		"no folder": {URL: filepath.Join(t.TempDir(), "none")}, "no repository": {URL: t.TempDir()}, "no branch": {URL: r.dir, Ref: "release"}, "no commit": {URL: r.dir, Commit: strings.Repeat("a", 40)},
		"not found": {URL: gone.URL}, "moved": {URL: moved}, "endless": {URL: endless}, "nobody there": {URL: "http://127.0.0.1:1/x"},
		"remote commit": {URL: r.serve(nil), Commit: strings.Repeat("a", 40)},
	} {
		if _, _, err := read(t, c); !errors.Is(err, git.ErrFetch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := read(t, git.Config{URL: r.dir, Path: "none"}); !errors.Is(err, git.ErrContent) {
		t.Errorf("no such path: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, _ := git.New(git.Config{URL: r.dir})
	if _, _, err := s.Read(ctx); !errors.Is(err, git.ErrFetch) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestConfigurationsThatAreUnsafeAreRefused(t *testing.T) {
	for name, c := range map[string]git.Config{
		"http": {URL: "http://git.example/x"}, "ssh": {URL: "ssh://git.example/x"}, "scp": {URL: "git@git.example:x"}, "ext": {URL: "ext::sh -c x"}, "relative": {URL: "x"}, "empty": {},
		"credential": {URL: "https://u:p@git.example/x"}, "query": {URL: "https://git.example/x?y"}, "file host": {URL: "file://host/x"},
		"short commit": {URL: "/x", Commit: "abc"}, "commit in capitals": {URL: "/x", Commit: strings.Repeat("A", 40)}, "ref": {URL: "/x", Ref: "a..b"}, "option": {URL: "/x", Ref: "a b"},
		"path out": {URL: "/x", Path: "../y"}, "path absolute": {URL: "/x", Path: "/y"}, "path unclean": {URL: "/x", Path: "a/../b"},
	} {
		if _, err := git.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestTheTokenIsSent(t *testing.T) {
	r := newRepo(t)
	r.commit("p.cedar", policy)
	url := r.serve(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if _, pass, _ := q.BasicAuth(); pass != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	if _, _, err := read(t, git.Config{URL: url, Token: "secret"}); err != nil {
		t.Error(err)
	}
	_, _, err := read(t, git.Config{URL: url, Token: "wrong"})
	if !errors.Is(err, git.ErrFetch) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

// TestAPackThatUnpacksToTooMuchIsRefusedByWhatItSays: nothing of that size is made first.
func TestAPackThatUnpacksToTooMuchIsRefusedByWhatItSays(t *testing.T) {
	zip := func(data string) string {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		_, _ = w.Write([]byte(data))
		_ = w.Close()
		return b.String()
	}
	object := func(kind byte, size uint64) string {
		out := []byte{kind<<4 | byte(size&15)}
		for size >>= 4; size > 0; size >>= 7 {
			out[len(out)-1] |= 0x80
			out = append(out, byte(size&0x7f))
		}
		return string(out)
	}
	delta := string(binary.AppendUvarint(binary.AppendUvarint(nil, 3), 1<<40)) + "\x90\x03"
	for name, pack := range map[string]string{
		"a large blob":        "PACK\x00\x00\x00\x02\x00\x00\x00\x01" + object(3, 1<<30) + zip("x"),
		"a delta to make one": "PACK\x00\x00\x00\x02\x00\x00\x00\x02" + object(3, 3) + zip("abc") + object(7, uint64(len(delta))) + strings.Repeat("\x01", 20) + zip(delta),
		"many objects":        "PACK\x00\x00\x00\x02\x7f\x00\x00\x00",
	} {
		if _, err := git.Unpack([]byte(pack)); !errors.Is(err, git.ErrContent) || !strings.Contains(err.Error(), "unpacks to more") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := git.Unpack(make([]byte, 64<<20+1)); !errors.Is(err, git.ErrContent) {
		t.Errorf("a large pack: %v", err)
	}
}
