package judge

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// knows is an error with a hint of its own.
type knows struct{ error }

func (knows) Hint() string { return "take it out" }

// TestAFilterThatDoesNotStartSaysWhy: who knows better than this package has the word.
func TestAFilterThatDoesNotStartSaysWhy(t *testing.T) {
	setUp := func(err error) error { return fmt.Errorf("while it is set up: %w", err) }
	for name, c := range map[string]struct {
		trap         wasm.Trap
		reason, hint string
	}{
		"code 1":     {wasm.Trap{Kind: wasm.TrapInit, Err: setUp(fmt.Errorf("%w: gw_init returned 1", abi.ErrInit))}, "it does not start: the configuration is refused: gw_init returned 1", `the last line it logged: "no tables"; gw_init refuses this configuration`},
		"a built-in": {wasm.Trap{Kind: wasm.TrapInit, Err: setUp(knows{errors.New("it needs http.send")})}, "it does not start: it needs http.send", "take it out"},
		"too long":   {wasm.Trap{Kind: wasm.TrapFuel, Err: setUp(errors.New("fuel is used up"))}, "it does not start: it used up its 50000000 units of fuel", "filters.init_fuel"},
		"gives up":   {wasm.Trap{Kind: wasm.TrapUnreachable}, "it does not start: the filter stopped itself", `"no tables"`},
	} {
		tr := &trial{judge: &Judge{cfg: DefaultConfig()}, last: "no tables"}
		if r := tr.stillborn(&c.trap); !strings.HasPrefix(r.Reason, c.reason) || !strings.Contains(r.Hint, c.hint) || strings.Contains(r.Reason, "no tables") {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// TestALongLineIsCut: what a filter writes may be long, and hold anything.
func TestALongLineIsCut(t *testing.T) {
	tr := &trial{last: strings.Repeat("\x1b", 1000)}
	if hint := tr.afterLine(wasm.TrapFault, "h"); len(hint) > 4*lastLine+50 || strings.Contains(hint, "\x1b") {
		t.Errorf("%d bytes: %q", len(hint), hint)
	}
}
