package server

import (
	"context"
	"slices"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Before has do run in every call that comes to a stage, before it does. It is for before the first call.
func (g *Gateway) Before(stage string, do func(c *pipeline.Call)) {
	at := slices.IndexFunc(g.line.Stages, func(s pipeline.Stage) bool { return s.Name() == stage })
	g.line.Stages = slices.Insert(slices.Clone(g.line.Stages), at, pipeline.Stage(interlude(do)))
}

type interlude func(c *pipeline.Call)

func (interlude) Name() string                                      { return "interlude" }
func (i interlude) Check(_ context.Context, c *pipeline.Call) error { i(c); return nil }

// Force is what a call of the tenant would be judged by now. Its filters must be released.
func (g *Gateway) Force(tenant string) pipeline.Force { return g.force.Take(tenant, nil) }
