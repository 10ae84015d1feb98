package disk

import "golang.org/x/sys/unix"

// Forget implements Forgetter, with posix_fadvise(2).
func (f osFile) Forget(off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED) // advice: whether it is followed changes nothing
}
