package disk

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"
)

// pageBytes is a multiple of what every file system asks for that can be written past its cache.
const pageBytes = 4096

// maxPage is how much memory is kept for the next write.
const maxPage = 8 << 20

// Director is a file that can be written past the operating system's cache: a sync has nothing to write out then, which
// halves it on an idle machine and more where the processors are busy.
type Director interface {
	// Alignment is what the offset, the length and the memory of each read and write must be a multiple of after Direct, in
	// bytes, at most 4096; 0 when the file cannot be written so.
	Alignment() int
	// Direct has reads and writes go past the cache from now on, or through it again. After errors.ErrUnsupported nothing
	// has changed.
	Direct(on bool) error
}

// Appender writes on from one place of a file that has its size already, in whole blocks past the cache where the file
// can be written so, and else as it comes. The rest of the last block is written as zeros, and once more with what comes
// next: a block is only ever written with what it held before and more.
type Appender struct {
	file  File
	off   int64  // where the next byte goes
	block int    // 0: bytes are written as they come
	tail  []byte // what was written of the last block
	page  []byte // aligned
}

// Begin has the next write go to an offset of a file of a size. What stands in the file behind it must be zeros up to the
// end of the block. Direct false writes through the cache.
func (a *Appender) Begin(f File, off, size int64, direct bool) error {
	*a = Appender{file: f, off: off, tail: a.tail[:0], page: a.page}
	d, ok := f.(Director)
	if !ok || !direct {
		return nil
	}
	block := d.Alignment()
	if block == 0 || size%int64(block) != 0 {
		return nil
	}
	switch err := d.Direct(true); {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return err
	}
	page := a.pages(block)
	switch _, err := f.ReadAt(page, min(off, size-1)/int64(block)*int64(block)); {
	case errors.Is(err, syscall.EINVAL): // it cannot be done after all
		return d.Direct(false)
	case err != nil:
		return fmt.Errorf("read the last block: %w", err)
	}
	a.block, a.tail = block, append(a.tail, page[:off%int64(block)]...)
	return nil
}

// At reports whether the next write goes to a place of a file.
func (a *Appender) At(f File, off int64) bool { return a.file == f && a.off == off }

// Append writes. After an error nothing more may be written.
func (a *Appender) Append(b []byte) error {
	if a.block == 0 {
		_, err := a.file.WriteAt(b, a.off)
		a.off += int64(len(b))
		return err
	}
	n := len(a.tail) + len(b)
	page := a.pages((n + a.block - 1) / a.block * a.block)
	copy(page[copy(page, a.tail):], b)
	clear(page[n:])
	switch _, err := a.file.WriteAt(page, a.off-int64(len(a.tail))); {
	case errors.Is(err, syscall.EINVAL): // it can be read past the cache, and not written
		if d, ok := a.file.(Director); !ok || d.Direct(false) != nil {
			return err
		}
		a.block = 0
		return a.Append(b)
	case err != nil:
		return err
	}
	a.tail = append(a.tail[:0], page[n-n%a.block:n]...)
	a.off += int64(len(b))
	if len(a.page) > maxPage {
		a.page = nil
	}
	return nil
}

// pages returns n bytes of aligned memory, the same each time as far as it reaches.
func (a *Appender) pages(n int) []byte {
	if len(a.page) < n {
		b := make([]byte, n+n/2+2*pageBytes)
		skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageBytes //nolint:gosec // only the address is looked at
		a.page = b[skip:]
	}
	return a.page[:n]
}
