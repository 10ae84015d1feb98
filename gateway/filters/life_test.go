package filters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// TestACrashBetweenRecordAndRowLosesNothingThatHeld: the ledger names an intention, and what the rows say holds.
func TestACrashBetweenRecordAndRowLosesNothingThatHeld(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.activate("guard", 1, filters.Placement{})
	up := func(reason string) error {
		return second(w.Upload(t.Context(), acme, ada, filters.Upload{Name: "guard", Module: denies(reason)}, nil))
	}
	w.store.breaks("filter_versions")
	if err := up("two"); err == nil {
		t.Error("uploaded without a row")
	}
	w.store.breaks("filter_names")
	if _, err := w.Remove(t.Context(), acme, ada, "guard"); err == nil {
		t.Error("removed without the way back")
	}
	w.store.breaks("")
	w.restart()
	w.inForce("guard deny one")
	if n := w.rows(acme, "filter_modules"); n != 1 {
		// the module of the upload that was not kept goes when the rows are read
		t.Errorf("%d pieces of modules", n)
	}
	w.fail = func(r *ledger.Record) bool { return r.Kind == ledger.Bundle }
	if err := up("two"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Activate(t.Context(), acme, ada, "guard", 2, filters.Placement{}); err == nil {
		t.Error("activated without the bundle's record")
	}
	w.inForce("guard deny one")
	w.fail = func(r *ledger.Record) bool { return r.Kind == ledger.Filter }
	for name, err := range map[string]error{
		"upload": up("three"), "activate": second(w.Activate(t.Context(), acme, ada, "guard", 2, filters.Placement{})),
		"remove": second(w.Remove(t.Context(), acme, ada, "guard")), "delete": w.Delete(t.Context(), acme, ada, "guard", 2),
	} {
		if err == nil {
			t.Errorf("%s without a record", name)
		}
	}
	w.fail = nil
	w.restart()
	w.inForce("guard deny one")
	want := "upload guard 1, activate guard 1 enforce, upload guard 2, failed(upload) guard 2, upload guard 2, activate guard 2 enforce, failed(activate) guard 2 enforce"
	if got := w.told(); got != want {
		t.Errorf("the ledger says %s\nwant             %s", got, want)
	}
	// the activation that did not come to pass is no step of the way back
	w.activate("guard", 2, filters.Placement{})
	if c, err := w.Rollback(t.Context(), acme, ada, "guard"); err != nil || c.Version != 1 {
		t.Errorf("%+v %v", c, err)
	}
}

func (f *faulty) breaks(table string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table = table
}

// TestAChangeUnderLoadFailsNoCall: versions and placements change under calls that never stop, and each is judged by one of them.
func TestAChangeUnderLoadFailsNoCall(t *testing.T) {
	w := newWorld(t, func(w *world) { w.builtIn = []filters.BuiltIn{{Name: "redact-secrets", Module: redact(w.t)}} })
	w.push(acme, "guard", denies("one"))
	w.push(acme, "guard", denies("two"))
	w.activate("guard", 1, filters.Placement{})
	ctx, stop := context.WithCancel(t.Context())
	var calls, wrong atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			shown, v := &abi.Context{Tenant: acme, Server: "mail", Tool: "send", Body: []byte(`{}`)}, abi.Verdict{}
			for ctx.Err() == nil {
				set, err := w.For(context.Background(), acme)
				if err != nil {
					wrong.Add(1)
					continue
				}
				for i := range set.Units {
					p := &set.Units[i]
					if p.Shadow() {
						p.Try(shown)
					} else if err := p.Decide(context.Background(), shown, &v); err != nil || p.Name() == "guard" && v.Kind != abi.Deny {
						t.Log(err)
						wrong.Add(1)
					}
				}
				set.Release()
				calls.Add(1)
			}
		})
	}
	for i := range 12 {
		w.activate("guard", uint64(2-i%2), filters.Placement{})
		if i%3 == 0 {
			if _, err := w.Shadow(t.Context(), acme, ada, "guard", uint64(1+i%2), filters.Placement{}); err != nil {
				t.Error(err)
			}
		}
	}
	stop()
	all.Wait()
	if wrong.Load() > 0 || calls.Load() < 100 {
		t.Errorf("%d of %d calls went wrong", wrong.Load(), calls.Load())
	}
}

