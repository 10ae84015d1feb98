package openapi_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// TestAnotherReaderOfTheDocumentReadsTheSame: what was written is read back by kin-openapi's validator of requests, from the same
// document. The schema there takes one value alone, so it passes only when it reads the very value that was given.
func TestAnotherReaderOfTheDocumentReadsTheSame(t *testing.T) {
	values := []string{"blue", "a b", "a&b=c", "a=b", "x#y?z", "50%", "%41", "a+b", "é€日本", "[x]", "a;b", "'\"<>", "true", "12", "~a_b-c", "{color}", ":@!$*()"}
	read := 0
	for _, style := range []struct{ in, style, explode, form string }{
		{"path", "simple", "false", "scalar"}, {"path", "label", "false", "scalar"}, {"path", "matrix", "false", "scalar"}, {"path", "simple", "false", "array"}, {"path", "matrix", "true", "array"}, {"path", "matrix", "false", "object"},
		{"query", "form", "true", "scalar"}, {"query", "form", "true", "array"}, {"query", "form", "true", "object"}, {"query", "spaceDelimited", "false", "array"}, {"query", "pipeDelimited", "false", "array"}, {"query", "deepObject", "true", "object"},
		{"header", "simple", "false", "scalar"}, {"header", "simple", "false", "array"}, {"header", "simple", "true", "object"}, // cookies it does not unescape
	} {
		for _, v := range values {
			path, args := "/a/z", quote(v)
			if style.in == "path" {
				path = "/a/{color}/z"
			}
			schema := `{"type":"string","enum":[` + quote(v) + `]}`
			switch style.form {
			case "array":
				schema, args = `{"type":"array","minItems":2,"maxItems":2,"items":{"type":"string","enum":["first",`+quote(v)+`]}}`, `["first",`+quote(v)+`]`
			case "object":
				schema, args = `{"type":"object","required":["R"],"properties":{"R":`+schema+`}}`, `{"R":`+quote(v)+`}`
			}
			doc := one("3.0.3", "get", path, placed(style.in, style.style, style.explode, schema))
			a := newAPI(t)
			r, err := call(t, serving(t, a, doc), "op", `{"color":`+args+`}`)
			if err != nil {
				t.Fatal(err)
			}
			if r.IsError {
				continue // what has no form there is refused
			}
			read++
			if err := referee(t, doc, path, a.take()[0]); err != nil {
				t.Errorf("%v %q: %v", style, v, err)
			}
		}
	}
	if t.Logf("%d requests are read back", read); read < 200 {
		t.Errorf("only %d requests are read back", read)
	}
}

func referee(t *testing.T, doc, path string, got sent) error {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(got.line + "\r\n" + strings.Join(got.header, "\r\n") + "\r\n\r\n")))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	item := spec.Paths.Value(path)
	in := &openapi3filter.RequestValidationInput{Request: req, Route: &routers.Route{Spec: spec, Path: path, PathItem: item, Method: "GET", Operation: item.Get}}
	if strings.Contains(path, "{") {
		segments := strings.Split(req.URL.EscapedPath(), "/")
		in.PathParams = map[string]string{"color": decoded(t, segments[2])} // as routers hand it on
	}
	return openapi3filter.ValidateRequest(t.Context(), in)
}
