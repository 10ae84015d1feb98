// Command gatewright is the gate that AI agents pass to reach tools and models. Without a command it serves.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/wasm/build"
)

func main() {
	build.Hook() // a process started to compile a filter never comes back from here
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, cli.Runner{
		Serve: serve, ConnectorServe: connectorServe, CheckConnector: checkConnector, Servers: servers, ListTools: listTools,
	}))
}

// serve runs a gateway until ctx ends.
func serve(ctx context.Context, o cli.ServeOptions) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	env := os.Environ()
	if o.Alone {
		env = nil
	}
	conf, err := server.Load(o.Config, o.Data, o.Listen, o.Control, env)
	if err != nil {
		return err
	}
	return server.Run(ctx, server.Options{
		Config: conf, Version: cli.Version(), Self: []string{self}, Out: o.Stdout,
		Log: server.Logger(conf.Log, o.Stderr), Now: time.Now, Since: time.Since, Rand: rand.Reader,
	})
}

// connectorServe is the whole life of a process that the gateway starts of this same binary.
func connectorServe(kind string) int {
	return builtin.Serve(kind, server.Connectors(), os.Getenv, os.Stderr)
}
