package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mcpsdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/config"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// TestTheCallersCredentialStaysHereAndTheServersOwnGoesOut is law 7: what the agent showed never travels on, and what
// the vault keeps is shown to the server and to nobody else.
func TestTheCallersCredentialStaysHereAndTheServersOwnGoesOut(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	var mu sync.Mutex
	var seen []http.Header
	var bodies strings.Builder
	wrap := http.NewServeMux()
	inner := mcpsdk.NewStreamableHTTPHandler(func(*http.Request) *mcpsdk.Server { return b.Server }, &mcpsdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	wrap.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen = append(seen, r.Header.Clone())
		bodies.Write(body)
		mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		inner.ServeHTTP(w, r)
	})
	s := httptest.NewServer(wrap)
	t.Cleanup(s.Close)
	o, out, log := options(t, func(c *config.Config) {
		c.Servers = map[string]config.Server{"files": {Tenant: "demo", URL: s.URL, Era: "auto", AllowPrivate: true, Credential: "files-token", Header: "Authorization", Prefix: "Bearer "}}
	})
	r := run(t, o, out, log)
	key, admin := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"]
	if got := r.tools(key); got != "" || len(seen) != 0 {
		t.Fatalf("without its credential the server was asked %d times, shown %q", len(seen), got)
	}
	r.control("PUT", "/api/v1/secrets/files-token", admin, `{"value":"s3cret-of-the-server"}`, 204, nil)
	r.control("POST", "/api/v1/servers/files/refresh", admin, "", 200, nil)
	res, err := r.planned(t.Context(), key, "files", "echo", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	for i, h := range seen {
		if h.Get("Authorization") != "Bearer s3cret-of-the-server" {
			t.Errorf("request %d shows %q", i, h.Get("Authorization"))
		}
		for name := range h {
			if strings.HasPrefix(name, "Gatewright") || name == "X-Api-Key" || name == "X-Organization-Id" || name == "Idempotency-Key" {
				t.Errorf("request %d carries %s", i, name)
			}
		}
	}
	all := fmt.Sprint(seen) + bodies.String()
	n := len(seen)
	mu.Unlock()
	if strings.Contains(all, key) || strings.Contains(all, "ak_test") || strings.Contains(all, "eyJ") {
		t.Error("the agent's key or token travelled on")
	}
	if told := string(res.Raw) + res.Receipt + log.String() + out.String(); strings.Contains(told, "s3cret") {
		t.Error("the server's secret was told")
	}
	r.control("DELETE", "/api/v1/secrets/files-token", admin, "", 204, nil)
	var refusal *gatewright.Error
	if _, err := r.planned(t.Context(), key, "files", "echo", `{}`); !errors.As(err, &refusal) || refusal.Code != "upstream_unreachable" || strings.Contains(err.Error(), "files-token") {
		t.Errorf("without its credential: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != n {
		t.Error("the server was called without its credential")
	}
}

// TestPoliciesThatNameToolsNotKnownYetWaitForThem: until the server lists them its tenant is refused everything.
func TestPoliciesThatNameToolsNotKnownYetWaitForThem(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "own.cedar"), []byte("permit (principal, action, resource);\nforbid (principal, action == Action::\"files___slow\", resource);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, out, log := options(t, func(c *config.Config) {
		c.Policies.Bundle = folder
		c.Servers = map[string]config.Server{"files": {Tenant: "demo", URL: "http://" + addr, Era: "auto", AllowPrivate: true}}
	})
	r := run(t, o, out, log)
	key, admin := r.env["GATEWRIGHT_API_KEY"], r.env["GATEWRIGHT_ADMIN_KEY"]
	if got := r.tools(key); !strings.Contains(got, "refused") && !strings.Contains(got, "not") || strings.Contains(got, "echo") {
		t.Errorf("meanwhile: %q", got)
	}
	if !strings.Contains(log.String(), "refused everything") {
		t.Errorf("nobody was told: %s", log)
	}
	b := newBehind(t)
	if ln, err = net.Listen("tcp", addr); err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	s := &http.Server{Handler: mcpsdk.NewStreamableHTTPHandler(func(*http.Request) *mcpsdk.Server { return b.Server }, &mcpsdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true}), ReadHeaderTimeout: time.Second}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	r.control("POST", "/api/v1/servers/files/refresh", admin, "", 200, nil)
	if got := r.tools(key); got != "echo" {
		t.Errorf("when its tools are known: %q", got)
	}
}

