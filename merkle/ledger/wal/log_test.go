package wal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func TestAUseIsSpentOnceAlsoAfterRestart(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	id := admit(t, l, "acme", use("p", 0, 1))
	if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("p", 0, 1)); !errors.Is(err, wal.ErrUsed) {
		t.Fatal("a second use was let through:", err)
	}
	settle(t, l, "acme", id, ledger.OutcomeOK)
	shut(t, l)
	l = open(t, o)
	if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("p", 0, 1)); !errors.Is(err, wal.ErrUsed) {
		t.Fatal("a use came back after a restart:", err)
	}
	if n := l.Used(plan("p"), 0); n != 1 {
		t.Fatal("used", n)
	}
	if l.Boot() != 2 {
		t.Fatal("boot", l.Boot())
	}
	shut(t, l)
	if rep := mustVerify(t, o); rep.Records != 2 || rep.Open != 0 {
		t.Fatalf("%+v", rep)
	}
}

func TestASettledCallGivesNoUseBackWhateverItsOutcome(t *testing.T) {
	l := open(t, options(t.TempDir()))
	for _, outcome := range []string{
		ledger.OutcomeToolError, ledger.OutcomeUpstreamError, ledger.OutcomeWithheld, ledger.OutcomeUnknown,
	} {
		settle(t, l, "acme", admit(t, l, "acme", use(outcome, 0, 1)), outcome)
		if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use(outcome, 0, 1)); !errors.Is(err, wal.ErrUsed) {
			t.Fatal(outcome, err)
		}
		if l.Steps(plan(outcome))[0].Done {
			t.Fatal(outcome, "counts as done")
		}
	}
}

func TestOfSixtyFourRacersForOneUseExactlyOneWins(t *testing.T) {
	l := open(t, options(t.TempDir()))
	for round := range 20 {
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		u := use(string(rune('a'+round)), 3, 1)
		for range 64 {
			wg.Go(func() {
				switch _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), u); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, wal.ErrUsed):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 63 {
			t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
}

func TestAStepWaitsForTheStepsBeforeIt(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	late := func() error {
		_, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("p", 2, 1, 0, 1))
		return err
	}
	if err := late(); !errors.Is(err, wal.ErrOrder) {
		t.Fatal("nothing was done:", err)
	}
	a, b := admit(t, l, "acme", use("p", 0, 1)), admit(t, l, "acme", use("p", 1, 0))
	settle(t, l, "acme", a, ledger.OutcomeOK)
	if err := late(); !errors.Is(err, wal.ErrOrder) {
		t.Fatal("one was admitted and not settled:", err)
	}
	settle(t, l, "acme", b, ledger.OutcomeToolError)
	if err := late(); !errors.Is(err, wal.ErrOrder) {
		t.Fatal("one ended in an error:", err)
	}
	settle(t, l, "acme", admit(t, l, "acme", use("p", 1, 0)), ledger.OutcomeOK)
	shut(t, l)
	l = open(t, o)
	if err := late(); err != nil {
		t.Fatal("both are done:", err)
	}
	for _, after := range []int{-1, 7, 1 << 20} {
		if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("p", 3, 1, after)); err == nil {
			t.Fatal("after", after)
		}
	}
}

func TestAPlanOfAnotherTenantIsRefused(t *testing.T) {
	l := open(t, options(t.TempDir()))
	id := admit(t, l, "acme", use("p", 0, 0))
	if _, err := l.Admit(t.Context(), record("rival", ledger.Admitted), use("p", 0, 0)); !errors.Is(err, wal.ErrForeign) {
		t.Fatal(err)
	}
	r := record("rival", ledger.Settled)
	r.Of, r.Outcome = id, ledger.OutcomeOK
	if _, text, err := l.Settle(t.Context(), r, nil); !errors.Is(err, wal.ErrNotOpen) || text != nil {
		t.Fatal(err)
	}
	if l.Steps(plan("p"))[0].Done {
		t.Fatal("another tenant settled the step")
	}
}

func TestAnIDThatIsOpenIsNotAdmittedAgain(t *testing.T) {
	l := open(t, options(t.TempDir()))
	id := admit(t, l, "acme", use("p", 0, 0))
	r := record("acme", ledger.Admitted)
	r.ID = id
	if _, err := l.Admit(t.Context(), r, use("q", 0, 1)); !errors.Is(err, ledger.ErrRecord) {
		t.Fatal(err)
	}
	if l.Used(plan("q"), 0) != 0 {
		t.Fatal("a refused use was counted")
	}
}

