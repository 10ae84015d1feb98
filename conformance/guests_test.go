package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/gateway/filters"
)

// TestVectorsOfTheGuestsCanBePushed: the files beside the guest kits are what an upload takes.
func TestVectorsOfTheGuestsCanBePushed(t *testing.T) {
	for _, example := range []string{"redact-secrets", "block-sql", "label-pii", "rate-injection"} {
		text, err := os.ReadFile(filepath.Join(root(t), "wasm", "guest", "vectors", example+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := filters.ParseVectors(text); err != nil || len(all) < 12 {
			t.Errorf("%s: %d vectors, %v", example, len(all), err)
		}
	}
}
