// Package disk is the file system as the ledger uses it: durable by name and by content, with errors that tests put in
// its way. Everything that the ledger writes goes through it.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is the disk as the ledger uses it. Tests put faults behind it. Implementations are safe for concurrent use.
type FS interface {
	// Open opens a file for reading and, with os.O_RDWR, writing; with os.O_CREATE it makes missing folders too, durably.
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// List returns the names in a folder; a missing folder is empty.
	List(dir string) ([]string, error)
	// SyncDir makes the folder's names durable.
	SyncDir(dir string) error
}

// File is an open file. Sync returns when the data are on the disk; after an error of Sync nothing
// is known about them, and the ledger never tries again on the same file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Size() (int64, error)
	Close() error
}

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// Open implements FS. A new file is the owner's alone (0600), its folders too (0700).
func (OS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if flag&os.O_CREATE != 0 && errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(filepath.Dir(name)); err == nil {
			f, err = os.OpenFile(name, flag, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// makeDir makes dir and its parents, and syncs each parent that got a new name.
func makeDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return OS{}.SyncDir(parent)
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// ErrLarge is a file that is larger than what is read of its kind.
var ErrLarge = errors.New("file is too large")

// ReadSmall reads a whole file of at most limit bytes; a larger one is ErrLarge.
func ReadSmall(disk FS, name string, limit int64) ([]byte, error) {
	return ReadSmallTo(nil, disk, name, limit)
}

// ReadSmallTo is ReadSmall for those who read many: it uses the memory of buf when there is enough of it.
func ReadSmallTo(buf []byte, disk FS, name string, limit int64) ([]byte, error) {
	f, err := disk.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b, err := readAll(buf, f, name, limit)
	return b, errors.Join(err, f.Close())
}

func readAll(buf []byte, f File, name string, limit int64) ([]byte, error) {
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("read %s: %w: %d bytes, at most %d", name, ErrLarge, n, limit)
	}
	b := buf[:0]
	if int64(cap(b)) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// ReplaceFile writes a file so that after a crash either the old or the new content stands: temporary
// file, sync, rename, sync of the folder.
func ReplaceFile(disk FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := disk.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := disk.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := disk.Rename(tmp, name); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(name))
}
