package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/connector/connectortest"
)

const echoAPI = `{"openapi":"3.1.0","info":{"title":"echo","version":"1"},"paths":{"/echo/{text}":{"get":{"operationId":"echo","parameters":[{"name":"text","in":"path","required":true,"schema":{"type":"string"}}]}}}}`

// apiConfig is what the gateway writes for an API at an address, with these settings of upstream.
func apiConfig(t *testing.T, url string, private bool, upstream string) string {
	t.Helper()
	document := filepath.Join(t.TempDir(), "api.json")
	if err := os.WriteFile(document, []byte(echoAPI), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := map[string]any{
		"api": map[string]any{"document": document, "url": url, "limits": map[string]int{
			"Document": 1 << 20, "Values": 10_000, "Depth": 64, "Operations": 10, "Refs": 10, "Schema": 64 << 10, "Answer": 1 << 20, "Result": 4 << 20, "JSONDepth": 64, "JSONValues": 10_000,
		}},
		"allow_private": private, "upstream": json.RawMessage(upstream),
	}
	b, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// upstreamSettings are upstream's, as JSON, with another timeout.
func upstreamSettings(t *testing.T, timeout time.Duration) string {
	t.Helper()
	o, _, _ := options(t, nil)
	u := o.Config.Upstream
	u.Timeout = timeout
	b, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAnAPIsConnectorDoesWhatIsAskedOfAny: the checks that authors of connectors have.
func TestAnAPIsConnectorDoesWhatIsAskedOfAny(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.TrimPrefix(r.URL.Path, "/echo/"))
	}))
	t.Cleanup(api.Close)
	connectortest.Run(t, connectortest.Candidate{
		Path: os.Args[0], Args: []string{builtin.Verb, builtin.OpenAPI}, Env: []string{builtin.ConfigVariable + "=" + apiConfig(t, api.URL, true, upstreamSettings(t, time.Minute)), "GORACE=atexit_sleep_ms=0"},
		PassEnv: []string{"PATH"}, Example: connectortest.Example{Tool: "echo", Arguments: `{"text":"hello"}`, Want: "hello"},
	})
}

// TestAnAPIThatIsNotReachedIsToldApart: an address inside, a wait that is too long, nobody there.
func TestAnAPIThatIsNotReachedIsToldApart(t *testing.T) {
	block := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "body") {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		<-block
	}))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(block) })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		url, text string
		private   bool
		kind      connector.Kind
		detail    string
		sent      bool
	}{
		{slow.URL, "a", false, connector.Unreachable, "blocked_address: the server stands on a loopback or private address", false},
		{slow.URL, "a", true, connector.Timeout, "the API did not answer in time", true},
		{slow.URL, "body", true, connector.Timeout, "the API did not answer in time", true},
		{gone.URL, "a", true, connector.Unreachable, "unreachable: cannot connect", false},
	} {
		s, err := server.OpenAPIConnector([]byte(apiConfig(t, c.url, c.private, upstreamSettings(t, 200*time.Millisecond))), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "echo", Principal: "p", Arguments: []byte(`{"text":"` + c.text + `"}`)})
		if f, ok := errors.AsType[*connector.Failure](err); !ok || f.Kind != c.kind || !strings.HasPrefix(f.Detail, c.detail) || f.Sent != c.sent {
			t.Errorf("%s %s: %v, sent %v", c.url, c.text, err, ok && f.Sent)
		}
	}
	for _, conf := range []string{"", "{}", `{"api":{},"shell":true}`} {
		if _, err := server.OpenAPIConnector([]byte(conf), io.Discard); err == nil {
			t.Errorf("%s makes a connector", conf)
		}
	}
}
