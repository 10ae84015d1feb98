package conformance_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// crashProgram builds the program of conformance/crash.
func crashProgram(t *testing.T) string {
	t.Helper()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "crash")
	cmd := exec.Command("go", "build", "-o", bin, "./conformance/crash")
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// TestAFilledLedgerIsOpenedByTheRealGateway: the program that measures starts fills a folder without the gateway, which
// must take it for its own. How long a start takes is printed and not judged here.
func TestAFilledLedgerIsOpenedByTheRealGateway(t *testing.T) {
	t.Parallel()
	build(t)
	dir := t.TempDir()
	out, err := exec.Command(crashProgram(t), "-gateway", made.gateway, "-records", "5000", "-segment", "1MiB", "-dir", dir, "-keep").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !regexp.MustCompile(`\nstart records=5000 ready_ms=[1-9]\d* min=[1-9]\d* max=[1-9]\d*\n$`).Match(out) {
		t.Errorf("last line of\n%s", out)
	}
	folders, err := filepath.Glob(filepath.Join(dir, "gatewright-start*", "data"))
	if err != nil || len(folders) != 1 {
		t.Fatal(folders, err)
	}
	g := start(t, Setup{Dir: folders[0]})
	g.Stop(t)
	v := g.verifyLedger(t)
	if v.code != 0 || !strings.Contains(v.out, "tenant-7 ") || !strings.Contains(v.out, "signatures checked, chain checked") {
		t.Errorf("ledger verify: %+v", v)
	}
}
