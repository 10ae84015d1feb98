package canon_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
)

// refused fails the test unless body is refused with the kind wanted; an empty kind means accepted.
func refused(t *testing.T, body string, want canon.Kind) {
	t.Helper()
	if got := kindOf(t, canon.Check([]byte(body), canon.DefaultLimits())); got != want {
		if len(body) > 80 {
			body = body[:80] + "..."
		}
		t.Errorf("%q: %q, want %q", body, got, want)
	}
}

func TestEqualKeysAreRefusedHoweverTheyAreSpelled(t *testing.T) {
	for _, body := range []string{
		`{"a":1,"a":1}`,
		`{"a":1,"\u0061":2}`,
		`{"\u0061":1,"a":2}`,
		`{"\u0061":1,"\u0061":2}`,
		`{"":1,"":2}`,
		`{"a/b":1,"a\/b":2}`,
		`{"\n":1,"\u000a":2}`,
		`{"\u000A":1,"\u000a":2}`,
		`{"é":1,"\u00e9":2}`,
		`{"😀":1,"\ud83d\ude00":2}`,
		`{"\ud83d\ude00":1,"\uD83D\uDE00":2}`,
		`{"method":1,"params":2,"method":3}`,
		`{"exactly8":1,"exactly8":2}`,
		`{"exactly8":1,"exactl\u00798":2}`,
		`{"longer than eight bytes":1,"longer than eight bytes":2}`,
		`[{"x":{"y":[{"deep":1,"deep":2}]}}]`,
		`{"a":{"a":1},"b":2,"a":3}`,
		`{"k7bytes":1,"k7bytes":2}`,
		`{ "a" : 1 , "a" : 2 }`,
	} {
		refused(t, body, canon.KindDuplicate)
	}
	for _, n := range []int{63, 64, 65, 1000} {
		long := strings.Repeat("k", n)
		refused(t, `{"`+long+`":1,"`+long+`":2}`, canon.KindDuplicate)
		refused(t, `{"`+long+`":1,"\u006b`+long[1:]+`":2}`, canon.KindDuplicate)
		refused(t, `{"`+long+`":1,"`+long+`k":2}`, "")
		refused(t, `{"`+long+`":1,"x`+long[1:]+`":2}`, "")
	}
}

func TestKeysThatOnlyLookEqualStayApart(t *testing.T) {
	for _, body := range []string{
		`{"k":1,"K":2,"` + "\u212a" + `":3}`,
		`{"s":1,"S":2,"` + "\u017f" + `":3,"\u017F\u017F":4}`,
		`{"method":1,"Method":2,"METHOD":3,"` + "metho\u0501" + `":4}`,
		`{"é":1,"e\u0301":2}`, // no normalization
		`{"a":1,"a\u0000":2,"\u0000a":3,"":4,"\u0000":5}`,
		`{"a":{"a":{"a":1}},"b":{"a":1}}`,
		`[{"a":1},{"a":1}]`,
		`{"\\u0061":1,"a":2}`,
		`{"12345678":1,"123456789":2,"1234567":3,"12345678\u0000":4}`,
		`{"headXXXXtail":1,"headYYYYtail":2,"headXXXXXXXXXtail":3}`,
	} {
		refused(t, body, "")
	}
}

// object returns an object of n different keys, made by name.
func object(n int, name func(i int) string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s":%d`, name(i), i)
	}
	b.WriteByte('}')
	return b.String()
}

func TestEqualKeysAreFoundInObjectsOfAnySize(t *testing.T) {
	names := map[string]func(int) string{
		"short":     func(i int) string { return fmt.Sprintf("k%d", i) },
		"long":      func(i int) string { return fmt.Sprintf("a key with many more bytes than one word %d", i) },
		"longest":   func(i int) string { return strings.Repeat("k", 70) + fmt.Sprint(i) },
		"escaped":   func(i int) string { return fmt.Sprintf(`\u006b%d`, i) },
		"same ends": func(i int) string { return fmt.Sprintf("12345678 %d 87654321", i) },
	}
	for label, name := range names {
		for _, n := range []int{1, 2, 23, 24, 25, 26, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 1000, 5000} {
			whole := object(n, name)
			if kind := kindOf(t, canon.Check([]byte(whole), canon.DefaultLimits())); kind != "" {
				t.Errorf("%s, %d different keys: %q", label, n, kind)
			}
			for _, i := range []int{0, n / 2, n - 1} {
				twice := strings.TrimSuffix(whole, "}") + `,"` + strings.ReplaceAll(name(i), "k", `\u006B`) + `":0}`
				if label == "escaped" {
					twice = strings.TrimSuffix(whole, "}") + fmt.Sprintf(`,"k%d":0}`, i)
				}
				if kind := kindOf(t, canon.Check([]byte(twice), canon.DefaultLimits())); kind != canon.KindDuplicate {
					t.Errorf("%s, %d keys, key %d twice: %q", label, n, i, kind)
				}
			}
		}
	}
}

