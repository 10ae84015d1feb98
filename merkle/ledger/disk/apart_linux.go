package disk

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of linux/fs.h, the T of chattr(1): what is made in the folder is unrelated.
const topDir = 0x00020000

var _ Placer = OS{}

// MakeApart implements Placer. The place follows from the name that a folder is made with, so it is made with one of its own.
func (o OS) MakeApart(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := markTop(parent); err != nil {
		return err
	}
	fresh := dir + "." + rand.Text()
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil { // somebody else made it
		return errors.Join(err, os.Remove(fresh))
	}
	return o.SyncDir(parent)
}

// markTop gives the hint where the file system knows it.
func markTop(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if flags, err := unix.IoctlGetInt(int(d.Fd()), unix.FS_IOC_GETFLAGS); err == nil && flags&topDir == 0 {
		_ = unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	return d.Close()
}
