package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// newRevisions gives the demo tenant two revisions, of which the second is enforced, and others one more.
func (w *world) newRevisions(kept store.Store) {
	w.t.Helper()
	var err error
	w.revisions, err = bundles.New(bundles.DefaultConfig(), bundles.Deps{
		Store: kept, Record: func(context.Context, *ledger.Record) error { return nil }, Tools: func(string) []policies.ToolDef { return nil },
		Engines: &policies.Set{}, Now: w.clock.now, Log: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	for tenant := range w.ids {
		n := 3
		if tenant == demo {
			n = 2
		}
		for i := range n {
			files := map[string][]byte{"p.cedar": fmt.Appendf(nil, "@id(\"%s%d\") permit (principal, action, resource);", tenant, i)}
			r, err := w.revisions.Push(w.t.Context(), tenant, bundles.Actor{User: "usr_1"}, files)
			w.must(err)
			_, err = w.revisions.Activate(w.t.Context(), tenant, bundles.Actor{}, r.Number, policies.Mode{})
			w.must(err)
		}
	}
}

const revisionsPath = "/api/v1/policies/revisions"

func push(name, text string) string { return pushAll(map[string]string{name: text}) }

func pushAll(files map[string]string) string {
	b, _ := json.Marshal(map[string]any{"files": files})
	return string(b)
}

func TestARevisionIsPushedTriedAndRolledBackOverTheWire(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", revisionsPath, w.admin, push("p.cedar", "permit (principal, action, resource);"))
	var r struct {
		Number                    uint64
		State, By, Source, Digest string
		Percent                   int
		Names                     []string
		Content                   map[string]string
	}
	decode := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if decode(); a.status != 201 || r.Number != 3 || r.State != "idle" || r.By != w.adminUser || r.Source != "api" {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = w.call("POST", revisionsPath+"/3/activate", w.admin, `{"mode":"canary","percent":10}`)
	if decode(); r.State != "canary" || r.Percent != 10 {
		t.Errorf("%s", a.body)
	}
	a = w.call("POST", revisionsPath+"/3/activate", w.admin, `{"mode":"enforce"}`)
	if decode(); r.State != "enforced" {
		t.Errorf("%s", a.body)
	}
	a = w.call("GET", revisionsPath+"/3", w.byRole[identity.RoleManager], "")
	if decode(); len(r.Names) != 1 || r.Content["p.cedar"] == "" {
		t.Errorf("%s", a.body)
	}
	a = w.call("POST", "/api/v1/policies/rollback", w.admin, "")
	if decode(); r.Number != 2 || r.State != "enforced" {
		t.Errorf("%s", a.body)
	}
	seen, cursor := "", ""
	for range 5 {
		var page struct {
			Items []struct{ Number uint64 }
			Next  string
		}
		a = w.call("GET", revisionsPath+"?limit=2"+cursor, w.admin, "")
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, i := range page.Items {
			seen += fmt.Sprint(i.Number, " ")
		}
		if cursor = "&cursor=" + page.Next; page.Next == "" {
			break
		}
	}
	if seen != "3 2 1 " {
		t.Errorf("listed %s", seen)
	}
}

func TestWhatCannotBeARevisionIsRefusedInWords(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		path, body, code, says string
		status                 int
	}{
		"syntax":          {"", push("p.cedar", "permit (principal);"), "bundle_refused", "p.cedar:1:", 422},
		"unknown tool":    {"", push("p.cedar", `permit (principal, action == Action::"a___b", resource);`), "bundle_refused", "p.cedar:1:", 422},
		"traversal":       {"", push("../p.cedar", "permit (principal, action, resource);"), "bundle_refused", "relative path", 422},
		"hidden":          {"", push(".git/hooks/x", "x"), "bundle_refused", "hidden", 422},
		"case":            {"", `{"files":{"p.cedar":"permit (principal, action, resource);","P.cedar":""}}`, "bundle_refused", "differ in case", 422},
		"twice":           {"", `{"files":{"p.cedar":"permit (principal, action, resource);","p.cedar":""}}`, "body_invalid", "", 400},
		"huge":            {"", push("p.cedar", strings.Repeat(" ", 32<<20)), "body_too_large", "", 413},
		"no files":        {"", `{"files":{}}`, "bundle_refused", "no *.cedar", 422},
		"more":            {"", `{"files":{},"tenant":"other"}`, "request_invalid", "", 422},
		"unknown number":  {"/9/activate", `{"mode":"enforce"}`, "not_found", "", 404},
		"number 0":        {"/0/activate", `{"mode":"enforce"}`, "request_invalid", "", 422},
		"unknown mode":    {"/1/activate", `{"mode":"on"}`, "request_invalid", "", 422},
		"no mode":         {"/1/activate", `{}`, "request_invalid", "", 422},
		"no percent":      {"/1/activate", `{"mode":"canary"}`, "request_invalid", "percent", 422},
		"percent 100":     {"/1/activate", `{"mode":"canary","percent":100}`, "request_invalid", "", 422},
		"shadow percent":  {"/1/activate", `{"mode":"shadow","percent":5}`, "request_invalid", "percent", 422},
		"its own shadow":  {"/2/activate", `{"mode":"shadow"}`, "conflict", "is the one that is enforced", 409},
		"number too long": {"/99999999999999999999/activate", `{"mode":"enforce"}`, "request_invalid", "", 422},
	} {
		a := w.call("POST", revisionsPath+c.path, w.admin, c.body)
		if a.status != c.status || a.code() != c.code || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	w.call("GET", revisionsPath+"/9", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	for range 2 {
		w.call("POST", "/api/v1/policies/rollback", w.admin, "")
	}
	w.call("POST", "/api/v1/policies/rollback", w.admin, "").refused(t, http.StatusConflict, "conflict")
}
