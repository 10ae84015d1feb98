package cli

import (
	"strings"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// TestAChangeOfAFilterSaysWhatThereWasAndWhatThereIs, and what may come next.
func TestAChangeOfAFilterSaysWhatThereWasAndWhatThereIs(t *testing.T) {
	type standing = gatewright.FilterStanding
	for _, c := range []struct {
		mode          string
		before, after standing
		back          uint64
		want, next    string
	}{
		{"enforce", standing{}, standing{Enforced: 2}, 0, "in force: f@v2", "filter remove f` takes it out of force"},
		{"enforce", standing{Enforced: 3}, standing{Enforced: 2}, 1, "in force: f@v3 -> f@v2", "filter rollback f` goes back to f@v1"},
		{"enforce", standing{Enforced: 2}, standing{Enforced: 2}, 2, "in force: f@v2 as before, with another config or place", "filter rollback f` goes back to the config and place before"},
		{"enforce", standing{Shadow: 2}, standing{Enforced: 2}, 0, "in force: f@v2", ""},
		{"enforce", standing{Enforced: 1, Shadow: 2}, standing{Enforced: 2}, 1, "in force: f@v1 -> f@v2", "goes back to f@v1"},
		{"", standing{Enforced: 1, Shadow: 2}, standing{Enforced: 1}, 0, "in force: f@v1 as before; taken out of shadow: f (it was version 2)", ""},
		{"", standing{Enforced: 1, Shadow: 1}, standing{Enforced: 1}, 0, "in force: f@v1 as before; taken out of shadow: f (it was version 1)", ""},
		{"", standing{Shadow: 2}, standing{}, 0, "taken out of shadow: f (it was version 2)", "its versions stay: `gatewright filter activate f` puts one in force"},
		{"", standing{Enforced: 1}, standing{}, 1, "taken out of force: f (it was version 1)", "`gatewright filter rollback f` puts f@v1 in force again, where it stood"},
		{"", standing{Enforced: 1, Shadow: 2}, standing{}, 1, "taken out of force: f (it was version 1); taken out of shadow: f (it was version 2)", "puts f@v1 in force again"},
		{"shadow", standing{}, standing{Shadow: 1}, 0, "in shadow: f@v1", "filter activate f 1` puts it in force, `gatewright filter rollback f` ends the trial"},
		{"shadow", standing{Enforced: 1, Shadow: 2}, standing{Enforced: 1, Shadow: 3}, 0, "in force: f@v1 as before; in shadow: f@v2 -> f@v3", ""},
		{"shadow", standing{Enforced: 1, Shadow: 2}, standing{Enforced: 1, Shadow: 2}, 0, "in shadow: f@v2 as before, with another config or place", ""},
	} {
		change := &gatewright.FilterChange{Name: "f", Mode: c.mode, Before: c.before, After: c.after, Rollback: c.back}
		if got := changed(change); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.before, c.after, got, c.want)
		}
		if got := next(change); !strings.Contains(got, c.next) {
			t.Errorf("%v to %v: %q, want %q", c.before, c.after, got, c.next)
		}
	}
}

// TestWhatARevisionChangesOfFiltersIsSaid line by line.
func TestWhatARevisionChangesOfFiltersIsSaid(t *testing.T) {
	v := func(n uint64, digest string) *gatewright.MovedFilter {
		return &gatewright.MovedFilter{Version: n, Digest: "sha256:" + digest}
	}
	got := moved(&gatewright.FilterMoves{Reordered: true, Filters: []gatewright.FilterMove{
		{Name: "a", Mode: "enforce", Before: v(1, "a")}, {Name: "b\x1b", Mode: "enforce", Before: v(2, "b")}, {Name: "c", Mode: "enforce", After: v(3, "c")},
		{Name: "d", Mode: "enforce", Before: v(0, "0123456789abcdef"), After: v(5, "e")}, {Name: "e", Mode: "enforce", Before: v(1, "x"), After: v(1, "x")},
		{Name: "f", Mode: "shadow", Before: v(1, "f")}, {Name: "g", Mode: "shadow", After: v(1, "g")},
	}})
	want := "takes out of force: a, b\nputs in force: c@v3\nchanges: d@sha256:0123456789ab -> d@v5\nchanges config or place of: e@v1\nends the trial of: f\ntries in shadow: g@v1\nchanges the order in which calls pass filters"
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("%s", text)
	}
	if moved(&gatewright.FilterMoves{}) != nil {
		t.Error("nothing changes, and something is said")
	}
}
