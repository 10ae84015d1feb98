package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/proxy/armoriq"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
	"github.com/gatewright/gatewright/gateway/proxy/native"
	"github.com/gatewright/gatewright/gateway/quota"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// buildLine puts the stages in their row. The order is a security property: configuration tunes stages and never
// reorders or removes them.
func (g *Gateway) buildLine(context.Context) error {
	q, p := g.o.Config.Quota, g.o.Config.Proxy
	g.strange = &pipeline.Strangers{}
	g.sources = stages.NewLimiter(q.SourceRate, q.SourceBurst)
	g.flips = &stages.Flips{Now: g.o.Now}
	counters, err := quota.New(quota.Config{Window: q.SessionWindow, Counters: q.Counters}, g.store)
	if err != nil {
		return err
	}
	u := g.o.Config.Upstream
	g.rounds.HoldFor, g.rounds.MostHeld = u.AnswerTimeout, u.HeldCalls
	g.rounds.MostHeldTenant, g.rounds.MostHeldOf = u.HeldCallsPerTenant, u.HeldCallsPerAgent
	g.force = &inForce{&g.bundles.engines, g.filters.Service}
	g.line = &pipeline.Line{
		Stages: []pipeline.Stage{
			stages.Identify{Directory: g.people, Tokens: g.people, Verifier: g.verifier, Sources: g.sources},
			stages.Quota{Tenants: stages.NewLimiter(q.TenantRate, q.TenantBurst), Agents: stages.NewLimiter(q.AgentRate, q.AgentBurst)},
			stages.Read{},
			stages.Scope{},
			stages.Retry{Answers: &pipeline.Answers{MaxEntries: p.RetryEntries, MaxBytes: int(p.RetryBytes), Keep: p.RetryFor}, Verifier: g.verifier},
			stages.Intent{Verifier: g.verifier, Plans: heldPlans{g}, Anchors: g.plans.Anchors, Proofs: g.proofs, Tools: g.tools, Used: g.ledger.Used},
			stages.Terms{Keeper: g.terms},
			stages.Session{Policies: g.force, Counters: counters, Origin: g.plans.Origin},
			&stages.Filter{Filters: g.force, Arguments: requestLimits(p), Results: replyLimits(g.o.Config.Upstream)},
			stages.Decide{Policies: g.force, Done: g.ledger.Done, Approvals: g.approvals, Flips: g.flips},
			stages.Rates{Counters: counters},
		},
		Ledger:    g.ledger,
		Upstream:  stages.Forward{Client: g.client, Servers: servers{g}, Rounds: &g.rounds},
		Approvals: g.approvals,
		Strangers: g.strange,
		Flipped:   g.flips.Note,
		Instance:  g.o.Config.Ledger.Instance,
		Receipts:  g.o.Config.Ledger.Receipts,
		Now:       g.o.Now,
		Since:     g.o.Since,
		Rand:      g.o.Rand,
		Log:       g.o.Log,
		Limit:     g.o.Config.Proxy.ReadTimeout,
	}
	if g.o.Config.Ledger.Arguments == "sealed" {
		g.line.Subjects = g.vault
	}
	return g.buildProxy()
}

// buildProxy gives each first path segment of the data port its dialect.
func (g *Gateway) buildProxy() error {
	c := g.o.Config.Proxy
	trusted, err := prefixes(c.TrustedProxies)
	if err != nil {
		return err
	}
	limits := requestLimits(c)
	book := &native.Ledger{
		Line: g.line, Book: publish.Book{Log: g.ledger, Publisher: g.published}, Retry: g.o.Config.Ledger.CheckpointEvery,
		Instance: wal.InstanceName(g.o.Config.Ledger.Instance, g.ledger.Generation()),
	}
	tasks, err := g.tasks()
	if err != nil {
		return err
	}
	g.rounds.Seals = g.seals
	g.sessions = &mcp.Sessions{Seals: g.seals, Idle: c.SessionIdle, Life: c.SessionLife, Hub: g.hub}
	g.hub.Servers = listened{g}
	g.hub.Dialect = &mcp.Dialect{
		Line: g.line, Catalogue: g.tools, Policies: g.force, Overlays: g.overlays, Version: g.o.Version, JSON: limits, Cursors: g.seals,
		Rounds: &g.rounds, Sessions: g.sessions, Hub: g.hub, Tasks: tasks,
	}
	routes := map[string]proxy.Route{
		"mcp":         g.hub.Dialect,
		"api":         &native.Dialect{Line: g.line, Plans: g.plans, JSON: limits, Ledger: book},
		"ledger":      book,
		".well-known": &native.Keys{Version: g.o.Version, LedgerKeys: g.ledgerKeys(), JWKS: g.jwks, Protected: g.protected},
	}
	if g.o.Config.ArmorIQ.Enabled {
		d := g.armoriq()
		for _, first := range armoriq.Words() {
			routes[first] = d
		}
		routes["mcp"] = words{mcp: routes["mcp"].(*mcp.Dialect), armoriq: d}
	}
	g.proxy = proxy.New(proxy.Config{
		MaxBody: int(c.MaxBody), MaxHeader: int(c.MaxHeader),
		ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout,
		MaxConns: c.MaxConnections, MaxConnsPerIP: c.MaxConnectionsPerIP,
		TrustedProxies: trusted, Hosts: c.Hosts, Origins: c.Origins, Protected: g.protected, ClientCertificates: c.ClientCA != "",
		MaxStreams: c.MaxStreams, MaxStreamsPerAgent: c.MaxStreamsPerAgent, MaxStreamsPerIP: c.MaxStreamsPerIP,
		StreamQueue: int(c.StreamQueue), StreamKeepAlive: c.StreamKeepAlive,
	}, g.line, routes, g.ready, g.o.Log)
	return nil
}

// tasks are calls that are answered later. The key of their ids is made of the store's, so that they outlive the process.
func (g *Gateway) tasks() (*pipeline.Tasks, error) {
	key, err := hkdf.Key(sha256.New, g.keys.store, nil, "gatewright/task-ids/v1", 32)
	if err != nil {
		return nil, fmt.Errorf("make the key of task ids: %w", err)
	}
	t, err := pipeline.NewTasks(key)
	if err != nil {
		return nil, err
	}
	c := g.o.Config.Proxy
	t.TTL, t.Poll, t.Wait, t.MostOf, t.Most = c.TaskTTL, c.TaskPoll, c.TaskWait, c.MaxTasksPerAgent, c.MaxTasks
	return t, nil
}

// requestLimits bound a request's JSON, and replyLimits that of an answer.
func requestLimits(c config.Proxy) canon.Limits {
	return canon.Limits{Bytes: int(c.MaxBody), Depth: c.JSONDepth, Values: c.JSONValues}
}

func replyLimits(c config.Upstream) canon.Limits {
	return canon.Limits{Bytes: int(c.MaxReply), Depth: c.JSONDepth, Values: c.JSONValues}
}

func (g *Gateway) jwks() []byte { return g.issuers.JWKS(g.o.Config.Intent.Issuer) }

// heldPlans narrows the register of plans to what the intent stage asks.
type heldPlans struct{ g *Gateway }

// Held finds the plan by its root.
func (h heldPlans) Held(tenant string, root merkle.Hash) (*intent.Held, string, bool) {
	held, state, ok := h.g.plans.Held(tenant, root)
	if ok && held == nil && h.g.plans.UsedUp(tenant, root) {
		return nil, stages.UsedUp, true
	}
	return held, string(state), ok
}

// prefixes reads addresses and ranges; an address alone is the range of itself.
func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
