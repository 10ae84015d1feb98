package ladder

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

// fullSettings are those of a whole gateway.
type fullSettings struct {
	Upstream string `json:"upstream"`
	Dir      string `json:"dir"` // its own, for data and bundle
	Receipts bool   `json:"receipts"`
}

// detail is what a child that judges calls says of itself.
type detail struct {
	Pass pass   `json:"pass"`
	Key  string `json:"key,omitempty"` // receipts verify under it
}

// fullConfig is that of an installation in production, but for what a loopback bench needs: a tenant with keys, an
// upstream on loopback, and rates that are counted and never reached. No stage can be switched off.
func fullConfig(s *fullSettings) (config.Config, error) {
	c := config.Default()
	c.Data.Dir, c.Demo.Server = filepath.Join(s.Dir, "data"), false
	c.Proxy.Listen, c.Control.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Ledger.Sync, c.Ledger.Receipts, c.Ledger.Segment = "write", s.Receipts, 64<<20
	c.Quota.SourceRate, c.Quota.SourceBurst = generous, generous
	c.Quota.TenantRate, c.Quota.TenantBurst = generous, generous
	c.Quota.AgentRate, c.Quota.AgentBurst = generous, generous
	c.Policies.Bundle = filepath.Join(s.Dir, "bundle")
	c.Upstream.AllowPrivate = true
	return c, c.Validate()
}

func serveFull(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s fullSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	c, err := fullConfig(&s)
	if err != nil {
		return rig.Serving{}, err
	}
	if err := writeShipped(c.Policies.Bundle); err != nil {
		return rig.Serving{}, err
	}
	g, err := server.Start(ctx, server.Options{
		Config: c, Version: "bench", Out: io.Discard, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now: time.Now, Rand: rand.Reader,
	})
	if err != nil {
		return rig.Serving{}, err
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	stop := func() error { return errors.Join(<-done, g.Close()) }
	p, err := settleIn(ctx, g, &c, s.Upstream)
	if err != nil {
		return rig.Serving{}, err
	}
	return rig.Serving{
		Addr: strings.TrimPrefix(g.URL(), "http://"), Stop: stop,
		Detail: detail{Pass: *p, Key: g.VerifierKey().String()},
	}, nil
}

// settleIn does what people do with a new gateway: the operator puts the upstream into the catalogue, the security team
// its policies into force, and the agent declares its plan.
func settleIn(ctx context.Context, g *server.Gateway, c *config.Config, upstream string) (*pass, error) {
	keys, err := demoKeys(filepath.Join(c.Data.Dir, "demo.env"))
	if err != nil {
		return nil, err
	}
	adminKey := keys["GATEWRIGHT_ADMIN_KEY"]
	admin, err := gatewright.NewAdmin(gatewright.Config{URL: g.ControlURL(), Key: adminKey})
	if err != nil {
		return nil, err
	}
	err = admin.AddServer(ctx, gatewright.Server{Name: serverName, URL: "http://" + upstream + "/mcp", AllowPrivate: true})
	if err == nil {
		err = admin.RefreshServer(ctx, serverName)
	}
	if err != nil {
		return nil, fmt.Errorf("add the upstream: %w", err)
	}
	if err := writeGenerated(c.Policies.Bundle); err != nil {
		return nil, err
	}
	if err := reload(ctx, g.ControlURL(), adminKey); err != nil {
		return nil, err
	}
	return takePass(ctx, g.URL(), keys["GATEWRIGHT_API_KEY"])
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
func takePass(ctx context.Context, url, key string) (*pass, error) {
	client, err := gatewright.New(gatewright.Config{URL: url, Key: key})
	if err != nil {
		return nil, err
	}
	plan, err := client.Plan(ctx, draft())
	if err != nil {
		return nil, fmt.Errorf("capture the plan: %w", err)
	}
	token, err := client.Token(ctx, plan.ID, 12*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("take a token: %w", err)
	}
	out := &pass{Key: key, Token: token.Token}
	for i := range plan.Size {
		proof, err := plan.Proof(i)
		if err != nil {
			return nil, fmt.Errorf("prove step %d: %w", i, err)
		}
		out.Steps = append(out.Steps, shown{Step: proof.Step, Proof: proof.Path})
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
