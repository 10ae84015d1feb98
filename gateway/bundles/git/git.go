// Package git reads a bundle out of a git repository: one commit, or what a branch or tag points at. It needs no git
// program, checks nothing out and runs nothing: hooks, filters and attributes of a repository have no effect here.
//
// A repository is not to be trusted with more than its bytes. Links, submodules and LFS pointers are refused, since what
// they stand for is not what was reviewed; sizes are bounded before anything is unpacked.
package git

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/gatewright/gatewright/policies"
)

// Errors a caller branches on.
var (
	// ErrFetch: the repository, or what is asked of it, cannot be had now. It may pass.
	ErrFetch = errors.New("git repository cannot be read")
	// ErrContent: the commit holds what is no bundle.
	ErrContent = errors.New("git commit holds no bundle")
)

// Bounds of what is fetched over a network.
const (
	maxPack     = 64 << 20  // bytes sent
	maxUnpacked = 256 << 20 // bytes of all objects of the one commit
	maxObjects  = 200_000
	maxEntries  = 20_000 // files and folders that are looked at below the path
	maxDepth    = 32
	fetchTime   = time.Minute
)

// Config says what to read.
type Config struct {
	// URL is an absolute path or file:// of a repository on this machine, bare or with a work tree, or https://; http://
	// is taken of loopback alone. It holds no credential.
	URL string
	// Ref is a branch, a tag, or a name that begins with refs/. Default main.
	Ref string
	// Commit pins a commit, 40 hex digits; Ref is then not looked at.
	Commit string
	// Path is the bundle's folder in the repository, with slashes. Default the root.
	Path string
	// Token is a credential for https, sent as a password. Danger: to whoever answers at URL.
	Token string
	// Client is for https; nil is a fresh one.
	Client *http.Client
}

// Source reads from one repository. It is not for concurrent use.
type Source struct {
	cfg   Config
	local string // folder of the repository; "" when it is remote
	url   *url.URL
}

// New checks a configuration. It reads nothing yet.
func New(c Config) (*Source, error) {
	s := &Source{cfg: c}
	if c.Ref == "" {
		s.cfg.Ref = "main"
	}
	if c.Commit != "" && !isHash(c.Commit) {
		return nil, fmt.Errorf("commit %.50q: want the 40 hex digits of a commit, in lower case", c.Commit)
	}
	if err := plumbing.ReferenceName("refs/heads/" + s.cfg.Ref).Validate(); err != nil {
		return nil, fmt.Errorf("ref %.80q: want a branch, a tag, or refs/...: %w", c.Ref, err)
	}
	if c.Path != "" && (path.Clean(c.Path) != c.Path || path.IsAbs(c.Path) || c.Path == ".." || strings.HasPrefix(c.Path, "../")) {
		return nil, fmt.Errorf("path %.80q: want a folder of the repository, with slashes", c.Path)
	}
	return s, s.locate()
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 20 && strings.ToLower(s) == s
}

