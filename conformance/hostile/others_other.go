//go:build !linux

package main

import "time"

func othersCPU() time.Duration { return 0 }
