package wasm_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// echo answers the body it is shown, which in tests is a verdict.
func echo() asm {
	a := filterWith(2, bodyOf(abi.Request)...)
	a.fns = append(a.fns, a.fns[2], fn{export: "gw_on_chunk", params: []byte{i32, i32, i32}, results: []byte{i64}, body: bodyOf(abi.Chunk)})
	a.fns[3].export, a.fns[3].body = "gw_on_response", bodyOf(abi.Response)
	return a
}

// bodyOf answers where the body stands in the JSON form of a context that has nothing else.
func bodyOf(p abi.Phase) []byte {
	before := int32(len((&abi.Context{Phase: p}).JSON()) - len("{}}"))
	return cat(get(0), constant(before), []byte{0x6a, 0xad}, long(32), []byte{0x86}, get(1), constant(before+1), []byte{0x6b, 0xad, 0x84})
}

func TestVerdicts(t *testing.T) {
	f := load(t, echo(), nil)
	label := strings.Repeat("a", 64)
	labels := strings.TrimSuffix(strings.Repeat(`"`+label+`",`, 32), ",")
	for _, c := range []struct {
		text string
		want wasm.Verdict
	}{
		{`{"verdict":"pass"}`, wasm.Verdict{Kind: wasm.Pass}},
		{` { "verdict" : "pass" } `, wasm.Verdict{Kind: wasm.Pass}},
		{`{"\u0076erdict":"pass","labels":[]}`, wasm.Verdict{Kind: wasm.Pass}},
		{`{"labels":["secret:aws-key","a.b_c"],"verdict":"pass"}`, wasm.Verdict{Kind: wasm.Pass, Labels: []string{"secret:aws-key", "a.b_c"}}},
		{`{"verdict":"pass","labels":[` + labels + `]}`, wasm.Verdict{Kind: wasm.Pass, Labels: slices.Repeat([]string{label}, 32)}},
		{`{"scores":{"a_1":0,"pii":1000},"verdict":"pass"}`, wasm.Verdict{Kind: wasm.Pass, Scores: []wasm.Score{{Name: "a_1"}, {Name: "pii", Value: 1000}}}},
		{`{"verdict":"deny","scores":{}}`, wasm.Verdict{Kind: wasm.Deny}},
		{`{"verdict":"deny"}`, wasm.Verdict{Kind: wasm.Deny}},
		{`{"verdict":"deny","reason":"no_1","message":"naïve \"quoted\" 日本"}`, wasm.Verdict{Kind: wasm.Deny, Reason: "no_1", Message: `naïve "quoted" 日本`}},
		{`{"verdict":"deny","reason":"` + label + `","message":"` + strings.Repeat("m", 256) + `"}`, wasm.Verdict{Kind: wasm.Deny, Reason: label, Message: strings.Repeat("m", 256)}},
		{`{"verdict":"rewrite","arguments":{}}`, wasm.Verdict{Kind: wasm.Rewrite, Body: []byte(`{}`)}},
		{`{"arguments": {"a":[1.50,"\u00e9"]} ,"verdict":"rewrite","reason":"x"}`, wasm.Verdict{Kind: wasm.Rewrite, Reason: "x", Body: []byte(`{"a":[1.50,"\u00e9"]}`)}},
	} {
		v, kind := decide(t, f, c.text)
		if kind != "" || v.Kind != c.want.Kind || v.Reason != c.want.Reason || v.Message != c.want.Message || !slices.Equal(v.Labels, c.want.Labels) || !slices.Equal(v.Scores, c.want.Scores) || !bytes.Equal(v.Body, c.want.Body) {
			t.Errorf("%.200s: %+v, trap %q", c.text, v, kind)
		}
	}
	var v wasm.Verdict
	if err := f.OnResponse(t.Context(), &abi.Context{Body: []byte(`{"verdict":"rewrite","result":{"a":1}}`)}, &v); err != nil || string(v.Body) != `{"a":1}` {
		t.Errorf("%+v %v", v, err)
	}
}