// TestWhatCallsStillHaveIsNotLoadedAgain: back to what was in force while a call of then goes on.
func TestWhatCallsStillHaveIsNotLoadedAgain(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.push(acme, "guard", denies("two"))
	w.activate("guard", 1, filters.Placement{})
	get := func() *filters.Set {
		set, err := w.For(t.Context(), acme)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	long := get()
	w.activate("guard", 2, filters.Placement{})
	w.activate("guard", 1, filters.Placement{})
	now := get()
	if now.Units[0].Unit != long.Units[0].Unit {
		t.Error("the same filter is loaded twice")
	}
	long.Release()
	now.Release()
	w.inForce("guard deny one")
	w.activate("guard", 2, filters.Placement{})
	w.inForce("guard deny two")
}

// TestAFilterInShadowIsCountedAndNeverObeyed: whatever it does.
func TestAFilterInShadowIsCountedAndNeverObeyed(t *testing.T) {
	w := newWorld(t, func(w *world) { w.judging.Wasm.Traps = 1 << 20 })
	modules := map[string][]byte{
		"deny": denies("no"), "trap": traps(), "label": module(`{"verdict":"pass","labels":["pii"]}`, nil), "rewrite": module(`{"verdict":"rewrite","arguments":{}}`, nil),
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		w.push(acme, name, modules[name])
		if _, err := w.Shadow(t.Context(), acme, ada, name, 1, filters.Placement{}); err != nil {
			t.Fatal(err)
		}
	}
	w.inForce("(deny), (label), (rewrite), (trap)")
	for name, got := range map[string]func(filters.Stats) uint64{
		"deny": func(s filters.Stats) uint64 { return s.Denied }, "label": func(s filters.Stats) uint64 { return s.Labelled },
		"rewrite": func(s filters.Stats) uint64 { return s.Rewritten }, "trap": func(s filters.Stats) uint64 { return s.Traps[wasm.TrapUnreachable] },
	} {
		w.eventually(func() string {
			f, err := w.Filter(t.Context(), acme, name)
			if err != nil || f.Enforced != nil || f.Tried == nil || f.Versions[0].State != filters.Shadow {
				return fmt.Sprintf("%s: %+v %v", name, f, err)
			}
			if got(f.Tried.Stats) != 1 || f.Tried.Stats.Calls() != 1 {
				return fmt.Sprintf("%s: %+v", name, f.Tried.Stats)
			}
			lines, err := w.Logs(t.Context(), acme, name, 10)
			if err != nil || len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1].Text, "shadow: ") {
				return fmt.Sprintf("%s: %+v %v", name, lines, err)
			}
			return ""
		})
	}
}

// TestAShadowThatIsBehindHoldsNobodyUp: calls pass it over.
func TestAShadowThatIsBehindHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "slow", module(`{"verdict":"pass"}`, spin(300_000)))
	if _, err := w.Shadow(t.Context(), acme, ada, "slow", 1, filters.Placement{}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 500 {
		w.ask(acme, "mail", "send")
	}
	took := time.Since(begun)
	w.eventually(func() string {
		f, err := w.Filter(t.Context(), acme, "slow")
		if s := f.Tried.Stats; err != nil || s.Skipped == 0 || s.Skipped+s.Calls() != 500 {
			return fmt.Sprintf("%+v %v", s, err)
		}
		return ""
	})
	if took > 200*time.Millisecond {
		t.Errorf("500 calls took %v", took)
	}
}

// spin counts down from n.
func spin(n int64) []byte {
	return slices.Concat(constant32(n), []byte{0x21, 0, 0x03, 0x40, 0x20, 0}, constant32(1), []byte{0x6b, 0x22, 0, 0x0d, 0, 0x0b})
}

func (w *world) eventually(what func() string) {
	w.t.Helper()
	text := "never asked"
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if text = what(); text == "" {
			return
		}
	}
	w.t.Error(text)
}

