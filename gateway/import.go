package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/server"
)

// servers reads the servers of a configuration as a gateway reads it.
func servers(file string, doc []byte) ([]cli.ConfiguredServer, error) {
	conf, err := config.Config{}, error(nil)
	if doc == nil {
		conf, err = server.Load(file, "", "", "", os.Environ())
	} else {
		conf, err = config.Parse(file, doc)
	}
	if err != nil {
		return nil, err
	}
	var out []cli.ConfiguredServer
	for _, name := range slices.Sorted(maps.Keys(conf.Servers)) {
		s := conf.Servers[name]
		out = append(out, cli.ConfiguredServer{
			Name: name, Tenant: s.Tenant, URL: s.URL, Command: s.Command, PassEnv: s.PassEnv, Dir: s.Dir,
			AllowPrivate: s.AllowPrivate, Credential: s.Credential, Header: s.Header, Prefix: s.Prefix,
		})
	}
	return out, nil
}

// listTools starts or reaches one of the servers of a configuration and reads its tools.
func listTools(ctx context.Context, l cli.ToolListing) ([]json.RawMessage, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	conf, err := config.Parse("proposal", l.Doc)
	if err != nil {
		return nil, err
	}
	return server.ListTools(ctx, server.Listing{Config: conf, Name: l.Name, Self: []string{self}, Env: l.Env, Credential: l.Credential})
}
