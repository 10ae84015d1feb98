package disk

import (
	"errors"
	"syscall"
	"unsafe"
)

// minOnce is how many whole blocks are worth going past the cache for.
const minOnce = 8

// WriteOnce writes a new file whole and durably, for one that nobody is expected to read soon: its whole blocks go past the
// operating system's cache where the file can be written so, and what did not is dropped from it. For that b should begin at
// a page of the memory, as what Go makes of 32 KiB and more does.
func WriteOnce(f File, b []byte) error {
	n, err := writePast(f, b)
	if err != nil {
		return err
	}
	if n < len(b) {
		if _, err := f.WriteAt(b[n:], int64(n)); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	Forget(f, 0, 0)
	return nil
}

// writePast writes the whole blocks of b past the cache, and returns how many bytes they are: 0 where it cannot be done.
func writePast(f File, b []byte) (int, error) {
	d, ok := f.(Director)
	if !ok || len(b) < minOnce*pageBytes || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%pageBytes != 0 { //nolint:gosec // only the address is looked at
		return 0, nil
	}
	block := d.Alignment()
	if block == 0 || d.Direct(true) != nil {
		return 0, nil // as with any other file
	}
	n, err := f.WriteAt(b[:len(b)/block*block], 0)
	if off := d.Direct(false); off != nil {
		return 0, off
	}
	if errors.Is(err, syscall.EINVAL) {
		return 0, nil // it can be opened so, and not written
	}
	return n, err
}
