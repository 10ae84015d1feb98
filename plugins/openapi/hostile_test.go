package openapi_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
)

// hostile are values that have led somewhere else in one server or another.
var hostile = []string{
	"", ".", "..", "...", "/", "//", "\\", "a/b", "../x", "x/..", "..\\x", "/etc/passwd", "a/../../admin", "./a", "a/.", "..;", "..;/x", ".;x", "a;b=c", ";admin=1",
	"%2f", "%2F", "%5c", "..%2f", "%2e%2e", "%2e%2e%2f", ".%2e", "%252f", "%25252f", "%2525252525252f", "%c0%af", "%e0%80%af", "%uff0f", "%u002f", "%00", "%0d%0a", "%zz%2f", "%", "%2", "100%", "%%32%66",
	"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n", "a HTTP/1.1\r\nX: y", "\x00", "a\x00b", "\x7f", "\t", " ", " a", "a ", "a b", "a\tb", "\u0085", "\u2028",
	"#", "a#b", "?", "a?b=c", "?admin=true", "&", "a&admin=true", "=", "a=b", "&color=other", "+", "a+b", ",", "a,b", "|", "a|b", "[", "]", "a]", "[admin]", "color[x]=1", "!", "'", "\"", "<>", "{}", "{color}", "$", "@host", "x@evil.example", ":80", "http://evil.example/", "//evil.example/x", "\ufeff", "*", "~", "`", "^",
	"é", "日本", "😀", "/", "．．", "∕", "․․", "e\u0301", "\u202e", "ſ", "K", strings.Repeat("a", 200), strings.Repeat("a", 20_000), strings.Repeat("../", 500), strings.Repeat("%", 300), "__proto__", "constructor", "null", "true", "-1", "1e999", "0x10", "NaN",
}

// place is where a hostile value is tried: a document's parameter or body, the arguments that hold the value, and what has to come of
// it when it is not refused.
type place struct {
	name, doc string
	args      func(v string) string
	// want says what path (three segments, decoded), query (pairs, decoded), one header and body must be.
	want func(v string) intended
}

type intended struct {
	segment, header, cookie, body string
	sep                           string // what separates elements where it has no escape,
	times                         int    // and how often it may stand there
	query                         [][2]string
}

