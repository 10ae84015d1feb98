package conformance_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Servers of others, of other languages, over HTTP and as local programs, behind a built gateway with enforcement on; clients of
// both eras.

// standing is a server and what is done with it: each operation with what must be seen in its result.
type standing struct {
	name  string
	wants []wanted
	wire  *patient // what the server is told of calls that are given up; nil: no call is
	log   *lines   // what it writes; nil: nobody looks
}

type wanted struct {
	operation
	want string
}

func TestServersOfOthersWorkBehindTheGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	note, forbidden := filepath.Join(dir, "note.txt"), filepath.Join(dir, "forbidden.txt")
	if err := os.WriteFile(note, []byte("free for all"), 0o600); err != nil {
		t.Fatal(err)
	}
	sdk, sdkURL, sdkLog := pythonServer(t, "mcp")
	fast, fastURL, fastLog := pythonServer(t, "fastmcp")
	others := legacyServer(t)
	npm, npmURL := overTheWire(t, others)
	apart, apartURL := overTheWire(t, others)
	pipe, hcl := everythingOverAPipe(t)
	hcl += strings.Replace(everythingOverStdio(t), `"everything"`, `"asking"`, 1) // no call of this one is given up
	hcl += filesOverStdio(t, dir) + fmt.Sprintf("server \"apart\" {\n  tenant        = \"demo\"\n  url           = %q\n  allow_private = true\n  via           = \"connector\"\n}\n", apartURL)
	for name, u := range map[string]string{"npm": npmURL, "python": sdkURL, "fastmcp": fastURL} {
		hcl += fmt.Sprintf("server %q {\n  tenant        = \"demo\"\n  url           = %q\n  allow_private = true\n}\n", name, u)
	}
	g := start(t, Setup{HCL: hcl})
	everything := []wanted{
		{operation{Op: "tools"}, "get-sum"}, {operation{Op: "resources"}, "demo://resource/static/document/features.md"}, {operation{Op: "prompts"}, "simple-prompt"},
		{operation{Op: "call", Name: "get-sum", Args: map[string]any{"a": 2, "b": 40}}, "42"},
		{operation{Op: "read", URI: "demo://resource/static/document/features.md"}, "#"}, {operation{Op: "prompt", Name: "simple-prompt"}, "simple prompt"},
		{operation{Op: "refuse", Name: "get-env"}, ""},
		{operation{Op: "progress", Name: "trigger-long-running-operation", Args: map[string]any{"duration": 1, "steps": 3}}, "completed"},
	}
	long := wanted{operation{Op: "cancel", Name: "trigger-long-running-operation", Args: map[string]any{"duration": 6, "steps": 20}, Times: cancels}, ""}
	asks := wanted{operation{Op: "elicit", Name: "trigger-elicitation-request", Args: map[string]any{}}, "User provided the requested information"}
	small := []wanted{
		{operation{Op: "tools"}, "add"}, {operation{Op: "resources"}, "note://today"}, {operation{Op: "prompts"}, "greet"},
		{operation{Op: "call", Name: "add", Args: map[string]any{"a": 2, "b": 40}}, "42"}, {operation{Op: "read", URI: "note://today"}, "rain"},
		{operation{Op: "prompt", Name: "greet", Args: map[string]any{"name": "Ada"}}, "Greet Ada."}, {operation{Op: "refuse", Name: "erase"}, ""},
		{operation{Op: "cancel", Name: "wait", Args: map[string]any{}, Times: cancels}, ""},
	}
	for _, s := range []standing{
		{name: "everything", wants: append(slices.Clone(everything), long), wire: pipe},
		{name: "asking", wants: []wanted{{operation{Op: "tools"}, "trigger-elicitation-request"}, asks}},
		{name: "apart", wants: append(slices.Clone(everything), long), wire: apart},
		{name: "npm", wants: append(slices.Clone(everything), long), wire: npm},
		{name: "files", wants: []wanted{
			{operation{Op: "tools"}, "read_text_file"}, {operation{Op: "call", Name: "read_text_file", Args: map[string]any{"path": note}}, "free for all"},
			{operation{Op: "refuse", Name: "write_file", Args: map[string]any{"path": forbidden, "content": "x"}}, ""},
		}},
		{name: "python", wants: small, wire: sdk, log: sdkLog},
		{name: "fastmcp", wants: small, wire: fast, log: fastLog},
	} {
		g.offers(t, s.name, s.wants[0].want)
		for _, era := range []string{"legacy", "modern"} {
			t.Run(s.name+" and a "+era+" client", func(t *testing.T) { s.served(t, g, era) })
		}
	}
	if _, err := os.Stat(forbidden); err == nil {
		t.Error("a call that was refused wrote a file")
	}
	for _, l := range []*lines{sdkLog, fastLog} {
		if said := l.String(); strings.Contains(said, "erased") || strings.Count(said, "the wait was given up") != 2*cancels {
			t.Errorf("the server says %s", tail(said, 30))
		}
	}
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// served has a client do what the server is there for.
func (s *standing) served(t *testing.T, g *Gateway, era string) {
	a, ops, steps := g.newAgent(t), []operation{}, []string{}
	for _, w := range s.wants {
		ops = append(ops, w.operation)
		args, err := json.Marshal(w.Args)
		if err != nil {
			t.Fatal(err)
		}
		op := map[string]string{"call": "tools/call", "elicit": "tools/call", "cancel": "tools/call", "progress": "tools/call", "read": "resources/read", "prompt": "prompts/get"}[w.Op]
		if op == "" {
			continue
		}
		step := fmt.Sprintf(`{"op":%q,"server":%q,"tool":%q,"uses":0`, op, s.name, cmp.Or(w.Name, w.URI))
		if w.Args != nil {
			step += `,"args":` + string(args)
		}
		steps = append(steps, step+"}")
	}
	if s.wire != nil {
		s.wire.mu.Lock()
		s.wire.told = map[string][]time.Time{}
		s.wire.mu.Unlock()
	}
	_, pass := a.planned(t, steps...)
	for i, r := range byGo(direct)(t, []errand{{URL: g.URL + "/mcp/" + s.name, Key: a.key, Token: pass.Token, Era: era, Operations: ops}}) {
		if i == 0 {
			if r.Error != "" || (r.Protocol == newerEra) != (era == "modern") {
				t.Fatalf("connect: %+v", r)
			}
			continue
		}
		w := s.wants[i-1]
		switch {
		case r.Op == "refuse":
			if !hinted.MatchString(r.Error) {
				t.Errorf("%s was answered %+v", w.Name, r)
			}
		case r.Error != "":
			t.Errorf("%s %s: %s", r.Op, w.Name, r.Error)
		case r.Op == "cancel":
			if err := s.wire.toldInTime("", r.At); err != nil {
				t.Errorf("%s: %v", w.Name, err)
			}
		case !strings.Contains(r.Text, w.want) && !slices.Contains(r.Names, w.want):
			t.Errorf("%s %s: %+v, want %q", r.Op, w.Name, r, w.want)
		}
	}
}

// pythonServer starts clients/server.py on one of its two libraries.
func pythonServer(t testing.TB, library string) (*patient, string, *lines) {
	t.Helper()
	port := freePort(t)
	cmd := python(t, "server.py")
	cmd.Args = append(cmd.Args, library, port)
	log := child(t, cmd)
	waitPort(t, "127.0.0.1:"+port)
	p, u := overTheWire(t, "http://127.0.0.1:"+port+"/mcp")
	return p, u, log
}

// overTheWire stands between the gateway and a server and notes when the server is told that a call is given up: by a
// notification in the older era, by the end of the connection in the newer.
func overTheWire(t testing.TB, address string) (*patient, string) {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{told: map[string][]time.Time{}}
	hand := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
	}}
	note := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told[""] = append(p.told[""], time.Now())
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch modern := r.Header.Get("MCP-Protocol-Version") == newerEra; {
		case bytes.Contains(body, []byte(`"notifications/cancelled"`)):
			note()
		case modern && bytes.Contains(body, []byte(`"tools/call"`)):
			defer func() {
				if r.Context().Err() != nil {
					note()
				}
			}()
		}
		hand.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return p, web.URL + to.Path
}
