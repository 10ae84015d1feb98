// Package builtin holds the connectors that are part of the gateway's own
// binary. The gateway starts itself again with a hidden command to run one.
package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/demo"
	"github.com/gatewright/gatewright/plugins/stdio"
)

// Verb is the hidden command; the kind of connector follows it.
const Verb = "connector-serve"

// ConfigVariable is the variable of the environment that holds a connector's
// configuration as JSON. It does not stand on the command line, which other
// users can read.
const ConfigVariable = "GATEWRIGHT_CONNECTOR_CONFIG"

// The kinds of connectors.
const (
	Stdio   = "stdio"   // runs an MCP server by command; configured by stdio.Config
	HTTP    = "http"    // reaches an MCP server by URL; configured by whoever passes its maker
	OpenAPI = "openapi" // is an API that a document describes; configured by whoever passes its maker
	Demo    = "demo"    // is the demo server; has no configuration
)

// Maker makes a server from its configuration. log is where the server says what its operator should know.
type Maker func(config []byte, log io.Writer) (connector.Server, error)

// Version is what the connectors say of themselves.
const Version = "1"

// Exit codes of Serve, beside those of connector.Serve.
const (
	exitFailed = 1 // it could not be started
	exitUsage  = 2 // started by hand, or as something there is not
)

// Serve is the whole life of a built-in connector's process and returns the
// code to exit with. makers make the servers of the kinds that need what stands
// above this package, by their kind. getenv is os.Getenv but in tests. stderr,
// the process's own, gets one line when the connector cannot be started, and
// what it has to say later.
func Serve(kind string, makers map[string]Maker, getenv func(string) string, stderr io.Writer) int {
	if getenv(connector.Handshake.MagicCookieKey) != connector.Handshake.MagicCookieValue {
		fmt.Fprintf(stderr, "%s: the gateway starts its connectors itself; there is nothing to do here by hand\n", Verb)
		return exitUsage
	}
	// Until connector.Serve takes over, SIGTERM ends the start.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server, err := open(ctx, kind, []byte(getenv(ConfigVariable)), makers, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s %s: %v\n", Verb, kind, err)
		if errors.Is(err, errKind) {
			return exitUsage
		}
		return exitFailed
	}
	code := connector.Serve(connector.Info{Name: kind, Version: Version}, server)
	if c, ok := server.(io.Closer); ok {
		if err := c.Close(); err != nil {
			fmt.Fprintf(stderr, "%s %s: end: %v\n", Verb, kind, err)
		}
	}
	return code
}

var errKind = errors.New("there is no such kind of connector")

func open(ctx context.Context, kind string, config []byte, makers map[string]Maker, stderr io.Writer) (connector.Server, error) {
	switch kind {
	case Demo:
		return demo.New()
	case Stdio:
		c, err := stdio.ParseConfig(config)
		if err != nil {
			return nil, err
		}
		return stdio.New(ctx, c, stderr)
	}
	if maker := makers[kind]; maker != nil {
		return maker(config, stderr)
	}
	return nil, errKind
}
