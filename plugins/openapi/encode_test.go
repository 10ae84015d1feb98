package openapi_test

import (
	"fmt"
	"strings"
	"testing"
)

// one is a document with one operation, "op", that has one parameter beside a query parameter and a header that stay.
func one(version, method, path, param string) string {
	return fmt.Sprintf(`{"openapi":%q,"info":{"title":"t","version":"1"},"paths":{%q:{%q:{"operationId":"op","parameters":[
		{"name":"keep","in":"query","schema":{"type":"string"}},{"name":"X-Keep","in":"header","schema":{"type":"string"}}%s],
		"responses":{"200":{"description":"ok"}}}}}}`, version, path, method, param)
}

func placed(in, style, explode, schema string) string {
	s := fmt.Sprintf(`,{"name":"color","in":%q,"required":true,"schema":%s`, in, schema)
	if style != "" {
		s += fmt.Sprintf(`,"style":%q`, style)
	}
	if explode != "" {
		s += `,"explode":` + explode
	}
	return s + "}"
}

const (
	aString = `{"type":"string"}`
	anArray = `{"type":"array","items":{"type":"string"}}`
	aRecord = `{"type":"object","properties":{"R":{"type":"integer"},"G":{"type":"integer"},"B":{"type":"integer"}}}`
)

// TestStylesAreWrittenAsTheSpecificationHasThem: the table of OpenAPI 3.1.1, 4.8.12.6 ("Style Examples"), and what RFC 6570 says of
// characters that need an escape.
func TestStylesAreWrittenAsTheSpecificationHasThem(t *testing.T) {
	const array, record = `["blue","black","brown"]`, `{"R":100,"G":200,"B":150}`
	for _, c := range []struct{ in, style, explode, schema, value, want string }{
		{"path", "matrix", "false", aString, `"blue"`, "/a/;color=blue/z"},
		{"path", "matrix", "false", anArray, array, "/a/;color=blue,black,brown/z"},
		{"path", "matrix", "false", aRecord, record, "/a/;color=R,100,G,200,B,150/z"},
		{"path", "matrix", "true", aString, `"blue"`, "/a/;color=blue/z"},
		{"path", "matrix", "true", anArray, array, "/a/;color=blue;color=black;color=brown/z"},
		{"path", "matrix", "true", aRecord, record, "/a/;R=100;G=200;B=150/z"},
		{"path", "label", "false", aString, `"blue"`, "/a/.blue/z"},
		{"path", "label", "false", anArray, array, "/a/.blue,black,brown/z"},
		{"path", "label", "false", aRecord, record, "/a/.R,100,G,200,B,150/z"},
		{"path", "label", "true", anArray, array, "/a/.blue.black.brown/z"},
		{"path", "label", "true", aRecord, record, "/a/.R=100.G=200.B=150/z"},
		{"path", "simple", "false", aString, `"blue"`, "/a/blue/z"},
		{"path", "simple", "false", anArray, array, "/a/blue,black,brown/z"},
		{"path", "simple", "false", aRecord, record, "/a/R,100,G,200,B,150/z"},
		{"path", "simple", "true", anArray, array, "/a/blue,black,brown/z"},
		{"path", "simple", "true", aRecord, record, "/a/R=100,G=200,B=150/z"},
		{"path", "", "", `{"type":"integer"}`, `42`, "/a/42/z"},
		{"path", "", "", `{"type":"boolean"}`, `true`, "/a/true/z"},
		{"path", "", "", `{"type":"number"}`, `-1.5`, "/a/-1.5/z"},
		{"path", "", "", aString, `"50% of ~a_b-c.d é€"`, "/a/50%25%20of%20~a_b-c.d%20%C3%A9%E2%82%AC/z"},
		{"path", "", "", aString, `"a?b#c;d=e,f&g+h:i@j!k$l'm(n)*o"`, "/a/a%3Fb%23c%3Bd%3De%2Cf%26g%2Bh%3Ai%40j%21k%24l%27m%28n%29%2Ao/z"},
		{"path", "", "", anArray, `["a,b","c"]`, "/a/a%2Cb,c/z"},
		{"query", "", "", aString, `"blue"`, "?color=blue"},
		{"query", "form", "false", aString, `""`, "?color="},
		{"query", "form", "false", anArray, array, "?color=blue,black,brown"},
		{"query", "form", "false", aRecord, record, "?color=R,100,G,200,B,150"},
		{"query", "form", "true", anArray, array, "?color=blue&color=black&color=brown"},
		{"query", "form", "true", aRecord, record, "?R=100&G=200&B=150"},
		{"query", "spaceDelimited", "false", anArray, array, "?color=blue%20black%20brown"},
		{"query", "spaceDelimited", "", aRecord, record, "?color=R%20100%20G%20200%20B%20150"},
		{"query", "pipeDelimited", "false", anArray, array, "?color=blue%7Cblack%7Cbrown"},
		{"query", "pipeDelimited", "", aRecord, record, "?color=R%7C100%7CG%7C200%7CB%7C150"},
		{"query", "deepObject", "true", aRecord, record, "?color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"},
		{"query", "deepObject", "", aRecord, record, "?color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"},
		{"query", "", "", aString, `"a&b=c#d e+f/?[]"`, "?color=a%26b%3Dc%23d%20e%2Bf%2F%3F%5B%5D"},
		{"header", "simple", "false", aString, `"blue"`, "blue"},
		{"header", "simple", "false", anArray, array, "blue,black,brown"},
		{"header", "simple", "false", aRecord, record, "R,100,G,200,B,150"},
		{"header", "simple", "true", aRecord, record, "R=100,G=200,B=150"},
		{"header", "simple", "", aString, `"a b; c=\"d\", 50%"`, `a b; c="d", 50%`},
		{"cookie", "form", "", aString, `"a; b=c"`, "color=a%3B%20b%3Dc"},
	} {
		a := newAPI(t)
		path := "/a/z"
		if c.in == "path" {
			path = "/a/{color}/z"
		}
		s := serving(t, a, one("3.1.1", "get", path, placed(c.in, c.style, c.explode, c.schema)))
		if r, err := call(t, s, "op", `{"color":`+c.value+`}`); err != nil || r.IsError {
			t.Errorf("%s %s explode=%s %s: %v %s", c.in, c.style, c.explode, c.value, err, r.text())
			continue
		}
		got := a.take()[0]
		at, query := got.target()
		is := map[string]string{"path": at, "query": "?" + query, "header": got.value("Color"), "cookie": got.value("Cookie")}[c.in]
		if is != c.want {
			t.Errorf("%s %s explode=%s %s\n is %s\nnot %s", c.in, c.style, c.explode, c.value, is, c.want)
		}
	}
}

