package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

// witnessing is the gateway among witnesses: it watches others' logs, and asks others to watch its own.
type witnessing struct {
	server *witness.Server
	group  *witness.Group // nil: nobody is asked
	asked  []witness.Asked
	web    *http.Transport
	limit  *stages.Limiter
	every  time.Duration
	wait   time.Duration
	now    func() time.Time
	log    *slog.Logger
	own    func() (origin string, keys []string) // this gateway's own log, for its witnesses

	mu     sync.Mutex    // guards what follows
	last   time.Time     // when witnesses were last asked
	anyway chan struct{} // somebody waits for the next round, and closes it; nil: nobody
	failed bool          // the last round had an error, which was logged
}

var _ control.Witness = (*witnessing)(nil)

// The cosigning keys lie in DIR/keys under these names, what was cosigned in DIR/witness.
const (
	witnessKey     = "witness"
	witnessKeyPQ   = "witness.mldsa44"
	witnessFolder  = "witness"
	maxWitnessIdle = 2 // connections kept open to one witness
)

// openWitness makes the keys, reads what was cosigned before, and makes ready to ask.
func (g *Gateway) openWitness(context.Context) error {
	c := g.o.Config
	by, err := g.cosigningKeys()
	if err != nil {
		return err
	}
	w := &witnessing{
		web:   &http.Transport{MaxIdleConnsPerHost: maxWitnessIdle, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		limit: stages.NewLimiter(c.Witness.Rate, c.Witness.Burst), every: c.Ledger.WitnessEvery, wait: c.Ledger.WitnessTimeout, now: g.o.Now, log: g.o.Log,
		own: g.ownLog,
	}
	logs, err := witnessedLogs(c.Witness)
	if err != nil {
		return err
	}
	w.server, err = witness.NewServer(witness.Options{
		Dir: g.dir.Join(witnessFolder), Logs: logs, Cosigners: by, Now: g.o.Now,
		Report: func(origin string, err error) { w.log.Error("witnessed log refused", "origin", origin, "error", err) },
	})
	if err != nil {
		return err
	}
	if err := w.meet(c.Ledger); err != nil {
		return err
	}
	g.witness = w
	return nil
}

// cosigningKeys loads the two keys of this gateway as a witness. Folders of earlier versions have none: they are made
// once, as long as nothing was cosigned that they would have to answer for.
func (g *Gateway) cosigningKeys() ([]witness.Cosigner, error) {
	name := g.o.Config.Witness.Name
	if name == "" {
		name = g.o.Config.Ledger.Origin + "/witness/" + g.o.Config.Ledger.Instance
	}
	seed, err := g.witnessSeed(witnessKey, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	classic, err := ledger.NewCosigner(name, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, fmt.Errorf("cosigning key: %w", err)
	}
	if seed, err = g.witnessSeed(witnessKeyPQ, mldsa.SeedSize); err != nil {
		return nil, err
	}
	later, err := mldsa.NewCosigner(name, seed)
	if err != nil {
		return nil, fmt.Errorf("cosigning key: %w", err)
	}
	return []witness.Cosigner{classic, later}, nil
}

func (g *Gateway) witnessSeed(name string, n int) ([]byte, error) {
	_, err := os.Stat(g.dir.Join("keys", name))
	if g.dir.Fresh() || !errors.Is(err, fs.ErrNotExist) {
		return g.dir.Key(name, n)
	}
	signed, err := filepath.Glob(g.dir.Join(witnessFolder, "*"))
	if err != nil || len(signed) > 0 {
		return g.dir.Key(name, n) // refuses: what was cosigned needs the key it was cosigned with
	}
	seed := make([]byte, n)
	if _, err := io.ReadFull(g.o.Rand, seed); err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	text, err := g.dir.Wrap(seed)
	if err != nil {
		return nil, err
	}
	return seed, g.dir.WriteFile(filepath.Join("keys", name), text, 0o600)
}

// witnessedLogs reads which logs are watched.
func witnessedLogs(c config.Witness) ([]witness.Log, error) {
	var logs []witness.Log
	for _, name := range sorted(c.Logs) {
		l := witness.Log{Origin: c.Logs[name].Origin}
		for _, text := range c.Logs[name].Keys {
			k, err := ledger.ParseKey(text, mldsa.Scheme{})
			if err != nil {
				return nil, fmt.Errorf("log %q: %w", name, err)
			}
			l.Keys = append(l.Keys, k)
		}
		logs = append(logs, l)
	}
	return logs, nil
}

// meet makes the clients of the configured witnesses.
func (w *witnessing) meet(c config.Ledger) error {
	var clients []*witness.Client
	for _, name := range sorted(c.Witnesses) {
		k, err := mldsa.ParseWitnessKey(c.Witnesses[name].Key)
		if err != nil {
			return fmt.Errorf("witness %q: %w", name, err)
		}
		cl := &witness.Client{Name: name, URL: c.Witnesses[name].URL, Key: k, HTTP: &http.Client{Transport: w.web, Timeout: w.wait}}
		clients = append(clients, cl)
		w.asked = append(w.asked, witness.Asked{Client: cl, Required: c.Witnesses[name].Required})
	}
	if len(clients) > 0 {
		w.group = witness.NewGroup(w.wait, w.now, clients...)
	}
	return nil
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// cosigner asks the ledger's witnesses about a checkpoint, as publish.Options.Cosign wants it; nil when there are none.
func (g *Gateway) cosigner() func(ctx context.Context, note []byte, size uint64, proof func(old uint64) ([]merkle.Hash, error)) ([]byte, error) {
	if g.witness == nil || g.witness.group == nil {
		return nil
	}
	return g.witness.cosign
}

func (w *witnessing) cosign(ctx context.Context, note []byte, size uint64, proof func(old uint64) ([]merkle.Hash, error)) ([]byte, error) {
	round, due := w.due()
	if !due {
		return nil, nil
	}
	ask := w.group.Cosign
	if round != nil {
		ask = w.group.CosignNow
	}
	lines, err := ask(ctx, note, size, proof)
	w.settle(round, err)
	return lines, err
}

// due tells whether witnesses are asked now, and who waits for that.
func (w *witnessing) due() (round chan struct{}, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	const early = 10 // a tenth: checkpoints that come as often as witnesses are asked must not be passed over for a jitter
	if w.anyway == nil && now.Sub(w.last) < w.every-w.every/early && !now.Before(w.last) {
		return nil, false
	}
	round, w.anyway, w.last = w.anyway, nil, now
	return round, true
}

// settle wakes who waited for a round, and logs when witnesses fail and when they are back.
func (w *witnessing) settle(round chan struct{}, err error) {
	if round != nil {
		close(round)
	}
	w.mu.Lock()
	was := w.failed
	w.failed = err != nil
	w.mu.Unlock()
	switch {
	case err != nil && !was:
		w.log.Warn("a witness did not cosign", "error", err)
	case err == nil && was:
		w.log.Info("witnesses cosign again")
	}
}

// published is the log of checkpoints as it stands before anything is added to it; *publish.Publisher is one.
type published interface {
	Held() (origin string, size uint64, rootAt func(size uint64) (merkle.Hash, error), latest []byte)
	Keys() ledger.VerifierKeys
}

// checkStart refuses a log of checkpoints that a witness, or the note kept with it, has seen longer or otherwise. It has to
// be asked before anything is written: a ledger that closes signs what it holds. The error is one line, and says how to go
// on. Witnesses that say nothing are logged.
func (g *Gateway) checkStart(ctx context.Context, p published) error {
	held := witness.Held{Keys: p.Keys()}
	held.Origin, held.Size, held.RootAt, held.Kept = p.Held()
	held.Consistency = func(old, size uint64) ([]merkle.Hash, error) {
		tree, err := tile.Open(disk.OS{}, g.dir.Join("ledger", ledger.CheckpointsLog))
		if err != nil {
			return nil, err
		}
		return tree.Consistency(old, size)
	}
	ctx, cancel := context.WithTimeout(ctx, g.witness.wait)
	defer cancel()
	answers, err := witness.CheckStart(ctx, held, g.witness.asked...)
	for _, a := range answers {
		if a.Err != nil {
			g.o.Log.Warn("a witness does not say what it saw of the ledger", "witness", a.Name, "error", a.Err)
		}
	}
	return err
}

// Serve implements control.Witness.
func (w *witnessing) Serve(rw http.ResponseWriter, r *http.Request, addr netip.Addr) {
	if wait, ok := w.limit.Allow(addr.String(), w.now()); !ok {
		rw.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		http.Error(rw, "too many requests of one address", http.StatusTooManyRequests)
		return
	}
	w.server.ServeHTTP(rw, r)
}

// Standing implements control.Witness.
func (w *witnessing) Standing() control.WitnessStanding {
	s := control.WitnessStanding{Logs: w.server.Status()}
	for _, k := range w.server.Keys() {
		s.Keys = append(s.Keys, k.String())
	}
	s.Origin, s.LogKeys = w.own()
	if w.group != nil {
		s.Witnesses = w.group.Status()
	}
	return s
}

// ownLog names the log of checkpoints as it is now, and the keys that sign it now: what a witness has to know.
func (g *Gateway) ownLog() (origin string, keys []string) {
	if g.published == nil {
		return "", nil
	}
	origin, _, _, _ = g.published.Held()
	keys = append(keys, g.VerifierKey().String())
	if g.keys.later != nil {
		keys = append(keys, g.keys.later.Public().String())
	}
	return origin, keys
}

// Cosign implements control.Witness. The call that asks for it is on record by now, so a checkpoint follows.
func (w *witnessing) Cosign(ctx context.Context) error {
	if w.group == nil {
		return control.ErrNoWitness
	}
	w.mu.Lock()
	if w.anyway == nil {
		w.anyway = make(chan struct{})
	}
	round := w.anyway
	w.mu.Unlock()
	select {
	case <-round:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no checkpoint was published in time: %w", ctx.Err())
	}
}

func (w *witnessing) close() {
	if w != nil {
		w.web.CloseIdleConnections()
	}
}
