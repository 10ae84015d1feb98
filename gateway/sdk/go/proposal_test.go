package gatewright_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestProposalsAreListedShownAndDecided(t *testing.T) {
	g := newGateway(t)
	one := `{"id":"prp_1","kind":"profile","state":"pending","user":"usr_1","agent":"agt_1","key":"key_1","digest":"ab","reason":"r","created":"2026-01-01T00:00:00Z",
		"content":{"a":1},"cedar":"forbid(principal,action,resource);","lines":["Nothing is allowed."]}`
	profile := `{"version":2,"digest":"ab","policy":{"a":1},"cedar":"forbid","lines":["l"],"proposal":"prp_1","by":"usr_1","since":"2026-01-01T00:00:00Z"}`
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case r.URL.Path == "/api/v1/profile":
			answer(w, 200, profile)
		case r.URL.Path == "/api/v1/usage":
			answer(w, 200, `{"items":[{"day":"2026-01-01","product":"p","model":"m","input":1,"output":2,"cache_read":3,"cache_write":4,"rows":5}]}`)
		case r.URL.Path == "/api/v1/proposals":
			answer(w, 200, `{"items":[`+one+`]}`)
		default:
			answer(w, 200, one)
		}
	})
	a, ctx := g.admin(t), t.Context()
	for _, f := range []gatewright.ProposalFilter{{}, {Agent: "agt_1", Kind: "server", State: "pending"}} {
		if all, err := a.Proposals(ctx, f); err != nil || len(all) != 1 || all[0].ID != "prp_1" {
			t.Errorf("%+v %v", all, err)
		}
	}
	if p, err := a.Proposal(ctx, "prp/1"); err != nil || string(p.Content) != `{"a":1}` || p.Cedar == "" || len(p.Lines) != 1 || !p.Decided.IsZero() {
		t.Errorf("%+v %v", p, err)
	}
	if p, err := a.ApproveProposal(ctx, "prp_1"); err != nil || p.ID != "prp_1" {
		t.Errorf("%+v %v", p, err)
	}
	for _, reason := range []string{"", "no"} {
		if _, err := a.RejectProposal(ctx, "prp_1", reason); err != nil {
			t.Error(err)
		}
	}
	if p, err := a.Profile(ctx); err != nil || p.Version != 2 || string(p.Policy) != `{"a":1}` {
		t.Errorf("%+v %v", p, err)
	}
	if err := a.RemoveProfile(ctx); err != nil {
		t.Error(err)
	}
	want := gatewright.Usage{Day: "2026-01-01", Product: "p", Model: "m", Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4, Rows: 5}
	for _, f := range []gatewright.UsageFilter{{}, {From: "2026-01-01", To: "2026-01-02", Agent: "agt_1", Product: "a b", Model: "m&n"}} {
		if all, err := a.Usage(ctx, f); err != nil || len(all) != 1 || all[0] != want {
			t.Errorf("%+v %v", all, err)
		}
	}
	sent := strings.Join([]string{
		"GET /api/v1/proposals", "GET /api/v1/proposals?agent=agt_1&kind=server&state=pending", "GET /api/v1/proposals/prp%2F1", "POST /api/v1/proposals/prp_1/approve",
		"POST /api/v1/proposals/prp_1/reject {}", `POST /api/v1/proposals/prp_1/reject {"reason":"no"}`, "GET /api/v1/profile", "DELETE /api/v1/profile",
		"GET /api/v1/usage", "GET /api/v1/usage?agent=agt_1&from=2026-01-01&model=m%26n&product=a+b&to=2026-01-02",
	}, "\n")
	if got := strings.Join(seen, "\n"); got != sent {
		t.Errorf("sent\n%s\nwant\n%s", got, sent)
	}
}

func TestAProposalThatCannotComeIntoForceIsAnError(t *testing.T) {
	g := newGateway(t)
	g.on("POST /api/v1/proposals/prp_1/approve", 422, `{"code":"bundle_refused","detail":"policy at \"/statements/0\": unknown","record":"rec_1"}`)
	_, err := g.admin(t).ApproveProposal(t.Context(), "prp_1")
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "bundle_refused" || e.Record != "rec_1" {
		t.Errorf("got %v", err)
	}
}