func TestWhatAStyleCannotWriteIsNoTool(t *testing.T) {
	for _, c := range []struct{ in, style, explode, schema, why string }{
		{"path", "form", "", aString, "is not one of a path parameter"},
		{"query", "simple", "", aString, "is not one of a query parameter"},
		{"header", "form", "", aString, "is not one of a header parameter"},
		{"query", "deepObject", "", aString, "cannot write"},
		{"query", "deepObject", "false", aRecord, "no form with explode = false"},
		{"query", "spaceDelimited", "true", anArray, "no form with explode = true"},
		{"query", "pipeDelimited", "", aString, "cannot write"},
		{"cookie", "", "", anArray, "cannot write"},
		{"query", "", "", `{"type":"object"}`, "declares no properties"},
		{"query", "", "", `{"type":["object","string"],"properties":{"a":{}}}`, "cannot be told"},
		{"query", "", "", `{"type":"object","properties":{"keep":{"type":"string"}}}`, "would have the name \"keep\""},
		{"body", "", "", aString, "no such place"},
	} {
		path := "/a"
		if c.in == "path" {
			path = "/{color}"
		}
		_, log, err := opened(t, one("3.1.0", "get", path, placed(c.in, c.style, c.explode, c.schema)), nil)
		if err == nil || !strings.Contains(log, c.why) {
			t.Errorf("%s %s explode=%s %s: %v, %s", c.in, c.style, c.explode, c.schema, err, log)
		}
	}
	for _, name := range []string{
		"Host", "cookie", "Connection", "CONTENT-LENGTH", "Transfer-Encoding", "Proxy-Authorization", "X-HTTP-Method-Override", "X-Forwarded-For", "Expect",
		"Upgrade", "Gatewright-Intent", "Gatewright-Credential", "Mcp-Session-Id", "X-CSRG-Path", "Te", "Via", "X Y", "X:Y", "X\\r\\nY", "",
	} {
		_, log, err := opened(t, one("3.1.0", "get", "/a", `,{"name":"`+name+`","in":"header","required":true,"schema":{"type":"string"}}`), nil)
		if err == nil || !strings.Contains(log, "GET /a is left out") {
			t.Errorf("the header %s can be an argument: %v %s", name, err, log)
		}
	}
	s, log, err := opened(t, one("3.1.0", "get", "/a", `,{"name":"Host","in":"header","schema":{"type":"string"}},{"name":"expand","in":"query","style":"deepObject","schema":`+anArray+`}`), nil)
	if err != nil || strings.Count(log, "GET /a is a tool without its ") != 2 {
		t.Fatal(err, log)
	}
	for _, args := range []string{`{"Host":"evil.example"}`, `{"expand":["x"]}`} {
		if r, err := call(t, s, "op", args); err != nil || !strings.Contains(r.text(), "there is no argument") {
			t.Errorf("%s: %v %s", args, err, r.text())
		}
	}
	for _, name := range []string{"Accept", "content-type", "Authorization"} { // "shall be ignored"
		s, log, err := opened(t, one("3.1.0", "get", "/a", `,{"name":"`+name+`","in":"header","schema":{"type":"string"}}`), nil)
		if err != nil || log != "" || strings.Contains(string(tools(t, s)["op"]["inputSchema"]), name) {
			t.Errorf("the header %s: %v %s", name, err, log)
		}
	}
}

