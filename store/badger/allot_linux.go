package badger

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// allot gives a file n bytes of the disk. Where the file system knows no such call the file stays empty.
func allot(f *os.File, n int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, n)
	if err == nil || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return fmt.Errorf("allot %d bytes: %w", n, err)
}
