package cli_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/cli"
)

func TestConnectorsAreLookedAfterOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.RequestURI())
		switch {
		case strings.HasSuffix(r.URL.Path, "/logs"):
			answer(w, 200, `{"items":[{"time":"2026-01-01T00:00:00.25Z","text":"one\u001b[31m\nforged"},{"time":"2026-01-01T01:00:00+01:00","text":""}]}`)
		case r.URL.Path == "/api/v1/connectors":
			answer(w, 200, `{"items":[{"name":"files","state":"running","pid":7,"program":"f\u0007","version":"2","since":"2026-01-01T00:00:00Z","starts":3,"crashes":1,"in_flight":2,"pings":9},
				{"name":"mail","state":"broken","starts":9,"crashes":9,"in_flight":0,"pings":0,"last_error":"exit\n status 3"}]}`)
		case strings.HasSuffix(r.URL.Path, "/files/restart"):
			answer(w, 200, `{"name":"files","state":"running","starts":4,"crashes":1,"in_flight":0,"pings":0}`)
		default:
			answer(w, 502, `{"code":"connector_failed","detail":"exit status 3","hint":"read its logs","record":"rec_1"}`)
		}
	})
	table := "NAME   STATE    SINCE                 PID  STARTS  CRASHES  IN FLIGHT  PROGRAM  LAST ERROR\n" +
		"files  running  2026-01-01T00:00:00Z  7    3       1        2          f 2      -\n" +
		"mail   broken   -                     -    9       9        0          -        exit status 3\n"
	for _, c := range []struct {
		out  string
		args []string
	}{
		{table, []string{"connector", "list"}},
		{"files running\n", []string{"connector", "restart", "files"}},
		{"2026-01-01T00:00:00.250Z one[31mforged\n2026-01-01T00:00:00.000Z \n", []string{"connector", "logs", "files", "-n", "5"}},
	} {
		if o := h.run(t, c.args...); o.code != 0 || o.out != c.out || o.errOut != "" {
			t.Errorf("%q:\n got %q (exit %d, %s)\nwant %q", c.args, o.out, o.code, o.errOut, c.out)
		}
	}
	for _, args := range [][]string{{"connector", "list", "--json"}, {"connector", "logs", "files", "--json"}} {
		var list []map[string]any
		if o := h.run(t, args...); o.code != 0 || json.Unmarshal([]byte(o.out), &list) != nil || len(list) != 2 {
			t.Errorf("%q: %+v", args, o)
		}
	}
	h.fails(t, 1, "connector_failed: exit status 3 (rec_1)", "connector", "restart", "mail")
	h.fails(t, 2, "not between", "connector", "logs", "files", "--lines", "0")
	h.fails(t, 2, "not between", "connector", "logs", "files", "--lines", "1001")
	h.fails(t, 2, "expected \"<name>\"", "connector", "restart")
	want := "GET /api/v1/connectors\nPOST /api/v1/connectors/files/restart\nGET /api/v1/connectors/files/logs?lines=5\n" +
		"GET /api/v1/connectors\nGET /api/v1/connectors/files/logs?lines=100\nPOST /api/v1/connectors/mail/restart"
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

func TestAConnectorThatIsNotThereIsToldFromThoseThatAre(t *testing.T) {
	h := newHouse(t)
	items := `{"name":"demo","state":"running"},{"name":"fs","state":"running"}`
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/connectors":
			answer(w, 200, `{"items":[`+items+`]}`)
		case "/api/v1/connectors/demo/logs":
			answer(w, 200, `{"items":[]}`)
		default:
			answer(w, 404, `{"code":"not_found","message":"there is no such thing in this organisation","record":"rec_1"}`)
		}
	})
	hints := func(want string) {
		t.Helper()
		for _, args := range [][]string{{"logs", "nosuch"}, {"restart", "nosuch"}} {
			if o := h.run(t, append([]string{"connector"}, args...)...); o.code != 1 || o.out != "" || !strings.HasPrefix(o.errOut, want) {
				t.Errorf("%q: %+v", args, o)
			}
		}
	}
	hints("gatewright: no connector \"nosuch\"\nhint: there are: demo, fs; ")
	if o := h.run(t, "connector", "logs", "demo"); o != (outcome{0, "", "demo has written nothing\n"}) {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "connector", "logs", "demo", "--json"); o.code != 0 || o.out != "[]\n" || o.errOut != "" {
		t.Errorf("%+v", o)
	}
	items = ""
	hints("gatewright: no connector \"nosuch\"\nhint: there are none; ")
	items = `{"name":"nosuch","state":"running"}` // it came meanwhile
	hints("gatewright: not_found: ")
	items = "?"
	hints("gatewright: not_found: ")
}

