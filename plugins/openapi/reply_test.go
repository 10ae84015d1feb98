package openapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/openapi"
)

func kind(media string) string { return "Content-Type: " + media + "\r\n" }

func TestAnswersBecomeResults(t *testing.T) {
	a := newAPI(t)
	s, _, err := opened(t, one("3.1.0", "get", "/a", ""), func(c *openapi.Config) { c.URL, c.Limits.Binary = a.url, 8 })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status           int
		head, body, text string
		structured       string
		failed           bool
	}{
		{200, kind("application/json"), `{"a": [1]}`, `{"a":[1]}`, `{"a":[1]}`, false},
		{200, kind("application/problem+json; charset=utf-8"), `{"a":1}`, `{"a":1}`, `{"a":1}`, false},
		{200, kind("application/json"), `[1,2]`, `[1,2]`, "", false},
		{201, kind("application/json"), `"x"`, `"x"`, "", false},
		{200, kind("application/json"), `{"a":1,"a":2}`, `{"a":1,"a":2}`, "", false},
		{200, kind("application/json"), `{"id":9007199254740993}`, `{"id":9007199254740993}`, "", false},
		{200, kind("application/json"), `{"a":`, `{"a":`, "", false},
		{200, kind("text/html"), "<p>é</p>", "<p>é</p>", "", false},
		{200, kind("application/xml"), "<p/>", "<p/>", "", false},
		{204, "", "", "HTTP 204 No Content", "", false},
		{200, kind("text/plain"), "", "HTTP 200 OK", "", false},
		{200, kind("application/json") + "Set-Cookie: session=secret\r\nLocation: https://x\r\n", `{}`, `{}`, `{}`, false},
		{200, kind("application/json") + "Content-Encoding: identity\r\n", `{}`, `{}`, `{}`, false},
		{404, kind("application/json"), `{"error":"no such pet"}`, "HTTP 404 Not Found\n" + `{"error":"no such pet"}`, "", true},
		{500, kind("image/png"), "\xff\xfe", "HTTP 500 Internal Server Error\n(a body of 2 bytes that are no text is left out)", "", true},
		{503, "", "", "HTTP 503 Service Unavailable", "", true},
		{599, kind("text/plain"), "x", "HTTP 599\nx", "", true},
		{302, "Location: http://169.254.169.254/?token=secret\r\n", "", "HTTP 302: the API answers with a redirect, and none is followed", "", true},
		{400, kind("text/plain"), strings.Repeat("é", 10_000), "HTTP 400 Bad Request\n" + strings.Repeat("é", (16<<10)/2-2) + "...", "", true},
	} {
		a.answers(c.status, c.head, c.body)
		r, err := call(t, s, "op", `{}`)
		if err != nil || r.text() != c.text || string(r.StructuredContent) != c.structured || r.IsError != c.failed {
			t.Errorf("%d %s %.60q: %v %.200q %s %v", c.status, c.head, c.body, err, r.text(), r.StructuredContent, r.IsError)
		}
	}
	if n := len(a.take()); n != 19 {
		t.Errorf("%d requests came: a redirect was followed, or something sent again", n)
	}
	a.answers(200, kind("image/png"), "\x89PNG\xff")
	r, err := call(t, s, "op", `{}`)
	if err != nil || len(r.Content) != 1 || r.Content[0].Type != "resource" || r.Content[0].Resource.MimeType != "image/png" || r.Content[0].Resource.Blob != base64.StdEncoding.EncodeToString([]byte("\x89PNG\xff")) || r.Content[0].Resource.URI != "openapi:op" {
		t.Errorf("%v %+v", err, r)
	}
}

