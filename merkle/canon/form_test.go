package canon_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/gatewright/gatewright/merkle/canon"
)

func TestARefusedDocumentHasNoFormAndNoDigest(t *testing.T) {
	for _, body := range []string{"", `{"a":1,"a":2}`, "1e400", `"\ud800"`, "[1", "9007199254740993", "1 1", strings.Repeat("[", 40)} {
		dst := []byte("kept")
		got, err := canon.AppendCanonical(dst, []byte(body), canon.DefaultLimits())
		if err == nil || string(got) != "kept" {
			t.Errorf("%q: %q, %v", body, got, err)
		}
		if sum, err := canon.Digest([]byte(body), canon.DefaultLimits()); err == nil || sum != [32]byte{} {
			t.Errorf("%q: digest %x, %v", body, sum, err)
		}
	}
}

func TestTheFormIsSortedMinimalAndAppended(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : 1.0 , "a" : [ 1e2 , -0 , "\u0061\/" ] } `:        `{"a":[100,0,"a/"],"b":1}`,
		`{"\ue000":1,"😀":2,"é":3,"z":4,"":5}`:                      `{"":5,"z":4,"é":3,"😀":2,"` + "\ue000" + `":1}`, // by UTF-16 units
		`{"a":{"d":1,"c":{"f":[],"e":{}}},"A":null}`:               `{"A":null,"a":{"c":{"e":{},"f":[]},"d":1}}`,
		`"\u0008\u0009\u000a\u000c\u000d\u0022\u005c\u0000\u007f"`: `"\b\t\n\f\r\"\\\u0000` + "\x7f" + `"`,
		"true": "true", " null\n": "null", "[]": "[]", "{}": "{}",
	} {
		got, err := canon.AppendCanonical([]byte("x"), []byte(in), canon.DefaultLimits())
		if err != nil || string(got) != "x"+want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
		sum, err := canon.Digest([]byte(in), canon.DefaultLimits())
		if err != nil || sum != sha256.Sum256([]byte(want)) {
			t.Errorf("%s: another digest than that of its form, %v", in, err)
		}
	}
}

func TestStringsAreQuotedAsTheFormQuotesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.OneOf(rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }), rapid.SliceOf(rapid.Byte())).Draw(t, "text")
		quoted := canon.AppendString(nil, string(b))
		form, err := canon.AppendCanonical(nil, quoted, canon.DefaultLimits())
		if err != nil || !bytes.Equal(form, quoted) {
			t.Fatalf("%q is quoted as %s, whose form is %s, %v", b, quoted, form, err)
		}
		back, err := canon.Unquote(quoted)
		if want := strings.ToValidUTF8(string(b), "\uFFFD"); utf8.Valid(b) && (err != nil || back != want) {
			t.Fatalf("%q comes back as %q, %v", want, back, err)
		}
	})
	if got := canon.AppendString([]byte("x"), "a\xffb\xc3"); string(got) != "x\"a\uFFFDb\uFFFD\"" {
		t.Errorf("%q", got)
	}
}

func TestUnquoteReadsEveryEscapeAndRefusesOtherKinds(t *testing.T) {
	for in, want := range map[string]string{
		`"\b\f\n\r\t\"\\\/\u0041\u00e9\ud83d\ude00é"`: "\b\f\n\r\t\"\\/Aé😀é",
		` "a" `: "a", `""`: "", `"\u0000"`: "\x00", `"\\u0041"`: `\u0041`,
	} {
		if got, err := canon.Unquote([]byte(in)); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
		if got, err := canon.AppendUnquoted([]byte("x"), []byte(in)); err != nil || string(got) != "x"+want {
			t.Errorf("appended %s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", `"`, `"a`, `a"`, "1", "null", "{}", `"a"b`, `"a" "b"`, `"\"`} {
		if got, err := canon.Unquote([]byte(in)); !errors.Is(err, canon.ErrShape) || got != "" {
			t.Errorf("%s: %q, %v", in, got, err)
		}
		if got, err := canon.AppendUnquoted([]byte("x"), []byte(in)); !errors.Is(err, canon.ErrShape) || string(got) != "x" {
			t.Errorf("appended %s: %q, %v", in, got, err)
		}
	}
}

