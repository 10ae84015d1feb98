package wasm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// flat makes a module take the flat form.
func flat(a asm) asm {
	a.fns = slices.Clone(a.fns)
	a.fns[0].export = "gw_abi_1b"
	return a
}

// leafy makes it take the leaves as well.
func leafy(a asm) asm {
	a = flat(a)
	a.fns = append(a.fns, fn{export: "gw_abi_1b_leaves"})
	return a
}

// all gives a module every function that judges, with the same code.
func all(a asm) asm {
	code := a.fns[2].body
	a.fns = append(slices.Clone(a.fns),
		fn{export: "gw_on_response", params: []byte{i32, i32}, results: []byte{i64}, locals: 4, body: code},
		fn{export: "gw_on_chunk", params: []byte{i32, i32, i32}, results: []byte{i64}, locals: 4, body: code})
	return a
}

// field pushes a number of the context's header.
func field(at byte) []byte { return cat(get(0), []byte{0x28, 0, at}) }

// textAt answers the text whose place stands in the header.
func textAt(at byte) []byte {
	return cat(get(0), field(at), []byte{0x6a, 0xad}, long(32), []byte{0x86}, field(at+4), []byte{0xad, 0x84})
}

// flatEcho answers the body, found without a parser.
func flatEcho() asm { return flat(all(filterWith(2, textAt(96)...))) }

// asks are the functions of a filter, with the member that a rewrite has in each.
var asks = []struct {
	name, member string
	ask          func(*wasm.Filter, *testing.T, *abi.Context, *wasm.Verdict) error
}{
	{"decide", "arguments", func(f *wasm.Filter, t *testing.T, c *abi.Context, v *wasm.Verdict) error {
		return f.Decide(t.Context(), c, v)
	}},
	{"on response", "result", func(f *wasm.Filter, t *testing.T, c *abi.Context, v *wasm.Verdict) error {
		return f.OnResponse(t.Context(), c, v)
	}},
	{"on chunk", "chunk", func(f *wasm.Filter, t *testing.T, c *abi.Context, v *wasm.Verdict) error {
		return f.OnChunk(t.Context(), c, v)
	}},
}

// TestBothFormsAreShown: a filter without a parser finds what one with a parser is shown.
func TestBothFormsAreShown(t *testing.T) {
	for name, guest := range map[string]asm{"gw": echo(), "gw-flat": flatEcho()} {
		f := load(t, guest, nil)
		if f.Dialect() != name || !f.HasResponse() || !f.HasChunk() {
			t.Errorf("%s: %q %v %v", name, f.Dialect(), f.HasResponse(), f.HasChunk())
		}
		for _, a := range asks {
			want := `{"a":"` + a.name + `"}`
			var v wasm.Verdict
			c := &abi.Context{Body: []byte(`{"verdict":"rewrite","` + a.member + `":` + want + `}`)}
			if err := a.ask(f, t, c, &v); err != nil || v.Kind != wasm.Rewrite || string(v.Body) != want {
				t.Errorf("%s, %s: %v %+v", name, a.name, err, v)
			}
		}
	}
}

// TestTheFormIsNegotiated by what a module exports: the flat one where it says both.
func TestTheFormIsNegotiated(t *testing.T) {
	body := `{"verdict":"deny","reason":"seen"}`
	both := flatEcho()
	both.fns = append(both.fns, fn{export: "gw_abi_1"})
	for name, guest := range map[string]asm{"flat": flatEcho(), "both": both, "leaves": leafy(filterWith(2, textAt(96)...))} {
		v, kind := decide(t, load(t, guest, nil), body)
		if kind != "" || v.Reason != "seen" {
			t.Errorf("%s: %q %+v", name, kind, v)
		}
	}
	// The first leaf's text is where the table says, which is where the header says.
	first := cat(get(0), field(104), []byte{0x6a}, set(2),
		get(0), get(2), []byte{0x28, 0, 24, 0x6a, 0xad}, long(32), []byte{0x86}, get(2), []byte{0x28, 0, 28, 0xad, 0x84})
	v, kind := decide(t, load(t, leafy(filterWith(2, first...)), nil), `{"key":"{\"verdict\":\"deny\",\"reason\":\"unquoted\"}"}`)
	if kind != "" || v.Reason != "unquoted" {
		t.Errorf("%q %+v", kind, v)
	}
	odd := flatEcho()
	odd.fns[0].params = []byte{i32}
	if _, err := newRuntime(t, nil).Load(t.Context(), "odd", odd.bytes(), nil); err == nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("%v", err)
	}
}

