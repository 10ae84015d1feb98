package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// The two organisations that use the gateway.
const (
	demo  = "demo"
	other = "other"
)

// walkersEach is how many agents of each organisation work at once.
const walkersEach = 4

// progressEvery is the time between two lines of progress.
const progressEvery = 5 * time.Second

// slowStart is a start worth a line.
const slowStart = 3 * time.Second

// config is the gateway's gateway.hcl: small segments and many checkpoints, and no quota in the way of the load.
const config = `ledger {
  sync             = %q
  segment          = %q
  checkpoint_every = "100ms"
  retention        = "1m"
  deadline         = "20s"
}
control {
  page_limit = 1000
}
intent {
  max_plans     = 100000
  max_all_plans = 1000000
  max_tokens    = 1000
}
quota {
  source_rate  = 1000000
  source_burst = 1000000
  tenant_rate  = 1000000
  tenant_burst = 1000000
  agent_rate   = 1000000
  agent_burst  = 1000000
}
`

// world is the gateway with all who use it, and what they remember.
type world struct {
	o     options
	out   io.Writer
	base  string // everything that is evidence
	p     *process
	tools *effects
	rnd   *rand.Rand
	j     *journal
	check *checker

	operator  string            // the gateway's own admin key
	adminKeys map[string]string // that all lives of the gateway know
	walkers   []*walker
	managers  []*manager
	judged    int // effects that were looked at
	tested    int // revocations that were tried since they were made
	killed    int
	slowest   time.Duration // from exec to the ready line
	usual     time.Duration
	told      time.Time
	kinds     map[string]int
	began     time.Time
}

// newWorld builds the gateway, makes both organisations as an operator does, and stops it again.
func newWorld(ctx context.Context, out io.Writer, o options) (_ *world, err error) {
	w := &world{
		o: o, out: out, j: newJournal(), rnd: rand.New(rand.NewPCG(o.seed, 1)), //nolint:gosec // reproducible by its seed
		adminKeys: map[string]string{}, kinds: map[string]int{}, began: time.Now(),
	}
	if w.base, err = os.MkdirTemp(o.dir, "gatewright-crash"); err != nil {
		return nil, err
	}
	if w.p, err = newProcess(ctx, w.base, o); err != nil {
		return nil, err
	}
	if w.tools, err = newEffects(filepath.Join(w.base, "effects")); err != nil {
		return nil, err
	}
	if err := w.found(ctx); err != nil {
		w.close()
		return nil, fmt.Errorf("%w; what it wrote is in %s", err, w.base)
	}
	return w, nil
}

// newProcess prepares the gateway in a folder of its own. Nothing is started.
func newProcess(ctx context.Context, base string, o options) (*process, error) {
	p := &process{bin: filepath.Join(base, "gatewright"), dir: filepath.Join(base, "data"), work: filepath.Join(base, "work")}
	if err := os.Mkdir(p.work, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p.work, "gateway.hcl"), fmt.Appendf(nil, config, o.mode, o.segment), 0o600); err != nil {
		return nil, err
	}
	var err error
	if p.log, err = os.Create(filepath.Join(base, "log")); err != nil {
		return nil, err
	}
	if o.gateway == "" {
		p.bin, err = build(ctx, base)
	} else {
		err = copyProgram(o.gateway, p.bin)
	}
	return p, err
}

// copyProgram gives the program a path of its own, by which what it leaves behind is known.
func copyProgram(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o700) //nolint:gosec // a program
}

var operatorKey = regexp.MustCompile(`ak_live_\S{40,}`)

// found makes the second organisation in production mode, and in development mode everybody who works.
func (w *world) found(ctx context.Context) error {
	s, _, err := w.p.start("GATEWRIGHT_CFG_MODE=production")
	if err != nil {
		return err
	}
	w.operator = operatorKey.FindString(w.p.text)
	var made struct{ Key struct{ Secret string } }
	in := map[string]any{"id": other, "name": "Other", "admin": map[string]any{"name": "Other admin"}}
	if _, err := s.manage(ctx, w.operator, "POST", "/api/v1/organisations", in, &made); err != nil {
		return err
	}
	w.adminKeys[other] = made.Key.Secret
	if err := w.p.stop(); err != nil {
		return err
	}
	if s, err = w.start(); err != nil {
		return err
	}
	for _, tenant := range []string{demo, other} {
		if err := w.people(ctx, s, tenant); err != nil {
			return err
		}
	}
	return w.p.stop()
}

