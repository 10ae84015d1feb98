package control_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func (w *world) keyed(method, path, key, body, idem string) *reply {
	r := w.request(method, path, key, body)
	r.Header.Set("Idempotency-Key", idem)
	return w.do(r)
}

func TestAReplayedKeyHasNoSecondEffect(t *testing.T) {
	w := newWorld(t)
	before := len(w.users())
	first := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one")
	again := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one")
	if first.status != http.StatusCreated || again.status != first.status || again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("first %d %s, again %d %s", first.status, first.body, again.status, again.body)
	}
	if n := len(w.users()); n != before+1 {
		t.Errorf("%d users, before %d", n, before)
	}
	last := w.log.last(demo)
	if phase, _ := told(&last); phase != "replay" || last.Of != first.header.Get("Gatewright-Record") || last.ID == last.Of {
		t.Errorf("%s", last.AppendJSON(nil))
	}
}

func TestAnIdempotencyKeyIsBoundToRequestAndCredential(t *testing.T) {
	w := newWorld(t)
	if a := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one"); a.status != http.StatusCreated {
		t.Fatal(a.body)
	}
	w.keyed("POST", "/api/v1/users", w.admin, `{"name":"Ann","role":"Admin"}`, "one").refused(t, http.StatusUnprocessableEntity, "idempotency_mismatch")
	if a := w.keyed("POST", "/api/v1/users", w.otherAdmin, goodUser, "one"); a.status != http.StatusCreated || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("another tenant: %d %s", a.status, a.body)
	}
	w.keyed("POST", "/api/v1/users", w.viewer, goodUser, "one").refused(t, http.StatusForbidden, "role_denied")
	for _, bad := range []string{"", "a b", strings.Repeat("a", 129), "ü"} {
		w.keyed("POST", "/api/v1/users", w.admin, goodUser, bad).refused(t, http.StatusBadRequest, "idempotency_invalid")
	}
}

func TestARefusedRequestDoesNotUseUpItsKey(t *testing.T) {
	w := newWorld(t)
	w.keyed("POST", "/api/v1/users", w.admin, `{"name":"Ann"}`, "one").refused(t, 422, "request_invalid")
	if a := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one"); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestASecretIsNotShownASecondTime(t *testing.T) {
	w := newWorld(t)
	body := `{"agent":"` + w.agent + `","name":"k"}`
	first := w.keyed("POST", "/api/v1/keys", w.admin, body, "one")
	if first.status != http.StatusCreated || !strings.Contains(first.body, "ak_") || first.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	again := w.keyed("POST", "/api/v1/keys", w.admin, body, "one")
	again.refused(t, http.StatusConflict, "shown_once")
	if !strings.Contains(again.body, first.header.Get("Gatewright-Record")) {
		t.Errorf("the answer does not name the first record: %s", again.body)
	}
}

func TestAfterAnUnknownOutcomeARetryDoesNotRun(t *testing.T) {
	w := newWorld(t)
	before := len(w.users())
	w.log.failAfter(1)
	w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one").refused(t, http.StatusServiceUnavailable, "audit_unavailable")
	w.log.failAfter(-1)
	a := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one")
	if a.status < 500 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := len(w.users()); n != before+1 {
		t.Errorf("%d users, before %d", n, before)
	}
}

func TestKeptAnswersExpireAndAreBounded(t *testing.T) {
	w := newWorld(t)
	w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one")
	w.clock.add(11 * time.Minute)
	if a := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one"); a.header.Get("Idempotency-Replayed") != "" {
		t.Error("an expired answer came back")
	}
	for i := range 20 { // the world keeps 16
		w.keyed("POST", "/api/v1/users", w.admin, goodUser, "k"+strings.Repeat("x", i))
	}
	if a := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one"); a.header.Get("Idempotency-Replayed") != "" {
		t.Error("more answers are kept than the bound says")
	}
}

func TestTwoAtOnceWithOneKeyHaveOneEffect(t *testing.T) {
	w := newWorld(t)
	before := len(w.users())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a := w.keyed("POST", "/api/v1/users", w.admin, goodUser, "one")
			if a.status != http.StatusCreated && a.code() != "idempotency_running" {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if n := len(w.users()); n != before+1 {
		t.Errorf("%d users, before %d", n, before)
	}
}