// TestAFlatVerdict is what a filter without a writer of JSON answers; any filter may.
func TestAFlatVerdict(t *testing.T) {
	const at = 2048
	label, reason, body := "pii:email", "no", `{"a":1}`
	var d bytes.Buffer
	word := func(n ...int) {
		for _, n := range n {
			_ = binary.Write(&d, binary.LittleEndian, uint32(n))
		}
	}
	d.Write([]byte{1, 3, 1, 1})
	word(at+100, len(reason), 0, 0, at+200, len(body), at+36, at+44)
	word(at+300, len(label)) // the labels
	word(at+400, 3, 870)     // the scores
	for name, guest := range map[string]asm{"gw": filterOf(answer(at, 36)...), "gw-flat": flat(filterOf(answer(at, 36)...))} {
		guest.data = []data{{at, d.String()}, {at + 100, reason}, {at + 200, body}, {at + 300, label}, {at + 400, "pii"}}
		v, kind := decide(t, load(t, guest, nil), "{}")
		if kind != "" || v.Kind != wasm.Rewrite || v.Reason != reason || string(v.Body) != body || !slices.Equal(v.Labels, []string{label}) || !slices.Equal(v.Scores, []wasm.Score{{Name: "pii", Value: 870}}) {
			t.Errorf("%s: %q %+v", name, kind, v)
		}
	}
}

// TestChunksAndWholeResults: a filter that looks at chunks alone sees a whole result as the only one of its stream.
func TestChunksAndWholeResults(t *testing.T) {
	a := says(pass)
	flags := cat(get(2), constant(3), []byte{0x46, 0x04, 0x40}, answer(3000, len(deny)), ret, end, answer(1024, len(pass)))
	a.fns = append(a.fns, fn{export: "gw_on_chunk", params: []byte{i32, i32, i32}, results: []byte{i64}, body: flags})
	a.data = append(a.data, data{3000, deny})
	f := load(t, a, nil)
	var v wasm.Verdict
	c := &abi.Context{}
	if err := f.OnResponse(t.Context(), c, &v); err != nil || v.Kind != wasm.Deny || !f.HasResponse() || c.Phase != abi.Response {
		t.Errorf("a whole result: %v %v, then %v", err, v.Kind, c.Phase)
	}
	for flags, want := range map[abi.Flags]wasm.Kind{0: wasm.Pass, abi.First: wasm.Pass, abi.Last: wasm.Pass, abi.First | abi.Last: wasm.Deny} {
		c.Flags = flags
		if err := f.OnChunk(t.Context(), c, &v); err != nil || v.Kind != want {
			t.Errorf("flags %d: %v %v", flags, err, v.Kind)
		}
	}
	silent := load(t, filterOf(unreachable...), nil)
	if err := silent.OnChunk(t.Context(), c, &v); err != nil || v.Kind != wasm.Pass || silent.HasChunk() {
		t.Errorf("without the function: %v %v", err, v.Kind)
	}
}

// TestTrapsInEveryExport: wherever a filter gives up or goes on for ever, the call is refused, in both forms.
func TestTrapsInEveryExport(t *testing.T) {
	for _, form := range []func(asm) asm{func(a asm) asm { return a }, flat, leafy} {
		for i := range asks {
			for kind, code := range map[string][]byte{
				wasm.TrapUnreachable: cat(unreachable, never), wasm.TrapFuel: cat(spin, never), wasm.TrapMemory: cat(load32(-4), dropped, never),
				wasm.TrapFault: cat(constant(1), constant(0), []byte{0x6e}, dropped, never), wasm.TrapDepth: cat(call(5), never),
			} {
				a := all(says(pass))
				a.fns = append(a.fns, fn{body: call(5)}) // function 5 calls itself
				a.fns[2+i].body = code
				var v wasm.Verdict
				f := load(t, form(a), nil)
				if err := asks[i].ask(f, t, &abi.Context{}, &v); kindOf(t, err, v) != kind {
					t.Errorf("%s: %v, want %q", asks[i].name, err, kind)
				}
				other := asks[(i+1)%len(asks)]
				if err := other.ask(f, t, &abi.Context{}, &v); err != nil || v.Kind != wasm.Pass {
					t.Errorf("%s after %s has trapped: %v", other.name, asks[i].name, err)
				}
			}
		}
	}
}