// scores is so many scores.
func scores(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"s%d":1`, i)
	}
	return b.String()[1:]
}

func TestWhatIsNoVerdict(t *testing.T) {
	f := load(t, echo(), func(c *wasm.Config) { c.Traps, c.MaxVerdict, c.MaxContext = 1000, 1000, 40_000 })
	for _, text := range []string{
		``, ` `, `null`, `[]`, `"pass"`, `pass`, `{}`, `{"verdict":"pass"`, `{"verdict":"pass"}}`, `{"verdict":"pass"} x`, "\xef\xbb\xbf" + `{"verdict":"pass"}`,
		`{"verdict":"pass","scores":[]}`, `{"verdict":"pass","scores":null}`, `{"verdict":"pass","scores":{"a":1001}}`, `{"verdict":"pass","scores":{"a":-1}}`, `{"verdict":"pass","scores":{"a":1.5}}`,
		`{"verdict":"pass","scores":{"a":1e2}}`, `{"verdict":"pass","scores":{"a":"1"}}`, `{"verdict":"pass","scores":{"a":null}}`, `{"verdict":"pass","scores":{"A":1}}`, `{"verdict":"pass","scores":{"":1}}`,
		`{"verdict":"pass","scores":{"a-b":1}}`, `{"verdict":"pass","scores":{"a":1,"a":2}}`, `{"verdict":"pass","scores":{` + scores(17) + `}}`, `{"verdict":"pass","scores":{"` + strings.Repeat("a", 65) + `":1}}`,
		`{"verdict":"allow"}`, `{"verdict":"PASS"}`, `{"verdict":"pa\u0073s"}`, `{"verdict":true}`, `{"verdict":null}`, `{"verdict":["pass"]}`, `{"Verdict":"pass"}`,
		`{"verdict":"pass","verdict":"pass"}`, `{"verdict":"deny","verdict":"pass"}`, `{"verdict":"pass","\u0076erdict":"pass"}`, `{"verdict":"pass","verdict ":"pass"}`,
		`{"verdict":"pass","tenant":"org_2"}`, `{"verdict":"pass","tool":"x"}`, `{"verdict":"pass","plan":null}`, `{"verdict":"pass","":1}`, `{"verdict":"pass","result":{}}`,
		`{"verdict":"pass","arguments":{}}`, `{"verdict":"deny","arguments":{}}`, `{"verdict":"rewrite"}`, `{"verdict":"rewrite","result":{}}`,
		`{"verdict":"rewrite","arguments":null}`, `{"verdict":"rewrite","arguments":[]}`, `{"verdict":"rewrite","arguments":"{}"}`, `{"verdict":"rewrite","arguments":{},"result":{}}`,
		`{"verdict":"rewrite","arguments":{"a":1,"a":2}}`, `{"verdict":"rewrite","arguments":{"a":1e400}}`, `{"verdict":"rewrite","arguments":{"a":NaN}}`, `{"verdict":"rewrite","arguments":{"a":"\ud800"}}`,
		`{"verdict":"rewrite","arguments":{"a":"` + "\xff" + `"}}`, `{"verdict":"rewrite","arguments":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40) + `}`,
		`{"verdict":"deny","reason":""}`, `{"verdict":"deny","reason":"No"}`, `{"verdict":"deny","reason":"a-b"}`, `{"verdict":"deny","reason":"a b"}`, `{"verdict":"deny","reason":"é"}`, `{"verdict":"deny","reason":1}`,
		`{"verdict":"deny","reason":"` + strings.Repeat("a", 65) + `"}`, `{"verdict":"deny","message":"` + strings.Repeat("a", 257) + `"}`, `{"verdict":"deny","message":1}`, `{"verdict":"deny","message":null}`,
		`{"verdict":"deny","message":"a\nb"}`, `{"verdict":"deny","message":"a\u001bb"}`, `{"verdict":"deny","message":"a\u202eb"}`, `{"verdict":"deny","message":"a\u2028b"}`, `{"verdict":"deny","message":"` + "\xff" + `"}`,
		`{"verdict":"pass","labels":"a"}`, `{"verdict":"pass","labels":{"a":1}}`, `{"verdict":"pass","labels":[1]}`, `{"verdict":"pass","labels":[""]}`, `{"verdict":"pass","labels":["A"]}`, `{"verdict":"pass","labels":["a b"]}`, `{"verdict":"pass","labels":[["a"]]}`,
		`{"verdict":"pass","labels":["` + strings.Repeat("a", 65) + `"]}`, `{"verdict":"pass","labels":[` + strings.Repeat(`"a",`, 32) + `"a"]}`,
		`{"verdict":"pass"` + strings.Repeat(" ", 1000) + `}`, `{"verdict":"rewrite","arguments":{}` + strings.Repeat(" ", 1000) + `}`,
	} {
		v, kind := decide(t, f, text)
		if kind != wasm.TrapVerdict {
			t.Errorf("%.200q: %+v, trap %q", text, v, kind)
		}
	}
	v, kind := decide(t, f, `{"verdict":"rewrite","arguments":{"a":"`+strings.Repeat("a", 30_000)+`"}}`)
	if kind != "" || len(v.Body) != 30_008 {
		t.Errorf("a long body: %q", kind)
	}
	if err := f.OnResponse(t.Context(), &abi.Context{Body: []byte(`{"verdict":"rewrite","arguments":{}}`)}, &v); kindOf(t, err, v) != wasm.TrapVerdict {
		t.Error("arguments are taken for a result")
	}
}