func TestManyLargeObjectsInOneDocumentKeepTheirKeysApart(t *testing.T) {
	one := object(300, func(i int) string { return fmt.Sprintf("k%d", i) })
	few := object(30, func(i int) string { return fmt.Sprintf("k%d", i) })
	refused(t, `[`+one+`,`+few+`,`+one+`,`+few+`,{"x":`+one+`,"y":`+few+`}]`, "")
	nested := few
	for range 20 {
		nested = strings.TrimSuffix(few, "}") + `,"in":` + nested + `,"after":1}`
	}
	refused(t, nested, "")
	refused(t, strings.TrimSuffix(nested, "}")+`,"k7":1}`, canon.KindDuplicate)
	refused(t, strings.Replace(nested, `"after":1}`, `"after":1,"k3":0}`, 1), canon.KindDuplicate)
}

func TestTextThatIsNotUnicodeIsRefused(t *testing.T) {
	for body, want := range map[string]canon.Kind{
		"\"\xff\"":                      canon.KindUTF8,
		"\"\xc0\xaf\"":                  canon.KindUTF8, // overlong /
		"\"\xed\xa0\x80\"":              canon.KindUTF8, // a surrogate in UTF-8
		"\"\xf4\x90\x80\x80\"":          canon.KindUTF8, // above U+10FFFF
		"\"0123456789abcdef\xe2\x82\"":  canon.KindUTF8, // cut short
		"{\"\xff\":1}":                  canon.KindUTF8,
		"{\"\\n\xff\":1}":               canon.KindUTF8,
		`"\ud800"`:                      canon.KindSurrogate,
		`"\udc00"`:                      canon.KindSurrogate,
		`"\ud800\ud800"`:                canon.KindSurrogate,
		`"\udc00\ud800"`:                canon.KindSurrogate,
		`"\ud800\n23456"`:               canon.KindSurrogate,
		`"\ud83dx\ude00"`:               canon.KindSurrogate,
		`"\ud83d\nde00"`:                canon.KindSurrogate,
		"{\"\xff\":\"a word follows\"}": canon.KindUTF8,
		`{"\ud83d":1}`:                  canon.KindSurrogate,
		"\xef\xbb\xbf{}":                canon.KindSyntax,
		"\xff\xfe{\x00}\x00":            canon.KindSyntax,
		`"` + "\uffff\U0010ffff" + `"`:  "",
		`"\u0000\uffff"`:                "",
	} {
		refused(t, body, want)
	}
}

