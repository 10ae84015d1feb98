package build

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// deepest bounds the compiler's own stack in bytes: it recurses by a module's nesting.
const deepest = 256 << 20

// confine gives up what compiling does not need, for good: rlimits whose hard bound is lowered cannot be raised again. cpu
// is in seconds, memory in bytes beside what the process has now. It returns what tells the largest resident memory so far.
func confine(cpu, memory uint64) (peak func() int64, err error) {
	runtime.GOMAXPROCS(1)
	time.Sleep(time.Nanosecond) // the poller opens its descriptors with the first timer, be it one of the runtime's own
	debug.SetMaxStack(deepest)
	status, err := unix.Open("/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc/self/status: %w", err)
	}
	now, err := readStatus(status)
	if err != nil {
		return nil, err
	}
	debug.SetMemoryLimit(int64(now.resident) + int64(memory/8*7)) //nolint:gosec // checked by the gateway
	dieFirst()
	if err := unix.Setpriority(unix.PRIO_PGRP, 0, 19); err != nil { // of all threads there are; others inherit it
		return nil, fmt.Errorf("lower the priority: %w", err)
	}
	for _, l := range []struct {
		what  int
		bound uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_FSIZE, 0},
		{unix.RLIMIT_CPU, cpu}, // hard and soft at once: the kernel kills without asking
		{unix.RLIMIT_DATA, now.data + memory},
		{unix.RLIMIT_AS, now.size + 2*memory}, // Go reserves more than it uses
		{unix.RLIMIT_NOFILE, 0},               // what is open stays; nothing else opens, no socket either
	} {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.bound, Max: l.bound}); err != nil {
			return nil, fmt.Errorf("set rlimit %d: %w", l.what, err)
		}
	}
	return func() int64 {
		s, err := readStatus(status)
		if err != nil {
			return 0 // it is only a figure
		}
		return int64(s.peak) //nolint:gosec // far from overflowing
	}, nil
}

// dieFirst has the kernel take this process before the gateway when the system's memory runs out. It is not possible
// everywhere, and only a preference.
func dieFirst() {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte("1000"))
	_ = unix.Close(fd)
}

// memory is what /proc tells of a process, in bytes.
type memory struct{ size, data, resident, peak uint64 }

// readStatus reads an open /proc/*/status.
func readStatus(fd int) (memory, error) {
	var b [4096]byte
	n, err := unix.Pread(fd, b[:], 0)
	if err != nil {
		return memory{}, fmt.Errorf("read /proc: %w", err)
	}
	var m memory
	for line := range bytes.Lines(b[:n]) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "VmSize":
			m.size = kibibytes(value)
		case "VmData":
			m.data = kibibytes(value)
		case "VmRSS":
			m.resident = kibibytes(value)
		case "VmHWM":
			m.peak = kibibytes(value)
		}
	}
	if m.size == 0 {
		return memory{}, errors.New("read /proc: no sizes")
	}
	return m, nil
}

// kibibytes reads "\t  1234 kB\n" as bytes.
func kibibytes(value []byte) (n uint64) {
	for _, c := range value {
		if d := c - '0'; d <= 9 {
			n = n*10 + uint64(d)
		}
	}
	return n << 10
}