// TestTrapsNameNoByteOfTheCall: a filter may answer with what it was shown, and traps are logged.
func TestTrapsNameNoByteOfTheCall(t *testing.T) {
	f := load(t, echo(), func(c *wasm.Config) { c.Traps = 1000 })
	for _, text := range []string{
		`SECRET`, `"SECRET"`, `{"SECRET":1}`, `{"verdict":"SECRET"}`, `{"verdict":"pass","arguments":"SECRET"}`, `{"verdict":"pass","SECRET":{}}`, `{"verdict":"pass","reason":"SECRET"}`,
		`{"verdict":"pass","labels":["SECRET"]}`, `{"verdict":"pass","labels":"SECRET"}`, `{"verdict":"pass","message":"SECRET\n"}`, `{"verdict":"pass"} SECRET`, `{"SECRET":1,"SECRET":2}`,
		`{"verdict":"pass","reason":"` + strings.Repeat("SECRET", 20) + `"}`, `{"verdict":"pass","message":"` + strings.Repeat("SECRET", 60) + `"}`,
	} {
		var v wasm.Verdict
		err := f.Decide(t.Context(), &abi.Context{Body: []byte(text)}, &v)
		if err == nil || strings.Contains(err.Error(), "SE") {
			t.Errorf("%.80q: %v", text, err)
		}
		short, long := f.Decide(t.Context(), &abi.Context{Body: []byte(text)}, &v), f.Decide(t.Context(), &abi.Context{Body: []byte(strings.ReplaceAll(text, "SECRET", "SECRETSECRET"))}, &v)
		if short == nil || long == nil || short.Error() != long.Error() {
			t.Errorf("%.80q: %v and %v tell them apart", text, short, long)
		}
	}
}

// TestAVerdictOwnsItsMemory: the guest's memory changes with the next call.
func TestAVerdictOwnsItsMemory(t *testing.T) {
	f := load(t, echo(), nil)
	first, _ := decide(t, f, `{"verdict":"rewrite","arguments":{"a":"first"},"reason":"first","labels":["first"]}`)
	for range 3 {
		decide(t, f, `{"verdict":"rewrite","arguments":{"b":"other"},"reason":"other","labels":["other"]}`)
	}
	if string(first.Body) != `{"a":"first"}` || first.Reason != "first" || first.Labels[0] != "first" {
		t.Errorf("%+v", first)
	}
}