// TestBodiesAreWrittenAsTheirMediaTypeSays, and a JSON body is the very bytes that were judged.
func TestBodiesAreWrittenAsTheirMediaTypeSays(t *testing.T) {
	record := `{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer"},"l":{"type":"array","items":{"type":"string"}},"o":{"type":"object","properties":{"x":{"type":"string"}}}}}`
	flat := `{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer"},"l":{"type":"array","items":{"type":"string"}}}}`
	for _, c := range []struct{ content, body, kind, want string }{
		{`"application/json":{"schema":` + record + `}`, `{ "n" : 1,"a":"\u0041/"}`, "application/json", `{ "n" : 1,"a":"\u0041/"}`},
		{`"application/xml":{},"application/json; charset=utf-8":{"schema":true}`, `[1, null]`, "application/json", `[1, null]`},
		{`"application/merge-patch+json":{"schema":` + record + `},"text/plain":{}`, `null`, "application/merge-patch+json", `null`},
		{`"application/x-www-form-urlencoded":{"schema":` + flat + `}`, `{"a":"x&y=z é+","n":7,"l":["p","q r"]}`, "application/x-www-form-urlencoded", `a=x%26y%3Dz%20%C3%A9%2B&n=7&l=p&l=q%20r`},
		{`"application/x-www-form-urlencoded":{"schema":` + record + `,"encoding":{"l":{"explode":false},"o":{"style":"deepObject"}}}`, `{"l":["p","q"],"o":{"x":"1"}}`, "application/x-www-form-urlencoded", `l=p,q&o%5Bx%5D=1`},
		{`"text/plain":{"schema":{"type":"string"}}`, `"a\r\nb: c"`, "text/plain; charset=utf-8", "a\r\nb: c"},
	} {
		a := newAPI(t)
		doc := strings.Replace(one("3.1.0", "post", "/a", ""), `"responses"`, `"requestBody":{"content":{`+c.content+`}},"responses"`, 1)
		s := serving(t, a, doc)
		if r, err := call(t, s, "op", `{"body":`+c.body+`}`); err != nil || r.IsError {
			t.Errorf("%s %s: %v %s", c.content, c.body, err, r.text())
			continue
		}
		if got := a.take()[0]; got.body != c.want || got.value("Content-Type") != c.kind {
			t.Errorf("%s is sent as %s: %q", c.body, got.value("Content-Type"), got.body)
		}
		if r, err := call(t, s, "op", `{}`); err != nil || r.IsError { // it is optional
			t.Errorf("without a body: %v %s", err, r.text())
		}
		if got := a.take()[0]; got.body != "" || got.value("Content-Type") != "" {
			t.Errorf("without a body: %+v", got)
		}
	}
}

