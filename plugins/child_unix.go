//go:build unix && !linux

package plugins

import "syscall"

// isolate puts the child into its own process group. Without Pdeathsig a child
// outlives a gateway that is killed outright.
func isolate() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends a child and all of its descendants that stayed in its group.
func killGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // ESRCH: nobody is left
}

func sealDescriptors() error { return nil }
