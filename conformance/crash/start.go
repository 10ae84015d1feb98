package main

import (
	"context"
	"io"
)

func starts(ctx context.Context, out io.Writer, o options) error { return nil }
