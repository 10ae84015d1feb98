package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
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
	var err error
	g.sinks, err = sinks.Open(sinks.Options{
		Dir: g.dir.Join("sinks"), Source: g.ledger, Host: l.Origin, Instance: l.Instance, Version: g.o.Version,
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

// sinkGauges are a few numbers over all sinks, and one lag for each: the configuration bounds how many.
func (g *Gateway) sinkGauges() []control.Gauge {
	var out []control.Gauge
	for i, s := range g.sinks.States() {
		out = append(out,
			control.Gauge{Name: "gatewright_sink_lag_" + metricName(s.Name), Help: "Records that this sink has not got past.", Value: func() float64 { return float64(g.sinks.States()[i].Lag) }},
			control.Gauge{Name: "gatewright_sink_sent_" + metricName(s.Name) + "_total", Help: "Events that this sink delivered.", Counter: true, Value: func() float64 { return float64(g.sinks.States()[i].Sent) }},
			control.Gauge{Name: "gatewright_sink_failed_" + metricName(s.Name) + "_total", Help: "Attempts of this sink that failed.", Counter: true, Value: func() float64 { return float64(g.sinks.States()[i].Failed) }},
			control.Gauge{Name: "gatewright_sink_lost_" + metricName(s.Name) + "_total", Help: "Times that records were pruned before this sink delivered them.", Counter: true, Value: func() float64 { return float64(g.sinks.States()[i].Lost) }},
		)
	}
	return out
}

// metricName writes a sink's name as a metric's may be.
func metricName(name string) string {
	return string(bytes.ReplaceAll([]byte(name), []byte("-"), []byte("_")))
}
