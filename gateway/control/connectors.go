package control

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Connectors are the processes that reach MCP servers, as far as this port looks after them. A tenant's names are its
// own: what is another tenant's is not found. Restart returns once the new process serves in the place of the old one;
// on error the old one, if any, stays. Logs returns the newest n lines, oldest first.
type Connectors interface {
	List(tenant string) []ConnectorView
	Restart(ctx context.Context, tenant, name string) error
	Logs(tenant, name string, n int) ([]LogLine, bool)
}

// ErrNoConnector is what Restart returns, wrapped or not, for a name that the tenant does not have.
var ErrNoConnector = errors.New("no such connector")

// ConnectorView is one connector and how it does. No command line, environment or path is in it.
type ConnectorView struct {
	Name      string
	State     string // starting, running, broken or stopped
	PID       int    // 0 while there is no process
	Program   string // the name the process gives itself
	Version   string // the version it gives itself
	Since     time.Time
	Starts    uint64
	Crashes   uint64
	InFlight  int
	Pings     uint64
	LastError string
}

// LogLine is one line that a connector wrote to its standard error. It is the connector's text, not to be trusted.
type LogLine struct {
	Time time.Time
	Text string
}

// noConnectors stands in for a gateway without any.
type noConnectors struct{}

func (noConnectors) List(string) []ConnectorView                   { return nil }
func (noConnectors) Restart(context.Context, string, string) error { return ErrNoConnector }
func (noConnectors) Logs(string, string, int) ([]LogLine, bool)    { return nil, false }

// connector is one as answered.
type connector struct {
	Name      string     `json:"name"`
	State     string     `json:"state" enum:"starting,running,broken,stopped" doc:"broken: it crashed too often and is tried again later"`
	PID       int        `json:"pid,omitempty" doc:"absent while there is no process"`
	Program   string     `json:"program,omitempty" doc:"as the process calls itself; not to be trusted"`
	Version   string     `json:"version,omitempty" doc:"as the process says; not to be trusted"`
	Since     *time.Time `json:"since,omitempty" doc:"when it came into this state"`
	Starts    uint64     `json:"starts" doc:"processes started so far"`
	Crashes   uint64     `json:"crashes" doc:"processes that ended unasked"`
	InFlight  int        `json:"in_flight" doc:"calls it is working on"`
	Pings     uint64     `json:"pings" doc:"health checks answered"`
	LastError string     `json:"last_error,omitempty"`
}

type connectorOut struct{ Body connector }

type connectorPath struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
}

type connectorLogsIn struct {
	Name  string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
	Lines int    `query:"lines" minimum:"1" maximum:"1000" default:"100" doc:"how many at most, the newest; the server may answer fewer"`
}

type logLine struct {
	Time time.Time `json:"time"`
	Text string    `json:"text" doc:"as the connector wrote it; not to be trusted"`
}

type connectorLogsOut struct {
	Body struct {
		Items []logLine `json:"items" nullable:"false" doc:"oldest first"`
	}
}

// Bounds of what a connector says of itself: a name or an error in clipText bytes, a line in maxLogLine, and all lines of
// one answer in maxLogBytes, which is far below what an answer may hold even if every byte is escaped.
const (
	clipText    = 300
	maxLogLine  = 8 << 10
	maxLogBytes = 1 << 20
)

func (m *mounting) connectors() {
	all := m.api.deps.Connectors
	handle(m, "list-connectors", func(_ context.Context, c *call, in *listing) (*paged[connector], error) {
		return paginate(c, *in, all.List(c.caller.Tenant()), func(v *ConnectorView) string { return v.Name }, shapeConnector)
	})
	handle(m, "get-connector", func(_ context.Context, c *call, in *connectorPath) (*connectorOut, error) {
		return m.api.readConnector(c, in.Name)
	})
	handle(m, "restart-connector", func(ctx context.Context, c *call, in *connectorPath) (*connectorOut, error) {
		err := all.Restart(ctx, c.caller.Tenant(), in.Name)
		switch {
		case errors.Is(err, ErrNoConnector):
			return nil, notFound()
		case err != nil:
			return nil, refuse(http.StatusBadGateway, "connector_failed", clip(err.Error(), clipText), "the process before stays in place, if there was one; its logs may say more")
		}
		return m.api.readConnector(c, in.Name)
	})
	handle(m, "list-connector-logs", func(_ context.Context, c *call, in *connectorLogsIn) (*connectorLogsOut, error) {
		lines, ok := all.Logs(c.caller.Tenant(), in.Name, in.Lines)
		if !ok {
			return nil, notFound()
		}
		out := &connectorLogsOut{}
		out.Body.Items = shapeLines(lines)
		return out, nil
	})
}

func (a *API) readConnector(c *call, name string) (*connectorOut, error) {
	for _, v := range a.deps.Connectors.List(c.caller.Tenant()) {
		if v.Name == name {
			return &connectorOut{Body: shapeConnector(&v)}, nil
		}
	}
	return nil, notFound()
}

func shapeConnector(v *ConnectorView) connector {
	return connector{
		Name: v.Name, State: v.State, PID: v.PID, Program: clip(v.Program, clipText), Version: clip(v.Version, clipText), Since: moment(v.Since),
		Starts: v.Starts, Crashes: v.Crashes, InFlight: v.InFlight, Pings: v.Pings, LastError: clip(v.LastError, clipText),
	}
}

// shapeLines keeps the newest lines that fit.
func shapeLines(lines []LogLine) []logLine {
	first, size := len(lines), 0
	for first > 0 {
		if size += min(len(lines[first-1].Text), maxLogLine); size > maxLogBytes {
			break
		}
		first--
	}
	out := make([]logLine, 0, len(lines)-first)
	for _, l := range lines[first:] {
		out = append(out, logLine{l.Time.UTC(), clip(l.Text, maxLogLine)})
	}
	return out
}
