package disk_test

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cachestat calls cachestat(2) for a whole file.
func cachestat(f *os.File, out *struct{ Cached, Dirty, Writeback, Evicted, RecentlyEvicted uint64 }) error {
	var whole struct{ Off, Len uint64 }
	_, _, errno := unix.Syscall6(unix.SYS_CACHESTAT, f.Fd(), uintptr(unsafe.Pointer(&whole)), uintptr(unsafe.Pointer(out)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
