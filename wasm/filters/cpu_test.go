package filters_test

import (
	"crypto/sha256"
	"syscall"
	"testing"
)

// cpu reports the CPU time of the process per operation: on a busy machine wall time says little.
func cpu(b *testing.B) func() {
	b.Helper()
	b.ReportAllocs()
	start := cpuNow()
	return func() { b.ReportMetric(float64(cpuNow()-start)/float64(b.N), "cpu-ns/op") }
}

func cpuNow() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // zero on failure shows in the figures
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkSHA256 is the yardstick other figures are scaled by.
func BenchmarkSHA256(b *testing.B) {
	defer cpu(b)()
	data := make([]byte, 1024)
	for b.Loop() {
		sha256.Sum256(data)
	}
}
