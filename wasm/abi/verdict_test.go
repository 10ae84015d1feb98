package abi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

var limits = abi.Limits{Verdict: 16 << 10, Body: 1 << 20}

// guest is a filter's memory, which a verdict is written into.
type guest struct {
	memory []byte
}

func (g *guest) put(b []byte) uint32 {
	at := len(g.memory)
	g.memory = append(g.memory, b...)
	return uint32(at)
}

func le(n ...uint32) (b []byte) {
	for _, n := range n {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

func (g *guest) text(s string) []byte { return le(g.put([]byte(s)), uint32(len(s))) }

// flat writes a verdict in its flat form and returns where it lies.
func (g *guest) flat(v abi.Verdict) (at, size uint32) {
	if len(g.memory) == 0 {
		g.put(make([]byte, 16))
	}
	reason, message, body := g.text(v.Reason), g.text(v.Message), g.text(string(v.Body))
	var labels, scores []byte
	for _, l := range v.Labels {
		labels = append(labels, g.text(l)...)
	}
	for _, s := range v.Scores {
		scores = append(append(scores, g.text(s.Name)...), le(uint32(s.Value))...)
	}
	head := []byte{1, byte(v.Kind), byte(len(v.Labels)), byte(len(v.Scores))}
	return g.put(slices.Concat(head, reason, message, body, le(g.put(labels), g.put(scores)))), 36
}

// asJSON is a verdict as a guest would write it.
func asJSON(v abi.Verdict, p abi.Phase) []byte {
	b := append([]byte(`{"verdict":"`), v.Kind.String()...)
	b = append(b, '"')
	if v.Reason != "" {
		b = canon.AppendString(append(b, `,"reason":`...), v.Reason)
	}
	if v.Message != "" {
		b = canon.AppendString(append(b, `,"message":`...), v.Message)
	}
	b = append(b, `,"labels":[`...)
	for i, l := range v.Labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, l)
	}
	b = append(b, `],"scores":{`...)
	for i, s := range v.Scores {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canon.AppendString(b, s.Name), ':')
		b = append(b, []byte(itoa(s.Value))...)
	}
	b = append(b, '}')
	if v.Kind == abi.Rewrite {
		b = append(append(b, `,"`+p.Member()+`":`...), v.Body...)
	}
	return append(b, '}')
}

func itoa(n int64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func equal(a, b abi.Verdict) bool {
	return a.Kind == b.Kind && a.Reason == b.Reason && a.Message == b.Message && slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Scores, b.Scores) && bytes.Equal(a.Body, b.Body)
}

// TestBothFormsOfAVerdictSayTheSame, read into one that has been used.
func TestBothFormsOfAVerdictSayTheSame(t *testing.T) {
	long := strings.Repeat("a", 64)
	var v abi.Verdict
	for _, want := range []abi.Verdict{
		{Kind: abi.Pass},
		{Kind: abi.Deny, Reason: "no_1", Message: "naïve \"quoted\" 日本"},
		{Kind: abi.Deny, Reason: long, Message: strings.Repeat("m", 256)},
		{Kind: abi.Pass, Labels: slices.Repeat([]string{long}, 32)},
		{Kind: abi.Pass, Labels: []string{"b", "a:b_c.d-e"}, Scores: []abi.Score{{Name: "a_1"}, {Name: "pii", Value: 1000}}},
		{Kind: abi.Pass, Labels: []string{"c"}, Scores: []abi.Score{{Name: "a_1", Value: 7}}},
		{Kind: abi.Rewrite, Body: []byte(`{"a":[1.50,"\u00e9",{}]}`), Reason: "x"},
		{Kind: abi.Rewrite, Body: []byte(`{}`)},
	} {
		for _, p := range []abi.Phase{abi.Request, abi.Response, abi.Chunk} {
			var g guest
			at, size := g.flat(want)
			v.Reset()
			if err := v.Read(g.memory, at, size, p, limits); err != nil || !equal(v, want) {
				t.Errorf("flat: %v\n%+v\n%+v", err, v, want)
			}
			text := asJSON(want, p)
			at = g.put(text)
			v.Reset()
			if err := v.Read(g.memory, at, uint32(len(text)), p, limits); err != nil || !equal(v, want) {
				t.Errorf("%s: %v\n%+v\n%+v", text, err, v, want)
			}
		}
	}
	for kind, want := range map[byte]abi.Kind{1: abi.Pass, 2: abi.Deny} {
		v.Reset()
		if err := v.Read([]byte{9, 1, kind, 0, 0}, 1, 4, abi.Request, limits); err != nil || !equal(v, abi.Verdict{Kind: want}) {
			t.Errorf("a short verdict: %v %+v", err, v)
		}
	}
}

