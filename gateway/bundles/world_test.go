package bundles_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const acme, other = "acme", "other"

var (
	errLedger = errors.New("ledger is down")
	ada       = bundles.Actor{User: "usr_ada", Key: "key_ada"}
)

// world is a service over a store in memory, with a ledger that can be told to fail.
type world struct {
	t       *testing.T
	store   *storetest.Faulty
	engines *policies.Set
	*bundles.Service

	mu      sync.Mutex
	records []*ledger.Record
	fail    bool
	before  func(r *ledger.Record) // what happens while a record is written
	tools   []policies.ToolDef
	keys    ledger.VerifierKeys
	filters bundles.Filters
	cfg     bundles.Config
	log     strings.Builder
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: storetest.NewFaulty(storetest.NewMemory()), cfg: bundles.DefaultConfig()}
	w.tools = []policies.ToolDef{tool("send"), tool("read")}
	w.reopen()
	return w
}

func tool(name string) policies.ToolDef {
	return policies.ToolDef{Server: "mail", Name: name, InputSchema: []byte(`{"type":"object","properties":{"to":{"type":"string"}},"required":["to"]}`)}
}

// reopen is a restart.
func (w *world) reopen() {
	w.t.Helper()
	w.engines = &policies.Set{}
	var err error
	w.Service, err = bundles.New(w.cfg, bundles.Deps{
		Store: w.store, Record: w.record, Engines: w.engines, Filters: w.filters, Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		Tools: func(string) []policies.ToolDef { return w.tools }, Keys: func(string) ledger.VerifierKeys { return w.keys },
		Log: slog.New(slog.NewTextHandler(&lines{w}, nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, tenant := range []string{acme, other} {
		if _, err := w.Open(w.t.Context(), tenant); err != nil {
			w.t.Fatal(err)
		}
	}
}

type lines struct{ *world }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

func (w *world) record(_ context.Context, r *ledger.Record) error {
	w.mu.Lock()
	before, fail := w.before, w.fail
	w.mu.Unlock()
	if before != nil {
		before(r)
	}
	if fail {
		return errLedger
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
	return nil
}

// said lists what the ledger has, as "op revision mode".
func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, r := range w.records {
		var b struct {
			Op, Mode string
			Revision uint64
		}
		if err := json.Unmarshal(r.Body, &b); err != nil || r.Kind != ledger.Bundle || r.Bundle.IsZero() {
			w.t.Errorf("record %s: %v", r.Body, err)
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d %s", b.Op, b.Revision, b.Mode)))
	}
	return strings.Join(out, ", ")
}

// allow is a bundle that permits one tool.
func allow(name string) map[string][]byte {
	return map[string][]byte{"p.cedar": fmt.Appendf(nil, "@id(\"only\") permit (principal, action == Action::\"mail___%s\", resource);", name)}
}

func (w *world) push(files map[string][]byte) bundles.Revision {
	w.t.Helper()
	r, err := w.Push(w.t.Context(), acme, ada, files)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) activate(n uint64, m policies.Mode) bundles.Revision {
	w.t.Helper()
	r, err := w.Activate(w.t.Context(), acme, ada, n, m)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) offer(files map[string][]byte, kind string, anew bool) error {
	w.t.Helper()
	return w.Offer(w.t.Context(), acme, bundles.Actor{}, w.bundle(files), bundles.Source{Kind: kind}, anew)
}

func (w *world) bundle(files map[string][]byte) *policies.Bundle {
	w.t.Helper()
	b, err := policies.NewBundle(files)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// may lists the tools that an agent may use, by the engine that counts for it.
func (w *world) may(tenant, agent string) string {
	p := &policies.Principal{Kind: "Agent", ID: agent, Tenant: tenant, Owner: "usr_1", Status: "active"}
	e, _ := w.engines.Choose(tenant, p)
	var out []string
	for _, name := range []string{"send", "read", "late"} {
		d := e.Decide(&policies.Ask{Principal: p, Action: "call_tool", Server: "mail", Tool: name, ArgsKnown: true, Args: []byte(`{"to":"x"}`), Now: time.Unix(1_700_000_000, 0)})
		if d.Allowed() {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

func signer(t *testing.T, name string, seed byte) ledger.Signer {
	t.Helper()
	s, err := ledger.NewSigner(name, ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signed is allow with a manifest and a signature.
func (w *world) signed(name string, version int, by ledger.Signer) map[string][]byte {
	w.t.Helper()
	files := allow(name)
	files["manifest.json"] = fmt.Appendf(nil, `{"format":1,"name":"acme","version":%d}`, version)
	sig, err := bundles.Sign(w.bundle(files), by)
	if err != nil {
		w.t.Fatal(err)
	}
	files[policies.SignatureFile] = sig
	return files
}
