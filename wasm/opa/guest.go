package opa

import (
	"bytes"
	"context"
	"errors"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

// pageSize is a page of memory in bytes. spare is how much memory a policy begins with beyond what it has used when it is set
// up, in bytes: a call that needs more has its instance thrown away.
const (
	pageSize = 1 << 16
	spare    = 2 * pageSize
)

// guest is one instance of a policy.
type guest struct {
	module api.Module
	memory api.Memory
	limits abi.Limits
	start  api.Function // nil when the module has none
	calls  map[string]api.Function
	nested map[string]api.Function // for calls out of a built-in; made when there is one
	busy   bool                    // such a call runs
	setup  setup
}

// setup is what an instance knows from Init.
type setup struct {
	plan     Plan
	builtins map[int32]Builtin
	data     uint32 // where the data document lies, 0 for none
	heap     uint32 // where memory of a call's begins
}

// Legacy gives what Init found.
func (g *guest) Legacy() (any, abi.Phases) {
	judges := abi.Phases(0).Set(abi.Request)
	if len(g.setup.plan.Response) > 0 {
		judges = judges.Set(abi.Response)
	}
	return g.setup, judges
}

// Inherit takes what another instance's Legacy gave.
func (g *guest) Inherit(legacy any) { g.setup, _ = legacy.(setup) }

// call calls one of the policy's functions.
func (g *guest) call(ctx context.Context, name string, args ...uint32) (uint32, error) {
	return g.enter(ctx, g.calls[name], args...)
}

func (g *guest) enter(ctx context.Context, f api.Function, args ...uint32) (uint32, error) {
	if f == nil {
		return 0, errors.New("a function is missing that was there when it was loaded")
	}
	var local [7]uint64
	for i, a := range args {
		local[i] = uint64(a)
	}
	if err := f.CallWithStack(ctx, local[:]); err != nil {
		return 0, err
	}
	return uint32(local[0]), nil
}

// Init runs the start function, parses config as the data document, and asks the policy for its entrypoints and for the
// built-ins it needs.
func (g *guest) Init(ctx context.Context, config []byte) error {
	*abi.HostOf(ctx).Local(abi.SetDialect) = g
	if g.start != nil {
		if _, err := g.enter(ctx, g.start); err != nil {
			return err
		}
	}
	if _, err := g.call(ctx, fnMalloc, 0); err != nil {
		return err
	}
	var err error
	if g.setup.data, err = g.document(ctx, config); err != nil {
		return err
	}
	if g.calls[fnStash] != nil {
		if _, err := g.call(ctx, fnStash); err != nil {
			return err
		}
	}
	if g.setup.heap, err = g.call(ctx, fnHeapGet); err != nil {
		return err
	}
	if err := g.introduce(ctx); err != nil {
		return err
	}
	return g.reserve(ctx)
}

// unfit is why a policy cannot be a filter. It is abi.ErrInit to those who ask, and says nothing of gw_init, which no policy has.
type unfit struct {
	error
	hint string
}

// Hint says what to change.
func (u *unfit) Hint() string { return u.hint }

// Is holds for abi.ErrInit.
func (*unfit) Is(target error) bool { return target == abi.ErrInit }

// Unwrap gives the cause.
func (u *unfit) Unwrap() error { return u.error }

// reserve has the policy's own allocator fetch memory, and give it back: it does not see what the host adds.
func (g *guest) reserve(ctx context.Context) error {
	if _, _, err := g.room(ctx, spare); err != nil {
		return err
	}
	_, err := g.call(ctx, fnHeapSet, g.setup.heap)
	return err
}

// document parses the data document, which has to be an object.
func (g *guest) document(ctx context.Context, config []byte) (uint32, error) {
	if len(config) == 0 {
		return 0, nil
	}
	limits := canon.DefaultLimits()
	limits.Bytes = g.limits.Body
	if err := canon.Check(config, limits); err != nil || canon.KindOf(config) != '{' {
		return 0, &unfit{errors.New("the configuration of a policy is its data document, a JSON object"), `give it with --config, as {"ops": ["ada"]}`}
	}
	return g.parse(ctx, fnJSONParse, config)
}

// parse copies text into the policy's memory and has it parsed.
func (g *guest) parse(ctx context.Context, with string, text []byte) (uint32, error) {
	at, err := g.call(ctx, fnMalloc, uint32(len(text)))
	if err != nil {
		return 0, err
	}
	if !g.memory.Write(at, text) {
		return 0, abi.ErrPointer
	}
	value, err := g.call(ctx, with, at, uint32(len(text)))
	if err == nil && value == 0 {
		err = &abi.Refusal{What: "the policy cannot parse JSON that it is given"}
	}
	return value, err
}

// introduce asks the policy what it judges and what it needs.
func (g *guest) introduce(ctx context.Context) error {
	var texts [2][]byte
	for i, fn := range []string{fnBuiltins, fnEntrypoints} {
		value, err := g.call(ctx, fn)
		if err != nil {
			return err
		}
		at, err := g.call(ctx, fnJSONDump, value)
		if err != nil {
			return err
		}
		if texts[i], err = g.cstring(at, g.limits.Verdict+g.limits.Body); err != nil {
			return err
		}
		texts[i] = bytes.Clone(texts[i])
	}
	var err error
	if g.setup.builtins, err = Builtins(texts[0]); err != nil {
		return &unfit{err, "take the built-in out of the policy, or put what it needs into the data document (--config)"}
	}
	if g.setup.plan, err = Entrypoints(texts[1]); err != nil {
		return &unfit{err, "name what the policy decides in opa build -t wasm -e ..., see wasm/README.md"}
	}
	return nil
}

// cstring reads a text that ends with a NUL. It stays the policy's.
func (g *guest) cstring(at uint32, limit int) ([]byte, error) {
	size := g.memory.Size()
	if at >= size {
		return nil, abi.ErrPointer
	}
	b, ok := g.memory.Read(at, uint32(min(uint64(size-at), uint64(limit)+1)))
	if !ok {
		return nil, abi.ErrPointer
	}
	text, _, ended := bytes.Cut(b, []byte{0})
	if !ended {
		return nil, &abi.Refusal{What: "a text of the policy's is too long, or has no end"}
	}
	return text, nil
}

// Judge evaluates the entrypoints of a phase until one denies.
func (g *guest) Judge(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	entries := g.setup.plan.Request
	if c.Phase == abi.Response {
		entries = g.setup.plan.Response
	}
	if len(entries) == 0 {
		v.Kind = abi.Pass
		return nil
	}
	*abi.HostOf(ctx).Local(abi.SetDialect) = g
	input := c.JSON()
	limits := canon.DefaultLimits()
	limits.Bytes = g.limits.Verdict + g.limits.Body
	for _, e := range entries {
		result, err := g.evaluate(ctx, e.ID, input)
		if err != nil {
			return err
		}
		text, err := Judge(e.Kind, result, limits)
		if err != nil {
			return &abi.BadVerdict{Cause: err}
		}
		v.Reset()
		if err := v.ReadJSON(text, c.Phase, g.limits); err != nil || v.Kind != abi.Pass {
			return err
		}
	}
	return nil
}

// evaluate returns the result of an entrypoint as JSON, which stays the policy's.
func (g *guest) evaluate(ctx context.Context, entry int32, input []byte) ([]byte, error) {
	var at uint32
	var err error
	if g.calls[fnOneShot] != nil {
		at, err = g.oneShot(ctx, entry, input)
	} else {
		at, err = g.steps(ctx, entry, input)
	}
	if err != nil {
		return nil, err
	}
	return g.cstring(at, g.limits.Verdict+g.limits.Body)
}

// oneShot calls opa_eval. What it needs of memory begins behind the input, which a small one has room for already.
func (g *guest) oneShot(ctx context.Context, entry int32, input []byte) (uint32, error) {
	at, heap := g.setup.heap, (uint64(g.setup.heap)+uint64(len(input))+7)&^7
	if heap > uint64(g.memory.Size()) {
		var err error
		if at, heap, err = g.room(ctx, uint32(len(input))); err != nil {
			return 0, err
		}
	}
	if !g.memory.Write(at, input) {
		return 0, abi.ErrPointer
	}
	return g.call(ctx, fnOneShot, 0, uint32(entry), g.setup.data, at, uint32(len(input)), uint32(heap), 0)
}

// room has the policy's allocator fetch memory, and returns it with what is free behind it.
func (g *guest) room(ctx context.Context, size uint32) (at uint32, heap uint64, err error) {
	if _, err := g.call(ctx, fnHeapSet, g.setup.heap); err != nil {
		return 0, 0, err
	}
	if at, err = g.call(ctx, fnMalloc, size); err != nil {
		return 0, 0, err
	}
	behind, err := g.call(ctx, fnHeapGet)
	return at, uint64(behind), err
}

// steps does what opa_eval does, for policies that do not have it.
func (g *guest) steps(ctx context.Context, entry int32, input []byte) (uint32, error) {
	if _, err := g.call(ctx, fnHeapSet, g.setup.heap); err != nil {
		return 0, err
	}
	value, err := g.parse(ctx, fnJSONParse, input)
	if err != nil {
		return 0, err
	}
	c, err := g.call(ctx, fnNew)
	if err != nil {
		return 0, err
	}
	for _, s := range []struct {
		fn  string
		arg uint32
	}{{fnSetInput, value}, {fnSetData, g.setup.data}, {fnSetEntry, uint32(entry)}} {
		if _, err := g.call(ctx, s.fn, c, s.arg); err != nil {
			return 0, err
		}
	}
	if _, err := g.call(ctx, fnEval, c); err != nil {
		return 0, err
	}
	result, err := g.call(ctx, fnResult, c)
	if err != nil {
		return 0, err
	}
	return g.call(ctx, fnJSONDump, result)
}
