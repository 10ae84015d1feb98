package control

import (
	"context"
	"testing"
	"time"
)

func TestOneBundleIsCompiledAtATime(t *testing.T) {
	one := make(turn, 1)
	done, err := one.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := one.take(ctx); err == nil || ctx.Err() == nil {
		t.Errorf("two at once, or none who waits: %v", err)
	}
	done()
	if done, err = one.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	done()
}
