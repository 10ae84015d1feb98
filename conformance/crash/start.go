package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// What a large ledger is made of.
const (
	bigSegment = "64MiB" // what production writes
	bigTenants = 20
	bigAgents  = 200
	bigTools   = 40
	bigPlans   = 5000
	bigSteps   = 8
	bigWriters = 256
	bigStarts  = 5
)

// starts fills a ledger, kills the gateway on it again and again, and prints how long it takes from exec to the ready line.
func starts(ctx context.Context, out io.Writer, o options) (err error) {
	if o.segment == "" {
		o.segment = bigSegment
	}
	base, err := os.MkdirTemp(o.dir, "gatewright-start")
	if err != nil {
		return err
	}
	defer func() {
		if !o.keep {
			err = errors.Join(err, os.RemoveAll(base))
		}
	}()
	fmt.Fprintf(out, "the data folder is in %s\n", base)
	p, err := newProcess(ctx, base, o)
	if err != nil {
		return err
	}
	defer p.log.Close()
	if _, _, err := p.start(); err != nil { // it makes the folder and its keys
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := fillAndForget(ctx, p.dir, o.records); err != nil {
		return fmt.Errorf("fill the ledger: %w", err)
	}
	fmt.Fprintf(out, "filled in %.1f s\n", time.Since(began).Seconds())
	took, err := measure(out, p)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "start records=%d ready_ms=%d min=%d max=%d\n", o.records, took[len(took)/2], took[0], took[len(took)-1])
	return nil
}

// measure starts the gateway and kills it, and returns the sorted milliseconds until each ready line. The first is counted
// too: the state that was stored is older than the end of the log.
func measure(out io.Writer, p *process) ([]int64, error) {
	var took []int64
	for i := range bigStarts {
		_, d, err := p.start()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "start %d: %d ms\n", i, d.Milliseconds())
		took = append(took, d.Milliseconds())
		time.Sleep(2 * time.Second) // what follows a start in the background may come to its end
		p.kill()
	}
	slices.Sort(took)
	return took, nil
}

// bigTail is how many records a killed gateway may have written since it stored its state: 16 MiB of them.
const bigTail = 20_000

// fillAndForget fills a ledger and puts its stored state back to what it was some records before the end, as a kill at the
// worst moment leaves it. The state is signed and says when it is of: an old one is good.
func fillAndForget(ctx context.Context, dir string, records int) error {
	tail := min(bigTail, records/10)
	if err := fill(ctx, dir, 0, records-tail); err != nil {
		return err
	}
	name := filepath.Join(dir, "ledger", "_wal", "snapshot")
	state, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := fill(ctx, dir, records-tail, records); err != nil {
		return err
	}
	return os.WriteFile(name, state, 0o600)
}

// fill appends records to the ledger of a data folder as the gateway would, without the gateway.
func fill(ctx context.Context, dir string, from, to int) (err error) {
	d, err := datadir.Open(dir, nil, rand.Reader)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	seed, err := d.Key("ledger", ed25519.SeedSize)
	if err != nil {
		return err
	}
	c := wal.DefaultConfig()
	c.Sync, c.Deadline, c.Checkpoint = wal.SyncWrite, time.Minute, 5*time.Second
	b, err := publish.OpenBook(ctx, wal.Options{
		Config: c, Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: ed25519.NewKeyFromSeed(seed),
		ChainKeyFile: d.Join("keys", "ledger.chain"), RootKeyFile: d.Join("keys", "ledger.k0"), Now: time.Now, Rand: rand.Reader,
	})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, bigWriters)
	for w := range bigWriters {
		wg.Go(func() {
			for i := from/2 + w; i < to/2 && errs[w] == nil; i += bigWriters {
				errs[w] = pair(ctx, b.Log, i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, b.Close(ctx))
	}
	return errors.Join(published(ctx, b), b.Close(ctx))
}

// published waits until checkpoints cover all records, so that the first start has nothing left to publish.
func published(ctx context.Context, b publish.Book) error {
	for _, tenant := range b.Tenants() {
		for {
			note, err := b.Checkpoint(tenant)
			if err != nil && !errors.Is(err, wal.ErrTenant) {
				return err
			}
			if cp, err := ledger.ReadCheckpoint(note); err == nil && cp.Size == b.Size(tenant) {
				break
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// pair writes the two records of one call.
func pair(ctx context.Context, l *wal.Log, i int) error {
	plan := i % bigPlans
	r := &ledger.Record{
		Tenant: fmt.Sprintf("tenant-%d", plan%bigTenants), Kind: ledger.Admitted, Agent: fmt.Sprintf("agt_%022d", plan%bigAgents),
		User: "usr_0000000000000000000001", Key: fmt.Sprintf("key_%022d", plan%bigAgents), Addr: "127.0.0.1", Route: "/mcp/{server}", Op: "tools/call",
		Server: "files", Tool: fmt.Sprintf("tool_%d", i%bigTools), Verdict: "permit", PlanID: fmt.Sprintf("pln_%022d", plan), Token: fmt.Sprintf("tok_%022d", plan),
		Request: merkle.LeafHash([]byte("request")), Ask: merkle.LeafHash([]byte("ask")), Policies: []string{"default-permit-planned"},
		Stages: []ledger.StageTime{{Name: "identify", Micros: 3}, {Name: "quota", Micros: 1}, {Name: "intent", Micros: 41}, {Name: "filter", Micros: 2}, {Name: "decide", Micros: 23}},
	}
	u := wal.Use{
		Plan: merkle.LeafHash(fmt.Appendf(nil, "plan %d", plan)), Step: int32(i / bigPlans % bigSteps),
		Expires: time.Now().Add(24 * time.Hour).Unix(),
	}
	if _, err := l.Admit(ctx, r, u); err != nil {
		return err
	}
	s := &ledger.Record{
		Tenant: r.Tenant, Kind: ledger.Settled, Step: -1, Of: r.ID, Outcome: ledger.OutcomeOK, Status: 200, Micros: 1234, Agent: r.Agent, User: r.User,
		Server: r.Server, Tool: r.Tool, Reply: merkle.LeafHash([]byte("reply")), PlanID: r.PlanID, Token: r.Token,
	}
	_, err := l.Append(ctx, s)
	return err
}
