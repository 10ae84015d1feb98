package filters_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// TestALifeFromUploadToRollback is what a tenant does, over a restart.
func TestALifeFromUploadToRollback(t *testing.T) {
	w := newWorld(t)
	var steps []filters.Stage
	v, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "guard", Module: denies("one")}, func(s filters.Step) {
		if !s.OK {
			t.Errorf("%+v", s)
		}
		steps = append(steps, s.Stage)
	})
	if err != nil || v.Number != 1 || v.State != filters.Idle || v.Dialect != "gw" || v.Class != "small" || v.By != ada || v.Fuel == 0 {
		t.Fatalf("%+v %v", v, err)
	}
	if !slices.Equal(steps, filters.Stages()) {
		t.Errorf("steps %v", steps)
	}
	w.inForce("")
	if c, err := w.Shadow(t.Context(), acme, ada, "guard", 1, filters.Placement{}); err != nil || c.Mode != "shadow" || c.Revision != 2 {
		t.Errorf("%+v %v", c, err)
	}
	w.inForce("(guard)")
	w.activate("guard", 1, filters.Placement{})
	w.inForce("guard deny one")
	w.push(acme, "guard", denies("two"))
	w.activate("guard", 2, filters.Placement{})
	w.inForce("guard deny two")
	w.restart()
	w.inForce("guard deny two")
	if c, err := w.Rollback(t.Context(), acme, ada, "guard"); err != nil || c.Version != 1 {
		t.Errorf("%+v %v", c, err)
	}
	w.inForce("guard deny one")
	if _, err := w.Rollback(t.Context(), acme, ada, "guard"); !errors.Is(err, filters.ErrState) {
		t.Errorf("nothing is left: %v", err)
	}
	if _, err := w.Remove(t.Context(), acme, ada, "guard"); err != nil {
		t.Error(err)
	}
	w.inForce("")
	if _, err := w.Rollback(t.Context(), acme, ada, "guard"); err != nil {
		t.Error(err)
	}
	w.inForce("guard deny one")
	want := "upload guard 1, shadow guard 1 shadow, activate guard 1 enforce, upload guard 2, activate guard 2 enforce, rollback guard 1 enforce, remove guard enforce, rollback guard 1 enforce"
	if got := w.told(); got != want {
		t.Errorf("the ledger says %s\nwant             %s", got, want)
	}
	if r := w.bundles.History(acme); r[0].By.User != ada.User || r[0].Source.Kind != bundles.API {
		t.Errorf("%+v", r[0])
	}
}

func TestARollbackOfTheBundleRollsItsFiltersBack(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.push(acme, "guard", denies("two"))
	w.activate("guard", 1, filters.Placement{})
	w.activate("guard", 2, filters.Placement{})
	for _, want := range []string{"guard deny one", ""} {
		if _, err := w.bundles.Rollback(t.Context(), acme, bundles.Actor{}); err != nil {
			t.Fatal(err)
		}
		w.inForce(want)
	}
}

