package control_test

import (
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
	"github.com/gatewright/gatewright/store/badger"
)

// A busy organisation: who calls what, and how much of it is judged.
const (
	busyUsers  = 25
	busyAgents = 50
	busyTeams  = 10
	busyTools  = 20 // on 5 servers
	busyRules  = 1_000
	// eighth is how many calls lie between two that read the table of salaries.
	eighth = 8
)

// busyTool names the i-th tool.
func busyTool(i int) (server, tool string) {
	return []string{"crm", "files", "mail", "sql", "tickets"}[i%5], []string{"query", "read", "send", "update"}[i/5]
}

const busySchema = `{"type":"object","properties":{"table":{"type":"string"},"limit":{"type":"integer"},"columns":{"type":"array","items":{"type":"string"}},` +
	`"filter":{"type":"object","properties":{"column":{"type":"string"},"value":{"type":"string"}},"required":["column"]},"reason":{"type":"string"}},"required":["table","limit"]}`

// busyDefs are the tools as the catalogue has them.
func busyDefs() (out []policies.ToolDef) {
	for i := range busyTools {
		server, tool := busyTool(i)
		out = append(out, policies.ToolDef{Server: server, Name: tool, InputSchema: []byte(busySchema), Sensitivity: int64(i % 5)})
	}
	return out
}

// busyPolicies permits every team, and forbids by arguments, facts of the caller, the plan and the network.
func busyPolicies() string {
	var b strings.Builder
	for i := range busyRules {
		server, tool := busyTool(i * 7 % busyTools)
		team := fmt.Sprintf(`principal in Team::"t%d"`, i/busyTools%busyTeams)
		action := fmt.Sprintf(`action == Action::"%s___%s"`, server, tool)
		fmt.Fprintf(&b, "@id(\"p%d\") ", i)
		switch {
		case i%busyTools == 0 && i < busyTools*busyTeams:
			fmt.Fprintf(&b, "permit (%s, action, resource) when { context.trust > 10 };\n", team)
		case i%4 == 0:
			fmt.Fprintf(&b, "forbid (%s, %s, resource) when { context.input.table == \"secret_%d\" };\n", team, action, i)
		case i%4 == 1:
			fmt.Fprintf(&b, "forbid (%s, %s, resource) when { context.input.limit > %d && context.trust < 100 };\n", team, action, 200+i)
		case i%4 == 2:
			fmt.Fprintf(&b, "forbid (principal == Agent::\"agt_%d\", %s, resource) when { context.input has reason && context.input.reason like \"*purge %d*\" };\n", i%busyAgents, action, i)
		default:
			fmt.Fprintf(&b, "permit (%s, %s, resource) when { context.plan.inPlan && resource.sensitivity < 3 };\n", team, action)
		}
	}
	return b.String()
}

// busyCall is one recorded call in the making.
type busyCall struct {
	user, agent, server, tool, planID string
	args                              []byte
	now                               time.Time
	use                               wal.Use
}

func newBusyCall(worker, i int) *busyCall {
	n := worker*1_000_003 + i
	who := n * 13 % busyAgents
	c := &busyCall{agent: fmt.Sprint("agt_", who), user: fmt.Sprint("usr_", who%busyUsers), now: time.Now()}
	c.server, c.tool = busyTool(n * 31 % busyTools)
	table := fmt.Sprint("table_", n%97)
	if i%eighth == 0 {
		table = "salaries"
	}
	c.args = fmt.Appendf(nil, `{"columns":["id","name","created_at","amount"],"filter":{"column":"customer","value":"c-%d"},"limit":%d,"reason":"Weekly report for the board, part %d: \"open orders\"","table":%q}`,
		n%5003, 10+n%190, n%12, table)
	if i%4 == 3 {
		plan, step := fmt.Sprintf("%d plan %d", worker, i/40), i/4%10
		c.planID, c.use = "pln_"+plan, wal.Use{Plan: merkle.LeafHash([]byte(plan)), Step: int32(step), Max: 1} //nolint:gosec // below ten
	}
	return c
}

