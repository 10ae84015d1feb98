package pins_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func digest(t testing.TB, definition string) merkle.Hash {
	t.Helper()
	b, err := pins.Canonical([]byte(definition), canon.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return pins.Digest(b)
}

const whole = `{"name":"a","title":"A","description":"does","inputSchema":{"type":"object"},"outputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}`

func TestAPinIsOverAllThatAModelReads(t *testing.T) {
	// The number comes from outside: printf 'gatewright tool-pin/v1\n{"description":"d","inputSchema":{"type":"object"},"name":"a"}' | sha256sum
	if got := digest(t, `{ "name":"a", "inputSchema": {"type":"object"}, "description":"d" }`).String(); got != "2c4b6ec45faa939756b52fc54195300f7e82830dd04bd46152984c712b37476a" {
		t.Errorf("the digest is %s", got)
	}
	same := digest(t, whole)
	for _, from := range []string{`"A"`, `"does"`, `"name":"a"`, `readOnlyHint":true`, `"inputSchema":{"type":"object"}`, `"outputSchema":{"type":"object"}`} {
		to := map[string]string{
			`"A"`: `"B"`, `"does"`: `"d\u043ees"`, `"name":"a"`: `"name":"b"`, `readOnlyHint":true`: `readOnlyHint":false`,
			`"inputSchema":{"type":"object"}`: `"inputSchema":{"type":"object","x":1}`, `"outputSchema":{"type":"object"}`: `"outputSchema":{}`,
		}[from]
		if changed := strings.Replace(whole, from, to, 1); changed == whole || digest(t, changed) == same {
			t.Errorf("%s makes no difference", to)
		}
	}
	for _, still := range []string{
		`{"annotations":{"readOnlyHint":true},"outputSchema":{"type":"object"},"inputSchema":{"type":"object"},"description":"does","title":"A","name":"a"}`,
		strings.Replace(whole, `"does"`, `"d\u006fes"`, 1), strings.Replace(whole, `{"name"`, `{"_meta":{"x":1},"icons":[],"name"`, 1),
	} {
		if digest(t, still) != same {
			t.Errorf("%s has another pin", still)
		}
	}
	if digest(t, `{"name":"a","title":null}`) == digest(t, `{"name":"a"}`) {
		t.Error("null and absent are one")
	}
	for _, bad := range []string{`[]`, `{"name":"a","name":"b"}`, `{`, `"x"`} {
		if b, err := pins.Canonical([]byte(bad), canon.DefaultLimits()); err == nil {
			t.Errorf("%s has the form %s", bad, b)
		}
	}
}

func TestWhatDoesNotShowIsFound(t *testing.T) {
	for _, r := range []rune{
		0, 7, 0x1b, 0x7f, 0x85, 0xad, 0x34f, 0x61c, 0x115f, 0x17b4, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2063,
		0x2066, 0x2069, 0x206f, 0x2800, 0x3164, 0xfe00, 0xfeff, 0xffa0, 0xfff9, 0xfffd, 0xe000, 0xfffe, 0xe0001, 0xe0041, 0xe0100, 0x100000,
	} {
		for _, form := range []string{`{"description":"a%sb"}`, `{"title":"%s"}`, `{"inputSchema":{"properties":{"x":{"description":"%s"}}}}`, `{"inputSchema":{"enum":["%s"]}}`, `{"inputSchema":{"%s":1}}`} {
			escaped := fmt.Sprintf(`\u%04x`, r)
			if r > 0xffff {
				escaped = fmt.Sprintf(`\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
			}
			doc := fmt.Sprintf(form, escaped)
			if found := pins.Hidden([]byte(doc)); !strings.Contains(found, fmt.Sprintf("%U", r)) {
				t.Errorf("%U in %s: %q", r, doc, found)
			}
		}
		if shown := pins.Visible("a" + string(r)); strings.ContainsRune(shown, r) && r != 0xfffd {
			t.Errorf("%U still does not show", r)
		}
	}
	for _, fine := range []string{"plain", "two\nlines\tand a tab\r\n", "Grüße, \u0928\u092e\u0938\u094d\u0924\u0947, \u4f60\u597d", "warns \u26a0\ufe0f", "e\u0301"} {
		if found := pins.Hidden([]byte(`{"description":"` + fine + `"}`)); found != "" {
			t.Errorf("%q: %s", fine, found)
		}
	}
	for _, carried := range []string{"a\ufe0f", "\u26a0\ufe0f\ufe0f", "\u26a0\ufe0f\ufe01"} {
		if pins.Hidden([]byte(`{"description":"`+carried+`"}`)) == "" {
			t.Errorf("%q passes", carried)
		}
	}
}

func TestNamesThatLookAlike(t *testing.T) {
	for _, p := range [][2]string{
		{"read_file", "read-file"}, {"read_file", "Read.File"}, {"login", "l0gin"}, {"login", "1ogin"}, {"list", "Iist"}, {"READ", "read"}, {"O", "0"}, {"I", "l"}, {"I", "1"}, {"I", "i"},
	} {
		if !pins.Alike(p[0], p[1]) || !pins.Alike(p[1], p[0]) {
			t.Errorf("%v do not look alike", p)
		}
	}
	for _, p := range [][2]string{{"a", "a"}, {"read_file", "readfile"}, {"read", "reads"}, {"list", "iist"}, {"a", "b"}} {
		if pins.Alike(p[0], p[1]) {
			t.Errorf("%v look alike", p)
		}
	}
}

func TestDifferencesAreShownMemberByMember(t *testing.T) {
	old := `{"description":"one\ntwo\nthree","inputSchema":{"properties":{"a":{"type":"string"}},"type":"object"},"name":"x","title":"T"}`
	now := `{"annotations":{"readOnlyHint":true},"description":"one\nt\u202ewo\nthree","inputSchema":{"properties":{"a":{"type":"number"}},"type":"object"},"name":"x"}`
	got := pins.Diff([]byte(old), []byte(now))
	want := []pins.Difference{
		{"annotations", "added", "+ {\n+   \"readOnlyHint\": true\n+ }\n"},
		{"description", "changed", "  one\n- two\n+ t\\u{202e}wo\n  three\n"},
		{"inputSchema", "changed", "  {\n    \"properties\": {\n      \"a\": {\n-       \"type\": \"string\"\n+       \"type\": \"number\"\n      }\n    },\n    \"type\": \"object\"\n  }\n"},
		{"title", "removed", "- T\n"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if got := pins.Diff([]byte(old), []byte(old)); len(got) != 0 {
		t.Errorf("a definition differs from itself: %v", got)
	}
	if got := pins.Diff(nil, []byte(old)); len(got) != 4 || got[0].Change != "added" {
		t.Errorf("from nothing: %v", got)
	}
}

func TestALongComparisonEnds(t *testing.T) {
	line := func(s string) string { return `{"description":"` + strings.Repeat(s+"\\n", 40_000) + `"}` }
	began := time.Now()
	got := pins.Diff([]byte(line("a")), []byte(line("b")))
	if took := time.Since(began); took > 5*time.Second || len(got) != 1 || len(got[0].Text) > 600<<10 {
		t.Errorf("%s for %d bytes", took, len(got[0].Text))
	}
}

func TestDecisionsAreKeptAndBounded(t *testing.T) {
	b := &pins.Book{Store: storetest.NewMemory(), Limits: canon.DefaultLimits()}
	change := func(action string, from, to int) error {
		entry := pins.Entry{Time: time.Unix(int64(to), 0), Action: action, User: "usr_1", To: at(to)}
		if from > 0 {
			entry.From = at(from)
		}
		_, err := b.Decide(t.Context(), "acme", "srv", "x", pins.Change{Entry: entry, Definition: form(to)})
		return err
	}
	for i := range 60 {
		if err := change(pins.Approve, i, i+1); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"from another": change(pins.Approve, 3, 61), "gone": change(pins.RollBack, 60, 1), "never": change(pins.RollBack, 60, 99), "itself": change(pins.RollBack, 60, 60),
	} {
		if !errors.Is(err, pins.ErrMoved) && !errors.Is(err, pins.ErrNotKept) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := change(pins.RollBack, 60, 55); err != nil {
		t.Error(err)
	}
	for i := 100; i < 120; i++ {
		if err := change(pins.Reject, 55, i); err != nil {
			t.Fatal(err)
		}
	}
	row, err := b.Tool(t.Context(), "acme", "srv", "x")
	if err != nil || row.Approved != at(55) || len(row.Kept) != pins.MaxKept || len(row.Rejected) != pins.MaxRejected || len(row.History) != pins.MaxHistory {
		t.Fatalf("%+v: %v", row, err)
	}
	if last := row.History[len(row.History)-1]; last.To != at(119) || last.From != at(55) || last.User != "usr_1" || last.Time.Unix() != 119 {
		t.Errorf("the last entry is %+v", last)
	}
	if _, err := b.Definition(t.Context(), "acme", "srv", "x", at(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a definition that is kept no more: %v", err)
	}
	if d, err := b.Definition(t.Context(), "acme", "srv", "x", at(55)); err != nil || string(d) != string(form(55)) {
		t.Errorf("%s: %v", d, err)
	}
	if _, err := b.Definition(t.Context(), "rival", "srv", "x", at(55)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another tenant's: %v", err)
	}
	if err := change(pins.Reject, 55, 55); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Load(t.Context(), "acme"); err != nil || !all["srv"].Tools["x"].Approved.IsZero() {
		t.Errorf("after its rejection: %+v %v", all, err)
	}
	if err := b.Forget(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Load(t.Context(), "acme"); err != nil || len(all) != 0 {
		t.Errorf("after it was forgotten: %+v %v", all, err)
	}
}

func form(i int) []byte { return fmt.Appendf(nil, `{"description":"<%d>","name":"x"}`, i) }

func at(i int) merkle.Hash { return pins.Digest(form(i)) }

func TestAFirstListingOfManyToolsIsTaken(t *testing.T) {
	b := &pins.Book{Store: storetest.NewMemory(), Limits: canon.DefaultLimits()}
	var tools []pins.Listed
	for i := range 450 {
		d := fmt.Appendf(nil, `{"description":%q,"name":"t%d"}`, strings.Repeat("x", 20_000), i)
		tools = append(tools, pins.Listed{Name: fmt.Sprintf("t%d", i), Digest: pins.Digest(d), Definition: d})
	}
	if err := b.Trust(t.Context(), "acme", "srv", tools, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	all, err := b.Load(t.Context(), "acme")
	if err != nil || !all["srv"].Opened || len(all["srv"].Tools) != 450 || all["srv"].Tools["t449"].Approved != tools[449].Digest {
		t.Errorf("%v", err)
	}
}
