package immunity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/conformance/built"
	"github.com/gatewright/gatewright/conformance/immunity"
)

// TestEachPointNamesTestsThatThereAre: a test that is renamed or removed takes its point's answer with it.
func TestEachPointNamesTestsThatThereAre(t *testing.T) {
	top, err := built.Root()
	if err != nil {
		t.Fatal(err)
	}
	folders, seen := map[string]string{}, map[string]bool{}
	for _, p := range immunity.Points {
		if seen[p.ID] || p.Threat == "" || len(p.Tests) == 0 {
			t.Errorf("point %s comes twice or is empty", p.ID)
		}
		seen[p.ID] = true
		for _, test := range p.Tests {
			folder, name, _ := strings.Cut(test, " ")
			if _, ok := folders[folder]; !ok {
				files, err := filepath.Glob(filepath.Join(top, folder, "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					b, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					folders[folder] += string(b)
				}
			}
			if name == "" || !strings.Contains(folders[folder], "\nfunc "+name+"(t *testing.T)") {
				t.Errorf("point %s names %q, which is no test", p.ID, test)
			}
		}
	}
	if len(seen) < 16+12+10+4+3 {
		t.Errorf("%d points have tests", len(seen))
	}
}
