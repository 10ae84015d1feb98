package disk

import (
	"os"
	"syscall"
)

// datasync flushes the data without the file's times: segments are preallocated, so no journal commit is needed.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
