package openapi_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/plugins/openapi"
)

func pets(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/pets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func withKey(c *openapi.Config) { c.Credential, c.Scheme = true, "api_key" }

// TestADocumentBecomesTools: one as people write them, in YAML and of version 3.0.
func TestADocumentBecomesTools(t *testing.T) {
	s, log, err := opened(t, pets(t), withKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"POST /pets/{petId}/photo is left out: its body is of no media type", "GET /elsewhere is left out: it names servers of its own",
		"GET /other is left out: it asks for a security scheme", "GET /remote is left out: the $ref \"https://evil.example/p.json\" leads outside",
		"GET /loop is a tool without its query parameter \"a\": the $ref \"#/components/schemas/Loop\" leads back to itself",
		"GET /twin/a is left out: another operation would be the tool twin", "GET /twin/b is left out: another operation would be the tool twin",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	if n := strings.Count(log, "\n"); n != 7 {
		t.Errorf("%d operations are left out:\n%s", n, log)
	}
	got := tools(t, s)
	if string(got["loop"]["inputSchema"]) != `{"additionalProperties":false,"properties":{},"type":"object"}` {
		t.Errorf("loop is %s", got["loop"]["inputSchema"])
	}
	delete(got, "loop")
	pet := `"Pet":{"properties":{"born":{"default":"2020-01-01","format":"date","type":"string"},"name":{"type":"string"},` +
		`"price":{"exclusiveMaximum":100,"type":"number"},"status":{"$ref":"#/$defs/Status"},"tag":{"enum":["good","bad",null],"type":["string","null"]}},` +
		`"required":["name"],"type":"object"},"Status":{"enum":["available","sold"],"type":"string"}`
	for name, want := range map[string][3]string{
		"listPets": {
			"List pets\n\nNewest first.", `{"readOnlyHint":true,"openWorldHint":true}`,
			`{"$defs":{"Status":{"enum":["available","sold"],"type":"string"}},"additionalProperties":false,"properties":{"X-Trace-Id":{"maxLength":40,"type":"string"},` +
				`"filter":{"properties":{"minAge":{"type":"integer"},"name":{"type":"string"}},"type":"object"},"page":{"exclusiveMinimum":0,"type":"integer"},` +
				`"status":{"description":"Which ones.","items":{"$ref":"#/$defs/Status"},"type":"array"}},"type":"object"}`,
		},
		"add_pet": {
			"Add a pet", `{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":false,"openWorldHint":true}`,
			`{"$defs":{` + pet + `},"additionalProperties":false,"properties":{"body":{"$ref":"#/$defs/Pet","description":"The pet."}},"required":["body"],"type":"object"}`,
		},
		"get_pets_petId": {
			"One pet", `{"readOnlyHint":true,"openWorldHint":true}`,
			`{"additionalProperties":false,"properties":{"petId":{"description":"Its number.","format":"int64","type":"integer"}},"required":["petId"],"type":"object"}`,
		},
		"replacePet": {
			"PUT /pets/{petId}", `{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true,"openWorldHint":true}`,
			`{"$defs":{` + pet + `},"additionalProperties":false,"properties":{"body":{"$ref":"#/$defs/Pet","description":"The pet."},` +
				`"petId":{"description":"Its number.","format":"int64","type":"integer"}},"required":["petId","body"],"type":"object"}`,
		},
		"deletePet": {
			"DELETE /pets/{petId}", `{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true,"openWorldHint":true}`,
			`{"additionalProperties":false,"properties":{"petId":{"description":"Its number.","format":"int64","type":"integer"}},"required":["petId"],"type":"object"}`,
		},
		"hasPet": {
			"HEAD /pets/{petId}", `{"readOnlyHint":true,"openWorldHint":true}`,
			`{"additionalProperties":false,"properties":{"petId":{"description":"Its number.","format":"int64","type":"integer"}},"required":["petId"],"type":"object"}`,
		},
		"plantTree": {
			"POST /trees", `{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":false,"openWorldHint":true}`,
			`{"$defs":{"Tree":{"properties":{"branches":{"items":{"$ref":"#/$defs/Tree"},"type":"array"},"name":{"type":"string"}},"type":"object"}},` +
				`"additionalProperties":false,"properties":{"body":{"$ref":"#/$defs/Tree"}},"type":"object"}`,
		},
	} {
		tool := got[name]
		if string(tool["description"]) != quote(want[0]) || string(tool["annotations"]) != want[1] || string(tool["inputSchema"]) != want[2] {
			t.Errorf("%s is\n%s\n%s\n%s\nwant\n%s\n%s\n%s", name, tool["description"], tool["annotations"], tool["inputSchema"], quote(want[0]), want[1], want[2])
		}
		delete(got, name)
	}
	if len(got) != 0 {
		t.Errorf("and there are %v", got)
	}
}

// TestSchemasOf31AreTaken: in their own words, and their references with what stands beside them.
func TestSchemasOf31AreTaken(t *testing.T) {
	schema := `{"$ref":"#/components/schemas/A","minLength":2,"type":["string","null"],"examples":["x"],"x-y":1}`
	doc := strings.Replace(one("3.1.1", "get", "/a", `,{"name":"p[0]","in":"query","schema":`+schema+`},{"name":"body","in":"query","schema":true},{"name":"p","in":"header","schema":{"const":1}},{"name":"p","in":"query","schema":{"exclusiveMinimum":1}}`),
		`"paths"`, `"jsonSchemaDialect":"https://spec.openapis.org/oas/3.1/dialect/base","components":{"schemas":{"A":{"type":["string","null"],"prefixItems":[true]}}},"paths"`, 1)
	s, log, err := opened(t, doc, nil)
	if err != nil || log != "" {
		t.Fatal(err, log)
	}
	want := `{"$defs":{"A":{"prefixItems":[true],"type":["string","null"]}},"additionalProperties":false,"properties":{"X-Keep":{"type":"string"},"header_p":{"const":1},"keep":{"type":"string"},` +
		`"p_0":{"$ref":"#/$defs/A","minLength":2,"type":["string","null"]},"query_body":true,"query_p":{"exclusiveMinimum":1}},"type":"object"}`
	if got := string(tools(t, s)["op"]["inputSchema"]); got != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}

func TestADocumentThatIsNotUnderstoodIsRefused(t *testing.T) {
	bomb := "openapi: 3.0.0\na: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
	for doc, why := range map[string]string{
		"": "EOF", "[]": "not an object", "a": "not an object", `{"openapi":"2.0"}`: "3.0 and 3.1", `{"swagger":"2.0"}`: "3.0 and 3.1", `{"openapi":"3.10.0"}`: "3.0 and 3.1", `{"openapi":"3.0.0"}`: "no paths",
		`{"openapi":"3.0.0","openapi":"3.1.0"}`: "twice", `{"openapi":"3.0.0"} {}`: "follows", `{"openapi":"3.0.0"`: "not JSON", "openapi: 3.0.0\nopenapi: 3.1.0": "twice", "openapi: 3.0.0\n---\na: b": "more than one",
		"\xff": "UTF-8", bomb: "too many values", "a: &a [*a]": "", "openapi: 3.0.0\n<<: {paths: {}}": "merge keys", "openapi: !!binary aGk=": "tag", "openapi: !x 3.0.0": "tag", "a: .nan": "number", "? [a]\n: b": "not a plain text",
		strings.Repeat("[", 100) + strings.Repeat("]", 100):                      "too deeply",
		`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`:      "too deeply",
		`{"a":[` + strings.Repeat("1,", 100_000) + `1]}`:                         "too many values",
		`{"openapi":"3.0.0","paths":{},"jsonSchemaDialect":"https://x.example"}`: "jsonSchemaDialect", `{"openapi":"3.1.0","paths":{}}`: "no operation",
		strings.Repeat("#", 5<<20): "larger than",
	} {
		if _, log, err := opened(t, doc, nil); err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: %v %s", doc, err, log)
		}
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"/%d":{"get":{}}`, i)
		}
		return `{"openapi":"3.1.0","paths":{` + strings.TrimPrefix(b.String(), ",") + `}}`
	}
	if _, _, err := opened(t, many(500), nil); err != nil {
		t.Error(err)
	}
	if _, _, err := opened(t, many(501), nil); err == nil || !strings.Contains(err.Error(), "max_operations") {
		t.Error(err)
	}
	if _, _, err := opened(t, many(1), func(c *openapi.Config) { c.Document = "/nonexistent/folder/api.yaml" }); err == nil || strings.Contains(err.Error(), "folder") || !strings.Contains(err.Error(), "api.yaml: no such file") {
		t.Errorf("a document that is not there: %v", err)
	}
	sum := sha256.Sum256([]byte(many(1)))
	if _, _, err := opened(t, many(1), func(c *openapi.Config) { c.SHA256 = sum[:] }); err != nil {
		t.Error(err)
	}
	if _, _, err := opened(t, many(2), func(c *openapi.Config) { c.SHA256 = sum[:] }); err == nil || !strings.Contains(err.Error(), "pinned") {
		t.Error(err)
	}
}

func TestAnOperationThatIsNotUnderstoodIsLeftOut(t *testing.T) {
	query := func(schema string) string {
		return one("3.1.0", "get", "/a", `,{"name":"q","in":"query","required":true,"schema":`+schema+`}`)
	}
	refs := func(n int) string {
		var list, defs []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"$ref":"#/components/schemas/S%d"}`, i))
			defs = append(defs, fmt.Sprintf(`"S%d":{"type":"string"}`, i))
		}
		return strings.Replace(query(`{"anyOf":[`+strings.Join(list, ",")+`]}`), `"paths"`, `"components":{"schemas":{`+strings.Join(defs, ",")+`}},"paths"`, 1)
	}
	if _, log, err := opened(t, refs(200), nil); err != nil || log != "" {
		t.Error(err, log)
	}
	for doc, why := range map[string]string{
		refs(201): "max_refs", query(`{"$ref":"#/nowhere"}`): "leads to nothing", query(`{"$ref":"other.yaml#/x"}`): "outside of the document", query(`{"$ref":"/etc/passwd"}`): "outside of the document", query(`{"$ref":7}`): "not a text",
		query(`{"$id":"x","type":"string"}`): "$id", query(`{"$dynamicRef":"#x"}`): "$dynamicRef", query(`7`): "neither an object", query(`{"enum":[9007199254740993]}`): "readers of JSON do not agree",
		query(`{"enum":["` + strings.Repeat("x", 70_000) + `"]}`): "max_schema",
		one("3.0.0", "get", "/a/{b}", ""):                         "no parameter fills it", one("3.0.0", "get", "/a", `,{"name":"b","in":"path","schema":{}}`): "no place", one("3.0.0", "get", "/{b}/{b}", ""): "twice", one("3.0.0", "get", "/{b", ""): "not closed", one("3.0.0", "get", "/{}", ""): "no name",
		one("3.0.0", "get", "/a/../b", ""): "dot segments", one("3.0.0", "get", "/a//b", ""): "empty ones", one("3.0.0", "get", "/a/%2e%2e/b", ""): "dot segments", one("3.0.0", "get", "/a?b=c", ""): "ends a path", one("3.0.0", "get", "/a#b", ""): "ends a path", one("3.0.0", "get", "a", ""): "begins with /",
		one("3.0.0", "get", "/a%2fb", ""): "escaped wrongly", one("3.0.0", "get", "/a%zz", ""): "escaped wrongly", one("3.0.0", "get", "/a\\nb", ""): "none that can be shown", one("3.0.0", "trace", "/a", ""): "asks for the request back",
		one("3.0.0", "get", "/a", `,{"name":"keep","in":"query","schema":{}}`): "stands there twice", one("3.0.0", "get", "/a", `,{"name":"x-keep","in":"header","schema":{}}`): "stands there twice", one("3.0.0", "get", "/a", `,{"name":"q","in":"query","required":true}`): "no schema",
		one("3.0.0", "get", "/a", `,{"name":"a b","in":"query","schema":{}},{"name":"a_b","in":"query","schema":{}},{"name":"query a b","in":"query","schema":{}}`): "would be the argument",
		one("3.0.0", "get", "/a", `,{"name":"q","in":"query","required":true,"content":{"application/xml":{}}}`):                                                    "is not JSON", one("3.0.0", "get", "/a", `,7`): "not an object",
		`{"openapi":"3.0.0","paths":{"/a":{"get":{"$ref":"a.yaml"}}}}`: "outside of the document", `{"openapi":"3.0.0","paths":{"/a":{"get":{"$ref":"#/x"}}}}`: "leads to nothing",
		`{"openapi":"3.0.0","paths":{"/a":{"get":{"servers":[{"url":"https://evil.example"}]}}}}`: "servers of its own",
		`{"openapi":"3.0.0","paths":{"/a":{"$ref":"a.yaml"}}}`:                                    "outside of the document", `{"openapi":"3.0.0","paths":{"/a":{"get":{"parameters":7}}}}`: "no list",
		strings.Replace(one("3.0.0", "get", "/a", ""), `"op"`, `"`+strings.Repeat("x", 129)+`"`, 1): "longer than 128",
	} {
		if _, log, err := opened(t, doc, nil); err == nil || !strings.Contains(log, why) || strings.Count(log, "\n") != 1 {
			t.Errorf("%.200s, which should say %q: %v %s", doc, why, err, log)
		}
	}
}

