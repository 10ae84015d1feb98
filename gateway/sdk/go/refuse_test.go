package gatewright_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestAnAddressThatCouldLeakTheKeyIsRefused(t *testing.T) {
	for _, url := range []string{
		"", "127.0.0.1:8080", "ftp://a.example", "http://", "https://u:secretpw@a.example", "https://a.example/api", "https://a.example?x=1",
		"https://a.example#x", "http://a.example", "http://10.0.0.1:8080", "http://127.0.0.1.evil.example", "http://[::ffff:10.0.0.1]:80", "://",
	} {
		_, err := gatewright.New(gatewright.Config{URL: url, Key: agentKey})
		if err == nil {
			t.Errorf("%q was accepted", url)
		} else if strings.Contains(err.Error(), "secretpw") || strings.Contains(err.Error(), agentKey) {
			t.Errorf("%q: the error shows a secret: %v", url, err)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8080", "http://localhost:8080/", "http://[::1]:1", "https://a.example"} {
		if _, err := gatewright.New(gatewright.Config{URL: url, Key: agentKey}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := gatewright.New(gatewright.Config{URL: "http://a.example", Key: agentKey, AllowPlaintext: true}); err != nil {
		t.Errorf("plaintext that was asked for: %v", err)
	}
	for _, key := range []string{"", "a b", "a\nX-Evil: 1", "schlüssel"} {
		if _, err := gatewright.New(gatewright.Config{URL: "https://a.example", Key: key}); err == nil {
			t.Errorf("key %q was accepted", key)
		}
	}
}

func TestARefusalKeepsCodeHintRecordAndStatus(t *testing.T) {
	g := newGateway(t)
	g.HandleFunc("POST /api/v1/plans", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		answer(w, 429, `{"code":"rate_limited","message":"rate limit reached","hint":"wait","record":"rec_1"}`)
	})
	_, err := g.client(t).Plan(t.Context(), []byte(twoSteps))
	var e *gatewright.Error
	if !errors.As(err, &e) || e.Code != "rate_limited" || e.Message != "rate limit reached" || e.Hint != "wait" || e.Record != "rec_1" || e.Status != 429 || e.RetryAfter != 7*time.Second {
		t.Errorf("got %#v", err)
	}
	g.on("DELETE /api/v1/keys/key_1", 403, `{"type":"about:blank","status":403,"code":"role_denied","detail":"an Admin may","hint":"ask one","record":"rec_2","fields":[{"location":"path.id","message":"bad"}]}`)
	err = g.admin(t).RevokeKey(t.Context(), "key_1")
	if !errors.As(err, &e) || e.Code != "role_denied" || e.Message != "an Admin may; path.id: bad" || e.Record != "rec_2" {
		t.Errorf("control port: got %#v", err)
	}
}

func TestARefusedCallIsAnErrorWithReasonRecordAndReceipt(t *testing.T) {
	g := newGateway(t)
	g.HandleFunc("POST /mcp/files", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Gatewright-Record", "rec_9")
		w.Header().Set("Gatewright-Salt", salt)
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"the argument differs [args_mismatch rec_9]. take another","data":{"reason":"args_mismatch","hint":"take another","record":"rec_9","gatewright/receipt":"R0"}}}`)
	})
	_, err := g.client(t).Call(t.Context(), gatewright.Call{Server: "files", Tool: "read", Token: token})
	var e *gatewright.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	want := gatewright.Error{Code: "args_mismatch", Message: "the argument differs", Hint: "take another", Record: "rec_9", Receipt: "R0", Salt: salt, Status: 200, RPC: -32003}
	if *e != want {
		t.Errorf("got  %+v\nwant %+v", *e, want)
	}
	if err.Error() != "args_mismatch: the argument differs (rec_9)" {
		t.Errorf("text: %s", err)
	}
}

func TestAnErrorOfTheServerBehindIsToldApartFromTheGateways(t *testing.T) {
	g := newGateway(t)
	for _, data := range []string{`null`, `"boom"`, `{"reason":7}`, `{"other":1}`, `[]`} {
		g.ServeMux = http.NewServeMux()
		g.on("POST /mcp/files", 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"boom","data":`+data+`}}`)
		_, err := g.client(t).Call(t.Context(), gatewright.Call{Server: "files", Tool: "read"})
		var e *gatewright.Error
		if !errors.As(err, &e) || e.Code != gatewright.UpstreamError || e.RPC != -32000 || e.Message != "boom" {
			t.Errorf("data %s: got %#v", data, err)
		}
	}
}

