package task

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/gateway/config"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/gateway/server"
)

// Gateway is a whole gateway as a child: the settings of ServeGateway.
type Gateway struct {
	Upstream  string   `json:"upstream,omitempty"`  // host:port of the server over HTTP
	Connector []string `json:"connector,omitempty"` // or the command that is it, as a connector
	Dir       string   `json:"dir"`                 // its own, for data and bundle
	Receipts  bool     `json:"receipts"`
	Filters   []string `json:"filters,omitempty"`
	Streams   int      `json:"streams,omitempty"` // as many as are held open at once, by one agent from one address
}

// Detail is what a child that judges calls says of itself.
type Detail struct {
	Pass Pass   `json:"pass"`
	Key  string `json:"key,omitempty"` // receipts verify under it
}

// Generous is a rate that is counted and never reached.
const Generous = 1_000_000

// demoTenant is the organisation that development mode makes.
const demoTenant = "demo"

// config is that of an installation in production, but for what a loopback bench needs: a tenant with keys, an
// upstream on loopback, and rates that are counted and never reached. No stage can be switched off.
func (s *Gateway) config() (config.Config, error) {
	c := config.Default()
	c.Data.Dir, c.Demo.Server = filepath.Join(s.Dir, "data"), false
	c.Proxy.Listen, c.Control.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Ledger.Sync, c.Ledger.Receipts, c.Ledger.Segment = "write", s.Receipts, 64<<20
	c.Quota.SourceRate, c.Quota.SourceBurst = Generous, Generous
	c.Quota.TenantRate, c.Quota.TenantBurst = Generous, Generous
	c.Quota.AgentRate, c.Quota.AgentBurst = Generous, Generous
	c.Policies.Bundle = filepath.Join(s.Dir, "bundle")
	c.Upstream.AllowPrivate = true
	c.Filters.Enabled = s.Filters
	if s.Streams > 0 {
		c.Proxy.MaxStreams, c.Proxy.MaxStreamsPerAgent, c.Proxy.MaxStreamsPerIP = s.Streams, s.Streams, s.Streams
		c.Proxy.MaxConnections, c.Proxy.MaxConnectionsPerIP = 2*s.Streams, 2*s.Streams
		c.Upstream.MaxConnections = s.Streams
	}
	if len(s.Connector) > 0 {
		way := config.DefaultServer()
		way.Tenant, way.Connector, way.Args = demoTenant, s.Connector[0], s.Connector[1:]
		c.Servers = map[string]config.Server{Server: way}
	}
	return c, c.Validate()
}

// ServeGateway is the role of a whole gateway.
func ServeGateway(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s Gateway
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	c, err := s.config()
	if err != nil {
		return rig.Serving{}, err
	}
	if err := writeShipped(c.Policies.Bundle); err != nil {
		return rig.Serving{}, err
	}
	g, err := server.Start(ctx, server.Options{
		Config: c, Version: "bench", Out: io.Discard, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now: time.Now, Since: time.Since, Rand: rand.Reader,
	})
	if err != nil {
		return rig.Serving{}, err
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	stop := func() error { return errors.Join(<-done, g.Close()) }
	p, err := s.settleIn(ctx, g, &c)
	if err != nil {
		return rig.Serving{}, err
	}
	return rig.Serving{
		Addr: strings.TrimPrefix(g.URL(), "http://"), Stop: stop,
		Detail: Detail{Pass: *p, Key: g.VerifierKey().String()},
	}, nil
}

// settleIn does what people do with a new gateway: the operator puts the upstream into the catalogue, the security team
// its policies into force, and the agent declares its plan.
func (s *Gateway) settleIn(ctx context.Context, g *server.Gateway, c *config.Config) (*Pass, error) {
	keys, err := demoKeys(filepath.Join(c.Data.Dir, "demo.env"))
	if err != nil {
		return nil, err
	}
	adminKey := keys["GATEWRIGHT_ADMIN_KEY"]
	admin, err := gatewright.NewAdmin(gatewright.Config{URL: g.ControlURL(), Key: adminKey})
	if err != nil {
		return nil, err
	}
	if len(s.Connector) == 0 {
		if err := admin.AddServer(ctx, gatewright.Server{Name: Server, URL: "http://" + s.Upstream + "/mcp", AllowPrivate: true}); err != nil {
			return nil, fmt.Errorf("add the server: %w", err)
		}
	}
	if err := awaitTools(ctx, admin); err != nil {
		return nil, fmt.Errorf("read the server's tools: %w", err)
	}
	if err := writeGenerated(c.Policies.Bundle); err != nil {
		return nil, err
	}
	if err := reload(ctx, g.ControlURL(), adminKey); err != nil {
		return nil, err
	}
	return takePass(ctx, g.URL(), keys["GATEWRIGHT_API_KEY"])
}

// awaitTools reads the server's tools, until it is there to tell them.
func awaitTools(ctx context.Context, admin *gatewright.Admin) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := admin.RefreshServer(ctx, Server)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// reload puts the bundle folder into force.
func reload(ctx context.Context, url, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/bundles/reload", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reload the bundle: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return fmt.Errorf("reload the bundle: HTTP %d: %s", resp.StatusCode, text)
	}
	return nil
}

// takePass does what an agent does before its first call: it declares its plan and takes a token for it.
func takePass(ctx context.Context, url, key string) (*Pass, error) {
	client, err := gatewright.New(gatewright.Config{URL: url, Key: key})
	if err != nil {
		return nil, err
	}
	plan, err := client.Plan(ctx, Draft())
	if err != nil {
		return nil, fmt.Errorf("capture the plan: %w", err)
	}
	token, err := client.Token(ctx, plan.ID, 12*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("take a token: %w", err)
	}
	out := &Pass{Key: key, Token: token.Token}
	for i := range plan.Size {
		proof, err := plan.Proof(i)
		if err != nil {
			return nil, fmt.Errorf("prove step %d: %w", i, err)
		}
		out.Steps = append(out.Steps, Shown{Step: proof.Step, Proof: proof.Path})
	}
	return out, nil
}

// demoKeys reads the variables that development mode left for us.
func demoKeys(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the demo keys: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			out[name] = value
		}
	}
	return out, nil
}
