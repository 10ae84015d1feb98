package disk

import "syscall"

// Allocate reserves the file's blocks; they read as zeros.
func (f osFile) Allocate(size int64) error { return syscall.Fallocate(int(f.Fd()), 0, 0, size) }
