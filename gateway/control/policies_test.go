package control_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
)

const (
	diffPath    = "/api/v1/policies/diff"
	explainPath = "/api/v1/policies/explain"
	shadowPath  = "/api/v1/policies/shadow"

	permitAll  = "@id(\"all\") permit (principal, action, resource);\n"
	noSalaries = permitAll + `@id("salaries") forbid (principal, action == Action::"sql___query", resource) when { context.input.table == "salaries" };`
)

func sqlTools(string) []policies.ToolDef {
	return []policies.ToolDef{{Server: "sql", Name: "query", InputSchema: []byte(`{"type":"object","properties":{"table":{"type":"string"}},"required":["table"]}`)}}
}

func compileFor(tenant string, b *policies.Bundle) (*policies.Engine, error) {
	return policies.Compile(b, sqlTools(tenant))
}

// permitting permits everything.
var permitting = sync.OnceValue(func() *policies.Engine {
	b, err := policies.NewBundle(map[string][]byte{"p.cedar": []byte(permitAll)})
	if err != nil {
		panic(err)
	}
	e, err := compileFor(demo, b)
	if err != nil {
		panic(err)
	}
	return e
})

// judging is what policies are judged with where everything is permitted.
func judging() control.Policies {
	set := &policies.Set{}
	set.Swap(demo, permitting())
	set.Swap(other, permitting())
	return control.Policies{Set: set, Compile: compileFor, Tools: sqlTools}
}

func (w *world) compile(text string) *policies.Engine {
	w.t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(text)}})
	w.must(err)
	e, err := compileFor(demo, b)
	w.must(err)
	return e
}

// asked writes the record of a call as the line does, sealed under its user's key, and returns its id.
func (w *world) asked(tenant, user, table string, change func(r *ledger.Record)) string {
	w.t.Helper()
	id, err := ledger.NewID(w.clock.now(), rand.Reader)
	w.must(err)
	args := []byte(`{"table":"` + table + `"}`)
	salt := make([]byte, 16)
	request := sha256.Sum256(append(slices.Clone(salt), args...))
	facts := fmt.Sprintf(`{"id":"agt_1","kind":"Agent","labels":[],"owner":%q,"roles":[],"status":"active","talks_to":[],"teams":[],"tenant":%q,"trust":500}`, user, tenant)
	text := fmt.Sprintf(`{"action":"call_tool","addr":"192.0.2.1","agent":"agt_1","facts":%s,"labels":[],"now":1900000000000000,"principal":"00","request":%q,"salt":%q,"server":"sql","tls":true,"tool":"query","user":%q}`,
		facts, hex.EncodeToString(request[:]), base64.RawURLEncoding.EncodeToString(salt), user)
	r := &ledger.Record{
		ID: id, Time: w.clock.now().UnixMicro(), Tenant: tenant, Kind: ledger.Admitted, Step: -1, Agent: "agt_1", User: user, Op: "tools/call", Server: "sql", Tool: "query",
		Verdict: "allow", Ask: sha256.Sum256([]byte(text)),
	}
	aead, err := w.vault.Subject(w.t.Context(), tenant, user)
	w.must(err)
	nonce := make([]byte, aead.NonceSize())
	plain := append(append(binary.BigEndian.AppendUint32(nil, uint32(len(args))), args...), text...)
	r.Side = aead.Seal(nonce, nonce, plain, []byte(id))
	if change != nil {
		change(r)
	}
	_, err = w.log.Append(w.t.Context(), r)
	w.must(err)
	return id
}

// otherArgs puts arguments beside a record that its question does not commit to.
func (w *world) otherArgs(r *ledger.Record) {
	aead, err := w.vault.Subject(w.t.Context(), r.Tenant, r.User)
	w.must(err)
	args, ask, err := pipeline.Unseal(aead, r)
	w.must(err)
	args = bytes.Replace(args, []byte("salaries"), []byte("holidays"), 1)
	nonce := make([]byte, aead.NonceSize())
	r.Side = aead.Seal(nonce, nonce, append(append(binary.BigEndian.AppendUint32(nil, uint32(len(args))), args...), ask...), []byte(r.ID))
}

