package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoticesNameEveryModuleOfTheBinary: what the binary contains is named with its version and licence.
func TestNoticesNameEveryModuleOfTheBinary(t *testing.T) {
	dir := root(t)
	text, err := os.ReadFile(filepath.Join(dir, "THIRD_PARTY_NOTICES.md"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} | {{.Version}}{{end}}{{end}}", "./gateway")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := 0
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		modules++
		if !strings.Contains(string(text), "| "+line+" |") {
			t.Errorf("THIRD_PARTY_NOTICES.md does not name %s", line)
		}
	}
	if modules == 0 {
		t.Error("go list named no module")
	}
}
