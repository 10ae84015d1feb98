//go:build !linux

package rig

import (
	"errors"
	"time"
)

// family is empty where child processes cannot be found: a row that has some then fails, by their number.
func family() ([]int, error) { return nil, nil }

func cpuOf(int) (time.Duration, error) {
	return 0, errors.New("read the CPU time of a process: not known on this system")
}
