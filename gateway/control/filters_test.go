package control_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm/build"
)

// tenantFilters are one for each tenant: TENANT-filter with the versions 1 and 2, of which 2 is in force.
type tenantFilters struct {
	fail  error
	did   []string
	where filters.Placement
	up    filters.Upload
}

var _ control.Filters = (*tenantFilters)(nil)

func (f *tenantFilters) List(_ context.Context, tenant string) ([]filters.Filter, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	at := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)
	v := func(n uint64, s filters.State) filters.Version {
		return filters.Version{Name: tenant + "-filter", Number: n, State: s, Digest: merkle.Hash{byte(n)}, Size: 99, Dialect: "gw", Class: "small", Memory: 65536, Fuel: 7, By: filters.Actor{User: "usr_1"}, Time: at}
	}
	return []filters.Filter{{
		Name: tenant + "-filter", Versions: []filters.Version{v(2, filters.Active), v(1, filters.Idle)},
		Enforced: &filters.Entry{Filter: manifest.Filter{Tools: []string{"read*"}}, Version: 2, Stats: filters.Stats{Passed: 3, Denied: 2, Traps: map[string]uint64{"fuel": 1}, Timed: 2, Time: 5 * time.Microsecond, Broken: true, LastTrap: strings.Repeat("x", 1000), LastTrapAt: at}},
	}}, nil
}

func (f *tenantFilters) Filter(ctx context.Context, tenant, name string) (filters.Filter, error) {
	all, err := f.List(ctx, tenant)
	if err != nil || all[0].Name != name {
		return filters.Filter{}, errors.Join(err, filters.ErrNotFound)
	}
	return all[0], nil
}

func (f *tenantFilters) Logs(_ context.Context, tenant, name string, n int) ([]filters.Line, error) {
	if f.fail != nil || name != tenant+"-filter" {
		return nil, errors.Join(f.fail, filters.ErrNotFound)
	}
	lines := []filters.Line{{Number: 1, Level: "warn", Text: strings.Repeat("y", 10<<10)}, {Number: 2, Level: "info", Version: 2, Text: "hello"}}
	return lines[max(0, len(lines)-n):], nil
}

func (f *tenantFilters) Rejections(context.Context, string) ([]filters.Version, error) {
	return []filters.Version{{Name: "bad", State: filters.Rejected, Rejection: &filters.Rejection{Stage: filters.Scan, Reason: "no", Offset: 12, Hint: "change it"}}}, f.fail
}

func (f *tenantFilters) Upload(_ context.Context, _ string, by filters.Actor, u filters.Upload, step func(filters.Step)) (filters.Version, error) {
	f.did, f.up = append(f.did, "upload by "+by.User), u
	step(filters.Step{Stage: filters.Scan, OK: f.fail == nil, Took: time.Millisecond, Detail: "read"})
	if f.fail != nil {
		return filters.Version{}, f.fail
	}
	return filters.Version{Name: u.Name, Number: 3, State: filters.Idle, Size: len(u.Module), Tested: len(u.Vectors)}, nil
}

func (f *tenantFilters) change(how, tenant, name string, version uint64, where filters.Placement) (filters.Change, error) {
	if f.fail != nil {
		return filters.Change{}, f.fail
	}
	if name != tenant+"-filter" || version > 2 {
		return filters.Change{}, fmt.Errorf("%s: %w", how, filters.ErrNotFound)
	}
	f.did, f.where = append(f.did, how), where
	return filters.Change{Name: name, Version: version, Mode: map[string]string{"shadow": "shadow", "remove": ""}[how], Revision: 12}, nil
}

func (f *tenantFilters) Shadow(_ context.Context, tenant string, _ filters.Actor, name string, version uint64, where filters.Placement) (filters.Change, error) {
	return f.change("shadow", tenant, name, version, where)
}

func (f *tenantFilters) Activate(_ context.Context, tenant string, _ filters.Actor, name string, version uint64, where filters.Placement) (filters.Change, error) {
	return f.change("activate", tenant, name, version, where)
}

func (f *tenantFilters) Rollback(_ context.Context, tenant string, _ filters.Actor, name string) (filters.Change, error) {
	return f.change("rollback", tenant, name, 1, filters.Placement{})
}

func (f *tenantFilters) Remove(_ context.Context, tenant string, _ filters.Actor, name string) (filters.Change, error) {
	return f.change("remove", tenant, name, 0, filters.Placement{})
}

func (f *tenantFilters) Delete(_ context.Context, tenant string, _ filters.Actor, name string, version uint64) error {
	_, err := f.change("delete", tenant, name, version, filters.Placement{})
	return err
}

