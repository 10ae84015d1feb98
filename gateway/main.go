// Command gatewright is the gate that AI agents pass to reach tools and models. Without a command it serves.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector/connectortest"
	"github.com/gatewright/gatewright/plugins/stdio"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, cli.Runner{
		Serve: serve, ConnectorServe: connectorServe, CheckConnector: checkConnector,
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
		Log: server.Logger(conf.Log, o.Stderr), Now: time.Now, Rand: rand.Reader,
	})
}

// connectorServe is the whole life of a process that the gateway starts of this same binary.
func connectorServe(kind string) int {
	return builtin.Serve(kind, server.HTTPConnector, os.Getenv, os.Stderr)
}

// checkConnector starts an author's program as a gateway would and tries what it must be able to do. An MCP server on
// standard streams is run below this same binary, and sees of the environment what a gateway lets it see by default.
func checkConnector(ctx context.Context, c cli.ConnectorCheck) error {
	candidate := connectortest.Candidate{Path: c.Path, Args: c.Args}
	if c.Command {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		pass := []string{"PATH", "HOME"}
		conf, err := json.Marshal(stdio.Config{Path: c.Path, Args: c.Args, PassEnv: pass})
		if err != nil {
			return fmt.Errorf("configure the built-in connector: %w", err)
		}
		candidate = connectortest.Candidate{
			Path: self, Args: []string{builtin.Verb, builtin.Stdio}, Env: []string{builtin.ConfigVariable + "=" + string(conf)}, PassEnv: pass,
		}
	}
	for _, call := range c.Calls {
		candidate.Calls = append(candidate.Calls, connectortest.Example{Tool: call.Tool, Arguments: call.Arguments})
	}
	return connectortest.Watch(ctx, candidate, connectortest.Observer{Begins: c.Begins, Ends: c.Ends, Listed: c.Listed})
}
