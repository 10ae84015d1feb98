package policies_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

const allowNone = `@id("none") permit (principal, action, resource) when { context.trust > 100000 };`

func someone(i int) *policies.Principal {
	p := agent()
	p.ID = fmt.Sprintf("agt_%d", i)
	return p
}

func TestWithoutAnEngineInForceStagingOpensNothing(t *testing.T) {
	var s policies.Set
	for _, m := range []policies.Mode{{Shadow: true}, {Canary: 99}} {
		s.Stage("acme", compile(t, allowAll), m)
		for i := range 200 {
			if enforced, shadow := s.Choose("acme", someone(i)); enforced != nil || shadow != nil {
				t.Fatalf("%+v: something is enforced, or asked", m)
			}
		}
	}
	s.Swap("acme", compile(t, allowAll))
	s.Swap("acme", nil)
	if enforced, _ := s.Choose("acme", someone(1)); enforced != nil || s.For("acme") != nil {
		t.Error("an engine is left in force")
	}
}

func TestAShadowEngineIsNeverEnforced(t *testing.T) {
	old, next := compile(t, allowNone), compile(t, allowAll)
	var s policies.Set
	s.Swap("acme", old)
	s.Stage("acme", next, policies.Mode{Shadow: true, Canary: 99})
	for i := range 200 {
		if enforced, shadow := s.Choose("acme", someone(i)); enforced != old || shadow != next || s.For("acme") != old {
			t.Fatal("the engine in shadow is enforced")
		}
	}
	if e, m := s.Staged("acme"); e != next || !m.Shadow {
		t.Errorf("staged %v", m)
	}
	s.Stage("acme", nil, policies.Mode{Shadow: true})
	if enforced, shadow := s.Choose("acme", someone(1)); enforced != old || shadow != nil {
		t.Error("nothing ends the shadow")
	}
}

func TestACanaryIsAShareOfThePrincipalsAndStaysTheSame(t *testing.T) {
	old, next := compile(t, allowNone), compile(t, allowAll)
	var s policies.Set
	s.Swap("acme", old)
	for _, percent := range []int{1, 10, 50, 99} {
		s.Stage("acme", next, policies.Mode{Canary: percent})
		in := 0
		for i := range 5000 {
			enforced, shadow := s.Choose("acme", someone(i))
			again, _ := s.Choose("acme", someone(i))
			if again != enforced || enforced == shadow || shadow == nil {
				t.Fatal("the choice is not one")
			}
			if enforced == next {
				in++
			}
		}
		if got := float64(in) / 50; got < float64(percent)*0.8-0.3 || got > float64(percent)*1.2+0.3 {
			t.Errorf("%d %%: %.1f %% are chosen", percent, got)
		}
	}
	for _, percent := range []int{-1, 0, 100, 1000} {
		s.Stage("acme", next, policies.Mode{Canary: percent})
		for i := range 100 {
			if enforced, shadow := s.Choose("acme", someone(i)); enforced != old || shadow != nil {
				t.Fatalf("a canary of %d %% chooses somebody", percent)
			}
		}
	}
}

// Another bundle, or another tenant, draws anew: nobody is always the first.
func TestEachBundleAndTenantDrawsAnew(t *testing.T) {
	var s policies.Set
	first, second := compile(t, allowAll), compile(t, allowAll+" // later\n")
	s.Put("acme", compile(t, allowNone), first, policies.Mode{Canary: 50})
	s.Put("other", compile(t, allowNone), first, policies.Mode{Canary: 50})
	s.Put("again", compile(t, allowNone), second, policies.Mode{Canary: 50})
	tenants, bundles := 0, 0
	chosen := func(tenant string, i int) bool {
		e, _ := s.Choose(tenant, someone(i))
		return e != s.For(tenant)
	}
	for i := range 400 {
		if chosen("acme", i) != chosen("other", i) {
			tenants++
		}
	}
	var was [400]bool
	for i := range was {
		was[i] = chosen("acme", i)
	}
	s.Stage("acme", second, policies.Mode{Canary: 50})
	for i := range was {
		if was[i] != chosen("acme", i) {
			bundles++
		}
	}
	if tenants < 100 || bundles < 100 {
		t.Errorf("of 400, %d differ between tenants and %d between bundles", tenants, bundles)
	}
}

func TestStagingForOneTenantTouchesNoOther(t *testing.T) {
	old, next := compile(t, allowNone), compile(t, allowAll)
	var s policies.Set
	s.Swap("acme", old)
	s.Swap("other", old)
	s.Stage("acme", next, policies.Mode{Canary: 99})
	for i := range 200 {
		if enforced, shadow := s.Choose("other", someone(i)); enforced != old || shadow != nil {
			t.Fatal("another tenant is touched")
		}
	}
	if prev := s.Put("acme", next, nil, policies.Mode{Canary: 5}); prev != old {
		t.Error("Put does not return what it replaces")
	}
	if enforced, shadow := s.Choose("acme", someone(1)); enforced != next || shadow != nil {
		t.Error("what was staged is not in force")
	}
}

// A decision covers its Ask whatever came into force since: it belongs to the engine that made it.
func TestADecisionOutlivesASwap(t *testing.T) {
	var s policies.Set
	s.Swap("acme", compile(t, allowAll))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	engines := []*policies.Engine{compile(t, allowNone), compile(t, allowAll)}
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Put("acme", engines[i%2], engines[(i+1)%2], policies.Mode{Canary: 50})
			}
		}
	})
	for i := range 2000 {
		a := call("mail", "send", `{"to":"x"}`)
		a.Principal = someone(i % 7)
		enforced, shadow := s.Choose("acme", a.Principal)
		d := enforced.Decide(a)
		beside := shadow.Decide(a)
		if !d.Covers(a) || d.Bundle() != enforced.Digest() || shadow != nil && !beside.Covers(a) {
			t.Fatal("a decision does not cover its Ask")
		}
	}
	close(stop)
	wg.Wait()
}

// TestWhatABundleBringsStandsBesideItsEngine: nobody sees that of one beside the engine of another, whoever tries what beside it.
func TestWhatABundleBringsStandsBesideItsEngine(t *testing.T) {
	var s policies.Set
	if e, _, with := s.ChooseWith("acme", someone(1)); e != nil || with != nil {
		t.Errorf("at first %v with %v", e, with)
	}
	old, next := compile(t, allowNone), compile(t, allowAll)
	s.PutWith("acme", old, nil, policies.Mode{}, old)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			s.PutWith("acme", next, old, policies.Mode{Shadow: true}, next)
			s.PutWith("acme", old, nil, policies.Mode{}, old)
		}
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		if e, _, with := s.ChooseWith("acme", someone(1)); with != any(e) {
			t.Fatal("the one's engine and what the other brought")
		}
	}
	s.Put("acme", old, next, policies.Mode{Canary: 99})
	s.Stage("acme", nil, policies.Mode{})
	if s.Swap("acme", next); s.For("other") != nil {
		t.Error("another tenant has one")
	}
	if e, _, with := s.ChooseWith("acme", someone(1)); e != next || with != any(old) {
		t.Errorf("an engine of its own took away what the bundle brought: %v", with)
	}
}
