package ladder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// rung is one proxy of the ladder.
type rung struct {
	name, label string
	role        string
	settings    any
	gate        gate
	part        bool // only a part of the gateway
}

// Names of the rungs that the last line speaks of.
const (
	bare         = "bare"
	reverseProxy = "reverseproxy"
	full         = "full"
	receipts     = "receipts"
)

// Roles are the children that the ladder is made of.
func Roles() map[string]rig.Role {
	return map[string]rig.Role{
		rig.StubRole: rig.ServeStub, bare: serveBare, reverseProxy: serveReverse, "parts": serveParts, full: serveFull,
	}
}

// rungs lists the ladder in the order of its table.
func rungs(upstream, bundle, dir string) []rung {
	part := func(name, label string, level int, g gate) rung {
		return rung{name: name, label: label, role: "parts", settings: partsSettings{upstream, level, bundle}, gate: g, part: true}
	}
	return []rung{
		{name: bare, label: "bare fasthttp reverse proxy", role: bare, settings: plainSettings{upstream}},
		{name: reverseProxy, label: "empty net/http ReverseProxy", role: reverseProxy, settings: plainSettings{upstream}},
		part("token", "bare + key and cached token", levelToken, gateKey),
		part("limiter", "  + limiter", levelLimit, gateKey),
		part("json", "  + strict JSON", levelJSON, gateKey),
		part("proof", "  + proof of 1 of 64 steps", levelProof, gateStep),
		part("policies", "  + 50 policies", levelDecide, gateStep),
		{name: full, label: "whole gateway, two records", role: full, settings: fullSettings{upstream, filepath.Join(dir, full), false}, gate: gateRecord},
		{name: receipts, label: "whole gateway, with receipts", role: full, settings: fullSettings{upstream, filepath.Join(dir, receipts), true}, gate: gateReceipt},
	}
}

// walk gives the order of an even round: what is compared most stands next to the bare proxy. Odd rounds go backwards.
func walk() []string {
	return []string{"token", "limiter", "json", reverseProxy, full, bare, receipts, "proof", "policies"}
}

// runner is a rung whose child runs.
type runner struct {
	rung
	child *rig.Child
	pass  *pass
	key   string // receipts verify under it
	conns int
}

// Sample is one measurement of a rung.
type Sample struct {
	Calls   int     `json:"calls"`
	CPU     float64 `json:"cpu_us"`    // of the proxy, a call
	Mallocs float64 `json:"mallocs"`   // heap objects, a call
	Bytes   float64 `json:"bytes"`     // of heap objects, a call
	Rate    float64 `json:"calls_per"` // a second
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
}

// start starts a rung's child.
func (r *runner) start(ctx context.Context, self []string) error {
	var err error
	if r.child, err = rig.Start(ctx, self, r.role, r.settings); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	var d detail
	if err := json.Unmarshal(r.child.Detail, &d); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	if d.Pass.Key != "" {
		r.pass, r.key = &d.Pass, d.Key
	}
	return nil
}

// measure warms the rung up and loads it. Any failed request is an error. The connections are opened anew each time, since
// a gateway closes those that stay silent.
func (r *runner) measure(ctx context.Context, d time.Duration) (_ Sample, err error) {
	load, err := rig.Dial(ctx, r.child.Addr, r.conns, r.pass.requests(r.child.Addr))
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", r.name, err)
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	if res := load.Run(ctx, d/10); res.Failed > 0 {
		return Sample{}, fmt.Errorf("%s: %d connections failed: %s", r.name, res.Failed, res.Failure)
	}
	before, err := r.child.Usage()
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", r.name, err)
	}
	res := load.Run(ctx, d)
	after, err := r.child.Usage()
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", r.name, err)
	}
	switch {
	case ctx.Err() != nil:
		return Sample{}, ctx.Err()
	case res.Failed > 0:
		return Sample{}, fmt.Errorf("%s: %d connections failed: %s", r.name, res.Failed, res.Failure)
	case res.Calls == 0:
		return Sample{}, fmt.Errorf("%s: no call was answered", r.name)
	}
	used, n := after.Since(before), float64(res.Calls)
	return Sample{
		Calls: res.Calls, CPU: micros(used.CPU) / n, Mallocs: float64(used.Mallocs) / n, Bytes: float64(used.Bytes) / n,
		Rate: n / res.Elapsed.Seconds(), P50: micros(res.P50), P99: micros(res.P99),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// profile loads the rung once more under the CPU profiler.
func (r *runner) profile(ctx context.Context, dir string, d time.Duration) (Sample, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Sample{}, fmt.Errorf("profile: %w", err)
	}
	if err := r.child.Profile(filepath.Join(dir, r.name+".cpu")); err != nil {
		return Sample{}, fmt.Errorf("profile %s: %w", r.name, err)
	}
	s, err := r.measure(ctx, d)
	return s, errors.Join(err, r.child.StopProfile(filepath.Join(dir, r.name+".allocs")))
}

func (r *runner) stop() error {
	if r.child == nil {
		return nil
	}
	return r.child.Stop()
}