type check struct {
	name string
	err  error
	took time.Duration
}

type noHandshake struct{}

func (noHandshake) Error() string     { return "the process ended: exit status 0" }
func (noHandshake) NoHandshake() bool { return true }

func TestAConnectorIsCheckedWithoutAGateway(t *testing.T) {
	program := filepath.Join(t.TempDir(), "connector")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil { //nolint:gosec // it has to be a program
		t.Fatal(err)
	}
	h := &house{env: map[string]string{}}
	var checks []check
	var end error
	var got []string
	var seen cli.ConnectorCheck
	h.runner.CheckConnector = func(_ context.Context, v cli.ConnectorCheck) error {
		seen, got = v, append([]string{v.Path}, v.Args...)
		v.Begins("starts", 30*time.Second)
		v.Listed(8, 8-len(v.Calls))
		for _, c := range checks {
			v.Ends(c.name, c.err, c.took)
		}
		return end
	}
	checks = []check{{"handshake", nil, 42 * time.Microsecond}, {"list", nil, 1500 * time.Microsecond}, {"restart", nil, 2 * time.Second}}
	o := h.run(t, "connector", "check", "--", program, "--flag", "a,b", "--", "-x")
	const waits = "starts ... (up to 30s)\n"
	want := "ok      handshake                                42 us\nok      list                                    1.5 ms\nok      restart                                 2.00 s\n" +
		"3 checks passed; 8 of 8 tools were not called: --call TOOL=JSON calls one\n"
	if o.code != 0 || o.out != want || o.errOut != waits || seen.Command || strings.Join(got, " ") != program+" --flag a,b -- -x" {
		t.Errorf("%+v, program %q", o, got)
	}
	checks[1].err = errors.New("two tools\nhave one name\x1b[2J")
	o = h.run(t, "connector", "check", program)
	if o.code != 1 || !strings.Contains(o.out, "\nFAILED  list                                    1.5 ms  two tools have one name[2J\n") ||
		!strings.HasPrefix(o.errOut, waits+"gatewright: connector check: 1 of 3 checks failed\nhint: the lines") {
		t.Errorf("%+v", o)
	}
	checks, end = nil, errors.New("it never answered")
	if o = h.run(t, "connector", "check", program); o.code != 1 || !strings.Contains(o.errOut, "gatewright: connector check: it never answered\nhint: ") || o.out != "" {
		t.Errorf("%+v", o)
	}
	checks = []check{{"handshake", nil, 0}}
	if o = h.run(t, "connector", "check", program); o.code != 1 || strings.Contains(o.out, "passed") {
		t.Errorf("checks that were broken off: %+v", o)
	}
	checks, end = nil, nil
	if o = h.run(t, "connector", "check", program); o.code != 1 {
		t.Errorf("nothing checked is not good: %+v", o)
	}
	checks = []check{{"starts", nil, 0}}
	call := []string{"connector", "check", "--command", "--call", `a={"x":[1,2]}`, "--call", "b={}"}
	o = h.run(t, append(call, "--", program, "--call")...)
	if o.code != 0 || !strings.HasSuffix(o.out, "\n1 checks passed; 6 of 8 tools were not called: --call TOOL=JSON calls one\n") || !seen.Command ||
		fmt.Sprint(seen.Calls) != `[{a {"x":[1,2]}} {b {}}]` || strings.Join(got, " ") != program+" --call" {
		t.Errorf("%+v, %+v, program %q", o, seen.Calls, got)
	}
	for range 6 {
		call = append(call, "--call", "c={}")
	}
	if o = h.run(t, append(call, "--", program)...); o.code != 0 || !strings.HasSuffix(o.out, "\n1 checks passed\n") {
		t.Errorf("all tools called: %+v", o)
	}
	checks[0].err = noHandshake{}
	if o = h.run(t, "connector", "check", program); o.code != 1 || !strings.Contains(o.errOut, "connector check --command -- PROGRAM") {
		t.Errorf("an MCP server for a connector: %+v", o)
	}
	if o = h.run(t, "connector", "check", "--command", "--", program); o.code != 1 || strings.Contains(o.errOut, "--command") {
		t.Errorf("no MCP server either: %+v", o)
	}
	for _, bad := range []string{"a", "a=", "={}", "a=1", `a={"x":1,"x":2}`} {
		h.fails(t, 2, "--call", "connector", "check", "--call", bad, "--", program)
	}
	h.fails(t, 2, "no program", "connector", "check", "--", "/nonexistent/connector")
	h.fails(t, 2, "no program", "connector", "check", "--")
	h.fails(t, 2, "expected", "connector", "check")
	h.runner.CheckConnector = nil
	if o = h.run(t, "connector", "check", program); o.code != 1 {
		t.Errorf("without connectors: %+v", o)
	}
}

