package filters_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/wasm/build"
)

// limited tells whether an upload was one too many in the hour.
func limited(err error) bool {
	_, ok := errors.AsType[*filters.RateError](err)
	return ok
}

// TestABusyGatewayTakesNoUploadAway: who is refused because others are being judged may try as often as before.
func TestABusyGatewayTakesNoUploadAway(t *testing.T) {
	const held = 4 // a tenant may have as many in the judge
	w := newWorld(t, func(w *world) { w.judging.Parallel, w.cfg.Uploads = held+1, held+1 })
	begun, release := make(chan struct{}), make(chan struct{})
	upload := func(name string, progress func(filters.Step)) error {
		return second(w.Upload(t.Context(), acme, ada, filters.Upload{Name: name, Module: []byte("no module")}, progress))
	}
	var all sync.WaitGroup
	for i := range held {
		all.Go(func() {
			if err := upload(fmt.Sprint("held-", i), func(filters.Step) { begun <- struct{}{}; <-release }); !errors.Is(err, filters.ErrRejected) {
				t.Error(err)
			}
		})
		<-begun
	}
	for range 3 * held {
		err := upload("busy", nil)
		if e, ok := errors.AsType[*build.Error](err); !ok || e.Bound != build.Busy || !errors.Is(err, filters.ErrUnavailable) {
			t.Errorf("while there is no room: %v", err)
		}
	}
	close(release)
	all.Wait()
	if err := upload("last", nil); !errors.Is(err, filters.ErrRejected) {
		t.Errorf("the last that the hour allows: %v", err)
	}
	if err := upload("late", nil); !limited(err) {
		t.Errorf("one more: %v", err)
	}
}

// TestAKnownUploadTakesNoUploadAway, but is none either once they are used up: then nothing is looked at.
func TestAKnownUploadTakesNoUploadAway(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Uploads = 2 })
	upload := func(name, reason string) error {
		return second(w.Upload(t.Context(), acme, ada, filters.Upload{Name: name, Module: denies(reason)}, nil))
	}
	for range 5 {
		if err := upload("a", "one"); err != nil {
			t.Fatalf("again: %v", err)
		}
	}
	if err := upload("a", "two"); err != nil {
		t.Errorf("another: %v", err)
	}
	for _, reason := range []string{"three", "one"} {
		if err := upload("a", reason); !limited(err) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// TestAnUploadThatIsWithdrawnCounts: it may have taken a place from somebody who waited. So does one that cannot be.
func TestAnUploadThatIsWithdrawnCounts(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Uploads = 2 })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, u := range []filters.Upload{{Name: "a", Module: passes()}, {Name: "no name", Module: passes()}} {
		if _, err := w.Upload(gone, acme, ada, u, nil); err == nil || limited(err) {
			t.Errorf("%s: %v", u.Name, err)
		}
	}
	if _, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "a", Module: passes()}, nil); !limited(err) {
		t.Errorf("one more: %v", err)
	}
}
