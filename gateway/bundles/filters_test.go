package bundles_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// owner is who owns the filters: it says what is ready and what is in force.
type owner struct {
	w       *world
	refuse  error
	ready   int // prepared and neither in force nor given up
	inForce string
	engine  *policies.Engine // that was in force when the filters were swapped
}

func (o *owner) Check(context.Context, string, *policies.Bundle) error { return o.refuse }

func (o *owner) Prepare(_ context.Context, _ string, b *policies.Bundle) (bundles.Ready, error) {
	if o.refuse != nil {
		return nil, o.refuse
	}
	o.ready++
	return &readied{o, fmt.Sprint(len(b.Manifest().Filters))}, nil
}

type readied struct {
	o    *owner
	what string
}

func (r *readied) Swap() {
	r.o.ready--
	r.o.inForce = r.what
	var with any
	if r.o.engine, _, with = r.o.w.engines.ChooseWith(acme, nil); with != r {
		r.o.w.t.Errorf("beside the engine stand the filters of %v", with)
	}
}
func (r *readied) Drop() { r.o.ready-- }

// filtered is allow with a filter in its manifest.
func filtered(tool string) map[string][]byte {
	files := allow(tool)
	files["manifest.json"] = fmt.Appendf(nil, `{"format":1,"filters":[{"name":"a","digest":"sha256:%064d"}]}`, 1)
	return files
}

func withOwner(t *testing.T) (*world, *owner) {
	t.Helper()
	w := newWorld(t)
	o := &owner{w: w}
	w.filters = o
	w.reopen()
	return w, o
}

// TestFiltersChangeWithTheEngine: in one act, at every way in and over a restart, and what is not put in force is given up.
func TestFiltersChangeWithTheEngine(t *testing.T) {
	w, o := withOwner(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.activate(w.push(filtered("read")).Number, enforce)
	if o.inForce != "1" || o.engine != w.engines.For(acme) {
		t.Errorf("in force %q", o.inForce)
	}
	w.fail = true
	if _, err := w.Rollback(t.Context(), acme, ada); !errors.Is(err, errLedger) || o.inForce != "1" || o.ready != 0 {
		t.Errorf("%v, in force %q, %d left", err, o.inForce, o.ready)
	}
	w.fail = false
	if _, err := w.Rollback(t.Context(), acme, ada); err != nil || o.inForce != "0" {
		t.Errorf("%v, in force %q", err, o.inForce)
	}
	w.activate(2, enforce)
	o.inForce = ""
	w.reopen()
	if o.inForce != "1" || w.may(acme, "a") != "read" {
		t.Errorf("after a restart in force %q, may %q", o.inForce, w.may(acme, "a"))
	}
	o.refuse = errors.New("the module is damaged")
	w.reopen()
	if w.may(acme, "a") != "" || w.Alarm(acme) == "" {
		t.Errorf("without its filters it may %q, alarm %q", w.may(acme, "a"), w.Alarm(acme))
	}
	o.refuse = nil
	w.Retool(t.Context(), acme)
	if w.may(acme, "a") != "read" || w.Alarm(acme) != "" || o.ready != 0 {
		t.Errorf("mended it may %q, alarm %q, %d left", w.may(acme, "a"), w.Alarm(acme), o.ready)
	}
}

func TestABundleWithoutItsFiltersIsRefusedAndTheLastGoodOneStays(t *testing.T) {
	w, o := withOwner(t)
	w.activate(w.push(allow("send")).Number, enforce)
	r := w.push(filtered("read"))
	o.refuse = errors.New("no such filter")
	for name, err := range map[string]error{
		"pushed":    second(w.Push(t.Context(), acme, ada, filtered("send"))),
		"activated": second(w.Activate(t.Context(), acme, ada, r.Number, enforce)),
		"loaded":    w.offer(filtered("read"), bundles.Folder, true),
	} {
		if !errors.Is(err, bundles.ErrRefused) || !errors.Is(err, bundles.ErrFilters) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.may(acme, "a") != "send" || o.inForce != "0" {
		t.Errorf("may %q with %q", w.may(acme, "a"), o.inForce)
	}
}

func second[T any](_ T, err error) error { return err }

// TestAnAmendmentIsARevision of what is enforced, by who asked, and under the same bounds as any other.
func TestAnAmendmentIsARevision(t *testing.T) {
	w, o := withOwner(t)
	amend := func(data string) (bundles.Revision, error) {
		return w.Amend(t.Context(), acme, ada, func(*policies.Bundle) (string, []byte, error) { return "manifest.json", []byte(data), nil })
	}
	if _, err := amend(`{"format":1}`); !errors.Is(err, bundles.ErrState) {
		t.Errorf("nothing is enforced: %v", err)
	}
	w.activate(w.push(allow("send")).Number, enforce)
	section := string(filtered("x")["manifest.json"])
	r, err := amend(section)
	if err != nil || r.Number != 2 || r.State != bundles.Enforced || r.By != ada || o.inForce != "1" || w.may(acme, "a") != "send" {
		t.Errorf("%+v %v, in force %q", r, err, o.inForce)
	}
	if r, err := amend(section); err != nil || r.Number != 2 {
		t.Errorf("the same again: %+v %v", r, err)
	}
	if _, err := amend(`{"format":1,"no":1}`); !errors.Is(err, bundles.ErrRefused) {
		t.Errorf("a broken manifest: %v", err)
	}
	stop := errors.New("stop")
	if _, err := w.Amend(t.Context(), acme, ada, func(*policies.Bundle) (string, []byte, error) { return "", nil, stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	w.activate(w.push(filtered("read")).Number, policies.Mode{Shadow: true})
	if _, err := amend(`{"format":1}`); !errors.Is(err, bundles.ErrState) {
		t.Errorf("beside a trial: %v", err)
	}
	if _, err := w.Rollback(t.Context(), acme, ada); err != nil {
		t.Fatal(err)
	}
	w.keys = ledger.VerifierKeys{{Name: "release"}}
	if _, err := amend(`{"format":1}`); !errors.Is(err, bundles.ErrUnsigned) || !w.Signed(acme) {
		t.Errorf("unsigned: %v", err)
	}
	if o.ready != 0 {
		t.Errorf("%d prepared and neither in force nor given up", o.ready)
	}
}
