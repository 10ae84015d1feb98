package gatewright_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

func TestAPageWithARecordThatIsNotItsLeafIsNoAnswer(t *testing.T) {
	leaf := (&ledger.Record{ID: recordID, Time: 1, Tenant: "demo", Kind: ledger.Settled, Step: -1}).AppendJSON(nil)
	hash := merkle.LeafHash(leaf).String()
	for name, item := range map[string]string{
		"no record":         fmt.Sprintf(`{"index":1,"leaf":%q}`, hash),
		"not a record":      fmt.Sprintf(`{"index":1,"leaf":%q,"record":{}}`, hash),
		"another leaf hash": fmt.Sprintf(`{"index":1,"leaf":%q,"record":%s}`, merkle.LeafHash(nil).String(), leaf),
	} {
		g := newGateway(t)
		g.on("GET /api/v1/audit-logs", 200, fmt.Sprintf(`{"items":[{"index":0,"leaf":%q,"record":%s},%s]}`, hash, leaf, item))
		if p, err := g.admin(t).AuditLogs(t.Context(), gatewright.AuditQuery{}); !errors.Is(err, gatewright.ErrAnswer) || p != nil {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	g := newGateway(t)
	g.on("GET /api/v1/audit-logs", 400, `{"code":"cursor_invalid","detail":"x","record":"rec_1"}`)
	g.on("GET /api/v1/audit-logs/stats", 422, `{"code":"limit_reached","detail":"x","record":"rec_1"}`)
	_, err := g.admin(t).AuditLogs(t.Context(), gatewright.AuditQuery{})
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "cursor_invalid" {
		t.Error(err)
	}
	s, err := g.admin(t).AuditStats(t.Context(), gatewright.AuditFilter{}, 0)
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "limit_reached" || s != nil {
		t.Error(err)
	}
}

func TestTheAuditLogIsAskedForWhatIsWanted(t *testing.T) {
	leaf := (&ledger.Record{ID: recordID, Time: 1, Tenant: "demo", Kind: ledger.Settled, Step: -1}).AppendJSON(nil)
	g := newGateway(t)
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.RequestURI())
		answer(w, 200, fmt.Sprintf(`{"size":9,"first":2,"next":"c","items":[{"index":7,"leaf":%q,"sealed":true,"record":%s}],"total":3,"hours":[{"start":"2026-03-01T12:00:00Z","count":3}],"tools":[{"name":"read","count":2}]}`, merkle.LeafHash(leaf).String(), leaf))
	})
	a := g.admin(t)
	at := time.Date(2026, 3, 1, 13, 0, 0, 5000, time.FixedZone("", 3600))
	f := gatewright.AuditFilter{From: at, To: at.Add(time.Hour), Agent: "agt_1", User: "usr_1", Server: "f&s", Tool: "read", Verdict: "deny", Kind: "refused", Code: "c", Outcome: "ok"}
	p, err := a.AuditLogs(t.Context(), gatewright.AuditQuery{AuditFilter: f, Oldest: true, Limit: 5, Cursor: "x"})
	if err != nil || p.Size != 9 || p.First != 2 || p.Next != "c" || len(p.Items) != 1 || p.Items[0].Index != 7 || !p.Items[0].Sealed {
		t.Errorf("%+v %v", p, err)
	}
	s, err := a.AuditStats(t.Context(), f, 4)
	if err != nil || s.Total != 3 || s.Hours[0].Count != 3 || s.Tools[0] != (gatewright.Named{Name: "read", Count: 2}) || !s.Earliest.IsZero() {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := a.AuditLogs(t.Context(), gatewright.AuditQuery{}); err != nil {
		t.Error(err)
	}
	want := "agent_id=agt_1&code=c&%sfrom=2026-03-01T12%%3A00%%3A00.000005Z&kind=refused&%soutcome=ok&server=f%%26s&to=2026-03-01T13%%3A00%%3A00.000005Z&tool=read&%suser_id=usr_1&verdict=deny"
	for i, uri := range []string{
		"/api/v1/audit-logs?" + fmt.Sprintf(want, "cursor=x&", "limit=5&order=oldest&", ""), "/api/v1/audit-logs/stats?" + fmt.Sprintf(want, "", "", "top=4&"), "/api/v1/audit-logs?",
	} {
		if seen[i] != uri {
			t.Errorf("%s\n%s", seen[i], uri)
		}
	}
}
