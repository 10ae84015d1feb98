package terms_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store"
)

// shape is what Of says, in one line.
func (w *world) shape(tenant string, h *intent.Held) string {
	t, err := w.Of(tenant, h)
	if err != nil {
		return "refused"
	}
	if t == nil {
		return "none"
	}
	names := []string{}
	for _, o := range t.Overlays {
		names = append(names, o.Name())
	}
	return fmt.Sprintf("%s %v %v", strings.Join(names, "+"), t.Rates, len(t.Lines) > 0)
}

const limited = `{"armoriq":{"policy":{"deny":["files/drop"],"rate_limit":5}}}`

func TestAPlansPolicyThatCannotBeReadRefuses(t *testing.T) {
	w := newWorld(t, func(c *terms.Config) { c.Bytes = 1 << 10 })
	for _, metadata := range []string{
		`{"armoriq":null}`, `{"armoriq":[]}`, `{"armoriq":"x"}`, `{"armoriq":{"policy":1}}`, `{"armoriq":{"policy":{"denny":[]}}}`, `{"armoriq":{"policy":{"rate_limit":-1}}}`,
		`{"armoriq":{"policy":{"deny":["a"` + strings.Repeat(`,"files/drop"`, 100) + `]}}}`,
	} {
		h := w.plan("acme", metadata)
		for range 2 {
			if _, err := w.Of("acme", h); err == nil {
				t.Errorf("%.60s is no refusal", metadata)
			}
		}
		if _, err := w.Plan([]byte(metadata)); err == nil {
			t.Errorf("%.60s can be captured", metadata)
		}
	}
	for _, broken := range []string{`{`, `[]`, `{"armoriq":{},"armoriq":{}}`} {
		_, err := w.Plan([]byte(broken))
		wants(t, err, terms.ErrPolicy)
	}
	if _, err := w.Of("evil", w.plan("acme", limited)); err == nil {
		t.Error("a plan narrows another tenant's calls")
	}
}

func TestTermsOfPlanAndProfileHoldTogether(t *testing.T) {
	w := newWorld(t, nil)
	bare, plain, own := w.plan("acme", ""), w.plan("acme", `{"source":"x","armoriq":{"policy":null}}`), w.plan("acme", limited)
	for _, h := range []*intent.Held{nil, bare, plain} {
		same(t, w.shape("acme", h), "none")
	}
	same(t, w.shape("acme", own), "plan [{5 1h0m0s}] true")
	w.approve(profile("drop"))
	for _, h := range []*intent.Held{nil, bare, plain} {
		same(t, w.shape("acme", h), "profile [] true")
	}
	same(t, w.shape("acme", own), "profile+plan [{5 1h0m0s}] true")
	first, _ := w.Of("acme", own)
	w.approve(profile("other"))
	if next, _ := w.Of("acme", own); next == first || next.Overlays[0].Digest() == first.Overlays[0].Digest() || next.Overlays[1] != first.Overlays[1] {
		t.Error("the profile before is still in force, or the plan was read anew")
	}
	same(t, w.shape("evil", w.plan("evil", limited)), "plan [{5 1h0m0s}] true")
	w.must(w.Remove(t.Context(), root, ""))
	same(t, w.shape("acme", own), "plan [{5 1h0m0s}] true")
	same(t, w.shape("acme", bare), "none")
}

func TestAProfileThatCannotBeReadAnyMoreRefusesItsTenantUntilItIsReplaced(t *testing.T) {
	w := newWorld(t, nil)
	w.approve(profile("drop"))
	err := w.inner.Update(t.Context(), "acme", func(tx store.Txn) error {
		v, err := tx.Get("terms_profile", "active")
		if err != nil {
			return err
		}
		row := strings.Replace(string(v.Data), `"policy":"`, `"policy":"e30K`, 1) // {} and a line feed, and more
		_, err = tx.Put("terms_profile", "active", []byte(row), store.AnyVersion)
		return err
	})
	w.must(err)
	w.open()
	for _, h := range []*intent.Held{nil, w.plan("acme", ""), w.plan("acme", limited)} {
		same(t, w.shape("acme", h), "refused")
	}
	same(t, w.shape("evil", nil), "none")
	if p, ok := w.Profile("acme"); !ok || p.Problem == "" || w.Stats().Broken != 1 {
		t.Errorf("%+v", p)
	}
	w.approve(profile("drop"))
	same(t, w.shape("acme", nil), "profile [] true")
}

func TestOfAllocatesNothingOnceAPlanIsKnown(t *testing.T) {
	w := newWorld(t, nil)
	bare, plain, own := w.plan("acme", ""), w.plan("acme", `{"source":"x"}`), w.plan("acme", limited)
	check := func(when string) {
		t.Helper()
		for _, h := range []*intent.Held{nil, bare, plain, own} {
			w.shape("acme", h)
			if n := testing.AllocsPerRun(100, func() { _, _ = w.Of("acme", h) }); n != 0 {
				t.Errorf("%s: %v allocations", when, n)
			}
		}
	}
	check("without a profile")
	w.approve(profile("drop"))
	check("with a profile")
}

func TestThePlansKeptAreBoundedAndWhatIsUsedStays(t *testing.T) {
	w := newWorld(t, func(c *terms.Config) { c.Plans = 3 })
	hot := w.plan("acme", limited)
	first, err := w.Of("acme", hot)
	w.must(err)
	for range 20 {
		same(t, w.shape("acme", w.plan("acme", limited)), "plan [{5 1h0m0s}] true")
		if again, _ := w.Of("acme", hot); again != first {
			t.Fatal("the plan in use was dropped")
		}
	}
	if n := w.Stats().Plans; n != 3 {
		t.Errorf("%d plans are kept", n)
	}
}

func TestManyAskAtOnceWhileProfilesChange(t *testing.T) {
	w := newWorld(t, func(c *terms.Config) { c.Plans = 2 })
	var plans []*intent.Held
	for range 4 {
		plans = append(plans, w.plan("acme", limited))
	}
	stop, wg := make(chan struct{}), sync.WaitGroup{}
	now := w.at
	for i := range 4 {
		wg.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := w.Of("acme", plans[n%4]); err != nil || got == nil || got.Overlays[len(got.Overlays)-1].Name() != "plan" {
					t.Errorf("%v %v", got, err)
					return
				}
				w.Allow(fmt.Sprint(n%9), hourly(3), now.Add(time.Duration(n)*time.Second))
				w.Proposals("acme", terms.Filter{})
			}
		})
	}
	for i := range 10 {
		w.approve(profile(fmt.Sprint("t", i)))
	}
	close(stop)
	wg.Wait()
}
