package httpwasm

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/abi"
)

// TestNamesAreChecked: a name that is long or no token is refused by whatever takes one, before anything is made of it.
func TestNamesAreChecked(t *testing.T) {
	for what, c := range map[string]struct {
		name string
		want bool
	}{
		"empty":                      {"", false},
		"the longest":                {strings.Repeat("A", maxName), true},
		"one byte longer":            {strings.Repeat("A", maxName+1), false},
		"64 KB that fold slowly":     {strings.Repeat("\u023a", 32_000), false},
		"not ASCII":                  {"\u023a", false},
		"a sign that folds to ASCII": {"\u212a", false},
		"not a token":                {"a b", false},
	} {
		m := &memory{b: []byte(c.name + "v")}
		for _, f := range Functions() {
			switch f.Name {
			case "get_header_values", "set_header_value", "add_header_value", "remove_header":
			default:
				continue
			}
			x := &Exchange{MaxBody: 1}
			run := func() error {
				_, err := f.Run(x, m, []uint64{0, 0, uint64(len(c.name)), uint64(len(c.name)), 1})
				return err
			}
			if _, refused := errors.AsType[*abi.Refusal](run()); refused == c.want {
				t.Errorf("%s, %s: refused %v", what, f.Name, refused)
			}
			if !c.want && len(x.Request.Header) > 0 {
				t.Errorf("%s, %s: %q", what, f.Name, x.Request.Header)
			}
		}
	}
}
