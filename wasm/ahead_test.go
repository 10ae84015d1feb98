package wasm_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
)

// TestRoomIsAskedForOnce: a guest that counts how often it is asked for room finds that a short call asked nothing, since
// the image was taken after it was asked once, and that a long one asked for itself.
func TestRoomIsAskedForOnce(t *testing.T) {
	const count, near, far = 100, 32 << 10, 40 << 10
	over := func(local byte) []byte { return cat(get(local), constant(4096), []byte{0x4b}) }                  // is it more than that
	where := func(local byte) []byte { return cat(constant(far), constant(near), over(local), []byte{0x1b}) } // far if so, else near
	a := filterWith(2, cat(
		load32(count), over(1), constant(1), []byte{0x6a, 0x46}, // asked once, or twice when it is long
		get(0), where(1), []byte{0x46, 0x71}, // and written where it was asked to be
		[]byte{0x04, 0x40}, answer(1024, 18), []byte{0x0f, 0x0b}, answer(2048, 18))...)
	a.data = []data{{1024, `{"verdict":"pass"}`}, {2048, `{"verdict":"deny"}`}}
	a.fns[1].body = cat(constant(count), load32(count), constant(1), []byte{0x6a, 0x36, 0, 0}, where(0))
	f := load(t, a, nil)
	for f.Stats().Instances < 2 { // what one learned, the others are told
		if _, kind := decide(t, f, "{}"); kind != "" {
			t.Fatal(kind)
		}
	}
	for range 50 {
		for _, body := range []string{`{}`, `{"text":"` + strings.Repeat("x", 5000) + `"}`} {
			if v, kind := decide(t, f, body); v.Kind != wasm.Pass {
				t.Errorf("%d bytes: verdict %d, trap %q", len(body), v.Kind, kind)
			}
		}
	}
}

// TestRoomThatCannotBeHadAheadIsAskedForByCalls: a guest that has little room, or traps over it, is loaded all the same.
func TestRoomThatCannotBeHadAheadIsAskedForByCalls(t *testing.T) {
	little := says(`{"verdict":"pass"}`)
	little.fns[1].body = cat(get(0), constant(1000), []byte{0x49, 0x04, i32}, constant(32<<10), []byte{0x05}, constant(0), []byte{0x0b})
	f := load(t, little, nil)
	if v, kind := decide(t, f, "{}"); v.Kind != wasm.Pass {
		t.Errorf("verdict %d, trap %q", v.Kind, kind)
	}
	if _, kind := decide(t, f, `{"text":"`+strings.Repeat("x", 2000)+`"}`); kind != wasm.TrapInput {
		t.Errorf("more than there is room for: trap %q", kind)
	}
	traps := says(`{"verdict":"pass"}`)
	traps.fns[1].body = cat(unreachable, constant(0))
	if _, kind := decide(t, load(t, traps, nil), "{}"); kind != wasm.TrapUnreachable {
		t.Errorf("trap %q", kind)
	}
}
