package plugins

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// errChecksum is a program that is not the one that was pinned.
var errChecksum = errors.New("the program's SHA-256 is not the one that is configured")

// settle refuses a command that cannot be started, before anything is, and
// fixes its path: a later change of the working directory means nothing.
func (c *Command) settle() error {
	if c.Name == "" || c.Path == "" {
		return errors.New("a name and a program are required")
	}
	if err := c.checkEnvironment(); err != nil {
		return err
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	c.Path = path
	if n := len(c.SHA256); n != 0 && n != sha256.Size {
		return fmt.Errorf("a SHA-256 of %d bytes, want %d", n, sha256.Size)
	}
	if err := c.checkDir(); err != nil {
		return err
	}
	f, err := c.verify()
	if f != nil {
		f.Close()
	}
	return err
}

func (c *Command) checkDir() error {
	if c.Dir == "" {
		return nil
	}
	info, err := os.Stat(c.Dir)
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the working directory %q is not a folder", c.Dir)
	}
	return nil
}

// verify refuses a program that is not what is configured: a file that may be
// executed and, when it is pinned, has the pinned content. Of a pinned program
// the file is returned, nil else: what is read through it afterwards is what
// was checked, as long as nobody writes to it in place.
func (c *Command) verify() (*os.File, error) {
	// A stat first: opening a pipe would wait for its other end.
	info, err := os.Stat(c.Path)
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the program %q is not a file", c.Path)
	}
	if !executable(info) {
		return nil, fmt.Errorf("the program %q is not executable", c.Path)
	}
	if len(c.SHA256) == 0 {
		return nil, nil
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	if err := checksum(f, c.SHA256); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func checksum(f *os.File, want []byte) error {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return errChecksum
	}
	return nil
}

// socketRoom is what a socket's path has beyond the folder we choose: two names
// of go-plugin's with random numbers.
const socketRoom = len("/plugin-dir0000000000/plugin0000000000")

// maxSocketPath is the shortest bound of the systems we know, in bytes.
const maxSocketPath = 103

// settleSocketDir finds a folder in which sockets can be made.
func settleSocketDir(dir *string) error {
	if *dir == "" {
		*dir = os.TempDir()
		if len(*dir)+socketRoom > maxSocketPath {
			*dir = "/tmp"
		}
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		return fmt.Errorf("find the folder for sockets: %w", err)
	}
	if *dir = path; len(path)+socketRoom > maxSocketPath {
		return fmt.Errorf("the folder for sockets, %q, has too long a name: a socket's path holds %d bytes", path, maxSocketPath)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("find the folder for sockets: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("what is to hold sockets, %q, is not a folder", path)
	}
	return nil
}