// TestABrokenFilterRefusesAndRaisesOneAlarm: the breaker opens, the list shows it, and the ledger has it once.
func TestABrokenFilterRefusesAndRaisesOneAlarm(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", traps())
	w.activate("guard", 1, filters.Placement{})
	for range 9 {
		if got := w.ask(acme, "mail", "send"); !strings.Contains(got, "unreachable") && !strings.Contains(got, "broken") {
			t.Errorf("asked: %q", got)
		}
	}
	if got := w.ask(acme, "mail", "send"); !strings.Contains(got, "broken") {
		t.Errorf("not broken: %q", got)
	}
	f, err := w.Filter(t.Context(), acme, "guard")
	if err != nil || !f.Enforced.Stats.Broken || f.Enforced.Stats.Breaks != 1 || f.Enforced.Stats.LastTrap == "" {
		t.Errorf("%+v %v", f.Enforced, err)
	}
	w.eventually(func() string {
		if n := strings.Count(w.told(), "alarm guard 1 enforce"); n != 1 {
			return fmt.Sprintf("%d alarms", n)
		}
		return ""
	})
	traps, calls := 0.0, uint64(0)
	w.Each(func(tenant, name string, shadow bool, s filters.Stats) {
		if tenant == acme && name == "guard" && !shadow {
			traps, calls = float64(s.Traps[wasm.TrapUnreachable]), s.Calls()
		}
	})
	if traps != 5 || calls != 10 {
		t.Errorf("%v traps of %d calls", traps, calls)
	}
}

// TestOneTenantsQuotaIsNotAnothers: fuel, calls at once and memory are refused beyond their bound, as a trap of the kind quota.
func TestOneTenantsQuotaIsNotAnothers(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Quota.FuelPerSecond = 400_000 })
	for _, tenant := range []string{acme, other} {
		w.push(tenant, "slow", module(`{"verdict":"pass"}`, spin(100_000)))
		if _, err := w.Activate(t.Context(), tenant, ada, "slow", 1, filters.Placement{}); err != nil {
			t.Fatal(err)
		}
	}
	over := ""
	for range 50 {
		if got := w.ask(acme, "mail", "send"); got != "slow pass" {
			over = got
			break
		}
	}
	if !strings.Contains(over, "quota") {
		t.Errorf("never over the quota: %q", over)
	}
	if got := w.ask(other, "mail", "send"); got != "slow pass" {
		t.Errorf("another tenant: %q", got)
	}
}

func TestMemoryOfATenantIsBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Quota.Memory = 3 << 20 })
	big := func(reason string) []byte {
		text := fmt.Sprintf(`{"verdict":"deny","reason":%q}`, reason)
		return assemble(32, constant64(1024<<32|int64(len(text))), text)
	}
	w.push(acme, "a", big("a"))
	w.push(acme, "b", big("b"))
	w.activate("a", 1, filters.Placement{})
	_, err := w.Activate(t.Context(), acme, ada, "b", 1, filters.Placement{})
	if got := w.ask(acme, "mail", "send"); err == nil && !strings.Contains(got, "quota") {
		t.Errorf("4 MiB in 3 MiB: %q", got)
	}
}

// TestLogsAreOneTenantsAndBounded: what a filter saw stays with its tenant.
func TestLogsAreOneTenantsAndBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.LogLines = 3 })
	w.push(acme, "spy", logsAll())
	w.push(other, "spy", denies("no"))
	w.activate("spy", 1, filters.Placement{})
	for i := range 5 {
		w.ask(acme, "mail", fmt.Sprint("tool", i))
	}
	lines, err := w.Logs(t.Context(), acme, "spy", 100)
	if err != nil || len(lines) != 3 || lines[2].Number != lines[0].Number+2 || lines[0].Version != 1 || lines[0].Level != "info" {
		t.Errorf("%+v %v", lines, err)
	}
	if !strings.HasPrefix(lines[0].Text, `{"abi":1`) {
		t.Errorf("line %q", lines[0].Text)
	}
	if last, err := w.Logs(t.Context(), acme, "spy", 1); err != nil || len(last) != 1 || last[0] != lines[2] {
		t.Errorf("%+v %v", last, err)
	}
	if theirs, err := w.Logs(t.Context(), other, "spy", 100); err != nil || len(theirs) != 0 {
		t.Errorf("another tenant reads %+v %v", theirs, err)
	}
	if strings.Contains(w.log.String(), "abi") {
		t.Error("the gateway's log holds what a call held")
	}
}

