package server

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/ring"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store/badger"
)

// keys are what the gateway signs, seals and recognizes with. Each has one use.
type keys struct {
	store  []byte             // Badger at rest
	pepper []byte             // API keys are kept as HMACs under it
	vault  []byte             // wraps the keys of upstream secrets and of subjects
	ledger ed25519.PrivateKey // receipts and checkpoints

	retired []ed25519.PublicKey // that signed them before
	later   *mldsa.Cosigner     // signs checkpoints besides; nil: nobody does
	intent  ed25519.PrivateKey  // intent tokens
}

// intentKeyID names the first key that signs tokens. A rotation adds keys beside it.
const intentKeyID = "intent-1"

// openData takes the data folder.
func (g *Gateway) openData(context.Context) error {
	c := g.o.Config.Data
	text := ""
	if c.KeyEnv != "" {
		text = os.Getenv(c.KeyEnv)
		if text == "" {
			return fmt.Errorf("data.key_env names %s, which is not set", c.KeyEnv)
		}
	}
	if c.KeyFile != "" {
		b, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return fmt.Errorf("read data.key_file: %w", err)
		}
		text = string(b)
	}
	wrap, err := datadir.ReadWrapKey(text)
	if err != nil {
		return err
	}
	if wrap == nil && text != "" {
		return fmt.Errorf("the wrapping key is empty: %w", datadir.ErrKey)
	}
	g.dir, err = datadir.Open(c.Dir, wrap, g.o.Rand)
	return err
}

func (g *Gateway) openKeys(context.Context) error {
	var err error
	load := func(name string, n int) []byte {
		if err != nil {
			return nil
		}
		var k []byte
		k, err = g.dir.Key(name, n)
		return k
	}
	k := &keys{store: load("store", 32), pepper: load("pepper", 32), vault: load("vault", 32)}
	signer, issuer := load("ledger", ed25519.SeedSize), load(intentKeyID, ed25519.SeedSize)
	if err != nil {
		return err
	}
	k.ledger, k.intent = ed25519.NewKeyFromSeed(signer), ed25519.NewKeyFromSeed(issuer)
	g.keys = k
	if k.retired, err = g.retiredKeys(k.ledger); err != nil {
		return err
	}
	k.later, err = g.laterKey()
	return err
}

func (g *Gateway) openStore(context.Context) error {
	var err error
	g.store, err = badger.Open(badger.Options{Dir: g.dir.Join("store"), Key: g.keys.store, Logger: g.o.Log})
	return err
}

// openPorts takes the addresses early: a port that is taken is a plain error before anything else is started.
func (g *Gateway) openPorts(ctx context.Context) error {
	var lc net.ListenConfig
	var err error
	if g.data, err = lc.Listen(ctx, "tcp", g.o.Config.Proxy.Listen); err != nil {
		return fmt.Errorf("open the data port %s: %w (choose another with --listen)", g.o.Config.Proxy.Listen, err)
	}
	if g.admin, err = lc.Listen(ctx, "tcp", g.o.Config.Control.Listen); err != nil {
		return fmt.Errorf("open the control port %s: %w (choose another with --control)", g.o.Config.Control.Listen, err)
	}
	return nil
}

func (g *Gateway) openIdentity(ctx context.Context) error {
	c := g.o.Config.Identity
	var err error
	g.people, err = identity.Open(ctx, identity.Config{
		MaxOrganisations: c.MaxOrganisations, MaxUsers: c.MaxUsers, MaxAgents: c.MaxAgents, MaxKeys: c.MaxKeys, KeyTTL: c.KeyTTL,
	}, g.store, g.keys.pepper, g.o.Now, g.o.Rand)
	if err != nil {
		return err
	}
	g.seals = ring.New(g.store, g.o.Config.Proxy.SessionLife, g.o.Now, g.o.Rand)
	g.vault, err = vault.Open(ctx, g.store, g.keys.vault, g.o.Rand)
	return err
}

