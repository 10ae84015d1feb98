package rig

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// Clocks of clock_gettime(2): CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID. Unlike getrusage(2), which for a running
// thread knows only the time up to the last tick, they are exact.
const (
	clockProcessCPU = 2
	clockThreadCPU  = 3
)

// threadCPU is the user and system time of the calling thread.
func threadCPU() (time.Duration, error) { return readClock(clockThreadCPU) }

// exactCPU is that of all threads.
func exactCPU() (time.Duration, error) { return readClock(clockProcessCPU) }

func readClock(which uintptr) (time.Duration, error) {
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, which, uintptr(unsafe.Pointer(&t)), 0); errno != 0 { //nolint:gosec // the kernel fills t
		return 0, fmt.Errorf("read CPU time: %w", errno)
	}
	return time.Duration(t.Nano()), nil
}