func (s *Source) locate() error {
	raw := s.cfg.URL
	if filepath.IsAbs(raw) {
		s.local = raw
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("url: want an absolute path, file:// or https://, without user info, query or fragment (a credential goes into token_env)")
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
		s.local = u.Path
	case u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())):
		s.url = u
	default:
		return fmt.Errorf("url %.80q: want an absolute path, file:// or https:// (what comes over http could be changed on its way)", raw)
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// Head finds the commit that is meant now, without fetching it.
func (s *Source) Head(ctx context.Context) (string, error) {
	if s.cfg.Commit != "" {
		return s.cfg.Commit, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if s.local == "" {
		r, err := s.connect(ctx)
		if err != nil {
			return "", err
		}
		defer r.close()
		return r.commit.String(), nil
	}
	st, err := s.open()
	if err != nil {
		return "", err
	}
	h, err := s.resolve(st)
	return h.String(), err
}

// Read fetches the commit that is meant now and makes a bundle of its files.
func (s *Source) Read(ctx context.Context) (b *policies.Bundle, commit string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	var st storer.EncodedObjectStorer
	var h plumbing.Hash
	if s.local == "" {
		st, h, err = s.fetch(ctx)
	} else {
		var local *filesystem.Storage
		if local, err = s.open(); err == nil {
			st = local
			h, err = s.resolve(local)
		}
	}
	if err != nil {
		return nil, "", err
	}
	files, err := s.files(ctx, st, h)
	if err != nil {
		return nil, "", err
	}
	if b, err = policies.NewBundle(files); err != nil {
		return nil, "", fmt.Errorf("%w: commit %s: %w", ErrContent, h, err)
	}
	return b, h.String(), nil
}

// open opens a repository on this machine, bare or with a work tree.
func (s *Source) open() (*filesystem.Storage, error) {
	for _, dir := range []string{filepath.Join(s.local, ".git"), s.local} {
		if info, err := os.Stat(filepath.Join(dir, "objects")); err == nil && info.IsDir() {
			o := filesystem.Options{LargeObjectThreshold: maxFile} // what is larger is not unpacked to be measured
			return filesystem.NewStorageWithOptions(osfs.New(dir), cache.NewObjectLRU(16<<20), o), nil
		}
	}
	return nil, fmt.Errorf("%w: %s is no repository (a work tree of another one is not taken: name the repository itself)", ErrFetch, s.local)
}

// resolve finds the commit of the ref in a repository on this machine.
func (s *Source) resolve(st *filesystem.Storage) (plumbing.Hash, error) {
	if s.cfg.Commit != "" {
		return plumbing.NewHash(s.cfg.Commit), nil
	}
	for _, name := range s.names() {
		ref, err := storer.ResolveReference(st, name)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			continue
		}
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%w: %s: %w", ErrFetch, name, err)
		}
		return peel(st, ref.Hash())
	}
	return plumbing.ZeroHash, s.noRef()
}

func (s *Source) noRef() error {
	return fmt.Errorf("%w: it has no branch or tag %.80q (ref names another)", ErrFetch, s.cfg.Ref)
}

// names are what the ref may stand for, in this order.
func (s *Source) names() []plumbing.ReferenceName {
	if strings.HasPrefix(s.cfg.Ref, "refs/") {
		return []plumbing.ReferenceName{plumbing.ReferenceName(s.cfg.Ref)}
	}
	return []plumbing.ReferenceName{plumbing.NewBranchReferenceName(s.cfg.Ref), plumbing.NewTagReferenceName(s.cfg.Ref)}
}

// peel follows annotated tags to their commit.
func peel(st storer.EncodedObjectStorer, h plumbing.Hash) (plumbing.Hash, error) {
	for range 8 {
		tag, err := object.GetTag(st, h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return h, nil
		}
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%w: tag %s: %w", ErrFetch, h, err)
		}
		h = tag.Target
	}
	return plumbing.ZeroHash, fmt.Errorf("%w: tag %s points at tags without an end", ErrContent, h)
}

// files reads the bundle's folder of a commit.
func (s *Source) files(ctx context.Context, st storer.EncodedObjectStorer, h plumbing.Hash) (map[string][]byte, error) {
	c, err := object.GetCommit(st, h)
	if err != nil {
		return nil, fmt.Errorf("%w: commit %s: %w", ErrFetch, h, err)
	}
	tree, err := c.Tree()
	if err == nil && s.cfg.Path != "" {
		tree, err = tree.Tree(s.cfg.Path)
	}
	if errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, fmt.Errorf("%w: commit %s has no folder %.80q (path names another)", ErrContent, h, s.cfg.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: commit %s: %w", ErrFetch, h, err)
	}
	w := walk{ctx: ctx, st: st, files: map[string][]byte{}}
	if err := w.tree(tree, "", 0); err != nil {
		return nil, fmt.Errorf("commit %s: %w", h, err)
	}
	return w.files, nil
}

