package meter_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/wasm/meter"
)

// golden are digests of what version meter.Version makes of fixed modules, and of these modules.
const (
	goldenVersion = 2
	goldenModules = "3a0bc32aadd14c7ca9e318c63d071a085922f5bff0953647a96be065d8dea310"
	goldenMetered = "6c236655a4cd707cef6e64f1288aa255f62b03af8583d7eb0001d98c151bc1dc"
)

// TestTheVersionGoesUpWithTheRewriting: what was metered is kept under meter.Version, and must be what would be made now.
func TestTheVersionGoesUpWithTheRewriting(t *testing.T) {
	given, made := sha256.New(), sha256.New()
	for seed := range uint64(64) {
		module := generated(seed).bytes()
		given.Write(module)
		for _, o := range []meter.Options{{AllowTables: true}, {AllowTables: true, MaxPages: 3, MaxDepth: 7, ExportStart: true}} {
			metered, report, err := meter.Rewrite(module, o)
			if err != nil {
				t.Fatal(seed, err)
			}
			fmt.Fprintf(made, "%x %q\n", metered, report.State)
		}
	}
	if sum := hex.EncodeToString(given.Sum(nil)); sum != goldenModules {
		t.Errorf("the test's modules have changed, not the rewriting; they are %s now", sum)
	}
	if sum := hex.EncodeToString(made.Sum(nil)); sum != goldenMetered || meter.Version != goldenVersion {
		t.Errorf("version %d makes %s: raise meter.Version, and put both here", meter.Version, sum)
	}
}
