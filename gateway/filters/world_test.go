package filters_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/build"
	builtin "github.com/gatewright/gatewright/wasm/filters"
)

func TestMain(m *testing.M) {
	build.Hook() // the children that compile are this program
	goleak.VerifyTestMain(m)
}

const acme, other = "acme", "other"

var (
	errLedger = errors.New("ledger is down")
	ada       = filters.Actor{User: "usr_ada", Key: "key_ada"}
)

// world is a service over a store on disk and real revisions of bundles, whose ledger can be told to fail.
type world struct {
	t        *testing.T
	dir      string
	db       *badger.Store
	store    *faulty
	judge    *filters.Judge
	compiler *build.Compiler
	bundles  *bundles.Service
	*filters.Service

	mu      sync.Mutex
	records []*ledger.Record
	fail    func(r *ledger.Record) bool
	now     time.Time
	cfg     filters.Config
	judging filters.JudgeConfig
	builtIn []filters.BuiltIn
	keys    ledger.VerifierKeys
	log     bytes.Buffer
	bare    bool // no bundle is offered
}

// faulty fails the next writes of a table.
type faulty struct {
	store.Store
	mu    sync.Mutex
	table string
}

func (f *faulty) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	f.mu.Lock()
	table := f.table
	f.mu.Unlock()
	return f.Store.Update(ctx, tenant, func(tx store.Txn) error { return fn(&faultyTxn{tx, table}) })
}

type faultyTxn struct {
	store.Txn
	table string
}

func (t *faultyTxn) Put(table, key string, data []byte, at uint64) (uint64, error) {
	if table == t.table {
		return 0, errors.New("the disk is gone")
	}
	return t.Txn.Put(table, key, data, at)
}

func newWorld(t *testing.T, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), cfg: filters.DefaultConfig(), judging: filters.DefaultJudgeConfig(), now: time.Unix(1_700_000_000, 0)}
	w.judging.Wasm.Instances, w.judging.Wasm.Wait = 8, 2*time.Second
	w.cfg.Quota = wasm.Quota{FuelPerSecond: 1 << 40, Concurrency: 8}
	for _, c := range change {
		c(w)
	}
	w.open()
	t.Cleanup(w.close)
	for _, tenant := range []string{acme, other} {
		if w.bare {
			continue
		}
		if err := w.bundles.Offer(t.Context(), tenant, bundles.Actor{}, policies.Default(), bundles.Source{Kind: bundles.BuiltIn}, false); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) open() {
	w.t.Helper()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	var err error
	w.db, err = badger.Open(badger.Options{Dir: w.dir + "/store", Key: bytes.Repeat([]byte{7}, 32)})
	must(err)
	w.store = &faulty{Store: w.db}
	w.compiler, err = build.New(build.Options{Dir: w.dir + "/wasm", Key: bytes.Repeat([]byte{8}, 32)})
	must(err)
	w.judging.Wasm.Compiler = w.compiler
	w.judge, err = filters.NewJudge(w.t.Context(), w.judging)
	must(err)
	log := slog.New(slog.NewTextHandler(&locked{w}, nil))
	w.bundles, err = bundles.New(bundles.DefaultConfig(), bundles.Deps{
		Store: w.db, Record: w.record, Engines: &policies.Set{}, Filters: named{w}, Now: w.clock, Log: log,
		Tools: func(string) []policies.ToolDef { return nil }, Keys: func(string) ledger.VerifierKeys { return w.keys },
	})
	must(err)
	w.Service, err = filters.New(w.cfg, filters.Deps{Store: w.store, Record: w.record, Bundles: said{w}, Judge: w.judge, BuiltIn: w.builtIn, Now: w.clock, Log: log})
	must(err)
	for _, tenant := range []string{acme, other} {
		_, err := w.bundles.Open(w.t.Context(), tenant)
		must(err)
	}
}

func (w *world) close() {
	err := errors.Join(w.Close(context.Background()), w.judge.Close(context.Background()), w.db.Close())
	w.compiler.Close()
	if err != nil {
		w.t.Error(err)
	}
}