// certificate writes a self-signed certificate with a serial number of its own.
func certificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"key": {Type: "PRIVATE KEY", Bytes: private}, "cert": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// hello connects with TLS and gives the serial number of the certificate shown, 0 when refused.
func hello(addr string, newest uint16) int64 {
	addr = strings.TrimPrefix(addr, "https://")
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: newest, NextProtos: []string{"h2", "http/1.1"}}) //nolint:gosec // a test looks at what is shown
	if err != nil {
		return 0
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestBothPortsSpeakTLSAndTakeUpNewCertificates(t *testing.T) {
	own := make(chan os.Signal, 1)
	signal.Notify(own, syscall.SIGHUP) // so that a signal before the gateway listens for it does not end the test
	defer signal.Stop(own)
	dir := t.TempDir()
	certificate(t, dir, 1)
	o, out, log := options(t, func(c *config.Config) {
		c.Proxy.TLSCert, c.Proxy.TLSKey = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		c.Control.TLSCert, c.Control.TLSKey, c.Control.TLSMin = filepath.Join(dir, "cert"), filepath.Join(dir, "key"), "1.2"
	})
	r := run(t, o, out, log)
	if !strings.HasPrefix(r.g.URL(), "https://") || !strings.HasPrefix(r.env["GATEWRIGHT_CONTROL_URL"], "https://") {
		t.Errorf("serves at %s, %s", r.g.URL(), r.g.ControlURL())
	}
	if hello(r.g.URL(), tls.VersionTLS13) != 1 || hello(r.g.ControlURL(), tls.VersionTLS12) != 1 {
		t.Error("no certificate is shown")
	}
	if hello(r.g.URL(), tls.VersionTLS12) != 0 {
		t.Error("TLS 1.2 is spoken on the data port")
	}
	plain, err := client.Get(strings.Replace(r.g.URL(), "https", "http", 1) + "/health")
	if err == nil {
		_ = plain.Body.Close()
		if plain.StatusCode == 200 {
			t.Error("plaintext is answered")
		}
	}
	certificate(t, dir, 2)
	for i := 0; hello(r.g.URL(), tls.VersionTLS13) != 2 || hello(r.g.ControlURL(), tls.VersionTLS13) != 2; i++ {
		if i > 400 {
			t.Fatal("the new certificate is not taken up")
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := os.WriteFile(filepath.Join(dir, "cert"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := 0; !strings.Contains(log.String(), "the one in use stays"); i++ {
		if i > 400 {
			t.Fatal("nobody was told of the broken certificate")
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if hello(r.g.URL(), tls.VersionTLS13) != 2 {
		t.Error("the certificate in use is gone")
	}
}

func TestMetricsReadinessAndKeysAreServed(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		c.Proxy.TrustedProxies = []string{"10.0.0.1", "2001:db8::/32"}
	})
	r := run(t, o, out, log)
	if _, err := r.planned(t.Context(), r.env["GATEWRIGHT_API_KEY"], "files", "echo", `{}`); err != nil {
		t.Fatal(err)
	}
	metrics := r.control("GET", "/metrics", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
	for _, want := range []string{"gatewright_line_admitted_total 3", "gatewright_line_settled_total 3", "gatewright_plans 1", "gatewright_ledger_records_total", "gatewright_data_connections"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in\n%s", want, metrics)
		}
	}
	r.control("GET", "/readyz", "", "", 200, nil)
	resp, err := client.Get(r.g.URL() + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), `"intent-1"`) {
		t.Errorf("%s, %v", body, err)
	}
}

func TestTheControlPortTakesOnlySoManyConnections(t *testing.T) {
	t.Parallel()
	o, out, log := options(t, func(c *config.Config) { c.Control.MaxConnections = 2 })
	r := run(t, o, out, log)
	addr := strings.TrimPrefix(r.g.ControlURL(), "http://")
	var held []net.Conn
	ask := func(c net.Conn, wait time.Duration) error {
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	for range 3 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	for i := range 2 {
		if err := ask(held[i], 5*time.Second); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if err := ask(held[2], 100*time.Millisecond); err == nil {
		t.Error("a third connection is served")
	}
	_ = held[0].Close()
	_ = held[2].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := held[2].Read(make([]byte, 1)); err != nil {
		t.Errorf("when one is free again: %v", err)
	}
}
