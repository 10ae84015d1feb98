package stages_test

import (
	"errors"
	"strings"
	"testing"

	life "github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm"
)

// TestATenantsFilterThatFailsIsNamed: to whoever calls, who can do nothing by trying again; a filter of the gateway's is not.
func TestATenantsFilterThatFailsIsNamed(t *testing.T) {
	w := newWorld(t)
	for kind, mine := range map[string]bool{
		wasm.TrapFuel: true, wasm.TrapUnreachable: true, wasm.TrapVerdict: true, wasm.TrapBroken: true, wasm.TrapInput: true,
		wasm.TrapBusy: false, wasm.TrapQuota: false, wasm.TrapCanceled: false, wasm.TrapInternal: false,
	} {
		for own, at := range map[bool]*manifest.Filter{true: {Name: "guard"}, false: nil} {
			u := &unit{name: "guard", request: func(string, *wasm.Verdict) error {
				return &wasm.Trap{Filter: "guard", Kind: kind, Err: errors.New("/top/secret")}
			}}
			f := filters(u)
			f.Filters = always{set: life.NewSet(life.Place(u, at))}
			d := wantDenial(t, f.Check(t.Context(), w.step(open, `{"path":"/a"}`)), pipeline.FilterFailed, "")
			if named := strings.Contains(d.Hint, "`gatewright filter logs guard`"); named != (own && mine) || named == strings.Contains(d.Hint, "try again") || strings.Contains(d.Hint, "secret") {
				t.Errorf("%s, the tenant's own %v: %q", kind, own, d.Hint)
			}
		}
	}
}