// people makes a tenant's server, agents and keys.
func (w *world) people(ctx context.Context, s *session, tenant string) error {
	admin := s.keys[tenant]
	server := map[string]any{"name": serverName, "url": w.tools.url, "allow_private": true, "era": "modern"}
	if _, err := s.manage(ctx, admin, "POST", "/api/v1/servers", server, nil); err != nil {
		return err
	}
	if _, err := s.manage(ctx, admin, "POST", "/api/v1/servers/"+serverName+"/refresh", nil, nil); err != nil {
		return err
	}
	rnd := func() *rand.Rand { return rand.New(rand.NewPCG(w.o.seed, w.rnd.Uint64())) } //nolint:gosec // reproducible
	for i := range walkersEach + 1 {
		id, err := newAgent(ctx, s, admin, tenant, w.j)
		if err != nil {
			return err
		}
		m := &manager{tenant: tenant, agent: id, rnd: rnd()}
		k, err := m.newKey(ctx, s, w.j, id)
		if err != nil {
			return err
		}
		if m.key = k.secret; i == 0 {
			w.managers = append(w.managers, m)
			continue
		}
		w.walkers = append(w.walkers, &walker{tenant: tenant, key: k.secret, rnd: rnd()})
	}
	return nil
}

// start starts the gateway and keeps the time that it took.
func (w *world) start() (*session, error) {
	s, took, err := w.p.start()
	if err != nil {
		return nil, fmt.Errorf("the gateway does not come up again: %w", err)
	}
	maps.Copy(s.keys, w.adminKeys)
	if took > slowStart {
		fmt.Fprintf(w.out, "after kill %d the gateway took %d ms to be ready\n", w.killed, took.Milliseconds())
	}
	w.slowest, w.usual = max(w.slowest, took), took
	if w.check == nil {
		keys, err := pins(w.p.dir)
		if err != nil {
			return nil, err
		}
		w.check = newChecker(keys)
	}
	return s, nil
}

func pins(dir string) (ledger.VerifierKeys, error) {
	b, err := os.ReadFile(filepath.Join(dir, "keys", "ledger.pub"))
	if err != nil {
		return nil, err
	}
	return ledger.ParseVerifierKeys(b)
}