func TestABuiltInConnectorEndsWithItsOwnCode(t *testing.T) {
	h := &house{env: map[string]string{}}
	kind := ""
	h.runner.ConnectorServe = func(k string) int { kind = k; return len(k) }
	if o := h.run(t, "connector-serve", "stdio"); o != (outcome{code: 5}) || kind != "stdio" {
		t.Errorf("%+v of %q", o, kind)
	}
	h.runner.ConnectorServe = func(string) int { return 0 }
	if o := h.run(t, "connector-serve", "demo"); o != (outcome{}) {
		t.Errorf("%+v", o)
	}
	h.fails(t, 2, "expected \"<kind>\"", "connector-serve")
	h.runner.ConnectorServe = nil
	if o := h.run(t, "connector-serve", "demo"); o.code != 1 {
		t.Errorf("without connectors: %+v", o)
	}
	if o := h.run(t, "--help"); strings.Contains(o.out, "connector-serve") || !strings.Contains(o.out, "connector check") {
		t.Errorf("help: %+v", o)
	}
}

func TestAGatewaysOwnAuthorityIsNamedByFlagOrVariable(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/agents" {
			answer(w, 200, `{"items":[]}`)
			return
		}
		answer(w, 201, `{"token":"`+token+`","id":"tok_1"}`)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	srv.StartTLS()
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	h := newHouse(t)
	h.env["GATEWRIGHT_URL"], h.env["GATEWRIGHT_CONTROL_URL"] = srv.URL, srv.URL
	for _, args := range [][]string{{"token", "pln_1"}, {"agent", "list"}} {
		h.fails(t, 3, "certificate is not trusted", args...)
		if o := h.run(t, append(args, "--ca", ca)...); o.code != 0 {
			t.Errorf("%q: %+v", args, o)
		}
		h.env["GATEWRIGHT_CA"] = ca
		if o := h.run(t, args...); o.code != 0 {
			t.Errorf("%q by the environment: %+v", args, o)
		}
		h.fails(t, 2, "holds no certificate", append(args, "--ca", file("empty.pem", nil))...)
		h.env["GATEWRIGHT_CA"] = filepath.Join(dir, "nowhere.pem")
		h.fails(t, 2, "no such file", args...)
		delete(h.env, "GATEWRIGHT_CA")
	}
}
