package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
)

// recorded gives the ledger a record of each agent, as of one that was removed since.
func (w *world) recorded(agents ...string) {
	w.t.Helper()
	for _, a := range agents {
		r := &ledger.Record{Tenant: demo, Kind: ledger.Refused, Step: -1, Agent: a, Server: "shop", Tool: "buy", Verdict: "deny"}
		_, err := w.log.Append(context.Background(), r)
		w.must(err)
	}
}

func TestAToolIsNamedWithItsServerEverywhereAlike(t *testing.T) {
	w := newWorld(t)
	w.recorded("agt_1")
	manager := w.byRole[identity.RoleManager]
	for _, path := range []string{auditPath + "?limit=5&", auditPath + "/stats?"} {
		for query, want := range map[string]int{"tool=shop/buy": 1, "server=shop&tool=shop/buy": 1, "server=shop&tool=buy": 1, "tool=/buy": 1, "tool=shop/sell": 0, "tool=shap/buy": 0} {
			a := w.call("GET", path+query, manager, "")
			var b struct {
				Items []any
				Total int
			}
			if err := json.Unmarshal([]byte(a.body), &b); err != nil || a.status != http.StatusOK || len(b.Items)+b.Total != want {
				t.Errorf("%s%s: %d %s", path, query, a.status, a.body)
			}
		}
		for _, query := range []string{"server=other&tool=shop/buy", "tool=shop/", "verdict=permit", "verdict=DENY"} {
			if a := w.call("GET", path+query, manager, ""); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s%s: %d %s", path, query, a.status, a.body)
			}
		}
	}
	a := w.call("POST", exportPath, manager, `{"format":"jsonl","filter":{"tool":"shop/buy"}}`)
	if rep := w.verifyExport(t, a.body); rep.Records != 40 || rep.Manifest.Filter.Server != "shop" || rep.Manifest.Filter.Tool != "buy" {
		t.Errorf("%+v", rep)
	}
	a = w.call("POST", absencePath, manager, `{"agent":"agt_1","tool":"shop/buy"}`)
	res, err := absence.Verify(t.Context(), strings.NewReader(a.body), ledger.VerifierKeys{w.shelf().signer.Public})
	if err != nil || res.Absent() || res.Calls != 40 {
		t.Errorf("%+v, %v", res, err)
	}
	for _, body := range []string{`"tool":"shop/buy/now"`, `"server":"other","tool":"shop/buy"`, `"tool":"shop/"`, `"tool":"b uy"`} {
		w.call("POST", absencePath, manager, `{"agent":"agt_1",`+body+`}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
	for _, body := range []string{`"verdict":"permit"`, `"outcome":"success"`, `"server":"other","tool":"shop/buy"`, `"to":9999`} {
		w.call("POST", exportPath, manager, `{"format":"jsonl","filter":{`+body+`}}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
}

func TestNobodyWhoNeverWasIsAskedAbout(t *testing.T) {
	w := newWorld(t)
	w.recorded("agt_gone")
	for _, body := range []string{`{"agent":"agt_nope"}`, `{"agent":"` + w.ids[other].agent + `"}`, `{"agent":"` + w.viewerUser + `"}`} {
		w.call("POST", absencePath, w.admin, body).refused(t, http.StatusNotFound, "not_found")
	}
	for _, body := range []string{
		`{"format":"jsonl","subject":"agt_nope"}`, `{"format":"jsonl","subject":"usr_nope"}`, `{"format":"jsonl","filter":{"agent":"agt_nope"}}`,
		`{"format":"jsonl","filter":{"user":"usr_nope"}}`, `{"format":"jsonl","subject":"` + w.ids[other].agent + `"}`,
	} {
		w.call("POST", exportPath, w.admin, body).refused(t, http.StatusNotFound, "not_found")
	}
	for _, agent := range []string{"agt_gone", w.agent} {
		if a := w.call("POST", absencePath, w.admin, `{"agent":"`+agent+`"}`); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", agent, a.status, a.body)
		}
	}
	for _, body := range []string{`{"format":"jsonl","subject":"` + w.agent + `"}`, `{"format":"jsonl","subject":"` + w.viewerUser + `"}`, `{"format":"jsonl","subject":"agt_gone"}`} {
		if a := w.call("POST", exportPath, w.admin, body); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestOneOrganisationsExportsKeepNobodyElseFromTheirs(t *testing.T) {
	w := newWorld(t)
	s := w.shelf()
	s.gate = make(chan struct{})
	base := w.listen(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	ended := make(chan error, 1)
	go func() { ended <- w.ask(ctx, base) }()
	for s.waiting.Load() != 1 {
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		w.call("POST", exportPath, w.admin, `{"format":"jsonl"}`).refused(t, http.StatusServiceUnavailable, "busy")
	}
	theirs := make(chan int, 1)
	go func() { theirs <- w.call("POST", exportPath, w.otherAdmin, `{"format":"jsonl"}`).status }()
	for deadline := time.Now().Add(5 * time.Second); s.waiting.Load() != 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	close(s.gate)
	if status := <-theirs; status != http.StatusOK {
		t.Errorf("another organisation's: %d", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// dawdler is a reader who takes some time for the first bytes.
type dawdler struct {
	deadlined
	slow time.Duration
}

func (d *dawdler) Write(b []byte) (int, error) {
	time.Sleep(d.slow)
	d.slow = 0
	return len(b), nil
}

func TestAReaderMustKeepUpOnTheWhole(t *testing.T) {
	w := newWorld(t)
	deadlines := make(chan time.Time, 100)
	rec := &dawdler{deadlined{header: http.Header{}, set: deadlines}, time.Second}
	w.api.Handler().ServeHTTP(rec, w.request("POST", exportPath, w.admin, `{"format":"pdf"}`))
	close(deadlines)
	var left []time.Duration
	for at := range deadlines {
		left = append(left, time.Until(at))
	}
	if n := len(left); n < 2 || left[n-1] > 29700*time.Millisecond {
		t.Error(fmt.Sprint("a second that a reader took is forgotten: ", left))
	}
}
