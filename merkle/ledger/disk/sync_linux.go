package disk

import (
	"fmt"
	"os"
	"syscall"
)

// datasync flushes the data without the file's times: segments are preallocated, so no journal commit is needed. A file
// that is closed meanwhile is os.ErrClosed.
func datasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for {
			if failed = syscall.Fdatasync(int(fd)); failed != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%w: %w", os.ErrClosed, err) // nothing else can be wrong with it
	}
	return os.NewSyscallError("fdatasync", failed)
}
