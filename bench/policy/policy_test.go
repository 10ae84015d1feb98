package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// small opens a workload with the engine and the scan.
func small(t *testing.T) (*ours, []*subject) {
	t.Helper()
	w := newWorkload(60, 3)
	o, err := newOurs(w)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newScan(w)
	if err != nil {
		t.Fatal(err)
	}
	return o, []*subject{{name: ready, decide: o.ready}, {name: fromJSON, decide: o.fromJSON}, {name: scanned, decide: s.decide}}
}

func TestAllDecideAlike(t *testing.T) {
	o, subjects := small(t)
	if err := agree(60, subjects, o.answers); err != nil {
		t.Error(err)
	}
	allowed := 0
	for i, ok := range o.answers {
		if ok {
			allowed++
		}
		if err := o.again(i); err != nil {
			t.Error(err)
		}
	}
	if allowed < requests/20 || allowed > requests*19/20 {
		t.Errorf("%d of %d are allowed: that tries little", allowed, requests)
	}
}

// A subject that decides otherwise ends the run.
func TestADisagreementIsAnError(t *testing.T) {
	o, subjects := small(t)
	o.answers[17] = !o.answers[17]
	if err := agree(60, subjects, o.answers); err == nil || !strings.Contains(err.Error(), "request 17") {
		t.Errorf("got %v", err)
	}
	if err := o.again(17); err == nil {
		t.Error("a replay that differs is passed over")
	}
	subjects[2].decide = func(int) (bool, error) { return true, nil }
	if err := agree(60, subjects, nil); err == nil {
		t.Error("a scan that differs is passed over")
	}
}

func TestFiguresAreOfWhatWasDone(t *testing.T) {
	o, subjects := small(t)
	s, err := subjects[0].measure(5 * time.Millisecond)
	if err != nil || s.Calls < 100 || s.CPU <= 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	cold, cached, err := o.lists()
	if err != nil || cold <= 0 || cached <= 0 {
		t.Errorf("lists: %v, %v, %v", cold, cached, err)
	}
	if n, err := o.replay(10 * time.Millisecond); err != nil || n < 100 {
		t.Errorf("replay: %v, %v", n, err)
	}
}

func TestAReportWithoutOPASaysSo(t *testing.T) {
	r := newReport(&Options{Rounds: 1, Time: time.Second})
	one := map[string]Sample{ready: {CPU: 2}, fromJSON: {CPU: 3}, scanned: {CPU: 800}}
	r.Missing = "no network"
	r.Rounds = []Round{{Turn: rig.Turn{Counts: true}, Sizes: map[int]map[string]Sample{10: one, 100: one, 1_000: one, 10_000: one}, List: 400, Load: 1.5, Replay: 9}}
	r.summarize()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "policy vs_scan_1000=400 vs_opa_min=missing us_ready_1000=2.00 us_json_1000=3.00 growth=1.00 list_ms=0.400 load_s_10000=1.50 replay_per_s=9 sha256_us=0.00\n"
	if !strings.HasSuffix(b.String(), "\n"+want) {
		t.Errorf("got %s", b.String())
	}
}
