package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/meter"
)

// What one call may spend while it is priced: enough to see what a unit costs. Beside the price of its units a call has an
// allowance for what the host does around it.
const (
	pricedFuel      = 20_000_000
	maxNanosPerUnit = 15
	allowance       = time.Millisecond
	loadAllowance   = 200 * time.Millisecond // compiling a small module, and all that is around it
)

// Finding is what became of a case.
type Finding struct {
	Stage     corpus.Stage
	Kind      string
	Reason    string        // what its author would be told
	Took      time.Duration // until it was refused or trapped; of the costliest call otherwise
	Overspent bool          // it used more fuel than it had
	Slow      bool          // it used more CPU than its fuel pays for
	Nanos     float64       // CPU per unit of the call that was priced, where it used up its fuel
	Peak      int64         // the largest resident memory meanwhile, in bytes; 0 where the system does not tell
}

// unsteady is the kind of what gave another answer to the same input.
const unsteady = "unsteady"

// stage is where cases are played.
type stage struct {
	compiler *build.Compiler // nil: modules are compiled in this process
}

// host is a runtime as the gateway has it, but for its fuel and a log that is thrown away.
func (s *stage) host(ctx context.Context, fuel int64, instances int) (*wasm.Runtime, wasm.Config, error) {
	c := wasm.DefaultConfig()
	c.Compiler = s.compiler
	c.Fuel, c.InitFuel, c.Instances, c.Traps = fuel, pricedFuel, instances, 1_000_000
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil)) //nolint:sloglint // lines are to be written, at their full price
	r, err := wasm.New(ctx, c)
	return r, c, err
}

// play does with a case what the gateway does with an upload and with calls.
func (s *stage) play(ctx context.Context, c corpus.Case) (f Finding, err error) {
	module := c.Make()
	r, config, err := s.host(ctx, pricedFuel, 2)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu, began := threadCPU(), time.Now()
	filter, err := r.Load(ctx, c.Name, module, c.Config)
	spent := threadCPU() - cpu
	f.Took = time.Since(began)
	if err != nil {
		f.Stage, f.Kind, f.Reason = refusal(err)
		f.Slow = f.Stage == corpus.Init && spent > maxNanosPerUnit*pricedFuel+loadAllowance
		return f, nil
	}
	p := player{filter: filter, config: config, finding: &f}
	f.Stage, f.Took = corpus.Passed, 0
	for _, phase := range phases {
		if p.phase(ctx, phase); f.Stage != corpus.Passed || f.Kind != "" {
			break
		}
	}
	return f, nil
}

// refusal says at which stage and why a module was not loaded.
func refusal(err error) (stage corpus.Stage, kind, reason string) {
	reason = err.Error()
	var trap *wasm.Trap
	var bounded *build.Error
	switch {
	case errors.As(err, &bounded):
		return corpus.Compile, string(bounded.Bound), reason
	case errors.Is(err, meter.ErrMalformed):
		return corpus.Check, "malformed", reason
	case errors.Is(err, meter.ErrUnsupported):
		return corpus.Check, "unsupported", reason
	case errors.Is(err, meter.ErrLimit):
		return corpus.Check, "limit", reason
	case errors.As(err, &trap):
		return corpus.Init, trap.Kind, reason
	case strings.Contains(reason, "compile: "):
		return corpus.Compile, "", reason
	}
	return corpus.Load, "", reason
}

// phase is one of the functions that a call may reach.
type phase struct {
	stage corpus.Stage
	ask   func(f *wasm.Filter, ctx context.Context, c *abi.Context, v *wasm.Verdict) error
}

var phases = []phase{
	{corpus.Decide, (*wasm.Filter).Decide},
	{corpus.Respond, (*wasm.Filter).OnResponse},
	{corpus.Chunk, (*wasm.Filter).OnChunk},
}

