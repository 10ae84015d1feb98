package gatewright_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestHeldCallsAreListedShownAndDecided(t *testing.T) {
	g := newGateway(t)
	one := `{"id":"apr_1","state":"approved","user":"usr_1","agent":"agt_1","key":"key_1","plan":"pln_1","op":"tools/call","server":"bank","tool":"pay","local":true,
		"amount":"5000","digest":"ab","reason":"above 1000","policies":["p"],"approvals":2,"given":1,"approver":"manager",
		"decisions":[{"user":"usr_2","role":"manager","approve":true,"reason":"ok","time":"2026-01-01T00:00:01Z"}],
		"created":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:30:00Z","ended":"2026-01-01T00:00:02Z","record":"rec_1","args_size":15,"args":{"amount":5000}}`
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch {
		case r.Method == http.MethodPost || r.URL.Path != "/api/v1/approvals":
			answer(w, 200, one)
		case r.URL.Query().Get("cursor") == "":
			answer(w, 200, `{"items":[`+one+`],"next":"n&1"}`)
		default:
			answer(w, 200, `{"items":[`+one+`]}`)
		}
	})
	a, ctx := g.admin(t), t.Context()
	for _, f := range []gatewright.ApprovalFilter{{}, {Agent: "agt_1", Plan: "pln_1", State: "pending"}} {
		if all, err := a.Approvals(ctx, f); err != nil || len(all) != 2 || all[1].ID != "apr_1" {
			t.Errorf("list: %+v %v", all, err)
		}
	}
	shown, err := a.Approval(ctx, "apr/1")
	if err != nil || string(shown.Args) != `{"amount":5000}` || shown.Approvals != 2 || shown.Given != 1 || !shown.Local || shown.Record != "rec_1" ||
		shown.Decisions[0] != (gatewright.Decision{User: "usr_2", Role: "manager", Approve: true, Reason: "ok", Time: time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)}) {
		t.Errorf("one: %+v %v", shown, err)
	}
	if v, err := a.Approve(ctx, "apr_1"); err != nil || v.State != "approved" {
		t.Errorf("approve: %+v %v", v, err)
	}
	if v, err := a.ApproveBecause(ctx, "apr_1", "seen it"); err != nil || v.State != "approved" {
		t.Errorf("approve: %+v %v", v, err)
	}
	for _, reason := range []string{"", "not now"} {
		if v, err := a.Reject(ctx, "apr_1", reason); err != nil || v.ID != "apr_1" {
			t.Errorf("reject: %+v %v", v, err)
		}
	}
	sent := strings.Join([]string{
		"GET /api/v1/approvals", "GET /api/v1/approvals?cursor=n%261",
		"GET /api/v1/approvals?agent=agt_1&plan=pln_1&state=pending", "GET /api/v1/approvals?agent=agt_1&plan=pln_1&state=pending&cursor=n%261",
		"GET /api/v1/approvals/apr%2F1", "POST /api/v1/approvals/apr_1/approve", `POST /api/v1/approvals/apr_1/approve {"reason":"seen it"}`,
		"POST /api/v1/approvals/apr_1/reject {}", `POST /api/v1/approvals/apr_1/reject {"reason":"not now"}`,
	}, "\n")
	if got := strings.Join(seen, "\n"); got != sent {
		t.Errorf("sent\n%s\nwant\n%s", got, sent)
	}
}

func TestADecisionThatIsRefusedIsAnError(t *testing.T) {
	g := newGateway(t)
	g.on("POST /api/v1/approvals/apr_1/approve", 403, `{"code":"role_denied","detail":"the amount is above the limit","record":"rec_1"}`)
	_, err := g.admin(t).Approve(t.Context(), "apr_1")
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "role_denied" || e.Record != "rec_1" {
		t.Errorf("got %v", err)
	}
}
