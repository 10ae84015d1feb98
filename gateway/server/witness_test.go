package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

// hand is a clock that is moved by hand.
type hand struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hand) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

// peer is a gateway of which only the witness is open.
type peer struct {
	*Gateway
	t     *testing.T
	clock *hand
	log   *strings.Builder
}

// ones is randomness that a test can repeat.
type ones byte

func (r *ones) Read(b []byte) (int, error) {
	for i := range b {
		*r++
		b[i] = byte(*r)
	}
	return len(b), nil
}

func newPeer(t *testing.T, dir string, change func(*config.Config)) (*peer, error) {
	t.Helper()
	var rand ones
	d, err := datadir.Open(dir, nil, &rand)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, clock: &hand{t: time.Unix(1_700_000_000, 0)}, log: &strings.Builder{}}
	c := config.Default()
	if change != nil {
		change(&c)
	}
	p.Gateway = &Gateway{dir: d, o: Options{Config: c, Rand: &rand, Now: p.clock.now, Log: slog.New(slog.NewTextHandler(p.log, nil))}}
	t.Cleanup(func() { p.witness.close(); _ = d.Close() })
	if err := p.openWitness(t.Context()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.Ready(); err != nil {
		t.Fatal(err)
	}
	return p, nil
}

func open(t *testing.T, dir string, change func(*config.Config)) *peer {
	t.Helper()
	p, err := newPeer(t, dir, change)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// aLog is somebody's log of a few leaves.
type aLog struct {
	t      *testing.T
	signer ledger.Signer
	leaves []merkle.Hash
}

func newLog(t *testing.T) *aLog {
	t.Helper()
	s, err := ledger.NewSigner("peer.example/ledger/_instance/main", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	l := &aLog{t: t, signer: s}
	for i := range 20 {
		l.leaves = append(l.leaves, merkle.LeafHash([]byte{byte(i)}))
	}
	return l
}

const peerOrigin = "peer.example/ledger/_checkpoints/main"

func (l *aLog) rootAt(n uint64) (merkle.Hash, error) { return merkle.NewTree(l.leaves[:n]).Root(), nil }

func (l *aLog) note(n uint64) []byte {
	l.t.Helper()
	root, _ := l.rootAt(n)
	b, err := ledger.Checkpoint{Origin: peerOrigin, Size: n, Root: root}.Sign(l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *aLog) proof(n uint64) func(uint64) ([]merkle.Hash, error) {
	return func(old uint64) ([]merkle.Hash, error) {
		return merkle.NewTree(l.leaves[:n]).AppendConsistency(nil, old), nil
	}
}

// held is the log at a start, as published wants it.
type held struct {
	*aLog
	size   uint64
	latest []byte
}

func (h held) Held() (string, uint64, func(uint64) (merkle.Hash, error), []byte) {
	return peerOrigin, h.size, h.rootAt, h.latest
}

func (h held) Keys() ledger.VerifierKeys { return ledger.VerifierKeys{h.signer.Public} }

// watches configures the log to be witnessed.
func (l *aLog) watches(c *config.Config) {
	c.Witness.Logs = map[string]config.WitnessedLog{"peer": {Origin: peerOrigin, Keys: []string{l.signer.Public.String()}}}
}

// serve puts a witness on a port, as the control port does.
func (p *peer) serve() string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.witness.Serve(w, r, netip.MustParseAddr("127.0.0.1"))
	}))
	p.t.Cleanup(s.Close)
	return s.URL
}

// by configures witnesses, which are pinned by their n-th key.
func by(n int, required bool, ps ...*peer) func(*config.Config) {
	return func(c *config.Config) {
		c.Ledger.Witnesses = map[string]config.LedgerWitness{}
		for i, p := range ps {
			c.Ledger.Witnesses["w"+string(rune('0'+i))] = config.LedgerWitness{URL: p.serve(), Key: p.witness.server.Keys()[n].String(), Required: required}
		}
	}
}

func TestAGatewaysCheckpointsAreCosignedByAnother(t *testing.T) {
	l := newLog(t)
	for n := range 2 { // under its Ed25519 key, and under its ML-DSA-44 key
		w := open(t, t.TempDir(), l.watches)
		g := open(t, t.TempDir(), by(n, false, w))
		cosign := g.cosigner()
		for _, size := range []uint64{5, 12} {
			lines, err := cosign(t.Context(), l.note(size), size, l.proof(size))
			if err != nil {
				t.Fatal(err)
			}
			key, err := mldsa.ParseWitnessKey(w.witness.server.Keys()[n].String())
			if err != nil {
				t.Fatal(err)
			}
			if seen, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{key}, Need: 1}).Check(append(l.note(size), lines...)); err != nil || len(seen) != 1 || seen[0] != "gatewright.local/witness/main" {
				t.Fatal(seen, err)
			}
			g.clock.add(time.Second)
		}
		for _, h := range []held{{l, 11, nil}, {l, 12, nil}, {l, 20, nil}} {
			err := g.checkStart(t.Context(), h)
			if behind := errors.Is(err, witness.ErrBehind); behind != (h.size < 12) || !behind && err != nil {
				t.Errorf("start at %d: %v", h.size, err)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "11") || !strings.Contains(err.Error(), "12") || !strings.Contains(err.Error(), "gatewright ledger restore")) {
				t.Errorf("%q", err)
			}
		}
	}
}