// TestABundleNamesOnlyWhatItsTenantUploaded: another's digest, an unknown one and a rejected one are refused, and what was in
// force stays.
func TestABundleNamesOnlyWhatItsTenantUploaded(t *testing.T) {
	w := newWorld(t)
	theirs := w.push(other, "guard", denies("theirs"))
	mine := w.push(acme, "guard", denies("mine"))
	w.activate("guard", 1, filters.Placement{})
	_, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "bad", Module: module(`{"verdict":"perhaps"}`, nil)}, nil)
	rejection, ok := errors.AsType[*filters.Rejection](err)
	if !ok || rejection.Stage != filters.SelfTest {
		t.Fatalf("%v", err)
	}
	gone, err := w.Rejections(t.Context(), acme)
	if err != nil || len(gone) != 1 || gone[0].Rejection.Stage != filters.SelfTest {
		t.Fatalf("%+v %v", gone, err)
	}
	for name, c := range map[string]struct{ section, hint string }{
		"another tenant's": {`[{"name":"guard","digest":"` + digestOf(theirs) + `"}]`, "filter push guard FILE"},
		"unknown":          {`[{"name":"guard","digest":"sha256:` + strings.Repeat("a", 64) + `"}]`, "filter push guard FILE"},
		"rejected":         {`[{"name":"bad","digest":"` + digestOf(gone[0]) + `"}]`, "was rejected"},
		"another name's":   {`[{"name":"card","digest":"` + digestOf(mine) + `"}]`, "uploaded as guard"},
		"twice":            {`[{"name":"guard","digest":"` + digestOf(mine) + `"},{"name":"guard","digest":"` + digestOf(mine) + `"}]`, "once in each mode"},
	} {
		files := bundle(t, c.section)
		if _, err := w.bundles.Push(t.Context(), acme, bundles.Actor{}, files); !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: pushed: %v", name, err)
		}
		if b, err := policies.NewBundle(files); err == nil {
			if err := w.bundles.Offer(t.Context(), acme, bundles.Actor{}, b, bundles.Source{Kind: bundles.Git}, true); !errors.Is(err, bundles.ErrFilters) {
				t.Errorf("%s: offered: %v", name, err)
			}
		}
		w.inForce("guard deny mine")
	}
	files := bundle(t, `[{"name":"guard","digest":"`+digestOf(mine)+`","direction":"request","tools":["send*"]}]`)
	r, err := w.bundles.Push(t.Context(), acme, bundles.Actor{}, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, r.Number, policies.Mode{}); err != nil || w.ask(acme, "mail", "sends") == "" || w.ask(acme, "mail", "read") != "" {
		t.Errorf("%v; %q, %q", err, w.ask(acme, "mail", "sends"), w.ask(acme, "mail", "read"))
	}
}

