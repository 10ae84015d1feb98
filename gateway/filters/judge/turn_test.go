package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatewright/gatewright/wasm/build"
)

// TestOneTenantFillsNoQueue: however many modules one hands in, another's is behind few of them.
func TestOneTenantFillsNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := DefaultConfig()
		c.Parallel = 1
		j, err := New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.Close(context.Background()) }()
		bad := Upload{Name: "f", Module: []byte("no module")}
		release := make(chan struct{})
		done := 0
		hand := func(tenant string) {
			if _, err := j.Try(t.Context(), tenant, bad, nil, func(Step) { <-release; done++ }); !errors.Is(err, ErrRejected) {
				t.Errorf("%s: %v", tenant, err)
			}
		}
		for range maxPerTenant {
			go hand("a")
			synctest.Wait()
		}
		_, err = j.Try(t.Context(), "a", bad, nil, nil)
		if e, ok := errors.AsType[*build.Error](err); !errors.Is(err, ErrUnavailable) || !ok || e.Bound != build.Busy {
			t.Errorf("one more of the same tenant: %v", err)
		}
		go hand("b")
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := j.Try(gone, "c", bad, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("who left waits on: %v", err)
		}
		close(release)
		synctest.Wait()
		if done != maxPerTenant+1 {
			t.Errorf("%d were judged, want all %d", done, maxPerTenant+1)
		}
		hand("a") // every place was given back
	})
}

// TestFewTenantsFillNoQueue: when all that may wait do, a tenant that has nobody there still gets in, and its turn comes with
// that of the others, not after all that they handed in.
func TestFewTenantsFillNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := DefaultConfig()
		c.Parallel = 1
		j, err := New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.Close(context.Background()) }()
		release := make(chan struct{})
		var order, busy []string
		hand := func(tenant string) {
			go func() {
				_, err := j.Try(t.Context(), tenant, Upload{Name: "f", Module: []byte("no module")}, nil, func(Step) { <-release; order = append(order, tenant) })
				switch e, ok := errors.AsType[*build.Error](err); {
				case ok && e.Bound == build.Busy && errors.Is(err, ErrUnavailable):
					busy = append(busy, tenant)
				case !errors.Is(err, ErrRejected):
					t.Errorf("%s: %v", tenant, err)
				}
			}()
			synctest.Wait()
		}
		hand("first")
		crowd := maxWaiting / maxPerTenant
		for i := range crowd * maxPerTenant {
			hand(fmt.Sprint("crowd ", i%crowd))
		}
		hand("another")
		close(release)
		synctest.Wait()
		if len(busy) != 1 || !strings.HasPrefix(busy[0], "crowd") {
			t.Errorf("%q are refused, want one of those with many", busy)
		}
		if i := slices.Index(order, "another"); i != 1+crowd {
			t.Errorf("its place is %d of %q, want it after one of each", i, order)
		}
	})
}
