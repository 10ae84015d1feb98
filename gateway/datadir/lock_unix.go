//go:build unix

package datadir

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// How long a lock that somebody has is waited for. A gateway that was killed while it started a connector leaves the lock
// with the child until that runs its program, milliseconds later; whoever starts the next one at once must not fail of it.
const (
	lockPatience = time.Second
	lockLook     = 10 * time.Millisecond
)

// lockFile takes the folder for this process. The lock goes with the process, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	for waited := time.Duration(0); ; waited += lockLook {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || waited >= lockPatience {
			return nil, errors.Join(ErrLocked, f.Close())
		}
		time.Sleep(lockLook)
	}
}