func TestAMultipartFormHasAPartForEachField(t *testing.T) {
	a := newAPI(t)
	doc := strings.Replace(one("3.0.3", "post", "/a", ""), `"responses"`, `"requestBody":{"required":true,"content":{"multipart/form-data":{"schema":{"type":"object","properties":{
		"a":{"type":"string"},"l":{"type":"array","items":{"type":"string"}},"o":{"type":"object","properties":{"x":{"type":"string"}}}}}}}},"responses"`, 1)
	s := serving(t, a, doc)
	if r, err := call(t, s, "op", `{"body":{"a":"--x\r\nContent-Disposition: form-data; name=\"evil\"\r\n\r\n1","l":["p","q"],"o":{"x":"\n"}}}`); err != nil || r.IsError {
		t.Fatal(err, r.text())
	}
	got := a.take()[0]
	_, boundary, _ := strings.Cut(got.value("Content-Type"), "multipart/form-data; boundary=")
	parts := strings.Split(got.body, "--"+boundary)
	if len(boundary) < 20 || len(parts) != 6 || parts[0] != "" || parts[5] != "--\r\n" {
		t.Fatalf("%q in %q", boundary, got.body)
	}
	for i, want := range []string{
		"name=\"a\"\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"evil\"\r\n\r\n1\r\n", "name=\"l\"\r\n\r\np\r\n", "name=\"l\"\r\n\r\nq\r\n",
		"name=\"o\"\r\nContent-Type: application/json\r\n\r\n{\"x\":\"\\n\"}\r\n",
	} {
		if parts[i+1] != "\r\nContent-Disposition: form-data; "+want {
			t.Errorf("part %d is %q", i+1, parts[i+1])
		}
	}
	for _, args := range []string{`{}`, `{"body":{"evil":"1"}}`, `{"body":[]}`, `{"body":"x"}`} {
		if r, err := call(t, s, "op", args); err != nil || !r.IsError || len(a.take()) != 0 {
			t.Errorf("%s: %v %s", args, err, r.text())
		}
	}
}

func TestBodiesThatCannotBeWrittenAreNoTool(t *testing.T) {
	for content, why := range map[string]string{
		`"application/xml":{}`:                                           "no media type",
		`"application/octet-stream":{}`:                                  "no media type",
		`"application/json\r\nX: y":{}`:                                  "no media type",
		`"text/plain":{"schema":` + anArray + `}`:                        "plain text",
		`"application/x-www-form-urlencoded":{"schema":` + anArray + `}`: "more than objects",
		`"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{"o":` + aRecord + `}}}`:                     "is an object",
		`"multipart/form-data":{"schema":{"type":"object","properties":{"f":{"type":"string","format":"binary"}}}}`:               "files are not sent",
		`"multipart/form-data":{"schema":{"type":"object","properties":{"f":{"type":"string"}}},"encoding":{"f":{"headers":{}}}}`: "encoding of its own",
	} {
		doc := strings.Replace(one("3.1.0", "post", "/a", ""), `"responses"`, `"requestBody":{"required":true,"content":{`+content+`}},"responses"`, 1)
		if _, log, err := opened(t, doc, nil); err == nil || !strings.Contains(log, why) {
			t.Errorf("%s: %v, %s", content, err, log)
		}
	}
	doc := strings.Replace(one("3.1.0", "get", "/a", ""), `"responses"`, `"requestBody":{"required":true,"content":{"application/json":{}}},"responses"`, 1)
	if _, log, err := opened(t, doc, nil); err == nil || !strings.Contains(log, "GET or HEAD with a body") {
		t.Errorf("%v, %s", err, log)
	}
}

func TestALongRequestIsRefused(t *testing.T) {
	a := newAPI(t)
	s := serving(t, a, one("3.1.0", "get", "/a", placed("query", "", "", anArray)))
	for _, args := range []string{
		`{"color":["` + strings.Repeat("x", 9000) + `"]}`, `{"color":["a"],"X_Keep":"` + strings.Repeat("x", 3000) + `"}`,
		`{"color":["a"],"X-Keep":"` + strings.Repeat("x", 3000) + `"}`, `{"color":[` + strings.Repeat(`"",`, 1200) + `""]}`,
	} {
		if r, err := call(t, s, "op", args); err != nil || !r.IsError || len(a.take()) != 0 {
			t.Errorf("%.40s: %v %s", args, err, r.text())
		}
	}
}