// TestHostileFlatVerdicts: nothing outside memory is read, and nothing that breaks a rule is taken.
func TestHostileFlatVerdicts(t *testing.T) {
	const all = 1<<32 - 1
	flat := func(head [4]byte, words ...uint32) []byte {
		return append(head[:], le(append(words, make([]uint32, 8-len(words))...)...)...)
	}
	pointer, verdict := abi.ErrPointer, errors.New("verdict")
	for _, c := range []struct {
		name   string
		answer []byte // lies at 64, in 256 bytes of memory
		want   error
	}{
		{"version alone", []byte{1}, verdict},
		{"two bytes", []byte{1, 1}, verdict},
		{"three bytes", []byte{1, 1, 0}, verdict},
		{"five bytes", []byte{1, 1, 0, 0, 0}, verdict},
		{"35 bytes", flat([4]byte{1, 1})[:35], verdict},
		{"37 bytes", append(flat([4]byte{1, 1}), 0), verdict},
		{"another version", flat([4]byte{2, 1}), verdict},
		{"version 0", flat([4]byte{0, 1}), verdict},
		{"no verdict", flat([4]byte{1, 0}), verdict},
		{"kind 4", flat([4]byte{1, 4}), verdict},
		{"kind 255", flat([4]byte{1, 255}), verdict},
		{"a short one without a verdict", []byte{1, 0, 0, 0}, verdict},
		{"a short one that rewrites", []byte{1, 3, 0, 0}, verdict},
		{"a short one with a label", []byte{1, 1, 1, 0}, verdict},
		{"a short one with a score", []byte{1, 1, 0, 1}, verdict},
		{"reason outside", flat([4]byte{1, 2}, 256, 1), pointer},
		{"reason over the end", flat([4]byte{1, 2}, 255, 2), pointer},
		{"reason at the end of the address space", flat([4]byte{1, 2}, all, all), pointer},
		{"reason that wraps around", flat([4]byte{1, 2}, all-1, 4), pointer},
		{"reason of 4 GiB", flat([4]byte{1, 2}, 0, all), pointer},
		{"reason in capitals", flat([4]byte{1, 2}, 0, 2), verdict},
		{"reason too long", flat([4]byte{1, 2}, 128, 65), verdict},
		{"message outside", flat([4]byte{1, 2}, 0, 0, all, 1), pointer},
		{"message that is not UTF-8", flat([4]byte{1, 2}, 0, 0, 4, 2), verdict},
		{"message with a control character", flat([4]byte{1, 2}, 0, 0, 64, 4), verdict},
		{"message of all memory", flat([4]byte{1, 2}, 0, 0, 0, 256), verdict},
		{"body outside", flat([4]byte{1, 3}, 0, 0, 0, 0, 250, 7), pointer},
		{"body of 4 GiB", flat([4]byte{1, 3}, 0, 0, 0, 0, 0, all), pointer},
		{"body that is no JSON", flat([4]byte{1, 3}, 0, 0, 0, 0, 0, 2), verdict},
		{"body that is an array", flat([4]byte{1, 3}, 0, 0, 0, 0, 8, 2), verdict},
		{"body with a blank", flat([4]byte{1, 3}, 0, 0, 0, 0, 11, 3), verdict},
		{"body with a key twice", flat([4]byte{1, 3}, 0, 0, 0, 0, 16, 13), verdict},
		{"a rewrite without a body", flat([4]byte{1, 3}), verdict},
		{"a pass with a body", flat([4]byte{1, 1}, 0, 0, 0, 0, 12, 2), verdict},
		{"labels outside", flat([4]byte{1, 1, 1}, 0, 0, 0, 0, 0, 0, 249), pointer},
		{"labels at the end of the address space", flat([4]byte{1, 1, 32}, 0, 0, 0, 0, 0, 0, all), pointer},
		{"255 labels", flat([4]byte{1, 1, 255}), pointer},
		{"33 labels", flat([4]byte{1, 1, 33}, 0, 0, 0, 0, 0, 0, 0), pointer}, // 264 bytes are more than there is
		{"labels that are the verdict", flat([4]byte{1, 1, 4}, 0, 0, 0, 0, 0, 0, 64), verdict},
		{"an empty label", flat([4]byte{1, 1, 1}, 0, 0, 0, 0, 0, 0, 240), verdict},
		{"scores outside", flat([4]byte{1, 1, 0, 1}, 0, 0, 0, 0, 0, 0, 0, 245), pointer},
		{"a score of nothing", flat([4]byte{1, 1, 0, 1}, 0, 0, 0, 0, 0, 0, 0, 240), verdict},
		{"a score too high", flat([4]byte{1, 1, 0, 1}, 0, 0, 0, 0, 0, 0, 0, 32), verdict},
		{"a score twice", flat([4]byte{1, 1, 0, 2}, 0, 0, 0, 0, 0, 0, 0, 176), verdict},
	} {
		memory := make([]byte, 256)
		copy(memory, "AB  \xff\xfe  [] {}   {\"a\":1,\"a\":2}")
		copy(memory[32:], le(128, 1, 1001))
		copy(memory[64:], c.answer)
		copy(memory[128:], strings.Repeat("a", 80))
		copy(memory[176:], slices.Concat(le(128, 3, 1), le(129, 3, 2)))
		var v abi.Verdict
		err := v.Read(memory, 64, uint32(len(c.answer)), abi.Request, limits)
		var bad *abi.BadVerdict
		if errors.Is(c.want, pointer) != errors.Is(err, pointer) || !errors.Is(c.want, pointer) != errors.As(err, &bad) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, at := range []struct{ at, size uint32 }{{0, 257}, {256, 1}, {all, all}, {all, 1}, {1, all}, {257, 0}, {all, 0}} {
		var v abi.Verdict
		if err := v.Read(make([]byte, 256), at.at, at.size, abi.Request, limits); !errors.Is(err, pointer) {
			t.Errorf("%d bytes at %d: %v", at.size, at.at, err)
		}
	}
	var v abi.Verdict
	if err := v.Read(make([]byte, 256), 0, 0, abi.Request, limits); err == nil {
		t.Error("nothing is a verdict")
	}
}

// TestBoundsOfAFlatVerdict: the whole is bounded, the body apart from the rest.
func TestBoundsOfAFlatVerdict(t *testing.T) {
	var g guest
	at, size := g.flat(abi.Verdict{Kind: abi.Rewrite, Reason: "r", Labels: []string{"label"}, Body: []byte(`{"a":"bcdef"}`)})
	for _, c := range []struct {
		l  abi.Limits
		ok bool
	}{{abi.Limits{Verdict: 36 + 1 + 8 + 5, Body: 13}, true}, {abi.Limits{Verdict: 49, Body: 13}, false}, {abi.Limits{Verdict: 50, Body: 12}, false}, {abi.Limits{}, false}} {
		var v abi.Verdict
		if err := v.Read(g.memory, at, size, abi.Request, c.l); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.l, err)
		}
	}
}