// TestABundleThatWaitsForItsFiltersComesIntoForceWithThem: a folder may be ahead of the uploads.
func TestABundleThatWaitsForItsFiltersComesIntoForceWithThem(t *testing.T) {
	w := newWorld(t)
	v := w.push(other, "guard", denies("one"))
	b, err := policies.NewBundle(bundle(t, `[{"name":"guard","digest":"`+digestOf(v)+`"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.bundles.Offer(t.Context(), acme, bundles.Actor{}, b, bundles.Source{Kind: bundles.Folder}, false); !errors.Is(err, bundles.ErrFilters) {
		t.Fatal(err)
	}
	w.inForce("")
	if w.bundles.Alarm(acme) == "" {
		t.Error("no alarm")
	}
	w.push(acme, "guard", denies("one"))
	w.inForce("guard deny one")
	if a := w.bundles.Alarm(acme); a != "" {
		t.Errorf("alarm %q", a)
	}
}

func TestATriedBundleHasTheFiltersOfTheEnforcedOne(t *testing.T) {
	w := newWorld(t)
	v := w.push(acme, "guard", denies("one"))
	r, err := w.bundles.Push(t.Context(), acme, bundles.Actor{}, bundle(t, `[{"name":"guard","digest":"`+digestOf(v)+`"}]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []policies.Mode{{Shadow: true}, {Canary: 10}} {
		if _, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, r.Number, m); !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), "filter shadow") {
			t.Errorf("%+v: %v", m, err)
		}
	}
	files := bundle(t, `[]`)
	r, err = w.bundles.Push(t.Context(), acme, bundles.Actor{}, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, r.Number, policies.Mode{Shadow: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Activate(t.Context(), acme, ada, "guard", 1, filters.Placement{}); !errors.Is(err, filters.ErrState) || !strings.Contains(err.Error(), "policy rollback") {
		t.Errorf("changed beside a trial: %v", err)
	}
}

func TestWhereBundlesAreSignedTheGatewayChangesNone(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.keys = ledger.VerifierKeys{{Name: "release"}}
	for name, err := range map[string]error{
		"activate": second(w.Activate(t.Context(), acme, ada, "guard", 1, filters.Placement{})),
		"shadow":   second(w.Shadow(t.Context(), acme, ada, "guard", 1, filters.Placement{})),
		"remove":   second(w.Remove(t.Context(), acme, ada, "guard")),
		"rollback": second(w.Rollback(t.Context(), acme, ada, "guard")),
	} {
		if !errors.Is(err, filters.ErrSigned) || !strings.Contains(err.Error(), "policy sign") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.inForce("")
}

func second[T any](_ T, err error) error { return err }

// TestBadModulesAreRejectedWithWhatToChange: each says the stage, and nothing of them is kept.
func TestBadModulesAreRejectedWithWhatToChange(t *testing.T) {
	w := newWorld(t, func(w *world) { w.judging.Wasm.InitFuel = 1_000_000 })
	good := denies("x")
	for name, c := range map[string]struct {
		module  []byte
		config  string
		vectors []filters.Vector
		stage   filters.Stage
	}{
		"no module":      {module: []byte("hello"), stage: filters.Scan},
		"truncated":      {module: good[:len(good)-9], stage: filters.Scan},
		"trailing bytes": {module: append(slices.Clone(good), 1, 2, 3), stage: filters.Scan},
		"huge":           {module: append(slices.Clone(good), make([]byte, 9<<20)...), stage: filters.Scan},
		"huge counts":    {module: append(slices.Clone(good[:8]), 2, 5, 0xff, 0xff, 0xff, 0xff, 0x0f), stage: filters.Scan},
		"memory":         {module: assemble(4097, constant64(0), "x"), stage: filters.Scan},
		"endless":        {module: module(`{"verdict":"pass"}`, []byte{0x03, 0x40, 0x0c, 0, 0x0b}), stage: filters.SelfTest},
		"no verdict":     {module: assemble(1, constant64(0), "x"), stage: filters.SelfTest},
		"wild pointer":   {module: assemble(1, constant64(-1), "x"), stage: filters.SelfTest},
		"another verdict": {module: good, stage: filters.SelfTest, vectors: []filters.Vector{
			{Name: "lets mail through", Tool: "send", Want: filters.Want{Verdict: "pass"}},
		}},
		"another reason": {module: good, stage: filters.SelfTest, vectors: []filters.Vector{{Want: filters.Want{Verdict: "deny", Reason: "y"}}}},
	} {
		var last filters.Step
		u := filters.Upload{Name: "bad", Module: c.module, Vectors: c.vectors}
		_, err := w.Upload(t.Context(), acme, ada, u, func(s filters.Step) { last = s })
		r, ok := errors.AsType[*filters.Rejection](err)
		if !ok || !errors.Is(err, filters.ErrRejected) || r.Stage != c.stage || r.Hint == "" || r.Reason == "" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if last.Stage != c.stage || last.OK {
			t.Errorf("%s: the last step is %+v", name, last)
		}
		if c.stage == filters.Scan && r.Offset < 0 {
			t.Errorf("%s: no place in %v", name, err)
		}
	}
	if list, err := w.List(t.Context(), acme); err != nil || len(list) != 0 {
		t.Errorf("kept %+v %v", list, err)
	}
	if rows := w.rows(acme, "filter_modules"); rows != 0 {
		t.Errorf("%d pieces of modules kept", rows)
	}
	if got := strings.Count(w.told(), "reject bad"); got != 11 {
		t.Errorf("the ledger has %d rejections", got)
	}
	// what was rejected for its vectors is let in with others
	if v := w.push(acme, "bad", good); v.Number != 1 {
		t.Errorf("%+v", v)
	}
}

// rows counts a tenant's rows of a table.
func (w *world) rows(tenant, table string) (n int) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), tenant, func(tx store.Txn) error {
		n = 0
		return tx.Scan(table, "", func(string, store.Value) error { n++; return nil })
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestTheSameBytesAreTheSameVersion(t *testing.T) {
	w := newWorld(t)
	v := w.push(acme, "guard", denies("one"))
	if again := w.push(acme, "guard", denies("one")); again.Number != v.Number || w.told() != "upload guard 1" {
		t.Errorf("%+v, %s", again, w.told())
	}
	if _, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "guard", Module: denies("one"), Config: []byte(`{"a":1}`)}, nil); !errors.Is(err, filters.ErrExists) {
		t.Errorf("another config: %v", err)
	}
	if twin := w.push(acme, "twin", denies("one")); twin.Number != 1 || w.rows(acme, "filter_modules") != 1 {
		t.Errorf("%+v, %d modules", twin, w.rows(acme, "filter_modules"))
	}
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); err != nil || w.rows(acme, "filter_modules") != 1 {
		t.Errorf("%v, %d modules", err, w.rows(acme, "filter_modules"))
	}
	if err := w.Delete(t.Context(), acme, ada, "twin", 1); err != nil || w.rows(acme, "filter_modules") != 0 {
		t.Errorf("%v, %d modules", err, w.rows(acme, "filter_modules"))
	}
	if next := w.push(acme, "guard", denies("one")); next.Number != 2 {
		t.Errorf("a number was given twice: %+v", next)
	}
}

func TestWhatIsInForceIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.activate("guard", 0, filters.Placement{})
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); !errors.Is(err, filters.ErrState) {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another tenant's": w.Delete(t.Context(), other, ada, "guard", 1),
		"no version":       w.Delete(t.Context(), acme, ada, "guard", 9),
		"their logs":       second(w.Logs(t.Context(), other, "guard", 9)),
		"their module":     second(w.Module(t.Context(), other, "guard", 1)),
		"their activation": second(w.Activate(t.Context(), other, ada, "guard", 1, filters.Placement{})),
	} {
		if !errors.Is(err, filters.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryBoundOfATenantRefuses: one more than allowed.
func TestEveryBoundOfATenantRefuses(t *testing.T) {
	small := len(denies("one"))
	w := newWorld(t, func(w *world) {
		w.cfg.Filters, w.cfg.Versions, w.cfg.Bytes, w.cfg.Uploads = 2, 2, int64(3*small), 6
	})
	up := func(name, reason string) error {
		return second(w.Upload(t.Context(), acme, ada, filters.Upload{Name: name, Module: denies(reason)}, nil))
	}
	for _, c := range []struct {
		name, reason, bound string
	}{{"a", "one", ""}, {"a", "two", ""}, {"a", "six", "max_versions"}, {"b", "ten", ""}, {"c", "one", "max_filters"}, {"b", "fourteen", "max_bytes"}} {
		err := up(c.name, c.reason)
		if c.bound == "" && err != nil || c.bound != "" && (!errors.Is(err, filters.ErrQuota) || !strings.Contains(err.Error(), c.bound)) {
			t.Errorf("%s %s: %v", c.name, c.reason, err)
		}
	}
	err := up("a", "one")
	if late, ok := errors.AsType[*filters.RateError](err); !ok || !errors.Is(err, filters.ErrRate) || late.After != time.Hour {
		t.Errorf("the seventh upload: %v", err)
	}
	w.mu.Lock()
	w.now = w.now.Add(time.Hour)
	w.mu.Unlock()
	if err := up("a", "one"); err != nil {
		t.Errorf("an hour later: %v", err)
	}
	if _, err := w.Upload(t.Context(), other, ada, filters.Upload{Name: "a", Module: denies("one")}, nil); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}

func TestAnUploadThatCannotBeIsRefusedBeforeItIsJudged(t *testing.T) {
	w := newWorld(t)
	for name, u := range map[string]filters.Upload{
		"no name":        {Module: passes()},
		"a path":         {Name: "../x", Module: passes()},
		"no module":      {Name: "a"},
		"a config list":  {Name: "a", Module: passes(), Config: []byte(`[]`)},
		"a large config": {Name: "a", Module: passes(), Config: []byte(`{"a":"` + strings.Repeat("x", 65<<10) + `"}`)},
		"many vectors":   {Name: "a", Module: passes(), Vectors: make([]filters.Vector, 65)},
		"odd vector":     {Name: "a", Module: passes(), Vectors: []filters.Vector{{Want: filters.Want{Verdict: "maybe"}}}},
		"odd phase":      {Name: "a", Module: passes(), Vectors: []filters.Vector{{Phase: "later"}}},
	} {
		if _, err := w.Upload(t.Context(), acme, ada, u, nil); !errors.Is(err, filters.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]filters.Placement{
		"empty list": {Servers: []string{}, Tools: []string{}}, "direction": {Direction: "up"}, "config": {Config: []byte(`3`)}, "position": {Position: -1}, "pattern": {Tools: []string{"a*b"}},
	} {
		w.push(acme, "guard", passes())
		if _, err := w.Activate(t.Context(), acme, ada, "guard", 1, p); !errors.Is(err, filters.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.inForce("")
}

func TestWithoutACompilerUploadsAreRefused(t *testing.T) {
	w := newWorld(t)
	judge, err := filters.NewJudge(t.Context(), filters.DefaultJudgeConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = judge.Close(context.Background()) }()
	s, err := filters.New(filters.DefaultConfig(), filters.Deps{Store: w.db, Record: w.record, Bundles: said{w}, Judge: judge, Now: w.clock, Log: logger(w)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), acme, ada, filters.Upload{Name: "a", Module: passes()}, nil); !errors.Is(err, filters.ErrUnavailable) {
		t.Error(err)
	}
}

// TestNobodyUploadsUnderTheNameOfABuiltInFilter, whether it is in force here or not: who reads a list or a record would take one for
// the other.
func TestNobodyUploadsUnderTheNameOfABuiltInFilter(t *testing.T) {
	w := newWorld(t, func(w *world) { w.builtIn = []filters.BuiltIn{{Name: "of-this-gateway", Module: redact(w.t)}} })
	for _, name := range []string{"redact-secrets", "of-this-gateway"} {
		_, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: name, Module: passes()}, nil)
		if !errors.Is(err, filters.ErrInvalid) || !strings.Contains(err.Error(), `"`+name+`"`) || !strings.Contains(err.Error(), "another name, such as my-"+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.push(acme, "my-redact-secrets", redact(t))
	if told := w.told(); told != "upload my-redact-secrets 1" {
		t.Error(told)
	}
}

func TestAFilterThatCannotLookAtAnswersIsNotPutWhereItWouldSeeThemAlone(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", passes())
	_, err := w.Activate(t.Context(), acme, ada, "guard", 1, filters.Placement{Direction: "response"})
	if err == nil || !strings.Contains(err.Error(), "gw_on_response") || !strings.Contains(err.Error(), "say request or both") {
		t.Errorf("activated: %v", err)
	}
	if f, err := w.Filter(t.Context(), acme, "guard"); err != nil || f.Enforced != nil {
		t.Errorf("in force: %+v, %v", f.Enforced, err)
	}
	if _, err := w.Shadow(t.Context(), acme, ada, "guard", 1, filters.Placement{Direction: "response"}); err == nil {
		t.Error("tried where it sees nothing")
	}
	w.activate("guard", 1, filters.Placement{Direction: "both"})
}

// TestBuiltInFiltersComeFirstAndOrderIsTheManifests: with placements.
func TestBuiltInFiltersComeFirstAndOrderIsTheManifests(t *testing.T) {
	w := newWorld(t, func(w *world) { w.builtIn = []filters.BuiltIn{{Name: "redact-secrets", Module: redact(w.t)}} })
	for _, name := range []string{"a", "b", "c"} {
		w.push(acme, name, module(`{"verdict":"deny","reason":"`+name+`"}`, nil))
	}
	w.activate("a", 1, filters.Placement{})
	w.activate("b", 1, filters.Placement{Position: 1, Servers: []string{"mail"}})
	w.activate("c", 1, filters.Placement{Position: 2, Tools: []string{"del*"}, Direction: "request"})
	for call, want := range map[[2]string]string{
		{"mail", "send"}:    "redact-secrets pass, b deny b, a deny a",
		{"mail", "delete"}:  "redact-secrets pass, b deny b, c deny c, a deny a",
		{"files", "delete"}: "redact-secrets pass, c deny c, a deny a",
	} {
		if got := w.ask(acme, call[0], call[1]); got != want {
			t.Errorf("%v: %q, want %q", call, got, want)
		}
	}
	if got := w.ask(other, "mail", "send"); got != "redact-secrets pass" {
		t.Errorf("another tenant: %q", got)
	}
	w.push(acme, "b", denies("b2"))
	w.activate("b", 2, filters.Placement{}) // stays where it was
	w.inForce("redact-secrets pass, b deny b2, a deny a")
	if w.ask(acme, "files", "x") != "redact-secrets pass, a deny a" {
		t.Errorf("a new version looks elsewhere: %q", w.ask(acme, "files", "x"))
	}
}

func TestADamagedModuleIsNotRun(t *testing.T) {
	w := newWorld(t)
	v := w.push(acme, "guard", denies("one"))
	w.activate("guard", 1, filters.Placement{})
	w.flip(acme, v)
	if _, err := w.Module(t.Context(), acme, "guard", 1); !errors.Is(err, filters.ErrDamaged) {
		t.Error(err)
	}
	w.restart()
	if _, ok := w.bundles.Current(acme); ok || !strings.Contains(w.bundles.Alarm(acme), "damaged") {
		t.Errorf("in force without its filter; alarm %q", w.bundles.Alarm(acme))
	}
	if _, ok := w.bundles.Current(other); !ok {
		t.Error("another tenant has nothing in force")
	}
}

// TestARollbackMeansTheConfigOfThen, also when the same bytes were deleted and uploaded with another one meanwhile.
func TestARollbackMeansTheConfigOfThen(t *testing.T) {
	w := newWorld(t)
	up := func(config string) {
		t.Helper()
		if _, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "guard", Module: denies("one"), Config: json.RawMessage(config)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	up(`{"rules": "strict"}`)
	w.activate("guard", 1, filters.Placement{})
	w.push(acme, "guard", denies("two"))
	w.activate("guard", 2, filters.Placement{})
	if f, err := w.Filter(t.Context(), acme, "guard"); err != nil || f.Enforced.Config != nil {
		t.Errorf("a version without a config is shown %q of the one before: %v", f.Enforced.Config, err)
	}
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); err != nil {
		t.Fatal(err)
	}
	up(`{"rules": "none"}`)
	if _, err := w.Rollback(t.Context(), acme, ada, "guard"); err != nil {
		t.Fatal(err)
	}
	if f, err := w.Filter(t.Context(), acme, "guard"); err != nil || !strings.Contains(string(f.Enforced.Config), `"strict"`) {
		t.Errorf("rolled back to %q, %v", f.Enforced.Config, err)
	}
}

// TestWhatIsNotSaidStaysAsItIs: who changes one thing about a filter in force does not mean it to look everywhere from now on.
func TestWhatIsNotSaidStaysAsItIs(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.activate("guard", 1, filters.Placement{Servers: []string{"mail"}, Direction: "request", Config: []byte(`{"a":1}`)})
	w.activate("guard", 1, filters.Placement{Tools: []string{"send"}})
	f, err := w.Filter(t.Context(), acme, "guard")
	if e := f.Enforced; err != nil || fmt.Sprintf("%v %v %s %s %d", e.Servers, e.Tools, e.Direction, place.Compact(e.Config), e.Position) != `[mail] [send] request {"a":1} 1` {
		t.Fatalf("%+v, %v", e, err)
	}
	w.activate("guard", 1, filters.Placement{Servers: []string{"*"}, Tools: []string{"*"}, Direction: "both"})
	if f, err = w.Filter(t.Context(), acme, "guard"); err != nil || f.Enforced.Servers != nil || f.Enforced.Tools != nil || f.Enforced.Direction != "both" {
		t.Errorf("%+v, %v", f.Enforced, err)
	}
	w.inForce("guard deny one")
}
