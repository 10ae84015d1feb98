package witness_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

func TestTheKindOfAFailureIsNamedWithoutAddresses(t *testing.T) {
	h := newHistory(t, 9)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	hangs := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
	for want, url := range map[string]string{
		"refused the connection":         gone.URL,
		"not answer in time":             serve(t, hangs),
		"does not know the log (404)":    serve(t, answering(404, "text/plain", "x")),
		"another key (403)":              serve(t, answering(403, "text/plain", "x")),
		"another history (422)":          serve(t, answering(422, "text/plain", "x")),
		"too often (429)":                serve(t, answering(429, "text/plain", "x")),
		"it refused: status 500":         serve(t, answering(500, "text/plain", "in /secret/place")),
		"its answer is not valid":        serve(t, answering(200, "text/plain", "x")),
		"it has seen a longer log":       serve(t, answering(409, "text/x.tlog.size", "99\n")),
		"it cannot be reached":           "http://127.0.0.1:1x",
		"its certificate is not trusted": secure(t),
	} {
		c := client(t, url, "w.example/one")
		c.HTTP.Timeout = 300 * time.Millisecond
		_, err := c.Submit(t.Context(), h.note(5), 0, h.prover(5))
		got := witness.Kind(err)
		if err == nil || !strings.Contains(got, want) || strings.Contains(got, "127.0.0.1") || strings.Contains(got, "secret") {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if witness.Kind(nil) != "" {
		t.Error(witness.Kind(nil))
	}
}

// secure is a server whose certificate nobody trusts.
func secure(t *testing.T) string {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}