func TestTheFirstKeyMayLeaveTheMachine(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 4 << 10
	l := open(t, o)
	first := k0(t, o)
	for range 30 {
		if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, l)
	remove(t, o.RootKeyFile)
	running, err := os.ReadFile(o.ChainKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	epoch, _, err := wal.ParseChainKey(running)
	if err != nil || epoch == 0 || bytes.Contains(running, []byte(hex.EncodeToString(first))) {
		t.Fatal("the running key file still tells k_0", epoch, err)
	}
	l = open(t, o)
	admit(t, l, "acme", use("p", 0, 1))
	shut(t, l)
	rep, err := publish.Verify(t.Context(), o.Dir, publish.VerifyOptions{Keys: pinned(t), K0: first})
	if err != nil || !rep.Chain {
		t.Fatalf("%+v %v", rep, err)
	}
	first[0] ^= 1
	if _, err := publish.Verify(t.Context(), o.Dir, publish.VerifyOptions{Keys: pinned(t), K0: first}); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal("another k_0 verifies:", err)
	}
}

func TestOnlyAnOpenCallSettlesAndOnlyOnce(t *testing.T) {
	l := open(t, options(t.TempDir()))
	id := admit(t, l, "acme", use("p", 0, 1))
	settle(t, l, "acme", id, ledger.OutcomeToolError)
	for _, of := range []string{id, "", "rec_00000000000000000000000000"} {
		r := record("acme", ledger.Settled)
		r.Of, r.Outcome = of, ledger.OutcomeOK
		if _, _, err := l.Settle(t.Context(), r, nil); !errors.Is(err, wal.ErrNotOpen) {
			t.Fatalf("%q: %v", of, err)
		}
	}
	if l.Steps(plan("p"))[0].Done {
		t.Fatal("a second settlement changed the outcome")
	}
}

func TestAnExpiredPlanIsRefusedAlsoWhenTheClockGoesBack(t *testing.T) {
	o := options(t.TempDir())
	var now atomic.Int64
	now.Store(1_800_000_000)
	o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	l := open(t, o)
	u := wal.Use{Plan: plan("p"), Max: 1, Expires: now.Load() + 10}
	admit(t, l, "acme", u)
	now.Add(100)
	for i := range 1100 { // enough new plans for a sweep of the expired
		admit(t, l, "acme", wal.Use{Plan: plan(string(rune(0x4e00 + i))), Max: 1, Expires: now.Load() + 1000})
	}
	if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), u); !errors.Is(err, wal.ErrExpired) {
		t.Fatal(err)
	}
	if n := l.Used(u.Plan, 0); n != 0 {
		t.Fatal("the plan was never swept; the test shows nothing")
	}
	now.Add(-200)
	if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), u); !errors.Is(err, wal.ErrExpired) {
		t.Fatal("its use came back with the clock:", err)
	}
}

func TestRecordsThatMustNotBeWrittenAreRefused(t *testing.T) {
	l := open(t, options(t.TempDir()))
	for name, spoil := range map[string]func(*ledger.Record){
		"no tenant":           func(r *ledger.Record) { r.Tenant = "" },
		"tenant of dots":      func(r *ledger.Record) { r.Tenant = "../acme" },
		"foreign id":          func(r *ledger.Record) { r.ID = "rec_1" },
		"no kind":             func(r *ledger.Record) { r.Kind = 0 },
		"kind off the list":   func(r *ledger.Record) { r.Kind = 99 },
		"inexact integer":     func(r *ledger.Record) { r.Micros = 1 << 53 },
		"body not an object":  func(r *ledger.Record) { r.Body = []byte("[1]") },
		"duplicate in body":   func(r *ledger.Record) { r.Body = []byte(`{"a":1,"a":2}`) },
		"leaf too large":      func(r *ledger.Record) { r.Detail = string(make([]byte, ledger.MaxLeaf)) },
		"side too large":      func(r *ledger.Record) { r.Side = make([]byte, ledger.MaxSide+1) },
		"larger than segment": func(r *ledger.Record) { r.Side = make([]byte, 64<<10) },
		"step past admission": func(r *ledger.Record) { r.Kind, r.Plan = ledger.Admitted, plan("p") },
	} {
		r := record("acme", ledger.Admin)
		spoil(r)
		if _, err := l.Append(t.Context(), r); err == nil {
			t.Error(name, "was written")
		}
	}
	if l.Size("acme") != 0 {
		t.Fatal("something was written")
	}
}