func TestWithoutWitnessesNobodyIsAsked(t *testing.T) {
	g := open(t, t.TempDir(), nil)
	if g.cosigner() != nil {
		t.Error("a cosigner")
	}
	if err := g.checkStart(t.Context(), held{newLog(t), 3, nil}); err != nil {
		t.Error(err)
	}
	if err := g.witness.Cosign(t.Context()); !errors.Is(err, control.ErrNoWitness) {
		t.Error(err)
	}
	if s := g.witness.Standing(); len(s.Keys) != 2 || len(s.Logs)+len(s.Witnesses) != 0 {
		t.Errorf("%+v", s)
	}
	if err := g.checkStart(t.Context(), held{newLog(t), 3, newLog(t).note(4)}); !errors.Is(err, witness.ErrBehind) {
		t.Error("behind the note kept with it:", err)
	}
}

func TestARequiredWitnessThatIsAwayRefusesTheStart(t *testing.T) {
	l := newLog(t)
	away := config.LedgerWitness{URL: "http://127.0.0.1:1", Key: open(t, t.TempDir(), nil).witness.server.Keys()[0].String()}
	for _, required := range []bool{false, true} {
		away.Required = required
		g := open(t, t.TempDir(), func(c *config.Config) { c.Ledger.Witnesses = map[string]config.LedgerWitness{"away": away} })
		err := g.checkStart(t.Context(), held{l, 3, nil})
		if errors.Is(err, witness.ErrSilent) != required || !required && err != nil {
			t.Errorf("required %v: %v", required, err)
		}
		if !strings.Contains(g.log.String(), `witness=away`) {
			t.Errorf("not reported: %s", g.log)
		}
	}
}

// TestWitnessesAreAskedAsOftenAsConfigured, when somebody asks at once, and about failures once.
func TestWitnessesAreAskedAsOftenAsConfigured(t *testing.T) {
	l := newLog(t)
	w := open(t, t.TempDir(), l.watches)
	g := open(t, t.TempDir(), func(c *config.Config) { by(0, false, w)(c); c.Ledger.WitnessEvery = 10 * time.Second })
	ask := func(n uint64) int {
		t.Helper()
		lines, err := g.cosigner()(t.Context(), l.note(n), n, l.proof(n))
		if err != nil {
			t.Fatal(err)
		}
		return len(lines)
	}
	if ask(3) == 0 || ask(4) != 0 {
		t.Fatal("asked too seldom, or too often")
	}
	g.clock.add(9500 * time.Millisecond) // a tenth early is in time: tickers jitter
	if ask(5) == 0 || ask(6) != 0 {
		t.Fatal("asked too seldom, or too often")
	}
	done := make(chan error, 1)
	go func() { done <- g.witness.Cosign(t.Context()) }()
	for ask(7) == 0 { // the next checkpoint after somebody asked
		time.Sleep(time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := g.witness.Cosign(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("no checkpoint came:", err)
	}
}

// TestKeysAreMadeOnceInFoldersThatHaveNone, and never again once something was cosigned with them.
func TestKeysAreMadeOnceInFoldersThatHaveNone(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	keys := func(p *peer) string { s := p.witness.server.Keys(); return s[0].String() + s[1].String() }
	reopen := func() (*peer, error) { return newPeer(t, dir, l.watches) }
	p := open(t, dir, l.watches)
	_ = p.dir.Close()
	for _, name := range []string{witnessKey, witnessKeyPQ} { // as a folder of an earlier version
		if err := os.Remove(filepath.Join(dir, "keys", name)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := reopen()
	if err != nil {
		t.Fatal(err)
	}
	made := keys(p)
	if st, err := os.Stat(filepath.Join(dir, "keys", witnessKey)); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st, err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/add-checkpoint", strings.NewReader("old 0\n\n"+string(l.note(3))))
	rec := httptest.NewRecorder()
	p.witness.Serve(rec, req, netip.MustParseAddr("127.0.0.1"))
	if rec.Code != http.StatusOK {
		t.Fatal(rec.Code, rec.Body)
	}
	_ = p.dir.Close()
	if p, err = reopen(); err != nil || keys(p) != made || p.witness.server.Status()[0].Size != 3 {
		t.Fatal(err)
	}
	_ = p.dir.Close()
	if err := os.Remove(filepath.Join(dir, "keys", witnessKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(); !errors.Is(err, datadir.ErrKey) {
		t.Fatal("a key that cosigned was made anew:", err)
	}
}