// kills is the program's work.
func (w *world) kills(ctx context.Context) error {
	verified := 0
	for w.killed < w.o.kills {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.progress()
		if err := w.once(ctx); err != nil {
			return err
		}
		if w.o.spoil != nil {
			if err := w.o.spoil(w.p.dir); err != nil {
				return err
			}
		}
		if len(w.check.found) > 0 {
			return nil // what comes now would only cover the traces
		}
		if w.killed-verified >= w.o.every {
			verified = w.killed
			if err := w.whole(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// once starts the gateway and kills it in one way or another.
func (w *world) once(ctx context.Context) error {
	w.killed++
	switch roll := w.rnd.IntN(100); {
	case roll < 25:
		w.kinds["start"]++
		return w.p.startAndKill(time.Duration(w.rnd.Int64N(int64(max(w.usual, time.Millisecond)))))
	case roll < 35:
		w.kinds["ready"]++
		if _, err := w.start(); err != nil {
			return err
		}
		time.Sleep(time.Duration(w.rnd.Int64N(int64(5 * time.Millisecond))))
		w.p.kill()
		return nil
	}
	s, err := w.start()
	if err != nil {
		return err
	}
	defer s.client.CloseIdleConnections()
	notes := w.publishedNotes()
	if err := w.judge(ctx, s, notes); err != nil {
		w.p.kill()
		return err
	}
	return w.underLoad(ctx, s)
}

// underLoad lets everybody work and kills the gateway meanwhile.
func (w *world) underLoad(ctx context.Context, s *session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, x := range w.walkers {
		wg.Go(func() { x.walk(ctx, s, w.j) })
	}
	for _, m := range w.managers {
		wg.Go(func() { m.work(ctx, s, w.j) })
	}
	time.Sleep(time.Duration(w.rnd.Int64N(int64(300 * time.Millisecond))))
	switch roll := w.rnd.IntN(10); {
	case roll < 3:
		w.kinds["load"]++
	case roll < 5:
		w.kinds["prune"]++
		w.prune(ctx, s)
	case roll < 7:
		w.kinds["checkpoint"]++
		w.await(func() string { return stamp(filepath.Join(w.p.dir, "ledger", other, "checkpoint")) })
	case roll < 9:
		w.kinds["segment"]++
		w.await(func() string { return names(filepath.Join(w.p.dir, "ledger", "_wal")) })
	default:
		w.kinds["end"]++
		if err := w.p.signal(); err != nil {
			return err
		}
		time.Sleep(time.Duration(w.rnd.Int64N(int64(60 * time.Millisecond))))
	}
	w.p.kill()
	cancel()
	wg.Wait()
	return nil
}

// prune has all records given up that are older than a minute, and comes back while that is under way, or after it: every
// other time when the first segment file was removed, which the gateway does in the background.
func (w *world) prune(ctx context.Context, s *session) {
	done := make(chan error, 1)
	go func() {
		_, err := s.manage(ctx, w.operator, "POST", "/api/v1/ledger/prune", nil, nil)
		done <- err
	}()
	select {
	case err := <-done:
		gone(ctx, w.j, "prune", err)
		if wal := filepath.Join(w.p.dir, "ledger", "_wal"); w.rnd.IntN(2) == 0 {
			first := firstSegment(wal)
			for end := time.Now().Add(2 * time.Second); firstSegment(wal) == first && time.Now().Before(end); {
				time.Sleep(100 * time.Microsecond)
			}
		}
	case <-time.After(time.Duration(w.rnd.Int64N(int64(200 * time.Millisecond)))):
	}
}

// firstSegment is the name of the first segment file in a folder.
func firstSegment(dir string) string {
	all, err := filepath.Glob(filepath.Join(dir, "*.segment"))
	if err != nil || len(all) == 0 {
		return ""
	}
	return all[0] // in the order of their names
}

// await waits for something on the disk to change, and then a moment that is random.
func (w *world) await(look func() string) {
	before := look()
	for end := time.Now().Add(400 * time.Millisecond); look() == before && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
	time.Sleep(time.Duration(w.rnd.Int64N(int64(2 * time.Millisecond))))
}

// stamp tells states of a file, and of one about to take its place, apart.
func stamp(path string) string {
	var at [2]time.Time
	for i, name := range []string{path, path + ".tmp"} {
		if st, err := os.Stat(name); err == nil {
			at[i] = st.ModTime()
		}
	}
	return fmt.Sprint(at)
}

func names(dir string) string {
	all, _ := filepath.Glob(filepath.Join(dir, "*"))
	return fmt.Sprint(all)
}

// note is a checkpoint as it was found.
type note struct {
	tenant, where string
	text          []byte
}

// publishedNotes reads the tenants' checkpoints from the data folder, before new ones take their place.
func (w *world) publishedNotes() (out []note) {
	paths, _ := filepath.Glob(filepath.Join(w.p.dir, "ledger", "*", "checkpoint"))
	for _, path := range paths {
		tenant := filepath.Base(filepath.Dir(path))
		if text, err := os.ReadFile(path); err == nil && (tenant == demo || tenant == other) {
			out = append(out, note{tenant, "the data folder", text})
		}
	}
	return out
}

// whole verifies everything offline, on a gateway that ended as it should.
func (w *world) whole(ctx context.Context) error {
	if _, err := w.start(); err != nil {
		return err
	}
	if err := w.p.stop(); err != nil {
		return err
	}
	if err := w.p.verify(ctx); err != nil {
		w.check.violate(lost, "after %d kills: %v", w.killed, err)
	}
	return nil
}

// end judges for the last time: every promise, every effect, every revocation.
func (w *world) end(ctx context.Context) error {
	s, err := w.start()
	if err != nil {
		return err
	}
	w.tested = 0
	err = w.judge(ctx, s, w.publishedNotes())
	s.client.CloseIdleConnections()
	if stopErr := w.p.stop(); err == nil {
		err = stopErr
	}
	if err == nil {
		err = w.p.verify(ctx)
	}
	if left := w.p.leftBehind(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("processes outlived the gateway: %v", left))
	}
	if w.j.failed != nil {
		err = errors.Join(err, fmt.Errorf("answers nobody expected: %.2000q", w.j.failed))
	}
	w.report()
	return err
}

func (w *world) close() {
	if w.p.cmd != nil && w.p.cmd.Process != nil {
		w.p.kill()
	}
	w.tools.close()
	_ = w.p.log.Close()
}

func (w *world) progress() {
	if time.Since(w.told) >= progressEvery {
		w.report()
	}
}

func (w *world) report() {
	w.told = time.Now()
	size := uint64(0)
	for t := range w.check.trees {
		size += w.check.size(t)
	}
	gone, made := w.j.standing()
	fmt.Fprintf(w.out, "%5.0f s: kills=%d %v records=%d acknowledged=%d effects=%d unknown=%d revoked=%d keys=%d ready_ms=%d\n", time.Since(w.began).Seconds(),
		w.killed, w.kinds, size, w.j.told, w.judged, w.check.unknown, len(gone), len(made), w.usual.Milliseconds())
}