// TestHostilePointers: no place that a filter hands out is believed, whichever function hands it out.
func TestHostilePointers(t *testing.T) {
	const page = 1 << 16
	for _, form := range []func(asm) asm{func(a asm) asm { return a }, flat} {
		for _, c := range []struct{ at, size int64 }{
			{page, 1}, {page - 1, 2}, {0, page + 1}, {1, page}, {1<<32 - 1, 1}, {1<<32 - 1, 1<<32 - 1}, {0, 1<<32 - 1}, {16, 1<<32 - 16}, {1 << 31, 18},
		} {
			for _, a := range asks {
				f := load(t, form(all(filterOf(long(c.at<<32|c.size)...))), nil)
				var v wasm.Verdict
				if err := a.ask(f, t, &abi.Context{}, &v); kindOf(t, err, v) != wasm.TrapPointer {
					t.Errorf("%s: %d bytes at %d: %v", a.name, c.size, c.at, err)
				}
			}
		}
		// What lies in memory and is no verdict: nothing at all, all of it, the context itself, itself within the context.
		for name, code := range map[string][]byte{
			"nothing": long(0), "all of memory": long(page), "the context": cat(get(0), []byte{0xad}, long(32), []byte{0x86}, get(1), []byte{0xad, 0x84}),
			"invalid UTF-8": answer(1024, 30), "half a character": answer(1024, 28),
		} {
			g := form(filterOf(code...))
			g.data = []data{{1024, "{\"verdict\":\"deny\",\"message\":\"\xc3\xff\"}"}}
			if v, kind := decide(t, load(t, g, nil), "{}"); kind != wasm.TrapVerdict {
				t.Errorf("%s: %q %+v", name, kind, v)
			}
		}
	}
}

// TestAnAnswerMayLieAnywhere: in memory that has grown meanwhile, over the context, or where gw_alloc gave the context room.
func TestAnAnswerMayLieAnywhere(t *testing.T) {
	copyTo := func(at int32) []byte { // memory.copy of the verdict
		return cat(constant(at), constant(1024), constant(int32(len(deny))), []byte{0xfc, 10, 0, 0})
	}
	for name, code := range map[string][]byte{
		"grown memory":     cat(grow(1), dropped, copyTo(1<<16+10), answer(1<<16+10, len(deny))),
		"over the context": cat(copyTo(32<<10+20), answer(32<<10+20, len(deny))),
		"the last byte":    cat(copyTo(int32(1<<16-len(deny))), answer(1<<16-len(deny), len(deny))),
	} {
		a := filterOf(code...)
		a.data = []data{{1024, deny}}
		for range 2 {
			if v, kind := decide(t, load(t, a, nil), "{}"); kind != "" || v.Kind != wasm.Deny {
				t.Errorf("%s: %q %+v", name, kind, v)
			}
		}
	}
	// The context is written over the very verdict: what is there then is no verdict.
	a := says(pass)
	a.fns[1].body = constant(1020)
	if _, kind := decide(t, load(t, a, nil), "{}"); kind != wasm.TrapVerdict {
		t.Errorf("a verdict that is written over: %q", kind)
	}
	// gw_alloc grows memory, and the room it gives lies there.
	a = says(deny)
	a.fns[1].body = cat(grow(1), dropped, constant(1<<16+8))
	if v, kind := decide(t, load(t, a, nil), "{}"); kind != "" || v.Kind != wasm.Deny {
		t.Errorf("room in grown memory: %q %+v", kind, v)
	}
}

// TestAVerdictThatChangesIsTheSame: a filter writes over its verdict once it has answered, or answers otherwise each time.
func TestAVerdictThatChangesIsTheSame(t *testing.T) {
	a := filterOf(cat( // answers what lies at 4096, and puts "deny" there for the next time
		load32(4096), []byte{0x04, 0x40}, answer(3000, len(deny)), ret, end, store32(4096, 1), answer(1024, len(pass)))...)
	a.data = []data{{1024, pass}, {3000, deny}}
	f := load(t, a, nil)
	for range 5 {
		if v, kind := decide(t, f, "{}"); kind != "" || v.Kind != wasm.Pass {
			t.Fatalf("%q %v", kind, v.Kind)
		}
	}
}

// TestReEntry: a filter calls its own exports, and logs out of every one of them. Nothing of the host is entered twice.
func TestReEntry(t *testing.T) {
	log := cat(constant(1), constant(1024), constant(4), call(0))
	a := asm{
		imports: []host{{"gw", "log", []byte{i32, i32, i32}, nil}}, pages: 1, memory: "memory", data: []data{{1024, pass}},
		fns: []fn{
			{export: "gw_abi_1", body: log},
			{export: "gw_alloc", params: []byte{i32}, results: []byte{i32}, body: cat(log, constant(32<<10))},
			{export: "gw_decide", params: []byte{i32, i32}, results: []byte{i64}, locals: 1, body: cat(
				call(1), constant(100), call(2), dropped, log, // the marker, and gw_alloc
				get(1), []byte{0x04, 0x40}, get(0), constant(0), call(3), dropped, end, // gw_decide, once
				constant(0), constant(0), call(4), dropped, answer(1024, len(pass)))},
			{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, body: cat(log, constant(0))},
		},
	}
	for _, g := range []asm{a, flat(a)} {
		if v, kind := decide(t, load(t, g, nil), "{}"); kind != "" || v.Kind != wasm.Pass {
			t.Errorf("%q %+v", kind, v)
		}
	}
	a.fns[2].body = cat(get(0), get(1), call(3)) // for ever
	if _, kind := decide(t, load(t, a, nil), "{}"); kind != wasm.TrapDepth {
		t.Errorf("%q", kind)
	}
}

