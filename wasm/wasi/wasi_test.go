package wasi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/scan"
	"github.com/gatewright/gatewright/wasm/wasi"
)

// world is a module that calls each function for the test, and the host of one call.
type world struct {
	context.Context
	t        *testing.T
	engine   wazero.Runtime
	compiled wazero.CompiledModule
	module   api.Module
	call     *abi.Context
	fuel     int64
	lines    []string
	levels   []int32
	locals   [abi.Sets]any
}

func (w *world) Call() *abi.Context   { return w.call }
func (w *world) Charge(units int64)   { w.fuel += units }
func (w *world) Local(s abi.Set) *any { return &w.locals[s] }
func (w *world) Log(l int32, b []byte) {
	w.lines, w.levels = append(w.lines, string(b)), append(w.levels, l)
}
func (w *world) begin()                   { w.locals = [abi.Sets]any{} }
func (w *world) read(at, n uint32) []byte { return must(w.module.Memory().Read(at, n)) }

func must[T any](v T, ok bool) T {
	if !ok {
		panic("outside memory")
	}
	return v
}

// types of the functions, as the specification has them.
var types = map[string]string{
	"args_get": "ii:i", "args_sizes_get": "ii:i", "clock_time_get": "ili:i", "environ_get": "ii:i", "environ_sizes_get": "ii:i",
	"fd_close": "i:i", "fd_fdstat_get": "ii:i", "fd_fdstat_set_flags": "ii:i", "fd_prestat_dir_name": "iii:i",
	"fd_prestat_get": "ii:i", "fd_read": "iiii:i", "fd_write": "iiii:i", "poll_oneoff": "iiii:i", "proc_exit": "i:",
	"random_get": "ii:i", "sched_yield": ":i",
}

// caller assembles a module with one page of memory that exports a caller of each function under its name.
func caller(types map[string]string) []byte {
	valtypes := func(s string) []byte {
		b := []byte{byte(len(s))}
		for _, c := range s {
			b = append(b, map[rune]byte{'i': 0x7f, 'l': 0x7e}[c])
		}
		return b
	}
	text := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	section := func(id byte, entries [][]byte) []byte {
		body := append([]byte{byte(len(entries))}, slices.Concat(entries...)...)
		return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
	}
	var typ, imp, fn, exp, code [][]byte
	exp = append(exp, append(text("memory"), 2, 0))
	for name, sig := range types {
		n := byte(len(typ))
		params, results, _ := strings.Cut(sig, ":")
		typ = append(typ, slices.Concat([]byte{0x60}, valtypes(params), valtypes(results)))
		imp = append(imp, slices.Concat(text(wasi.Module), text(name), []byte{0, n}))
		fn = append(fn, []byte{n})
		exp = append(exp, append(text(name), 0, byte(len(types))+n))
		body := []byte{0}
		for i := range len(params) {
			body = append(body, 0x20, byte(i))
		}
		body = append(body, 0x10, n, 0x0b)
		code = append(code, append([]byte{byte(len(body))}, body...))
	}
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(1, typ), section(2, imp), section(3, fn),
		section(5, [][]byte{{0, 1}}), section(7, exp), section(10, code))
}

