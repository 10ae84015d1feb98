package rig

import "time"

// CPU is the user and system time of this process so far.
func CPU() (time.Duration, error) { return processCPU() }

// ThreadCPU is the user and system time of the calling thread, exact to less than a microsecond.
func ThreadCPU() (time.Duration, error) { return threadCPU() }

// ExactCPU is CPU, exact to less than a microsecond, and dearer to ask for.
func ExactCPU() (time.Duration, error) { return exactCPU() }

// ScaleWork is what CPU time that hashes nothing has to be multiplied with to be the reference machine's, for a machine that
// takes that many microseconds for an Ed25519 signature over 300 bytes. The reference machine has no instructions for SHA-256:
// scaled by hashing, one that has them would be charged four times for work that they do not touch.
func ScaleWork(sign float64) float64 { return ReferenceSign / sign }

// Scale is what CPU time of a machine that takes that many microseconds for SHA-256 over 1 KiB has to be multiplied with to
// be the reference machine's.
func Scale(sha256 float64) float64 { return referenceSHA256 / sha256 }