// TestAnOversizedVerdictIsRefused, in both forms; a body has a bound of its own.
func TestAnOversizedVerdictIsRefused(t *testing.T) {
	for _, guest := range []asm{echo(), flatEcho()} {
		f := load(t, guest, func(c *wasm.Config) { c.MaxVerdict, c.MaxContext, c.Traps = 300, 40_000, 1000 })
		for size, want := range map[int]string{10: "", 250: "", 400: wasm.TrapVerdict, 20_000: wasm.TrapVerdict} {
			if _, kind := decide(t, f, `{"verdict":"pass"`+strings.Repeat(" ", size)+`}`); kind != want {
				t.Errorf("%d bytes: %q", size, kind)
			}
		}
	}
}

// TestCallsAllocateNothing where context and verdict are used again.
func TestCallsAllocateNothing(t *testing.T) {
	for name, guest := range map[string]asm{"gw": says(pass), "gw-flat": flat(filterOf(answer(1024, 4)...)), "leaves": leafy(filterOf(answer(1024, 4)...))} {
		if name != "gw" {
			guest.data = []data{{1024, "\x01\x01\x00\x00"}}
		}
		f := load(t, guest, nil)
		c := &abi.Context{Tenant: "org_1", Tool: "read", Body: []byte(`{"a":"` + strings.Repeat("x", 1500) + `\n"}`)}
		var v wasm.Verdict
		if n := testing.AllocsPerRun(200, func() {
			c.Now++
			if f.Decide(t.Context(), c, &v) != nil || v.Kind != wasm.Pass {
				t.Fatal("refused")
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzAnswers lets a guest of either form answer any bytes, from any place, to any body. It may be refused; nothing else may
// come of it, and the next call is as the first.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"verdict":"pass","labels":["a:b"]}`), uint32(0), uint32(35), byte(0))
	f.Add([]byte("\x01\x01\x00\x00"), uint32(0), uint32(4), byte(1))
	f.Add(slices.Concat([]byte{1, 3, 1, 1}, bytes.Repeat([]byte{0xff, 0, 0, 0}, 8)), uint32(0), uint32(36), byte(5))
	f.Add([]byte(`x`), uint32(1<<32-1), uint32(1<<32-1), byte(2))
	// The body begins with where the answer lies, counted from the body, and how long it is; the rest is what the guest has.
	code := cat(get(0), field(96), []byte{0x6a}, set(2), // where the body is
		get(2), get(2), []byte{0x28, 0, 0, 0x6a, 0xad}, long(32), []byte{0x86}, get(2), []byte{0x28, 0, 4, 0xad, 0x84})
	filters := []*wasm.Filter{
		load(f, flat(all(filterWith(3, code...))), func(c *wasm.Config) { c.Traps = 1 << 20 }),
		load(f, leafy(all(filterWith(3, code...))), func(c *wasm.Config) { c.Traps = 1 << 20 }),
	}
	steady := load(f, flatEcho(), nil)
	f.Fuzz(func(t *testing.T, text []byte, at, size uint32, how byte) {
		if len(text) > 60_000 {
			return
		}
		body := slices.Concat(binary.LittleEndian.AppendUint32(nil, at+8), binary.LittleEndian.AppendUint32(nil, size), text)
		ask := asks[int(how>>1)%len(asks)]
		var v wasm.Verdict
		err := ask.ask(filters[how&1], t, &abi.Context{Body: body}, &v)
		var trap *wasm.Trap
		switch {
		case err == nil && (v.Kind < wasm.Pass || v.Kind > wasm.Rewrite || (v.Kind == wasm.Rewrite) != (len(v.Body) > 0)):
			t.Fatalf("%+v", v)
		case err != nil && (!errors.As(err, &trap) || !slices.Contains([]string{wasm.TrapPointer, wasm.TrapVerdict, wasm.TrapInput}, trap.Kind)):
			t.Fatal(err)
		}
		if err := steady.Decide(t.Context(), &abi.Context{Body: []byte(`{"verdict":"pass"}`)}, &v); err != nil || v.Kind != wasm.Pass {
			t.Fatal(fmt.Errorf("the next call: %w", err))
		}
	})
}
