package rig

import "time"

// CPU is the user and system time of this process so far.
func CPU() (time.Duration, error) { return processCPU() }
