package plugins

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestWhatWasCheckedIsWhatRuns: a program that is swapped between the check and the start does not run.
func TestWhatWasCheckedIsWhatRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	install := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Skip(err)
		}
		if err := os.WriteFile(path+".new", b, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		return sum[:]
	}
	c := Command{Name: "test", Path: path, SHA256: install("/bin/true")}
	pinned, err := c.verify()
	if err != nil {
		t.Fatal(err)
	}
	defer pinned.Close()
	install("/bin/false")
	found, release, err := pinnedPath(path, pinned, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := (&exec.Cmd{Path: path, Args: []string{"false"}}).Run(); err == nil {
		t.Fatal("the program was not swapped")
	}
	if err := (&exec.Cmd{Path: found, Args: []string{"true"}}).Run(); err != nil {
		t.Errorf("the other program ran: %v", err)
	}
}
