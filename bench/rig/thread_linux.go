package rig

import (
	"syscall"
	"time"
)

// threadCPU is the user and system time of the calling thread.
func threadCPU() (time.Duration, error) { return cpuTime(syscall.RUSAGE_THREAD) }
