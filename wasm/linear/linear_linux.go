//go:build linux && (amd64 || arm64)

package linear

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reserve maps addresses of which nothing can be used yet.
func (m *Memory) reserve(most int) (err error) {
	m.room, err = unix.Mmap(-1, 0, max(most, os.Getpagesize()), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		m.room = nil
		return ErrSystem
	}
	_ = unix.Madvise(m.room, unix.MADV_NOHUGEPAGE) // a large page would count as written all over; refused without such pages
	return nil
}

func (m *Memory) release() {
	if m.room != nil {
		_ = unix.Munmap(m.room) // of a mapping of ours: nothing to fail at
	}
}

// extend makes the memory size bytes long; what is new is zero. Its address stays.
func (m *Memory) extend(size int) error {
	if size > len(m.room) {
		return ErrSystem
	}
	if size > m.open {
		if unix.Mprotect(m.room[m.open:size], unix.PROT_READ|unix.PROT_WRITE) != nil {
			return ErrSystem
		}
		m.open = size
	}
	m.bytes = m.room[:size:size]
	return nil
}

// forget makes what is behind size zero, by giving it back.
func (m *Memory) forget(size int) bool {
	if size == len(m.bytes) {
		return true
	}
	return unix.Madvise(m.bytes[size:], unix.MADV_DONTNEED) == nil
}

// mapped is an image in a file in memory, which each instance maps for itself: pages that it writes become its own, all
// others are there once for all.
type mapped struct {
	data    []byte // the file, to be read
	empty   []bool // which of its pages are zero: they need not be read
	file    int
	pagemap *os.File // knows which pages of this process were written; nil when the kernel has no such scan (before 6.7)
	probe   scan
}

// mapImage returns nil when the system does not let it.
func mapImage(memory []byte) *mapped {
	if len(memory)%os.Getpagesize() != 0 {
		return nil
	}
	file, err := unix.MemfdCreate("gatewright-filter", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil
	}
	i := &mapped{file: file}
	if !i.fill(memory) {
		i.close()
		return nil
	}
	if i.pagemap, err = os.Open("/proc/self/pagemap"); err == nil && !i.known() {
		_ = i.pagemap.Close() // was only read
		i.pagemap = nil
	}
	if i.pagemap == nil && len(memory) <= mostCopiedUnasked {
		i.close()
		return nil
	}
	return i
}

// fill writes the file, and seals it so that nobody can change what instances begin with.
func (i *mapped) fill(memory []byte) (ok bool) {
	if unix.Ftruncate(i.file, int64(len(memory))) != nil {
		return false
	}
	for at := 0; at < len(memory); at += os.Getpagesize() {
		page := memory[at : at+os.Getpagesize()]
		empty := zeros(page) == len(page)
		i.empty = append(i.empty, empty)
		if empty {
			continue
		}
		if n, err := unix.Pwrite(i.file, page, int64(at)); err != nil || n != len(page) {
			return false
		}
	}
	if _, err := unix.FcntlInt(uintptr(i.file), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		return false
	}
	var err error
	i.data, err = unix.Mmap(i.file, 0, len(memory), unix.PROT_READ, unix.MAP_PRIVATE)
	return err == nil
}

// known reports whether the kernel says which pages were written, by asking it for one.
func (i *mapped) known() bool {
	probe, err := unix.Mmap(i.file, 0, len(i.data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Munmap(probe) }() // of a mapping of ours: nothing to fail at
	last := len(probe) - 1
	probe[last]++
	n, _, ok := i.probe.next(i.pagemap.Fd(), probe)
	return ok && n == 1 && i.probe.regions[0].end == uint64(uintptr(unsafe.Pointer(&probe[last])))+1
}

func (i *mapped) pages() bool { return i.pagemap != nil }

// held counts the pages of the file that are not holes.
func (i *mapped) held() (n int) {
	for _, empty := range i.empty {
		if !empty {
			n += os.Getpagesize()
		}
	}
	return n + cap(i.empty)
}

func (i *mapped) close() {
	if i.data != nil {
		_ = unix.Munmap(i.data) // of a mapping of ours: nothing to fail at
	}
	if i.pagemap != nil {
		_ = i.pagemap.Close() // was only read
	}
	_ = unix.Close(i.file) // nothing to lose
}

// lay maps the image over the memory, whose own pages are gone then.
func (m *Memory) lay(i *mapped) bool {
	_, err := unix.MmapPtr(i.file, 0, unsafe.Pointer(unsafe.SliceData(m.bytes)), uintptr(len(m.bytes)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		return false
	}
	_ = unix.Madvise(m.bytes, unix.MADV_NOHUGEPAGE) // as in reserve
	return true
}

// rub puts back every page that is the instance's own. Such pages stay its own: to write them again costs nothing then.
func (m *Memory) rub(i *mapped) bool {
	if i.pagemap == nil {
		return unix.Madvise(m.bytes, unix.MADV_DONTNEED) == nil
	}
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m.bytes))))
	for done := 0; done < len(m.bytes); {
		n, end, ok := m.scan.next(i.pagemap.Fd(), m.bytes[done:])
		if !ok || end <= 0 {
			return false
		}
		for _, r := range m.scan.regions[:n] {
			i.copyTo(m.bytes, int(r.start-base), int(r.end-base))
		}
		done += end
	}
	return true
}

// yieldAfter is how many bytes are put back before others may run, about a tenth of a millisecond's worth: whoever dirties all
// of a large memory would hold them up for milliseconds.
const yieldAfter = 256 << 10

// copyTo writes the pages from start to end anew.
func (i *mapped) copyTo(memory []byte, start, end int) {
	size := len(memory) / len(i.empty)
	for at := start; at < end; at += size {
		if (at-start)%yieldAfter == yieldAfter-size {
			runtime.Gosched()
		}
		if i.empty[at/size] {
			clear(memory[at : at+size])
		} else {
			copy(memory[at:at+size], i.data[at:])
		}
	}
}

// scan is what PAGEMAP_SCAN takes and gives: linux/fs.h, Documentation/admin-guide/mm/pagemap.rst. It lies on the heap,
// because the argument holds an address of it.
type scan struct {
	arg     pmScanArg
	regions [64]pageRegion
}

type pageRegion struct{ start, end, _ uint64 }

type pmScanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
	inverted, mask, anyOf, returned                         uint64
}

const (
	pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg) on amd64 and arm64
	isFile      = 1 << 2
	isPresent   = 1 << 3
	isSwapped   = 1 << 4
)

// next finds pages of memory that are no longer the file's: the first regions of them, and how far it looked.
func (s *scan) next(pagemap uintptr, memory []byte) (regions, end int, ok bool) {
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
	s.arg = pmScanArg{
		size: uint64(unsafe.Sizeof(s.arg)), start: base, end: base + uint64(len(memory)),
		vec: uint64(uintptr(unsafe.Pointer(&s.regions))), vecLen: uint64(len(s.regions)),
		inverted: isFile, mask: isFile, anyOf: isPresent | isSwapped, returned: isPresent,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, pagemap, pagemapScan, uintptr(unsafe.Pointer(&s.arg)))
	return int(n), int(s.arg.walkEnd - base), errno == 0
}
