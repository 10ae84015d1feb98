package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is the disk as the log uses it. Tests put faults behind it. Implementations are safe for concurrent use.
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
// is known about them, and the log never tries again on the same file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Size() (int64, error)
	Close() error
}

type osFS struct{}

var _ FS = osFS{}

func (osFS) Open(name string, flag int) (File, error) {
	if flag&os.O_CREATE != 0 {
		if err := makeDir(filepath.Dir(name)); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(name, flag, 0o600)
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
	return osFS{}.SyncDir(parent)
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
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

func (osFS) SyncDir(dir string) error {
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

// readSmall reads a whole file of at most limit bytes.
func readSmall(disk FS, name string, limit int64) ([]byte, error) {
	f, err := disk.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("read %s: %d bytes, at most %d", name, n, limit)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// replaceFile writes a file so that after a crash either the old or the new content stands: temporary
// file, sync, rename, sync of the folder.
func replaceFile(disk FS, name string, data []byte) error {
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

// window reads a file front to back through a sliding buffer.
type window struct {
	f    File
	size int64
	base int64
	buf  []byte
	few  bool // reads stand alone: no more than a small record is read ahead
}

// windowBytes is how much is read at once: large enough for sequential speed, small beside a segment.
const windowBytes = 256 << 10

// fewBytes is the same where single records are read: room for an ordinary one.
const fewBytes = 4 << 10

// at returns n bytes at off, valid until the next call. It reports io.ErrUnexpectedEOF past the end.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < 0 || off+int64(n) > w.size {
		return nil, io.ErrUnexpectedEOF
	}
	if off >= w.base && off+int64(n) <= w.base+int64(len(w.buf)) {
		return w.buf[off-w.base:][:n], nil
	}
	ahead := windowBytes
	if w.few {
		ahead = fewBytes
	}
	want := int(min(int64(max(n, ahead)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.base, w.buf = off, w.buf[:want]
	if got, err := w.f.ReadAt(w.buf, off); got < want {
		w.buf = w.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return w.buf[:n], nil
}

// zeros is what preallocated and unused bytes look like.
var zeros [64 << 10]byte

// firstUsed returns the offset of the first byte at or after off that is not zero, or -1.
func (w *window) firstUsed(off int64) (int64, error) {
	for off < w.size {
		n := int(min(w.size-off, int64(len(zeros))))
		b, err := w.at(off, n)
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(b, zeros[:n]) {
			return off + int64(bytes.IndexFunc(b, func(r rune) bool { return r != 0 })), nil
		}
		off += int64(n)
	}
	return -1, nil
}

// lastUsed returns the offset after the last byte at or after off that is not zero, off if there is none.
func (w *window) lastUsed(off int64) (int64, error) {
	end := off
	for off < w.size {
		n := int(min(w.size-off, int64(len(zeros))))
		b, err := w.at(off, n)
		if err != nil {
			return 0, err
		}
		if kept := bytes.TrimRight(b, "\x00"); len(kept) > 0 {
			end = off + int64(len(kept))
		}
		off += int64(n)
	}
	return end, nil
}
