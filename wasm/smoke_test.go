package wasm_test

import (
	"context"
	"testing"

	"github.com/gatewright/gatewright/wasm"
)

func open(tb testing.TB, m asm, change func(*wasm.Config)) *wasm.Filter {
	tb.Helper()
	c := wasm.DefaultConfig()
	if change != nil {
		change(&c)
	}
	r, err := wasm.New(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	f, err := r.Load(tb.Context(), "test", m.bytes(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestSmoke(t *testing.T) {
	f := open(t, says(`{"verdict":"deny","reason":"no"}`), nil)
	var v wasm.Verdict
	if err := f.Decide(t.Context(), []byte(`{}`), &v); err != nil || v.Kind != wasm.Deny || v.Reason != "no" {
		t.Fatal(v, err)
	}
	f = open(t, filterOf(0x03, 0x40, 0x0c, 0, 0x0b, 0x42, 0), nil)
	if err := f.Decide(t.Context(), []byte(`{}`), &v); err == nil {
		t.Fatal(v, err)
	} else {
		t.Log(err, v, f.Stats())
	}
}

func BenchmarkNoop(b *testing.B) {
	f := open(b, says(`{"verdict":"pass"}`), nil)
	in := make([]byte, 1500)
	var v wasm.Verdict
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Decide(b.Context(), in, &v); err != nil {
			b.Fatal(err)
		}
	}
}
