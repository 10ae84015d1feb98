package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/control"
)

// Label values that are not known beforehand are shown, and no more series than a scraper can hold.
func TestAFamilyShowsItsSeriesWithinABound(t *testing.T) {
	w := newWorld(t)
	w.families = []control.Family{
		{Name: "gatewright_few_total", Help: "Few.", Labels: []string{"tenant", "to"}, Counter: true, Values: func(emit func(float64, ...string)) {
			emit(3, "acme", "deny")
			emit(4, "only one label")
		}},
		{Name: "gatewright_many", Help: "Many.", Labels: []string{"tenant"}, Values: func(emit func(float64, ...string)) {
			for i := range 5000 {
				emit(1, fmt.Sprint(i))
			}
		}},
	}
	w.rebuild(w.log)
	a := w.call("GET", "/metrics", w.admin, "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `gatewright_few_total{tenant="acme",to="deny"} 3`) || strings.Contains(a.body, "only one label") {
		t.Fatalf("%d %.2000s", a.status, a.body)
	}
	if n := strings.Count(a.body, "gatewright_many{"); n != 2000 {
		t.Errorf("%d series", n)
	}
}