func TestMembersAndElementsAreReadInOrder(t *testing.T) {
	body := []byte(` { "a" : 1 , "\u0062\n" : [ 1 , "x]}" , { "c" : "\"}" } ] ,"method":"m", "n" : null , "" : -1.5e3 } `)
	if err := canon.Check(body, canon.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	var got []string
	note := func(key, value []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", key, value))
		return nil
	}
	if err := canon.Each(body, note); err != nil {
		t.Fatal(err)
	}
	want := []string{"a=1", "b\n=" + `[ 1 , "x]}" , { "c" : "\"}" } ]`, `method="m"`, "n=null", "=-1.5e3"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	list, ok := canon.Get(body, "b\n")
	if !ok {
		t.Fatal("escaped key is not found")
	}
	got = nil
	err := canon.EachElement(list, func(i int, value []byte) error { return note(fmt.Append(nil, i), value) })
	if want := []string{"0=1", `1="x]}"`, `2={ "c" : "\"}" }`}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	stop := errors.New("stop")
	if err := canon.Each(body, func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the callback's error becomes %v", err)
	}
	if err := canon.EachElement(list, func(int, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the callback's error becomes %v", err)
	}
}

func TestGetTakesTheExactKeyOfTheOutermostObject(t *testing.T) {
	body := []byte(`{"Method":1,"params":{"method":2},"a\\nb":3,"a\nb":4,"\u006dethod":5,"` + "\u212a" + `":6}`)
	for key, want := range map[string]string{"Method": "1", `a\nb`: "3", "a\nb": "4", "method": "5", "\u212a": "6"} {
		if v, ok := canon.Get(body, key); !ok || string(v) != want {
			t.Errorf("%q: %s, %v", key, v, ok)
		}
	}
	for _, key := range []string{"METHOD", "k", "K", "", `\u006dethod`, "para", "paramss"} {
		if v, ok := canon.Get(body, key); ok {
			t.Errorf("%q: %s", key, v)
		}
	}
	for _, other := range []string{"", "[]", "1", `"method"`, "null", "{", `{"method"`, `{"method":`, `{"x":1 "method":2}`} {
		if v, ok := canon.Get([]byte(other), "method"); ok {
			t.Errorf("%s: %s", other, v)
		}
	}
}

func TestReadingAnotherKindIsRefused(t *testing.T) {
	members := func(b string) error { return canon.Each([]byte(b), func(_, _ []byte) error { return nil }) }
	elements := func(b string) error { return canon.EachElement([]byte(b), func(int, []byte) error { return nil }) }
	for _, b := range []string{"", "null", "1", `"{}"`, "[1]", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, "{1}", `{"a":}`, `{"a":"`} {
		if err := members(b); !errors.Is(err, canon.ErrShape) {
			t.Errorf("%s as object: %v", b, err)
		}
	}
	for _, b := range []string{"", "null", "1", `"[]"`, "{}", "[", "[1", "[1,", "[,]", `["`, "[{]", "[1 2]"} {
		if err := elements(b); !errors.Is(err, canon.ErrShape) {
			t.Errorf("%s as array: %v", b, err)
		}
	}
	for b, want := range map[string]byte{
		"{}": '{', " [": '[', "\n\t\r \"a\"": '"', "null": 'n', "true": 't', "false": 'f', "-1": '0', "0": '0', "9": '0', "": 0, " ": 0, "x": 0, "}": 0, "+": 0,
	} {
		if got := canon.KindOf([]byte(b)); got != want {
			t.Errorf("%q is of kind %q, want %q", b, got, want)
		}
	}
}

// agree compares what a document holds with what encoding/json reads, member by member.
func agree(t testing.TB, raw []byte) {
	t.Helper()
	switch canon.KindOf(raw) {
	case '{':
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := canon.Each(raw, func(key, value []byte) error {
			n++
			name := string(key)
			if got, ok := canon.Get(raw, name); !bytes.Equal(want[name], value) || !ok || !bytes.Equal(got, value) {
				t.Fatalf("member %q of %s: Each says %s, Get %s, encoding/json %s", name, raw, value, got, want[name])
			}
			agree(t, value)
			return nil
		}); err != nil || n != len(want) {
			t.Fatalf("%s: %d members, want %d, %v", raw, n, len(want), err)
		}
	case '[':
		var want []json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := canon.EachElement(raw, func(i int, value []byte) error {
			if i != n || !bytes.Equal(value, want[i]) {
				t.Fatalf("element %d of %s: %s, want %s", i, raw, value, want[i])
			}
			n++
			agree(t, value)
			return nil
		}); err != nil || n != len(want) {
			t.Fatalf("%s: %d elements, want %d, %v", raw, n, len(want), err)
		}
	case '"':
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if got, err := canon.Unquote(raw); err != nil || got != want {
			t.Fatalf("%s: %q, %v, want %q", raw, got, err, want)
		}
	}
}