// TestRealFilterIsJudgedByItsVectors: the one that ships with the gateway, as a tenant would upload it.
func TestRealFilterIsJudgedByItsVectors(t *testing.T) {
	w := newWorld(t)
	vectors, err := filters.ParseVectors([]byte(`{"vectors":[
		{"name":"a key","tool":"send","arguments":{"text":"AKIAIOSFODNN7EXAMPLE"},"want":{"verdict":"rewrite"}},
		{"name":"nothing","arguments":{"text":"hello"},"want":{"verdict":"pass","labels":[]}},
		{"name":"an answer","phase":"response","result":{"content":[]},"want":{"verdict":"pass"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	v := w.push(acme, "redact", redact(t), vectors...)
	if !v.Response || v.Memory == 0 || v.Fuel == 0 {
		t.Errorf("%+v", v)
	}
	w.activate("redact", 0, filters.Placement{Direction: "response"})
	w.inForce("")
	w.activate("redact", 0, filters.Placement{Config: json.RawMessage(`{"deny": true}`)})
	set, err := w.For(t.Context(), acme)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Release()
	var got abi.Verdict
	shown := &abi.Context{Tenant: acme, Tool: "send", Body: []byte(`{"text":"AKIAIOSFODNN7EXAMPLE"}`)}
	if err := set.Units[0].Decide(t.Context(), shown, &got); err != nil || got.Kind != abi.Deny {
		t.Errorf("%v %v", got.Kind, err)
	}
	if _, err := w.Activate(t.Context(), acme, ada, "redact", 0, filters.Placement{Config: json.RawMessage(`{"no such":1}`)}); err == nil {
		t.Error("a config that gw_init refuses is in force")
	}
}

func TestForAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", passes())
	w.activate("guard", 1, filters.Placement{Servers: []string{"mail"}, Tools: []string{"send*"}})
	n := testing.AllocsPerRun(1000, func() {
		set, err := w.For(context.Background(), acme)
		if err != nil || !set.Units[0].Asked(abi.Request, "mail", "sends") || set.Units[0].Asked(abi.Request, "mail", "read") {
			t.Fatal(err)
		}
		set.Release()
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAShadowTakesNothingFromWhatIsEnforced: it has a quota of its own, and uses that up.
func TestAShadowTakesNothingFromWhatIsEnforced(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Quota.FuelPerSecond = 2_000_000 })
	w.push(acme, "cheap", denies("no"))
	w.activate("cheap", 1, filters.Placement{})
	w.push(acme, "dear", module(`{"verdict":"pass"}`, spin(300_000)))
	if _, err := w.Shadow(t.Context(), acme, ada, "dear", 1, filters.Placement{}); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() string {
		if got := w.ask(acme, "mail", "send"); got != "cheap deny no, (dear)" {
			t.Fatalf("asked: %q", got)
		}
		f, err := w.Filter(t.Context(), acme, "dear")
		if err != nil || f.Tried.Stats.Traps[wasm.TrapQuota] == 0 {
			return fmt.Sprintf("the shadow is never over its quota: %+v %v", f.Tried.Stats, err)
		}
		return ""
	})
}

// TestAStepThatDidNotComeToPassIsPassedOver: the way back skips what is in force, and goes on to what was before.
func TestAStepThatDidNotComeToPassIsPassedOver(t *testing.T) {
	w := newWorld(t)
	for _, reason := range []string{"one", "two", "three"} {
		w.push(acme, "guard", denies(reason))
	}
	w.activate("guard", 1, filters.Placement{})
	w.activate("guard", 2, filters.Placement{})
	w.fail = func(r *ledger.Record) bool { return r.Kind == ledger.Bundle }
	if _, err := w.Activate(t.Context(), acme, ada, "guard", 3, filters.Placement{}); err == nil {
		t.Error("activated without the bundle's record")
	}
	w.fail = nil
	if c, err := w.Rollback(t.Context(), acme, ada, "guard"); err != nil || c.Version != 1 {
		t.Errorf("%+v %v", c, err)
	}
	w.inForce("guard deny one")
}
