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

func TestConnectorsAreListedRestartedAndTheirLogsRead(t *testing.T) {
	g := newGateway(t)
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		one := `{"name":"files","state":"running","pid":7,"program":"f","version":"2","since":"2026-01-01T00:00:00Z","starts":3,"crashes":1,"in_flight":2,"pings":9}`
		switch {
		case strings.HasSuffix(r.URL.Path, "/logs"):
			answer(w, 200, `{"items":[{"time":"2026-01-01T00:00:00Z","text":"hello"}]}`)
		case r.URL.Path == "/api/v1/connectors":
			answer(w, 200, `{"items":[`+one+`]}`)
		default:
			answer(w, 200, one)
		}
	})
	a, ctx := g.admin(t), t.Context()
	want := gatewright.Connector{
		Name: "files", State: "running", PID: 7, Program: "f", Version: "2", Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Starts: 3, Crashes: 1, InFlight: 2, Pings: 9,
	}
	if all, err := a.Connectors(ctx); err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("list: %+v %v", all, err)
	}
	if c, err := a.Connector(ctx, "files"); err != nil || *c != want {
		t.Errorf("one: %+v %v", c, err)
	}
	if c, err := a.RestartConnector(ctx, "fi/les"); err != nil || *c != want {
		t.Errorf("restart: %+v %v", c, err)
	}
	for _, n := range []int{0, 5} {
		if lines, err := a.ConnectorLogs(ctx, "files", n); err != nil || len(lines) != 1 || lines[0].Text != "hello" || !lines[0].Time.Equal(want.Since) {
			t.Errorf("logs: %+v %v", lines, err)
		}
	}
	sent := "GET /api/v1/connectors\nGET /api/v1/connectors/files\nPOST /api/v1/connectors/fi%2Fles/restart\nGET /api/v1/connectors/files/logs\nGET /api/v1/connectors/files/logs?lines=5"
	if got := strings.Join(seen, "\n"); got != sent {
		t.Errorf("sent\n%s\nwant\n%s", got, sent)
	}
}

func TestARestartThatIsRefusedIsAnError(t *testing.T) {
	g := newGateway(t)
	g.on("POST /api/v1/connectors/files/restart", 502, `{"code":"connector_failed","detail":"exit status 3","hint":"read its logs","record":"rec_1"}`)
	g.on("GET /api/v1/connectors/files/logs", 200, `{"items":[{"time":"yesterday"}]}`)
	_, err := g.admin(t).RestartConnector(t.Context(), "files")
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "connector_failed" || e.Message != "exit status 3" || e.Record != "rec_1" {
		t.Errorf("got %v", err)
	}
	if lines, err := g.admin(t).ConnectorLogs(t.Context(), "files", 0); !errors.Is(err, gatewright.ErrAnswer) {
		t.Errorf("got %v, %v", lines, err)
	}
}
