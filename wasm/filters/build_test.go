package filters_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/filters"
)

// TestModulesAreBuiltFromTheirSources: nobody has to trust a binary in a repository.
func TestModulesAreBuiltFromTheirSources(t *testing.T) {
	for _, name := range filters.Names() {
		build := filepath.Join(name, "build.sh")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if os.Getenv("CI") != "true" && exec.CommandContext(ctx, "bash", build, "--toolchain").Run() != nil {
			t.Skipf("the compiler that %s pins is not installed; run it once", build)
		}
		file := filepath.Join(t.TempDir(), name+".wasm")
		if out, err := exec.CommandContext(ctx, "bash", build, file).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", build, err, out)
		}
		built, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if committed, _ := filters.Module(name); !bytes.Equal(built, committed) {
			t.Errorf("%s makes another module than the one that is embedded: %d and %d bytes", build, len(built), len(committed))
		}
	}
}
