package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// forwardFaults strike where an admitted call goes out: none of them may be answered, and each is settled.
func forwardFaults(_ context.Context, w *world) (all []*fault, err error) {
	before := func(f *fault) { f.refuse = f.kind != lateKind; f.silent = f.refuse }
	for _, point := range []string{"forward", "target", "upstream client"} {
		all = append(all, each(kinds(), point, before)...)
	}
	for _, point := range []string{"forward" + afterwards, "upstream client" + afterwards, "carrier" + afterwards} {
		all = append(all, each(withoutZero(kinds()), point, withholds)...)
	}
	all = append(all, each(kinds(), "carrier", withholds)...)
	for _, k := range []upstream.Kind{
		upstream.Unreachable, upstream.Timeout, upstream.TooLarge, upstream.Malformed, upstream.Redirect, upstream.BlockedAddress,
		upstream.Status, upstream.Canceled, upstream.CircuitOpen, upstream.Busy, "new",
	} {
		for _, sent := range []bool{false, true} {
			err := &upstream.Error{Kind: k, Detail: "injected", Sent: sent}
			list := []kind{{fmt.Sprintf("%s, sent %v", k, sent), failing(err)}}
			all = append(all, each(list, "carrier", withholds)...)
			all = append(all, each(list, "upstream client", withholds)...)
		}
	}
	return all, nil
}

// badAnswers are results that no caller may see.
func badAnswers() map[string]string {
	return map[string]string{
		"no JSON":            `{"content":`,
		"an array":           `[]`,
		"a key twice":        `{"content":[],"content":[]}`,
		"invalid UTF-8":      "{\"content\":\"\xff\"}",
		"too deep":           `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		"too large":          `{"a":"` + strings.Repeat("x", 80<<10) + `"}`,
		"asks for input":     `{"resultType":"input_required"}`,
		"number beyond JSON": `{"a":1e999}`,
		"two objects":        `{}{}`,
		"empty":              ``,
	}
}

// httpFaults put a server behind the gateway that speaks HTTP, and misbehaves.
func httpFaults(ctx context.Context, w *world) (all []*fault, err error) {
	s, err := w.serve(ctx)
	if err != nil {
		return nil, err
	}
	w.upward.Store(&upstream.Target{URL: s.url, Era: "modern", AllowPrivate: true})
	w.atGroupEnd(func() { w.upward.Store(&upstream.Target{Carrier: w.witness}) })
	for name, serve := range httpParts() {
		f := &fault{point: "server", kind: name, silent: true}
		var struck atomic.Bool
		f.before = func(*world) error {
			s.set(func(rw http.ResponseWriter, id string) { struck.Store(true); serve(rw, id) })
			return nil
		}
		f.after = func(*world) error {
			s.set(nil)
			f.struck = struck.Load()
			return nil
		}
		all = append(all, f)
	}
	for name, url := range map[string]string{
		"nobody listens": "http://127.0.0.1:1/mcp", "address that is never served": "http://169.254.169.254/mcp", "no such name": "http://faults.invalid/mcp",
	} {
		f := &fault{point: "address", kind: name, silent: true, refuse: true}
		good := *w.upward.Load()
		f.before = func(*world) error {
			bad := good
			bad.URL = url
			w.upward.Store(&bad)
			f.struck = true
			return nil
		}
		f.after = func(*world) error { w.upward.Store(&good); return nil }
		all = append(all, f)
	}
	return all, nil
}

// httpParts are what the server does instead of answering. id is that of the request.
func httpParts() map[string]func(rw http.ResponseWriter, id string) {
	parts := map[string]func(rw http.ResponseWriter, id string){
		"cut before the head": func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) },
		"cut in the body": func(rw http.ResponseWriter, id string) {
			rw.Header().Set("Content-Length", "1000")
			answer(rw, id, `{}`)
			panic(http.ErrAbortHandler)
		},
		"hangs":      func(http.ResponseWriter, string) { time.Sleep(2 * timeout) },
		"late":       func(rw http.ResponseWriter, id string) { time.Sleep(2 * timeout); answer(rw, id, `{}`) },
		"status 500": func(rw http.ResponseWriter, _ string) { http.Error(rw, "no", http.StatusInternalServerError) },
		"status 401": func(rw http.ResponseWriter, _ string) { http.Error(rw, "no", http.StatusUnauthorized) },
		"redirect": func(rw http.ResponseWriter, _ string) {
			rw.Header().Set("Location", "/other")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		},
		"no content":     func(rw http.ResponseWriter, _ string) { rw.WriteHeader(http.StatusNoContent) },
		"HTML":           func(rw http.ResponseWriter, _ string) { fmt.Fprint(rw, "<html>hello</html>") },
		"another id":     func(rw http.ResponseWriter, _ string) { answer(rw, `"other"`, `{}`) },
		"result & error": func(rw http.ResponseWriter, id string) { answer(rw, id, `{},"error":{"code":1,"message":"x"}`) },
		"stream without end": func(rw http.ResponseWriter, _ string) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for end := time.Now().Add(2 * timeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				fmt.Fprint(rw, ": still here\n\n")
				_ = http.NewResponseController(rw).Flush()
			}
		},
		"two lengths": func(rw http.ResponseWriter, id string) {
			raw(rw, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}")
		},
		"no HTTP": func(rw http.ResponseWriter, _ string) { raw(rw, "\x00\x01\x02 hello\r\n\r\n") },
	}
	for name, body := range badAnswers() {
		parts["result "+name] = func(rw http.ResponseWriter, id string) { answer(rw, id, body) }
	}
	return parts
}

func answer(rw http.ResponseWriter, id, result string) {
	rw.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

func raw(rw http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

// server is an MCP server over HTTP. The witness sees every tool call that reaches it.
type server struct {
	w   *world
	url string
	set func(func(http.ResponseWriter, string))
}

func (w *world) serve(ctx context.Context) (*server, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	parts := make(chan func(http.ResponseWriter, string), 1)
	parts <- nil
	s := &server{w: w, url: "http://" + ln.Addr().String() + "/mcp"}
	s.set = func(part func(http.ResponseWriter, string)) { <-parts; parts <- part }
	h := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		part := <-parts
		parts <- part
		s.handle(rw, r, part)
	})}
	go func() { _ = h.Serve(ln) }() // ends with Close
	w.atEnd(func(context.Context) error { return h.Close() })
	return s, nil
}

func (s *server) handle(rw http.ResponseWriter, r *http.Request, part func(http.ResponseWriter, string)) {
	var m struct {
		ID     json.RawMessage
		Params struct{ Arguments json.RawMessage }
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Authorization") != "Bearer "+secret {
		http.Error(rw, "not a call of the gateway", http.StatusBadRequest)
		return
	}
	s.w.witness.see(m.Params.Arguments)
	if part != nil {
		part(rw, string(m.ID))
		return
	}
	answer(rw, string(m.ID), `{"resultType":"complete","content":[]}`)
}
