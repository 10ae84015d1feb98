package upstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// declaring is a server that declares something, and something else when it has been started anew.
type declaring struct {
	mu           sync.Mutex
	modern, bare bool // bare: it gives no session an id
	says         string
	run          int
}

func (d *declaring) restart(says string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.says = says
	d.run++
}

func (d *declaring) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.NewDecoder(r.Body).Decode(&m)
	session := fmt.Sprint("s", d.run)
	result := `{"tools":[]}`
	switch {
	case m.Method == "server/discover" && d.modern:
		result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":` + d.says + `}`
	case m.Method == "initialize" && !d.modern:
		if !d.bare {
			w.Header().Set("Mcp-Session-Id", session)
		}
		result = `{"protocolVersion":"2025-11-25","capabilities":` + d.says + `}`
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
		return
	case m.Method == "initialize" || m.Method == "server/discover":
		http.Error(w, "", http.StatusBadRequest)
		return
	case !d.modern && !d.bare && r.Header.Get("Mcp-Session-Id") != session:
		http.Error(w, "", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// TestWhatAServerDeclaresIsReadAnew when it was started anew, of both eras and without session ids too.
func TestWhatAServerDeclaresIsReadAnew(t *testing.T) {
	for name, d := range map[string]*declaring{"modern": {modern: true}, "legacy": {}, "no session ids": {bare: true}} {
		t.Run(name, func(t *testing.T) {
			d.says = `{"tools":{}}`
			s := httptest.NewServer(d)
			defer s.Close()
			config, now := upstream.DefaultConfig(), time.Now()
			client, err := upstream.New(upstream.Options{Config: config, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			target := &upstream.Target{Tenant: "a", Name: "s", URL: s.URL, AllowPrivate: true}
			look := func(want string) {
				t.Helper()
				if _, err := client.List(t.Context(), target, &upstream.Request{Method: "tools/list"}); err != nil {
					t.Fatal(err)
				}
				if got, err := client.Capabilities(t.Context(), target); err != nil || string(got) != want {
					t.Errorf("%s, %v, want %s", got, err, want)
				}
			}
			look(`{"tools":{}}`)
			d.restart(`{"tools":{},"prompts":{}}`)
			now = now.Add(config.SessionIdle - time.Second) // it is in use: it does not end for want of use
			if name != "no session ids" {
				look(`{"tools":{},"prompts":{}}`)
			}
			_, _ = client.List(t.Context(), target, &upstream.Request{Method: "tools/list"})
			now = now.Add(2 * time.Second)
			look(`{"tools":{},"prompts":{}}`)
		})
	}
}

func TestWhatAServerDoesNotDeclareIsNotKnown(t *testing.T) {
	d := &declaring{modern: true, says: `["tools"]`}
	s := httptest.NewServer(d)
	defer s.Close()
	got, err := newClient(t, nil).Capabilities(t.Context(), &upstream.Target{Tenant: "a", Name: "s", URL: s.URL, AllowPrivate: true})
	if !errors.Is(err, upstream.ErrNoMethod) {
		t.Errorf("%s, %v", got, err)
	}
}
