//go:build !unix

package rig

import (
	"errors"
	"time"
)

func processCPU() (time.Duration, error) {
	return 0, errors.New("read CPU time: not known on this system")
}