// player calls one filter.
type player struct {
	filter  *wasm.Filter
	config  wasm.Config
	finding *Finding
}

// inputs are what a filter is shown: the same three times, and before that another one, which is longer and holds a secret.
func inputs() []*abi.Context {
	var all []*abi.Context
	for _, secret := range []string{strings.Repeat("AKIA-", 400), "", "", ""} {
		all = append(all, &abi.Context{
			Tenant: "org_1", Agent: "agt_1", User: "usr_1", Op: "tools/call", Server: "files", Tool: "read", Now: 1_700_000_000_000,
			Flags: abi.First | abi.Last, Body: []byte(`{"path":"/etc/motd","secret":"` + secret + `"}`),
		})
	}
	return all
}

// phase asks for a verdict on each input and notes what came of it.
func (p *player) phase(ctx context.Context, ph phase) {
	var first string
	for i, input := range inputs() {
		v, err := p.priced(ctx, ph, input)
		if err != nil {
			p.trapped(ph.stage, err)
			return
		}
		said := fmt.Sprintf("%v %q %q %v %v %q", v.Kind, v.Reason, v.Labels, v.Scores, v.Fuel, v.Body)
		switch {
		case v.Kind != wasm.Pass:
			p.finding.Kind, p.finding.Reason = v.Kind.String(), v.Reason
			return
		case i == 1:
			first = said
		case i > 1 && said != first:
			p.finding.Kind, p.finding.Reason = unsteady, first+" and then "+said
			return
		}
	}
}

func (p *player) trapped(stage corpus.Stage, err error) {
	p.finding.Stage, p.finding.Kind, p.finding.Reason = stage, "no trap", err.Error()
	if trap, ok := errors.AsType[*wasm.Trap](err); ok {
		p.finding.Kind = trap.Kind
	}
}

// priced makes a call, and makes it again when it seems to have cost too much: the machine's other work is not the
// filter's, so the cheapest of three counts.
func (p *player) priced(ctx context.Context, ph phase, input *abi.Context) (v wasm.Verdict, err error) {
	budget := p.config.Fuel + p.config.ByteFuel*int64(max(input.Size(abi.FormJSON), input.Size(abi.FormFlat)))
	slow := true
	for try := 0; slow && try < 3; try++ {
		v.Body = nil
		cpu, began := threadCPU(), time.Now()
		err = ph.ask(p.filter, ctx, input, &v)
		spent, took := threadCPU()-cpu, time.Since(began)
		p.finding.Took = max(p.finding.Took, took)
		slow = spent > time.Duration(maxNanosPerUnit*v.Fuel)+allowance
		p.finding.Overspent = p.finding.Overspent || v.Fuel > budget
		if v.Fuel >= pricedFuel {
			p.finding.Nanos = cheapest(p.finding.Nanos, float64(spent.Nanoseconds())/float64(v.Fuel))
		}
	}
	p.finding.Slow = p.finding.Slow || slow
	v.Labels, v.Scores = slices.Clone(v.Labels), slices.Clone(v.Scores)
	return v, err
}

// cheapest is the smaller of two prices; 0 is none.
func cheapest(a, b float64) float64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// contained says what is wrong with what became of a case, or nil.
func contained(c corpus.Case, f Finding) error {
	switch {
	case f.Stage != c.Stage || c.Kind != "" && f.Kind != c.Kind || c.Stage == corpus.Passed && f.Kind != c.Kind:
		return fmt.Errorf("ended at %s %s, want %s %s: %s", f.Stage, f.Kind, c.Stage, c.Kind, f.Reason)
	case !strings.Contains(f.Reason, c.Says):
		return fmt.Errorf("its author is told %q, which does not mention %q", f.Reason, c.Says)
	case f.Overspent:
		return errors.New("used more than its fuel")
	case f.Slow:
		return fmt.Errorf("took more than %d ns for a unit of its fuel", maxNanosPerUnit)
	}
	return nil
}
