package ladder_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/bench/ladder"
)

func TestAFilterThatCannotBeHadIsLeftOut(t *testing.T) {
	if err := ladder.FilterLoads(t.Context(), ladder.FilterName); err != nil {
		t.Errorf("%s: %v", ladder.FilterName, err)
	}
	if err := ladder.FilterLoads(t.Context(), "no-such-filter"); err == nil {
		t.Error("a filter that is not there loads")
	}
	var out bytes.Buffer
	if err := (&ladder.Report{}).Write(&out); err != nil || !strings.HasSuffix(out.String(), " ratio_filter=0.00\n") {
		t.Errorf("without the rung: %v, %q", err, out.String())
	}
}
