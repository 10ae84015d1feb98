package ledger

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settle waits until everything that was written to the folder's file system is on its disk.
func settle(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// nap sleeps without the runtime's timers, to some 50 microseconds. An interrupted one is short, and the caller looks at
// the clock.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&t, nil)
}
