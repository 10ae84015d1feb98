package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/bench/wasm/guests"
	sandbox "github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/meter"
)

// way is how the engine alone runs a guest.
type way int

const (
	plain   way = iota // nothing stops it
	watched            // WithCloseOnContextDone and a context that outlives the call: what asking costs, and no call is bounded
	closing            // WithCloseOnContextDone and a deadline of the call's own: the engine's way to bound a call, as fuel is ours
)

// allowed is the time of a call that the engine bounds. No guest here comes near it.
const allowed = 100 * time.Millisecond

// bare adds a language's guests on the engine alone: as they are, metered, and as they are with the engine's own way to stop
// them.
func (b *bench) bare(ctx context.Context, language string) error {
	for _, guest := range [...]string{"noop", "loop", "calls"} {
		module, err := guests.Module(language, guest)
		if err != nil {
			return err
		}
		metered, _, err := meter.Rewrite(module, meter.Options{})
		if err != nil {
			return err
		}
		if err := errors.Join(
			b.engine(ctx, language+" "+guest+" plain", module, plain),
			b.engine(ctx, language+" "+guest+" metered", metered, plain),
			b.engine(ctx, language+" "+guest+" watched", module, watched),
			b.engine(ctx, language+" "+guest+" closing", module, closing),
		); err != nil {
			return err
		}
	}
	return nil
}

// slice is how much fuel a metered guest gets at once, about what package wasm gives.
const slice = 200_000

// guest is an instance on the engine alone.
type guest struct {
	memory        api.Memory
	alloc, decide api.Function
	fuel, depth   api.MutableGlobal // nil when it is not metered
	stack         [2]uint64
	verdict       sandbox.Verdict
}

func (b *bench) engine(ctx context.Context, name string, module []byte, how way) error {
	ctx, cancel := context.WithCancel(ctx) // a context that can end, as a call's does
	engine := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(how != plain))
	b.closers = append(b.closers, func() error { defer cancel(); return engine.Close(ctx) })
	i64 := []api.ValueType{api.ValueTypeI64}
	refuel := api.GoFunc(func(_ context.Context, stack []uint64) { stack[0] += slice })
	if _, err := engine.NewHostModuleBuilder(meter.ImportModule).NewFunctionBuilder().WithGoFunction(refuel, i64, i64).
		Export(meter.ImportName).Instantiate(ctx); err != nil {
		return err
	}
	code, err := engine.CompileModule(ctx, module)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var all [lent]*guest // as many as package wasm lends in turn, so that neither finds its memory in a nearer cache
	for i := range all {
		if all[i], err = newGuest(ctx, engine, code); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	clock := timed
	if how != plain {
		clock = timedAll // the engine watches the context on another thread
	}
	b.add(name, func(n int) (p parts, err error) {
		p.work, err = clock(func() error {
			for i := range n {
				if how != closing {
					if err := all[i%lent].ask(ctx, b.input); err != nil {
						return err
					}
					continue
				}
				call, done := context.WithTimeout(ctx, allowed)
				err := all[i%lent].ask(call, b.input)
				done()
				if err != nil {
					return err
				}
			}
			return nil
		})
		return p, err
	})
	return nil
}

func newGuest(ctx context.Context, engine wazero.Runtime, code wazero.CompiledModule) (*guest, error) {
	m, err := engine.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithRandSource(strings.NewReader("")))
	if err != nil {
		return nil, err
	}
	g := &guest{memory: m.Memory(), alloc: m.ExportedFunction("gw_alloc"), decide: m.ExportedFunction("gw_decide")}
	g.fuel, _ = m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	g.depth, _ = m.ExportedGlobal(meter.DepthGlobal).(api.MutableGlobal)
	return g, nil
}

// ask makes a call as package wasm does, without what makes it safe.
func (g *guest) ask(ctx context.Context, input []byte) error {
	if g.fuel != nil {
		g.fuel.Set(slice)
		g.depth.Set(1024)
	}
	g.stack[0] = uint64(len(input))
	if err := g.alloc.CallWithStack(ctx, g.stack[:]); err != nil {
		return err
	}
	at := g.stack[0]
	if !g.memory.Write(uint32(at), input) {
		return errors.New("no room for the input")
	}
	g.stack[0], g.stack[1] = at, uint64(len(input))
	if err := g.decide.CallWithStack(ctx, g.stack[:]); err != nil {
		return err
	}
	answer, ok := g.memory.Read(uint32(g.stack[0]>>32), uint32(g.stack[0]))
	if !ok {
		return errors.New("no answer")
	}
	g.verdict.Reset()
	if err := g.verdict.ReadJSON(answer, abi.Request, abi.Limits{Verdict: 16 << 10, Body: 1 << 20}); err != nil {
		return err
	}
	if g.verdict.Kind != sandbox.Pass {
		return errors.New("the verdict is not pass")
	}
	return nil
}

// native does what the guest "loop" does.
func (b *bench) native(n int) (p parts, err error) {
	p.work, err = timed(func() error {
		for range n {
			if fnv(b.input) == 0 {
				return errors.New("the sum is 0")
			}
		}
		return nil
	})
	return p, err
}

//go:noinline
func fnv(b []byte) uint32 {
	sum := uint32(2166136261)
	for _, c := range b {
		sum = (sum ^ uint32(c)) * 16777619
	}
	return sum
}

// withMemory returns the module with a memory of that many bytes from the start.
func withMemory(module []byte, size int) ([]byte, error) {
	const header, sectionMemory, page = 8, 5, 64 << 10
	for at := header; at < len(module); {
		length, n := binary.Uvarint(module[at+1:])
		if n <= 0 || at+1+n+int(length) > len(module) {
			break
		}
		end := at + 1 + n + int(length)
		if module[at] == sectionMemory {
			body := binary.AppendUvarint([]byte{1, 0}, uint64(size/page)) // one memory, without a bound of its own
			out := append([]byte(nil), module[:at]...)
			out = append(out, sectionMemory, byte(len(body)))
			return append(append(out, body...), module[end:]...), nil
		}
		at = end
	}
	return nil, errors.New("the guest has no memory")
}
