package plugins

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// apart puts the process into a session of its own, where no terminal reaches
// it, and has the kernel kill it when we die by any means.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// seal prepares the calling thread, which is locked and ends with its process,
// for a fork. The process will be unable to gain rights by executing a program
// that has them, since then we could neither watch nor kill it. And every
// descriptor is marked close-on-exec: Go opens its own that way, but those our
// parent leaked to us would pass on.
func seal() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	return sealEach() // before Linux 5.11
}

func sealEach() error {
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

// pinnedPath names the very file that was checked, so that swapping it after
// the check changes nothing. A script must go by its own path, since its
// interpreter opens it again. above is a descriptor below which the fork may
// move others onto ours.
func pinnedPath(path string, pinned *os.File, above int) (string, func(), error) {
	var magic [4]byte
	if pinned == nil {
		return path, func() {}, nil
	}
	if _, err := pinned.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "\x7fELF" {
		return path, func() {}, nil
	}
	fd, err := unix.FcntlInt(pinned.Fd(), unix.F_DUPFD_CLOEXEC, above+16)
	if err != nil {
		return "", nil, fmt.Errorf("hold the program's file: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { _ = unix.Close(fd) }, nil
}

// limit bounds the process's open files, keeps it from leaving its memory on
// disk, and has the kernel take it before the gateway when the system's memory
// runs out. It may have run for a moment before.
func limit(pid, files int) error {
	_ = os.WriteFile(procPath(pid, "oom_score_adj"), []byte("500"), 0) // not possible everywhere, and only a preference
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
		return limited(err)
	}
	most := min(uint64(files), now.Max)
	for what, bound := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: most} {
		if err := unix.Prlimit(pid, what, &unix.Rlimit{Cur: bound, Max: bound}, nil); err != nil {
			return limited(err)
		}
	}
	return nil
}

// limited passes over a process that has ended already.
func limited(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("bound the process: %w", err)
}

// bury waits for the process's end and kills all it left before it reaps it:
// until then its number, which is its session's too, cannot be given to another.
func (p *process) bury() error {
	pid := p.cmd.Process.Pid
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	left := p.tree.kill()
	p.tree.close()
	if left > 0 {
		p.journal.note(pid, fmt.Sprintf("%d processes of it could not be killed", left))
	}
	return p.cmd.Wait()
}

// executable says whether anybody may execute the file.
func executable(info os.FileInfo) bool { return info.Mode()&0o111 != 0 }
