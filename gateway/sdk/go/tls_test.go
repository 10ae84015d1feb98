package gatewright_test

import (
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestACertificateIsBelievedUnderTheRootsGivenAndNoOthers(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"version":"1"}`) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	about := func(roots *x509.CertPool) error {
		c, err := gatewright.New(gatewright.Config{URL: srv.URL, Key: agentKey, Roots: roots})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.About(t.Context())
		return err
	}
	if err := about(roots); err != nil {
		t.Errorf("under its own root: %v", err)
	}
	for name, roots := range map[string]*x509.CertPool{"the system's": nil, "none": x509.NewCertPool()} {
		if err := about(roots); !errors.Is(err, gatewright.ErrUnreachable) || !errors.Is(err, gatewright.ErrUntrusted) {
			t.Errorf("under %s: %v", name, err)
		}
	}
	if _, err := gatewright.New(gatewright.Config{URL: srv.URL, Key: agentKey, Roots: roots, Transport: http.DefaultTransport}); err == nil {
		t.Error("roots that nothing would look at were accepted")
	}
}
