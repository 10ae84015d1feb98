package rig

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// clockThreadCPU is CLOCK_THREAD_CPUTIME_ID of clock_gettime(2). Unlike getrusage(2), which for a running thread knows only
// the time up to the last tick, it is exact.
const clockThreadCPU = 3

// threadCPU is the user and system time of the calling thread.
func threadCPU() (time.Duration, error) {
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&t)), 0); errno != 0 { //nolint:gosec // the kernel fills t
		return 0, fmt.Errorf("read the thread's CPU time: %w", errno)
	}
	return time.Duration(t.Nano()), nil
}