// openVerifier pins the issuers whose tokens are believed: this gateway's own key, and those of the configuration.
func (g *Gateway) openVerifier() error {
	c := g.o.Config
	g.issuers = intent.NewKeys()
	if err := g.issuers.Add(c.Intent.Issuer, intentKeyID, g.keys.intent.Public().(ed25519.PublicKey), time.Time{}); err != nil {
		return fmt.Errorf("pin the gateway's own key: %w", err)
	}
	for name, i := range c.Issuers {
		if err := g.pin(i.Issuer, i.JWKSFile, i.KeyID, i.Key); err != nil {
			return g.misconfigured(fmt.Errorf("issuer %q: %w", name, err))
		}
	}
	g.verifier = intent.NewVerifier(intent.VerifierConfig{
		Audience: c.Intent.Audience, Keys: g.issuers, CacheEntries: c.Intent.CacheTokens,
		Leeway: c.Intent.Leeway, MaxLifetime: c.Intent.MaxTokenTTL,
	})
	return nil
}

func (g *Gateway) pin(issuer, jwksFile, kid, key string) error {
	if issuer == g.o.Config.Intent.Issuer {
		return errors.New("this is the gateway's own iss; give it another")
	}
	if jwksFile != "" {
		b, err := readSetting("jwks_file", jwksFile)
		if err != nil {
			return err
		}
		return g.issuers.AddJWKS(issuer, b)
	}
	pub, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil || len(pub) != ed25519.PublicKeySize {
		return errors.New("key is not a base64url Ed25519 public key")
	}
	return g.issuers.Add(issuer, kid, pub, time.Time{})
}

func (g *Gateway) openPlans(ctx context.Context) error {
	c := g.o.Config.Intent
	pc := plans.Config{
		Audience: c.Audience, DraftBytes: int(c.MaxPlan), Steps: c.MaxSteps, PlansPerAgent: c.MaxPlans, Plans: c.MaxAllPlans,
		PlanTTL: c.PlanTTL, TokenTTL: c.TokenTTL, MaxTokenTTL: c.MaxTokenTTL, TokensPerPlan: c.MaxTokens,
		History: c.History, Keep: c.KeepPlans,
	}
	var err error
	g.plans, err = plans.Open(ctx, pc, plans.Deps{
		Store: g.store, Ledger: g.ledger, Verifier: g.verifier,
		Signer: intent.Signer{Issuer: c.Issuer, KeyID: intentKeyID, Key: g.keys.intent},
		Tools:  planTools{g}, Policy: g.policyDigest, Now: g.o.Now, Rand: g.o.Rand,
	})
	return err
}

// policyDigest names the bundle in force when a token is issued.
func (g *Gateway) policyDigest(tenant string) merkle.Hash {
	if b, ok := g.bundles.Current(tenant); ok {
		return b.Digest()
	}
	return merkle.Hash{}
}

