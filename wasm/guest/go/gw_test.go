package gw_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"

	gw "github.com/gatewright/gatewright/wasm/guest/go"
)

// TestWalkReadsWhatJSONSays: what it visits is what the standard library reads there.
func TestWalkReadsWhatJSONSays(t *testing.T) {
	text := []byte(`{"a":"plain","b\u00e9":["\"\\\/\b\f\n\r\t\u0041\ud83d\ude00",-1.5e+3,true,null,{"c" : "d"}],"e":""}`)
	want := []struct {
		kind         gw.Kind
		text, member string
		depth        int
	}{
		{gw.Key, "a", "a", 1}, {gw.String, "plain", "a", 1}, {gw.Key, "bé", "bé", 1}, {gw.String, "\"\\/\b\f\n\r\tA😀", "bé", 2},
		{gw.Number, "-1.5e+3", "bé", 2}, {gw.Key, "c", "bé", 3}, {gw.String, "d", "bé", 3}, {gw.Key, "e", "e", 1}, {gw.String, "", "e", 1},
	}
	w := gw.NewWalk(text)
	for i, x := range want {
		if !w.Next() || w.Kind != x.kind || string(w.Text) != x.text || string(w.Member) != x.member || w.Depth != x.depth {
			t.Fatalf("%d: %d %q %q %d, want %v", i, w.Kind, w.Text, w.Member, w.Depth, x)
		}
		var s any
		if err := json.Unmarshal(text[w.From:w.To], &s); err != nil {
			t.Errorf("%d: %s: %v", i, text[w.From:w.To], err)
		}
	}
	if w.Next() {
		t.Errorf("%q", w.Text)
	}
}

// TestWalkEnds whatever it is shown, and what it visits lies within.
func TestWalkEnds(t *testing.T) {
	whole := []byte(`{"a\u0041":["\ud83d\ude00","\"\\",-1.5e+3,{"b" : "c"}]}`)
	for size := range len(whole) {
		walks(t, whole[:size])
		for _, c := range []byte("\"\\u{}[]:1\xff") {
			text := bytes.Clone(whole)
			text[size] = c
			walks(t, text)
		}
	}
}

func walks(t *testing.T, text []byte) {
	t.Helper()
	e := gw.NewEdit(text)
	for w := gw.NewWalk(text); w.Next(); {
		if w.From < 0 || w.To > len(text) || w.From >= w.To {
			t.Fatalf("%q: %d to %d", text, w.From, w.To)
		}
		var s string
		if out := gw.AppendString(nil, w.Text); json.Unmarshal(out, &s) != nil {
			t.Fatalf("%q", out)
		}
		e.Replace(w, w.Text)
	}
	_ = e.Done()
}

// TestVerdictIsJSON in the order that the gateway documents.
func TestVerdictIsJSON(t *testing.T) {
	var v gw.Verdict
	if got := string(v.Append(nil, gw.Request)); got != `{"verdict":"pass"}` {
		t.Error(got)
	}
	v.Label("a")
	v.Label("b")
	v.Score("x", 1000)
	v.Score("y", 0)
	v.Reason("why")
	v.Rewrite([]byte(`{"k":1}`))
	if got := string(v.Append(nil, gw.Response)); got != `{"verdict":"rewrite","reason":"why","labels":["a","b"],"scores":{"x":1000,"y":0},"result":{"k":1}}` {
		t.Error(got)
	}
	v.Deny("no", "line\n")
	if got := string(v.Append(nil, gw.Request)); got != `{"verdict":"deny","reason":"no","message":"line\n","labels":["a","b"],"scores":{"x":1000,"y":0}}` {
		t.Error(got)
	}
}

// TestContextReadsTheFlatForm, laid out here as the gateway documents it.
func TestContextReadsTheFlatForm(t *testing.T) {
	raw := make([]byte, 128)
	put := func(at int, n uint32) { binary.LittleEndian.PutUint32(raw[at:], n) }
	text := func(at int, s string) {
		put(at, uint32(len(raw)))
		put(at+4, uint32(len(s)))
		raw = append(raw, s...)
	}
	put(0, 1)
	put(4, 2)
	put(12, 1)
	binary.LittleEndian.PutUint64(raw[16:], 1_700_000_000_000)
	put(24, 3)
	for i, s := range []string{"org", "agt", "usr", "op", "srv", "tool", "pln"} {
		text(32+8*i, s)
	}
	text(96, `{"a":1}`)
	body := len(raw) - 7
	put(104, uint32(len(raw)))
	put(108, 3)
	raw = append(raw, make([]byte, 72)...)
	leaf := func(i int, at, size, rawAt, rawSize uint32, kind byte) {
		p := len(raw) - 72 + 24*i
		for j, n := range []uint32{at, size, rawAt, rawSize, 0, uint32(kind) | 1<<16} {
			put(p+4*j, n)
		}
	}
	leaf(0, uint32(body+2), 1, uint32(body+1), 3, 1)
	leaf(1, uint32(body+5), 1, uint32(body+5), 1, 4)
	leaf(2, uint32(body+5), 1, uint32(body+5), 1, 3)
	raw = append(raw, make([]byte, 16)...)
	table := len(raw) - 16
	put(88, uint32(table))
	put(92, 2)
	text(table, "one")
	text(table+8, "two")
	c := gw.ReadContext(raw)
	id, step, ok := c.Plan()
	if c.Phase() != gw.Response || c.Now() != 1_700_000_000_000 || c.Tenant() != "org" || c.Agent() != "agt" || c.User() != "usr" ||
		c.Op() != "op" || c.Server() != "srv" || c.Tool() != "tool" || id != "pln" || step != 3 || !ok || string(c.Body()) != `{"a":1}` {
		t.Errorf("%+v", c)
	}
	w := c.Walk()
	if !w.Next() || w.Kind != gw.Key || string(w.Text) != "a" || w.From != 1 || w.To != 4 || w.Depth != 1 || !w.Next() || w.Kind != gw.Number ||
		string(w.Text) != "1" || string(w.Member) != "a" || w.Next() {
		t.Errorf("%+v", w)
	}
	if l := c.Labels(); len(l) != 2 || l[0] != "one" || l[1] != "two" {
		t.Error(l)
	}
}
