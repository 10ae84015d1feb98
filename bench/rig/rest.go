package rig

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// rest looks at this process. Linux tells what it asks for.
func rest() (r Rest, err error) {
	for range 2 { // what a finalizer frees goes with the second
		debug.FreeOSMemory()
	}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return r, fmt.Errorf("read the memory in use: %w", err)
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return r, fmt.Errorf("read the memory in use: %q", b)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return r, fmt.Errorf("read the memory in use: %w", err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return r, fmt.Errorf("count descriptors: %w", err)
	}
	return Rest{Resident: pages * int64(os.Getpagesize()), Goroutines: runtime.NumGoroutine(), Descriptors: len(open) - 1}, nil
}
