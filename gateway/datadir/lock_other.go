//go:build !unix

package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// lockFile takes the folder by making a file that must not be there; a killed process leaves it behind, and the operator
// removes it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	return f, nil
}
