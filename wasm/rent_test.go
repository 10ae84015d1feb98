package wasm_test

import (
	"testing"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// TestACallPaysForTheMemoryThatIsPutBackAfterIt: a large filter that does nothing costs everybody time all the same.
func TestACallPaysForTheMemoryThatIsPutBackAfterIt(t *testing.T) {
	spent := func(pages int) int64 {
		m := says(`{"verdict":"pass"}`)
		m.pages = pages
		var v wasm.Verdict
		if err := load(t, m, nil).Decide(t.Context(), &abi.Context{Body: []byte("{}")}, &v); err != nil {
			t.Fatal(err)
		}
		return v.Fuel
	}
	const page = 1 << 16
	if one, most := spent(1), spent(256); one >= 10_000 || most-one < 255*page/64 {
		t.Errorf("1 page: %d units, 256 pages: %d", one, most)
	}
}
