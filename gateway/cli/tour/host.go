package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// Bounds of the tour's gateway, far above what one on this machine needs.
const (
	startTime = 60 * time.Second
	stopTime  = 60 * time.Second
	callTime  = 20 * time.Second
	maxSaid   = 64 << 10 // bytes on standard output before the ready line
)

// settings is the whole configuration of the tour's gateway: the one in the working directory is not the tour's.
const settings = "mode = \"development\"\nlog {\n  level = \"warn\"\n}\n"

// host is the gateway of the tour, as its agent and its admin see it.
type host struct {
	url, control string
	data         string
	agent        *gatewright.Client
	admin        *gatewright.Admin
	wire         *http.Transport
	cancel       context.CancelFunc
	ended        chan error
}

// open starts a gateway in dir and waits until it serves.
func open(ctx context.Context, o Options, dir string) (*host, error) {
	h := &host{data: filepath.Join(dir, "data"), wire: &http.Transport{}, ended: make(chan error, 1)}
	conf := filepath.Join(dir, "gateway.hcl")
	if err := os.WriteFile(conf, []byte(settings), 0o600); err != nil {
		return nil, fmt.Errorf("write the gateway's configuration: %w", err)
	}
	ready := &announcement{found: make(chan [2]string, 1)}
	var serving context.Context
	serving, h.cancel = context.WithCancel(ctx)
	go func() { h.ended <- o.Serve(serving, Gateway{Config: conf, Data: h.data, Stdout: ready, Stderr: o.Log}) }()
	if err := h.await(ctx, ready); err != nil {
		return nil, fmt.Errorf("start a gateway: %w", err)
	}
	if err := h.connect(); err != nil {
		return nil, errors.Join(fmt.Errorf("start a gateway: %w", err), h.stop())
	}
	return h, nil
}

// await returns once the ready line has come.
func (h *host) await(ctx context.Context, ready *announcement) error {
	late := time.NewTimer(startTime)
	defer late.Stop()
	var why error
	select {
	case at := <-ready.found:
		h.url, h.control = at[0], at[1]
		return nil
	case err := <-h.ended:
		h.cancel()
		if err == nil {
			err = errors.New("it ended before it was ready")
		}
		return err
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-late.C:
		why = fmt.Errorf("it was not ready after %s", startTime)
	}
	return errors.Join(why, h.stop())
}

// connect makes the two clients from what the gateway wrote for its first user.
func (h *host) connect() error {
	env, err := readEnv(filepath.Join(h.data, "demo.env"))
	if err != nil {
		return err
	}
	if env["GATEWRIGHT_URL"] != h.url || env["GATEWRIGHT_CONTROL_URL"] != h.control {
		return errors.New("demo.env and the ready line name different addresses")
	}
	h.agent, err = gatewright.New(gatewright.Config{URL: h.url, Key: env["GATEWRIGHT_API_KEY"], Timeout: callTime, Transport: h.wire})
	if err != nil {
		return err
	}
	h.admin, err = gatewright.NewAdmin(gatewright.Config{URL: h.control, Key: env["GATEWRIGHT_ADMIN_KEY"], Timeout: callTime, Transport: h.wire})
	return err
}

// stop ends the gateway and waits until it has closed its ledger.
func (h *host) stop() error {
	h.wire.CloseIdleConnections()
	h.cancel()
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case err := <-h.ended:
		return err
	case <-late.C:
		return fmt.Errorf("it did not end within %s", stopTime)
	}
}

// readEnv reads lines of the form: export NAME=value.
func readEnv(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read demo.env: %w", err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			env[name] = value
		}
	}
	return env, nil
}

// announcement is a gateway's standard output, searched for the ready line.
type announcement struct {
	mu    sync.Mutex
	said  []byte
	done  bool
	found chan [2]string // addresses of data and control port; holds one
}

// Write looks at each whole line until one is the ready line.
func (a *announcement) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return len(p), nil
	}
	a.said = append(a.said, p...)
	for {
		line, rest, whole := bytes.Cut(a.said, []byte("\n"))
		if !whole {
			break
		}
		a.said = rest
		if at, ok := readyLine(string(line)); ok {
			a.done, a.said = true, nil
			a.found <- at
			return len(p), nil
		}
	}
	if len(a.said) > maxSaid {
		a.said = nil
	}
	return len(p), nil
}

// readyLine reads: gatewright ready listen=URL control=URL.
func readyLine(line string) (at [2]string, ok bool) {
	f := strings.Fields(line)
	if len(f) != 4 || f[0] != "gatewright" || f[1] != "ready" {
		return at, false
	}
	var data, control bool
	at[0], data = strings.CutPrefix(f[2], "listen=")
	at[1], control = strings.CutPrefix(f[3], "control=")
	return at, data && control
}
