package plugins

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// isolate puts the child into its own process group, so that a terminal's
// interrupt does not reach it before us, and has the kernel kill it when we die
// by any means.
func isolate() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends a child and all of its descendants that stayed in its group.
func killGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // ESRCH: nobody is left
}

// sealDescriptors marks every descriptor close-on-exec. Go opens its own that
// way; the ones our own parent leaked to us would pass on to the child.
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