// restart is what a crash leaves: nothing but what is on disk.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) record(_ context.Context, r *ledger.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil && w.fail(r) {
		return errLedger
	}
	w.records = append(w.records, r)
	return nil
}

type locked struct{ *world }

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

// said and named are the two services for each other, as the gateway ties them.
type said struct{ *world }

func (s said) Current(tenant string) (*policies.Bundle, bool) { return s.bundles.Current(tenant) }
func (s said) Standing(tenant string) (*policies.Bundle, bool) {
	return s.bundles.Standing(tenant)
}
func (s said) Signed(tenant string) bool                 { return s.bundles.Signed(tenant) }
func (s said) Retool(ctx context.Context, tenant string) { s.bundles.Retool(ctx, tenant) }

func (s said) Amend(ctx context.Context, tenant string, by filters.Actor, edit func(*policies.Bundle) (string, []byte, error)) (uint64, error) {
	r, err := s.bundles.Amend(ctx, tenant, bundles.Actor{User: by.User, Key: by.Key}, edit)
	if errors.Is(err, bundles.ErrState) {
		err = fmt.Errorf("%w: %w", filters.ErrState, err)
	}
	return r.Number, err
}

type named struct{ *world }

func (n named) Check(ctx context.Context, tenant string, b *policies.Bundle) error {
	return n.Service.Check(ctx, tenant, b)
}

func (n named) Prepare(ctx context.Context, tenant string, b *policies.Bundle) (bundles.Ready, error) {
	p, err := n.Service.Prepare(ctx, tenant, b)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// told lists what the ledger has of filters, as "op name version mode".
func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, r := range w.records {
		if r.Kind != ledger.Filter {
			continue
		}
		var b struct {
			Op, Of, Name, Mode string
			Version            uint64
		}
		if err := json.Unmarshal(r.Body, &b); err != nil {
			w.t.Error(err)
		}
		text := b.Op
		if b.Of != "" {
			text += "(" + b.Of + ")"
		}
		if text += " " + b.Name; b.Version > 0 {
			text += fmt.Sprint(" ", b.Version)
		}
		out = append(out, strings.TrimSpace(text+" "+b.Mode))
	}
	return strings.Join(out, ", ")
}

