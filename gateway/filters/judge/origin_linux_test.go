package judge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/filters"
)

// TestATrialWaitsForTheCompilerAsItsTenant: who has modules there already gets no more places by handing in another.
func TestATrialWaitsForTheCompilerAsItsTenant(t *testing.T) {
	dir := t.TempDir()
	begun := filepath.Join(dir, "begun")
	compiler, err := build.New(build.Options{
		Dir: filepath.Join(dir, "cache"), Key: make([]byte, 32), Parallel: 1, TenantQueue: 1,
		Self: []string{"/bin/sh", "-c", "echo >" + begun + "; exec sleep 600"}, // a child that does not come to an end
	})
	if err != nil {
		t.Fatal(err)
	}
	defer compiler.Close()
	c := DefaultConfig()
	c.Wasm.Compiler = compiler
	j, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close(context.Background()) }()

	over := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(over)
		_, err := compiler.Compile(ctx, build.Job{Module: []byte("held"), Tenant: "a", Pages: 1})
		t.Logf("the module that held the compiler: %v", err)
	}()
	defer func() { cancel(); <-over }()
	for _, err = os.Stat(begun); err != nil; _, err = os.Stat(begun) {
		select {
		case <-over:
			t.Fatal("nothing holds the compiler")
		case <-time.After(5 * time.Millisecond):
		}
	}

	module, ok := filters.Module("redact-secrets")
	if !ok {
		t.Fatal("no redact-secrets")
	}
	try := func(tenant string, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := j.Try(ctx, tenant, Upload{Name: "f", Module: module}, nil, nil)
		return err
	}
	err = try("a", 30*time.Second)
	if e, ok := errors.AsType[*build.Error](err); !ok || e.Bound != build.Busy || !errors.Is(err, ErrUnavailable) {
		t.Errorf("a tenant that has a module in the compiler: %v", err)
	}
	err = try("b", 200*time.Millisecond)
	if e, ok := errors.AsType[*build.Error](err); ok && e.Bound == build.Busy || err == nil {
		t.Errorf("another tenant does not wait: %v", err)
	}
}
