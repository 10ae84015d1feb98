package control_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
)

// connectors are two for each tenant: TENANT-connector and broken.
type connectors struct {
	fail      error
	restarted []string
	lines     []control.LogLine
	asked     int
}

func (f *connectors) List(tenant string) []control.ConnectorView {
	up := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)
	return []control.ConnectorView{
		{Name: tenant + "-connector", State: "running", PID: 4711, Program: "notes", Version: "1.2", Since: up, Starts: 3, Crashes: 1, InFlight: 2, Pings: 60},
		{Name: "broken", State: "broken", Starts: 9, Crashes: 9, LastError: strings.Repeat("x", 1000)},
	}
}

func (f *connectors) Restart(_ context.Context, tenant, name string) error {
	if name != tenant+"-connector" && name != "broken" {
		return fmt.Errorf("restart %s: %w", name, control.ErrNoConnector)
	}
	f.restarted = append(f.restarted, tenant+"/"+name)
	return f.fail
}

func (f *connectors) Logs(tenant, name string, n int) ([]control.LogLine, bool) {
	f.asked = n
	return f.lines[max(0, len(f.lines)-n):], name == tenant+"-connector"
}

func TestConnectorsAreShownWithHowTheyDo(t *testing.T) {
	w := newWorld(t)
	a := w.call("GET", "/api/v1/connectors", w.viewer, "")
	want := `{"items":[{"name":"broken","state":"broken","starts":9,"crashes":9,"in_flight":0,"pings":0,"last_error":"` + strings.Repeat("x", 300) + `..."},` +
		`{"name":"demo-connector","state":"running","pid":4711,"program":"notes","version":"1.2","since":"2026-11-22T11:00:00Z","starts":3,"crashes":1,"in_flight":2,"pings":60}]}`
	if a.status != http.StatusOK || strings.TrimSpace(a.body) != want {
		t.Errorf("%d %s\nwant %s", a.status, a.body, want)
	}
	if a = w.call("GET", "/api/v1/connectors/demo-connector", w.viewer, ""); a.status != http.StatusOK || a.json()["pid"] != float64(4711) {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("GET", "/api/v1/connectors/other-connector", w.admin, "").refused(t, http.StatusNotFound, "not_found")
}

func TestARestartIsAnIntentAndItsOutcome(t *testing.T) {
	w := newWorld(t)
	a := w.call("POST", "/api/v1/connectors/demo-connector/restart", w.admin, "")
	if a.status != http.StatusOK || a.json()["state"] != "running" || len(w.processes.restarted) != 1 || w.processes.restarted[0] != "demo/demo-connector" {
		t.Fatalf("%d %s, restarted %v", a.status, a.body, w.processes.restarted)
	}
	all := w.log.of(demo)
	if len(all) != 2 || all[1].Op != "restart-connector" || all[1].Outcome != "ok" || all[1].Of != all[0].ID {
		t.Fatalf("%d records", len(all))
	}
	if phase, target := told(&all[0]); phase != "intent" || target != "demo-connector" {
		t.Errorf("%s", all[0].AppendJSON(nil))
	}
	w.processes.fail = errors.New("it ended before it was ready: exit status 3")
	a = w.call("POST", "/api/v1/connectors/broken/restart", w.admin, "")
	a.refused(t, http.StatusBadGateway, "connector_failed")
	if !strings.Contains(a.body, "exit status 3") || w.log.last(demo).Code != "connector_failed" {
		t.Errorf("the admin is not told why: %s", a.body)
	}
	w.call("POST", "/api/v1/connectors/nobody/restart", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", "/api/v1/connectors/demo-connector/restart", w.byRole[identity.RoleManager], "").refused(t, http.StatusForbidden, "role_denied")
	if n := len(w.processes.restarted); n != 2 {
		t.Errorf("restarted %d times: %v", n, w.processes.restarted)
	}
}

func TestNoRecordNoRestart(t *testing.T) {
	w := newWorld(t)
	w.log.failAfter(0)
	w.call("POST", "/api/v1/connectors/demo-connector/restart", w.admin, "").refused(t, http.StatusServiceUnavailable, "audit_unavailable")
	if len(w.processes.restarted) != 0 {
		t.Errorf("restarted %v", w.processes.restarted)
	}
}

func TestLogsAreTheNewestLinesWithinTheirBounds(t *testing.T) {
	w := newWorld(t)
	manager := w.byRole[identity.RoleManager]
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for i := range 300 {
		w.processes.lines = append(w.processes.lines, control.LogLine{Time: at, Text: fmt.Sprintf("line %d \x1b\xff", i)})
	}
	items := func(a *reply) []struct{ Text string } {
		t.Helper()
		var body struct{ Items []struct{ Text string } }
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %.300s: %v", a.status, a.body, err)
		}
		return body.Items
	}
	got := items(w.call("GET", "/api/v1/connectors/demo-connector/logs", manager, ""))
	if len(got) != 100 || got[0].Text != "line 200 \x1b\ufffd" || got[99].Text != "line 299 \x1b\ufffd" {
		t.Errorf("%d lines, %q to %q", len(got), got[0].Text, got[len(got)-1].Text)
	}
	if got = items(w.call("GET", "/api/v1/connectors/demo-connector/logs?lines=2", manager, "")); len(got) != 2 || w.processes.asked != 2 {
		t.Errorf("%d lines, asked for %d", len(got), w.processes.asked)
	}
	w.processes.lines = nil
	for i := range 1000 {
		w.processes.lines = append(w.processes.lines, control.LogLine{Time: at, Text: fmt.Sprintf("%04d%s", i, strings.Repeat("\x00", 9000))})
	}
	got = items(w.call("GET", "/api/v1/connectors/demo-connector/logs?lines=1000", manager, ""))
	if len(got) < 100 || len(got) > 128 || !strings.HasPrefix(got[len(got)-1].Text, "0999") || len(got[0].Text) != 8<<10+len("...") {
		t.Errorf("%d lines, the last %.8q, the first of %d bytes", len(got), got[len(got)-1].Text, len(got[0].Text))
	}
	w.call("GET", "/api/v1/connectors/demo-connector/logs", w.byRole[identity.RoleMember], "").refused(t, http.StatusForbidden, "role_denied")
	for _, query := range []string{"lines=0", "lines=1001", "lines=-1", "lines=x", "n=1"} {
		if a := w.call("GET", "/api/v1/connectors/demo-connector/logs?"+query, manager, ""); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %.100s", query, a.status, a.body)
		}
	}
}

func TestAGatewayWithoutConnectorsSaysSo(t *testing.T) {
	w := newWorld(t)
	api, err := control.New(control.DefaultConfig(), control.Deps{
		Directory: w.directory, Catalogue: w.catalogue, Plans: w.plans, Ledger: w.log, Bundles: w.bundles, Vault: w.vault,
		Now: w.clock.now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)),
	})
	w.must(err)
	w.api = api
	if a := w.call("GET", "/api/v1/connectors", w.admin, ""); a.status != http.StatusOK || strings.TrimSpace(a.body) != `{"items":[]}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, c := range [][2]string{{"GET", "x"}, {"POST", "x/restart"}, {"GET", "x/logs"}} {
		w.call(c[0], "/api/v1/connectors/"+c[1], w.admin, "").refused(t, http.StatusNotFound, "not_found")
	}
}
