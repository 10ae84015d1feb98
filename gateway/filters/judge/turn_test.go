package judge

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/build"
)

// TestOneTenantFillsNoQueue: however many modules one hands in, another's is behind few of them.
func TestOneTenantFillsNoQueue(t *testing.T) {
	c := DefaultConfig()
	c.Parallel = 1
	j, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close(context.Background()) }()
	bad := Upload{Name: "f", Module: []byte("no module")}
	begun, release := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var order []string
	var all sync.WaitGroup
	hand := func(tenant string, progress func(Step)) {
		if _, err := j.Try(t.Context(), tenant, bad, nil, progress); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: %v", tenant, err)
		}
	}
	all.Go(func() { hand("a", func(Step) { close(begun); <-release }) })
	<-begun
	note := func(tenant string) {
		all.Go(func() { hand(tenant, func(Step) { mu.Lock(); order = append(order, tenant); mu.Unlock() }) })
		time.Sleep(20 * time.Millisecond) // it waits by now
	}
	for range maxPerTenant - 1 {
		note("a")
	}
	_, err = j.Try(t.Context(), "a", bad, nil, nil)
	if e, ok := errors.AsType[*build.Error](err); !errors.Is(err, ErrUnavailable) || !ok || e.Bound != build.Busy {
		t.Errorf("one more of the same tenant: %v", err)
	}
	note("b")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Try(gone, "c", bad, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who left waits on: %v", err)
	}
	close(release)
	all.Wait()
	if len(order) != maxPerTenant {
		t.Errorf("%v, want all %d", order, maxPerTenant)
	}
	hand("a", nil) // every place was given back
}
