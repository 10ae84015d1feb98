//go:build !unix

package stdio

import (
	"os"
	"syscall"
)

func isolate() *syscall.SysProcAttr { return nil }

func awaitExit(int) {}

func terminateGroup(int) {}

// killGroup has no group to kill here.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// samePath has no way here to name an open file.
func samePath(path string, _ *os.File) (string, func(), error) { return path, func() {}, nil }

func sealDescriptors() error { return nil }

func sweep(string) {}