// TestSchemasThatDoubleAreGivenUp: 40 levels of two references each are 2^40 looks.
func TestSchemasThatDoubleAreGivenUp(t *testing.T) {
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"S%d":{"allOf":[{"$ref":"#/components/schemas/S%d"},{"$ref":"#/components/schemas/S%d"}]}`, i, i+1, i+1))
	}
	defs = append(defs, `"S40":{"type":"object","properties":{"a":{"type":"string"}}}`)
	doc := strings.Replace(one("3.1.0", "get", "/a", placed("query", "form", "true", `{"$ref":"#/components/schemas/S0"}`)), `"paths"`, `"components":{"schemas":{`+strings.Join(defs, ",")+`}},"paths"`, 1)
	doc = strings.Replace(doc, `"paths":{`, `"paths":{"/b":{"get":{}},`, 1)
	s, log, err := opened(t, doc, nil)
	if err != nil || len(tools(t, s)) != 1 || !strings.Contains(log, "GET /a is left out: its schemas refer to each other too often") {
		t.Errorf("%v %s", err, log)
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	doc := one("3.1.0", "get", "/a", "")
	for _, u := range []string{"", "a.example", "file:///etc", "ftp://a.example", "https://", "https://u:hunter2@a.example", "https://a.example?b", "https://a.example/?", "https://a.example/#x", "https://a.example#", "https://a.example/../b", "https://a.example/a//b", "https://a.example/%2e%2e", "https://a b.example"} {
		if _, _, err := opened(t, doc, func(c *openapi.Config) { c.URL = u }); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", u, err)
		}
	}
	a := newAPI(t)
	for suffix, want := range map[string]string{"": "/a", "/": "/a", "/v1": "/v1/a", "/v1/": "/v1/a", "/v%201": "/v%201/a"} {
		s, _, err := opened(t, doc, func(c *openapi.Config) { c.URL = a.url + suffix })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call(t, s, "op", `{}`); err != nil {
			t.Fatal(err)
		}
		if got := a.take(); len(got) != 1 || got[0].line != "GET "+want+" HTTP/1.1" {
			t.Errorf("%q: %+v", suffix, got)
		}
	}
}

// TestTheDocumentSaysNothingOfWhereAndWithWhat: its servers are not read, and neither is a default of its own for a credential.
func TestTheDocumentSaysNothingOfWhereAndWithWhat(t *testing.T) {
	a := newAPI(t)
	s, _, err := opened(t, pets(t), func(c *openapi.Config) { withKey(c); c.URL = a.url })
	if err != nil {
		t.Fatal(err)
	}
	key := [2]string{openapi.CredentialHeader, "k-123456"}
	for tool, args := range map[string]string{"get_pets_petId": `{"petId":7}`, "plantTree": `{"body":{}}`} {
		if r, err := call(t, s, tool, args, key); err != nil || r.IsError {
			t.Fatal(err, r.text())
		}
		if got := a.take(); len(got) != 1 || got[0].value("Api_key") != "k-123456" || slices.Contains(got[0].names(), openapi.CredentialHeader) {
			t.Errorf("%s: %+v", tool, got)
		}
	}
	if r, err := call(t, s, "listPets", `{"status":["sold"]}`, key); err != nil || r.IsError {
		t.Fatal(err, r.text())
	}
	if got := a.take(); len(got) != 1 || got[0].value("Api_key") != "" { // its security is []
		t.Errorf("%+v", got)
	}
	if r, err := call(t, s, "get_pets_petId", `{"petId":7,"api_key":"mine"}`, key); err != nil || !r.IsError || len(a.take()) != 0 {
		t.Error("an argument takes the credential's place")
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(pets(f))
	f.Add(one("3.1.0", "get", "/a/{color}", placed("path", "matrix", "true", anArray)))
	f.Add("openapi: 3.0.0\npaths: {/a: {get: {parameters: [{name: a, in: query, schema: {$ref: '#/paths'}}]}}}")
	f.Fuzz(func(t *testing.T, doc string) {
		s, log, err := opened(t, doc, func(c *openapi.Config) { c.Limits.Values = 2000 })
		if err != nil && (strings.ContainsAny(err.Error(), "\x00") || log != "" && !strings.HasSuffix(log, "\n")) {
			t.Errorf("%v %q", err, log)
		}
		if err == nil && len(tools(t, s)) == 0 {
			t.Error("a server without tools")
		}
	})
}
