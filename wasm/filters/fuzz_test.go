package filters_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm"
)

var placeholder = regexp.MustCompile(`\[redacted:[a-z-]+\]`)

// same reports whether out is in, apart from parts of strings that were replaced.
func same(in, out any) bool {
	switch in := in.(type) {
	case map[string]any:
		o, ok := out.(map[string]any)
		for k, v := range in {
			ok = ok && same(v, o[k])
		}
		return ok && len(o) == len(in)
	case []any:
		o, ok := out.([]any)
		for i := range in {
			ok = ok && i < len(o) && same(in[i], o[i])
		}
		return ok && len(o) == len(in)
	case string:
		o, ok := out.(string)
		return ok && covers(in, placeholder.Split(o, -1))
	}
	return in == out
}

// covers reports whether the pieces stand in s in their order, the first at its beginning and the last at its end.
func covers(s string, pieces []string) bool {
	if len(pieces) == 1 {
		return s == pieces[0]
	}
	s, ok := strings.CutPrefix(s, pieces[0])
	for _, p := range pieces[1 : len(pieces)-1] {
		if _, after, found := strings.Cut(s, p); found {
			s = after
			continue
		}
		return false
	}
	return ok && strings.HasSuffix(s, pieces[len(pieces)-1])
}

func parse(tb testing.TB, b string) any {
	tb.Helper()
	d := json.NewDecoder(strings.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		tb.Fatalf("%v: %q", err, b)
	}
	return v
}

// FuzzRedact shows any object, alone and with a secret in it. What comes back must be JSON that the gateway takes, equal
// to what went in apart from what was replaced; what was replaced once is not replaced again; and the secret is gone.
func FuzzRedact(f *testing.F) {
	for _, s := range secrets() {
		quoted, _ := json.Marshal(s.text)
		f.Add(`{"a":`+string(quoted)+`}`, "x", "y")
	}
	f.Add(`{"a":["\ud83d\ude00\u0041","password=é€😀","a\\\"b"],"b":{"c":1e3}}`, "password=", "'")
	f.Add(`{"a":"Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa pwd='x`+"`"+`\n"}`, `"`, `\`)
	filter := load(f, "")
	planted := secrets()
	f.Fuzz(func(t *testing.T, object, before, after string) {
		s := planted[(len(object)+len(before)*7+len(after)*13)%len(planted)]
		quoted, err := json.Marshal([]string{before, before + " " + s.text + " " + after})
		if err != nil {
			t.Skip()
		}
		for _, in := range []string{object, `{"s":` + string(quoted) + `}`} {
			if len(in) > 100_000 || canon.Check([]byte(in), canon.DefaultLimits()) != nil || canon.KindOf([]byte(in)) != '{' {
				continue
			}
			out, v := redact(t, filter, strings.TrimSpace(in))
			if v.Kind == wasm.Deny {
				continue
			}
			if err := canon.Check([]byte(out), canon.DefaultLimits()); err != nil {
				t.Fatalf("%v: %q became %q", err, in, out)
			}
			if !same(parse(t, in), parse(t, out)) {
				t.Fatalf("%q became %q", in, out)
			}
			if (v.Kind == wasm.Rewrite) != (len(v.Labels) > 0) {
				t.Fatalf("%v with labels %q", v.Kind, v.Labels)
			}
			if in != object && bytes.Contains([]byte(out), []byte(strings.ReplaceAll(s.text, "\n", `\n`))) {
				t.Fatalf("%q kept the %s", out, s.kind)
			}
		}
	})
}