const (
	oneFilter = "/api/v1/filters/demo-filter"
	module    = "AGFzbQEAAAA="
)

func TestFiltersAreShownWithWhatTheyDid(t *testing.T) {
	w := newWorld(t)
	a := w.call("GET", oneFilter, w.viewer, "")
	var got struct {
		Enforced struct {
			Version uint64
			Tools   []string
			Stats   struct {
				Calls, Denied uint64
				Microseconds  float64
				Broken        bool
				LastTrap      string `json:"last_trap"`
			}
			Direction string
		}
		Versions []struct{ State, Digest, Created string }
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	e := got.Enforced
	if e.Version != 2 || e.Direction != "request" /* its version has nothing for answers */ || !slices.Equal(e.Tools, []string{"read*"}) || e.Stats.Calls != 6 || e.Stats.Denied != 2 || e.Stats.Microseconds != 2.5 || !e.Stats.Broken ||
		len(e.Stats.LastTrap) != 303 || len(got.Versions) != 2 || !strings.HasPrefix(got.Versions[0].Digest, "sha256:02") || got.Versions[0].State != "active" {
		t.Errorf("%+v", got)
	}
	if a = w.call("GET", "/api/v1/filters", w.viewer, ""); a.status != http.StatusOK || strings.Count(a.body, `"demo-filter"`) != 1 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = w.call("GET", "/api/v1/filter-rejections", w.admin, ""); !strings.Contains(a.body, `"offset":12`) || !strings.Contains(a.body, `"name":"bad"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = w.call("GET", oneFilter+"/logs?lines=2", w.admin, ""); !strings.Contains(a.body, "hello") || len(a.body) > 9<<10 {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("GET", oneFilter+"/logs", w.viewer, "").refused(t, http.StatusForbidden, "role_denied")
	w.call("GET", "/api/v1/filters/other-filter", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("GET", "/api/v1/filters/BAD", w.admin, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
}

func TestAModuleIsHandedIn(t *testing.T) {
	w := newWorld(t)
	body := `{"module":"` + module + `","config":{"tables":["salaries"]},"vectors":[{"name":"v","tool":"query","arguments":{"sql":"x"},"want":{"verdict":"deny","scores":{"a":1}}}]}`
	a := w.call("POST", oneFilter+"/versions", w.admin, body)
	want, _ := base64.StdEncoding.DecodeString(module)
	if a.status != http.StatusCreated || a.json()["number"] != float64(3) || a.json()["vectors"] != float64(1) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	up := w.filters.up
	if up.Name != "demo-filter" || string(up.Module) != string(want) || string(up.Config) != `{"tables":["salaries"]}` || len(up.Vectors) != 1 || string(up.Vectors[0].Arguments) != `{"sql":"x"}` || up.Vectors[0].Want.Scores["a"] != 1 ||
		w.filters.did[0] != "upload by "+w.adminUser {
		t.Errorf("%+v by %v", up, w.filters.did)
	}
	for _, bad := range []string{`{}`, `{"module":""}`, `{"module":"!"}`, `{"module":7}`, `{"module":"` + module + `","extra":1}`, `{"module":"` + module + `","vectors":[{"nome":"v"}]}`, `{"module":"` + module + `","vectors":{}}`} {
		w.call("POST", oneFilter+"/versions", w.admin, bad).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
	w.call("POST", oneFilter+"/versions", w.byRole["Manager"], body).refused(t, http.StatusForbidden, "role_denied")
}

func TestStagesAreToldAsTheyPass(t *testing.T) {
	w := newWorld(t)
	push := func() []string {
		t.Helper()
		a := w.call("POST", oneFilter+"/push", w.admin, `{"module":"`+module+`"}`)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/jsonl" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return strings.Split(strings.TrimSpace(a.body), "\n")
	}
	lines := push()
	if len(lines) != 2 || lines[0] != `{"step":{"stage":"scan","ok":true,"microseconds":1000,"detail":"read"}}` || !strings.Contains(lines[1], `{"version":{"number":3,`) {
		t.Errorf("%q", lines)
	}
	w.filters.fail = &filters.Rejection{Stage: filters.Scan, Reason: "4 GiB of imports", Offset: 9, Hint: "declare what is there"}
	if lines = push(); len(lines) != 2 || lines[1] != `{"rejection":{"stage":"scan","reason":"4 GiB of imports","offset":9,"hint":"declare what is there"}}` {
		t.Errorf("%q", lines)
	}
	w.filters.fail = fmt.Errorf("%w: 32 of 32 (delete one)", filters.ErrQuota)
	if lines = push(); len(lines) != 2 || !strings.Contains(lines[1], `"refused":{`) || !strings.Contains(lines[1], `"limit_reached"`) || !strings.Contains(lines[1], "delete one") {
		t.Errorf("%q", lines)
	}
	w.filters.fail = &build.Error{Bound: build.Busy, Detail: "32 modules wait already"}
	if lines = push(); len(lines) != 2 || !strings.Contains(lines[1], `"status":503,"code":"busy"`) || !strings.Contains(lines[1], `"retry_after":10`) || !strings.Contains(lines[1], "try again") {
		t.Errorf("%q", lines)
	}
}

func TestFiltersArePlaced(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", oneFilter+"/versions/1/activate", w.admin, `{"servers":["files"],"tools":["read*"],"direction":"response","config":{"a":1},"position":2}`)
	if p := w.filters.where; a.status != http.StatusOK || a.json()["revision"] != float64(12) || p.Direction != "response" || p.Position != 2 || string(p.Config) != `{"a":1}` || len(p.Servers) != 1 || len(p.Tools) != 1 {
		t.Errorf("%d %s %+v", a.status, a.body, p)
	}
	w.call("POST", oneFilter+"/versions/1/shadow", w.admin, "")
	if p := w.filters.where; p.Direction != "" || p.Servers != nil {
		t.Errorf("%+v", p)
	}
	w.call("POST", oneFilter+"/rollback", w.admin, "")
	w.call("POST", oneFilter+"/remove", w.admin, "")
	w.call("DELETE", oneFilter+"/versions/1", w.admin, "")
	if want := []string{"activate", "shadow", "rollback", "remove", "delete"}; !slices.Equal(w.filters.did, want) {
		t.Errorf("%v, want %v", w.filters.did, want)
	}
	w.call("POST", oneFilter+"/versions/9/activate", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", "/api/v1/filters/other-filter/versions/1/activate", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", oneFilter+"/versions/1/activate", w.admin, `{"direction":"sideways"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.call("POST", oneFilter+"/versions/0/activate", w.admin, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
}

func TestWhyAFilterIsRefusedIsSaid(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{&filters.Rejection{Stage: filters.Meter, Reason: "r", Offset: 3, Hint: "do this"}, http.StatusUnprocessableEntity, "filter_rejected"},
		{filters.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid"},
		{filters.ErrExists, http.StatusConflict, "exists"},
		{filters.ErrQuota, http.StatusConflict, "limit_reached"},
		{&filters.RateError{After: 90 * time.Second}, http.StatusTooManyRequests, "limit_reached"},
		{filters.ErrBundle, http.StatusUnprocessableEntity, "bundle_refused"},
		{filters.ErrSigned, http.StatusUnprocessableEntity, "bundle_refused"},
		{filters.ErrState, http.StatusConflict, "conflict"},
		{filters.ErrDamaged, http.StatusConflict, "conflict"},
		{filters.ErrUnavailable, http.StatusConflict, "conflict"},
		{fmt.Errorf("%w: %w", filters.ErrUnavailable, &build.Error{Bound: build.Platform, Hint: "h"}), http.StatusConflict, "conflict"},
		{fmt.Errorf("%w: %w", filters.ErrUnavailable, &build.Error{Bound: build.Busy, Detail: "32 modules wait already", Hint: "h"}), http.StatusServiceUnavailable, "busy"},
		{errBroken, http.StatusInternalServerError, "internal"},
	} {
		w.filters.fail = c.err
		a := w.call("POST", oneFilter+"/versions", w.admin, `{"module":"`+module+`"}`)
		a.refused(t, c.status, c.code)
		if wait, want := a.header.Get("Retry-After"), map[int]string{http.StatusTooManyRequests: "90", http.StatusServiceUnavailable: "10"}[c.status]; wait != want {
			t.Errorf("%v: wait %q, want %q", c.err, wait, want)
		}
		if strings.Contains(a.body, errBroken.Error()) {
			t.Error("an inner error is shown")
		}
	}
}

func TestAGatewayThatTakesNoFiltersSaysSo(t *testing.T) {
	w := newWorld(t)
	w.filters = nil
	w.rebuild(w.log)
	if a := w.call("GET", "/api/v1/filters", w.admin, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"items":[]`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("POST", oneFilter+"/versions", w.admin, `{"module":"`+module+`"}`).refused(t, http.StatusConflict, "conflict")
}