func compile(t *testing.T, engine wazero.Runtime, module []byte) wazero.CompiledModule {
	t.Helper()
	m, err := engine.CompileModule(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newWorld(t *testing.T) *world {
	t.Helper()
	engine := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { _ = engine.Close(context.Background()) })
	if err := wasi.Define(t.Context(), engine); err != nil {
		t.Fatal(err)
	}
	compiled := compile(t, engine, caller(types))
	m, err := engine.InstantiateModule(t.Context(), compiled, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &world{Context: t.Context(), t: t, engine: engine, compiled: compiled, module: m, call: &abi.Context{Now: 1_700_000_000_123}}
}

// ask calls a function and returns its errno; err is what ended the call.
func (w *world) ask(name string, args ...uint64) (errno uint64, err error) {
	results, err := w.module.ExportedFunction(name).Call(w, args...)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return results[0], nil
}

// want calls a function and checks its errno.
func (w *world) want(errno uint64, name string, args ...uint64) {
	w.t.Helper()
	if got, err := w.ask(name, args...); err != nil || got != errno {
		w.t.Errorf("%s%v: %d, %v, want %d", name, args, got, err, errno)
	}
}

// put writes numbers of 32 bits.
func (w *world) put(at uint32, numbers ...uint32) {
	for i, n := range numbers {
		if !w.module.Memory().WriteUint32Le(at+uint32(4*i), n) {
			w.t.Fatal("outside memory")
		}
	}
}

func (w *world) word(at uint32) uint64 { return binary.LittleEndian.Uint64(w.read(at, 8)) }

const (
	badf  = 8
	inval = 28
	end   = 65536 // of memory
)

// TestPointersAreChecked: whatever pointer is asked to be read or written, one that does not lie in memory ends the call.
func TestPointersAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		args []uint64
	}{
		{"args_sizes_get", []uint64{end - 3, 0}}, {"args_sizes_get", []uint64{0, end - 3}}, {"args_sizes_get", []uint64{1<<32 - 1, 0}},
		{"environ_sizes_get", []uint64{end, 0}}, {"environ_sizes_get", []uint64{0, 1<<32 - 4}},
		{"clock_time_get", []uint64{0, 0, end - 7}}, {"clock_time_get", []uint64{1, 0, 1<<32 - 8}}, {"clock_time_get", []uint64{9, 0, end}},
		{"random_get", []uint64{end - 7, 8}}, {"random_get", []uint64{1<<32 - 1, 1}}, {"random_get", []uint64{1, 65536}},
		{"fd_write", []uint64{1, end - 7, 1, 0}}, {"fd_write", []uint64{1, 0, 1, end - 3}}, {"fd_write", []uint64{2, 1<<32 - 8, 2, 0}},
		{"fd_write", []uint64{1, 1024, 1, 0}}, {"fd_write", []uint64{1, 1032, 1, 0}}, {"fd_write", []uint64{1, 1040, 1, 0}},
		{"poll_oneoff", []uint64{end - 47, 0, 1, 0}}, {"poll_oneoff", []uint64{0, end - 31, 1, 0}}, {"poll_oneoff", []uint64{0, 0, 1, end - 3}},
		{"poll_oneoff", []uint64{1<<32 - 48, 0, 1, 0}}, {"poll_oneoff", []uint64{end - 64*48 + 1, 0, 64, 0}},
	} {
		w := newWorld(t)
		w.put(1024, end-1, 2, 0, 1<<32-1, 1<<32-1, 1)
		if _, err := w.ask(c.name, c.args...); !errors.Is(err, abi.ErrPointer) {
			t.Errorf("%s%v: %v", c.name, c.args, err)
		}
	}
}

// TestNothingIsThere: no file, no argument, no variable; what asks for too much is told so.
func TestNothingIsThere(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"args_sizes_get", "environ_sizes_get"} {
		w.put(8, 7, 7)
		w.want(0, name, 8, 12)
		if w.word(8) != 0 {
			t.Errorf("%s: %x", name, w.word(8))
		}
	}
	w.want(0, "args_get", 1<<31, 1<<31) // nothing is written
	w.want(0, "environ_get", 1<<31, 1<<31)
	w.want(0, "sched_yield")
	for fd := range uint64(5) {
		w.want(badf, "fd_close", fd)
		w.want(badf, "fd_read", fd, 0, 1, 0)
		w.want(badf, "fd_fdstat_get", fd, 0)
		w.want(badf, "fd_fdstat_set_flags", fd, 0)
		w.want(badf, "fd_prestat_get", fd, 0)
		w.want(badf, "fd_prestat_dir_name", fd, 0, 0)
	}
	for _, fd := range []uint64{0, 3, 1<<32 - 1} {
		w.want(badf, "fd_write", fd, 0, 0, 0)
	}
	w.want(inval, "fd_write", 1, 0, 1025, 0)
	w.want(inval, "clock_time_get", 2, 0, 0)
	w.want(inval, "random_get", 0, 65537)
	w.want(inval, "poll_oneoff", 0, 0, 0, 0)
	w.want(inval, "poll_oneoff", 0, 0, 65, 0)
}

// TestExitEndsTheCall: what was written until then is logged.
func TestExitEndsTheCall(t *testing.T) {
	w := newWorld(t)
	w.module.Memory().Write(100, []byte("panic: no"))
	w.put(8, 100, 9)
	w.want(0, "fd_write", 2, 8, 1, 16)
	for code := range uint64(2) {
		if _, err := w.ask("proc_exit", code); !errors.Is(err, wasi.ErrExit) {
			t.Errorf("exit %d: %v", code, err)
		}
	}
	if !slices.Equal(w.lines, []string{"panic: no"}) || !slices.Equal(w.levels, []int32{2}) {
		t.Errorf("%q %v", w.lines, w.levels)
	}
}

