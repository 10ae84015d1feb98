package upstream_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// TestATransportGoesWhereTheGuardLetsIt: after DNS, and to no redirect's address.
func TestATransportGoesWhereTheGuardLetsIt(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan string, 10)
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- r.Host + r.RequestURI + r.Header.Get("Accept-Encoding")
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	})}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	try := func(host, addrs string, private bool) (int, error) {
		tr, err := upstream.Transport(upstream.DefaultConfig(), resolver(host, addrs), private)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%s/a", host, port), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	for host, addrs := range map[string]string{"loop.example": "127.0.0.1", "mixed.example": "8.8.8.8 127.0.0.1", "127.0.0.1": "", "2130706433": "", "meta.example": "169.254.169.254"} {
		_, err := try(host, addrs, false)
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Kind != upstream.BlockedAddress {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := try("meta.example", "169.254.169.254", true); err == nil {
		t.Error("a metadata service is reached where private addresses are allowed")
	}
	if len(came) != 0 {
		t.Errorf("%s came", <-came)
	}
	if code, err := try("loop.example", "127.0.0.1", true); err != nil || code != http.StatusFound || len(came) != 1 {
		t.Errorf("%d, %v, and %d requests came", code, err, len(came))
	}
	if got := <-came; got != "loop.example:"+port+"/a" {
		t.Errorf("%s came", got)
	}
	if _, err := upstream.Transport(upstream.Config{}, nil, false); err == nil {
		t.Error("a transport without bounds is made")
	}
}