func TestScanReturnsOneTenantsRecordsOnly(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	for i := range 600 { // over several segments
		tenant := []string{"acme", "rival"}[i%2]
		r := record(tenant, ledger.Admin)
		r.Side = []byte(tenant)
		m, err := l.Append(t.Context(), r)
		if err != nil || m.Index != uint64(i/2) || m.Tenant != tenant {
			t.Fatal(m, err)
		}
	}
	check := func() {
		all, err := l.Scan(t.Context(), "acme", 0, 1000)
		if err != nil || len(all) != 300 {
			t.Fatal(len(all), err)
		}
		for i := range all {
			r, err := all[i].Record()
			if err != nil || r.Tenant != "acme" || string(r.Side) != "acme" || all[i].Index != uint64(i) {
				t.Fatal(i, r.Tenant, err)
			}
		}
	}
	check()
	if _, err := l.Scan(t.Context(), "nobody", 0, 1); !errors.Is(err, wal.ErrTenant) {
		t.Fatal(err)
	}
	if past, err := l.Scan(t.Context(), "acme", 300, 5); err != nil || len(past) != 0 {
		t.Fatal(past, err)
	}
	shut(t, l)
	l = open(t, o)
	check()
	shut(t, l)
	if rep := mustVerify(t, o); rep.Records != 600 || rep.Segments < 4 {
		t.Fatalf("%+v", rep)
	}
}

func TestCallsAnEarlierBootLeftOpenAreSettledAsUnknown(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	o := options(dir)
	l := open(t, o)
	ids := []string{admit(t, l, "acme", use("p", 0, 1)), admit(t, l, "rival", use("q", 0, 1))}
	settle(t, l, "acme", admit(t, l, "acme", use("p", 1, 1)), ledger.OutcomeOK)
	copyTree(t, dir, crashed)
	o = options(crashed)
	l = open(t, o)
	for i, tenant := range []string{"acme", "rival"} {
		all, err := l.Scan(t.Context(), tenant, l.Size(tenant)-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		r, err := all[0].Record()
		if err != nil || r.Kind != ledger.Settled || r.Of != ids[i] || r.Outcome != ledger.OutcomeUnknown || r.Boot != 2 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	if l.Stats().Open != 0 {
		t.Fatal("still open")
	}
}

func TestEveryReceiptOfABatchVerifiesAndNamesTheTreesLeaf(t *testing.T) {
	l := open(t, options(t.TempDir()))
	type pair struct {
		mark wal.Mark
		text []byte
	}
	got := make(chan pair, 256)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 4 {
				r := record("acme", ledger.Refused)
				m, text, err := l.Settle(t.Context(), r, []byte("kept"))
				if err != nil {
					t.Error(err)
				}
				got <- pair{m, text}
			}
		})
	}
	wg.Wait()
	close(got)
	shared := false
	for p := range got {
		rc, err := ledger.ParseReceipt(bytes.TrimPrefix(p.text, []byte("kept")))
		if err != nil || !bytes.HasPrefix(p.text, []byte("kept")) {
			t.Fatal(err)
		}
		if err := rc.Verify(pinned(t)); err != nil {
			t.Fatal(err)
		}
		shared = shared || rc.Size > 2
		all, err := l.Scan(t.Context(), "acme", p.mark.Index, 1)
		if err != nil || all[0].Leaf != p.mark.Leaf || rc.LeafHash() != p.mark.Leaf || !bytes.Equal(all[0].Data, rc.Leaf) {
			t.Fatal("receipt and tree speak of two things", err)
		}
	}
	if !shared {
		t.Fatal("no batch of more than two was signed; the test shows nothing")
	}
}

func TestALogGoesOnWhenItsLastKeyIsAlreadyGone(t *testing.T) {
	// The process died after the next key was stored and before a record used it.
	for _, torn := range []bool{false, true} {
		dir, copied := t.TempDir(), t.TempDir()
		l := open(t, options(dir))
		admit(t, l, "acme", use("p", 0, 1))
		end := wal.Tip(l)
		copyTree(t, dir, copied)
		o := options(copied)
		if torn {
			damage(t, segment(o, 0), func(b []byte) { copy(b[end:], "half a frame") })
		}
		if err := os.WriteFile(o.ChainKeyFile, wal.NextKey(k0(t, o)), 0o600); err != nil {
			t.Fatal(err)
		}
		l = open(t, o)
		if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("p", 0, 1)); !errors.Is(err, wal.ErrUsed) {
			t.Fatal(err)
		}
		shut(t, l)
		if rep := mustVerify(t, o); rep.Segments != 2 {
			t.Fatalf("%+v", rep)
		}
	}
}

func TestAClosedLogRefuses(t *testing.T) {
	l := open(t, options(t.TempDir()))
	shut(t, l)
	if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); !errors.Is(err, wal.ErrClosed) {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Ready || !errors.Is(s.Err, wal.ErrClosed) {
		t.Fatalf("%+v", s)
	}
}