func (w *world) push(tenant, name string, module []byte, vectors ...filters.Vector) filters.Version {
	w.t.Helper()
	v, err := w.Upload(w.t.Context(), tenant, ada, filters.Upload{Name: name, Module: module, Vectors: vectors}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) activate(name string, version uint64, p filters.Placement) filters.Change {
	w.t.Helper()
	c, err := w.Activate(w.t.Context(), acme, ada, name, version, p)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// ask has a tenant's filters judge a request, as the stage does, and lists what they said.
func (w *world) ask(tenant, server, tool string) string {
	w.t.Helper()
	set, err := w.For(w.t.Context(), tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	defer set.Release()
	var said []string
	for i := range set.Units {
		p := &set.Units[i]
		shown := &abi.Context{Tenant: tenant, Server: server, Tool: tool, Op: "tools/call", Body: []byte(`{"q":"` + strings.Repeat("q", 300) + `"}`)}
		var v abi.Verdict
		switch {
		case !p.Asked(abi.Request, server, tool):
			continue
		case p.Shadow():
			p.Try(shown)
			said = append(said, "("+p.Name()+")")
			continue
		}
		text := ""
		if err := p.Decide(w.t.Context(), shown, &v); err != nil {
			text = err.Error()
		} else if text = v.Kind.String(); v.Reason != "" {
			text += " " + v.Reason
		}
		said = append(said, p.Name()+" "+text)
	}
	return strings.Join(said, ", ")
}

// flip changes one bit of a module in the store; once more changes it back.
func (w *world) flip(tenant string, v filters.Version) {
	w.t.Helper()
	err := w.db.Update(w.t.Context(), tenant, func(tx store.Txn) error {
		key := fmt.Sprintf("%s/%04d", v.Digest, 0)
		row, err := tx.Get("filter_modules", key)
		if err != nil {
			return err
		}
		row.Data[len(row.Data)-3] ^= 1
		_, err = tx.Put("filter_modules", key, row.Data, store.AnyVersion)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) inForce(want string) {
	w.t.Helper()
	if got := w.ask(acme, "mail", "send"); got != want {
		w.t.Errorf("in force: %q, want %q", got, want)
	}
}

func redact(t *testing.T) []byte {
	t.Helper()
	module, ok := builtin.Module("redact-secrets")
	if !ok {
		t.Fatal("no redact-secrets")
	}
	return module
}

// denies is a filter that refuses everything for a reason, and passes is one that refuses nothing.
func denies(reason string) []byte {
	return module(fmt.Sprintf(`{"verdict":"deny","reason":%q}`, reason), nil)
}

func passes() []byte { return module(`{"verdict":"pass"}`, nil) }

// module answers text to every request after body has run.
func module(text string, body []byte) []byte {
	return assemble(1, append(slices.Clone(body), constant64(1024<<32|int64(len(text)))...), text)
}

// traps is a filter that gives up on every call whose context is longer than the vectors' empty ones.
func traps() []byte {
	// local.get 1; i32.const 300; i32.gt_u; if; unreachable; end
	return module(`{"verdict":"pass"}`, slices.Concat([]byte{0x20, 1}, constant32(300), []byte{0x4b, 0x04, 0x40, 0x00, 0x0b}))
}

// logsAll writes its context's first 60 bytes.
func logsAll() []byte {
	return module(`{"verdict":"pass"}`, slices.Concat(constant32(1), []byte{0x20, 0}, constant32(60), []byte{0x10, 0}))
}

func constant32(n int64) []byte { return sleb([]byte{0x41}, n) }
func constant64(n int64) []byte { return sleb([]byte{0x42}, n) }

func sleb(o []byte, n int64) []byte {
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(o, c)
		}
		o = append(o, c|0x80)
	}
}

// assemble makes a module of the ABI "gw" whose gw_decide is body, and that has text at 1024. It imports gw.log.
func assemble(pages int, body []byte, text string) []byte {
	uleb := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	name := func(s string) []byte { return append(uleb(len(s)), s...) }
	section := func(id byte, entries ...[]byte) []byte {
		b := append(uleb(len(entries)), bytes.Join(entries, nil)...)
		return slices.Concat([]byte{id}, uleb(len(b)), b)
	}
	code := func(body []byte) []byte {
		b := slices.Concat([]byte{0}, body, []byte{0x0b})
		return append(uleb(len(b)), b...)
	}
	export := func(s string, kind byte, i int) []byte { return slices.Concat(name(s), []byte{kind}, uleb(i)) }
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{0x60, 3, 0x7f, 0x7f, 0x7f, 0}, []byte{0x60, 0, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7e}),
		section(2, slices.Concat(name("gw"), name("log"), []byte{0, 0})),
		section(3, []byte{1}, []byte{2}, []byte{3}),
		section(5, slices.Concat([]byte{0}, uleb(pages))),
		section(7, export("gw_abi_1", 0, 1), export("gw_alloc", 0, 2), export("gw_decide", 0, 3), export("memory", 2, 0)),
		section(10, code(nil), code(constant32(32<<10)), code(body)),
		section(11, slices.Concat([]byte{0}, constant32(1024), []byte{0x0b}, name(text))),
	)
}

func digestOf(v filters.Version) string { return filters.DigestText(v.Digest) }

// bundle is the built-in bundle with a section filters.
func bundle(t *testing.T, section string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	b := policies.Default()
	for _, name := range b.Files() {
		files[name], _ = b.File(name)
	}
	files["manifest.json"] = []byte(`{"format":1,"name":"acme","version":1,"filters":` + section + `}`)
	return files
}

func logger(w *world) *slog.Logger { return slog.New(slog.NewTextHandler(&locked{w}, nil)) }