func (w *world) diff(body string) *compare.Report {
	w.t.Helper()
	a := w.call("POST", diffPath, w.admin, body)
	if a.status != http.StatusOK {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	var last struct {
		Report   *compare.Report
		Old, New string
	}
	w.must(json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if last.Report == nil || last.Old == "" || last.New == "" {
		w.t.Fatalf("no report in %s", a.body)
	}
	if r := w.log.last(demo); !strings.Contains(string(r.Body), hex.EncodeToString(shaOf(lines[len(lines)-1]+"\n"))) {
		w.t.Errorf("the record does not hold the digest of the report: %s", r.Body)
	}
	return last.Report
}

func shaOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func candidate(text string) string {
	b, _ := json.Marshal(map[string]any{"new": map[string]any{"files": map[string]string{"p.cedar": text}}})
	return string(b)
}

func TestADiffNamesExactlyTheFlippedCalls(t *testing.T) {
	w := newWorld(t)
	flipped := []string{w.asked(demo, w.viewerUser, "salaries", nil)}
	w.asked(demo, w.viewerUser, "orders", nil)
	flipped = append(flipped, w.asked(demo, w.adminUser, "salaries", nil))
	w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Kind, r.Of, r.Side = ledger.Settled, flipped[0], nil })
	w.asked(other, "usr_theirs", "salaries", nil)
	for body, last := range map[string]string{candidate(noSalaries): `{"read":3,"of":3}`, strings.Replace(candidate(noSalaries), "{", `{"limit":2,`, 1): `{"read":2,"of":2}`, strings.Replace(candidate(noSalaries), "{", `{"generated":50,`, 1): `{"read":50,"of":50}`} {
		if a := w.call("POST", diffPath, w.admin, body); !strings.Contains(a.body, last) {
			t.Errorf("%s is missing in %s", last, a.body)
		}
	}
	r := w.diff(candidate(noSalaries))
	if r.Read != 3 || r.Replayed != 3 || r.Flips != 2 || len(r.Groups) != 1 || r.Groups[0].Policy != "p.cedar:2 salaries" || r.Unexplained.Total() != 0 || len(r.Lost) != 0 {
		t.Fatalf("%+v", r)
	}
	var named []string
	for _, x := range r.Groups[0].Examples {
		named = append(named, x.Record)
	}
	slices.Sort(named)
	slices.Sort(flipped)
	if !slices.Equal(named, flipped) {
		t.Errorf("named %q, flipped %q", named, flipped)
	}
	// Filters and limits choose.
	if r := w.diff(strings.Replace(candidate(noSalaries), "{", `{"filter":{"user":"`+w.adminUser+`"},`, 1)); r.Read != 1 || r.Flips != 1 {
		t.Errorf("%+v", r)
	}
	if r := w.diff(strings.Replace(candidate(noSalaries), "{", `{"limit":1,`, 1)); r.Read != 1 || r.Groups[0].Examples[0].Record != named[len(named)-1] && r.Flips != 1 {
		t.Errorf("%+v", r)
	}
}

func TestARefusedCallIsReplayedToo(t *testing.T) {
	w := newWorld(t)
	set := w.policies.Set
	set.Swap(demo, w.compile(noSalaries))
	denied := w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) {
		r.Kind, r.Verdict, r.Code, r.Detail = ledger.Refused, "deny", "not_available", "policy_denied"
	})
	r := w.diff(candidate(permitAll))
	if r.Flips != 1 || r.Groups[0].From != "deny" || r.Groups[0].To != "allow" || r.Groups[0].Examples[0].Record != denied || r.Unexplained.Total() != 0 {
		t.Errorf("%+v", r)
	}
	if r = w.diff(`{"old":{"files":{"p.cedar":"permit (principal, action, resource);"}},"new":{"files":{"p.cedar":"permit (principal, action, resource);"}}}`); r.Unexplained.Other != 1 || r.Unexplained.Examples[0].Record != denied {
		t.Errorf("a record that the old bundle does not explain: %+v", r.Unexplained)
	}
}

