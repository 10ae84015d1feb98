package opa

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
)

// Prices in units of fuel, of which one must never take more than 15 ns.
const (
	callPrice = 500 // of a built-in, beside what the policy's own functions take of it
	bytePrice = 4   // of a byte of its result
	readPrice = 24  // of a byte of its arguments, which are parsed and sorted
)

// Bounds in bytes: of a built-in's argument, which the host holds as values of many times that, and of a line of the log.
const (
	maxArgument = 64 << 10
	maxLine     = 1 << 10
)

// running is the policy that makes a call.
func running(ctx context.Context) *guest {
	g, ok := (*abi.HostOf(ctx).Local(abi.SetDialect)).(*guest)
	if !ok {
		panic(&abi.Refusal{What: "the policy calls its host before it is set up"})
	}
	return g
}

// line logs a text of the policy's.
func line(ctx context.Context, level int32, at uint64) {
	host := abi.HostOf(ctx)
	host.Charge(callPrice + maxLine/bytePrice)
	if text, err := running(ctx).cstring(uint32(at), maxLine); err == nil {
		host.Log(level, text)
	}
}

// abort ends the call. Why is only logged: the text may hold what the policy was shown.
func abort(ctx context.Context, _ api.Memory, stack []uint64) {
	line(ctx, 3, stack[0])
	panic(&abi.Refusal{What: "the policy aborted; its log says why"})
}

func printLine(ctx context.Context, _ api.Memory, stack []uint64) { line(ctx, 1, stack[0]) }

// builtin makes the function by which policies call built-ins of so many arguments.
func builtin(args int) func(context.Context, api.Memory, []uint64) {
	return func(ctx context.Context, _ api.Memory, stack []uint64) {
		g := running(ctx)
		if g.busy {
			panic(&abi.Refusal{What: "a built-in is called while another one runs"})
		}
		g.busy = true
		defer func() { g.busy = false }()
		b, ok := g.setup.builtins[int32(stack[0])]
		if !ok || b.Args != args {
			panic(&abi.Refusal{What: "the policy calls a built-in that it did not name, or with another number of arguments"})
		}
		at, err := g.builtin(ctx, b, stack[2:2+args])
		if err != nil {
			panic(err)
		}
		stack[0] = uint64(at)
	}
}

// builtin runs b and returns where its result lies, 0 for undefined.
func (g *guest) builtin(ctx context.Context, b Builtin, args []uint64) (uint32, error) {
	host := abi.HostOf(ctx)
	host.Charge(callPrice)
	texts, err := g.dump(ctx, args)
	if err != nil {
		return 0, err
	}
	var now int64
	if c := host.Call(); c != nil {
		now = c.Now
	}
	result, err := b.Run(now, texts)
	host.Charge(int64(len(result)) * bytePrice)
	switch {
	case errors.Is(err, ErrLimit), errors.Is(err, errValue):
		return 0, &abi.Refusal{What: fmt.Sprintf("%s: %v", b.Name, err)}
	case err != nil:
		return 0, err
	case result == nil:
		return 0, nil
	}
	at, err := g.inner(ctx, fnMalloc, uint32(len(result)))
	if err != nil {
		return 0, err
	}
	if !g.memory.Write(at, result) {
		return 0, abi.ErrPointer
	}
	return g.inner(ctx, fnValueParse, at, uint32(len(result)))
}

// dump writes a built-in's arguments as Rego values.
func (g *guest) dump(ctx context.Context, args []uint64) ([][]byte, error) {
	texts := make([][]byte, 0, len(args))
	for _, a := range args {
		at, err := g.inner(ctx, fnValueDump, uint32(a))
		if err != nil {
			return nil, err
		}
		text, err := g.cstring(at, maxArgument)
		if err != nil {
			return nil, err
		}
		abi.HostOf(ctx).Charge(int64(len(text)) * readPrice)
		texts = append(texts, append([]byte(nil), text...))
	}
	return texts, nil
}

// inner calls one of the policy's functions out of a built-in. The functions that call is using are running already.
func (g *guest) inner(ctx context.Context, name string, args ...uint32) (uint32, error) {
	f := g.nested[name]
	if f == nil {
		if f = g.module.ExportedFunction(name); f == nil {
			return 0, errors.New("a function is missing that was there when it was loaded")
		}
		if g.nested == nil {
			g.nested = map[string]api.Function{}
		}
		g.nested[name] = f
	}
	return g.enter(ctx, f, args...)
}
