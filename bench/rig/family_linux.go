package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// family finds the processes that descend from this one.
func family() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for child processes: %w", err)
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, ok := parentOf(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	var out []int
	for wait := []int{os.Getpid()}; len(wait) > 0; wait = wait[1:] {
		out = append(out, children[wait[0]]...)
		wait = append(wait, children[wait[0]]...)
	}
	return out, nil
}

// parentOf reads the second field after the name in parentheses, which may hold anything.
func parentOf(pid int) (int, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false // it has ended
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

// cpuOf is the user and system time of another process, by the clock that clock_getcpuclockid(3) makes of its id. Unlike
// /proc/PID/stat it is exact.
func cpuOf(pid int) (time.Duration, error) {
	const schedClock = 2
	var t syscall.Timespec
	clock := uintptr(^pid<<3 | schedClock)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); errno != 0 { //nolint:gosec // the kernel fills t
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, errno)
	}
	return time.Duration(t.Nano()), nil
}