func TestAnswersThatAreWithheld(t *testing.T) {
	a := newAPI(t)
	s, _, err := opened(t, one("3.1.0", "get", "/a", ""), func(c *openapi.Config) { c.URL, c.Limits.Answer, c.Limits.Result = a.url, 2000, 3000 })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		head, body string
		kind       connector.Kind
		why        string
	}{
		{kind("application/json") + "Content-Encoding: gzip\r\n", `{}`, connector.Malformed, "compressed"},
		{kind("application/json") + "Content-Encoding: identity, br\r\n", `{}`, connector.Malformed, "compressed"},
		{kind("text/plain"), strings.Repeat("x", 2001), connector.TooLarge, "max_answer"},
		{kind("application/json"), `{"a":"` + strings.Repeat("x", 1800) + `"}`, connector.TooLarge, "max_reply"},
		{kind("image/png"), "\x89PNG", connector.Malformed, "max_binary"},
		{kind("text/plain"), "\xff\xfe", connector.Malformed, "max_binary"},
		{kind("text/plain; charset=utf-16"), "ab", connector.Malformed, "max_binary"},
		{kind("nonsense"), "ab", connector.Malformed, "max_binary"},
		{"", "ab", connector.Malformed, "max_binary"},
	} {
		a.answers(200, c.head, c.body)
		_, err := call(t, s, "op", `{}`)
		f, ok := errors.AsType[*connector.Failure](err)
		if !ok || f.Kind != c.kind || !f.Sent || !strings.Contains(f.Detail, c.why) {
			t.Errorf("%s %.40q: %v", c.head, c.body, err)
		}
	}
}