func places() []place {
	scalarArgs := func(v string) string { return `{"color":` + quote(v) + `,"keep":"k","X-Keep":"h"}` }
	listArgs := func(v string) string { return `{"color":["first",` + quote(v) + `],"keep":"k","X-Keep":"h"}` }
	objectArgs := func(v string) string { return `{"color":{"R":` + quote(v) + `},"keep":"k","X-Keep":"h"}` }
	bodyArgs := func(v string) string { return `{"body":{"a":` + quote(v) + `},"keep":"k","X-Keep":"h"}` }
	record := `{"type":"object","properties":{"R":{"type":"string"},"S":{"type":"string"}}}`
	path := func(style, explode, schema string) string {
		return one("3.1.0", "get", "/a/{color}/z", placed("path", style, explode, schema))
	}
	in := func(where, style, explode, schema string) string {
		return one("3.1.0", "get", "/a/x/z", placed(where, style, explode, schema))
	}
	body := func(content string) string {
		return strings.Replace(one("3.1.0", "post", "/a/x/z", ""), `"responses"`, `"requestBody":{"required":true,"content":{`+content+`}},"responses"`, 1)
	}
	seg := func(f func(v string) string) func(string) intended {
		return func(v string) intended { return intended{segment: f(v)} }
	}
	pairs := func(f func(v string) [][2]string) func(string) intended {
		return func(v string) intended { return intended{segment: "x", query: f(v)} }
	}
	head := func(f func(v string) string) func(string) intended {
		return func(v string) intended { return intended{segment: "x", header: f(v)} }
	}
	return []place{
		{"path simple", path("simple", "", aString), scalarArgs, seg(func(v string) string { return v })},
		{"path label", path("label", "", aString), scalarArgs, seg(func(v string) string { return "." + v })},
		{"path matrix", path("matrix", "", aString), scalarArgs, seg(func(v string) string { return ";color=" + v })},
		{"path simple array", path("simple", "", anArray), listArgs, seg(func(v string) string { return "first," + v })},
		{"path label array exploded", path("label", "true", anArray), listArgs, func(v string) intended { return intended{segment: ".first." + v, sep: ".", times: 2} }},
		{"path matrix array exploded", path("matrix", "true", anArray), listArgs, seg(func(v string) string { return matrix(";color=first;color", v) })},
		{"path simple object", path("simple", "true", record), objectArgs, seg(func(v string) string { return "R=" + v })},
		{"path matrix object", path("matrix", "true", record), objectArgs, seg(func(v string) string { return matrix(";R", v) })},
		{"query form", in("query", "form", "", aString), scalarArgs, pairs(func(v string) [][2]string { return [][2]string{{"color", v}} })},
		{"query form array exploded", in("query", "form", "true", anArray), listArgs, pairs(func(v string) [][2]string { return [][2]string{{"color", "first"}, {"color", v}} })},
		{"query form array", in("query", "form", "false", anArray), listArgs, pairs(func(v string) [][2]string { return [][2]string{{"color", "first," + v}} })},
		{"query form object exploded", in("query", "form", "true", record), objectArgs, pairs(func(v string) [][2]string { return [][2]string{{"R", v}} })},
		{"query space", in("query", "spaceDelimited", "", anArray), listArgs, func(v string) intended {
			return intended{segment: "x", query: [][2]string{{"color", "first " + v}}, sep: " ", times: 1}
		}},
		{"query pipe", in("query", "pipeDelimited", "", anArray), listArgs, func(v string) intended {
			return intended{segment: "x", query: [][2]string{{"color", "first|" + v}}, sep: "|", times: 1}
		}},
		{"query deep", in("query", "deepObject", "", record), objectArgs, pairs(func(v string) [][2]string { return [][2]string{{"color[R]", v}} })},
		{"query deep, the name", in("query", "deepObject", "", `{"type":"object"}`), func(v string) string { return `{"color":{` + quote(v) + `:"1"},"keep":"k","X-Keep":"h"}` },
			func(v string) intended {
				return intended{segment: "x", query: [][2]string{{"color[" + v + "]", "1"}}, sep: "[", times: 1}
			}},
		{"query JSON", one("3.1.0", "get", "/a/x/z", `,{"name":"color","in":"query","required":true,"content":{"application/json":{"schema":{}}}}`), objectArgs,
			pairs(func(v string) [][2]string { return [][2]string{{"color", `{"R":` + quote(v) + `}`}} })},
		{"header", in("header", "", "", aString), scalarArgs, head(func(v string) string { return v })},
		{"header array", in("header", "", "", anArray), listArgs, func(v string) intended { return intended{segment: "x", header: "first," + v, sep: ",", times: 1} }},
		{"header object", in("header", "", "true", record), objectArgs, func(v string) intended { return intended{segment: "x", header: "R=" + v, sep: "=", times: 1} }},
		{"cookie", in("cookie", "", "", aString), scalarArgs, func(v string) intended { return intended{segment: "x", cookie: v} }},
		{"body JSON", body(`"application/json":{}`), bodyArgs, func(v string) intended { return intended{segment: "x", body: `{"a":` + quote(v) + `}`} }},
		{"body form", body(`"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{"a":{"type":"string"}}}}`), bodyArgs, func(v string) intended { return intended{segment: "x", body: "a=" + v} }},
		{"body text", body(`"text/plain":{"schema":{"type":"string"}}`), func(v string) string { return `{"body":` + quote(v) + `,"keep":"k","X-Keep":"h"}` }, func(v string) intended { return intended{segment: "x", body: v} }},
		{"body multipart", body(`"multipart/form-data":{"schema":{"type":"object","properties":{"a":{"type":"string"}}}}`), bodyArgs, func(v string) intended {
			return intended{segment: "x", body: "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + v + "\r\n--B--\r\n"}
		}},
		{"body multipart, the name", body(`"multipart/form-data":{"schema":{"type":"object"}}`), func(v string) string { return `{"body":{` + quote(v) + `:"1"},"keep":"k","X-Keep":"h"}` }, func(v string) intended {
			return intended{segment: "x", body: "--B\r\nContent-Disposition: form-data; name=\"" + v + "\"\r\n\r\n1\r\n--B--\r\n"}
		}},
	}
}

func matrix(name, v string) string {
	if v == "" {
		return name
	}
	return name + "=" + v
}

// TestNoArgumentLeavesItsPlace answers CVE-2026-29791, injection into path, query and headers from a tool's arguments: whatever a value is, it is refused, or the request that reaches the API has the intended method, path,
// parameters, headers and body, and the value in its place alone. The API reads bytes.
func TestNoArgumentLeavesItsPlace(t *testing.T) {
	cases, refused := 0, 0
	for _, p := range places() {
		a := newAPI(t)
		s := serving(t, a, p.doc)
		for _, v := range hostile {
			cases++
			r, err := call(t, s, "op", p.args(v))
			if err != nil {
				t.Errorf("%s %.60q: %v", p.name, v, err)
				continue
			}
			got := a.take()
			if r.IsError {
				if refused++; len(got) != 0 {
					t.Errorf("%s %.60q: %s, and yet %+v came", p.name, v, r.text(), got)
				}
				continue
			}
			if len(got) != 1 {
				t.Errorf("%s %.60q: %d requests came", p.name, v, len(got))
				continue
			}
			for _, wrong := range differs(t, got[0], p.want(v)) {
				t.Errorf("%s %.60q: %s", p.name, v, wrong)
			}
		}
	}
	if t.Logf("%d cases, %d refused", cases, refused); cases < 200 || refused < 200 || refused > cases*2/3 {
		t.Errorf("of %d cases %d are refused: that is no test", cases, refused)
	}
}

// differs says where a request is not the intended one. It reads with net/url's decoder, and not with anything of ours.
func differs(t *testing.T, got sent, want intended) (wrong []string) {
	t.Helper()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	method := "GET"
	if want.body != "" || strings.HasPrefix(got.line, "POST") {
		method = "POST"
	}
	words := strings.Split(got.line, " ")
	if len(words) != 3 || words[0] != method || words[2] != "HTTP/1.1" || strings.ContainsAny(got.line, "#\\\t\r\x00") {
		say("the request line is %.200q", got.line)
		return wrong
	}
	path, query := got.target()
	segments := strings.Split(path, "/")
	if len(segments) != 4 || segments[0] != "" || segments[1] != "a" || segments[3] != "z" {
		say("the path is %.200q", path)
	} else if is := decoded(t, segments[2]); is != want.segment {
		say("the segment is %.200q, want %.200q", is, want.segment)
	}
	for range 4 { // a server that unescapes once more, and one that does it again, must find no other path
		path = lenient(path)
		if strings.Count(path, "/") != 3 || strings.ContainsAny(path, "\\\x00\r\n") || slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." }) {
			say("read leniently the path is %.200q", path)
			break
		}
	}
	var pairs [][2]string
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err != nil || err2 != nil {
			say("the query is %.200q", query)
		}
		pairs = append(pairs, [2]string{n, v})
	}
	if wanted := append([][2]string{{"keep", "k"}}, want.query...); !slices.Equal(pairs, wanted) {
		say("the query has %.200q, want %.200q", pairs, wanted)
	}
	all := want.segment + want.header
	for _, pair := range want.query {
		all += pair[0] + pair[1]
	}
	if want.sep != "" && strings.Count(all, want.sep) > want.times {
		say("there are more elements than were given: %.200q", all)
	}
	return append(wrong, differsBelow(t, got, want)...)
}

