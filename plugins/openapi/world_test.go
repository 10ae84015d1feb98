package openapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/openapi"
)

var limits = openapi.Limits{
	Document: 4 << 20, Values: 100_000, Depth: 64, Operations: 500, Refs: 200, Schema: 64 << 10,
	Answer: 1 << 20, Result: 4 << 20, JSONDepth: 64, JSONValues: 400_000,
}

// sent is a request exactly as it came, byte for byte.
type sent struct {
	line   string // the request line
	header []string
	body   string
}

// target is path and query, not looked into.
func (s sent) target() (path, query string) {
	path, query, _ = strings.Cut(strings.Split(s.line, " ")[1], "?")
	return path, query
}

// names are those of the headers, sorted as they came.
func (s sent) names() (out []string) {
	for _, h := range s.header {
		name, _, _ := strings.Cut(h, ":")
		out = append(out, name)
	}
	return out
}

func (s sent) value(name string) string {
	for _, h := range s.header {
		if n, v, _ := strings.Cut(h, ": "); n == name {
			return v
		}
	}
	return ""
}

// api is an HTTP server that reads bytes, so that no library makes anything better than it was.
type api struct {
	url string

	mu     sync.Mutex
	got    []sent
	answer string
}

const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}"

func newAPI(t testing.TB) *api {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &api{url: "http://" + l.Addr().String(), answer: ok}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(c)
		}
	}()
	return a
}

func (a *api) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		var s sent
		length := 0
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\r\n")
			if line == "" {
				break
			}
			if s.line == "" {
				s.line = line
				continue
			}
			s.header = append(s.header, line)
			if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				length, _ = strconv.Atoi(n)
			}
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		s.body = string(body)
		a.mu.Lock()
		a.got = append(a.got, s)
		answer := a.answer
		a.mu.Unlock()
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// take returns what came since it was last asked.
func (a *api) take() []sent {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

func (a *api) answers(status int, head, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = "HTTP/1.1 " + strconv.Itoa(status) + " Said\r\n" + head + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// transport follows the rules that New has for one.
func transport(t testing.TB) http.RoundTripper {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func written(t testing.TB, doc string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api")
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// opened is a document as a server, with what it says of operations that it leaves out.
func opened(t testing.TB, doc string, change func(*openapi.Config)) (connector.Server, string, error) {
	t.Helper()
	c := openapi.Config{Document: written(t, doc), URL: "http://127.0.0.1:1", Limits: limits}
	if change != nil {
		change(&c)
	}
	var log bytes.Buffer
	s, err := openapi.New(c, transport(t), &log)
	return s, log.String(), err
}

func serving(t testing.TB, a *api, doc string) connector.Server {
	t.Helper()
	s, log, err := opened(t, doc, func(c *openapi.Config) { c.URL = a.url })
	if err != nil || log != "" {
		t.Fatalf("%v\n%s", err, log)
	}
	return s
}

// result is what a tool answered.
type result struct {
	Content []struct {
		Type, Text string
		Resource   struct{ URI, MimeType, Blob string }
	}
	StructuredContent json.RawMessage
	IsError           bool
}

func (r result) text() string {
	if len(r.Content) == 0 {
		return ""
	}
	return r.Content[0].Text
}

func call(t testing.TB, s connector.Server, tool, args string, headers ...[2]string) (result, error) {
	t.Helper()
	reply, err := s.Call(context.Background(), &connector.Request{Method: "tools/call", Name: tool, Principal: "p", Arguments: []byte(args), Headers: headers})
	var r result
	if err != nil {
		return r, err
	}
	if reply.Error != nil {
		t.Fatalf("%s: %s", tool, reply.Error)
	}
	if err := json.Unmarshal(reply.Result, &r); err != nil {
		t.Fatalf("%s: %v", reply.Result, err)
	}
	return r, nil
}

// tools are those that a server lists.
func tools(t testing.TB, s connector.Server) map[string]map[string]json.RawMessage {
	t.Helper()
	out := map[string]map[string]json.RawMessage{}
	params := []byte(nil)
	for {
		reply, err := s.Call(context.Background(), &connector.Request{Method: "tools/list", Principal: "p", Params: params})
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Tools      []map[string]json.RawMessage
			NextCursor string
		}
		if err := json.Unmarshal(reply.Result, &page); err != nil {
			t.Fatal(err)
		}
		for _, tool := range page.Tools {
			var name string
			if err := json.Unmarshal(tool["name"], &name); err != nil {
				t.Fatal(err)
			}
			out[name] = tool
		}
		if page.NextCursor == "" {
			return out
		}
		params, _ = json.Marshal(map[string]string{"cursor": page.NextCursor})
	}
}

func quote(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func decoded(t testing.TB, s string) string {
	t.Helper()
	out, err := url.PathUnescape(s)
	if err != nil {
		t.Errorf("%q is not escaped rightly: %v", s, err)
	}
	return out
}
