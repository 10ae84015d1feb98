package conformance_test

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// TestAKilledGatewayKeepsWhatItPromised runs the program of conformance/crash with few kills. .ci/run has it do more.
func TestAKilledGatewayKeepsWhatItPromised(t *testing.T) {
	t.Parallel()
	build(t)
	kills := 10
	if testing.Short() {
		kills = 3
	}
	out, err := exec.Command(crashProgram(t), "-gateway", made.gateway, "-kills", strconv.Itoa(kills), "-dir", t.TempDir(), "-verify-every", "5", "-time-limit", "3m").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	last := regexp.MustCompile(`\ncrash kills=` + strconv.Itoa(kills) + ` lost=0 unrecorded=0 double_spent=0 revocations_lost=0 recovery_ms_max=[1-9]\d*\n$`)
	if !last.Match(out) {
		t.Errorf("last line of\n%s", out)
	}
	t.Logf("%s", out)
}
