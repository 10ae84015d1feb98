package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector/connectortest"
	"github.com/gatewright/gatewright/plugins/stdio"
)

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