func TestWhatCannotBeReplayedIsCountedByItsReason(t *testing.T) {
	w := newWorld(t)
	w.asked(demo, w.adminUser, "salaries", nil)
	w.asked(demo, "usr_gone", "salaries", nil)
	w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Side = nil })
	w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Side[len(r.Side)-1] ^= 1 })
	w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Ask[0] ^= 1 })
	w.asked(demo, w.viewerUser, "salaries", w.otherArgs)
	w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) {
		r.Kind, r.Code, r.Detail, r.Side = ledger.Refused, "rate_limited", "rate_limited", nil
	})
	w.must(w.vault.Erase(t.Context(), demo, "usr_gone"))
	r := w.diff(candidate(noSalaries))
	want := map[string]uint64{string(compare.LostErased): 1, string(compare.LostUnsealed): 1, string(compare.LostClosed): 1, string(compare.LostChanged): 2, "it was refused before policy was asked": 1}
	if r.Read != 7 || r.Replayed != 1 || r.Flips != 1 || fmt.Sprint(r.Lost) != fmt.Sprint(want) {
		t.Errorf("%+v", r)
	}
}

// A candidate policy can read sealed arguments, and tells by its flips what they are.
func TestOnlyAnAdminReplays(t *testing.T) {
	w := newWorld(t)
	id := w.asked(demo, w.viewerUser, "salaries", nil)
	for _, role := range []identity.Role{identity.RoleManager, identity.RoleMember, identity.RoleViewer} {
		w.call("POST", diffPath, w.byRole[role], candidate(noSalaries)).refused(t, http.StatusForbidden, "role_denied")
		w.call("POST", explainPath, w.byRole[role], `{"record":"`+id+`"}`).refused(t, http.StatusForbidden, "role_denied")
	}
	theirs := w.asked(other, "usr_theirs", "salaries", nil)
	w.call("POST", explainPath, w.admin, `{"record":"`+theirs+`"}`).refused(t, http.StatusNotFound, "not_found")
}

