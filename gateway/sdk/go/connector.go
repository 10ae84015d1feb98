package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Connector is a process through which the gateway reaches an MCP server.
type Connector struct {
	Name      string    `json:"name"`
	State     string    `json:"state"` // starting, running, broken, stopped
	PID       int       `json:"pid,omitempty"`
	Program   string    `json:"program,omitempty"` // as the process calls itself
	Version   string    `json:"version,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Starts    uint64    `json:"starts"`
	Crashes   uint64    `json:"crashes"`
	InFlight  int       `json:"in_flight"`
	Pings     uint64    `json:"pings"`
	LastError string    `json:"last_error,omitempty"`
}

// LogLine is one line that a connector wrote to its standard error: its own text, not the gateway's.
type LogLine struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Connectors lists the organisation's connectors.
func (a *Admin) Connectors(ctx context.Context) ([]Connector, error) {
	return listAll[Connector](ctx, a.end, "/api/v1/connectors")
}

// Connector returns one connector.
func (a *Admin) Connector(ctx context.Context, name string) (*Connector, error) {
	out := &Connector{}
	return out, a.get(ctx, "/api/v1/connectors/"+url.PathEscape(name), out)
}

// RestartConnector starts a connector anew and returns it once the new process serves. On error the old one stays.
func (a *Admin) RestartConnector(ctx context.Context, name string) (*Connector, error) {
	out := &Connector{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/connectors/"+url.PathEscape(name)+"/restart", nil, out)
}

// ConnectorLogs returns a connector's newest lines, oldest first; lines of zero asks for the gateway's default number.
func (a *Admin) ConnectorLogs(ctx context.Context, name string, lines int) ([]LogLine, error) {
	path := "/api/v1/connectors/" + url.PathEscape(name) + "/logs"
	if lines > 0 {
		path += "?" + url.Values{"lines": {strconv.Itoa(lines)}}.Encode()
	}
	var out struct {
		Items []LogLine `json:"items"`
	}
	return out.Items, a.get(ctx, path, &out)
}