// TestAVerdictIsOverwritten: nothing of an earlier answer is left in one that is used again.
func TestAVerdictIsOverwritten(t *testing.T) {
	f := load(t, echo(), nil)
	var v wasm.Verdict
	for range 2 {
		if err := f.Decide(t.Context(), &abi.Context{Body: []byte(`{"verdict":"rewrite","arguments":{"a":1},"reason":"x","message":"y","labels":["z"]}`)}, &v); err != nil {
			t.Fatal(err)
		}
		if err := f.Decide(t.Context(), &abi.Context{Body: []byte(`{"verdict":"pass"}`)}, &v); err != nil || v.Kind != wasm.Pass || v.Reason+v.Message != "" || len(v.Labels)+len(v.Body) != 0 {
			t.Errorf("%+v %v", v, err)
		}
		v = wasm.Verdict{Kind: wasm.Pass, Reason: "x"}
		if err := f.Decide(t.Context(), &abi.Context{Body: []byte(`nonsense`)}, &v); kindOf(t, err, v) != wasm.TrapVerdict {
			t.Error(err)
		}
	}
}

// TestWithoutAResponseFunctionResultsPass.
func TestWithoutAResponseFunctionResultsPass(t *testing.T) {
	f := load(t, filterOf(unreachable...), nil)
	v := wasm.Verdict{Kind: wasm.Deny, Reason: "x"}
	if err := f.OnResponse(t.Context(), &abi.Context{Body: []byte(`{}`)}, &v); err != nil || v.Kind != wasm.Pass || v.Reason != "" || f.HasResponse() {
		t.Errorf("%+v %v", v, err)
	}
	if g := load(t, echo(), nil); !g.HasResponse() {
		t.Error("a response function is not seen")
	}
}

// FuzzVerdict lets a guest answer anything. What is taken keeps to the bounds, and says the same when it is said again.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"verdict":"pass","labels":["a:b"]}`), false)
	f.Add([]byte(`{"verdict":"deny","reason":"no","message":"\u00e9"}`), true)
	f.Add([]byte(`{"verdict":"rewrite","arguments":{"a":["\ud83d\ude00",1e3]}}`), false)
	f.Add([]byte(`{"verdict":"rewrite","result":{"arguments":{}}}`), true)
	filter := load(f, echo(), func(c *wasm.Config) { c.Traps, c.MaxContext = 1<<20, 60_000 })
	f.Fuzz(func(t *testing.T, text []byte, response bool) {
		ask, body := filter.Decide, "arguments"
		if response {
			ask, body = filter.OnResponse, "result"
		}
		var v wasm.Verdict
		err := ask(t.Context(), &abi.Context{Body: text}, &v)
		if err != nil {
			var trap *wasm.Trap
			if !errors.As(err, &trap) || trap.Kind == wasm.TrapInternal || v.Kind != 0 {
				t.Fatalf("%v %+v", err, v)
			}
			return
		}
		if (v.Kind == wasm.Rewrite) != (len(v.Body) > 0) || len(v.Labels) > 32 || len(v.Reason) > 64 || len(v.Message) > 256 {
			t.Fatalf("%+v", v)
		}
		if again := write(v, body); v.Kind == wasm.Rewrite && canon.Check(v.Body, canon.DefaultLimits()) != nil {
			t.Fatalf("%q", v.Body)
		} else if w := (wasm.Verdict{}); ask(t.Context(), &abi.Context{Body: again}, &w) != nil || !bytes.Equal(write(w, body), again) {
			t.Fatalf("%q became %q", again, write(w, body))
		}
	})
}

// write is a verdict as a guest would answer it.
func write(v wasm.Verdict, body string) []byte {
	b := append([]byte(`{"verdict":"`), v.Kind.String()...)
	b = append(b, '"')
	if v.Reason != "" {
		b = canon.AppendString(append(b, `,"reason":`...), v.Reason)
	}
	b = canon.AppendString(append(b, `,"message":`...), v.Message)
	b = append(b, `,"labels":[`...)
	for i, l := range v.Labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, l)
	}
	b = append(b, ']')
	if v.Kind == wasm.Rewrite {
		b = append(append(b, `,"`+body+`":`...), v.Body...)
	}
	return append(b, '}')
}
