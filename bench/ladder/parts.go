package ladder

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
)

// Levels of the parts, each with all before it.
const (
	levelToken  = iota + 1 // caller from the API key, token from the cache
	levelLimit             // three rate limits
	levelJSON              // strict JSON, envelope and params read
	levelProof             // step and proof lead to the token's root, arguments fit
	levelDecide            // policy
)

// partsSettings say which of the gateway's parts stand in front of the bare proxy.
type partsSettings struct {
	Upstream string `json:"upstream"`
	Level    int    `json:"level"`
	Bundle   string `json:"bundle"` // folder
}

// parts are the gateway's own parts, put together without its line, ledger, dialect and upstream client: what each
// costs for itself on top of a bare proxy. It is no gateway: what it refuses it answers 403, and it records nothing.
type parts struct {
	level    int
	people   *identity.Directory
	verifier *intent.Verifier
	engine   *policies.Engine
	schema   merkle.Hash
	sources  *stages.Limiter
	agents   *stages.Limiter
	tenants  *stages.Limiter
	up       *fasthttp.HostClient
}

const (
	tenant = "bench"
	issuer = "bench"
)

func serveParts(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s partsSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	p := &parts{level: s.Level, up: task.Forwarder(s.Upstream)}
	p.sources, p.agents, p.tenants = stages.NewLimiter(task.Generous, task.Generous), stages.NewLimiter(task.Generous, task.Generous), stages.NewLimiter(task.Generous, task.Generous)
	shown, err := p.open(ctx)
	if err != nil {
		return rig.Serving{}, err
	}
	b, err := policies.LoadBundle(os.DirFS(s.Bundle))
	if err != nil {
		return rig.Serving{}, err
	}
	if p.engine, err = policies.Compile(b, []policies.ToolDef{{Server: task.Server, Name: task.Tool, InputSchema: []byte(task.Schema), Idempotent: true}}); err != nil {
		return rig.Serving{}, err
	}
	out, err := rig.ServeHTTP(p.serve)
	out.Detail = task.Detail{Pass: *shown}
	return out, err
}

// open makes an agent with a key, a plan of it, and a token for the plan.
func (p *parts) open(ctx context.Context) (*task.Pass, error) {
	var err error
	p.people, err = identity.Open(ctx, identity.DefaultConfig(), storetest.NewMemory(), make([]byte, 32), time.Now, rand.Reader)
	if err != nil {
		return nil, err
	}
	seeded, err := p.people.Bootstrap(ctx, tenant, identity.Seed{OrgName: "Bench", Admin: "admin", Agent: "agent", Mode: identity.Test})
	if err != nil {
		return nil, err
	}
	caller, err := p.people.Authenticate([]byte(seeded.RuntimeKey), time.Now())
	if err != nil {
		return nil, err
	}
	plan, err := intent.ParseDraft(task.Draft(), intent.DefaultLimits())
	if err != nil {
		return nil, err
	}
	if p.schema, err = canon.Digest([]byte(task.Schema), canon.DefaultLimits()); err != nil {
		return nil, err
	}
	for i := range plan.Steps {
		plan.Steps[i].Schema = p.schema
	}
	plan.Tenant, plan.User, plan.Agent = caller.Tenant(), caller.User(), caller.Agent()
	if err := plan.Seal(rand.Reader); err != nil {
		return nil, err
	}
	out := &task.Pass{Key: seeded.RuntimeKey}
	tree := plan.Tree()
	for i := range plan.Steps {
		out.Steps = append(out.Steps, task.Shown{Step: intent.EncodeLeaf(plan.LeafData(i)), Proof: intent.EncodeProof(tree.AppendInclusion(nil, uint64(i)))})
	}
	out.Token, err = p.mint(&plan, caller)
	return out, err
}

