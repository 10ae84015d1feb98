// Package built compiles what tests run as a process of its own: the gateway as users have it, and servers beside it.
package built

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Gateway is the package of the gateway's program, as Compile takes it.
const Gateway = "./gateway"

// Root is the folder of go.mod at or above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir, nil
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		err = errors.New("no go.mod above the working directory")
	}
	return "", err
}

// Compile builds packages, by the file that each becomes. Every file of the tree is read through first, so that the
// test cache knows what the programs were made of.
func Compile(programs map[string]string) error {
	top, err := Root()
	if err != nil {
		return err
	}
	if err := readTree(top); err != nil {
		return err
	}
	for out, pkg := range programs {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Dir = top
		if b, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, b)
		}
	}
	return nil
}

// readTree opens what goes into the binary.
func readTree(top string) error {
	for _, part := range []string{"gateway", "policies", "plugins", "merkle", "store", "wasm", "conformance/suite", "go.mod", "go.sum"} {
		err := filepath.WalkDir(filepath.Join(top, part), func(p string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return errors.Join(err, filepath.SkipDir)
			}
			if d.IsDir() {
				return nil
			}
			_, err = os.ReadFile(p)
			return err
		})
		if err != nil && !errors.Is(err, filepath.SkipDir) {
			return fmt.Errorf("read the tree: %w", err)
		}
	}
	return nil
}
