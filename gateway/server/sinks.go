package server

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/sinks"
)

// openSinks starts to hand the ledger's events on.
func (g *Gateway) openSinks(context.Context) error {
	var list []sinks.Config
	for _, name := range slices.Sorted(maps.Keys(g.o.Config.Sinks)) {
		c, err := sinkConfig(name, g.o.Config.Sinks[name])
		if err != nil {
			return g.misconfigured(fmt.Errorf("sink %q: %w", name, err))
		}
		list = append(list, c)
	}
	l := g.o.Config.Ledger
	key, err := hkdf.Key(sha256.New, g.keys.pepper, nil, "gatewright/sinks/cursor/v2", sha256.Size)
	if err != nil {
		return fmt.Errorf("derive the key for cursors: %w", err)
	}
	g.sinks, err = sinks.Open(sinks.Options{
		Dir: g.dir.Join("sinks"), Key: key, Source: g.ledger, Host: l.Origin, Instance: l.Instance, Version: g.o.Version,
		Now: g.o.Now, Rand: g.o.Rand, Log: g.o.Log,
	}, list)
	return err
}

// sinkConfig reads the files that a sink's settings name.
func sinkConfig(name string, s config.Sink) (sinks.Config, error) {
	c := sinks.Config{
		Name: name, Type: s.Type, URL: s.URL, Tenant: s.Tenant, Kinds: s.Kinds, FromTip: s.From == "end", Batch: s.Batch, Wait: s.Wait,
		Timeout: s.Timeout, RetryMin: s.RetryMin, RetryMax: s.RetryMax, Header: s.Header, Confirm: s.Confirm, Enterprise: s.Enterprise,
	}
	switch {
	case s.SecretFile != "":
		b, err := readSetting("secret_file", s.SecretFile)
		if err != nil {
			return c, err
		}
		c.Secret = bytes.TrimRight(b, "\r\n")
	case s.SecretEnv != "":
		c.Secret = []byte(os.Getenv(s.SecretEnv))
	}
	if (s.SecretFile != "" || s.SecretEnv != "") && len(c.Secret) == 0 {
		return c, errors.New("the secret is empty")
	}
	if s.CAFile != "" {
		b, err := readSetting("ca_file", s.CAFile)
		if err != nil {
			return c, err
		}
		if c.Roots = x509.NewCertPool(); !c.Roots.AppendCertsFromPEM(b) {
			return c, fmt.Errorf("ca_file %q holds no certificate", s.CAFile)
		}
	}
	return c, c.Validate()
}

// warnOfSinks says which sinks wait for an organisation that is not there: it may come, and may be a misspelling.
func (g *Gateway) warnOfSinks(ctx context.Context) error {
	for _, s := range g.sinks.States() {
		if s.Tenant == sinks.All {
			continue
		}
		switch _, err := g.people.Org(ctx, s.Tenant); {
		case errors.Is(err, identity.ErrNotFound):
			g.o.Log.Warn("a sink's tenant does not exist: it gets nothing until there is such an organisation", "sink", s.Name, "tenant", s.Tenant)
		case err != nil:
			return fmt.Errorf("look for the tenant of sink %q: %w", s.Name, err)
		}
	}
	return nil
}

// sinkGauges are the numbers of each sink under its name as a label: the configuration bounds how many.
func (g *Gateway) sinkGauges() []control.Gauge {
	var out []control.Gauge
	for i, s := range g.sinks.States() {
		add := func(name, help string, value func(*sinks.State) uint64) {
			out = append(out, control.Gauge{
				Name: "gatewright_sink_" + name, Help: help, Labels: map[string]string{"sink": s.Name}, Counter: strings.HasSuffix(name, "_total"),
				Value: func() float64 { return float64(value(&g.sinks.States()[i])) },
			})
		}
		add("lag", "Records that a sink has not got past.", func(s *sinks.State) uint64 { return s.Lag })
		add("sent_total", "Events that a sink delivered.", func(s *sinks.State) uint64 { return s.Sent })
		add("failed_total", "Attempts of a sink that failed.", func(s *sinks.State) uint64 { return s.Failed })
		add("lost_total", "Times that records were left out: pruned before a sink delivered them, or passed over.", func(s *sinks.State) uint64 { return s.Lost })
		add("rejected_total", "Events that a sink's receiver took and refused for good.", func(s *sinks.State) uint64 { return s.Rejected })
		add("unread_total", "Deliveries of a sink whose answer could not be read.", func(s *sinks.State) uint64 { return s.Unread })
	}
	return out
}