func (p *parts) mint(plan *intent.Plan, c identity.Caller) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	keys := intent.NewKeys()
	if err := keys.Add(issuer, "k1", public, time.Time{}); err != nil {
		return "", err
	}
	p.verifier = intent.NewVerifier(intent.VerifierConfig{Audience: issuer, Keys: keys, CacheEntries: 10_000, MaxLifetime: 24 * time.Hour})
	now := time.Now().Unix()
	return intent.Signer{Issuer: issuer, KeyID: "k1", Key: private}.Mint(intent.Claims{
		Subject: c.User(), Audience: issuer, ID: "tok_bench", Tenant: c.Tenant(), Agent: c.Agent(), KeyID: c.KeyID(),
		PlanID: "pln_bench", PlanNonce: plan.Nonce, PlanHash: plan.Hash(), PlanRoot: plan.Tree().Root(), PlanSize: uint32(len(plan.Steps)), //nolint:gosec // 64
		IssuedAt: now, NotBefore: now, Expires: now + 12*3600, PlanExpires: now + 24*3600,
	})
}

func (p *parts) serve(ctx *fasthttp.RequestCtx) {
	if err := p.judge(ctx); err != nil {
		ctx.Error(err.Error(), fasthttp.StatusForbidden)
		return
	}
	task.PassOn(p.up, ctx)
}

var errRefused = errors.New("refused")

func (p *parts) judge(ctx *fasthttp.RequestCtx) error {
	now := time.Now()
	h := &ctx.Request.Header
	key, ok := bytes.CutPrefix(h.Peek("Authorization"), []byte("Bearer "))
	if !ok {
		return errRefused
	}
	caller, err := p.people.Authenticate(key, now)
	if err != nil {
		return err
	}
	token, err := p.verifier.Token(h.Peek("Gatewright-Intent"), now)
	if err != nil || p.level < levelLimit {
		return err
	}
	for _, l := range []struct {
		limit *stages.Limiter
		key   string
	}{{p.sources, "127.0.0.1"}, {p.agents, caller.KeyID()}, {p.tenants, caller.Tenant()}} {
		if _, ok := l.limit.Allow(l.key, now); !ok {
			return errRefused
		}
	}
	if p.level < levelJSON {
		return nil
	}
	args, err := readCall(ctx.PostBody())
	if err != nil || p.level < levelProof {
		return err
	}
	grant, err := p.grant(h, caller, token, args, now)
	if err != nil || p.level < levelDecide {
		return err
	}
	ask := policies.Ask{
		Principal: caller.Principal(), User: caller.User(), Action: "call_tool", Server: task.Server, Tool: task.Tool, Args: args, ArgsKnown: true, Now: now,
		Plan: policies.PlanFacts{InPlan: true, ID: grant.PlanID(), Step: grant.Step(), Steps: grant.PlanSize(), Expires: time.Unix(grant.Expires(), 0)},
	}
	if d := p.engine.Decide(&ask); !d.Allowed() || !d.Covers(&ask) {
		return errRefused
	}
	return nil
}

func (p *parts) grant(h *fasthttp.RequestHeader, c identity.Caller, t *intent.Token, args []byte, now time.Time) (intent.Grant, error) {
	leaf, err := p.verifier.Leaf(h.Peek("Gatewright-Step"))
	if err != nil {
		return intent.Grant{}, err
	}
	var room [8]merkle.Hash
	proof, err := intent.AppendProof(room[:0], h.Peek("Gatewright-Proof"))
	if err != nil {
		return intent.Grant{}, err
	}
	who := intent.Bearer{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), KeyID: c.KeyID()}
	req := intent.Request{Op: "tools/call", Server: task.Server, Tool: task.Tool, Schema: p.schema, Args: args}
	return p.verifier.GrantLeaf(t, who, req, leaf, proof, now)
}

// readCall checks a message and finds the arguments of its call.
func readCall(body []byte) (args []byte, err error) {
	if err := canon.Check(body, canon.DefaultLimits()); err != nil {
		return nil, err
	}
	var params []byte
	err = canon.Each(body, func(key, value []byte) error {
		if string(key) == "params" {
			params = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	args, ok := canon.Get(params, "arguments")
	if !ok {
		return nil, errRefused
	}
	return args, nil
}
