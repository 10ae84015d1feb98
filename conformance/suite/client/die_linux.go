package main

import (
	"os/exec"
	"syscall"
)

// dieTogether ends the gateway with this program.
func dieTogether(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
