package armoriq

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// isRefused says whether err refuses a body as malformed, naming the place.
func isRefused(err error, at string) bool {
	var d *pipeline.Denial
	return errors.As(err, &d) && d.Code == pipeline.Malformed && strings.Contains(d.Message, at)
}

// TestMembersAreReadByTheirExactNames: a reader that takes "Tool" for "tool" could be shown another value than a log.
func TestMembersAreReadByTheirExactNames(t *testing.T) {
	for body, want := range map[string]string{
		`{"tool":"a"}`: "a", `{"t\u006fol":"a"}`: "a", `{"Tool":"a"}`: "", `{"TOOL":"a","tool":"b"}`: "b", `{"tool ":"a"}`: "", `{"":"a"}`: "", `{"too\u017f":"a"}`: "",
		`{"tool":null}`: "", `{}`: "", `{"x":{"tool":"a"}}`: "", `{"tool":"\ud83d\ude00"}`: "😀",
	} {
		var got string
		if err := readObject([]byte(body), "", fields{"tool": text(&got, 8)}); err != nil || got != want {
			t.Errorf("%s is read as %q, %v", body, got, err)
		}
	}
}

// TestNullIsAbsent: clients write null for what they do not have.
func TestNullIsAbsent(t *testing.T) {
	s, n, b, raw, list := "kept", json.Number("1"), true, []byte("kept"), []string{"kept"}
	err := readObject([]byte(`{"s":null,"n":null,"b":null,"o":null,"v":null,"a":null}`), "", fields{
		"s": text(&s, 1), "n": number(&n), "b": boolean(&b), "o": object(&raw), "v": value(&raw), "a": texts(&list, 1, 1),
	})
	if err != nil || s != "kept" || n != "1" || !b || string(raw) != "kept" || len(list) != 1 {
		t.Errorf("%v: %q %q %v %s %v", err, s, n, b, raw, list)
	}
}

func TestEachReaderTakesItsOwnTypeOnly(t *testing.T) {
	values := map[string]string{"string": `"x"`, "number": `-1.5e3`, "boolean": `false`, "object": `{}`, "array": `["x"]`}
	var s string
	var n json.Number
	var b bool
	var raw []byte
	var list []string
	readers := map[string]func(raw []byte, at string) error{"string": text(&s, 8), "number": number(&n), "boolean": boolean(&b), "object": object(&raw), "array": texts(&list, 8, 8)}
	for kind, read := range readers {
		for of, v := range values {
			err := readObject(fmt.Appendf(nil, `{"m":%s}`, v), "/in", fields{"m": read})
			if (err == nil) != (of == kind) || err != nil && !isRefused(err, "/in/m") {
				t.Errorf("a %s where a %s is read: %v", of, kind, err)
			}
		}
	}
	for _, v := range []string{`[]`, `"x"`, `5`, `true`, `null`} {
		if err := readObject([]byte(v), "/in", fields{}); !isRefused(err, "/in") {
			t.Errorf("%s as an object: %v", v, err)
		}
	}
}

func TestWhatIsReadIsBounded(t *testing.T) {
	var s string
	for text4, ok := range map[string]bool{`"abcd"`: true, `"abcde"`: false, `"\u00e4\u00e4"`: true, `"\u00e4\u00e4\u00e4"`: false, `"😀"`: true, `"😀x"`: false} {
		if err := text(&s, 4)([]byte(text4), "/s"); (err == nil) != ok {
			t.Errorf("%s in 4 bytes: %v", text4, err)
		}
	}
	var list []string
	if err := texts(&list, 2, 1)([]byte(`["a","b"]`), "/l"); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	for raw, at := range map[string]string{`["a","b","c"]`: "/l", `["a","bb"]`: "/l/1", `["a",5]`: "/l/1", `[null]`: "/l/0"} {
		if err := texts(&list, 2, 1)([]byte(raw), "/l"); !isRefused(err, at) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestLifetimesAreSeconds(t *testing.T) {
	for in, want := range map[string]float64{"": 0, "60": 60, "60.0": 60, "3.6e3": 3600, "1": 1, "1.9": 1} {
		if d, err := seconds(json.Number(in), "/x"); err != nil || d.Seconds() != want {
			t.Errorf("%q is %v, %v", in, d, err)
		}
	}
	for _, in := range []string{"0", "-1", "0.5", "1e300", "1e400", "315360001"} {
		if d, err := seconds(json.Number(in), "/x"); !isRefused(err, "/x") {
			t.Errorf("%q is %v, %v", in, d, err)
		}
	}
}

func TestARouteIsFoundByItsWholePath(t *testing.T) {
	for path, id := range map[string]string{"/iap/plans/pln_1/status": "pln_1", "/mcp/tools/a.b": "a.b", "/delegation/x/status": "x"} {
		method := "POST"
		if !strings.HasPrefix(path, "/iap") {
			method = "GET"
		}
		if row, got, err := match(method, path); err != nil || got != id || row == nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"/invoke/", "/Invoke", "/iap/plans//status", "/iap/plans/a/b/status", "/iap/plans/status", "/mcp/tools/", "/mcp/tools", "/iap/sdk/token/x", "/delegation//status", "", "/", "/{id}"} {
		if row, _, err := match("POST", path); row != nil || err == nil || served(path) {
			t.Errorf("%q is served", path)
		}
	}
	seen := map[string]bool{}
	for _, name := range Routes() {
		if seen[name] {
			t.Errorf("%s stands twice", name)
		}
		seen[name] = true
	}
}