// lenient unescapes what can be unescaped, and leaves the rest as it is.
func lenient(s string) string {
	return regexp.MustCompile("%[0-9A-Fa-f]{2}").ReplaceAllStringFunc(s, func(e string) string {
		plain, _ := url.PathUnescape(e)
		return plain
	})
}

// differsBelow looks at what follows the request line.
func differsBelow(t *testing.T, got sent, want intended) (wrong []string) {
	t.Helper()
	names := []string{"Accept", "Accept-Encoding", "Host", "User-Agent", "X-Keep"}
	if strings.HasPrefix(got.line, "POST") {
		names = append(names, "Content-Length", "Content-Type")
	}
	if got.value("Color") != "" || want.header != "" || strings.Contains(strings.Join(got.header, "\n"), "Color:") {
		names = append(names, "Color")
	}
	if want.cookie != "" || got.value("Cookie") != "" {
		names = append(names, "Cookie")
	}
	is := got.names()
	slices.Sort(is)
	slices.Sort(names)
	if !slices.Equal(is, names) {
		wrong = append(wrong, fmt.Sprintf("the headers are %.300q", got.header))
	}
	if got.value("Color") != want.header || got.value("X-Keep") != "h" || !strings.HasPrefix(got.value("Host"), "127.0.0.1:") {
		wrong = append(wrong, fmt.Sprintf("the headers hold %.300q", got.header))
	}
	if name, value, _ := strings.Cut(got.value("Cookie"), "="); got.value("Cookie") != "" && (name != "color" || decoded(t, value) != want.cookie || strings.ContainsAny(value, "; ,\"")) {
		wrong = append(wrong, fmt.Sprintf("the cookie is %.200q", got.value("Cookie")))
	}
	body := got.body
	switch kind := got.value("Content-Type"); {
	case kind == "application/x-www-form-urlencoded":
		if strings.ContainsAny(body, "&;\r\n") || strings.Count(body, "=") != 1 {
			wrong = append(wrong, fmt.Sprintf("the form is %.200q", body))
		}
		body = decoded(t, body)
	case strings.HasPrefix(kind, "multipart/"):
		_, boundary, _ := strings.Cut(kind, "boundary=")
		if line := strings.Split(body, "\r\n")[1]; strings.Count(line, `"`) != 2 || !strings.HasSuffix(line, `"`) || strings.ContainsAny(line, "\r\n") {
			wrong = append(wrong, fmt.Sprintf("the part's head is %.200q", line))
		}
		body = strings.ReplaceAll(body, "--"+boundary, "--B")
	}
	if body != want.body {
		wrong = append(wrong, fmt.Sprintf("the body is %.200q, want %.200q", body, want.body))
	}
	return wrong
}

