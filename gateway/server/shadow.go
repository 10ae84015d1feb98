package server

import (
	"context"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/policies"
)

// policyParts is what changes of policy are judged with.
func (g *Gateway) policyParts() control.Policies {
	return control.Policies{
		Set: &g.bundles.engines, Revision: g.bundles.Bundle, Tools: g.tools.Defs, Principal: g.principalNow, Flips: g.flips.Stats,
		Compile: func(tenant string, b *policies.Bundle) (*policies.Engine, error) {
			return policies.Compile(b, g.tools.Defs(tenant))
		},
	}
}

// principalNow is a caller as the directory knows it now: an agent or, where none called, a user.
func (g *Gateway) principalNow(ctx context.Context, tenant, agent, user string) (*policies.Principal, bool) {
	if agent != "" {
		a, err := g.people.Agent(ctx, tenant, agent)
		return &policies.Principal{
			Kind: "Agent", ID: agent, Tenant: tenant, Owner: a.Owner, Trust: a.Trust, Status: string(a.Status),
			Teams: a.Teams, Labels: a.Labels, TalksTo: a.TalksTo,
		}, err == nil
	}
	u, err := g.people.User(ctx, tenant, user)
	return &policies.Principal{
		Kind: "User", ID: user, Tenant: tenant, Trust: identity.MaxTrust, Status: string(u.Status), Teams: u.Teams, Roles: []string{string(u.Role)},
	}, err == nil
}

// shadowFamilies are what policies in shadow would have answered differently, for /metrics.
func (g *Gateway) shadowFamilies() []control.Family {
	of := func(name, help string, labels []string, values func(tenant string, s stages.FlipStats, emit func(float64, ...string))) control.Family {
		return control.Family{
			Name: "gatewright_policy_shadow_" + name + "_total", Help: help, Labels: append([]string{"tenant"}, labels...), Counter: true,
			Values: func(emit func(float64, ...string)) {
				g.flips.Each(func(tenant string, s stages.FlipStats) { values(tenant, s, emit) })
			},
		}
	}
	count := func(name, help string, value func(stages.FlipStats) uint64) control.Family {
		return of(name, help, nil, func(tenant string, s stages.FlipStats, emit func(float64, ...string)) {
			emit(float64(value(s)), tenant)
		})
	}
	return []control.Family{
		of("flips", "Answers that policies in shadow would have given differently.", []string{"by", "from", "to"}, func(tenant string, s stages.FlipStats, emit func(float64, ...string)) {
			for way, n := range s.Total {
				emit(float64(n), tenant, way.By, way.From, way.To)
			}
		}),
		count("asked", "Calls about which an engine in shadow was asked.", func(s stages.FlipStats) uint64 { return s.Asked }),
		count("passed", "Calls about which an engine in shadow was not asked, because it takes too long.", func(s stages.FlipStats) uint64 { return s.Passed }),
		count("failed", "Calls in which asking an engine in shadow broke off.", func(s stages.FlipStats) uint64 { return s.Failed }),
	}
}