func TestReadingAVerdictAgainAllocatesNothing(t *testing.T) {
	want := abi.Verdict{Kind: abi.Rewrite, Labels: []string{"secret:key", "b"}, Scores: []abi.Score{{Name: "pii", Value: 870}}, Body: []byte(`{"a":"b"}`)}
	var g guest
	at, size := g.flat(want)
	text := asJSON(want, abi.Request)
	textAt := g.put(text)
	var v abi.Verdict
	if n := testing.AllocsPerRun(100, func() {
		v.Reset()
		if v.Read(g.memory, at, size, abi.Request, limits) != nil {
			t.Fatal("refused")
		}
		v.Reset()
		if v.Read(g.memory, textAt, uint32(len(text)), abi.Request, limits) != nil {
			t.Fatal("refused")
		}
	}); n > 0 || !equal(v, want) {
		t.Errorf("%v allocations, %+v", n, v)
	}
}

// TestWordsKeptAreNotMixedUp: memory of an earlier answer is used again only for the same word.
func TestWordsKeptAreNotMixedUp(t *testing.T) {
	var v abi.Verdict
	for _, labels := range [][]string{{"a", "b", "c"}, {"b"}, {"b", "a", "c", "d"}, {}, {"d", "c"}} {
		want := abi.Verdict{Kind: abi.Pass, Labels: labels}
		for i, l := range labels {
			want.Scores = append(want.Scores, abi.Score{Name: l, Value: int64(i)})
		}
		var g guest
		at, size := g.flat(want)
		v.Reset()
		if err := v.Read(g.memory, at, size, abi.Request, limits); err != nil || !equal(v, want) {
			t.Errorf("%v %+v, want %+v", err, v, want)
		}
	}
}

