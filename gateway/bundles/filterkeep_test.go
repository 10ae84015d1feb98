package bundles_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
)

// TestABundleThatSaysNothingOfFiltersTakesNoneOutOfForce at any way in; going back does, and who writes an empty section.
func TestABundleThatSaysNothingOfFiltersTakesNoneOutOfForce(t *testing.T) {
	w, o := withOwner(t)
	before := w.push(allow("send")).Number
	w.activate(before, enforce)
	w.activate(w.push(filtered("read")).Number, enforce)
	other := allow("send")
	other["manifest.json"] = []byte(`{"format":1,"version":2}`)
	for name, err := range map[string]error{
		"activated again": second(w.Activate(t.Context(), acme, ada, before, enforce)),
		"pushed":          second(w.Activate(t.Context(), acme, ada, w.push(other).Number, enforce)),
		"watched":         w.offer(other, bundles.Folder, false),
		"loaded":          w.offer(other, bundles.Folder, true),
	} {
		if !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), "take a out of force") || !strings.Contains(err.Error(), `"filters": []`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.may(acme, "a") != "read" || o.inForce != "1" || o.ready != 0 {
		t.Errorf("may %q with %q, %d left", w.may(acme, "a"), o.inForce, o.ready)
	}
	none := allow("send")
	none["manifest.json"] = []byte(`{"format":1,"filters":[]}`)
	if err := w.offer(none, bundles.Folder, true); err != nil || !strings.Contains(w.log.String(), `msg="a bundle took filters out of force" tenant=acme`) || !strings.Contains(w.log.String(), "filters=a") {
		t.Errorf("%v: %s", err, &w.log)
	}
	w.activate(w.push(filtered("read")).Number, enforce)
	w.activate(w.push(none).Number, enforce)
	if o.inForce != "0" {
		t.Errorf("in force %q after an empty section", o.inForce)
	}
	w.activate(w.push(filtered("read")).Number, enforce)
	if r, err := w.Rollback(t.Context(), acme, ada); err != nil || r.State != bundles.Enforced || o.inForce != "0" {
		t.Errorf("rolled back: %+v %v, in force %q", r, err, o.inForce)
	}
}
