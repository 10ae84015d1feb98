package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of /proc/stat, the same on every Linux.
const tick = 10 * time.Millisecond

// othersCPU is the CPU time that all processes but this one, and the host's other guests, have used since the system
// started.
func othersCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	all := time.Duration(0)
	for i, f := range strings.Fields(string(line)) { // cpu user nice system idle iowait irq softirq steal
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && i != 4 && i != 5 && i <= 8 {
			all += time.Duration(n) * tick
		}
	}
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		return 0
	}
	return all - time.Duration(own.Utime.Nano()+own.Stime.Nano())
}