// ask is the question as the line seals it; see appendAsk of package pipeline.
func (c *busyCall) ask(request [32]byte, salt []byte) []byte {
	who, _ := strconv.Atoi(c.agent[len("agt_"):])
	snapshot := sha256.Sum256([]byte(c.agent))
	b := fmt.Appendf(nil, `{"action":"call_tool","addr":"192.0.2.%d","agent":%q,"facts":{"id":%[2]q,"kind":"Agent","labels":["eu"],"owner":%q,"roles":["worker"],"status":"active","talks_to":[],"teams":["t%d","t%d"],"tenant":%q,"trust":%d},"labels":[],"now":%d,`,
		who, c.agent, c.user, who%busyTeams, (who+3)%busyTeams, demo, 500+who, c.now.UnixMicro())
	if c.planID != "" {
		b = fmt.Appendf(b, `"plan":{"done":%d,"id":%q,"issued_under":%q,"step":%d,"steps":10},`, c.use.Step, c.planID, hex.EncodeToString(snapshot[:]), c.use.Step)
	}
	return fmt.Appendf(b, `"principal":"%x","request":"%x","salt":%q,"server":%q,"session":{"calls":%d,"labels":[],"this_tool":%d},"tls":true,"tool":%q,"user":%q}`,
		snapshot, request, base64.RawURLEncoding.EncodeToString(salt), c.server, c.now.Nanosecond()%40, c.now.Nanosecond()%5, c.tool, c.user)
}

// record is the admitted record, with its question sealed beside it.
func (c *busyCall) record(aead cipher.AEAD, bundle merkle.Hash) (*ledger.Record, error) {
	id, err := ledger.NewID(c.now, rand.Reader)
	if err != nil {
		return nil, err
	}
	random := make([]byte, 16+aead.NonceSize())
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	salt, nonce := random[:16:16], random[16:]
	request := sha256.Sum256(append(salt, c.args...))
	ask := c.ask(request, salt)
	plain := append(append(binary.BigEndian.AppendUint32(nil, uint32(len(c.args))), c.args...), ask...) //nolint:gosec // short
	r := &ledger.Record{
		ID: id, Time: c.now.UnixMicro(), Tenant: demo, Kind: ledger.Admitted, Step: -1, Agent: c.agent, User: c.user, Key: "key_of_" + c.agent, Addr: "192.0.2.1",
		Route: "/mcp", Op: "tools/call", Server: c.server, Tool: c.tool, PlanID: c.planID, Verdict: "allow", Policies: []string{"p.cedar:1 p0"},
		Stages: []ledger.StageTime{{Name: "identify", Micros: 3}, {Name: "intent", Micros: 41}, {Name: "policy", Micros: 9}, {Name: "quota", Micros: 2}},
		Ask:    sha256.Sum256(ask), Request: request, Bundle: bundle, Snapshot: sha256.Sum256([]byte(c.agent)),
		Side: aead.Seal(nonce, nonce, plain, []byte(id)),
	}
	return r, nil
}

// write records a call from its admission to its end.
func (c *busyCall) write(log *wal.Log, keys control.Subjects, bundle merkle.Hash) error {
	ctx := context.Background()
	aead, err := keys.Lookup(ctx, demo, c.user)
	if err != nil {
		return err
	}
	r, err := c.record(aead, bundle)
	if err != nil {
		return err
	}
	if c.planID == "" {
		_, err = log.Append(ctx, r)
	} else {
		_, err = log.Admit(ctx, r, c.use)
	}
	if err != nil {
		return err
	}
	_, err = log.Append(ctx, &ledger.Record{
		Tenant: demo, Kind: ledger.Settled, Step: -1, Agent: r.Agent, User: r.User, Key: r.Key, Addr: r.Addr, Route: r.Route, Op: r.Op, Server: r.Server, Tool: r.Tool,
		Of: r.ID, Outcome: ledger.OutcomeOK, Request: r.Request, Ask: r.Ask, Reply: r.Request, Bundle: r.Bundle, Status: 200, Micros: 1200, Stages: r.Stages,
	})
	return err
}