func TestAnAnswerThatIsNoneIsNotBelieved(t *testing.T) {
	plan := func(c *gatewright.Client) error { _, err := c.Plan(context.Background(), []byte(twoSteps)); return err }
	tok := func(c *gatewright.Client) error { _, err := c.Token(context.Background(), "pln_1", 0); return err }
	call := func(c *gatewright.Client) error {
		_, err := c.Call(context.Background(), gatewright.Call{Server: "files", Tool: "read"})
		return err
	}
	_, good := sealed(t, twoSteps)
	cases := []struct {
		name, body string
		status     int
		do         func(*gatewright.Client) error
	}{
		{"empty", ``, 201, plan},
		{"HTML", `<html>login</html>`, 200, plan},
		{"truncated", good[:len(good)/2], 201, plan},
		{"trailing", good + `{}`, 201, plan},
		{"no id", `{"root":"` + strings.Repeat("ab", 32) + `","size":1}`, 201, plan},
		{"zero root", `{"id":"pln_1","size":1}`, 201, plan},
		{"short root", `{"id":"pln_1","root":"abcd","size":1}`, 201, plan},
		{"upper-case root", `{"id":"pln_1","root":"` + strings.Repeat("AB", 32) + `","size":1}`, 201, plan},
		{"size retyped", `{"id":"pln_1","root":"` + strings.Repeat("ab", 32) + `","size":"1"}`, 201, plan},
		{"duplicate key", `{"id":"pln_1","id":"pln_2","root":"` + strings.Repeat("ab", 32) + `","size":1}`, 201, plan},
		{"another hash", strings.Replace(good, `"hash":"`, `"hash":"00`, 1), 201, plan},
		{"another document", strings.Replace(good, `"goal":"g"`, `"goal":"h"`, 1), 201, plan},
		{"not UTF-8", "{\"id\":\"\xff\"}", 201, plan},
		{"deep", strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100), 201, plan},
		{"redirect", ``, 302, plan},
		{"error without a code", `{"message":"no"}`, 500, plan},
		{"error that is no JSON", `Bad Gateway`, 502, plan},
		{"no token", `{"id":"tok_1"}`, 201, tok},
		{"a token with a line end", `{"id":"tok_1","token":"a\nSet-Cookie: x"}`, 201, tok},
		{"null", `null`, 201, tok},
		{"other id", `{"jsonrpc":"2.0","id":2,"result":{}}`, 200, call},
		{"no version", `{"id":1,"result":{}}`, 200, call},
		{"result is no object", `{"jsonrpc":"2.0","id":1,"result":[]}`, 200, call},
		{"nothing in it", `{"jsonrpc":"2.0","id":1}`, 200, call},
		{"isError retyped", `{"jsonrpc":"2.0","id":1,"result":{"isError":"yes"}}`, 200, call},
		{"batch", `[{"jsonrpc":"2.0","id":1,"result":{}}]`, 200, call},
		{"gateway timeout page", `<html>504</html>`, 504, call},
	}
	for _, c := range cases {
		g := newGateway(t)
		g.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/steal")
			answer(w, c.status, c.body)
		})
		if err := c.do(g.client(t)); !errors.Is(err, gatewright.ErrAnswer) {
			t.Errorf("%s: got %v, want ErrAnswer", c.name, err)
		}
	}
}

func TestARedirectIsNotFollowedWithTheKey(t *testing.T) {
	stolen := false
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen = true }))
	defer thief.Close()
	g := newGateway(t)
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	if _, err := g.client(t).Plan(t.Context(), []byte(twoSteps)); !errors.Is(err, gatewright.ErrAnswer) || stolen {
		t.Errorf("error %v, followed %v", err, stolen)
	}
}

func TestAnEndlessAnswerIsCutAtItsBound(t *testing.T) {
	g := newGateway(t)
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
				return
			}
		}
	})
	c, err := gatewright.New(gatewright.Config{URL: g.url, Key: agentKey, MaxReply: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.About(t.Context()); !errors.Is(err, gatewright.ErrAnswer) || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
	g2 := newGateway(t)
	g2.HandleFunc("GET /api/v1/agents", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"items":[],"next":"again"}`) })
	if _, err := g2.admin(t).Agents(t.Context()); !errors.Is(err, gatewright.ErrAnswer) {
		t.Errorf("a list without end: %v", err)
	}
}

func TestNoAnswerIsUnreachableAndACancelledCallSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	c, err := gatewright.New(gatewright.Config{URL: "http://" + addr, Key: agentKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.About(t.Context()); !errors.Is(err, gatewright.ErrUnreachable) || strings.Contains(err.Error(), agentKey) {
		t.Errorf("nobody listens: %v", err)
	}
	g := newGateway(t)
	g.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.client(t).About(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, gatewright.ErrUnreachable) {
		t.Errorf("context ended: %v", err)
	}
	g2 := newGateway(t)
	g2.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"version":`)
	})
	if _, err := g2.client(t).About(t.Context()); !errors.Is(err, gatewright.ErrUnreachable) {
		t.Errorf("closed in the middle: %v", err)
	}
}

