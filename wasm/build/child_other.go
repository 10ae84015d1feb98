//go:build !linux

package build

import (
	"context"
	"errors"
	"runtime"
)

// supported says whether this system bounds a child well enough.
const supported = false

func pinned(self []string) []string { return self }

func confine(_, _ uint64) (func() int64, error) {
	return nil, errors.New("this needs Linux")
}

func (c *Compiler) child(context.Context, Job, Bounds) (Artifact, error) {
	return Artifact{}, refuse(Platform, Usage{}, "compiling uploads needs Linux, this is "+runtime.GOOS)
}