// busyYear puts the API over a ledger on disk with so many calls, made once: their folder stays in the temporary
// folder for the next run.
func (w *world) busyYear(calls int) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("gatewright-bench-replay-%d", calls))
	made := filepath.Join(dir, "made")
	_, missing := os.Stat(made)
	if missing != nil {
		w.must(os.RemoveAll(dir))
	}
	w.must(os.MkdirAll(dir, 0o700))
	kept, err := badger.Open(badger.Options{Dir: filepath.Join(dir, "store"), Key: make([]byte, 32)})
	w.must(err)
	w.t.Cleanup(func() { w.must(kept.Close()) })
	secrets, err := vault.Open(w.t.Context(), kept, make([]byte, 32), rand.Reader)
	w.must(err)
	for i := range busyUsers {
		_, err := secrets.Subject(w.t.Context(), demo, fmt.Sprint("usr_", i))
		w.must(err)
	}
	w.vault = &faultyVault{Vault: secrets}
	compile := func(_ string, b *policies.Bundle) (*policies.Engine, error) { return policies.Compile(b, busyDefs()) }
	b, err := policies.NewBundle(map[string][]byte{"p.cedar": []byte(busyPolicies())})
	w.must(err)
	engine, err := compile(demo, b)
	w.must(err)
	w.policies = control.Policies{Set: &policies.Set{}, Compile: compile}
	w.policies.Set.Swap(demo, engine)

	cfg := wal.DefaultConfig()
	cfg.Sync, cfg.Deadline = wal.SyncWrite, 10*time.Second
	seed := sha256.Sum256([]byte("bench signer"))
	log, err := wal.Open(w.t.Context(), wal.Options{
		Config: cfg, Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: ed25519.NewKeyFromSeed(seed[:]),
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"), Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	w.t.Cleanup(func() { w.must(log.Close(context.Background())) })
	if missing != nil {
		w.callAll(log, calls, engine.Digest())
		w.must(os.WriteFile(made, nil, 0o600))
	}
	for s := log.Stats(); s.Verified < s.VerifyOf && s.Verify == nil; s = log.Stats() { // the check after a start is none of a comparison's
		time.Sleep(10 * time.Millisecond)
	}
	w.rebuild(publish.Book{Log: log})
}

// callAll writes so many calls, 64 at a time.
func (w *world) callAll(log *wal.Log, calls int, bundle merkle.Hash) {
	const callers = 64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range (calls - caller + callers - 1) / callers {
				if err := newBusyCall(caller, i).write(log, w.vault, bundle); err != nil {
					w.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// peakHeap watches how large the heap gets until it is stopped, in bytes.
func peakHeap() (stop func() uint64) {
	done, out := make(chan struct{}), make(chan uint64)
	go func() {
		var m runtime.MemStats
		most := uint64(0)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			case <-done:
				out <- most
				return
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-out
	}
}

func cpuSeconds() float64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

// BenchmarkDiffMillion is what `gateway policy diff current NEW` asks of a gateway with a million recorded decisions
// (GATEWRIGHT_RECORDS says another number) of 50 agents on 20 tools, under 1,000 policies, on all cores: the API reads them
// from the ledger's files, opens and checks what is sealed beside each, and puts it to both bundles. The ledger stays in
// the temporary folder, about 2.5 GB, for the next run.
func BenchmarkDiffMillion(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("GATEWRIGHT_RECORDS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	w := newWorld(b)
	w.busyYear(n)
	next := candidate(busyPolicies() + `@id("salaries") forbid (principal, action == Action::"sql___query", resource) when { context.input.table == "salaries" };`)
	peak, from := peakHeap(), cpuSeconds()
	b.ResetTimer()
	for b.Loop() {
		a := w.call("POST", diffPath, w.admin, next)
		var last struct{ Report *compare.Report }
		lines := strings.Split(strings.TrimSpace(a.body), "\n")
		w.must(json.Unmarshal([]byte(lines[len(lines)-1]), &last))
		r := last.Report
		if a.status != http.StatusOK || r == nil || r.Replayed != uint64(n) || r.Flips == 0 || r.Unexplained.Total() != 0 { //nolint:gosec // not negative
			b.Fatalf("%d %+v", a.status, r)
		}
		b.ReportMetric(float64(r.Flips), "flips")
		b.ReportMetric(float64(len(lines)-1), "progress-lines")
	}
	runs := float64(b.N)
	cpu := cpuSeconds() - from
	b.ReportMetric(b.Elapsed().Seconds()/runs, "s")
	b.ReportMetric(cpu/runs, "cpu-s")
	b.ReportMetric(runs*float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(cpu*1e6/runs/float64(n), "cpu-us/record")
	b.ReportMetric(float64(peak())/(1<<20), "heap-MiB")
}