// FuzzJSONVerdict: what is taken of any JSON keeps to the bounds, and says the same in the flat form.
func FuzzJSONVerdict(f *testing.F) {
	f.Add([]byte(`{"verdict":"pass"}`), byte(0))
	f.Add([]byte(`{"verdict":"deny","reason":"no","message":"\u00e9","labels":["a:b"],"scores":{"x":1000}}`), byte(1))
	f.Add([]byte(`{"verdict":"rewrite","chunk":{"a":["\ud83d\ude00",1e3]}}`), byte(2))
	f.Fuzz(func(t *testing.T, text []byte, phase byte) {
		p := abi.Phase(phase % 3)
		var v abi.Verdict
		if err := v.ReadJSON(text, p, limits); err != nil {
			if _, ok := errors.AsType[*abi.BadVerdict](err); !ok {
				t.Fatalf("%v", err)
			}
			return
		}
		bounded(t, v)
		var g guest
		at, size := g.flat(v)
		var flat abi.Verdict
		if err := flat.Read(g.memory, at, size, p, limits); err != nil || !equal(flat, v) {
			t.Fatalf("%v\n%+v\n%+v", err, flat, v)
		}
	})
}

// FuzzFlatVerdict: a guest hands out any place in any memory. What is taken keeps to the bounds, and says the same in JSON.
func FuzzFlatVerdict(f *testing.F) {
	var g guest
	at, size := g.flat(abi.Verdict{Kind: abi.Rewrite, Reason: "r", Message: "m", Labels: []string{"a", "b"}, Scores: []abi.Score{{Name: "s", Value: 3}}, Body: []byte(`{"a":1}`)})
	f.Add(g.memory, at, size, byte(0))
	f.Add([]byte{1, 1, 0, 0}, uint32(0), uint32(4), byte(1))
	f.Add([]byte{1, 1, 1, 0}, uint32(1), uint32(1<<32-1), byte(2))
	f.Fuzz(func(t *testing.T, memory []byte, at, size uint32, phase byte) {
		p := abi.Phase(phase % 3)
		before := bytes.Clone(memory)
		var v abi.Verdict
		err := v.Read(memory, at, size, p, limits)
		if !bytes.Equal(memory, before) {
			t.Fatal("the guest's memory has changed")
		}
		var bad *abi.BadVerdict
		if err != nil {
			if !errors.Is(err, abi.ErrPointer) && !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			return
		}
		bounded(t, v)
		clear(memory) // v owns what it holds
		var again abi.Verdict
		if err := again.ReadJSON(asJSON(v, p), p, limits); err != nil || !equal(again, v) {
			t.Fatalf("%v\n%+v\n%+v", err, again, v)
		}
	})
}

func bounded(t *testing.T, v abi.Verdict) {
	t.Helper()
	if v.Kind < abi.Pass || v.Kind > abi.Rewrite || (v.Kind == abi.Rewrite) != (len(v.Body) > 0) || len(v.Labels) > 32 || len(v.Scores) > 16 || len(v.Reason) > 64 || len(v.Message) > 256 {
		t.Fatalf("%+v", v)
	}
	if v.Kind == abi.Rewrite && (canon.Check(v.Body, canon.DefaultLimits()) != nil || canon.KindOf(v.Body) != '{') {
		t.Fatalf("%q", v.Body)
	}
}
