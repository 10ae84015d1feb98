package stdio

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// isolate puts the program into a process group of its own and has the kernel
// kill it when we die by any means.
func isolate() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when the process has ended and is not reaped yet, so that
// its number still is its own.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func terminateGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGTERM) } // ESRCH: nobody is left

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// sealDescriptors marks every descriptor close-on-exec. Go opens its own that
// way; the ones our parent left us would pass on to the server.
func sealDescriptors() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("seal descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// samePath names the very file that is open, so that swapping it for another
// changes nothing. A script keeps its own path, since its interpreter opens it
// again.
func samePath(path string, f *os.File) (same string, release func(), err error) {
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "\x7fELF" {
		return path, func() {}, nil
	}
	// The fork moves descriptors it passes on to just above them; this one is
	// well out of the way.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, int(f.Fd())+64)
	if err != nil {
		return "", nil, fmt.Errorf("hold the program's file: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { _ = unix.Close(fd) }, nil
}

// sweepRounds bounds sweep against processes that multiply faster than they are
// killed; sweepPause lets the killed ones go. For maxUnsure rounds in a row it
// waits for those of whom nobody can tell whose they are.
const (
	sweepRounds = 500
	sweepPause  = 2 * time.Millisecond
	maxUnsure   = 50
)

// sweep kills every process that carries the mark in its environment, until
// twice in a row there was none: one can fork past a single look.
func sweep(mark string) {
	for round, quiet, unsure := 0, 0, 0; round < sweepRounds && quiet < 2; round++ {
		switch killed, unsettled := killMarked(mark); {
		case killed > 0:
			quiet, unsure = 0, 0
		case unsettled > 0 && unsure < maxUnsure:
			quiet, unsure = 0, unsure+1
		default:
			quiet++
			continue
		}
		time.Sleep(sweepPause)
	}
}

// killMarked counts those it killed, and those that are about to execute a
// program or to end and have no environment then.
func killMarked(mark string) (killed, unsettled int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		switch has, known := killIfMarked(pid, mark); {
		case !known:
			unsettled++
		case has:
			killed++
		}
	}
	return killed, unsettled
}

// killIfMarked looks at the environment after it has taken hold of the process,
// so that the number cannot have become another's in between.
func killIfMarked(pid int, mark string) (killed, known bool) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false, true
	}
	defer func() { _ = p.Release() }()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	switch {
	case err != nil: // not ours to read, or gone
		return false, true
	case len(env) == 0:
		return false, settled(pid)
	}
	return bytes.Contains(append([]byte{0}, env...), append([]byte{0}, mark...)) && p.Kill() == nil, true
}

// settled says whether a process without an environment stays so: it has ended,
// or is a thread of the system's own (PF_KTHREAD among its flags, see proc(5)).
func settled(pid int) bool {
	const state, flags, kernel = 0, 6, 0x00200000
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) <= flags {
		return true
	}
	has, _ := strconv.Atoi(string(f[flags]))
	return f[state][0] == 'Z' || f[state][0] == 'X' || has&kernel != 0
}
