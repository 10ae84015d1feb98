//go:build !linux

package ledger

import "time"

// settle does nothing where one file system cannot be waited for.
func settle(string) error { return nil }

func nap(d time.Duration) { time.Sleep(d) }