// TestACallEndsWithItsCaller, and says whether anything was sent. No word of the address is in what it says.
func TestACallEndsWithItsCaller(t *testing.T) {
	a := newAPI(t)
	a.mu.Lock()
	a.answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"
	a.mu.Unlock()
	s, _, err := opened(t, one("3.1.0", "get", "/a", ""), func(c *openapi.Config) { c.URL = a.url })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Call(ctx, &connector.Request{Method: "tools/call", Name: "op", Principal: "p", Arguments: []byte(`{"keep":"secret"}`)})
	if f, ok := errors.AsType[*connector.Failure](err); !ok || f.Kind != connector.Timeout || !f.Sent || strings.Contains(f.Detail, "secret") {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = s.Call(ctx, &connector.Request{Method: "tools/call", Name: "op", Principal: "p"})
	if f, ok := errors.AsType[*connector.Failure](err); !ok || f.Kind != connector.Canceled || f.Sent {
		t.Errorf("%v", err)
	}
	s, _, err = opened(t, one("3.1.0", "get", "/a", ""), nil) // nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	_, err = call(t, s, "op", `{"keep":"secret"}`)
	if f, ok := errors.AsType[*connector.Failure](err); !ok || f.Kind != connector.Unreachable || f.Sent || strings.Contains(f.Detail, "secret") || strings.Contains(f.Detail, "127.0.0.1") {
		t.Errorf("%v", err)
	}
}

// secured is a document whose operation asks for its one security scheme.
func secured(scheme string) string {
	doc := one("3.1.0", "get", "/a", `,{"name":"key","in":"query","schema":{"type":"string"}},{"name":"X-Key","in":"header","schema":{"type":"string"}}`)
	return strings.Replace(doc, `"paths"`, `"security":[{"s":["read"]}],"components":{"securitySchemes":{"s":`+scheme+`}},"paths"`, 1)
}

func TestTheCredentialGoesWhereTheDocumentSays(t *testing.T) {
	for _, c := range []struct{ scheme, credential, header, value, query string }{
		{`{"type":"apiKey","in":"header","name":"X-Key"}`, "k-123456", "X-Key", "k-123456", ""},
		{`{"type":"apiKey","in":"query","name":"key"}`, "k&123=#4", "", "", "key=k%26123%3D%234"},
		{`{"type":"http","scheme":"Bearer"}`, "k-123456", "Authorization", "Bearer k-123456", ""},
		{`{"type":"http","scheme":"basic"}`, "ada:pass", "Authorization", "Basic YWRhOnBhc3M=", ""},
		{`{"type":"oauth2","flows":{}}`, "k-123456", "Authorization", "Bearer k-123456", ""},
		{`{"type":"openIdConnect","openIdConnectUrl":"https://x.example"}`, "k-123456", "Authorization", "Bearer k-123456", ""},
	} {
		a := newAPI(t)
		s, log, err := opened(t, secured(c.scheme), func(conf *openapi.Config) { conf.URL, conf.Credential = a.url, true })
		if err != nil || log != "" {
			t.Errorf("%s: %v %s", c.scheme, err, log)
			continue
		}
		key := [2]string{openapi.CredentialHeader, c.credential}
		if r, err := call(t, s, "op", `{}`, key); err != nil || r.IsError {
			t.Errorf("%s: %v %s", c.scheme, err, r.text())
		}
		got := a.take()
		if len(got) != 1 || got[0].value(c.header) != c.value || !strings.HasSuffix(got[0].line, c.query+" HTTP/1.1") {
			t.Errorf("%s: %+v", c.scheme, got)
		}
		// An answer that repeats it is withheld, as a success and as an error, and what is said of that does not.
		for _, form := range []string{c.credential, c.value, strings.TrimPrefix(c.query, "key=")} {
			for _, status := range []int{200, 401} {
				a.answers(status, kind("text/plain"), "you sent "+form+" here")
				_, err := call(t, s, "op", `{}`, key)
				if f, ok := errors.AsType[*connector.Failure](err); form != "" && (!ok || strings.Contains(f.Detail, form) || !strings.Contains(f.Detail, "withheld")) {
					t.Errorf("%s %q: %v", c.scheme, form, err)
				}
			}
		}
		a.take()
		for _, bad := range []string{"", "a\r\nX-Evil: 1", " a", "a\x00"} {
			r, err := call(t, s, "op", `{}`, [2]string{openapi.CredentialHeader, bad})
			if got := a.take(); err != nil || !r.IsError || len(got) != 0 {
				t.Errorf("%s with %q: %v %+v", c.scheme, bad, err, got)
			}
		}
	}
}

func TestASchemeThatCannotBeFilledIsRefused(t *testing.T) {
	for scheme, why := range map[string]string{
		`{"type":"apiKey","in":"cookie","name":"s"}`: "only header and query", `{"type":"apiKey","in":"header","name":"Host"}`: "no credential can have", `{"type":"apiKey","in":"header","name":"X\r\nY"}`: "no credential can have",
		`{"type":"apiKey","in":"query","name":""}`: "no credential can have", `{"type":"mutualTLS"}`: "cannot be filled", `{"type":"http","scheme":"digest"}`: "cannot be filled", `7`: "not an object",
	} {
		if _, _, err := opened(t, secured(scheme), func(c *openapi.Config) { c.Credential = true }); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	bearer := `{"type":"http","scheme":"bearer"}`
	for _, c := range []struct {
		change func(*openapi.Config)
		doc    string
		why    string
	}{
		{func(c *openapi.Config) { c.Scheme = "s" }, secured(bearer), "no credential for it"},
		{func(c *openapi.Config) { c.Credential, c.Scheme = true, "other" }, secured(bearer), `no security scheme "other"; it has s`},
		{func(c *openapi.Config) { c.Credential = true }, pets(t), "several security schemes; name the one that the credential is for: api_key, oauth"},
		{func(c *openapi.Config) { c.Credential = true }, one("3.1.0", "get", "/a", ""), "has to name the header"},
		{func(*openapi.Config) {}, secured(bearer), "no operation"},
	} {
		if _, _, err := opened(t, c.doc, c.change); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	a := newAPI(t)
	s, _, err := opened(t, one("3.1.0", "get", "/a", ""), func(c *openapi.Config) {
		c.URL, c.Credential, c.Header, c.Prefix = a.url, true, "x-token", "Token "
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, s, "op", `{}`, [2]string{openapi.CredentialHeader, "k-123456"}); err != nil || a.take()[0].value("X-Token") != "Token k-123456" {
		t.Errorf("a document without schemes: %v", err)
	}
}
