package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/store"
)

// The engine writes through mmap'ed files with holes in them. A file system that has no block left for a hole answers
// with SIGBUS, which ends the process and not the write: so nothing is written where room is short.
const (
	// baseRoom in bytes is what the engine may take between one look and the next: the largest transaction, a memtable
	// that is flushed meanwhile, and the beginning of new files.
	baseRoom = store.MaxTxnBytes + memTable
	// ballast in bytes is kept in a file, to be given up when the store closes: the engine flushes its memtable then,
	// full disk or not.
	ballast     = memTable + 8<<20
	ballastFile = "BALLAST"
	// mergeRoom bounds in bytes what is kept besides for rewriting tables, which stand twice until that is done.
	mergeRoom = 256 << 20
)

// enough refuses when dir has less free room than what lies there may need. What cannot be measured is let through.
func enough(dir string, free func(string) (int64, error), lying int64) error {
	n, err := free(dir)
	if err != nil {
		return nil //nolint:nilerr // no such system call here, or not for this file system
	}
	if need := baseRoom + min(lying, mergeRoom); n < need {
		return fmt.Errorf("data folder: %d MiB free in %s, %d MiB needed: make room: %w", n>>20, dir, (need+1<<20-1)>>20, store.ErrNoRoom)
	}
	return nil
}

func freeIn(dir string) (int64, error) {
	n, err := disk.Free(disk.OS{}, dir)
	if err != nil {
		return 0, fmt.Errorf("look at free room: %w", err)
	}
	return n, nil
}

// lying adds up what a start may have to write: the ballast, and again tables, and memtables that were not flushed, without their holes'
// length, since a memtable is never longer than memTable.
func lying(dir string) (sum int64) {
	for _, of := range []struct {
		pattern string
		most    int64
	}{{"*.sst", mergeRoom}, {"*.mem", memTable}} {
		names, _ := filepath.Glob(filepath.Join(dir, of.pattern)) // the pattern is well-formed
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				sum += min(info.Size(), of.most)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ballastFile)); err != nil {
		sum += ballast
	}
	return sum
}

// load takes the ballast aboard, unless it lies there from a process that was killed.
func load(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, ballastFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep room: %w", err)
	}
	if err = errors.Join(allot(f, ballast), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("keep room: %w", err), drop(dir))
	}
	return nil
}

func drop(dir string) error {
	if err := os.Remove(filepath.Join(dir, ballastFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give up kept room: %w", err)
	}
	return nil
}

// flushable gives up the ballast and says whether the engine can be closed: else it has to be left as a killed process
// leaves it, which loses nothing.
func (s *Store) flushable() error {
	if err := drop(s.dir); err != nil {
		return err
	}
	if n, err := s.free(s.dir); err == nil && n < memTable {
		return fmt.Errorf("%d MiB free in %s: %w", n>>20, s.dir, store.ErrNoRoom)
	}
	return nil
}

// Ready says why the store takes no writes now, or nil.
func (s *Store) Ready() error {
	tables, _ := s.db.Size()
	return enough(s.dir, s.free, tables)
}