// TestClockStandsStill: it shows the context's time, and goes on by what is slept alone.
func TestClockStandsStill(t *testing.T) {
	w := newWorld(t)
	show := func(id uint64) uint64 {
		w.want(0, "clock_time_get", id, 0, 64)
		return w.word(64)
	}
	for range 2 {
		if real, mono := show(0), show(1); real != 1_700_000_000_123_000_000 || mono != 1_000_000 {
			t.Errorf("%d %d", real, mono)
		}
	}
	w.put(1000, 5, 6, 0, 0, 1, 0, 3_000_000, 0, 0, 0, 0, 0) // 3 ms by the monotonic clock
	w.put(1048, 7, 8, 0, 0, 1, 0, 9_000_000, 0, 0, 0, 0, 0)
	w.put(1096, 9, 9, 0, 0, 1, 0, 4_000_000, 0, 0, 0, 1, 0) // until 4 ms
	w.put(2000, 1<<32-1, 1<<32-1, 1<<32-1)
	w.want(0, "poll_oneoff", 1000, 2000, 3, 64)
	if n := w.word(64) & (1<<32 - 1); n != 2 || w.word(2000) != 6<<32|5 || w.word(2008) != 0 || w.word(2032) != 9<<32|9 {
		t.Errorf("%d events: % x", n, w.read(2000, 96))
	}
	if real, mono := show(0), show(1); real != 1_700_000_000_126_000_000 || mono != 4_000_000 {
		t.Errorf("after a sleep: %d %d", real, mono)
	}
	w.put(1000, 0, 0, 0, 0, 1, 0, 1<<32-1, 1<<32-1, 0, 0, 0, 0)
	for range 3 {
		w.want(0, "poll_oneoff", 1000, 2000, 1, 64) // for ever, thrice
	}
	if mono := show(1); mono != 1_000_000+1<<62 {
		t.Errorf("after sleeping for ever: %d", mono)
	}
	w.begin()
	if mono := show(1); mono != 1_000_000 {
		t.Errorf("in the next call: %d", mono)
	}
	w.call = nil
	if real := show(0); real != 0 {
		t.Errorf("while it is set up: %d", real)
	}
}

// TestTimeoutsOfThePast have passed already.
func TestTimeoutsOfThePast(t *testing.T) {
	w := newWorld(t)
	w.put(1000, 5, 0, 0, 0, 1, 0, 999_999, 0, 0, 0, 1, 0)
	w.want(0, "poll_oneoff", 1000, 2000, 1, 64)
	w.want(0, "clock_time_get", 1, 0, 72)
	if n := w.word(64) & (1<<32 - 1); n != 1 || w.word(2000) != 5 || w.word(72) != 1_000_000 {
		t.Errorf("%d events, at %d", n, w.word(72))
	}
}

// TestEventsMayLieOverSubscriptions: what is read was read before anything is written.
func TestEventsMayLieOverSubscriptions(t *testing.T) {
	w := newWorld(t)
	w.put(1000, 5, 0, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0)
	w.put(1048, 6, 0, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0)
	w.want(0, "poll_oneoff", 1000, 1040, 2, 64)
	if n := w.word(64) & (1<<32 - 1); n != 2 || w.word(1040) != 5 || w.word(1072) != 6 {
		t.Errorf("%d events: % x", n, w.read(1040, 64))
	}
}

