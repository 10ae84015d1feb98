package wal

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

func baseName(dir string) string { return filepath.Join(dir, walDir, "base") }

// readBase reads the state at the start of the first segment that is kept, nil when the log was never pruned. A base that
// cannot be believed refuses the log: what it stands for is gone.
func readBase(on disk.FS, dir, instance string, keys ...ed25519.PublicKey) (*state, error) {
	s, err := readState(on, baseName(dir), stateBase, keys...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // no base is no error: every method of a state that readers of it call takes nil
	case err != nil:
		return nil, fmt.Errorf("%w: base of the pruned log: %w (restore the ledger from a backup)", ErrCorrupt, err)
	case instance != "" && s.instance != instance:
		return nil, fmt.Errorf("%w: base of the pruned log is of instance %q", ErrCorrupt, s.instance)
	case s.at.off != 0 || s.at.segment == 0:
		return nil, fmt.Errorf("%w: base of the pruned log is not of a segment's start", ErrCorrupt)
	}
	return s, nil
}

// first is the number of the first segment that a log with this base keeps, 0 without one.
func (s *state) first() uint64 {
	if s == nil {
		return 0
	}
	return s.at.segment
}

// before is how many records lie before a log with this base, 0 without one.
func (s *state) before() uint64 {
	if s == nil {
		return 0
	}
	return s.records
}

// start is where a log with this base begins.
func (s *state) start() place {
	if s == nil {
		return place{}
	}
	return s.tail().at
}

// dropBefore removes the segments before the first that is kept, oldest first, and what lies beside them: a removal that
// was interrupted is finished. The base is durable.
func (l *Log) dropBefore(first uint64) error {
	if first == 0 {
		return nil
	}
	dir := filepath.Join(l.opt.Dir, walDir)
	names, err := l.opt.FS.List(dir)
	if err != nil {
		return fmt.Errorf("drop segments: %w", err)
	}
	n := 0
	for _, name := range names { // in order of their numbers
		digits, rest, _ := strings.Cut(name, ".")
		number, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || len(digits) != 12 || number >= first || "."+rest != segmentSuffix && "."+rest != indexSuffix {
			continue
		}
		drop := l.opt.FS.Remove
		if "."+rest == segmentSuffix && l.spare != nil {
			drop = func(name string) error { return l.spare.recycle(number, name) }
		}
		if err := drop(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop segment %d: %w", number, err)
		}
		n++
	}
	if n == 0 {
		return nil
	}
	return l.opt.FS.SyncDir(dir)
}