// TestValuesOfAnotherKindAreRefused: nothing is written that the document has no form for, whether or not the gateway's own check of
// arguments stood before it.
func TestValuesOfAnotherKindAreRefused(t *testing.T) {
	record := `{"type":"object","properties":{"R":{"type":"string"}}}`
	for _, p := range []struct{ in, style, schema, kinds string }{
		{"path", "", aString, "scalar"}, {"path", "label", aString, "scalar"}, {"path", "matrix", anArray, "array"}, {"path", "", record, "object"},
		{"query", "", aString, "scalar"}, {"query", "", anArray, "array"}, {"query", "", record, "object"}, {"query", "deepObject", record, "object"},
		{"query", "pipeDelimited", anArray, "array"}, {"header", "", aString, "scalar"}, {"header", "", anArray, "array"}, {"cookie", "", aString, "scalar"},
	} {
		a := newAPI(t)
		path := "/a/x/z"
		if p.in == "path" {
			path = "/a/{color}/z"
		}
		s := serving(t, a, one("3.1.0", "get", path, placed(p.in, p.style, "", p.schema)))
		for kind, values := range map[string][]string{
			"scalar": {`"x"`, `1`, `true`}, "array": {`["x"]`, `["x",1]`}, "object": {`{"R":"x"}`, `{"R":1}`},
			"none": {`null`, `[]`, `{}`, `[[]]`, `[["x"]]`, `[{"R":"x"}]`, `[null]`, `{"R":null}`, `{"R":["x"]}`, `{"R":{"S":"x"}}`},
		} {
			for _, v := range values {
				r, err := call(t, s, "op", `{"color":`+v+`}`)
				if got := a.take(); err != nil || r.IsError == (kind == p.kinds) || len(got) != 0 && r.IsError {
					t.Errorf("%s %s takes %s: %v %s %+v", p.in, p.style, v, err, r.text(), got)
				}
			}
		}
		for _, args := range []string{`{}`, `{"color":"x","evil":1}`, `{"color":["x"],"color2":1}`, `{"Color":"x"}`, `{"X-Keep":"x"}`} {
			if r, err := call(t, s, "op", args); err != nil || !r.IsError || len(a.take()) != 0 {
				t.Errorf("%s %s takes %s: %v %s", p.in, p.style, args, err, r.text())
			}
		}
	}
}

// TestAnExplodedObjectAddsNoParameter: its members are parameters to who reads the query, so none but declared ones may be.
func TestAnExplodedObjectAddsNoParameter(t *testing.T) {
	a := newAPI(t)
	s := serving(t, a, one("3.1.0", "get", "/a", placed("query", "form", "true", `{"type":"object","properties":{"R":{"type":"string"}},"additionalProperties":true}`)))
	for _, v := range hostile {
		if r, err := call(t, s, "op", `{"color":{`+quote(v)+`:"1"}}`); err != nil || !r.IsError || len(a.take()) != 0 {
			t.Errorf("%q: %v %s", v, err, r.text())
		}
	}
	for _, key := range []string{"keep", "admin", "r", "color"} {
		if r, err := call(t, s, "op", `{"color":{"R":"1","`+key+`":"1"}}`); err != nil || !r.IsError || len(a.take()) != 0 {
			t.Errorf("%q: %v %s", key, err, r.text())
		}
	}
}

// FuzzArgument tries any text in every place.
func FuzzArgument(f *testing.F) {
	type ready struct {
		place
		a *api
		s connector.Server
	}
	var all []ready
	for _, p := range places() {
		a := newAPI(f)
		all = append(all, ready{p, a, serving(f, a, p.doc)})
	}
	for i, v := range hostile {
		f.Add(v, byte(i))
	}
	f.Fuzz(func(t *testing.T, v string, which byte) {
		v = strings.ToValidUTF8(v, "?")
		p := all[int(which)%len(all)]
		r, err := call(t, p.s, "op", p.args(v))
		if err != nil {
			t.Fatal(err)
		}
		got := p.a.take()
		if r.IsError {
			if len(got) != 0 {
				t.Errorf("%s: %s, and yet %+v came", p.name, r.text(), got)
			}
			return
		}
		if len(got) != 1 {
			t.Fatalf("%s: %d requests came", p.name, len(got))
		}
		for _, wrong := range differs(t, got[0], p.want(v)) {
			t.Errorf("%s %q: %s", p.name, v, wrong)
		}
	})
}
