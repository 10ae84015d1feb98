package control_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSealsAreRotatedByTheirOwnTenant(t *testing.T) {
	w := newWorld(t)
	text, err := w.seals.Seal(t.Context(), demo, "cursor", nil, []byte("x"))
	w.must(err)
	a := w.call("POST", "/api/v1/seals/rotate", w.admin, `{}`)
	if a.status != http.StatusOK || strings.Count(a.body, `"id"`) != 2 || strings.Contains(a.body, "ecret") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.call("POST", "/api/v1/seals/rotate", w.admin, `{}`).refused(t, http.StatusConflict, "conflict")
	if _, ok := w.seals.Open(t.Context(), demo, "cursor", nil, text); !ok {
		t.Error("what the key before sealed does not open")
	}
	if a = w.call("POST", "/api/v1/seals/rotate", w.otherAdmin, `{"at_once":true}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if _, ok := w.seals.Open(t.Context(), demo, "cursor", nil, text); !ok {
		t.Error("another tenant ended it")
	}
	if a = w.call("POST", "/api/v1/seals/rotate", w.admin, `{"at_once":true}`); a.status != http.StatusOK || strings.Count(a.body, `"id"`) != 1 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if _, ok := w.seals.Open(t.Context(), demo, "cursor", nil, text); ok {
		t.Error("it opens after a rotation at once")
	}
	if a = w.call("GET", "/api/v1/seals", w.admin, ""); a.status != http.StatusOK || strings.Contains(a.body, "ends") || !strings.Contains(a.body, w.clock.now().Format(time.RFC3339)) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
