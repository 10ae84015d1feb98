package canon_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
)

func TestWhatPythonAndJavaScriptPrintDifferentlyIsRefused(t *testing.T) {
	for in, want := range map[string]error{
		// Python prints 1.0, 100.0, 1e+16, 1e-05, -0.0, JavaScript 1, 100, 10000000000000000, 0.00001, 0.
		"1.0": canon.ErrNumber, "-3.000": canon.ErrNumber, "0.0": canon.ErrNumber, "-0": canon.ErrNumber, "-0.0": canon.ErrNumber,
		"1e2": canon.ErrNumber, "1E2": canon.ErrNumber, "1e21": canon.ErrNumber, "15e-1": canon.ErrNumber, "1e-7": canon.ErrNumber, "0e0": canon.ErrNumber,
		"0.00001": canon.ErrNumber, "-0.00001": canon.ErrNumber, "0.000099": canon.ErrNumber, "0.0000010": canon.ErrNumber,
		`{"😀":1}`: canon.ErrKey, `{"\ud83d\ude00":1}`: canon.ErrKey, `[{"a":{"b\ud800\udc00":1}}]`: canon.ErrKey,
		`{"a":[1,{"b":2.0}]}`: canon.ErrNumber,
	} {
		got, err := canon.AppendPython([]byte("kept"), []byte(in), canon.DefaultLimits())
		if !errors.Is(err, want) || string(got) != "kept" {
			t.Errorf("%s: %s, %v, want %v", in, got, err, want)
		}
	}
	for in, want := range map[string]canon.Kind{
		"9007199254740992": canon.KindNumber, "-9007199254740992": canon.KindNumber, "0.10000000000000001": canon.KindNumber, "1e400": canon.KindNumber,
		`{"a":1,"\u0061":2}`: canon.KindDuplicate, `"\ud800"`: canon.KindSurrogate, "NaN": canon.KindSyntax, "": canon.KindSyntax, "1 1": canon.KindTrailing, `{"a":1,}`: canon.KindSyntax,
	} {
		got, err := canon.AppendPython([]byte("kept"), []byte(in), canon.DefaultLimits())
		if kindOf(t, err) != want || string(got) != "kept" {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, l := range []canon.Limits{{}, {Bytes: 3, Depth: 9, Values: 9}, {Bytes: 9, Depth: 1, Values: 9}, {Bytes: 9, Depth: 9, Values: 2}} {
		if got, err := canon.AppendPython(nil, []byte("[[1]]"), l); err == nil {
			t.Errorf("%+v: %s", l, got)
		}
	}
}

// The wanted texts were printed by Python 3.11's json.dumps and by the JavaScript that ArmorIQ's client runs.
func TestTheTextIsPythons(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : [ 1 , 2.50 , -0.5 ] , "a" : { "d" : null , "c" : true , "B" : false } } `: `{"a":{"B":false,"c":true,"d":null},"b":[1,2.5,-0.5]}`,
		`"é\u00e9 \u007f~/\/ ` + "\u2028" + `"`:                                             `"\u00e9\u00e9 \u007f~// \u2028"`,
		`"😀\ud83d\ude00"`:                                                                   `"\ud83d\ude00\ud83d\ude00"`,
		`"\u0000\u0008\u0009\u000a\u000b\u000c\u000d\u001f"`:                                `"\u0000\b\t\n\u000b\f\r\u001f"`,
		`"\"\\"`: `"\"\\"`,
		"{\"\ue000\":1,\"\uffff\":2,\"é\":3,\"z\":4,\"\":5}": `{"":5,"z":4,"\u00e9":3,"\ue000":1,"\uffff":2}`,
		`{"10":1,"9":2,"__proto__":3}`:                       `{"10":1,"9":2,"__proto__":3}`,
		"9007199254740991":                                   "9007199254740991", "-9007199254740991": "-9007199254740991", "0": "0",
		"0.0001": "0.0001", "-0.00012": "-0.00012", "0.1": "0.1", "10.00001": "10.00001", "4503599627370495.5": "4503599627370495.5", "0.30000000000000004": "0.30000000000000004",
		"1700000000.5": "1700000000.5", "[]": "[]", "{}": "{}", "[[],{}]": "[[],{}]", " null\n": "null",
	} {
		got, err := canon.AppendPython([]byte("x"), []byte(in), canon.DefaultLimits())
		if err != nil || string(got) != "x"+want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestArmorIQsSignatureFitsTheText(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(vectors(t, "armoriq"), "token-signature.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Payload              json.RawMessage
		Canonical, Signature string
		PublicKey            string `json:"public_key"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	got, err := canon.AppendPython(nil, v.Payload, canon.DefaultLimits())
	if err != nil || string(got) != v.Canonical {
		t.Fatalf("%s, %v, want %s", got, err, v.Canonical)
	}
	key, kerr := hex.DecodeString(v.PublicKey)
	sig, serr := hex.DecodeString(v.Signature)
	if kerr != nil || serr != nil || !ed25519.Verify(key, got, sig) {
		t.Fatal("the signature is of another text")
	}
}

// FuzzPython: the text reads back to the same value, passes Check, is its own text and does not depend on the spelling.
func FuzzPython(f *testing.F) {
	seed(f)
	f.Add([]byte(`{"b":[1,2.50,-0.0001],"a":{"é":"😀\u007f"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := canon.DefaultLimits()
		text, err := canon.AppendPython(nil, b, l)
		if err != nil {
			if len(text) != 0 {
				t.Fatalf("%q: refused, with output %q", b, text)
			}
			return
		}
		l.Bytes = 8*len(b) + 8 // escapes grow
		again, err := canon.AppendPython(nil, text, l)
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q: text %s becomes %s, %v", b, text, again, err)
		}
		form, err := canon.AppendCanonical(nil, b, canon.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if other, err := canon.AppendPython(nil, form, l); err != nil || !bytes.Equal(other, text) {
			t.Fatalf("%q: the text of its canonical form is %s, %v, want %s", b, other, err, text)
		}
		var one, two any
		if json.Unmarshal(b, &one) != nil || json.Unmarshal(text, &two) != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%q: %s is another value", b, text)
		}
		for _, c := range text {
			if c < ' ' || c > '~' {
				t.Fatalf("%q: %q is not printable ASCII", b, text)
			}
		}
	})
}