// TestFilesAreNeverReady: who polls one hears at once that it is not there, and no time passes.
func TestFilesAreNeverReady(t *testing.T) {
	w := newWorld(t)
	w.put(1000, 5, 0, 0, 0, 1, 0, 3_000_000, 0, 0, 0, 0, 0)
	w.put(1048, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	w.want(0, "poll_oneoff", 1000, 1000, 2, 64) // over what it reads
	if n := w.word(64) & (1<<32 - 1); n != 1 || w.word(1000) != 7 || w.word(1008) != 1<<16|badf {
		t.Errorf("%d events: % x", n, w.read(1000, 32))
	}
	w.want(0, "clock_time_get", 1, 0, 64)
	if w.word(64) != 1_000_000 {
		t.Errorf("time passed: %d", w.word(64))
	}
}

// TestRandomIsTheSameInEachCall and no two numbers of a call are.
func TestRandomIsTheSameInEachCall(t *testing.T) {
	w := newWorld(t)
	var seen [][]byte
	for range 2 {
		w.begin()
		w.want(0, "random_get", 100, 16)
		w.want(0, "random_get", 116, 13)
		seen = append(seen, bytes.Clone(w.read(100, 30)))
	}
	if !bytes.Equal(seen[0], seen[1]) || seen[0][29] != 0 || bytes.Equal(seen[0][:8], seen[0][8:16]) || bytes.Equal(seen[0][:8], seen[0][16:24]) {
		t.Errorf("% x\n% x", seen[0], seen[1])
	}
}

// TestTextBecomesLines of bounded length, whatever pieces it comes in.
func TestTextBecomesLines(t *testing.T) {
	w := newWorld(t)
	w.module.Memory().Write(100, []byte("one\n\ntwo\nthr"))
	w.module.Memory().Write(200, []byte("ee\n"))
	w.put(8, 100, 12, 200, 1, 201, 0, 201, 2)
	w.want(0, "fd_write", 1, 8, 4, 64)
	w.want(0, "fd_write", 2, 8, 1, 64)
	if want := []string{"one", "two", "three", "one", "two"}; !slices.Equal(w.lines, want) || !slices.Equal(w.levels, []int32{1, 1, 1, 2, 2}) {
		t.Errorf("%q %v", w.lines, w.levels)
	}
	w.begin()
	w.lines = nil
	w.module.Memory().Write(1000, append(bytes.Repeat([]byte("x"), 3000), '\n'))
	w.module.Memory().Write(5000, bytes.Repeat([]byte("\n"), 60000))
	w.put(8, 1000, 3001, 5000, 60000)
	before := w.fuel
	w.want(0, "fd_write", 1, 8, 2, 64)
	if n := w.word(64) & (1<<32 - 1); n != 63001 || len(w.lines) != 1 || len(w.lines[0]) != 1024 {
		t.Errorf("%d bytes written, %d lines", n, len(w.lines))
	}
	if w.fuel == before {
		t.Error("writing costs nothing")
	}
	w.begin()
	w.lines = nil
	w.module.Memory().Write(1000, append(bytes.Repeat([]byte("x"), 4096), "\nlate\n"...))
	w.put(8, 1000, 4102)
	w.want(0, "fd_write", 1, 8, 1, 64)
	if len(w.lines) != 0 {
		t.Errorf("more than its bound was looked at: %d lines", len(w.lines))
	}
}

// TestEveryFunctionIsPaidFor and has the type that package scan lets modules import.
func TestEveryFunctionIsPaidFor(t *testing.T) {
	w := newWorld(t)
	for name := range types {
		w.fuel = 0
		args := make([]uint64, len(w.module.ExportedFunction(name).Definition().ParamTypes()))
		if _, err := w.ask(name, args...); err != nil && !errors.Is(err, wasi.ErrExit) || w.fuel < 100 {
			t.Errorf("%s cost %d (%v)", name, w.fuel, err)
		}
	}
	offered := 0
	for _, i := range scan.Imports(scan.GW) {
		if i.Module == wasi.Module {
			offered++
			sig := strings.NewReplacer("i32", "i", "i64", "l", ",", "", "(", "", ")->", ":", ")", "").Replace(strings.ReplaceAll(i.Signature, ")->(", ")->"))
			if types[i.Name] != sig {
				t.Errorf("scan lets %s%s through, which is not there", i.Name, i.Signature)
			}
		}
	}
	if offered != len(types) {
		t.Errorf("scan lets %d functions through, of %d", offered, len(types))
	}
	for _, d := range w.compiled.ImportedFunctions() {
		if !wasi.Gives(d) {
			t.Errorf("%s is not given", d.DebugName())
		}
	}
	for _, other := range []string{"path_open", "fd_seek", "sock_accept", "clock_res_get"} {
		for _, d := range compile(t, w.engine, caller(map[string]string{other: ":i"})).ImportedFunctions() {
			if wasi.Gives(d) {
				t.Errorf("%s is given", other)
			}
		}
	}
	for _, d := range compile(t, w.engine, caller(map[string]string{"fd_write": "iii:i", "proc_exit": "i:i", "sched_yield": ":"})).ImportedFunctions() {
		if wasi.Gives(d) {
			t.Errorf("%s is given with another type", d.DebugName())
		}
	}
}
