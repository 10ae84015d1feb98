package guests_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestGuestsAreBuiltFromTheirSources: nobody has to trust a binary in a repository.
func TestGuestsAreBuiltFromTheirSources(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	missing, err := exec.CommandContext(ctx, "bash", "build.sh", "--toolchain").CombinedOutput()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("wasm/guest/toolchains.sh install brings what is missing: %s", bytes.ReplaceAll(bytes.TrimSpace(missing), []byte("\n"), []byte(", ")))
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(ctx, "bash", "build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v; missing: %s\n%s", err, missing, out)
	}
	committed, err := filepath.Glob("*/*.wasm")
	if err != nil || len(committed) != 11 {
		t.Fatalf("%d guests, want 11 (%v)", len(committed), err)
	}
	for _, name := range committed {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if built, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(built, want) {
			t.Errorf("%s is not what build.sh makes (%v)", name, err)
		}
	}
}
