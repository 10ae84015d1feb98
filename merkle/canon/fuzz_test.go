package canon_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatewright/gatewright/merkle/canon"
)

func seed(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"\u0061":2}`, `[1e400,9007199254740993,-0,4.50,5e-324,0.30000000000000004]`, `"\ud83d\ude00\ud800"`, "\xef\xbb\xbf{}", `{"b":[],"a":{}}`,
		`[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]`, `{"k":1,"K":2,"` + "\u212a" + `":3}`, " \t\r\n1 ", `{"":{"":{"":""}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Add(toolCall())
	names, _ := filepath.Glob("../../../shared/vectors/jsonparsing/*.json")
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && len(b) < 4096 {
			f.Add(b)
		}
	}
}

// FuzzCheck: whatever passes, passes jsontext with duplicate names refused, and reads as encoding/json reads it; the readers
// stay inside any input, checked or not.
func FuzzCheck(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := bytes.Clone(b)
		err := canon.Check(b, canon.DefaultLimits())
		if !bytes.Equal(b, kept) {
			t.Fatal("the document was changed")
		}
		if err != nil {
			kind := kindOf(t, err)
			if valid := jsontext.Value(b).IsValid(); valid && (kind == canon.KindSyntax || kind == canon.KindUTF8 ||
				kind == canon.KindSurrogate || kind == canon.KindDuplicate || kind == canon.KindTrailing) {
				t.Fatalf("%q: jsontext finds no such fault: %v", b, err)
			}
			_ = canon.Each(b, func(_, _ []byte) error { return nil })
			_ = canon.EachElement(b, func(int, []byte) error { return nil })
			_, _ = canon.Get(b, "a")
			_, _ = canon.Unquote(b)
			return
		}
		if !jsontext.Value(b).IsValid() {
			t.Fatalf("%q: accepted, and jsontext refuses it", b)
		}
		agree(t, bytes.TrimSpace(b))
	})
}

// FuzzCanonical: the form is the one jsontext makes, passes Check, is its own form, and does not depend on the spelling.
func FuzzCanonical(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		l := canon.DefaultLimits()
		form, err := canon.AppendCanonical(nil, b, l)
		if err != nil {
			if len(form) != 0 {
				t.Fatalf("%q: refused, with output %q", b, form)
			}
			return
		}
		want := jsontext.Value(bytes.Clone(b))
		if err := want.Canonicalize(); err != nil || !bytes.Equal(form, want) {
			t.Fatalf("%q: %s, jsontext says %s, %v", b, form, want, err)
		}
		l.Bytes = 8 * len(b) // 1e20 and escapes may grow
		again, err := canon.AppendCanonical(nil, form, l)
		if err != nil || !bytes.Equal(again, form) {
			t.Fatalf("%q: form %s becomes %s, %v", b, form, again, err)
		}
		spaced := jsontext.Value(bytes.Clone(b))
		if err := spaced.Indent(); err != nil {
			t.Fatal(err)
		}
		l.Bytes = max(l.Bytes, len(spaced))
		if other, err := canon.AppendCanonical(nil, spaced, l); err != nil || !bytes.Equal(other, form) {
			t.Fatalf("%q: indented, its form is %s, %v", b, other, err)
		}
	})
}
