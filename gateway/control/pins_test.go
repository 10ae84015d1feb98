package control_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

type shownPin struct {
	State, Digest, Approved string
	Kept                    []string
	Differences             []struct{ Member, Change, Text string }
	History                 []struct{ Action, User, Key, From, To, Reason string }
}

func TestADefinitionThatWaitsIsSeenComparedAndDecided(t *testing.T) {
	w := newWorld(t)
	at := "/api/v1/servers/" + w.ids[demo].server + "/pins/pinned"
	ask := func(method, path, key, body string) *reply { return w.call(method, at+path, key, body) }
	see := func(path string) (p shownPin) {
		t.Helper()
		a := ask("GET", path, w.admin, "")
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return p
	}
	p := see("")
	if p.State != "changed" || len(p.Kept) != 2 || len(p.Differences) != 1 || p.Differences[0].Text != "- second\n+ third\n" || p.History[0].Action != "first_use" || p.History[0].User != "" {
		t.Fatalf("%+v", p)
	}
	if before := see("?against=" + p.Kept[1]); before.Differences[0].Text != "- first\n+ second\n" {
		t.Errorf("against the first: %+v", before.Differences)
	}
	if a := w.call("GET", "/api/v1/servers/"+w.ids[demo].server+"/pins?state=changed", w.admin, ""); strings.Count(a.body, `"tool"`) != 1 || !strings.Contains(a.body, p.Digest) {
		t.Errorf("those that wait: %s", a.body)
	}
	if a := w.call("GET", "/api/v1/servers/"+w.ids[demo].server+"/tools", w.admin, ""); strings.Count(a.body, `"state":"quarantined"`) != 1 || !strings.Contains(a.body, "its definition is changed") {
		t.Errorf("the tools: %s", a.body)
	}
	if a := w.call("GET", "/api/v1/servers/"+w.ids[demo].server, w.admin, ""); !strings.Contains(a.body, `"quarantined":1`) {
		t.Errorf("the health: %s", a.body)
	}
	zero := strings.Repeat("0", 64)
	ask("POST", "/approve", w.admin, `{"digest":"`+p.Kept[0]+`"}`).refused(t, http.StatusConflict, "conflict")
	ask("POST", "/approve", w.admin, `{"digest":"`+zero+`"}`).refused(t, http.StatusConflict, "conflict")
	ask("POST", "/rollback", w.admin, `{"digest":"`+p.Digest+`"}`).refused(t, http.StatusConflict, "conflict")
	ask("POST", "/approve", w.admin, `{"digest":"`+strings.ToUpper(p.Digest)+`x"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	if got := see(""); got.State != "changed" || len(got.History) != len(p.History) {
		t.Fatalf("a refused decision is in force: %+v", got)
	}
	if a := ask("POST", "/approve", w.admin, `{"digest":"`+p.Digest+`","reason":"read it"}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := see("")
	last := got.History[len(got.History)-1]
	if got.State != "approved" || last.From != p.Kept[0] || last.To != p.Digest || last.Reason != "read it" || last.User == "" || last.Key == "" {
		t.Errorf("after the approval: %+v", got)
	}
	ask("POST", "/approve", w.admin, `{"digest":"`+p.Digest+`"}`).refused(t, http.StatusConflict, "conflict") // replayed
	if a := ask("POST", "/rollback", w.admin, `{"digest":"`+p.Kept[1]+`"}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got = see(""); got.State != "changed" || got.Approved != p.Kept[1] {
		t.Errorf("after the rollback: %+v", got)
	}
	if _, ok := w.catalogue.Lookup(demo, w.ids[demo].server, "pinned"); ok {
		t.Error("what the server lists is still called")
	}
	records := w.log.of(demo)
	said := 0
	for i := range records {
		if records[i].Op == "approve-pin" && strings.Contains(string(records[i].Body), p.Digest) {
			said++
		}
	}
	if said == 0 {
		t.Error("the ledger does not name what was approved")
	}
}