func TestTextOutsideTheGrammarIsRefused(t *testing.T) {
	for _, body := range []string{
		"", " ", "{", "[", `"`, `"\`, `"\u`, `"\u00`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, "[1", "[1,", "t", "tru", "nul", "-",
		"1.", "1e", "1e+", "01", "-01", "+1", ".5", "1.e5", "Infinity", "NaN", "-Infinity", "True", "NULL", "'a'", "{a:1}",
		"{,}", "[,]", "[1,]", `{"a":1,}`, `{"a" 1}`, `{"a";1}`, "[1 2]", "[1:2]", "{]", "[}", `{"a":1]`, "[1}", "//\n1", "/**/1",
		"\"a\nb\"", "\"\x00\"", "\"12345678\x1f\"", "\"a\tb\"", `"\x41"`, `"\'"`, `"\U0041"`, `"\u004g"`, `"\u00 1"`, "\v1", "\u00a01",
		"\x00", "[\x001]", "--1", "\f{}",
	} {
		refused(t, body, canon.KindSyntax)
	}
	for _, body := range []string{"1 2", "{}{}", "[] ]", "null,", "\"a\"b", "{}\x00", "1\xff", "truefalse", "1a", "0x10", "1_000"} {
		refused(t, body, canon.KindTrailing)
	}
}

func TestABadByteIsFoundAtEveryPlaceOfAString(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 100, 131} {
		for at := range n {
			text := bytes.Repeat([]byte("a"), n)
			for bad, want := range map[byte]canon.Kind{0xff: canon.KindUTF8, 0x1f: canon.KindSyntax, 0: canon.KindSyntax, '\\': canon.KindSyntax, '!': "", ' ': "", '#': "", 0x7f: ""} {
				text[at] = bad
				for _, body := range []string{`"` + string(text) + `"`, `{"` + string(text) + `":"and some text behind"}`} {
					if bad == '\\' && at == n-1 {
						continue // it escapes the quote
					}
					got := kindOf(t, canon.Check([]byte(body), canon.DefaultLimits()))
					if got != want {
						t.Fatalf("%#x at %d of %d in %q: %q, want %q", bad, at, n, body, got, want)
					}
				}
			}
		}
	}
}

func TestEveryPrefixOfADocumentIsRefused(t *testing.T) {
	whole := toolCall()
	for n := range whole {
		if kind := kindOf(t, canon.Check(whole[:n:n], canon.DefaultLimits())); kind != canon.KindSyntax {
			t.Fatalf("the first %d bytes: %q", n, kind)
		}
	}
	refused(t, string(whole), "")
}

func TestLimitsHoldExactly(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		body string
		l    canon.Limits
		want canon.Kind
	}{
		{nested(32), canon.DefaultLimits(), ""},
		{nested(33), canon.DefaultLimits(), canon.KindDepth},
		{nested(500_000), canon.DefaultLimits(), canon.KindDepth},
		{strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), canon.DefaultLimits(), canon.KindDepth},
		{strings.Repeat(`[{"a":`, 16) + "1" + strings.Repeat("}]", 16), canon.DefaultLimits(), ""},
		{nested(1000), canon.Limits{Bytes: 1 << 20, Depth: 1 << 30, Values: 1 << 20}, ""},
		{nested(1001), canon.Limits{Bytes: 1 << 20, Depth: 1 << 30, Values: 1 << 20}, canon.KindDepth},
		{"1", canon.Limits{Bytes: 1, Depth: 0, Values: 1}, ""},
		{"[]", canon.Limits{Bytes: 9, Depth: 0, Values: 1}, canon.KindDepth},
		{"12", canon.Limits{Bytes: 1, Depth: 9, Values: 9}, canon.KindSize},
		{"1 ", canon.Limits{Bytes: 1, Depth: 9, Values: 9}, canon.KindSize},
		{"[1,2]", canon.Limits{Bytes: 9, Depth: 9, Values: 3}, ""},
		{"[1,2]", canon.Limits{Bytes: 9, Depth: 9, Values: 2}, canon.KindValues},
		{`{"a":1}`, canon.Limits{Bytes: 9, Depth: 9, Values: 1}, canon.KindValues},
		{"1", canon.Limits{}, canon.KindSize},
		{"1", canon.Limits{Bytes: 9, Depth: 9}, canon.KindValues},
		{"1", canon.Limits{Bytes: -1, Depth: -1, Values: -1}, canon.KindSize},
		{"[]", canon.Limits{Bytes: 9, Depth: -1, Values: 9}, canon.KindDepth},
		{"[" + strings.Repeat("0,", 99_998) + "0]", canon.DefaultLimits(), ""},
		{"[" + strings.Repeat("0,", 99_999) + "0]", canon.DefaultLimits(), canon.KindValues},
		{`"` + strings.Repeat("a", 1<<20-2) + `"`, canon.DefaultLimits(), ""},
		{`"` + strings.Repeat("a", 1<<20-1) + `"`, canon.DefaultLimits(), canon.KindSize},
	} {
		if got := kindOf(t, canon.Check([]byte(c.body), c.l)); got != c.want {
			t.Errorf("%.20q of %d bytes within %+v: %q, want %q", c.body, len(c.body), c.l, got, c.want)
		}
	}
}

func TestARefusalSaysWhereAndQuotesNothing(t *testing.T) {
	err := canon.Check([]byte(`{"password":"hunter2","password":"hunter3"}`), canon.DefaultLimits())
	if got, want := fmt.Sprint(err), "json: object has this key twice at byte 22 (duplicate)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	err = canon.Check([]byte("\"0123456789\xffabc\""), canon.DefaultLimits())
	if got, want := fmt.Sprint(err), "json: string is not UTF-8 at byte 11 (utf8)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTypicalBodiesAreCheckedWithoutAllocating(t *testing.T) {
	body, pair, l := toolCall(), []byte("[1,2]"), canon.DefaultLimits()
	if n := testing.AllocsPerRun(100, func() {
		if err := canon.Check(body, l); err != nil {
			t.Fatal(err)
		}
		if err := canon.EachElement(pair, func(int, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if params, ok := canon.Get(body, "params"); !ok || canon.KindOf(params) != '{' {
			t.Fatal("no params")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