func TestErrorsShowNoSecretAndMoveNoCursor(t *testing.T) {
	g := newGateway(t)
	bad := agentKey + " " + token + "\x1b[2J\nforged line\u202e"
	body, err := json.Marshal(map[string]any{"code": "x", "message": bad, "hint": bad, "record": bad})
	if err != nil {
		t.Fatal(err)
	}
	g.on("POST /api/v1/plans", 400, string(body))
	rpc, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "error": map[string]any{"code": 1, "message": bad, "data": map[string]any{"reason": "x", "hint": bad}}})
	if err != nil {
		t.Fatal(err)
	}
	g.on("POST /mcp/files", 200, string(rpc))
	_, planErr := g.client(t).Plan(t.Context(), []byte(twoSteps))
	_, callErr := g.client(t).Call(t.Context(), gatewright.Call{Server: "files", Tool: "read", Token: token})
	for _, err := range []error{planErr, callErr} {
		var e *gatewright.Error
		if !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		all := e.Error() + e.Hint + e.Record
		if strings.Contains(all, agentKey) || strings.ContainsAny(all, "\x1b\n\u202e") {
			t.Errorf("error shows %q", all)
		}
		if errors.Is(err, callErr) && strings.Contains(all, token) {
			t.Errorf("error shows the token: %q", all)
		}
	}
	c := g.client(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, *c); strings.Contains(s, agentKey) {
			t.Errorf("%s of a client shows the key: %s", verb, s)
		}
		if s := fmt.Sprintf(verb, gatewright.Token{Token: token, ID: "tok_1"}); strings.Contains(s, token) {
			t.Errorf("%s of a token shows it: %s", verb, s)
		}
		if s := fmt.Sprintf(verb, &gatewright.ShownKey{Secret: agentKey}); strings.Contains(s, agentKey) {
			t.Errorf("%s of a new key shows it: %s", verb, s)
		}
	}
}

func TestACallThatCouldNotBeJudgedIsNotSent(t *testing.T) {
	g := newGateway(t)
	g.HandleFunc("/", func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	c := g.client(t)
	for _, call := range []gatewright.Call{
		{Server: "files"},
		{Server: "files", Tool: "read", Args: json.RawMessage(`[]`)},
		{Server: "files", Tool: "read", Args: json.RawMessage(`{"a":1,"a":2}`)},
		{Server: "files", Tool: "read", Args: json.RawMessage(`{"a":1}}`)},
		{Server: "files", Tool: "read", Args: json.RawMessage(`{"a":1},"x":{}`)},
		{Server: "files", Tool: "read", Args: json.RawMessage("{\"a\":\"\xff\"}")},
		{Server: "files", Tool: "read", Args: json.RawMessage(``)},
		{Server: "files", Tool: "read", Token: "a\r\nX: 1"},
		{Server: "files", Tool: "read", Token: token, Retry: "a b"},
		{Server: "files", Tool: "read", Proof: &gatewright.Proof{Step: "e30"}},
	} {
		if _, err := c.Call(t.Context(), call); err == nil {
			t.Errorf("%+v: no error", call)
		}
	}
	for _, ttl := range []time.Duration{-time.Second, time.Millisecond, 1500 * time.Millisecond} {
		if _, err := c.Token(t.Context(), "pln_1", ttl); err == nil {
			t.Errorf("ttl %s: no error", ttl)
		}
	}
}

func TestAnIdFromOutsideStaysOneSegmentOfThePath(t *testing.T) {
	g := newGateway(t)
	seen := ""
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		seen = r.RequestURI
		answer(w, 404, `{"code":"not_found"}`)
	})
	if _, err := g.client(t).Token(t.Context(), "../keys?x=1#", 0); err == nil || seen != "/api/v1/plans/..%2Fkeys%3Fx=1%23/tokens" {
		t.Errorf("requested %s, error %v", seen, err)
	}
}
