//go:build !unix

package plugins

import "syscall"

func isolate() *syscall.SysProcAttr { return nil }

func killGroup(int) {}

func sealDescriptors() error { return nil }
