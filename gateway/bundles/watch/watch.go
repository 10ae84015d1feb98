// Package watch looks at where bundles come from and says when something is new there: a folder by its files' names, sizes
// and times, a git repository by its commit. It asks again and again instead of being told, which works on every disk and
// network share alike.
package watch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/bundles/git"
	"github.com/gatewright/gatewright/policies"
)

// Source is where a bundle comes from. It is used by one goroutine at a time.
type Source interface {
	// Stamp names what is there now; two equal stamps mean that nothing changed.
	Stamp(ctx context.Context) (string, error)
	// Read reads what is there now.
	Read(ctx context.Context) (*policies.Bundle, bundles.Source, error)
	// Settles tells whether a new stamp has to be seen twice: files in a folder are written one after another.
	Settles() bool
}

// Folder is a bundle in a folder of this machine.
type Folder struct{ Dir string }

// maxLooked bounds how many files a look at a folder takes in. LoadBundle refuses far fewer.
const maxLooked = 20_000

// Settles is true.
func (Folder) Settles() bool { return true }

// Stamp looks at every file's name, size and time, without reading any.
func (f Folder) Stamp(ctx context.Context) (string, error) {
	sum, n := sha256.New(), 0
	err := fs.WalkDir(os.DirFS(f.Dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > maxLooked {
			return fmt.Errorf("more than %d files", maxLooked)
		}
		if name != "." && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() { // its own time changes with hidden files too
			fmt.Fprintf(sum, "%q\n", name)
			return ctx.Err()
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return ctx.Err()
	})
	if err != nil {
		return "", fmt.Errorf("policies.bundle %s: %w", f.Dir, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Read loads the folder.
func (f Folder) Read(context.Context) (*policies.Bundle, bundles.Source, error) {
	from := bundles.Source{Kind: bundles.Folder}
	if info, err := os.Stat(f.Dir); err != nil || !info.IsDir() {
		return nil, from, fmt.Errorf("policies.bundle %s is not a folder that can be read", f.Dir)
	}
	b, err := policies.LoadBundle(os.DirFS(f.Dir))
	if err != nil {
		return nil, from, fmt.Errorf("policies.bundle %s: %w", f.Dir, err)
	}
	return b, from, nil
}

// Repository is a bundle in a git repository.
type Repository struct{ *git.Source }

// Settles is false: a commit is whole.
func (Repository) Settles() bool { return false }

// Stamp is the commit.
func (r Repository) Stamp(ctx context.Context) (string, error) { return r.Head(ctx) }

// Read fetches the commit.
func (r Repository) Read(ctx context.Context) (*policies.Bundle, bundles.Source, error) {
	b, commit, err := r.Source.Read(ctx)
	return b, bundles.Source{Kind: bundles.Git, Commit: commit}, err
}

// Watch is one source that is looked at.
type Watch struct {
	Source Source
	Every  time.Duration // 0: only when asked by Now
	// Found is called with what is new, or with why it cannot be had. It runs on the watch's goroutine.
	Found func(ctx context.Context, b *policies.Bundle, from bundles.Source, err error)

	Now <-chan struct{} // look at once; may be nil

	taken, seen string
	failed      bool
}

// Run looks until ctx ends. The first look is one period away: who starts reads the source himself.
func (w *Watch) Run(ctx context.Context) {
	var tick <-chan time.Time
	if w.Every > 0 {
		t := time.NewTicker(w.Every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			w.look(ctx, false)
		case <-w.Now:
			w.look(ctx, true)
		}
	}
}

// look asks what is there, and reads it when it is new.
func (w *Watch) look(ctx context.Context, now bool) {
	stamp, err := w.Source.Stamp(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.failed = true
		w.Found(ctx, nil, bundles.Source{}, err)
		return
	}
	still := stamp == w.seen
	w.seen = stamp
	if stamp == w.taken && !w.failed && !now || w.Source.Settles() && !still && !now {
		return
	}
	b, from, err := w.Source.Read(ctx)
	if ctx.Err() != nil {
		return
	}
	if after, again := w.Source.Stamp(ctx); again != nil || after != stamp && w.Source.Settles() {
		return // it changed while it was read: the next look takes it
	}
	if err == nil && from.Commit != "" {
		stamp = from.Commit // the branch may have moved since
	}
	w.taken, w.failed = stamp, err != nil && !w.Source.Settles() // a folder that is wrong stays so until it changes
	w.Found(ctx, b, from, err)
}