func TestABundleThatDoesNotCompileIsRefusedWithItsPlace(t *testing.T) {
	w := newWorld(t)
	set := w.policies.Set
	a := w.call("POST", diffPath, w.admin, candidate(`forbid (principal, action, resource) when { context.nothing };`))
	if a.refused(t, http.StatusUnprocessableEntity, "bundle_refused"); !strings.Contains(a.body, "p.cedar:1:") {
		t.Error(a.body)
	}
	w.call("POST", diffPath, w.admin, `{"new":{"revision":3}}`).refused(t, http.StatusNotFound, "not_found")
	w.call("POST", diffPath, w.admin, `{"new":{"staged":true}}`).refused(t, http.StatusConflict, "not_yet")
	w.call("POST", diffPath, w.admin, `{"new":{"staged":true,"revision":3}}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.policies.Revision = func(_ context.Context, tenant string, n uint64) (*policies.Bundle, error) {
		if tenant != demo || n != 3 {
			return nil, errBroken
		}
		return policies.NewBundle(map[string][]byte{"p.cedar": []byte(noSalaries)})
	}
	w.rebuild(w.log)
	w.asked(demo, w.viewerUser, "salaries", nil)
	if r := w.diff(`{"new":{"revision":3}}`); r.Flips != 1 {
		t.Errorf("%+v", r)
	}
	set.Stage(demo, w.compile(noSalaries), policies.Mode{Shadow: true})
	if r := w.diff(`{"new":{"staged":true}}`); r.Flips != 1 {
		t.Errorf("%+v", r)
	}
	set.Swap(demo, nil)
	w.call("POST", diffPath, w.admin, `{}`).refused(t, http.StatusConflict, "not_yet")
}

func TestMadeUpRequestsAreComparedHere(t *testing.T) {
	w := newWorld(t)
	r := w.diff(strings.Replace(candidate(noSalaries), "{", `{"generated":500,"seed":7,`, 1))
	if r.Requests != 500 || r.Seed != 7 || r.Flips == 0 || !strings.Contains(r.Groups[0].Examples[0].Args, "salaries") {
		t.Errorf("%+v", r)
	}
}

func TestARecordIsExplained(t *testing.T) {
	w := newWorld(t)
	set := w.policies.Set
	admitted := w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Bundle = set.For(demo).Digest() })
	settled := w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Kind, r.Of, r.Side = ledger.Settled, admitted, nil })
	files := candidate(noSalaries)[len(`{"new":`) : len(candidate(noSalaries))-1]
	for _, name := range []string{admitted, settled} {
		got := w.call("POST", explainPath, w.admin, `{"record":"`+name+`","bundle":`+files+`}`).json()
		text, _ := json.Marshal(got)
		if got["record"] != admitted || got["recorded"] != "allow" || got["now"] != "deny" || got["same_bundle"] != false || got["target"] != "sql/query" || !strings.Contains(string(text), `context.input.table == \"salaries\"`) {
			t.Errorf("%s", text)
		}
	}
	if got := w.call("POST", explainPath, w.admin, `{"record":"`+admitted+`"}`).json(); got["now"] != "allow" || got["same_bundle"] != true || got["refused"] != nil {
		t.Errorf("%v", got)
	}
	limited := w.asked(demo, w.viewerUser, "salaries", func(r *ledger.Record) { r.Kind, r.Code = ledger.Refused, "rate_limited" })
	if got := w.call("POST", explainPath, w.admin, `{"record":"`+limited+`"}`).json(); got["now"] != "allow" || got["refused"] != "rate_limited" {
		t.Errorf("a call over its rate: %v", got)
	}
	w.call("POST", explainPath, w.admin, `{"record":"0"}`)
	w.must(w.vault.Erase(t.Context(), demo, w.viewerUser))
	a := w.call("POST", explainPath, w.admin, `{"record":"`+admitted+`"}`)
	if a.refused(t, http.StatusUnprocessableEntity, "request_invalid"); !strings.Contains(a.body, "erased") {
		t.Error(a.body)
	}
}

func TestTheShadowIsShown(t *testing.T) {
	w := newWorld(t)
	set := w.policies.Set
	set.Swap(demo, w.compile(permitAll+`@id("beside") @mode("shadow") forbid (principal, action, resource);`))
	set.Stage(demo, w.compile(noSalaries), policies.Mode{Canary: 5})
	w.policies.Flips = func(tenant string) stages.FlipStats {
		if tenant != demo {
			return stages.FlipStats{}
		}
		return stages.FlipStats{
			Asked: 4, Compared: 4, Total: map[stages.Direction]uint64{{By: "engine", From: "allow", To: "deny"}: 2},
			Latest: []stages.Flipped{{Flip: pipeline.Flip{By: "engine", From: "allow", To: "deny", Policies: []string{"p"}}, Record: "rec_1", Tool: "query", At: time.Unix(5, 0)}},
		}
	}
	w.rebuild(w.log)
	a := w.call("GET", shadowPath, w.viewer, "")
	for _, want := range []string{`"mode":"canary"`, `"canary":5`, `"p.cedar:2 beside"`, `"count":2`, `"record":"rec_1"`, `"asked":4`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s is missing in %s", want, a.body)
		}
	}
	if theirs := w.call("GET", shadowPath, w.otherAdmin, ""); theirs.status != 200 || strings.Contains(theirs.body, "rec_1") || strings.Contains(theirs.body, "canary") {
		t.Error(theirs.body)
	}
}