// write makes a record of the gateway's own doing durable.
func (g *Gateway) write(ctx context.Context, r *ledger.Record) error {
	r.Instance = g.o.Config.Ledger.Instance
	id, err := ledger.NewID(g.o.Now(), g.o.Rand)
	if err != nil {
		return fmt.Errorf("make a record id: %w", err)
	}
	r.ID, r.Time = id, g.o.Now().UnixMicro()
	if _, err := g.ledger.Append(ctx, r); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// buildControl puts the control port together.
func (g *Gateway) buildControl(context.Context) error {
	c := g.o.Config.Control
	cc := control.Config{
		Hosts: c.Hosts, Origins: c.Origins, TrustedProxies: c.TrustedProxies, MaxBody: int(c.MaxBody), PageLimit: c.PageLimit,
		ReplayEntries: c.RetryEntries, ReplayFor: c.RetryFor, Metrics: c.Metrics, Profiles: c.Profiles,
	}
	signer, err := ledger.NewSigner(g.VerifierKey().Name, g.keys.ledger)
	if err != nil {
		return err
	}
	g.control, err = control.New(cc, control.Deps{
		Sinks: g.sinks, Retention: g.keeper,
		Exports: exports{g.ledger, g.published, signer}, Subjects: g.vault,
		Directory: directory{g.people, g.bundles, g.gone}, Catalogue: serverList{g.tools, g.client, g.oauth, g.look}, Plans: g.plans, Approvals: g.approvals, Terms: g.terms, Usage: g.usage, Devices: g.devices, Sessions: agentSessions{g}, Seals: g.seals, Ledger: publish.Book{Log: g.ledger, Publisher: g.published}, Proofs: g.published, LogFiles: control.LogFiles{Read: g.published.File, Instance: wal.InstanceName(g.o.Config.Ledger.Instance, g.ledger.Generation())}, Witness: g.witness, Bundles: g.bundles, Revisions: g.bundles, Vault: g.vault,
		Connectors: connectorList{g.connectors}, Logins: logins{g}, Strangers: g.strange, Gauges: g.gauges(), Families: slices.Concat(g.shadowFamilies(), g.filterFamilies()), Filters: g.filters, Policies: g.policyParts(), Ready: g.ready, Now: g.o.Now, Rand: g.o.Rand, Log: g.o.Log,
	})
	if err != nil {
		return err
	}
	g.web = control.Server(g.control.Handler())
	g.web.ReadTimeout, g.web.WriteTimeout, g.web.IdleTimeout = c.ReadTimeout, c.WriteTimeout, c.IdleTimeout
	g.web.MaxHeaderBytes = int(c.MaxHeader)
	g.web.ErrorLog = slog.NewLogLogger(g.o.Log.Handler(), slog.LevelDebug)
	return nil
}

// gauges are what the parts count, for /metrics.
func (g *Gateway) gauges() []control.Gauge {
	line := g.line.Stats()
	counter := func(name, help string, value func() uint64) control.Gauge {
		return control.Gauge{Name: "gatewright_" + name + "_total", Help: help, Counter: true, Value: func() float64 { return float64(value()) }}
	}
	gauge := func(name, help string, value func() int) control.Gauge {
		return control.Gauge{Name: "gatewright_" + name, Help: help, Value: func() float64 { return float64(value()) }}
	}
	return slices.Concat(g.sinkGauges(), g.bundleGauges(), g.retentionGauges(), g.publishGauges(), g.pinGauges(), g.bearerGauges(), []control.Gauge{
		counter("line_admitted", "Calls let out.", line.Admitted.Load),
		counter("line_settled", "Calls whose outcome is on record.", line.Settled.Load),
		counter("line_refused", "Calls of known callers refused.", line.Refused.Load),
		counter("line_strangers", "Calls of unknown callers refused.", line.Strangers.Load),
		counter("line_faults", "Panics and internal errors on the line.", line.Faults.Load),
		gauge("data_connections", "Connections open on the data port.", g.proxy.Connections),
		counter("data_departed", "Requests whose client left before they were answered.", g.proxy.Departed),
		gauge("streams", "Streams open on the data port.", func() int { return g.proxy.Streams().Open }),
		counter("streams_opened", "Streams opened.", func() uint64 { return g.proxy.Streams().Opened }),
		counter("streams_refused", "Streams refused beyond a bound, or while stopping.", func() uint64 { return g.proxy.Streams().Refused }),
		counter("streams_slow", "Streams cut because their reader did not keep up.", func() uint64 { return g.proxy.Streams().Slow }),
		counter("streams_lost", "Streams ended by the end of their connection, those cut included.", func() uint64 { return g.proxy.Streams().Lost }),
		counter("ledger_records", "Records written.", func() uint64 { return g.ledger.Stats().Records }),
		counter("ledger_batches", "Commits.", func() uint64 { return g.ledger.Stats().Batches }),
		counter("ledger_signatures", "Batches signed for receipts.", func() uint64 { return g.ledger.Stats().Signatures }),
		gauge("ledger_queue", "Records that wait for the disk.", func() int { return g.ledger.Stats().Queue }),
		gauge("ledger_open_calls", "Calls admitted and not settled.", func() int { return g.ledger.Stats().Open }),
		gauge("plans", "Plans kept.", func() int { return g.plans.Stats().Plans }),
		gauge("plans_active", "Plans that may be worked on.", func() int { return g.plans.Stats().Active }),
	})
}