// walk collects the files of a tree.
type walk struct {
	ctx     context.Context //nolint:containedctx // of the one walk
	st      storer.EncodedObjectStorer
	files   map[string][]byte
	entries int
	bytes   int64
}

// lfsHead begins a file that stands for another one, elsewhere.
const lfsHead = "version https://git-lfs.github.com/spec/"

// Bounds of one file and of all; policies.NewBundle has the same, and these come before anything is read.
const (
	maxFile  = 4 << 20
	maxFiles = 32 << 20
)

func (w *walk) tree(t *object.Tree, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: %.80q: nested more than %d folders deep", ErrContent, prefix, maxDepth)
	}
	seen := map[string]bool{}
	for i := range t.Entries {
		e := &t.Entries[i]
		if w.entries++; w.entries > maxEntries {
			return fmt.Errorf("%w: more than %d files and folders (path names the bundle's folder alone)", ErrContent, maxEntries)
		}
		if err := w.ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrFetch, err)
		}
		if seen[e.Name] || strings.Contains(e.Name, "/") { // git itself makes none, and shows one of two
			return fmt.Errorf("%w: %.80q stands twice in its folder, or is a path (have `git fsck` look at the repository)", ErrContent, prefix+e.Name)
		}
		seen[e.Name] = true
		if strings.HasPrefix(e.Name, ".") && e.Mode != filemode.Submodule && e.Mode != filemode.Symlink {
			continue // as a folder's hidden files are passed over
		}
		if err := w.entry(e, prefix+e.Name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(e *object.TreeEntry, name string, depth int) error {
	switch e.Mode {
	case filemode.Dir:
		sub, err := object.GetTree(w.st, e.Hash)
		if err != nil {
			return fmt.Errorf("%w: %.80q: %w", ErrFetch, name, err)
		}
		return w.tree(sub, name+"/", depth+1)
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
		return w.file(e.Hash, name)
	case filemode.Symlink:
		return fmt.Errorf("%w: %.80q is a link (a bundle holds files alone)", ErrContent, name)
	case filemode.Submodule:
		return fmt.Errorf("%w: %.80q is a submodule (a bundle holds files alone)", ErrContent, name)
	default:
		return fmt.Errorf("%w: %.80q is of mode %s (a bundle holds files alone)", ErrContent, name, e.Mode)
	}
}

func (w *walk) file(h plumbing.Hash, name string) (err error) {
	blob, err := object.GetBlob(w.st, h)
	if err != nil {
		return fmt.Errorf("%w: %.80q: %w", ErrFetch, name, err)
	}
	if w.bytes += blob.Size; blob.Size > maxFile || w.bytes > maxFiles {
		return fmt.Errorf("%w: %.80q: larger than %d bytes, or all files together than %d (path names the bundle's folder alone)", ErrContent, name, maxFile, maxFiles)
	}
	r, err := blob.Reader()
	if err != nil {
		return fmt.Errorf("%w: %.80q: %w", ErrFetch, name, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil || int64(len(data)) != blob.Size {
		return fmt.Errorf("%w: %.80q is torn: %w", ErrFetch, name, errors.Join(err, io.ErrUnexpectedEOF))
	}
	if strings.HasPrefix(string(data), lfsHead) {
		return fmt.Errorf("%w: %.80q stands for a file in Git LFS (keep policies in git itself)", ErrContent, name)
	}
	w.files[name] = data
	return nil
}

// client is what asks over https. Nothing is followed to another host, and no proxy of the environment is taken: a policy's
// way is the one that was configured.
func (s *Source) client() *http.Client {
	if s.cfg.Client != nil {
		return s.cfg.Client
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *Source) auth() *githttp.BasicAuth {
	return &githttp.BasicAuth{Username: "git", Password: s.cfg.Token}
}
